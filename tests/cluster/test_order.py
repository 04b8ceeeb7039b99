#!/usr/bin/python3
"""One order for everybody: three nodes publish a hundred thousand messages, and every subscriber of each node sees the same sequence."""

import os
import re
import selectors
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from nodes import Nodes  # noqa: E402 (it finds the others)
from centrifuge import Client  # noqa: E402
from daemon import SLOW  # noqa: E402
from engines import Cluster, Redis  # noqa: E402
from wsraw import TEXT, WebSocket, frame  # noqa: E402

PUBLICATIONS = 100000
AHEAD = 400  # of each publisher's that have not come back
OFFSET = re.compile(rb'"offset":(\d+)')
DATA = re.compile(rb'"data":"?(\d+ \d+)')


def frames(buf):
    """Payloads of whole frames, and the rest. Servers do not mask."""
    found, i, end = [], 0, len(buf)
    while end - i >= 2:
        n, at = buf[i + 1], i + 2
        if n == 126:
            if end - i < 4:
                break
            n, at = int.from_bytes(buf[i + 2:i + 4], 'big'), i + 4
        elif n == 127:
            if end - i < 10:
                break
            n, at = int.from_bytes(buf[i + 2:i + 10], 'big'), i + 10
        if at + n > end:
            break
        found.append((buf[i] & 15, buf[at:at + n]))
        i = at + n
    return found, buf[i:]


class Listener:
    """A subscriber; seen: texts 'publisher number' in the order in which they came."""

    def __init__(self, sock, buf=b''):
        self.sock, self.buf, self.seen, self.offset = sock, buf, [], None
        self.ahead = None

    def read(self):
        data = self.sock.recv(1 << 20)
        assert data, 'a subscriber lost its connection'
        found, self.buf = frames(self.buf + data)
        for opcode, payload in found:
            self.take(opcode, payload)

    def take(self, opcode, payload):
        if opcode == TEXT:
            self.seen.append(payload)
        elif opcode == 9:
            self.sock.sendall(frame(10, payload))
        else:
            raise AssertionError('opcode %d %r' % (opcode, payload))


class Publisher(Listener):
    """Plain: it hears its own, so it knows how far ahead it is."""

    def __init__(self, sock, number, count):
        super().__init__(sock)
        self.head, self.sent, self.count, self.back, self.out = b'%d ' % number, 0, count, 0, b''

    def take(self, opcode, payload):
        super().take(opcode, payload)
        if payload.startswith(self.head):
            self.back += 1

    def write(self):
        n = min(self.count, self.back + AHEAD) - self.sent
        self.out += b''.join(frame(TEXT, self.head + b'%d' % i) for i in range(self.sent, self.sent + n))
        self.sent += n
        if self.out:
            try:
                self.out = self.out[self.sock.send(self.out):]
            except BlockingIOError:
                pass


class Positioned(Listener):
    """A Centrifuge client, whose offsets must count."""

    def take(self, opcode, payload):
        if opcode != TEXT:
            return super().take(opcode, payload)
        for line in payload.split(b'\n'):
            if line == b'{}':
                self.sock.sendall(frame(TEXT, b'{}'))
                continue
            assert b'"pub"' in line, line
            offset = int(OFFSET.search(line).group(1))
            assert offset == self.offset + 1, '%d follows %d' % (offset, self.offset)
            self.offset = offset
            self.seen.append(DATA.search(line).group(1))


class Order(Nodes):
    def listeners(self, nodes, channels, each):
        """Per channel and node a publisher, a plain subscriber, a positioned one."""
        all_of = {}
        number = 0
        for channel in channels:
            group = all_of[channel] = []
            for d in nodes:
                for make in (lambda s: Publisher(s, number, each), Listener):
                    w = WebSocket(d.client, '/ws/' + channel)
                    self.addCleanup(w.close)
                    assert w.response.status == 101, w.response
                    group.append(make(w.sock))
                number += 1
                if not channel.startswith('bare:'):
                    c = Client(d.client)
                    self.addCleanup(c.close)
                    c.connect()
                    at = c.subscribe(channel)
                    group.append(Positioned(c.sock, c.buf))
                    group[-1].offset = at.get('offset', 0)
            for one in group:
                one.sock.setblocking(False)
        return all_of

    def same(self, channel, first, x):
        self.assertTrue(x.seen == first, 'two orders in %s' % channel)

    def traffic(self, nodes, channels, count=PUBLICATIONS):
        self.each = each = count // len(nodes) // len(channels)
        total = each * len(nodes)
        groups = self.listeners(nodes, channels, each)
        everybody = [x for g in groups.values() for x in g]
        publishers = [x for x in everybody if isinstance(x, Publisher)]
        with selectors.DefaultSelector() as selector:
            for x in everybody:
                selector.register(x.sock, selectors.EVENT_READ, x)
            end = time.monotonic() + 450 * SLOW
            while any(len(x.seen) < total for x in everybody):
                assert time.monotonic() < end, 'came: %r of %d' % ([len(x.seen) for x in everybody], total)
                for p in publishers:
                    p.write()
                for key, _ in selector.select(0.05):
                    key.data.read()
        for channel, group in groups.items():
            first = group[0].seen
            self.assertEqual(len(set(first)), total, channel)
            for x in group[1:]:
                self.same(channel, first, x)
            for p in group:  # each publisher's own order is part of it
                if isinstance(p, Publisher):
                    self.assertEqual([x for x in first if x.startswith(p.head)], [p.head + b'%d' % i for i in range(each)])

    def test_one_server_one_channel(self):
        redis = self.started(Redis(tcp=True))
        nodes = [self.node(redis.address) for _ in range(3)]
        self.traffic(nodes, ['a'])

    def test_two_independent_servers_and_several_channels(self):
        servers = [self.started(Redis(tcp=True)) for _ in range(2)]
        nodes = [self.node(','.join(s.address for s in servers), up=2) for _ in range(3)]
        self.traffic(nodes, ['a', 'b', 'bare:c', 'd'])
        for s in servers:  # both had a part in it
            self.assertGreater(int(s.info('total_commands_processed')), 100)

    def test_a_cluster_and_several_channels(self):
        cluster = self.started(Cluster(3))
        nodes = [self.node(cluster.address, up=3) for _ in range(3)]
        self.traffic(nodes, ['a', 'b', 'bare:c', 'd'])


if __name__ == '__main__':
    unittest.main(verbosity=0)
