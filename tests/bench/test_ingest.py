#!/usr/bin/python3
"""A whole data frame is unmasked and validated in wide words: instructions per byte, by callgrind, which counts the same on every
machine."""

import os
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

from ingest import codec  # noqa: E402


class Ingest(unittest.TestCase):
    def cost(self, size, text):
        return codec(os.environ['TEST_BUILD'], size, text, frames=100)

    def test_ascii(self):
        self.assertLessEqual(self.cost(16384, 'ascii'), 0.7)
        self.assertLessEqual(self.cost(125, 'ascii'), 5)

    def test_other_languages(self):
        self.assertLessEqual(self.cost(16384, 'cyrillic'), 7)


if __name__ == '__main__':
    unittest.main(verbosity=0)
