#!/usr/bin/python3
"""What the server API answers is what will happen; what is lost is counted and logged."""

import json
import os
import signal
import unittest

from daemon import DaemonTest, stand_still, wait_for
from wsraw import TEXT, Raw


def post(c, method, **request):
    return c.request('POST', '/api/' + method, body=json.dumps(request))


class Truth(DaemonTest):
    def stopped_hub(self, **settings):
        d = self.start(workers=1, hub_timeout='500ms', hang_timeout='60s', **settings)
        hub = d.pid_of('hub')
        stand_still(hub)
        self.addCleanup(os.kill, hub, signal.SIGCONT)
        return d, hub

    def assert_failed(self, r, status, text, after=('1',)):
        self.assertEqual(r.status, status, r)
        self.assertEqual(r.get('content-type'), 'application/json')
        self.assertIn(r.get('retry-after'), after if status == 503 else (None,))
        answer = json.loads(r.body)
        self.assertEqual((list(answer), answer['error']['code']), (['error'], 100))
        self.assertRegex(answer['error']['message'], text)

    def test_what_is_in_the_ring_is_not_called_undone(self):
        d, hub = self.stopped_hub()
        with Raw(d.admin) as c:
            self.assert_failed(post(c, 'publish', channel='a', data=1), 504, '^outcome unknown: ')
        with Raw(d.admin) as c:
            self.assert_failed(post(c, 'broadcast', channels=['a', 'b'], data=2), 504, '^outcome unknown: .* all 2 channels')
        with Raw(d.admin) as c:
            self.assert_failed(post(c, 'channels'), 503, '^not done, retry: ')
        os.kill(hub, signal.SIGCONT)
        wait_for(lambda: d.metric('roost_publications_ordered_total') == 1 + 2, what='the hub to take what is there')
        with Raw(d.admin) as c:
            self.assertEqual(post(c, 'publish', channel='a', data=3).status, 200)
        self.assertEqual(d.metric('roost_publications_ordered_total'), 1 + 2 + 1)

    def test_what_did_not_fit_the_ring_is_not_done(self):
        d, hub = self.stopped_hub(ring_size='64KiB', max_message_size='16KiB', max_frame_size='16KiB')
        with Raw(d.admin) as c:
            r = post(c, 'broadcast', channels=['c%d' % i for i in range(100)], data='x' * 15000)
        handed = int(d.metric('roost_publications_in_total'))
        self.assertTrue(0 < handed < 100)
        self.assert_failed(r, 504, r'^outcome unknown: .* first %d of 100 channels.* from "c%d" on, it is not done' % (handed, handed))
        with Raw(d.admin) as c:
            self.assert_failed(post(c, 'publish', channel='a', data='x' * 15000), 503, '^not done, retry: ')
        os.kill(hub, signal.SIGCONT)
        wait_for(lambda: d.metric('roost_publications_ordered_total') == handed, what='the hub to take what is there')
        d.publish('a', 1)
        self.assertEqual(d.metric('roost_publications_in_total'), handed + 1)

    def test_a_refusal_has_the_same_form(self):
        d = self.start(workers=1, max_partial_bytes='64KiB')
        with Raw(d.admin) as c:
            self.assert_failed(post(c, 'publish', channel='a', data='x' * 200000), 503, '^not done, retry: ',
                               after=[str(n) for n in range(5, 16)])  # tbl/retry_after.def

    def test_a_broadcast_that_goes_on_is_not_cut(self):
        """500 MB need longer than hub_timeout; the hub is never silent for so long."""
        d = self.start(workers=1, hub_timeout='3s')
        with d.ws('/ws/c0') as first, d.ws('/ws/c999') as last, Raw(d.admin, timeout=300) as c:
            r = post(c, 'broadcast', channels=['c%d' % i for i in range(1000)], data='x' * 500000)
            self.assertEqual(r.status, 200, r)
            self.assertEqual(json.loads(r.body), {'result': {'responses': [{'result': {}}] * 1000}})
            for s in (first, last):
                s.expect(TEXT, '"%s"' % ('x' * 500000))
        self.assertEqual(d.metric('roost_publications_ordered_total'), 1000)


class HubQueue(DaemonTest):
    def asker(self, d, worker):
        """A connection to that worker's admin listener, which stays."""
        for _ in range(200):
            c = Raw(d.admin)
            if json.loads(c.request('GET', '/debug/pools').body)['worker'] == worker:
                self.addCleanup(c.close)
                return c
            c.close()
        raise AssertionError('the kernel never chose worker %d' % worker)

    def killed_with_a_queue(self, policy):
        """A worker does not take, so the hub queues for it; then the hub dies."""
        each, number = 15000, 20
        d = self.start(workers=2, slow_consumer=policy, ring_size='64KiB', max_message_size='16KiB', max_frame_size='16KiB', hang_timeout='60s')
        c = self.asker(d, 1)
        subscribers = d.spread('/ws/q')
        stuck, hub = d.pid_of('worker0'), d.pid_of('hub')
        stand_still(stuck)
        self.addCleanup(os.kill, stuck, signal.SIGCONT)
        for i in range(number):
            r = post(c, 'publish', channel='q', data='%04d' % i + 'x' * each)
            self.assertEqual(r.status, 200, r)
        os.kill(hub, signal.SIGKILL)
        d.wait_log('publications are lost that the last hub held.* queued_for_workers=')
        os.kill(stuck, signal.SIGCONT)
        wait_for(lambda: d.http('GET', '/readyz').status == 200, what='readiness')
        lost = int(d.find('queued_for_workers=([0-9]+) set_aside=0').group(1))
        self.assertTrue(0 < lost < number)
        self.assertEqual(d.metric('roost_lost_publications_total'), lost)
        self.assertEqual(post(c, 'publish', channel='q', data='the end').status, 200)
        return subscribers, number, lost

    def test_policy_drop(self):
        subscribers, number, lost = self.killed_with_a_queue('drop')
        got = []
        for s in subscribers:
            got.append(0)
            while s.recv_data() != b'"the end"':
                got[-1] += 1
        self.assertEqual(set(got), {number, number - lost})

    def test_policy_latest(self):
        subscribers, number, lost = self.killed_with_a_queue('latest')
        for s in subscribers:
            while s.recv_data() != b'"the end"':
                pass


if __name__ == '__main__':
    unittest.main(verbosity=0)
