#!/usr/bin/python3
"""/debug/trace and the probes: what is told of a connection, an address, a channel, and what is not."""

import json
import os
import re
import signal
import struct
import subprocess
import threading
import unittest

from centrifuge import OPEN, SECRET, Client, token, yaml
from daemon import ROOSTCTL, ROOSTD, SLOW, DaemonTest, SharedDaemonTest, run_roostctl, wait_for
from wsraw import TEXT, Raw

TOP = os.path.realpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), '../..'))


class Trace:
    """One that is read; every process has heard of it, but those that are missing."""

    def __init__(self, d, query, key=None, missing=()):
        self.d, self.query, self.key, self.events, self.lost, self.text = d, query, key, [], 0, b''
        a = self.ask(query)
        self.id, self.after, self.missing = a['trace'], a['after'], a['missing']
        if not a['armed'] or a['missing'] != list(missing):
            wait_for(lambda: self.read()['armed'] and self.missing == list(missing), what='a trace that everybody has heard of')

    def ask(self, query):
        r = self.d.http('GET', '/debug/trace?' + query, fields=[('X-API-Key', self.key)] if self.key else ())
        assert r.status == 200, r
        self.text += r.body
        return json.loads(r.body)

    def read(self):
        a = self.ask('%s&trace=%s&after=%s' % (self.query, self.id, self.after))
        self.after, self.missing = a['after'], a['missing']
        self.events += a['events']
        self.lost += a['lost']
        return a

    def find(self, event, **members):
        return [e for e in self.events if e['event'] == event and all(e.get(k) == v for k, v in members.items())]

    def await_event(self, event, n=1, **members):
        """So many events of that kind, when they are there."""
        def there():
            self.read()
            return len(self.find(event, **members)) >= n
        wait_for(there, what='%d times %s in the trace' % (n, event))
        return self.find(event, **members)


def id_of(d, n=1):
    """The ids of so many clients, as a trace wants them."""
    ids = {}

    def all_of_them():
        page = d.get_json('/debug/connections')
        for c in page['connections']:
            if c['listener'] == 'client':
                ids[c['address']] = c['id'] if ':' in c['id'] else '%d:%s' % (page['worker'], c['id'])
        return len(ids) >= n
    wait_for(all_of_them, what='%d clients in /debug/connections' % n)
    return ids


def address_of(c):
    return '%s:%d' % c.sock.getsockname()[:2]


class Channels(SharedDaemonTest):
    settings = {'workers': 2}

    def test_a_publication_from_its_publisher_to_delivery(self):
        clients = self.d.spread('/ws/way')
        t = Trace(self.d, 'channel=way')
        clients[0].text('hello')
        for c in clients:
            c.expect(TEXT, 'hello')
        t.await_event('fanned', n=2)
        t.await_event('done')  # the hub may come to that later
        published, = t.find('publish')
        conn, number = published['conn'], published['publication']
        worker = int(conn.split(':')[0])
        self.assertEqual(published['process'], 'worker%d' % worker)
        self.assertEqual(published['bytes'], 5)
        steps = [(e['event'], e['process']) for e in t.events if e.get('publication') == number]
        others = ['worker0', 'worker1']
        self.assertEqual(steps[:3], [('publish', 'worker%d' % worker), ('take', 'hub'), ('order', 'hub')])
        self.assertEqual(sorted(x for x in steps if x[0] == 'receive'), [('receive', w) for w in others])
        self.assertEqual({e['worker'] for e in t.find('send', publication=number)}, {0, 1})
        self.assertEqual([e['engine_status'] for e in t.find('done', publication=number)], ['ok'])
        self.assertTrue(all(e['conn'] == conn for e in t.events if e.get('publication') == number))
        self.assertEqual(len(t.find('deliver')), len(clients))
        self.assertEqual(sum(e['subscribers'] for e in t.find('fanned')), len(clients))
        for e in t.find('take') + t.find('receive') + t.find('fanout'):
            self.assertGreater(e.get('waited_ns', e.get('since_ns')), 0)
        self.assertEqual([e['time'] for e in t.events], sorted(e['time'] for e in t.events))
        for e in t.events:
            self.assertRegex(e['time'], r'^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$')
        for c in clients:
            c.goodbye()

    def test_the_api_is_a_publisher_without_a_connection(self):
        with self.d.ws('/ws/fromapi') as c:
            t = Trace(self.d, 'channel=fromapi')
            self.d.publish('fromapi', 1)
            c.expect(TEXT, '1')
            t.await_event('deliver')
            for e in t.find('publish') + t.find('take') + t.find('done'):
                self.assertNotIn('conn', e)

    def test_nobody_else_s(self):
        with self.d.ws('/ws/mine') as c, self.d.ws('/ws/minefield') as other:
            t = Trace(self.d, 'channel=mine')
            other.text('x')
            other.expect(TEXT, 'x')
            c.text('x')
            c.expect(TEXT, 'x')
            t.await_event('deliver')
            self.assertEqual({e['channel'] for e in t.events}, {'mine'})

    def test_deliveries_of_a_fan_out_are_the_first(self):
        clients = [self.d.ws('/ws/many') for _ in range(40)]
        t = Trace(self.d, 'channel=many')
        clients[0].text('x')
        for c in clients:
            c.expect(TEXT, 'x')
        t.await_event('fanned', n=len(t.find('fanout')) or 1)
        wait_for(lambda: t.read() and sum(e['subscribers'] for e in t.find('fanned')) == 40, what='all fan-outs')
        for process in {e['process'] for e in t.find('fanout')}:
            subscribers = sum(e['subscribers'] for e in t.find('fanned', process=process))
            self.assertEqual(len(t.find('deliver', process=process)), min(16, subscribers))
        for c in clients:
            c.goodbye()


class Connections(DaemonTest):
    def test_a_client_that_does_not_read(self):
        d = self.start(workers=1, send_buffer_size='16KiB', output_limit='64KiB', output_grace='60s')
        c = d.ws('/ws/flood', rcvbuf=4096)
        conn = id_of(d)[address_of(c)]
        t = Trace(d, 'conn=' + conn)
        with d.ws('/ws/flood') as p:
            for _ in range(60):
                p.text('x' * 20000)
                p.expect(TEXT)
            p.goodbye()
        t.await_event('slow')
        self.assertTrue(t.find('stall'))
        self.assertEqual({e['conn'] for e in t.events}, {conn})
        slow = t.find('slow')[0]
        self.assertEqual(slow['policy'], 'disconnect')
        self.assertGreater(slow['queued_bytes'], 65536)
        self.assertEqual([e['channel'] for e in t.find('deliver')], ['flood'] * len(t.find('deliver')))
        self.assertGreater(t.find('deliver')[-1]['queued_bytes'], 0)
        c.close()
        closed, = t.await_event('close')
        self.assertEqual(closed['reason'], 'slow')
        self.assertIn('closing', [e['state'] for e in t.find('state')])

    def test_an_address_from_the_first_byte_on(self):
        d = self.start(workers=2)
        t = Trace(d, 'address=127.0.0.0/8')
        with d.ws('/ws/here') as c:
            c.text('hello')
            c.expect(TEXT, 'hello')
            address = address_of(c)
            c.goodbye()
        t.await_event('close')
        connected, = t.find('connect')
        self.assertEqual(connected['address'], address)
        self.assertEqual({e['conn'] for e in t.events}, {connected['conn']})
        t.await_event('unsubscribe')
        names = [e['event'] for e in t.events if e['event'] not in ('state', 'hold', 'resume', 'read', 'sent')]
        self.assertEqual(names, ['connect', 'upgrade', 'subscribe', 'subscribed', 'message', 'publish', 'receive', 'deliver',
                                 'close', 'unsubscribe'])
        self.assertEqual(t.find('upgrade')[0]['protocol'], 'plain')
        self.assertEqual([e['state'] for e in t.find('state')][:2], ['subscribing', 'open'])

    def test_who_is_refused(self):
        d = self.start(workers=1)
        t = Trace(d, 'address=127.0.0.1')
        with Raw(d.client) as c:
            self.assertEqual(c.request('GET', '/nowhere?secret=abc').status, 404)
        with Raw(d.client) as c:
            self.assertEqual(c.request('GET', '/ws/a').status, 426)
        t.await_event('close', n=2)
        self.assertEqual([(e['status'], e.get('path')) for e in t.find('request')], [(404, None), (426, '/ws/')])

    def test_another_address(self):
        d = self.start(workers=1)
        t = Trace(d, 'address=192.0.2.0/24')
        here = Trace(d, 'address=127.0.0.1')
        with Raw(d.client) as c:
            c.request('GET', '/healthz')
        here.await_event('close')
        t.read()
        self.assertEqual(t.events, [])

    def test_a_centrifuge_client(self):
        d = self.start(workers=1, config=self.file(yaml({'channel_without_namespace': OPEN})),
                       token_hmac_secret_key=SECRET, api_key='operators-key')
        key = 'operators-key'
        t = Trace(d, 'address=127.0.0.1', key=key)
        c = Client(d.client)
        c.connect(token=token(sub='somebody'))
        c.subscribe('news')
        c.publish('news', {'text': 'the payload'})
        c.error(subscribe={'channel': 'unknown:x'})
        t.await_event('error')
        self.assertEqual([e['method'] for e in t.find('command')][:2], ['connect', 'subscribe'])
        self.assertEqual(t.find('error')[0]['code'], 102)
        self.assertEqual(t.find('subscribed')[0]['channel'], 'news')
        t.await_event('deliver')
        c.close()
        t.await_event('close')
        for secret in ('the payload', token(sub='somebody'), 'somebody', SECRET, key):
            self.assertNotIn(secret.encode(), t.text)


class Bounds(DaemonTest):
    def test_what_is_lost_is_counted(self):
        d = self.start(workers=1, echo='true')
        c = d.ws('/echo')
        t = Trace(d, 'conn=' + id_of(d)[address_of(c)])
        n = 9000  # messages, more than the ring has places
        for _ in range(n // 100):
            for _ in range(100):
                c.text('')
            for _ in range(100):
                c.expect(TEXT, '')
        while t.read()['more'] or not t.find('message'):
            pass
        c.text('last')
        c.expect(TEXT, 'last')
        t.await_event('message', bytes=4)
        messages = len(t.find('message'))
        self.assertLess(messages, n)
        self.assertGreaterEqual(t.lost + messages, n)
        self.assertGreaterEqual(len(t.events), 8000)

    def test_a_process_that_does_not_move_is_named(self):
        d = self.start(workers=2, hang_timeout='60s')
        t = Trace(d, 'channel=x')
        self.assertEqual(t.missing, [])
        pid = d.kill('hub', signal.SIGSTOP)
        try:
            t = Trace(d, 'channel=x', missing=['hub'])
            self.assertEqual(t.missing, ['hub'])
        finally:
            os.kill(pid, signal.SIGCONT)
        wait_for(lambda: t.read()['missing'] == [], what='the hub that has heard of it')

    def test_a_killed_worker(self):
        d = self.start(workers=2)
        t = Trace(d, 'channel=x')
        old = d.kill('worker1')
        wait_for(lambda: d.pid_of('worker1') not in (0, old), what='another worker')
        t = Trace(d, 'channel=x')
        clients = d.spread('/ws/x')
        clients[0].text('y')
        for c in clients:
            c.expect(TEXT, 'y')
        t.await_event('fanned', n=2)
        self.assertEqual({e['process'] for e in t.find('receive')}, {'worker0', 'worker1'})

    def test_so_many_at_a_time(self):
        d = self.start(workers=1)
        for i in range(4):
            self.assertEqual(d.http('GET', '/debug/trace?channel=c%d' % i).status, 200)
        r = d.http('GET', '/debug/trace?channel=more')
        self.assertEqual((r.status, r.get('Retry-After')), (503, '5'))

    def test_what_is_no_question(self):
        d = self.start(workers=1)
        after = '&trace=1&after=1.1'
        for query in ('', 'conn=', 'conn=1:', 'conn=:1', 'conn=5:1', 'conn=0', 'conn=0:0', 'conn=0:x', 'channel=', 'channel=' + 'x' * 256, 'address=here',
                      'address=127.0.0.1/33', 'channel=a&conn=0:1', 'channel=a&trace=1', 'channel=a&after=1.1', 'channel=a&x=1',
                      'channel=a&trace=0&after=1.1', 'channel=a&trace=1ffffffff&after=1.1', 'channel=a&trace=1&after=1',
                      'channel=a&trace=1&after=1.1.1', 'channel=a&trace=1&after=0.1', 'channel=a&trace=1&after=1.g',
                      'channel=a&trace=1&after=', 'channel=a&limit=x'):
            self.assertEqual(d.http('GET', '/debug/trace?' + query).status, 400, query)
        for query in ('channel=a' + after, 'channel=a&trace=1&after=ffffffffffffffff.1', 'channel=a%20b', 'conn=0:5&limit=0', 'conn=5'):
            self.assertEqual(d.http('GET', '/debug/trace?' + query).status, 200, query)

    def test_the_key(self):
        d = self.start(workers=1, api_key='operators-key', metrics_key='scrapers-key')
        for key, status in ((None, 401), ('scrapers-key', 401), ('operators-key', 200)):
            r = d.http('GET', '/debug/trace?channel=a', fields=[('X-API-Key', key)] if key else ())
            self.assertEqual(r.status, status)
        self.assertEqual(d.http('GET', '/debug/trace?channel=a', where='client').status, 404)


class Ctl:
    """A roostctl trace that everybody has heard of, until the block ends."""

    def __init__(self, d, *args):
        self.p = subprocess.Popen([ROOSTCTL, '--admin', 'http://' + d.admin, 'trace', *args], stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.lines, self.errors = [], []
        self.threads = [threading.Thread(target=self.read, args=x, daemon=True)
                        for x in ((self.p.stdout, self.lines), (self.p.stderr, self.errors))]
        for t in self.threads:
            t.start()
        wait_for(lambda: any('tracing' in x for x in self.errors), what='roostctl trace')

    @staticmethod
    def read(stream, out):
        for line in stream:
            out.append(line.rstrip('\n'))

    def __enter__(self):
        return self

    def wait(self):
        self.status = self.p.wait(60 * SLOW)
        for t in self.threads:
            t.join(5)

    def __exit__(self, *_):
        if self.p.poll() is None:
            self.p.send_signal(signal.SIGINT)
        self.wait()
        self.p.stdout.close()
        self.p.stderr.close()


class Command(SharedDaemonTest):
    settings = {'workers': 2}

    def test_a_channel_for_people(self):
        with self.d.ws('/ws/people') as c, Ctl(self.d, '--channel', 'people') as t:
            c.text('hello')
            c.expect(TEXT, 'hello')
            wait_for(lambda: all(any(what in x for x in t.lines) for what in (' fanned ', ' take ')), what='the end of the fan-out')
        self.assertEqual(t.status, 0)
        self.assertRegex(t.errors[0], r'^roostctl: tracing channel=people; times are UTC; Ctrl-C ends it$')
        published, = [x for x in t.lines if ' publish ' in x]
        self.assertRegex(published, r'^\d\d:\d\d:\d\d\.\d{6} worker\d +\d:\d+ +publish +channel=people publication=\d/\d+ bytes=5$')
        taken, = [x for x in t.lines if ' take ' in x]
        self.assertRegex(taken, r' hub .* waited=\d+\.\d{3}ms$')

    def test_a_client_as_json(self):
        with self.d.ws('/ws/json') as c:
            conn = id_of(self.d)[address_of(c)]
            with Ctl(self.d, '-o', 'json', '--conn', conn) as t:
                c.text('hello')
                c.expect(TEXT, 'hello')
                wait_for(lambda: any('"deliver"' in x for x in t.lines), what='the delivery')
        self.assertEqual(t.status, 0)
        events = [json.loads(x) for x in t.lines]
        self.assertEqual({e['conn'] for e in events}, {conn})
        self.assertIn({'event': 'message', 'bytes': 5, 'binary': 0},
                      [{k: e.get(k) for k in ('event', 'bytes', 'binary')} for e in events])

    def test_an_address_for_a_time(self):
        for seconds in (1, 4, 16, 64):  # how long it takes to make a request
            with Ctl(self.d, '--address', '127.0.0.1', '--for', '%ds' % seconds) as t:
                with Raw(self.d.client) as c:
                    c.request('GET', '/healthz')
                t.wait()
            self.assertEqual(t.status, 0)
            if any('request ' in x and 'path=/healthz status=200' in x for x in t.lines):
                return
        self.fail(t.lines)

    def test_wrong(self):
        for args, status, says in (((), 2, 'one of --conn'), (('--conn', '0:1', '--channel', 'a'), 2, 'one of --conn'),
                                   (('--channel', ''), 2, 'one of --conn'), (('--channel', 'a', '--for', 'x'), 2, '--for'),
                                   (('--channel', 'a', '--for', '0'), 2, '--for'), (('--conn', '7:'), 2, '--conn: expected W:ID'),
                                   (('--address', 'here'), 2, '--address: expected an address')):
            p = run_roostctl(self.d, 'trace', *args)
            self.assertEqual(p.returncode, status, (args, p.stderr))
            self.assertIn(says, p.stderr)
        for query in 'conn=7:', 'address=here', 'channel=a&address=10.0.0.1', '':
            self.assertEqual(self.d.http('GET', '/debug/trace?' + query).status, 400, query)


class Restart(DaemonTest):
    def test_it_goes_on_behind_a_killed_worker(self):
        d = self.start(workers=1)
        with Ctl(d, '--channel', 'x') as t:
            old = d.kill('worker0')
            wait_for(lambda: d.pid_of('worker0') not in (0, old), what='another worker')

            def seen():
                with d.ws('/ws/x') as c:
                    c.text('y')
                    c.expect(TEXT, 'y')
                return any(' publish ' in x for x in t.lines)
            wait_for(seen, what='a publication in the trace')
        self.assertEqual(t.status, 0)


def notes(path):
    """The probes of a 64-bit program: name -> (provider, arguments, has a semaphore)."""
    with open(path, 'rb') as f:
        elf = f.read()
    start, size, n, names = struct.unpack_from('<Q', elf, 40)[0], *struct.unpack_from('<HHH', elf, 58)
    sections = [struct.unpack_from('<IIQQQQ', elf, start + i * size) for i in range(n)]
    found = {}
    for name, _, _, _, at, length in sections:
        where = sections[names][4] + name
        if elf[where:elf.index(b'\0', where)] != b'.note.stapsdt':
            continue
        end = at + length
        while at < end:
            owner, bytes_, kind = struct.unpack_from('<III', elf, at)
            at += 12 + (owner + 3 & ~3)
            provider, probe, arguments = elf[at + 24:at + bytes_].split(b'\0')[:3]
            assert kind == 3
            found[probe.decode()] = (provider.decode(), arguments.decode().split(), elf[at + 16:at + 24] != bytes(8))
            at += bytes_ + 3 & ~3
    return found


class Probes(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with open(os.path.join(TOP, 'deploy/TRACING.md')) as f:
            cls.page = f.read()
        cls.probes = notes(ROOSTD)

    def test_the_program_has_what_the_page_lists(self):
        listed = re.findall(r'(?m)^\| `(\w+)` \|', self.page)
        self.assertEqual(sorted(self.probes), sorted(listed))
        for name, (provider, arguments, semaphore) in self.probes.items():
            self.assertEqual((provider, len(arguments), semaphore), ('roost', 6, True), name)
            self.assertTrue(all(a.startswith('8@') for a in arguments), arguments)

    def test_the_one_liners_use_what_is_there(self):
        programs = re.findall(r"(?m)^bpftrace --usdt-file-activation -e '(.*)'$", self.page)
        self.assertGreaterEqual(len(programs), 10)
        rows = {r[0].strip(' `'): [x.strip() for x in r[1:]] for r in
                (line.strip('| ').split('|') for line in self.page.splitlines() if line.startswith('| `'))}
        for program in programs:
            used = re.findall(r'usdt:/usr/bin/roostd:roost:(\w+)', program)
            self.assertTrue(used, program)
            for block in re.split(r'(?=usdt:)', program):
                for name in re.findall(r'roost:(\w+)', block):
                    for i in re.findall(r'arg(\d)', block):
                        if int(i) >= 1:
                            self.assertTrue(rows[name][int(i) - 1], (name, i, program))


if __name__ == '__main__':
    unittest.main()
