#!/usr/bin/python3
"""What a hub takes with it when it dies while it gathers: whoever asked is told, and nobody gets another's answer."""

import json
import os
import re
import signal
import unittest

from centrifuge import OPEN, Client, yaml
from daemon import DaemonTest, stand_still, wait_for
from wsraw import Raw

HISTORY, PRESENCE, STATS = ({'history': {'channel': 'a', 'limit': 9}}, {'presence': {'channel': 'a'}}, {'presence_stats': {'channel': 'a'}})

ANNOUNCED, LIVE = 'roost_ring_records_total{kind="announced"}', 'hub is live|not every worker has announced'


class Unanswered(DaemonTest):
    def asker(self, d, worker):
        """An admin connection to that worker."""
        for _ in range(200):
            c = Raw(d.admin)
            self.addCleanup(c.close)
            if json.loads(c.request('GET', '/debug/pools').body)['worker'] == worker:
                return c
        raise AssertionError('the kernel never chose worker %d' % worker)

    def metrics(self, asker):
        text = asker.request('GET', '/metrics').body.decode()
        return {k: float(v) for k, v in (x.rsplit(' ', 1) for x in text.split('\n') if x and x[0] != '#')}

    def hub(self, d):
        return int(re.findall(r'msg="?started"? process=hub pid=(\d+)', d.text())[-1])

    def new_hub(self, d):
        old = self.hub(d)
        os.kill(old, signal.SIGKILL)
        wait_for(lambda: self.hub(d) != old, what='a new hub')

    def lost_with_two_hubs(self, command):
        """A client whose command was taken by a hub that waited for a worker that does not move, and then died."""
        for _ in range(10):
            c = self.lost_in_time(command)
            if c is not None:
                return c
        raise AssertionError('the hub was never killed in the two seconds for which it waits')

    def lost_in_time(self, command):
        d = self.start(workers=2, hub_timeout='2s', hang_timeout='0', config=self.file(yaml(
            {'allow_anonymous_connect_without_token': True, 'channel_without_namespace': OPEN})))
        c = Client(d.client)
        self.addCleanup(c.close)
        c.connect()
        name = next(p['name'] for p in d.processes() if p['connections'] == 1)
        other = d.pid_of('worker1' if name == 'worker0' else 'worker0')
        asker = self.asker(d, int(name[-1]))
        wait_for(lambda: self.metrics(asker)['roost_ring_to_hub_bytes'] == 0, what='silence')
        stand_still(other)
        try:
            stand_still(self.hub(d))
            c.say({'id': 70, **command})  # it stands in the ring before the announcement
            wait_for(lambda: self.metrics(asker)['roost_ring_to_hub_bytes'] > 0, what='the question')
            announced, live = self.metrics(asker)[ANNOUNCED], len(d.lines(LIVE))
            self.new_hub(d)
            wait_for(lambda: self.metrics(asker)[ANNOUNCED] > announced, what='the hub to have taken it')
            self.new_hub(d)
            return c if len(d.lines(LIVE)) == live else None
        finally:
            os.kill(other, signal.SIGCONT)

    def test_a_publication(self):
        c = self.lost_with_two_hubs({'publish': {'channel': 'a', 'data': 1}})
        self.assertEqual(c.answer(70)['error']['code'], 100)
        self.assertEqual(c.ask(publish={'channel': 'a', 'data': 2}), {'publish': {}})
        self.assertEqual([p['data'] for p in c.ask(**HISTORY)['history']['publications']], [2])

    def test_an_answer_is_not_taken_for_another_s(self):
        c = self.lost_with_two_hubs({'publish': {'channel': 'a', 'data': 1}})
        c.say({'id': 71, 'publish': {'channel': 'a', 'data': 2}})
        self.assertEqual([(m['id'], list(m)[1]) for m in (c.next(), c.next())], [(70, 'error'), (71, 'publish')])

    def test_a_question(self):
        """Its answer may come yet, and would be taken for the next one's: the client is sent away, to come again."""
        for command in (HISTORY, PRESENCE, STATS):
            with self.subTest(str(command)):
                self.assertEqual(self.lost_with_two_hubs(command).ends()[0], 3004)


if __name__ == '__main__':
    unittest.main(verbosity=0)
