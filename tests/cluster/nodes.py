"""Several nodes that share an engine, and clients that keep account of what they were told."""

import json
import os
import random
import signal
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '../integration'))

from centrifuge import OPEN, Client, yaml  # noqa: E402
from daemon import DaemonTest, wait_for  # noqa: E402
from wsraw import Closed, Raw  # noqa: E402

BARE = {k: v for k, v in OPEN.items() if 'presence' not in k and 'history_' not in k and 'force' not in k}
KEPT = {**{k: v for k, v in OPEN.items() if 'presence' not in k}, 'force_positioning': True, 'history_size': 10000}


class Nodes(DaemonTest):
    """engine: what has an address (engines.py), of which each test starts its own."""

    def node(self, address, clean=True, up=1, where=('127.0.0.1:0', '127.0.0.1:0'), **settings):
        settings = {'allow_anonymous_connect_without_token': True, 'plain': True, 'engine': address.split(':')[0] if
                    address.startswith('nats') else 'redis', 'engine_address': address,
                    'channel_without_namespace': KEPT, 'namespaces': [{**BARE, 'name': 'bare'}],
                    'output_limit': '32MiB', 'recovery_max_publication_limit': 10000, **settings}
        with tempfile.NamedTemporaryFile('w', suffix='.yaml', prefix='roost-test-') as f:
            f.write(yaml(settings))
            f.flush()
            d = self.start(config=f.name, clean=clean, workers=2, listen=where[0], admin_listen=where[1])
        if up:
            wait_for(lambda: d.metric('roost_engine_up') >= up, what='the engine to be there')
        return d

    def _end(self, d, clean):
        """What kills by -9 was a test; whatever else a process of a node died of is a fault."""
        super()._end(d, clean)
        self.assertEqual(d.lines(r'msg="?(killed" .*signal=(4|6|7|8|11)\b|exited" .*status=[1-9])'), [], d.text())

    def started(self, server):
        """A server that ends with the test."""
        self.addCleanup(server.stop)
        return server

    def client(self, d, *channels):
        c = Client(d.client)
        self.addCleanup(c.close)
        c.connect()
        for channel in channels:
            c.subscribe(channel)
        return c

    def answer(self, d, channel, data, **more):
        """Status and body of a publish."""
        r = d.http('POST', '/api/publish', json.dumps({'channel': channel, 'data': data, **more}))
        return r.status, json.loads(r.body or b'{}')

    def strike(self, d, name):
        """kill -9, also when who answers about processes was killed a moment ago."""
        def pid():
            try:
                return d.pid_of(name)
            except (OSError, Closed, ValueError):
                return 0

        os.kill(wait_for(pid, what='a running ' + name), signal.SIGKILL)

    def published(self, d, channel, data, **more):
        """Its position."""
        status, body = self.answer(d, channel, data, **more)
        self.assertEqual(status, 200, body)
        return body['result']

    def again(self, d, channel, data, key=None, seconds=30):
        """Until it is done, once."""
        key = key or 'k%d' % random.getrandbits(60)

        def done():
            try:
                status, body = self.answer(d(), channel, data, idempotency_key=key)
            except (OSError, Closed):
                return False
            return status == 200 and body['result']

        return wait_for(done, seconds, 'publication of %r' % (data,))


class Witness(threading.Thread):
    """A client of one channel that comes back, on whichever of the nodes answers, recovers, and writes down what it was told: pieces,
    each a run of publications of one epoch without a gap. A new piece begins where it was told that something may be missing."""

    def __init__(self, nodes, channel):
        super().__init__(daemon=True)
        self.nodes, self.channel = nodes, channel  # nodes(): addresses that may be tried
        self.pieces, self.faults, self.recovered, self.connects, self.ends = [], [], 0, 0, []
        self.lock, self.ended, self.c = threading.Lock(), False, None
        self.at = None
        self.start()

    def take(self, pub):
        offset = pub['offset']
        if offset != self.at['offset'] + 1:
            self.faults.append('offset %d follows %d of epoch %s' % (offset, self.at['offset'], self.at['epoch']))
        self.at['offset'] = offset
        with self.lock:
            self.pieces[-1][1].append((offset, pub['data']))

    def begin(self, epoch, offset):
        self.at = {'epoch': epoch, 'offset': offset}
        with self.lock:
            self.pieces.append((epoch, []))

    def subscribe(self):
        request = {'channel': self.channel, **({'recover': True, **self.at} if self.at else {})}
        answer = self.c.ask(subscribe=request)
        if 'error' in answer:
            assert answer['error']['code'] == 100, answer  # temporary
            return False
        got = answer['subscribe']
        if self.at and got.get('recovered'):
            self.recovered += 1
            if got['epoch'] != self.at['epoch']:
                self.faults.append('recovered into another epoch')
        else:
            self.begin(got['epoch'], got.get('offset', 0) - len(got.get('publications', ())))
        for pub in got.get('publications', ()):
            self.take(pub)
        return True

    def life(self, address):
        self.c = Client(address, timeout=60)
        try:
            self.c.connect()
            self.connects += 1
            there = self.subscribe()
            while not self.ended:
                if not there:  # whoever stands between ends this connection, or the engine takes the subscription
                    time.sleep(PAUSE)
                    there = self.subscribe()
                    continue
                m = self.c.next()
                push = m.get('push', {})
                if 'pub' in push:
                    self.take(push['pub'])
                elif 'unsubscribe' in push:
                    if push['unsubscribe']['code'] < 2500:
                        self.faults.append('unsubscribed: %r' % push)
                    there = self.subscribe()
                elif 'disconnect' in push:
                    raise Closed(json.dumps(push))
        finally:
            self.c.close()

    def one_more_life(self):
        """True: it was the last one."""
        try:
            self.life(random.choice(self.nodes()))
        except (Closed, OSError) as e:
            self.ends.append(str(e))
        return self.ended

    def run(self):
        try:
            wait_for(self.one_more_life, LIFE, 'the end of a witness')
        except Exception as e:  # what the test reads
            self.faults.append(repr(e))

    def last(self):
        with self.lock:
            return self.pieces[-1][1][-1][1] if self.pieces and self.pieces[-1][1] else None

    def seen(self):
        with self.lock:
            return [p for _, piece in self.pieces for p in piece]

    def stop(self):
        self.ended = True
        try:
            self.c.sock.shutdown(2)
        except (OSError, AttributeError):
            pass
        self.join(120)


WITNESSES = 6
PACE = 0.005  # between two publications of a thread
PAUSE = 0.05  # before a witness asks again
LIFE = 600  # the longest a witness is there


class Traffic:
    """Threads that publish to a channel, each its own numbers one after another, on whichever node answers, until stop(). done: (epoch,
    offset, data) of each that was answered with OK. keys: it is tried again, with an idempotency key, until it is done."""

    def __init__(self, test, nodes, channel, threads=3, keys=True):
        self.test, self.nodes, self.channel, self.keys = test, nodes, channel, keys  # nodes(): daemons that may be tried
        self.done, self.refused, self.unknown, self.errors = [], 0, 0, []
        self.lock, self.ended = threading.Lock(), threading.Event()
        self.threads = [threading.Thread(target=self._run, args=(i,), daemon=True) for i in range(threads)]
        for t in self.threads:
            t.start()

    def _once(self, data, key):
        more = {'idempotency_key': key} if self.keys else {}
        try:
            status, body = self.test.answer(random.choice(self.nodes()), self.channel, data, **more)
        except (OSError, Closed, ValueError, IndexError):
            status = 0
        with self.lock:
            if status == 200:
                self.done.append((body['result']['epoch'], body['result']['offset'], data))
            elif status in (0, 504):
                self.unknown += 1
            elif status == 503:
                self.refused += 1
            else:
                self.errors.append((status, body))
        return status == 200

    def _run(self, number):
        run = '%x' % random.getrandbits(40)
        i = 0
        while not self.ended.wait(PACE):
            data = '%d %d' % (number, i)
            if self._once(data, run + data) or not self.keys:
                i += 1

    def await_more(self, n, seconds=30):
        """Until so many more are done."""
        goal = len(self.done) + n
        wait_for(lambda: len(self.done) >= goal, seconds, '%d more publications' % n)

    def stop(self):
        self.ended.set()
        for t in self.threads:
            t.join(120)
        self.test.assertEqual(self.errors, [])


def judge(test, traffic, witnesses, whole):
    """What everybody must agree on, after a publication "end" that all have seen. whole: none was told that it may miss something."""
    places = {}

    def place(epoch, offset, data, who):
        test.assertEqual(places.setdefault((epoch, offset), data), data, '%s: another publication at %s %d' % (who, epoch, offset))

    for epoch, offset, data in traffic.done:
        place(epoch, offset, data, 'an answer')
    for w in witnesses:
        test.assertEqual(w.faults, [])
        for epoch, piece in w.pieces:
            for offset, data in piece:
                place(epoch, offset, data, 'a subscriber')
        if whole:
            test.assertEqual(len(w.pieces), 1, 'told of a loss: %r' % w.ends)
            seen = [data for _, data in w.pieces[0][1]]
            test.assertEqual(len(set(seen)), len(seen), 'something came twice')
            test.assertEqual({data for _, _, data in traffic.done} - set(seen), set(), 'acknowledged, not delivered, not told')


class Journey(Nodes):
    """Traffic over several nodes, with witnesses that roam all of them, while a test hurts what it likes between begin() and end().
    SEED=N repeats the choices of a run."""

    def setUp(self):
        super().setUp()
        self.seed = int(os.environ.get('SEED') or random.randrange(1 << 30))
        random.seed(self.seed)
        self.nodes, self.witnesses = [], []

    def begin(self, address, count=3, channel='a', **settings):
        self.channel = channel
        self.nodes = [self.node(address, clean=False, **settings) for _ in range(count)]
        for _ in range(WITNESSES):
            w = Witness(lambda: [d.client for d in self.nodes], self.channel)
            self.addCleanup(w.stop)
            self.witnesses.append(w)
        wait_for(lambda: all(w.pieces for w in self.witnesses), what='the subscribers')
        self.traffic = Traffic(self, lambda: list(self.nodes), self.channel)
        self.addCleanup(self.traffic.stop)
        self.traffic.await_more(30)

    def all_told(self, times):
        """Each witness has begun so often anew, and is there: whatever befalls the servers next, it meets, too."""
        wait_for(lambda: all(len(w.pieces) > times for w in self.witnesses), 30, what='all to be told')

    def end(self, whole):
        """whole: nobody was told that he may miss something."""
        self.traffic.await_more(30)
        self.traffic.stop()
        self.again(lambda: random.choice(self.nodes), self.channel, 'end')
        try:
            wait_for(lambda: all(w.faults or w.last() == 'end' for w in self.witnesses), 30, 'the end of everybody')
            judge(self, self.traffic, self.witnesses, whole)
        except AssertionError as e:
            raise AssertionError('%s\nSEED=%d; subscribers at %r, ends %r' % (e, self.seed, [w.last() for w in self.witnesses],
                                                                           [w.ends[-3:] for w in self.witnesses])) from None


__all__ = ['BARE', 'KEPT', 'HERE', 'Journey', 'Nodes', 'Raw', 'Traffic', 'Witness', 'judge']
