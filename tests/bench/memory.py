#!/usr/bin/python3
"""User-space bytes per idle connection: with one subscription, or a Centrifuge client with a token and three of them,
by WebSocket or by a long response.

usage: memory.py --build DIR [--protocol plain|centrifuge|http_stream|sse] [--tls compact|openssl] [--connections N] [--workers N] [--limit BYTES] [--json FILE]

Starts roostd, opens N connections and measures by how much the private memory (Private_Dirty of /proc/PID/smaps_rollup)
of all its processes has grown: pools, tables and stacks included, nothing estimated; with --tls what handshakes have left
behind, too. The limit holds for connections that share one channel, and is printed beside the cost with a channel for
every ten and for each. Exit status 1 above the limit.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, '../integration'), HERE]

from bench import certificate, write_json  # noqa: E402

LIMITS = {'plain': 250, 'centrifuge': 1024, 'http_stream': 1024, 'sse': 1024}
STREAM_RATIO = 1.3  # most that a stream may cost, by the WebSocket of such a client
TLS_LIMIT = 1024


def daemon(protocol, connections, workers, tls):
    from centrifuge import OPEN, SECRET, yaml
    from daemon import Daemon
    common = {'workers': workers, 'max_connections': connections * 2, 'ping_interval': '1h', 'drain_time': '0s',
              'max_channels': 10000000}
    if tls:
        common.update(tls_records=tls, **dict(zip(('tls_certificate', 'tls_key'), certificate())))
    if protocol == 'plain':
        return Daemon(**common)
    with tempfile.NamedTemporaryFile('w', suffix='.yaml') as f:
        f.write(yaml({'token_hmac_secret_key': SECRET, 'plain': True, 'http_stream': True, 'sse': True, 'channel_without_namespace': {**OPEN, 'presence': False}}))
        f.flush()
        return Daemon(config=f.name, **common)


def warm_up(build, d, tls):
    """A connection that comes and goes."""
    if not tls:
        d.ws('/ws/warm-up').goodbye()
        return
    subprocess.run([os.path.join(build, 'tests/bench/hold'), d.client.rsplit(':', 1)[1], '1', '1', '0', 'tls'], stdin=subprocess.DEVNULL,
                   stdout=subprocess.DEVNULL, check=True)


def measure(build, connections, workers, channels, holders=2, protocol='plain', tls=''):
    """Bytes per connection in a daemon of its own."""
    from centrifuge import token
    d = daemon(protocol, connections, workers, tls)
    clients = []
    try:
        for _ in range(20):  # what the first use of each path allocates once is no connection's
            warm_up(build, d, tls)
            d.http('GET', '/metrics')
        time.sleep(0.3)
        before = d.private_bytes()
        share = connections // holders
        for k in range(holders):
            count = share if k else connections - share * (holders - 1)
            clients.append(subprocess.Popen(
                [os.path.join(build, 'tests/bench/hold'), d.client.rsplit(':', 1)[1], str(count), str(channels),
                 str(k * (connections - share * (holders - 1))), *([protocol] if protocol != 'plain' else []), *(['tls'] if tls else [])],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
            if protocol != 'plain':
                for i in range(count):
                    clients[-1].stdin.write(token(sub='user-%d-%d' % (k, i), exp=2 ** 31 - 1) + '\n')
                clients[-1].stdin.flush()
        for c in clients:
            if not c.stdout.readline().startswith('holding'):
                raise SystemExit('memory: a client could not open its connections')
        time.sleep(0.5)
        grown = d.private_bytes() - before
        held = d.metric('roost_connections{protocol="%s"}' % ('plain' if protocol == 'plain' else 'centrifuge'))
        if held != connections or d.metric('roost_subscriptions') != connections * (1 if protocol == 'plain' else 3):
            raise SystemExit('memory: %d of %d connections are held' % (held, connections))
        return grown / connections
    finally:
        for c in clients:
            c.stdin.close()
            c.wait(30)
            c.stdout.close()
        d.stop()


def table(build, connections, workers, protocol, tls):
    """[(what, channels, bytes per connection)]"""
    return [(what, channels, measure(build, connections, workers, channels, protocol=protocol, tls=tls))
            for what, channels in (('all in one channel', 1), ('a channel for every ten', max(connections // 10, 1)),
                                   ('a channel each', connections))]


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument('--build', required=True)
    ap.add_argument('--connections', type=int, default=15000)
    ap.add_argument('--workers', type=int, default=2)
    ap.add_argument('--protocol', choices=tuple(LIMITS), default='plain')
    ap.add_argument('--tls', choices=('compact', 'openssl'), default='', help='over TLS 1.3, with that tls_records')
    ap.add_argument('--limit', type=float, help='default: 250; another protocol or TLS: 1024; both: 2048')
    ap.add_argument('--json', help='default: build/bench/memory.json')
    args = ap.parse_args()
    os.environ['TEST_BUILD'] = args.build = os.path.abspath(args.build)
    limit = args.limit or (LIMITS[args.protocol] if not args.tls else TLS_LIMIT if args.protocol == 'plain' else TLS_LIMIT + LIMITS[args.protocol])
    print('user-space memory of %d idle connections%s, %d workers, all processes counted'
          % (args.connections, ' over TLS (%s)' % args.tls if args.tls else '', args.workers))
    rows = table(args.build, args.connections, args.workers, args.protocol, args.tls)
    for what, channels, cost in rows:
        print('  %-24s %8d channels  %7.1f bytes per connection' % (what, channels, cost))
    write_json(args.json, 'memory' + ('_' + args.protocol if args.protocol != 'plain' else '') + ('_tls' if args.tls else ''), [{'what': what, 'channels': channels, 'bytes': cost} for what, channels, cost in rows],
               connections=args.connections, workers=args.workers)
    good = rows[0][2] <= limit
    print('  goal: at most %.0f in one channel: %s' % (limit, 'met' if good else 'MISSED'))
    return 0 if good else 1


if __name__ == '__main__':
    sys.exit(main())
