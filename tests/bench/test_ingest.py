#!/usr/bin/python3
"""A data frame is unmasked and validated in wide words: instructions per byte, by callgrind, which counts the same on every
machine."""

import os
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

from ingest import SEGMENT, codec  # noqa: E402


class Ingest(unittest.TestCase):
    def cost(self, size, text, **how):
        return codec(os.environ['TEST_BUILD'], size, text, frames=100, **how)

    def test_ascii(self):
        self.assertLessEqual(self.cost(16384, 'ascii'), 0.7)
        self.assertLessEqual(self.cost(125, 'ascii'), 5)

    def test_other_languages(self):
        self.assertLessEqual(self.cost(16384, 'cyrillic'), 7)

    def test_a_frame_that_comes_in_segments(self):
        self.assertLessEqual(self.cost(16384, 'ascii', piece=SEGMENT), 1.6)


if __name__ == '__main__':
    unittest.main(verbosity=0)
