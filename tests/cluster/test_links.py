#!/usr/bin/python3
"""Links to the server that stall in one direction, are cut, or whose node reads too slowly: noticed, told, and nothing is missing after it."""

import os
import signal
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from nodes import Nodes, Traffic, Witness, judge  # noqa: E402 (it finds the others)
from daemon import stand_still, wait_for  # noqa: E402
from engines import Redis  # noqa: E402
from links import Link  # noqa: E402

IMPATIENT = {'engine_timeout': '1s', 'engine_probe_interval': '500ms', 'engine_patience': '500ms', 'engine_reconnect_max': '500ms'}


class Links(Nodes):
    def begin(self, far_address, near_address, **settings):
        """One node behind the link, another one beside the server, at which all is published."""
        self.far, self.near = self.node(far_address, **IMPATIENT, **settings), self.node(near_address)
        self.witnesses = [Witness(lambda a=d.client: [a], 'a') for d in (self.far, self.far, self.near)]
        for w in self.witnesses:
            self.addCleanup(w.stop)
        wait_for(lambda: all(w.pieces for w in self.witnesses), what='the subscribers')
        self.traffic = Traffic(self, lambda: [self.near], 'a')
        self.addCleanup(self.traffic.stop)
        self.traffic.await_more(20)

    def end(self):
        self.traffic.await_more(20)
        self.traffic.stop()
        self.published(self.near, 'a', 'end')
        wait_for(lambda: all(w.faults or w.last() == 'end' for w in self.witnesses), 30, 'the end of everybody')
        judge(self, self.traffic, self.witnesses, whole=True)
        self.assertEqual([w.ends for w in self.witnesses], [[], [], []])  # nobody was disconnected

    def away(self, hurt):
        redis = self.started(Redis(tcp=True))
        link = self.started(Link(redis.port))
        self.begin('redis://127.0.0.1:%d' % link.port, redis.address)
        hurt(link)
        wait_for(lambda: self.far.metric('roost_engine_up') == 0, what='the node to notice')
        self.assertEqual(self.near.metric('roost_engine_up'), 1)
        wait_for(lambda: self.answer(self.far, 'a', 'no')[0] == 503, what='publications to be refused at once')
        self.assertEqual(self.answer(self.far, 'a', 'no')[1]['error']['code'], 100)
        self.traffic.await_more(50)
        link.heal()
        wait_for(lambda: self.far.metric('roost_engine_up') == 1, what='the node to be back')
        self.end()

    def test_what_the_node_sends_does_not_arrive(self):
        self.away(lambda link: link.stall('up'))

    def test_what_the_server_sends_does_not_arrive(self):
        self.away(lambda link: link.stall('down'))

    def test_neither_arrives(self):
        self.away(lambda link: link.stall())

    def test_cut(self):
        self.away(lambda link: link.cut())

    def test_again_and_again(self):
        redis = self.started(Redis(tcp=True))
        link = self.started(Link(redis.port))
        self.begin('redis://127.0.0.1:%d' % link.port, redis.address)
        for hurt in (link.cut, lambda: link.stall('down'), lambda: link.stall('up'), link.cut) * 2:
            hurt()
            wait_for(lambda: self.far.metric('roost_engine_up') == 0, what='the node to notice')
            link.heal()
            wait_for(lambda: self.far.metric('roost_engine_up') == 1, what='the node to be back')
            self.traffic.await_more(10)
        self.end()

    def test_a_server_that_is_late_but_answers(self):
        """The oldest call waits for longer than engine_timeout, since there is much to do: nothing is wrong."""
        redis = self.started(Redis(tcp=True))
        link = self.started(Link(redis.port))
        far, near = self.node('redis://127.0.0.1:%d' % link.port, engine_timeout='4s'), self.node(redis.address)
        publisher, subscriber = far.ws('/ws/bare:a?mode=pub'), near.ws('/ws/bare:a')
        link.trickle('up', 65536, 0.1)
        for i in range(64):
            publisher.text(b'%d ' % i + b'x' * 60000)
        for i in range(64):
            self.assertTrue(subscriber.recv_data().startswith(b'%d ' % i))
        self.assertEqual(far.metric('roost_engine_reconnects_total'), 0)

    def test_the_server_closes_who_reads_too_slowly(self):
        redis = self.started(Redis('--client-output-buffer-limit', 'pubsub 256kb 0 0', tcp=True))
        self.begin('unix:' + redis.path, redis.address, hang_timeout='10m')  # it is not killed, however long that takes
        hub = self.far.pid_of('hub')
        stand_still(hub)
        for i in range(1000):
            self.published(self.near, 'a', '%d ' % i + 'x' * 4000)
            if redis.say('CLIENT', 'LIST', 'TYPE', 'pubsub').count('\n') == 0:
                break
        else:
            self.fail('the server did not close it')
        os.kill(hub, signal.SIGCONT)
        self.end()
        self.assertGreater(self.far.metric('roost_engine_reconnects_total'), 0)


if __name__ == '__main__':
    unittest.main(verbosity=0)
