#!/usr/bin/python3
"""Limits that hold for the node, whatever worker a connection meets."""

import os
import re
import signal
import unittest

from daemon import DaemonTest, wait_for
from wsraw import BINARY, CLOSE, CONT, PING, PONG, TEXT, Raw, frame

HANDSHAKE = [('Upgrade', 'websocket'), ('Connection', 'Upgrade'), ('Sec-WebSocket-Key', 'dGhlIHNhbXBsZSBub25jZQ=='),
             ('Sec-WebSocket-Version', '13')]


class Addresses(DaemonTest):
    def status(self, d, keep, source='127.0.0.1'):
        """Of a handshake; who is let in stays."""
        c = Raw(d.client, source=source)
        status = c.request('GET', '/ws/a', HANDSHAKE).status
        keep.append(c) if status == 101 else c.close()
        return status

    def close(self, clients):
        for c in clients:
            c.close()
        clients.clear()

    def test_the_limit_is_the_nodes(self):
        d = self.start(workers=4, max_connections_per_address=10)
        here, there = [], []
        self.assertEqual(sorted(self.status(d, here) for _ in range(40)), [101] * 10 + [503] * 30)
        self.assertGreater(sum(p['connections'] > 0 for p in d.processes()), 1, 'one worker had them all')
        self.assertEqual(self.status(d, there, '127.0.0.2'), 101)
        d.wait_metric('roost_closes_total{reason="address_limit"}', 30)
        here.pop().close()
        wait_for(lambda: self.status(d, here) == 101, what='the place to be free again')
        self.close(here + there)

    def test_what_a_killed_worker_held_is_free(self):
        d = self.start(workers=2, max_connections_per_address=8)
        here = []
        while len(here) < 8:
            self.assertEqual(self.status(d, here), 101)
        self.assertEqual(self.status(d, here), 503)
        held = {}
        wait_for(lambda: held.update({p['name']: p['connections'] for p in d.processes()}) or sum(held.values()) == 8,
                 what='the eight, without who was refused')
        name = max(('worker0', 'worker1'), key=lambda n: held[n])
        pid = d.pid_of(name)
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: d.pid_of(name) not in (0, pid), what='the worker to be back')
        again = []
        wait_for(lambda: self.status(d, again) == 503, what='the limit')
        self.assertEqual(len(again), held[name])
        self.close(here + again)

    def test_a_limit_that_a_reload_brings_counts_who_is_there(self):
        path = self.file('log_level: info\n')
        d = self.start(workers=2, config=path)
        here = []
        for _ in range(5):
            self.assertEqual(self.status(d, here), 101)
        with open(path, 'w') as f:
            f.write('max_connections_per_address: 5\n')
        d.process.send_signal(signal.SIGHUP)

        def refused():
            status = self.status(d, here)
            while len(here) > 5:
                here.pop().close()
            return status == 503

        wait_for(refused, what='the limit to count the five')
        self.close(here)

    def test_new_connections_a_second(self):
        """However fast they come; who is refused is told so and loses nothing by it."""
        d = self.start(workers=3, connection_rate_per_address=3)
        here, seen = [], []
        wait_for(lambda: seen.extend([self.status(d, here) for _ in range(8)]) or 429 in seen, what='the limit')
        self.assertGreaterEqual(seen.count(101), 3)
        self.assertEqual(self.status(d, here, '127.0.0.3'), 101)
        with Raw(d.client) as c:
            r = c.request('GET', '/ws/a', HANDSHAKE)
            if r.status == 429:
                self.assertIn(r.get('retry-after'), ('1', '2'))
        wait_for(lambda: self.status(d, here) == 101, what='a place in a later second')
        d.wait_log(r'level=warn .*reason=address_rate .* connection_rate_per_address=3 .*peer=127\.0\.0\.1')
        wait_for(lambda: d.metric('roost_closes_total{reason="address_rate"}') > 0, what='the count')
        self.close(here)


class Glitches(DaemonTest):
    """Frames that are legal and that nobody needs many of."""

    def test_the_worst_is_closed_and_others_stay(self):
        d = self.start(workers=1, glitch_limit=1000, glitch_cpu=0)
        honest = d.ws('/ws/a')
        for _ in range(100):
            honest.send_frame(PING, b'x')
            honest.expect(PONG)
        for flood in frame(PING) * 1200, frame(CONT, fin=False) * 1200, frame(TEXT) * 1200:
            c = d.ws('/ws/b?mode=pub')
            if flood[0] == CONT:
                c.send_frame(TEXT, 'begun', fin=False)
            c.send(flood)
            while True:
                f = c.recv()
                if f.opcode == CLOSE:
                    break
            self.assertEqual(f.code, 1008)
            c.close()
        d.wait_metric('roost_closes_total{reason="glitches"}', 3)
        self.assertGreaterEqual(d.metric('roost_glitches_total'), 3600)
        d.wait_log('level=warn .*reason=glitches .* glitch_limit=1000 ')
        honest.text('x')
        honest.expect(TEXT, 'x')

    def test_an_idle_worker_closes_nobody(self):
        d = self.start(workers=1, glitch_limit=10, glitch_cpu=100)
        with d.ws('/ws/a') as c:
            c.send(frame(PING) * 100)
            for _ in range(100):
                c.expect(PONG)
            self.assertGreater(max(self.points(d)), 10)
            # Two looks later it is there still.
            turns = d.metric('roost_turns_total')
            wait_for(lambda: d.metric('roost_turns_total') > turns + 4, what='some turns')
            c.text('x')
            c.expect(TEXT, 'x')

    def points(self, d):
        for c in d.get_json('/debug/connections')['connections']:
            if c['protocol'] == 'plain':
                yield d.get_json('/debug/connection?id=' + c['id'])['connection']['glitches']


class Listeners(DaemonTest):
    """Limits of one listener, beside another without."""

    def listen(self, **limits):
        d = self.start(workers=2, config=self.file('listeners:\n- {address: "127.0.0.1:0", name: other, %s}\n' % ', '.join(
            '%s: %d' % x for x in limits.items())))
        self.other = re.search(r'address=(\S+)', d.lines(r'msg="?listening"? .*for=clients')[1]).group(1)
        return d

    def dial(self, address, keep):
        c = Raw(address)
        status = c.request('GET', '/ws/a', HANDSHAKE).status
        keep.append(c) if status == 101 else c.close()
        return status

    def crowd(self, address, n, keep):
        """So many come at the same moment, which no machine is too slow for; all are served."""
        keep += [Raw(address) for _ in range(n)]
        for c in keep[-n:]:
            c.send('GET /ws/a HTTP/1.1\r\nHost: a\r\n%s\r\n' % ''.join('%s: %s\r\n' % f for f in HANDSHAKE))
        self.assertEqual([c.read_response().status for c in keep[-n:]], [101] * n)

    def test_connections(self):
        d, here = self.listen(max_connections=5), []
        wait_for(lambda: self.dial(self.other, here) == 503, what='the limit')
        self.assertEqual(len(here), 5)
        self.assertEqual(self.dial(d.client, here), 101)
        d.wait_log('level=warn .*reason=listener_full ')
        wait_for(lambda: d.metric('roost_closes_total{reason="listener_full"}') >= 1, what='the count')
        for c in here:
            c.close()

    def test_connections_of_an_address(self):
        d, here = self.listen(max_connections_per_address=3), []
        self.assertEqual([self.dial(self.other, here) for _ in range(5)], [101] * 3 + [503] * 2)
        self.assertEqual([self.dial(d.client, here) for _ in range(5)], [101] * 5)
        for c in here:
            c.close()

    def test_who_comes_too_fast_to_the_plain_listener_waits(self):
        """accept_rate without an entry of listeners; and a reload takes it away."""
        config = self.file('accept_rate: 4\n')
        d, here = self.start(workers=2, config=config), []
        self.crowd(d.client, 6, here)
        self.assertGreater(d.metric('roost_accept_stops_total{for_want_of="rate"}'), 0)
        d.wait_log('clients wait to be accepted" listener=listen accept_rate=4 now=4')
        with open(config, 'w') as f:
            f.write('{}\n')
        d.process.send_signal(signal.SIGHUP)
        d.wait_log('msg="reloaded" changed=accept_rate')
        for c in here:
            c.close()

    def test_slowly_at_the_start(self):
        """A tenth of the rate when the node has just begun; so few that the limit is met at once."""
        d, here = self.start(workers=2, accept_rate=10, slow_start='1h'), []
        wait_for(lambda: self.assertEqual(self.dial(d.client, here), 101) or d.metric('roost_accept_stops_total{for_want_of="rate"}') > 0,
                 what='somebody who waits')
        d.wait_log('clients wait to be accepted" listener=listen accept_rate=10 now=1')
        for c in here:
            c.close()

    def test_who_comes_too_fast_waits(self):
        """And is served: nobody is refused."""
        d, here = self.listen(accept_rate=5), []
        self.crowd(self.other, 12, here)
        self.assertGreater(d.metric('roost_accept_stops_total{for_want_of="rate"}'), 0)
        d.wait_log('msg="accept_rate is reached: clients wait to be accepted" listener=other accept_rate=5')
        for c in here:
            c.close()


class Overload(DaemonTest):
    def test_half_requests_make_room(self):
        """All places are taken by who says a request byte by byte: a client that comes is served."""
        d = self.start(workers=1, max_connections=50, header_timeout='1h')
        slow = []

        def sent():
            """Dials until none is refused: another one may have been crowded out for it."""
            while d.metric('roost_connections{protocol="http"}') < 50:
                slow.append(Raw(d.client))
                slow[-1].send('GET /ws/a HTTP/1.1\r\nX: ')
            return True

        wait_for(sent, what='the node to be full')

        served = []

        def serve():
            c = Raw(d.client)
            if c.request('GET', '/ws/a', HANDSHAKE).status == 101:
                served.append(c)
                return True
            c.close()
            return False

        for _ in range(20):
            wait_for(serve, what='who waits to be a second old')
        wait_for(lambda: d.metric('roost_closes_total{reason="crowded_out"}') >= 19, what='their end')
        d.wait_log('level=warn .*msg="full: who waits without a request makes room"')
        for c in slow + served:
            c.close()

    def test_a_worker_without_room_is_stood_in_for(self):
        """One of two workers holds as much as it may, the other nothing: who comes is served, whichever it meets."""
        d = self.start(workers=2, worker_memory='2MiB')
        here, others = [], []

        def connections():
            return d.metric('roost_worker_connections{process="worker0"}')

        while not d.lines('no clients are accepted for now'):
            before = connections()
            c = d.ws('/ws/a')
            (here if connections() > before else others).append(c)
            if here and c is here[-1]:
                c.send_frame(BINARY, b'x' * 60000, fin=False)
            self.assertLess(len(here), 100)
        for _ in range(20):
            others.append(d.ws('/ws/a'))
        self.assertGreater(d.metric('roost_accepts_stand_in_total'), 0)
        for c in here:
            c.close()
        d.wait_log('clients are accepted again')
        for c in others:
            c.close()

    def test_slow_consumers_pay_for_memory(self):
        """Who reads gets everything meanwhile, and clients are accepted again when there is room."""
        d = self.start(workers=1, worker_memory='4MiB', output_limit='64MiB', send_buffer_size='4KiB')
        slow = [d.ws('/ws/f?mode=sub', rcvbuf=4096) for _ in range(3)]
        good, publisher = d.ws('/ws/f?mode=sub'), d.ws('/ws/f?mode=pub')
        for i in range(2000):
            publisher.text(('%08d' % i).ljust(8192, '.'))
            self.assertEqual(good.expect(TEXT).payload[:8], b'%08d' % i)
            if i % 50 == 0 and d.metric('roost_closes_total{reason="overload"}') + d.metric('roost_connections_closing') == 3:
                break
        wait_for(lambda: d.metric('roost_closes_total{reason="overload"}') == 3, what='their end')
        d.wait_log('level=warn .*msg="worker_memory is used up: the slowest clients are closed" .*worker_memory=4194304')
        with d.ws('/ws/f') as c:
            c.text('x')
            c.expect(TEXT, 'x')
        for c in slow:
            c.close()


if __name__ == '__main__':
    unittest.main(verbosity=0)
