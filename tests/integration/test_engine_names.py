#!/usr/bin/python3
"""An engine's server that has a name: looked up by a confined hub, anew at each attempt, with all its addresses. The daemon sees files
of the test's in the places of /etc/hosts and /etc/resolv.conf."""

import ctypes
import os
import tempfile
import unittest

from daemon import DaemonTest, wait_for
from engines import Redis

NEW_USER, NEW_MOUNTS = 0x10000000, 0x20000
BIND, PRIVATE, RECURSIVE = 0x1000, 1 << 18, 0x4000


def see(files):
    """For a process that is about to start: what others have in these places, {path: file}."""
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.geteuid(), os.getegid()
    if libc.unshare(NEW_MOUNTS | (0 if user == 0 else NEW_USER)) == -1:
        raise OSError(ctypes.get_errno(), 'unshare')
    if user != 0:
        for name, text in (('setgroups', 'deny'), ('uid_map', '0 %d 1' % user), ('gid_map', '0 %d 1' % group)):
            with open('/proc/self/' + name, 'w') as f:
                f.write(text)
    for source, target, flags in [(None, b'/', PRIVATE | RECURSIVE)] + [(s.encode(), t.encode(), BIND) for t, s in files.items()]:
        if libc.mount(source, target, None, flags, None) == -1:
            raise OSError(ctypes.get_errno(), 'mount')


class Names(DaemonTest):
    def setUp(self):
        super().setUp()
        self.redis = Redis(tcp=True)
        self.addCleanup(self.redis.stop)
        folder = tempfile.TemporaryDirectory(prefix='roost-names-')
        self.addCleanup(folder.cleanup)
        self.hosts, self.resolv = os.path.join(folder.name, 'hosts'), os.path.join(folder.name, 'resolv.conf')
        self.write(self.hosts, '')
        self.write(self.resolv, 'nameserver 127.0.0.1\n')  # where nobody answers

    def write(self, path, text):
        with open(path, 'w') as f:  # in place: it is what is mounted
            f.write(text)

    def node(self):
        return self.start(workers=1, engine='redis', engine_address='redis://engine.test:%d' % self.redis.port, engine_timeout='1s',
                          engine_reconnect_max='100ms', prepare=lambda: see({'/etc/hosts': self.hosts, '/etc/resolv.conf': self.resolv}))

    def up(self, d):
        wait_for(lambda: d.metric('roost_engine_up') == 1, what='the engine to be there')

    def test_a_name_is_looked_up(self):
        self.write(self.hosts, '127.0.0.1 engine.test\n')
        d = self.node()
        self.up(d)

    def test_every_attempt_looks_again(self):
        d = self.node()
        d.wait_log("the engine's server is gone.*the name of the host cannot be looked up")
        self.write(self.hosts, '127.0.0.9 engine.test\n')  # where nobody answers either
        before = d.metric('roost_engine_reconnects_total')
        wait_for(lambda: d.metric('roost_engine_reconnects_total') > before + 1, what='two attempts')
        self.write(self.hosts, '127.0.0.1 engine.test\n')
        self.up(d)

    def test_several_addresses(self):
        self.write(self.hosts, '127.0.0.9 engine.test\n::1 engine.test\n127.0.0.10 engine.test\n127.0.0.1 engine.test\n')
        self.up(self.node())


if __name__ == '__main__':
    unittest.main(verbosity=0)
