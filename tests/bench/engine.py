#!/usr/bin/python3
"""Publications through one hub and a real Redis server, against redis-benchmark with the same script in the same minute; and what the way node →
Redis → node adds.

usage: engine.py [--rounds N] [--seconds S] [--size BYTES] [--json FILE]

A round is a publisher of one channel with a subscriber, as fast as the hub takes it; then the hub is gone and redis-benchmark says the call that the
hub said (seen with MONITOR), over one connection with 64 calls under way, with as many publications in a call as the hub's had on average. The median
ratio is reported. All share this machine's cores, which the yardstick has for two processes and the hub for five; so the same is said by CPU
time, too, which others' load does not change: what the slower of hub and server could do with a core of its own, against the server alone."""

import argparse
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '../integration'))
os.environ.setdefault('TEST_BUILD', os.environ.get('BUILD', os.path.join(HERE, '../../build/release')))

from centrifuge import OPEN, yaml  # noqa: E402
from daemon import Daemon, wait_for  # noqa: E402
from engines import Redis, environment, program  # noqa: E402
from wsraw import TEXT, frame  # noqa: E402

KEPT = {**{k: v for k, v in OPEN.items() if 'presence' not in k}, 'history_size': 100}
BARE = {k: v for k, v in KEPT.items() if 'history_' not in k and 'force' not in k}
UNDER_WAY = 64


def node(redis=None):
    settings = {'allow_anonymous_connect_without_token': True, 'plain': True, 'output_limit': '64MiB', 'channel_without_namespace': KEPT,
                'namespaces': [{**BARE, 'name': 'bare'}], **({'engine': 'redis', 'engine_address': redis.address} if redis else {})}
    with tempfile.NamedTemporaryFile('w', suffix='.yaml') as f:
        f.write(yaml(settings))
        f.flush()
        d = Daemon(workers=1, config=f.name)
    if redis:
        wait_for(lambda: d.metric('roost_engine_up') == 1, what='the engine')
    return d


def drain(w):
    """Reads and forgets, until the connection ends."""
    def run():
        try:
            while w.sock.recv(1 << 20):
                pass
        except OSError:
            pass

    threading.Thread(target=run, daemon=True).start()


def flood(w, payload, ended):
    blob = frame(TEXT, payload) * 512

    def run():
        try:
            while not ended.is_set():
                w.sock.sendall(blob)
        except OSError:
            pass

    w.sock.settimeout(None)
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def cpu(pid):
    with open('/proc/%d/stat' % pid) as f:
        return sum(int(x) for x in f.read().rsplit(')', 1)[1].split()[11:13]) / os.sysconf('SC_CLK_TCK')


def through_the_hub(redis, channel, size, seconds):
    """Publications a second, publications in a call of the server, hub's and server's CPU seconds of a publication."""
    d = node(redis)
    try:
        sub, pub = d.ws('/ws/' + channel), d.ws('/ws/%s?mode=pub' % channel)
        drain(sub)
        ended = threading.Event()
        thread = flood(pub, b'x' * size, ended)
        wait_for(lambda: d.metric('roost_publications_out_total') > 2000, what='publications')
        hub = d.pid_of('hub')
        before = counts(d, redis, hub), time.monotonic()
        thread.join(seconds)
        assert thread.is_alive(), 'the publisher has ended before its time'
        after, lasted = counts(d, redis, hub), time.monotonic() - before[1]
        ended.set()
        pub.close()
        thread.join(10)
        n, calls, ours, its = (b - a for a, b in zip(before[0], after))
        return n / lasted, n / calls, ours / n, its / n
    finally:
        d.stop()


def counts(d, redis, hub):
    calls = redis.info('cmdstat_publish')  # one in each call, scripts' too
    return d.metric('roost_publications_out_total'), int(re.match(r'calls=(\d+)', calls).group(1)), cpu(hub), cpu(redis.process.pid)


def said_call(redis, channel, size):
    """The words of a publication's call, as the hub says them; its binary last one is replaced by a text as long as it."""
    d = node(redis)
    try:
        w = d.ws('/ws/' + channel)
        monitor = subprocess.Popen([*redis.cli(), 'MONITOR'], stdout=subprocess.PIPE, text=True, errors='replace', env=environment())
        monitor.stdout.readline()
        w.text(b'x' * size)
        w.recv_data()
        mark = 'x' * size
        line = next(x for x in monitor.stdout if mark in x and ' lua]' not in x)
        monitor.kill()
        monitor.wait()
        monitor.stdout.close()
    finally:
        d.stop()
    words = re.findall(r'"((?:[^"\\]|\\.)*)"', line)
    length = len(re.sub(r'\\x..|\\.', '_', words[-1]))
    return words[:-1], 'y' * length


def by_benchmark(redis, words, publication, in_a_call, seconds):
    """The same, of redis-benchmark: a plain PUBLISH carries all in one word, the script each in its own."""
    more = [publication] * in_a_call if words[0].upper() == 'EVALSHA' else [publication * in_a_call]
    words = words + more
    with socket.socket(socket.AF_UNIX) as s:  # somebody who hears it, as the node does
        s.connect(redis.path)
        channel = words[-1 - in_a_call] if words[0].upper() == 'EVALSHA' else words[1]
        s.sendall(('SUBSCRIBE %s\r\n' % channel).encode())
        drain(type('', (), {'sock': s}))
        n = 64 * UNDER_WAY
        while True:
            n -= n % UNDER_WAY  # it does not end well otherwise
            began, before = time.monotonic(), cpu(redis.process.pid)
            out = subprocess.run([program('redis-benchmark'), '-h', '127.0.0.1', '-p', str(redis.port), '-c', '1', '-P', str(UNDER_WAY), '-n',
                                  str(n), '-q', *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment()).stdout
            lasted = time.monotonic() - began
            rates = re.findall(r'([\d.]+) requests per second', out)
            assert rates, out
            if lasted > seconds * 0.7:
                return float(rates[-1]) * in_a_call, (cpu(redis.process.pid) - before) / n / in_a_call
            n = int(n * min(10, 1.2 * seconds / lasted))


def throughput(channel, args):
    rounds = []
    for _ in range(args.rounds):
        redis = Redis(tcp=True)
        try:
            words, publication = said_call(redis, channel, args.size)
            rate, in_a_call, ours, its = through_the_hub(redis, channel, args.size, args.seconds)
            bench, bench_cpu = by_benchmark(redis, words, publication, max(1, round(in_a_call)), args.seconds)
            single, single_cpu = by_benchmark(redis, words, publication, 1, args.seconds)
        finally:
            redis.stop()
        rounds.append({'publications': rate, 'in_a_call': in_a_call, 'benchmark': bench, 'benchmark_one_in_a_call': single, 'ratio': rate / bench, 'ratio_one': rate / single,
                       'hub_us': ours * 1e6, 'server_us': its * 1e6, 'benchmark_server_us': bench_cpu * 1e6,
                       'one_in_a_call_server_us': single_cpu * 1e6, 'ratio_by_cpu': bench_cpu / max(ours, its), 'ratio_one_by_cpu': single_cpu / max(ours, its)})
    middle = {k: statistics.median(r[k] for r in rounds) for k in rounds[0]}
    print('without history:' if channel.startswith('bare') else 'with history:')
    for text in ('  %(publications)9.0f a second through the hub, %(in_a_call).1f in a call',
                 '  %(benchmark)9.0f by redis-benchmark with as many in a call: ratio %(ratio).2f; %(benchmark_one_in_a_call).0f with one in a call: %(ratio_one).2f',
                 '  CPU of a publication: hub %(hub_us).2f us, server %(server_us).2f us; server under redis-benchmark %(benchmark_server_us).2f us: ratio '
                 '%(ratio_by_cpu).2f; with one in a call %(one_in_a_call_server_us).2f us: %(ratio_one_by_cpu).2f'):
        print(text % middle, flush=True)
    return {**middle, 'rounds': rounds}


def ping_pong(publisher, subscriber, n):
    """Milliseconds, sorted, from a publisher's send to a subscriber's receive."""
    times = []
    for i in range(n + 50):
        began = time.perf_counter()
        publisher.text(b'%d' % i)
        while subscriber.recv_data() != b'%d' % i:
            pass
        if i >= 50:
            times.append((time.perf_counter() - began) * 1e3)
        if publisher is not subscriber:
            publisher.recv_data()
    return sorted(times)


def latency(args):
    """What it adds: against one node with the memory engine. The server's own round trip beside it."""
    redis = Redis(tcp=True)
    nodes = [node(), node(redis), node(redis)]
    try:
        rows = {}
        with socket.create_connection(('127.0.0.1', redis.port)) as s:
            trips = []
            for _ in range(2000):
                began = time.perf_counter()
                s.sendall(b'PING\r\n')
                s.recv(64)
                trips.append((time.perf_counter() - began) * 1e3)
        rows['round trip to Redis'] = sorted(trips)
        for channel in ('a', 'bare:a'):
            kind = 'without history' if channel.startswith('bare') else 'with history'
            rows['one node, memory engine, ' + kind] = ping_pong(nodes[0].ws('/ws/' + channel), nodes[0].ws('/ws/' + channel), 2000)
            rows['node → Redis → node, ' + kind] = ping_pong(nodes[1].ws('/ws/' + channel), nodes[2].ws('/ws/' + channel), 2000)
        found = {}
        for name, times in rows.items():
            found[name] = {'p50_ms': times[len(times) // 2], 'p99_ms': times[len(times) * 99 // 100]}
            print('%-44s p50 %.3f ms, p99 %.3f ms' % (name, found[name]['p50_ms'], found[name]['p99_ms']), flush=True)
        for kind in ('with history', 'without history'):
            before, after = found['one node, memory engine, ' + kind], found['node → Redis → node, ' + kind]
            print('%-44s p50 %.3f ms, p99 %.3f ms' % ('added, ' + kind, after['p50_ms'] - before['p50_ms'], after['p99_ms'] - before['p99_ms']))
        return found
    finally:
        for d in nodes:
            d.stop()
        redis.stop()


def main():
    p = argparse.ArgumentParser()
    p.add_argument('--rounds', type=int, default=3)
    p.add_argument('--seconds', type=float, default=4)
    p.add_argument('--size', type=int, default=128)
    p.add_argument('--json', default=os.path.join(HERE, '../../build/bench/engine.json'))
    args = p.parse_args()
    print('load average %s' % open('/proc/loadavg').read().split()[0])
    found = {'history': throughput('a', args), 'bare': throughput('bare:a', args), 'latency': latency(args)}
    os.makedirs(os.path.dirname(args.json), exist_ok=True)
    with open(args.json, 'w') as f:
        json.dump(found, f, indent=1)


if __name__ == '__main__':
    main()
