#!/usr/bin/python3
"""Members of channels and users of the node: told, listed and counted by the hub, whoever is killed."""

import tempfile
import unittest

from centrifuge import OPEN, SECRET, Client, token, yaml
from daemon import DaemonTest, wait_for
from wsraw import Closed


class Kills(DaemonTest):
    def daemon(self, **settings):
        settings = {'allow_anonymous_connect_without_token': True, 'token_hmac_secret_key': SECRET,
                    'channel_without_namespace': {**OPEN, 'force_recovery': False, 'join_leave': True, 'force_push_join_leave': True}, **settings}
        with tempfile.NamedTemporaryFile('w', suffix='.yaml', prefix='roost-test-') as f:
            f.write(yaml(settings))
            f.flush()
            return self.start(config=f.name, clean=False, workers=2)

    def client(self, d, **connect):
        c = Client(d.client)
        self.addCleanup(c.close)
        c.connect(**connect)
        c.worker = wait_for(lambda: [x['worker'] for x in [d.get_json('/debug/connections')]
                                     if any(y.get('client') == c.me for y in x['connections'])], what='its worker')[0]
        return c

    def both(self, d, n, **connect):
        """Clients of which at least n are on each worker."""
        clients = []
        while min(sum(c.worker == w for c in clients) for w in (0, 1)) < n:
            clients.append(self.client(d, **connect))
        return clients

    def members(self, c, channel):
        got = c.ask(presence={'channel': channel})
        return set(got['presence']['presence']) if 'presence' in got else None

    def test_those_of_a_killed_worker_go_and_the_others_are_told(self):
        d = self.daemon()
        clients = self.both(d, 3)
        for c in clients:
            c.subscribe('x')
        gone = {c.me for c in clients if c.worker == 0}
        there = [c for c in clients if c.worker == 1]
        everybody = {c.me for c in clients}
        wait_for(lambda: self.members(there[0], 'x') == everybody, what='all to be there')
        d.kill('worker0')
        for c in there:
            left = set()
            while left != gone:
                m = c.next()['push']
                if 'leave' in m:
                    self.assertIn(m['leave']['info']['client'], gone - left)
                    left.add(m['leave']['info']['client'])
        self.assertEqual(self.members(there[0], 'x'), everybody - gone)
        d.kill('hub')
        wait_for(lambda: self.members(there[0], 'x') == everybody - gone, what='a new hub to know who is there')
        self.assertEqual([m for c in there for m in c.messages if 'leave' in m.get('push', {})], [])
        wait_for(lambda: d.metric('roost_presence_members') == len(there), what='the gauge')
        rings = d.get_json('/debug/rings')
        self.assertEqual(rings['hub']['members'], len(there))
        self.assertGreater(rings['hub']['member_bytes'], 0)

    def test_an_info_that_grows_keeps_nobody_from_publishing_behind_another_hub(self):
        d = self.daemon()
        c, long = self.client(d, token=token(sub='42', info={'n': 1})), {'x': 'a' * 34000}
        c.subscribe('x', token=token(sub='42', channel='x', info=long))
        c.ask(refresh={'token': token(sub='42', info={'n': 2})})  # what others see of it is new at once
        self.assertEqual(c.ask(presence={'channel': 'x'})['presence']['presence'][c.me]['conn_info'], {'n': 2})
        c.say({'id': 99, 'refresh': {'token': token(sub='42', info=long)}})  # together with the subscription's: no room in a record
        self.assertEqual(c.ends(), (3500, 'invalid token'))
        c = self.client(d, token=token(sub='43', info={'n': 1}))  # the server API has the same
        c.subscribe('x', token=token(sub='43', channel='x', info=long))
        d.api('refresh', user='43', info={'n': 3})
        wait_for(lambda: c.ask(presence={'channel': 'x'})['presence']['presence'][c.me]['conn_info'] == {'n': 3}, what='its new info')
        d.api('refresh', user='43', info=long)
        self.assertEqual(c.ends(), (3500, 'invalid token'))
        others = self.both(d, 1)
        for o in others:
            o.subscribe('x')
        wait_for(lambda: self.members(others[0], 'x') == {o.me for o in others}, what='who has ended to be gone')
        d.kill('hub')
        for o in others:
            o.publish('x', 'still')

    def test_more_than_a_hundred_are_listed(self):
        d = self.daemon(channel_limit=300)
        c = self.client(d)
        many = [Client(d.client) for _ in range(260)]
        for x in many:
            self.addCleanup(x.close)
            x.say({'id': 1, 'connect': {}}, {'id': 2, 'subscribe': {'channel': 'x'}})
        want = {x.answer(1)['connect']['client'] for x in many}
        for x in many:
            x.answer(2)
        wait_for(lambda: self.members(c, 'x') == want, what='all to be there')
        self.assertEqual(c.ask(presence_stats={'channel': 'x'}), {'presence_stats': {'num_clients': 260, 'num_users': 1}})

    def test_connections_of_a_user_are_counted_for_the_node(self):
        d = self.daemon(user_connection_limit=6)
        mine = {'token': token(sub='ann')}
        clients = [self.client(d, **mine) for _ in range(6)]

        def refused():
            c = Client(d.client)
            self.addCleanup(c.close)
            try:
                c.connect(**mine)
            except Closed as e:
                return 'close 3504' in str(e)
            c.close()
            return False

        self.assertTrue(refused())
        wait_for(lambda: d.metric('roost_users') == 1, what='the gauge')
        d.kill('hub')
        self.assertTrue(refused())
        left = [c for c in clients if c.worker == 1]
        d.kill('worker0')
        if len(left) < 6:
            wait_for(lambda: not refused(), what='room')
        for c in left:
            c.close()
        wait_for(lambda: d.metric('roost_users') == 0, what='the end of the user')


if __name__ == '__main__':
    unittest.main()
