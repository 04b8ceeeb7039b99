#!/usr/bin/python3
"""An idle connection costs its slot and nothing else: make bench-memory with fewer connections."""

import os
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

from memory import LIMITS, STREAM_RATIO, TLS_LIMIT, measure  # noqa: E402



class Memory(unittest.TestCase):
    def test_bytes_per_idle_connection(self):
        self.assertLessEqual(measure(os.environ['TEST_BUILD'], 6000, 2, 1), LIMITS['plain'])

    def test_bytes_per_idle_centrifuge_client(self):
        cost = measure(os.environ['TEST_BUILD'], 4000, 2, 1, protocol='centrifuge')
        self.assertLessEqual(cost, LIMITS['centrifuge'])
        for protocol in ('http_stream', 'sse'):
            with self.subTest(protocol):
                self.assertLessEqual(measure(os.environ['TEST_BUILD'], 4000, 2, 1, protocol=protocol), STREAM_RATIO * cost)

    def test_bytes_per_idle_tls_connection(self):
        self.assertLessEqual(measure(os.environ['TEST_BUILD'], 2000, 2, 1, tls='compact'), TLS_LIMIT)


if __name__ == '__main__':
    unittest.main(verbosity=0)
