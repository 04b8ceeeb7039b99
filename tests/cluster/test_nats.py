#!/usr/bin/python3
"""Nodes over NATS: each publisher's order on every node, servers that die, links that stall. Clients stay."""

import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import test_order  # noqa: E402
from nodes import BARE, Nodes  # noqa: E402 (it finds the others)
from daemon import wait_for  # noqa: E402
from engines import Nats  # noqa: E402
from links import Link  # noqa: E402

IMPATIENT = {'engine_timeout': '1s', 'engine_probe_interval': '500ms', 'engine_patience': '500ms', 'engine_reconnect_max': '500ms',
             'channel_without_namespace': BARE}
PUBLICATIONS = 30000


class Order(test_order.Order):
    test_one_server_one_channel = test_two_independent_servers_and_several_channels = test_a_cluster_and_several_channels = None

    def same(self, channel, first, x):
        """One publisher's order is kept; between publishers every node may see another one."""
        self.assertEqual(sorted(x.seen), sorted(first), channel)
        for head in {m.split(b' ')[0] for m in first}:
            self.assertEqual([int(m.split(b' ')[1]) for m in x.seen if m.split(b' ')[0] == head], list(range(self.each)), channel)

    def test_each_publishers_order(self):
        nats = self.started(Nats())
        nodes = [self.node(nats.address, **IMPATIENT) for _ in range(3)]
        self.traffic(nodes, ['bare:a', 'bare:b'], count=PUBLICATIONS)


class Failures(Nodes):
    def heard(self, of, by):
        """What is published at one node comes to a client of another one, soon."""
        heard = []

        def once():
            self.answer(of, 'bare:a', 'are you there')
            by.sock.settimeout(0.2)
            try:
                heard.append(by.recv_data())
            except OSError:
                return False
            return True

        wait_for(once, 30, 'a message')
        by.sock.settimeout(15)

    def test_a_server_is_killed_and_comes_back(self):
        nats = self.started(Nats())
        nodes = [self.node(nats.address, **IMPATIENT) for _ in range(2)]
        clients = [d.ws('/ws/bare:a') for d in nodes]
        self.heard(nodes[0], clients[1])
        nats.kill()
        for d in nodes:
            wait_for(lambda: d.metric('roost_engine_up') == 0, what='the nodes to notice')
            wait_for(lambda: self.answer(d, 'bare:a', 'no')[0] == 503, what='publications to be refused')
        nats.start()
        for d in nodes:
            wait_for(lambda: d.metric('roost_engine_up') == 1, what='the nodes to be back')
        self.heard(nodes[0], clients[1])
        self.heard(nodes[1], clients[0])

    def test_the_other_server_of_a_cluster(self):
        first = self.started(Nats())
        second = self.started(Nats(routes=[first]))
        wait_for(lambda: first.ask('routez')['num_routes'] > 0, what='the route')
        address = '%s,%s' % (first.address, second.address)
        nodes = [self.node(address, **IMPATIENT) for _ in range(2)]
        clients = [d.ws('/ws/bare:a') for d in nodes]
        self.heard(nodes[0], clients[1])
        for dies in (first, second):
            dies.kill()
            self.heard(nodes[0], clients[1])
            self.heard(nodes[1], clients[0])
            dies.start()
            wait_for(lambda: dies.ask('routez')['num_routes'] > 0, what='the route')

    def test_a_link_that_stalls(self):
        nats = self.started(Nats())
        link = self.started(Link(nats.port))
        far, near = self.node('nats://127.0.0.1:%d' % link.port, **IMPATIENT), self.node(nats.address, **IMPATIENT)
        client = far.ws('/ws/bare:a')
        self.heard(near, client)
        for hurt in (lambda: link.stall('up'), lambda: link.stall('down'), link.cut):
            hurt()
            wait_for(lambda: far.metric('roost_engine_up') == 0, what='the node to notice')
            link.heal()
            wait_for(lambda: far.metric('roost_engine_up') == 1, what='the node to be back')
            self.heard(near, client)


if __name__ == '__main__':
    unittest.main(verbosity=0)
