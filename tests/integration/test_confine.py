#!/usr/bin/python3
"""What a process of the daemon could do to the others if somebody else ran in it."""

import os
import unittest

from daemon import DaemonTest


class Memory(DaemonTest):
    def writable(self, pid):
        """Sizes of the mappings of shared memory that a process can write."""
        sizes = []
        with open('/proc/%d/maps' % pid) as f:
            for line in f:
                where, mode, _, _, _, *path = line.split()
                if 'w' in mode and 's' in mode:
                    low, high = (int(x, 16) for x in where.split('-'))
                    sizes.append(high - low)
                    self.assertEqual(path[0], '/memfd:roost')
        return sizes

    def test_a_worker_can_write_its_own_slot_and_rings_only(self):
        d = self.start(workers=4, ring_size='64KiB', max_message_size='1KiB')
        rings = 65536 * 2  # a ring and its head, rounded up
        total = {p['name']: sum(self.writable(p['pid'])) for p in d.processes()}
        workers = {total['worker%d' % i] for i in range(4)}
        self.assertEqual(len(workers), 1, total)
        # A worker's slot, its rings, and its table of addresses, which are much larger: one each is all that the master has made.
        addresses = workers.pop() - 65536 - 2 * rings
        self.assertGreater(addresses, 16 * 65536)
        self.assertLess(4 * (addresses + 2 * rings), total['master'])
        self.assertLess(total['master'], 5 * (addresses + 2 * rings))
        # Its slot, all rings, and what it shows of the engine's servers and of other nodes.
        shown = total['hub'] - (65536 + 4 * 2 * rings)
        self.assertGreater(shown, 0)
        self.assertLessEqual(shown, 8 * 65536)
        for pid in d.children():
            links = [os.readlink('/proc/%d/fd/%s' % (pid, fd)) for fd in os.listdir('/proc/%d/fd' % pid)]
            self.assertEqual([x for x in links if 'memfd' in x], [])


if __name__ == '__main__':
    unittest.main(verbosity=0)
