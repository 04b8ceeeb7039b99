#!/usr/bin/python3
"""Every comparison still runs, on both sides and without a loss: small, and without a verdict on the figures."""

import os
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
os.environ['BUILD'] = os.environ['TEST_BUILD']

import bench  # noqa: E402


class Bench(unittest.TestCase):
    def rows(self, name, n, connections=200):
        args = bench.arguments([name, '--rounds', '1', '--connections', str(connections), '--seconds', '1'])
        rows = getattr(bench, 'bench_' + name)(args)
        self.assertEqual(len(rows), n)
        return rows

    def test_ratios(self):
        for name, n in (('fanout', 2 + 4), ('echo', 3 + 3), ('connect', 1), ('idle', 1)):
            for row in self.rows(name, n):
                with self.subTest(what=row['what']):
                    self.assertGreater(row['ratio'] if 'ratio' in row else row['deliveries_per_cpu_second'], 0)

    def test_bystander(self):
        for row in self.rows('bystander', 2):
            self.assertIn('p99', row['ping_ms'])


if __name__ == '__main__':
    unittest.main(verbosity=0)
