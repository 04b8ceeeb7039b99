#!/usr/bin/python3
"""Flow control: who does not read costs others nothing and the daemon a bounded amount."""

import os
import signal
import socket
import threading
import time
import unittest

from daemon import SAN, SLOW, DaemonTest, stand_still, wait_for
from wsraw import BINARY, CLOSE, TEXT, Closed, Raw, frame

SMALL = {'send_buffer_size': '16KiB', 'output_limit': '128KiB'}


class SlowConsumer(DaemonTest):
    def setup(self, policy, **more):
        d = self.start(workers=2, slow_consumer=policy, **{**SMALL, **more})
        slow = d.ws('/ws/flood?mode=sub', rcvbuf=4096)
        good = d.spread('/ws/flood?mode=sub', per_worker=2)
        publisher = d.ws('/ws/flood?mode=pub')
        return d, slow, good, publisher

    def flood(self, good, publisher, n, size=4096):
        """Publishes in lockstep with the good readers."""
        for i in range(n):
            text = ('%08d' % i).ljust(size, '.')
            publisher.text(text)
            for c in good:
                c.expect(TEXT, text)

    def test_disconnect(self):
        d, slow, good, publisher = self.setup('disconnect')
        self.flood(good, publisher, 300)
        wait_for(lambda: d.metric('roost_closes_total{reason="slow"}') == 1, what='the slow one to be closed')
        self.assertGreater(d.metric('roost_drops_total{policy="disconnect"}'), 0)
        wait_for(lambda: d.metric('roost_output_queues') == 0, what='the end of its queue')
        with self.assertRaises(Closed):
            while True:
                slow.recv()
        self.assertEqual(d.metric('roost_connections{protocol="plain"}'), len(good) + 1)

    def test_drop(self):
        d, slow, good, publisher = self.setup('drop')
        self.flood(good, publisher, 300)
        wait_for(lambda: d.metric('roost_drops_total{policy="drop"}') > 0, what='drops')
        # The other worker may have sent what stands in the gauge still; the slow one's queue does not get shorter.
        wait_for(lambda: d.metric('roost_output_queue_bytes') < 4 * 131072 + 16384, what='a queue below its bound')
        publisher.goodbye()
        got = self.numbers(d, slow, good)
        self.assertEqual(got, sorted(set(got)))
        self.assertLess(len(got), 300)
        self.assertEqual(got[:10], list(range(10)))

    def test_latest(self):
        d, slow, good, publisher = self.setup('latest')
        self.flood(good, publisher, 300)
        wait_for(lambda: d.metric('roost_drops_total{policy="latest"}') > 0, what='drops')
        publisher.goodbye()
        got = self.numbers(d, slow, good)
        self.assertEqual(got, sorted(set(got)))
        self.assertLess(len(got), 301)
        self.assertIn(299, got)  # the newest came

    def numbers(self, d, slow, good):
        """All that the slow one gets once it reads, up to a mark that everybody gets."""
        got = []
        marked = threading.Event()

        def mark():
            while not marked.wait(0.05):
                d.publish('flood', 'mark')

        t = threading.Thread(target=mark)
        t.start()
        try:
            while True:
                data = slow.recv_data()
                if data == b'"mark"':
                    return got
                got.append(int(data[:8]))
        finally:
            marked.set()
            t.join()

    def test_output_timeout(self):
        d, slow, good, publisher = self.setup('drop', output_timeout='500ms')
        self.flood(good, publisher, 100)
        wait_for(lambda: d.metric('roost_closes_total{reason="slow"}') == 1, what='the slow one to be closed')
        self.flood(good, publisher, 10)

    def test_many_slow_ones_cost_a_bounded_amount(self):
        d = self.start(workers=2, slow_consumer='drop', **SMALL)
        slow = [d.ws('/ws/flood?mode=sub', rcvbuf=4096) for _ in range(100)]
        good = d.spread('/ws/flood?mode=sub', per_worker=1)
        publisher = d.ws('/ws/flood?mode=pub')
        before = d.private_bytes()
        self.flood(good, publisher, 400)  # 1.6 MB for each of them
        # The same publications stand in all the queues: they are there once for each worker.
        self.assertLess(d.metric('roost_blob_bytes'), 2 * 4 * 131072 + 65536)
        self.assertLess(d.private_bytes() - before, (100 if SAN else 8) * 1024 * 1024)
        for c in slow:
            c.close()
        wait_for(lambda: d.metric('roost_output_queue_bytes') == 0, what='empty queues')
        wait_for(lambda: d.metric('roost_blob_bytes') < 4096, what='the blobs to go')

    def test_pings_of_a_bystander_are_answered_during_a_flood(self):
        d = self.start(workers=1, output_limit='16MiB')
        readers = [d.ws('/ws/flood?mode=sub') for _ in range(200)]
        publishers = [d.ws('/ws/flood?mode=pub') for _ in range(2)]
        bystander = d.ws('/ws/quiet')
        stop = threading.Event()

        def read(some):
            for c in some:
                c.sock.setblocking(False)
            while not stop.is_set():
                for c in some:
                    try:
                        c.sock.recv(1 << 20)
                    except BlockingIOError:
                        pass

        def publish(p):
            while not stop.is_set():
                p.text('x' * 500)

        threads = [threading.Thread(target=publish, args=(p,)) for p in publishers]
        threads += [threading.Thread(target=read, args=(readers,))]
        for t in threads:
            t.start()
        times = []
        try:
            for _ in range(50):
                started = time.monotonic()
                bystander.send_frame(9, b'still there?')
                bystander.expect(10, b'still there?')
                times.append(time.monotonic() - started)
        finally:
            stop.set()
            for t in threads:
                t.join()
        self.assertLess(sorted(times)[25], 2 * SLOW)  # a hang; the slices are held by unit/proto/test_bystander


class BackPressure(DaemonTest):
    def test_publishers_are_slowed_down_and_nothing_is_lost(self):
        """A small ring and a hub that hangs: TCP pushes back, memory stays, then everything comes."""
        d = self.start(workers=2, ring_size='64KiB', max_message_size='4KiB', max_frame_size='4KiB', output_limit='64MiB')
        publishers = d.spread('/ws/pressure?mode=pub', per_worker=2)
        subscriber = d.ws('/ws/pressure?mode=sub')
        before = d.private_bytes()
        hub = d.pid_of('hub')
        each, text = 3000, 'y' * 2000
        stand_still(hub)
        sent = [0] * len(publishers)

        def publish(k):
            for i in range(each):
                publishers[k].sock.settimeout(60)
                publishers[k].text('%d:%d:%s' % (k, i, text))
                sent[k] = i + 1

        threads = [threading.Thread(target=publish, args=(k,)) for k in range(len(publishers))]
        for t in threads:
            t.start()
        stuck = []

        def held():
            was, stuck[:] = list(stuck), sent
            time.sleep(0.5)
            return was == sent and d.metric('roost_ring_stalls_total') > 0

        wait_for(held, 30, what='the publishers to be held')
        self.assertLess(max(sent), each)
        self.assertLess(d.private_bytes() - before, (100 if SAN else 4) * 1024 * 1024)
        # held ones do not count as dead, others are served meanwhile
        self.assertEqual(d.http('GET', '/healthz').status, 200)
        os.kill(hub, signal.SIGCONT)
        seen = [0] * len(publishers)
        for _ in range(each * len(publishers)):
            k, i, _ = subscriber.recv_data().decode().split(':')
            self.assertEqual(seen[int(k)], int(i))
            seen[int(k)] += 1
        self.assertEqual(seen, [each] * len(publishers))
        for t in threads:
            t.join()

    def test_a_flood_of_tiny_frames(self):
        d = self.start(workers=2, ring_size='64KiB', max_message_size='4KiB', max_frame_size='4KiB', output_limit='64MiB')
        n = 2000 if SAN else 20000
        with d.ws('/ws/tiny?mode=sub') as s, d.ws('/ws/tiny?mode=pub') as p:
            t = threading.Thread(target=p.send, args=(b''.join(frame(BINARY, b'') for _ in range(n)) + frame(TEXT, 'end'),))
            t.start()
            for _ in range(n):
                s.expect(BINARY, b'')
            s.expect(TEXT, 'end')
            t.join()

    def test_a_flood_does_not_cost_others_their_place(self):
        """Nothing is lost on the way to a worker that goes on taking: who floods is read more slowly."""
        d = self.start(workers=2, hub_queue='64KiB')
        others = d.spread('/ws/quiet?mode=sub', per_worker=2)
        end, n = time.monotonic() + 3, 0

        def flood(c):
            data = frame(BINARY, b'') * 5000
            while time.monotonic() < end or n < 4:
                c.sock.sendall(data)
            c.sock.shutdown(socket.SHUT_WR)

        def read(c):
            while c.sock.recv(1 << 20):
                pass

        with d.ws('/ws/flood') as f, d.ws('/ws/quiet?mode=pub') as p:
            f.sock.settimeout(30 * SLOW)
            threads = [threading.Thread(target=t, args=(f,)) for t in (flood, read)]
            for t in threads:
                t.start()
            while threads[0].is_alive():
                p.text(str(n))
                for c in others:
                    c.expect(TEXT, str(n))
                n += 1
            for t in threads:
                t.join()
        self.assertEqual(d.metric('roost_lost_publications_total'), 0)
        self.assertEqual(d.metric('roost_closes_total{reason="lost_position"}'), 0)

    def test_a_flood_of_pings_is_bounded(self):
        """Who sends pings and does not read the pongs is not read any more, then closed as slow."""
        d = self.start(workers=1, output_timeout='1s', **SMALL)
        before = d.private_bytes()
        with d.ws('/ws/pings', rcvbuf=4096) as c:
            c.sock.settimeout(3)
            data = frame(9, b'p' * 125) * 1000
            try:
                for _ in range(100):
                    c.sock.sendall(data)
            except OSError:
                pass
            wait_for(lambda: d.metric('roost_closes_total{reason="slow"}') == 1, what='the end of the flooder')
        self.assertLess(d.private_bytes() - before, (100 if SAN else 4) * 1024 * 1024)

    def test_pipelined_requests_whose_answers_are_not_read(self):
        d = self.start(workers=1, output_timeout='1s', **SMALL)
        before = d.private_bytes()
        with Raw(d.client, rcvbuf=4096) as c:
            c.sock.settimeout(3)
            data = b'GET / HTTP/1.1\r\nHost: x\r\n\r\n' * 1000
            try:
                for _ in range(100):
                    c.sock.sendall(data)
            except OSError:
                pass
            wait_for(lambda: d.metric('roost_closes_total{reason="slow"}') == 1, what='the end of the flooder')
        self.assertLess(d.private_bytes() - before, (100 if SAN else 8) * 1024 * 1024)

    def test_incomplete_messages_are_bounded(self):
        d = self.start(workers=1, max_partial_bytes='1MiB')
        clients = [d.ws('/ws/partial%d' % i) for i in range(40)]
        before = d.private_bytes()
        for c in clients:
            c.send_frame(BINARY, b'h' * 100000, fin=False)
        wait_for(lambda: d.metric('roost_closes_total{reason="partial"}') > 0, what='the first refusal')
        self.assertLessEqual(d.metric('roost_partial_bytes'), 1100000)
        self.assertLess(d.private_bytes() - before, (100 if SAN else 6) * 1024 * 1024)
        for c in clients:
            c.close()
        wait_for(lambda: d.metric('roost_partial_bytes') < 1000, what='the memory to come back')
        d.wait_metric('roost_frame_slots_in_use', 0)
        with d.ws('/ws/partial') as c:
            c.text('works')
            c.expect(TEXT, 'works')

    def test_closed_because_of_memory_says_1013(self):
        d = self.start(workers=1, max_partial_bytes='64KiB')
        with d.ws('/ws/partial') as c:
            c.send_frame(BINARY, b'h' * 100000, fin=False)
            self.assertEqual((lambda f: (f.opcode, f.code))(c.recv()), (CLOSE, 1013))


if __name__ == '__main__':
    unittest.main(verbosity=0)
