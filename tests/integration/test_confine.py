#!/usr/bin/python3
"""What a process of the daemon could do to the others if somebody else ran in it."""

import unittest

from daemon import DaemonTest, descriptors


UNIT = 65536  # what its parts are rounded up to
TRACE = 17  # of them: where a process tells what it is traced for
SHOWN = 4  # of them: the tables of the engine's servers and of nodes


class Memory(DaemonTest):
    def writable(self, pid):
        """What of the shared memory a process can write: its pages, by their place."""
        pages = set()
        with open('/proc/%d/maps' % pid) as f:
            for line in f:
                where, mode, offset, _, _, *path = line.split()
                if 'w' in mode and 's' in mode:
                    low, high = (int(x, 16) for x in where.split('-'))
                    first = int(offset, 16) // UNIT
                    pages |= set(range(first, first + (high - low) // UNIT))
                    self.assertEqual(path[0], '/memfd:roost')
        return pages

    def test_a_worker_can_write_its_own_slot_and_rings_only(self):
        d = self.start(workers=4, ring_size='64KiB', max_message_size='1KiB')
        rings = 2 * 2  # two, each a ring and its head, rounded up
        pages = {p['name']: self.writable(p['pid']) for p in d.processes()}
        hub, workers = pages['hub'], [pages['worker%d' % i] for i in range(4)]
        self.assertEqual(len({len(w) for w in workers}), 1)
        # A worker's slot, its trace, its rings, and its table of addresses, which is much larger: one each is all that the master has made.
        addresses = len(workers[0]) - 1 - TRACE - rings
        self.assertGreater(addresses, 16)
        self.assertLess(4 * (addresses + TRACE + rings), len(pages['master']))
        self.assertLess(len(pages['master']), 5 * (addresses + TRACE + rings))
        # The hub's slot, its trace, all rings, and what it shows of the engine's servers and of nodes.
        self.assertEqual(len(hub), 1 + TRACE + 4 * rings + SHOWN)
        for i, w in enumerate(workers):
            self.assertEqual(len(w & hub), rings)
            for other in workers[:i]:
                self.assertEqual(w & other, set())
        for pid in d.children():
            self.assertEqual([x for x in descriptors(pid) if 'memfd' in x], [])


if __name__ == '__main__':
    unittest.main(verbosity=0)
