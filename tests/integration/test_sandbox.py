#!/usr/bin/python3
"""What the processes of a running daemon have given up, and files that the master alone opens.

That each forbidden call is refused is shown by unit/proc/test_sandbox.c, on the same filters.
"""

import os
import pwd
import re
import shutil
import signal
import socket
import stat
import tempfile
import unittest

from daemon import ROOSTD, SAN, DaemonTest, run_roostd, wait_for
from test_egress import Keys, key_set, make_certificate
from wsraw import TEXT

NOBODY = 65534
ROOT = os.getuid() == 0


def status(pid):
    with open('/proc/%d/status' % pid) as f:
        return dict(re.match(r'(\w+):\s*(.*)', x).groups() for x in f)


class Sandbox(DaemonTest):
    def folder(self):
        path = tempfile.mkdtemp(prefix='roost-test-')
        self.addCleanup(shutil.rmtree, path, True)
        os.chmod(path, 0o755)
        return path

    def all_of(self, d):
        return {p['name']: p['pid'] for p in d.processes()}

    def check_confined(self, pids):
        for name, pid in pids.items():
            s = status(pid)
            self.assertEqual(s['NoNewPrivs'], '1', name)
            for which in ('CapPrm', 'CapEff', 'CapInh', 'CapAmb'):
                self.assertEqual(int(s[which], 16), 0, (name, which))
            if ROOT:
                self.assertEqual(int(s['CapBnd'], 16), 0, name)
            if not SAN:
                self.assertEqual(s['Seccomp'], '2', name)
                self.assertEqual(s['Seccomp_filters'], '1' if name == 'master' else '2', name)
            with open('/proc/%d/limits' % pid) as f:
                self.assertRegex(f.read(), r'Max core file size +0 +0 ')

    def test_every_process_and_its_successor(self):
        s = Keys((200, key_set('1'), {}), None)
        self.addCleanup(s.close)
        d = self.start(workers=2, token_jwks_url=s.url)
        before = self.all_of(d)
        self.assertEqual(sorted(before), ['egress', 'hub', 'master', 'worker0', 'worker1'])
        self.check_confined(before)
        for name in ('egress', 'hub', 'worker0'):
            d.kill(name)
            wait_for(lambda: d.pid_of(name) not in (0, before[name]) and d.http('GET', '/readyz').status == 200,
                     what='the next ' + name)
        wait_for(lambda: all(p['phase'] == 'ready' for p in d.processes()), what='all processes')
        self.check_confined(self.all_of(d))

    def test_what_a_dump_leaves_out(self):
        """Shared memory has the settings, with their secrets, and everybody's publications."""
        d = self.start(workers=2, core_dumps='true')
        for name, pid in self.all_of(d).items():
            maps = re.findall(r'^\w+-\w+ (\S+) .*memfd:roost(?:.*\n(?!VmFlags))*.*\nVmFlags: (.*)$', read('/proc/%d/smaps' % pid), re.M)
            self.assertGreater(len(maps), 0, name)
            for mode, flags in maps:
                self.assertIn('dd', flags.split(), (name, mode))

    def test_switched_off(self):
        d = self.start(workers=1, sandbox='false', core_dumps='true')
        for name, pid in self.all_of(d).items():
            s = status(pid)
            self.assertEqual((s['Seccomp'], s['NoNewPrivs'], int(s['CapEff'], 16)), ('0', '1', 0), name)
        self.assertTrue(d.find('msg="?processes are not confined'))

    def test_root_becomes_a_user(self):
        """A port below 1024 is bound before; log and pid file go with the user, also at a rotation."""
        if not ROOT:
            return  # nobody else can
        folder = self.folder()
        os.chown(folder, NOBODY, NOBODY)
        log, pid = os.path.join(folder, 'log'), os.path.join(folder, 'pid')
        port = next(p for p in range(1023, 512, -1) if free(p))
        d = self.start(workers=2, ready=False, listen='127.0.0.1:%d' % port, user='nobody', log_file=log, pid_file=pid)
        wait_for(lambda: os.path.exists(log) and 'msg="ready"' in read(log) or d.process.poll() is not None, what='readiness')
        d.client = '127.0.0.1:%d' % port
        d.admin = re.search(r'address=(\S+) for=admin', read(log)).group(1)
        group = pwd.getpwnam('nobody').pw_gid
        for name, p in self.all_of(d).items():
            s = status(p)
            self.assertEqual(s['Uid'].split(), [str(NOBODY)] * 4, name)
            self.assertEqual(s['Gid'].split(), [str(group)] * 4, name)
            self.assertNotIn('0', s['Groups'].split(), name)
            # Not dumpable: whoever has the same user id may not look into it.
            self.assertEqual(os.stat('/proc/%d/maps' % p).st_uid, 0, name)
        self.check_confined(self.all_of(d))
        with d.ws('/ws/low') as a:
            a.text('hello')
            a.expect(TEXT, 'hello')
        os.rename(log, log + '.1')
        d.process.send_signal(signal.SIGUSR1)
        wait_for(lambda: os.path.exists(log) and 'log opened again' in read(log), what='the new log')
        self.assertEqual(os.stat(log).st_uid, NOBODY)
        self.assertEqual(d.stop(), 0)
        self.assertRegex(read(log), 'proc=worker0 msg="drained"')
        self.assertFalse(os.path.exists(pid))

    def test_a_folder_that_is_closed_to_the_user(self):
        if not ROOT:
            return
        folder = self.folder()
        log, pid = os.path.join(folder, 'log'), os.path.join(folder, 'pid')
        d = self.start(workers=1, ready=False, user='nobody', log_file=log, pid_file=pid)
        wait_for(lambda: os.path.exists(log) and 'msg="ready"' in read(log), what='readiness')
        os.rename(log, log + '.1')
        d.process.send_signal(signal.SIGUSR1)
        wait_for(lambda: 'the log file cannot be opened again; lines go to the old one' in read(log + '.1'), what='the line')
        self.assertEqual(d.stop(), 0)
        self.assertIn('msg="stopped"', read(log + '.1'))
        self.assertEqual(read(pid), '')  # it cannot be removed

    def test_users_that_are_not_there(self):
        for sets, said in ((['user=no-such-user'], 'user: there is none of this name'),
                           (['user=4242424'], 'user: there is none of this number, so its group must be set'),
                           (['group=no-such-group'], 'group: there is none of this name')):
            if not ROOT and 'number' in said:
                continue
            code, _, err = run_roostd('--check', *[x for s in sets for x in ('--set', s)])
            self.assertEqual(code, 2)
            self.assertIn(said, err)

    def test_only_root_can_change(self):
        drop = (lambda: (os.setgroups([]), os.setgid(NOBODY), os.setuid(NOBODY))) if ROOT else None
        folder = self.folder()
        program = os.path.join(folder, 'roostd')
        shutil.copy(ROOSTD, program)
        d = self.start(ready=False, clean=False, program=program, prepare=drop, user='root')
        wait_for(lambda: d.process.poll() is not None, what='the refusal')
        self.assertIn('user: only root can become another user', d.text())

    def test_an_ordinary_user(self):
        if not ROOT:
            return  # every other test is this one
        folder = self.folder()
        program = os.path.join(folder, 'roostd')
        shutil.copy(ROOSTD, program)
        d = self.start(workers=1, program=program, prepare=lambda: (os.setgroups([]), os.setgid(NOBODY), os.setuid(NOBODY)))
        for name, pid in self.all_of(d).items():
            s = status(pid)
            self.assertEqual((s['Uid'].split()[0], int(s['CapEff'], 16), s['NoNewPrivs']), (str(NOBODY), 0, '1'), name)


class Files(DaemonTest):
    def reload(self, d, line):
        n = len(d.lines('msg="?reload'))
        d.process.send_signal(signal.SIGHUP)
        wait_for(lambda: len(d.lines('msg="?reload')) > n, what='the reload')
        self.assertRegex(d.lines('msg="?reload')[-1], line)

    def test_keys_that_can_no_longer_be_read(self):
        """Read by root, whom the daemon no longer is: the old ones stay, and the rest of the reload is done."""
        if not ROOT:
            return  # one's own files can always be opened again
        folder = tempfile.mkdtemp(prefix='roost-test-')
        self.addCleanup(shutil.rmtree, folder)
        os.chmod(folder, 0o755)
        names = {x: os.path.join(folder, x) for x in ('key', 'hmac', 'ca')}
        make_certificate(names['ca'])
        for name, text in (('key', 'k' * 20), ('hmac', 'h' * 40)):
            write(names[name], text, 0o600)
        os.chmod(names['ca'], 0o600)
        s = Keys((200, key_set('1'), {}), names['ca'])
        self.addCleanup(s.close)
        config = self.file('hang_timeout: 10s\n')
        os.chmod(config, 0o644)
        d = self.start(workers=1, user='nobody', config=config, hang_timeout=None, api_key_file=names['key'], token_hmac_secret_key_file=names['hmac'],
                       token_fetch_ca_file=names['ca'], token_jwks_url=s.url)
        key = [('X-API-Key', 'k' * 20)]
        wait_for(lambda: '"kid":"1"' in d.http('GET', '/debug/tokens', fields=key).body.decode(), what='the fetched key')
        write(names['key'], 'n' * 20)
        write(config, 'hang_timeout: 20s\n')
        self.reload(d, 'msg="?reloaded"? changed=hang_timeout$')
        for path in names.values():
            self.assertEqual(len(d.lines('a file can no longer be read; what it held stays in force" file=%s ' % path)), 1)
        self.assertEqual(d.http('GET', '/debug/config', fields=key).status, 200)
        self.assertEqual(d.http('GET', '/debug/config').status, 401)
        self.assertIn('"kid":"1"', d.http('GET', '/debug/tokens', fields=key).body.decode())
        # One that is not there is a mistake as before.
        os.unlink(names['hmac'])
        self.reload(d, 'reload refused.*hmac: No such file')
        os.chmod(names['key'], 0o644)
        write(names['hmac'], 'h' * 40, 0o644)
        self.reload(d, 'changed=.*api_key')
        wait_for(lambda: d.http('GET', '/debug/config', fields=[('X-API-Key', 'n' * 20)]).status == 200, what='the new key')

    def test_certificates_reach_egress_by_a_reload(self):
        good, other = self.file(''), self.file('')
        make_certificate(good)
        make_certificate(other)
        s = Keys((200, key_set('1'), {}), good)
        self.addCleanup(s.close)
        ca = self.file(read(other))
        d = self.start(workers=1, token_jwks_url=s.url, token_fetch_ca_file=ca)
        d.wait_log('keys cannot be fetched.*certificate')
        write(ca, 'no certificate')
        self.reload(d, 'reload refused.*has no certificate in PEM')
        write(ca, read(good))
        self.reload(d, 'changed=token_fetch_ca_file$')
        wait_for(lambda: '"kid":"1"' in d.http('GET', '/debug/tokens').body.decode(), what='the key', seconds=30)

    def test_certificates_of_a_process_that_is_started_again(self):
        """It is given what is in force, not what lies there."""
        ca = self.file('')
        make_certificate(ca)
        s = Keys((500, b'', {}), ca)
        self.addCleanup(s.close)
        d = self.start(workers=1, token_jwks_url=s.url, token_fetch_ca_file=ca)
        d.wait_log('keys cannot be fetched.*status is 500')
        write(ca, 'no certificate')
        s.answer = (200, key_set('1'), {})
        d.kill('egress')
        wait_for(lambda: '"kid":"1"' in d.http('GET', '/debug/tokens').body.decode(), what='the key')

    def test_a_certificate_file_that_is_none(self):
        path = self.file('nothing')
        code, _, err = run_roostd('--check', '--set', 'token_fetch_ca_file=' + path)
        self.assertEqual((code, err), (2, '%s: token_fetch_ca_file has no certificate in PEM\n' % path))

    def test_log_file_of_every_process(self):
        """The children cannot open it: they are handed the new one, and their successors have it."""
        with tempfile.TemporaryDirectory(prefix='roost-test-') as folder:
            log = os.path.join(folder, 'log')
            d = self.start(workers=2, ready=False, log_file=log)
            wait_for(lambda: os.path.exists(log) and 'msg="ready"' in read(log), what='readiness')
            d.admin = re.search(r'address=(\S+) for=admin', read(log)).group(1)
            for n in (1, 2):
                os.rename(log, '%s.%d' % (log, n))
                d.process.send_signal(signal.SIGUSR1)
                wait_for(lambda: os.path.exists(log) and 'log opened again' in read(log), what='the new log')
                new, gone = os.stat(log).st_ino, os.stat('%s.%d' % (log, n)).st_ino
                for pid in d.children():
                    wait_for(lambda: open_files(pid) & {new, gone} == {new}, what='the new file alone in process %d' % pid)
            old = d.kill('worker0')
            wait_for(lambda: d.pid_of('worker0') not in (0, old), what='the next worker')
            self.assertIn(os.stat(log).st_ino, open_files(d.pid_of('worker0')))
            for pid in d.children():
                os.kill(pid, signal.SIGUSR1)  # as a service manager may; it is the master's to handle
            wait_for(lambda: d.http('GET', '/readyz').status == 200, what='readiness')
            self.assertEqual(d.stop(), 0)
            text = read(log)
            for name in ('master', 'worker0', 'worker1'):
                self.assertRegex(text, 'proc=%s msg="(drained|stopped)"' % name)


def open_files(pid):
    found = set()
    for fd in os.listdir('/proc/%d/fd' % pid):
        try:
            found.add(os.stat('/proc/%d/fd/%s' % (pid, fd)).st_ino)
        except OSError:
            pass
    return found


def free(port):
    with socket.socket() as s:
        try:
            s.bind(('127.0.0.1', port))
        except OSError:
            return False
    return True


def read(path):
    with open(path) as f:
        return f.read()


def write(path, text, mode=None):
    with open(path, 'w') as f:
        f.write(text)
    if mode is not None:
        os.chmod(path, mode)
    assert stat.S_ISREG(os.stat(path).st_mode)


if __name__ == '__main__':
    unittest.main(verbosity=0)
