#!/usr/bin/python3
"""Twenty seconds of tests/chaos against a daemon of three workers; and that its judge sees what it is there for."""

import os
import subprocess
import sys
import unittest

CHAOS = os.path.join(os.path.dirname(os.path.abspath(__file__)), '../chaos')
sys.path.insert(0, CHAOS)

from daemon import BUILD, SLOW  # noqa: E402
from plan import KINDS, Plan  # noqa: E402
from verdict import Source, Verdict  # noqa: E402


class Chaos(unittest.TestCase):
    def test_twenty_seconds(self):
        p = subprocess.run(['/usr/bin/python3', os.path.join(CHAOS, 'chaos.py'), '--seed', '1', '--duration', '20', '--verbose'],
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=500 * SLOW,
                           env={**os.environ, 'TEST_BUILD': BUILD})
        self.assertEqual(p.returncode, 0, p.stdout)
        self.assertRegex(p.stdout, r'\n\d+ passed, 0 failed\n$')

    def test_a_seed_is_a_plan(self):
        kinds = sorted(KINDS)
        first, again, other = (Plan(seed, 3, kinds) for seed in (7, 7, 8))
        eras = [[p.era() for _ in range(5)] for p in (first, again, other)]
        self.assertEqual(eras[0], eras[1])
        self.assertNotEqual(eras[0], eras[2])
        self.assertEqual({s['kind'] for e in eras[0] for r in e['rounds'] for s in r}, set(kinds))


class Judge(unittest.TestCase):
    """Two subscribers of a channel, a publisher that sends five messages without waiting, a server that makes calls."""

    def setUp(self):
        self.v = Verdict()
        self.a, self.b = self.v.life('c', 'a', 1), self.v.life('c', 'b', 1)
        self.fast, self.calls = self.v.source('c', 'fast', prefix=True), self.v.source('c', 'calls')
        for tick in range(10, 15):
            self.fast.sent(tick)
        for tick in range(20, 23):
            self.calls.status[self.calls.sent(tick)] = Source.IN
        self.all = [(0, n) for n in range(5)] + [(1, n) for n in range(3)]

    def found(self, a, b, lost=0):
        self.a.seen, self.b.seen = list(a), list(b)
        self.v.judge(lost)
        return '; '.join(self.v.problems)

    def test_all_is_well(self):
        self.assertIsNone(self.v.missing(0) if self.found(self.all, self.all) == '' else 'problems')
        self.assertEqual(self.v.problems, [])

    def test_twice(self):
        self.assertIn('a got fast#2 twice', self.found(self.all + [(0, 2)], self.all))

    def test_one_lost_it(self):
        self.assertIn('b (still there) lost fast#2', self.found(self.all, [m for m in self.all if m != (0, 2)]))

    def test_all_lost_it(self):
        seen = [m for m in self.all if m != (1, 1)]
        self.assertIn('lost calls#1', self.found(seen, seen))

    def test_the_last_is_lost(self):
        self.assertIn('lost calls#2', self.found(self.all[:-1], self.all[:-1]))
        self.assertIn('has not got calls#2', self.v.missing(0))

    def test_two_orders(self):
        swapped = self.all[:4] + [self.all[5], self.all[4]] + self.all[6:]
        self.assertIn('for a beside', self.found(self.all, swapped))

    def test_a_publisher_s_order(self):
        swapped = [(0, 1), (0, 0)] + self.all[2:]
        self.assertIn('sent in another order', self.found(swapped, swapped))

    def test_an_end_is_a_prefix(self):
        self.b.end('close 1013')
        self.assertEqual(self.found(self.all, self.all[:3]), '')

    def test_an_end_does_not_excuse_a_gap(self):
        self.b.end('close 1008')
        self.assertIn('b (close 1008) lost fast#1', self.found(self.all, [(0, 0), (0, 2)]))

    def test_what_was_sent_before_need_not_come(self):
        self.b.since = 12  # the third was the last before it
        self.assertEqual(self.found(self.all, self.all[2:]), '')

    def test_what_was_sent_after_must(self):
        self.b.since = 12
        self.assertIn('b (still there) lost fast#3', self.found(self.all, self.all[4:]))

    def test_refused_means_never(self):
        self.calls.status[1] = Source.OUT
        self.assertIn('calls#1, which was answered as not done', self.found(self.all, self.all))

    def test_refused_and_not_there(self):
        self.calls.status[1] = Source.OUT
        seen = [m for m in self.all if m != (1, 1)]
        self.assertEqual(self.found(seen, seen), '')

    def test_unknown_may_be_late(self):
        self.calls.status[1] = Source.UNKNOWN
        seen = [m for m in self.all if m != (1, 1)]
        self.assertEqual(self.found(seen + [(1, 1)], seen + [(1, 1)]), '')

    def test_unknown_but_seen_by_one(self):
        self.calls.status[1] = Source.UNKNOWN
        self.assertIn('b (still there) lost calls#1', self.found(self.all, [m for m in self.all if m != (1, 1)]))

    def test_a_dead_publisher_s_rest_is_open(self):
        self.fast.alive = False
        seen = self.all[:3] + self.all[5:]
        self.assertEqual(self.found(seen, seen), '')

    def test_what_was_never_sent(self):
        self.assertIn('never sent', self.found(self.all + [(0, 9)], self.all + [(0, 9)]))

    def test_who_is_not_told_may_miss_what_is_counted(self):
        self.b.told = False
        seen = [m for m in self.all if m != (0, 2)]
        self.assertEqual(self.found(self.all, seen, lost=1), '')

    def test_who_is_not_told_misses_no_more_than_is_counted(self):
        self.b.told = False
        self.assertIn('are not told', self.found(self.all, [m for m in self.all if m not in ((0, 2), (0, 3))], lost=1))

    def test_it_comes_again_later(self):
        self.assertEqual(self.found(self.all, self.all), '')
        self.v.next_round(50)
        self.assertIn('a got fast#4 again', self.found([(0, 4)], []))

    def test_places_in_a_stream(self):
        self.v.position('c', 'abc', 1, (0, 0))
        self.v.position('c', 'abc', 1, (0, 0))
        self.v.position('c', 'xyz', 1, (0, 1))
        self.assertEqual(self.v.problems, [])
        self.v.position('c', 'abc', 1, (0, 1))
        self.v.position('c', 'abc', 2, (0, 0))
        self.assertGreaterEqual(len(self.v.problems), 2)


if __name__ == '__main__':
    unittest.main(verbosity=0)
