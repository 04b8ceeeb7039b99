#!/usr/bin/python3
"""Nodes that share NATS servers, when a hub, a node or a server is killed or stands still, or a link is cut."""

import unittest

from daemon import alive, wait_for
from links import Link
from nats_nodes import Nodes


class Failures(Nodes):
    def test_a_killed_hub_loses_nothing_that_was_answered_and_doubles_nothing(self):
        s = self.server()
        nodes = [self.node(s, clean=False), self.node(s)]
        other, own = self.client(nodes[1], 'a'), nodes[0].ws('/ws/a')
        sent = []
        for i in range(60):
            if i in (20, 40):
                # One that dies while it still gathers what is subscribed to loses what it has set aside, and says so.
                wait_for(lambda: nodes[0].metric('roost_engine_up') == 1 and len(nodes[0].lines('hub is live')) >= i // 60, what='the hub')
                wait_for(lambda: alive(nodes[0].pid_of('hub')), what='the hub')
                nodes[0].kill('hub')
            wait_for(lambda: self.answers(nodes[0], 'a', i)[0] == 200, what='publication %d' % i)
            sent.append(i)
        self.published(nodes[0], 'a', 'end')
        got = []
        while got[-1:] != ['end']:
            got.append(other.data())
        # A publication whose answer was lost was made again by this test, as by any caller: it may be there twice.
        self.assertEqual(sorted(set(got[:-1])), sent)
        self.assertEqual([x for k, x in enumerate(got[:-1]) if k == 0 or x != got[k - 1]], sent)
        del own

    def publish_and_kill(self, await_all):
        """Ninety publications of a plain client of the first node, whose hub is killed before the thirtieth and once more before the
        seventieth; what subscribers of both have, and the node. await_all: the second hub has published by the sixtieth what it had set
        aside, so it dies in the middle of ten others."""
        s = self.server()
        nodes = [self.node(s, clean=False), self.node(s)]
        a, b = (d.ws('/ws/x') for d in nodes)
        killed = 0
        for i in range(90):
            if await_all and i == 60:
                wait_for(lambda: nodes[1].metric('roost_publications_out_total') >= 60, what='all until then')
            if i in (30, 70 if await_all else 60):
                wait_for(lambda: nodes[0].pid_of('hub') not in (0, killed) and alive(nodes[0].pid_of('hub')), what='the hub')
                killed = nodes[0].kill('hub')
            a.text(b'%d' % i)
        wait_for(lambda: nodes[0].pid_of('hub') not in (0, killed), what='the last hub')
        nodes[0].publish('x', 'end')
        got = []
        for w in a, b:
            got.append([])
            while not got[-1] or got[-1][-1] != '"end"':
                got[-1].append(w.recv_data().decode())
            del got[-1][-1]
        return [[int(x) for x in g] for g in got], nodes[0]

    def test_what_plain_clients_publish_while_hubs_are_killed_comes_once(self):
        for got in self.publish_and_kill(True)[0]:
            self.assertEqual(got, list(range(90)))

    def test_what_a_hub_loses_that_is_killed_while_it_gathers_is_counted(self):
        """What it had set aside, or had handed to an engine that had not taken it yet, has no place in a ring any more."""
        (ours, theirs), d = self.publish_and_kill(False)
        lost = d.metric('roost_lost_publications_total')
        for got in ours, theirs:
            self.assertEqual(got, sorted(set(got)))
            self.assertLessEqual(90 - len(got), lost)

    def test_a_killed_node_does_not_disturb_the_others(self):
        s = self.server()
        nodes = [self.node(s, clean=False), self.node(s), self.node(s)]
        c = [self.client(d, 'a') for d in nodes]
        nodes[0].process.kill()
        nodes[0].process.wait(20)
        for i in range(20):
            self.published(nodes[1 + i % 2], 'a', i)
        for one in c[1:]:
            self.assertEqual(sorted(one.data() for _ in range(20)), list(range(20)))

    def test_a_server_that_is_killed_and_comes_back(self):
        s = self.server()
        d = self.node(s, engine_patience='300ms')
        c, w = self.client(d, 'a', 'ns:a'), d.ws('/ws/a')
        self.published(d, 'a', 1)
        self.assertEqual(c.data(), 1)
        s.kill()
        wait_for(lambda: d.metric('roost_engine_up') == 0, what='the node to notice')
        self.assertEqual(self.answers(d, 'a', 2)[1]['error']['code'], 100)
        waiting = self.client(d)
        waiting.say({'id': 77, 'subscribe': {'channel': 'new'}})
        self.assertEqual(waiting.answer(77)['error']['code'], 100)  # patience has ended; SDKs ask again
        s.start()
        self.is_up(d)
        wait_for(lambda: self.answers(d, 'a', 3)[0] == 200, what='publications to be taken again')
        self.assertEqual(c.data(), 3)
        self.assertEqual([w.recv_data() for _ in range(2)], [b'1', b'3'])
        waiting.subscribe('new')
        self.published(d, 'new', 4)
        self.assertEqual(waiting.data(), 4)

    def test_patience(self):
        """Shorter than patience lasts: publishers wait, and nothing is lost."""
        s = self.server()
        d = self.node(s, engine_patience='20s')
        w = d.ws('/ws/a')
        s.kill()
        for i in range(10):
            w.text(b'%d' % i)
        s.start()
        self.assertEqual([w.recv_data() for _ in range(10)], [b'%d' % i for i in range(10)])

    def test_a_server_that_stands_still(self):
        s = self.server()
        d = self.node(s, engine_patience='300ms', engine_timeout='1s')
        c = self.client(d, 'a')
        s.pause()
        wait_for(lambda: d.metric('roost_engine_reconnects_total') > 0, what='the node to notice')
        self.assertEqual(self.answers(d, 'a', 0)[1]['error']['code'], 100)
        s.resume()
        wait_for(lambda: self.answers(d, 'a', 1)[0] == 200, what='publications to be taken again')
        self.assertEqual(c.data(), 1)

    def test_one_direction_is_cut(self):
        s = self.server()
        for direction in ('up', 'down'):
            link = Link(s.port)
            self.addCleanup(link.stop)
            d = self.node('nats://127.0.0.1:%d' % link.port, engine_patience='300ms', engine_timeout='1s')
            c = self.client(d, 'a')
            link.stall(direction)
            wait_for(lambda: d.metric('roost_engine_reconnects_total') > 0, what='the node to notice')
            link.heal()
            wait_for(lambda: self.answers(d, 'a', 1)[0] == 200, what='publications to be taken again')
            self.assertEqual(c.data(), 1)

    def test_what_was_missed_is_counted(self):
        s = self.server()
        link = Link(s.port)
        self.addCleanup(link.stop)
        nodes = [self.node(s), self.node('nats://127.0.0.1:%d' % link.port)]
        c, w = self.client(nodes[1], 'ns:a'), nodes[1].ws('/ws/ns:a')
        self.published(nodes[0], 'ns:a', 'heard')
        self.assertEqual(c.data(), 'heard')
        link.cut()
        wait_for(lambda: nodes[1].metric('roost_engine_up') == 0, what='the node to notice')
        for i in range(3):
            self.published(nodes[0], 'ns:a', i)
        link.heal()
        self.is_up(nodes[1])
        self.published(nodes[0], 'ns:b', 'behind the subscriptions')
        self.published(nodes[0], 'ns:a', 'after')
        self.assertEqual(c.data(), 'after')
        self.assertEqual([w.recv_data() for _ in range(2)], [b'"heard"', b'"after"'])
        nodes[1].wait_metric('roost_engine_missing_publications_total', 3)
        nodes[1].wait_metric('roost_engine_gaps_total{outcome="lost"}', 1)


if __name__ == '__main__':
    unittest.main()
