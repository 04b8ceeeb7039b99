#!/usr/bin/python3
"""Redis with Sentinel: masters die, stand still, come back; sentinels die with them. Nodes follow, and nobody misses anything silently."""

import os
import signal
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from nodes import Journey  # noqa: E402 (it finds the others)
from daemon import wait_for  # noqa: E402
from engines import Sentinels  # noqa: E402

SETTINGS = {'engine_timeout': '1s', 'engine_patience': '10s', 'engine_reconnect_max': '500ms'}


class Failovers(Journey):
    def sentinels(self, **options):
        self.servers = self.started(Sentinels(**options))
        self.begin(self.servers.address, count=2, **SETTINGS)
        return self.servers

    def told(self, times=1):
        """Each subscriber was told so often that another server serves it."""
        for w in self.witnesses:
            self.assertGreaterEqual(len(w.pieces), 1 + times)

    def test_the_master_is_killed_again_and_again(self):
        servers = self.sentinels(replicas=1, sentinels=1)
        for times in range(1, 3):
            old, new = servers.failover()
            self.traffic.await_more(40, 60)
            self.all_told(times)
            old.start()  # a replica now, as its sentinel tells it
            wait_for(lambda: old.role() == 'slave', 30, 'the old master to follow')
            new.await_replicas()
        self.end(whole=False)
        self.told(2)

    def test_a_master_that_stands_still_and_comes_back(self):
        """Its connections stay; when it moves again it is nobody's master, and who is still connected leaves it."""
        servers = self.sentinels(replicas=1, sentinels=1)
        old, _ = servers.failover(signal.SIGSTOP)
        self.traffic.await_more(40, 60)
        old.resume()
        wait_for(lambda: old.role() == 'slave', 30, 'the old master to be demoted')
        self.traffic.await_more(40)
        self.end(whole=False)
        self.told()

    def test_a_master_that_is_demoted_while_it_is_well(self):
        servers = self.sentinels(replicas=1, sentinels=1, down_after=60000)
        old = servers.master()
        self.assertEqual(servers.sentinels[0].say('SENTINEL', 'FAILOVER', servers.name), 'OK')
        wait_for(lambda: servers.master() is not old and servers.master().role() == 'master' and old.role() == 'slave', 30, 'the failover')
        self.traffic.await_more(40, 60)
        self.end(whole=False)
        self.told()

    def test_a_sentinel_dies_with_the_master(self):
        servers = self.sentinels(replicas=1, sentinels=3)
        servers.sentinels[0].kill()
        servers.failover()
        self.traffic.await_more(40, 60)
        self.end(whole=False)
        self.told()

    def test_one_sentinel_is_enough_to_find_the_master(self):
        servers = self.sentinels(replicas=0, sentinels=3)
        for s in servers.sentinels[:2]:
            s.kill()
        d = self.node(servers.address, **SETTINGS)
        self.published(d, 'a', 'found')
        for s in servers.sentinels:  # and who is connected needs none
            s.stop()
        self.published(d, 'a', 'found again')
        self.end(whole=True)


if __name__ == '__main__':
    unittest.main(verbosity=0)
