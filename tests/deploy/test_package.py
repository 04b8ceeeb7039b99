#!/usr/bin/python3
"""The Debian package: built, free of lintian's complaints, and in a Debian 12 of its own installed, started as the unit starts it,
upgraded and purged."""

import glob
import gzip
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import unittest

TOP = os.path.realpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), '../..'))
sys.path.insert(0, os.path.join(TOP, 'tests/integration'))

from daemon import before_exec, wait_for  # noqa: E402

DEB = os.path.join(TOP, 'build/deb')
BASE = os.path.join(TOP, 'build/tools/bookworm')  # made by make tests SUITE=deploy


def run(*argv, **kw):
    p = subprocess.run(argv, capture_output=True, text=True, **kw)
    assert p.returncode == 0, '%s: %s%s' % (' '.join(argv), p.stdout[-3000:], p.stderr[-3000:])
    return p.stdout


def text(path):
    with open(path) as f:
        return f.read()


def field(deb, name):
    return run('dpkg', '-f', deb, name).strip()


def unit(path):
    with open(path) as f:
        return dict(x.split('=', 1) for x in f.read().split('\n') if '=' in x and x[0] not in '#[')


class Package(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.deb, = (x for x in glob.glob(DEB + '/roost_*.deb'))

    def test_lintian_has_nothing_to_say(self):
        debs = glob.glob(DEB + '/*.deb')
        self.assertEqual(len(debs), 2)  # the programs, and their debug symbols
        p = subprocess.run(['lintian', '--fail-on', 'error,warning', '--info', *debs], capture_output=True, text=True)
        self.assertEqual((p.returncode, p.stdout), (0, ''), p.stderr)

    def test_it_is_of_the_version_that_is_built(self):
        with open(os.path.join(TOP, 'Makefile')) as f:
            self.assertIn('VERSION  := %s\n' % field(self.deb, 'Version'), f.read())

    def test_what_is_in_it(self):
        names = run('dpkg', '-c', self.deb)
        for path in ('/usr/bin/roostd', '/usr/bin/roostctl', '/usr/bin/roostload', '/lib/systemd/system/roost.service',
                     '/lib/systemd/system/roost.socket', '/etc/roost/roost.yaml', '/etc/default/roost', '/usr/lib/sysusers.d/roost.conf',
                     '/usr/lib/tmpfiles.d/roost.conf', '/usr/share/man/man8/roostd.8.gz', '/usr/share/man/man5/roost.yaml.5.gz',
                     '/usr/share/bash-completion/completions/roostctl', '/usr/share/zsh/vendor-completions/_roostctl',
                     '/usr/share/fish/vendor_completions.d/roostctl.fish', '/usr/share/doc/roost/copyright'):
            self.assertRegex(names, r'(?m) \.%s$' % re.escape(path))
        with tempfile.TemporaryDirectory() as folder:
            run('dpkg', '-x', self.deb, folder)
            self.assertNotIn('/usr/local', text(folder + '/lib/systemd/system/roost.service'))
            with gzip.open(folder + '/usr/share/man/man5/roost.yaml.5.gz', 'rt') as f:
                self.assertIn('max_connections', f.read())
            self.assertNotIn(DEB, run('strings', '-a', folder + '/usr/bin/roostd'))  # the same wherever it is built


@unittest.skipUnless(os.getuid() == 0, 'needs root: a Debian of its own is made with debootstrap and entered with chroot')
class Installed(unittest.TestCase):
    """In a copy of the base system; each step needs the one before, so it is one test."""

    def setUp(self):
        self.deb, = (x for x in glob.glob(DEB + '/roost_*.deb'))
        folder = tempfile.TemporaryDirectory(prefix='roost-package-', dir=os.path.join(TOP, 'build'))
        self.addCleanup(folder.cleanup)
        self.root = os.path.join(folder.name, 'root')
        run('cp', '-a', BASE, self.root)
        # No service manager runs there: nothing is to be started by the installation.
        self.write('/usr/sbin/policy-rc.d', '#!/bin/sh\nexit 101\n', 0o755)

    def write(self, path, text, mode=0o644):
        with open(self.root + path, 'w') as f:
            f.write(text)
        os.chmod(self.root + path, mode)

    def inside(self, *argv):
        return run('chroot', self.root, *argv, env={'PATH': '/usr/sbin:/usr/bin:/sbin:/bin', 'DEBIAN_FRONTEND': 'noninteractive'})

    def install(self, deb):
        shutil.copy(deb, self.root + '/roost.deb')
        return self.inside('dpkg', '--force-confold', '-i', '/roost.deb')

    def files(self):
        """Everything but what dpkg and the like keep about the system."""
        kept = re.compile(r'/(var/lib/dpkg|var/log|var/cache|var/lib/systemd|etc/(passwd|group|g?shadow)-?|\.pwd\.lock|etc/\.pwd\.lock|roost\.deb)')
        found = set()
        for folder, _, names in os.walk(self.root):
            found |= {os.path.join(folder, n)[len(self.root):] for n in names}
        return {x for x in found if not kept.match(x)}

    def serve(self):
        """Started as the unit starts it, told to the NOTIFY_SOCKET of this test; its status when it has been stopped."""
        lines = unit(self.root + '/lib/systemd/system/roost.service')
        environment = {'PATH': '/usr/bin:/bin', 'NOTIFY_SOCKET': '/run/notify', 'ROOST_LISTEN': '127.0.0.1:0', 'ROOST_ADMIN_LISTEN': '127.0.0.1:0',
                       'ROOST_DRAIN_TIME': '100ms', 'ROOST_WORKERS': '1', **unit(self.root + lines['EnvironmentFile'].lstrip('-'))}
        manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(manager.close)
        if os.path.exists(self.root + '/run/notify'):
            os.unlink(self.root + '/run/notify')
        manager.bind(self.root + '/run/notify')
        os.chmod(self.root + '/run/notify', 0o777)
        manager.settimeout(120)
        as_user = ['/usr/sbin/chroot', '--userspec=' + lines['User'], self.root]
        p = subprocess.run([*as_user, *lines['ExecStartPre'].split()], env=environment, capture_output=True, text=True)
        self.assertEqual(p.returncode, 0, p.stderr)
        d = subprocess.Popen([*as_user, *lines['ExecStart'].split()], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                             text=True, preexec_fn=before_exec)
        self.addCleanup(d.stdout.close)
        self.addCleanup(d.kill)
        said = manager.recv(4096).decode()
        while 'READY=1' not in said:
            said = manager.recv(4096).decode()
        self.assertIn('MAINPID=%d' % d.pid, said)
        with open('/proc/%d/status' % d.pid) as f:
            uid = int(re.search(r'Uid:\s+(\d+)', f.read())[1])
        self.assertIn('roost:x:%d:' % uid, text(self.root + '/etc/passwd'))
        d.send_signal(signal.SIGTERM)
        out = d.communicate(timeout=120)[0]
        self.assertIn('STOPPING=1', wait_for(lambda: next(x for x in iter(lambda: manager.recv(4096).decode(), '') if 'STOPPING' in x)))
        self.assertEqual(d.returncode, 0, out)
        return out

    def newer(self):
        """The same package with a higher version."""
        folder = tempfile.mkdtemp(dir=os.path.dirname(self.root))
        run('dpkg-deb', '-R', self.deb, folder + '/x')
        path = folder + '/x/DEBIAN/control'
        with open(path) as f:
            text = f.read()
        with open(path, 'w') as f:
            f.write(re.sub(r'(?m)^Version: .*', 'Version: 99', text))
        return run('dpkg-deb', '--root-owner-group', '-b', folder + '/x', folder + '/roost.deb') and folder + '/roost.deb'

    def test_install_start_upgrade_purge(self):
        before = self.files()
        self.install(self.deb)
        self.assertEqual(self.inside('roostctl', 'version').split()[:2], ['roostctl', field(self.deb, 'Version')])
        self.assertRegex(text(self.root + '/etc/passwd'), r'(?m)^roost:x:\d+:\d+:Roost WebSocket gateway:/nonexistent:/usr/sbin/nologin$')
        self.assertIn('settings are good', self.inside('roostd', '--config', '/etc/roost/roost.yaml', '--check'))
        self.serve()
        # What the operator has written stays.
        self.write('/etc/roost/roost.yaml', 'max_connections: 123\n')
        self.install(self.newer())
        self.assertEqual(text(self.root + '/etc/roost/roost.yaml'), 'max_connections: 123\n')
        self.assertEqual(self.inside('dpkg-query', '-W', '-f', '${Version}', 'roost'), '99')
        self.serve()
        # What systemd makes when it starts the unit; the daemon logs there where log_file says so.
        logs = '/var/log/' + unit(os.path.join(TOP, 'deploy/roost.service'))['LogsDirectory']
        os.makedirs(self.root + logs, exist_ok=True)
        self.write(logs + '/roost.log', 'x\n')
        self.inside('dpkg', '-r', 'roost')
        self.assertTrue(os.path.exists(self.root + logs + '/roost.log'))
        self.assertFalse(os.path.exists(self.root + '/usr/bin/roostd'))
        self.assertTrue(os.path.exists(self.root + '/etc/roost/roost.yaml'))
        self.inside('dpkg', '-P', 'roost')
        self.assertEqual({x for x in self.files() - before if x != '/run/notify'}, set())
        self.assertFalse(os.path.exists(self.root + logs))

    def test_what_the_service_manager_is_told(self):
        """An upgrade restarts the service and leaves the socket as it is; who removes the package stops the socket first, which would start
        the service again. A script that writes down what it is told is in the place of the manager's."""
        os.makedirs(self.root + '/run/systemd/system')
        self.write('/usr/bin/deb-systemd-invoke', '#!/bin/sh\necho "$@" >>/run/told\n', 0o755)
        for step, expect in ((lambda: self.install(self.deb), ['start roost.service']), (lambda: self.install(self.newer()), ['restart roost.service']),
                             (lambda: self.inside('dpkg', '-r', 'roost'), ['stop roost.socket', 'stop roost.service'])):
            self.write('/run/told', '')
            step()
            self.assertEqual(text(self.root + '/run/told').splitlines(), expect)


class Unit(unittest.TestCase):
    UNITS = [os.path.join(TOP, 'deploy', x) for x in ('roost.service', 'roost.socket')]

    def test_exposure(self):
        out = run('systemd-analyze', 'security', '--offline=true', '--threshold=20', self.UNITS[0])
        self.assertLessEqual(float(re.search(r'exposure level for roost.service: ([\d.]+)', out)[1]), 2.0)

    def test_systemd_knows_every_line(self):
        p = subprocess.run(['systemd-analyze', 'verify', '--man=no', *self.UNITS], capture_output=True, text=True)
        said = [x for x in p.stderr.split('\n') if 'roost' in x and 'is not executable' not in x and 'Unit roost' not in x]
        self.assertEqual(said, [])


if __name__ == '__main__':
    unittest.main()
