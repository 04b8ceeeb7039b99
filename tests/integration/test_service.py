#!/usr/bin/python3
"""deploy/roost.service: the daemon under filters and limits equal to those of the unit.

systemd itself is not needed: what each line of the unit does to a process is done here before roostd is executed. A line
that nothing here is equal to is a failure, so whoever adds one tries it.
"""

import ctypes
import errno
import os
import platform
import re
import resource
import signal
import stat
import struct
import subprocess
import sys
import tempfile
import unittest

from daemon import BUILD, SAN, SLOW, DaemonTest, alive, before_exec, run_roostctl, wait_for
from test_egress import Keys, key_set, make_certificate
from wsraw import TEXT

HERE = os.path.dirname(os.path.abspath(__file__))
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
KILL, ERRNO, ALLOW = 0x80000000, 0x00050000, 0x7fff0000
AUDIT_ARCH = {'x86_64': 0xc000003e, 'aarch64': 0xc00000b7}
NEW_NAMESPACES = 0x7e020000  # the CLONE_NEW... bits
FAMILIES = {'AF_UNIX': 1, 'AF_INET': 2, 'AF_INET6': 10}
LD, JEQ, JSET, RET = 0x20, 0x15, 0x45, 0x06
NO_SANITIZER = not SAN  # they make calls of their own: then only the limits are tried
SANDBOX = ('landlock_add_rule', 'landlock_create_ruleset', 'landlock_restrict_self', 'seccomp')  # what @sandbox is
LIBC = ctypes.CDLL(None, use_errno=True)

# Lines that change nothing a process could meet by a system call of its own, or what only root's services would notice.
NOT_MET = {'Type', 'ExecStartPre', 'ExecStart', 'ExecReload', 'EnvironmentFile', 'Restart', 'RestartSec', 'KillMode',
           'TimeoutStopSec', 'LogsDirectory', 'RuntimeDirectory', 'DynamicUser', 'AmbientCapabilities',
           'CapabilityBoundingSet', 'PrivateTmp', 'PrivateDevices', 'ProtectSystem', 'ProtectHome',
           'ProtectKernelTunables', 'ProtectControlGroups', 'NotifyAccess', 'WatchdogSec', 'User', 'PrivateUsers',
           'DevicePolicy', 'PrivateIPC', 'RemoveIPC'}
# Lines whose system calls are none of @system-service: that filter is equal to them.
BY_THE_FILTER = {'ProtectKernelLogs': ('syslog',), 'ProtectKernelModules': ('init_module', 'finit_module', 'delete_module'),
                 'ProtectClock': ('clock_settime', 'settimeofday', 'adjtimex'),
                 'ProtectHostname': ('sethostname', 'setdomainname')}
BY_AN_EQUAL = {'NoNewPrivileges', 'LimitNOFILE', 'LimitCORE', 'UMask', 'SystemCallFilter', 'SystemCallErrorNumber',
               'SystemCallArchitectures', 'RestrictAddressFamilies', 'RestrictNamespaces', 'RestrictRealtime',
               'RestrictSUIDSGID', 'LockPersonality', 'MemoryDenyWriteExecute', 'ProtectProc'}


def unit():
    with open(os.path.join(HERE, '../../deploy/roost.service')) as f:
        section = f.read().split('[Service]')[1].split('[Install]')[0]
    return dict(x.split('=', 1) for x in section.split('\n') if x and x[0] != '#')


def numbers():
    """System calls by name, from the headers of this machine."""
    p = subprocess.run(['gcc', '-E', '-dM', '-'], input='#include <sys/syscall.h>\n', capture_output=True, text=True,
                       check=True)
    return {m.group(1): int(m.group(2)) for m in re.finditer(r'#define __NR_(\w+) (\d+)\n', p.stdout)}


def op(code, k, yes=0, no=0):
    return struct.pack('HBBI', code, yes, no, k)


def argument(n):
    """Its lower half: flags that matter are there."""
    return op(LD, 16 + 8 * n)


def build_filter(lines, refusal):
    """The classic BPF program that the unit's lines come to."""
    nr = numbers()
    out = [op(LD, 4), op(JEQ, AUDIT_ARCH[platform.machine()], 1, 0), op(RET, refusal), op(LD, 0)]

    def special(name, *body):
        if name in nr:
            out.append(op(JEQ, nr[name], 0, len(body)))
            out.extend(body)

    def refuse_bits(name, n, bits):
        special(name, argument(n), op(JSET, bits, 0, 1), op(RET, refusal), op(RET, ALLOW))

    if lines['RestrictNamespaces'] == 'yes':
        refuse_bits('clone', 0, NEW_NAMESPACES)
        refuse_bits('unshare', 0, NEW_NAMESPACES)
        special('clone3', op(RET, ERRNO | errno.ENOSYS))  # its flags are in memory: libc takes clone instead
        special('setns', op(RET, refusal))
    if lines['MemoryDenyWriteExecute'] == 'yes':
        special('mmap', argument(2), op(JSET, 2, 0, 2), op(JSET, 4, 0, 1), op(RET, refusal), op(RET, ALLOW))
        refuse_bits('mprotect', 2, 4)
        refuse_bits('pkey_mprotect', 2, 4)
        refuse_bits('shmat', 2, 0o100000)
    if lines['RestrictRealtime'] == 'yes':
        special('sched_setscheduler', argument(1), op(JEQ, 0, 3, 0), op(JEQ, 3, 2, 0), op(JEQ, 5, 1, 0), op(RET, refusal),
                op(RET, ALLOW))
    if lines['RestrictSUIDSGID'] == 'yes':
        for name, n in (('chmod', 1), ('fchmod', 1), ('fchmodat', 2), ('mkdir', 1), ('mkdirat', 2), ('creat', 1),
                        ('open', 2), ('openat', 3), ('mknod', 1), ('mknodat', 2)):
            refuse_bits(name, n, stat.S_ISUID | stat.S_ISGID)
    if lines['LockPersonality'] == 'yes':
        special('personality', op(RET, refusal))
    families = [FAMILIES[x] for x in lines['RestrictAddressFamilies'].split()]
    special('socket', argument(0), *[op(JEQ, f, len(families) - i, 0) for i, f in enumerate(families)],
            op(RET, refusal), op(RET, ALLOW))
    group, *more = lines['SystemCallFilter'].split()
    assert group == '@system-service' and set(more) == set(SANDBOX), 'which calls does %s allow?' % lines['SystemCallFilter']
    with open(os.path.join(HERE, 'system_service.txt')) as f:
        allowed = [nr[x] for line in f if line[0] != '#' for x in line.split() if x in nr]
    allowed += [nr[x] for x in SANDBOX if x in nr]
    for n in allowed:
        out += [op(JEQ, n, 0, 1), op(RET, ALLOW)]
    return b''.join(out + [op(RET, refusal)])


def install(program):
    class Program(ctypes.Structure):
        _fields_ = [('length', ctypes.c_ushort), ('filter', ctypes.c_char_p)]

    p = Program(len(program) // 8, program)
    if LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or LIBC.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(p), 0, 0):
        raise OSError(ctypes.get_errno(), 'seccomp')


def confine(lines, refusal, filtered=True):
    """A function for the child: everything in the unit that has an equal here."""
    program = build_filter(lines, refusal)
    umask, core = int(lines['UMask'], 8), int(lines['LimitCORE'])

    def run():
        os.umask(umask)
        resource.setrlimit(resource.RLIMIT_CORE, (core, core))
        if filtered:
            install(program)
    return run


class Service(DaemonTest):
    def test_every_line_is_tried(self):
        lines = unit()
        self.assertEqual(set(lines) - NOT_MET - set(BY_THE_FILTER) - BY_AN_EQUAL, set())
        with open(os.path.join(HERE, 'system_service.txt')) as f:
            allowed = set(f.read().split())
        for line, calls in BY_THE_FILTER.items():
            self.assertIn(line, lines)
            self.assertEqual(allowed & set(calls), set(), line)
        self.assertEqual(lines['SystemCallErrorNumber'], 'EPERM')
        self.assertEqual(lines['ProtectProc'], 'invisible')

    def test_the_filter_refuses(self):
        """Else the tests below would hold nothing."""
        p = subprocess.run([sys.executable, '-c', '''
import ctypes, os, socket
libc = ctypes.CDLL(None, use_errno=True)
def number(*args):
    return ctypes.get_errno() if libc.syscall(*args) == -1 else 0
print(number(%d, 10, 0, 0), number(%d, 0x40000000), end=" ")
for what in (lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW), lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)),
             lambda: os.mkdir("/tmp/never", 0o4700)):
    try:
        what()
        print(0, end=" ")
    except OSError as e:
        print(e.errno, end=" ")
''' % (numbers()['syslog'], numbers()['unshare'])], capture_output=True, text=True,
                           preexec_fn=confine(unit(), ERRNO | errno.EPERM))
        self.assertEqual(p.stdout.split(), [str(errno.EPERM)] * 5, p.stderr)

    def life(self, **kw):
        """All that a daemon does in its life."""
        folder = tempfile.TemporaryDirectory(prefix='roost-test-')
        self.addCleanup(folder.cleanup)
        log, pid = os.path.join(folder.name, 'roost.log'), os.path.join(folder.name, 'roost.pid')
        d = self.start(workers=2, ready=False, log_file=log, pid_file=pid, **kw)

        def lines(what):
            if not os.path.exists(log):
                return []
            with open(log) as f:
                return [x for x in f if re.search(what, x)]

        wait_for(lambda: lines('msg="?ready') or d.process.poll() is not None, what='readiness')
        self.assertIsNone(d.process.poll(), d.text())
        d.client, d.admin = (lines('for=' + x)[0].split('address=')[1].split()[0] for x in ('clients', 'admin'))
        with d.ws('/ws/unit') as a, d.ws('/ws/unit') as b:
            a.text('hello')
            b.expect(TEXT, 'hello')
            d.publish('unit', {'n': 1})
            b.expect(TEXT)
        self.assertEqual(run_roostctl(d, 'status').returncode, 0)
        self.assertTrue(all(p['rss_bytes'] > 0 for p in d.processes()), d.processes())
        self.assertEqual(os.sched_getscheduler(d.pid_of('hub')), os.SCHED_BATCH)
        for name in ('worker0', 'hub'):
            old = d.kill(name)
            wait_for(lambda: d.pid_of(name) not in (0, old), what='the new ' + name)
        wait_for(lambda: d.http('GET', '/readyz').status == 200, what='readiness')
        d.process.send_signal(signal.SIGHUP)
        wait_for(lambda: lines('nothing has changed'), what='the reload')
        os.rename(log, log + '.1')
        d.process.send_signal(signal.SIGUSR1)
        wait_for(lambda: lines('log opened again'), what='the new log file')
        for path in (log, pid):
            self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)
        for p in [d.process.pid] + d.children():
            with open('/proc/%d/limits' % p) as f:
                self.assertRegex(f.read(), r'Max core file size +0 +0 ')
        self.assertEqual(d.stop(), 0, d.text())
        said = lines('.')
        with open(log + '.1') as f:
            said += f.readlines()
        self.assertEqual([x for x in said if re.search(r'not permitted|cannot|keeps the ordinary', x)], [])
        self.assertEqual([x for x in said if 'killed' in x and 'signal=9 ' not in x], [])

    def test_a_life_under_the_filter(self):
        self.life(prepare=confine(unit(), ERRNO | errno.EPERM, NO_SANITIZER), log_level='debug')

    def test_nothing_that_is_refused_is_even_tried(self):
        """The same filter, but it kills: what is ignored when it fails shows here."""
        self.life(prepare=confine(unit(), KILL, NO_SANITIZER))

    def test_keys_are_fetched_under_the_filter(self):
        cert = self.file('')
        make_certificate(cert)
        for action in (ERRNO | errno.EPERM, KILL):
            s = Keys((200, key_set('1'), {}), cert)
            self.addCleanup(s.close)
            d = self.start(workers=1, token_jwks_url=s.url, token_fetch_ca_file=cert, prepare=confine(unit(), action, NO_SANITIZER))
            wait_for(lambda: '"kid":"1"' in d.http('GET', '/debug/tokens').body.decode(), what='the key')
            self.assertEqual(d.stop(), 0, d.text())

    def end_namespace(self, unshare):
        """By its first process, with which all others end: unshare's --kill-child does not survive its child's change of user."""
        with open('/proc/%d/task/%d/children' % (unshare.pid, unshare.pid)) as f:
            first = [int(x) for x in f.read().split()]
        for pid in first or [unshare.pid]:
            os.kill(pid, signal.SIGKILL)
        unshare.stdout.close()
        unshare.wait(20 * SLOW)
        self.assertEqual([pid for pid in first if alive(pid)], [])

    def test_proc_that_shows_only_own_processes(self):
        """ProtectProc=invisible: a proc of a namespace of our own, mounted with that option, seen by an ordinary user."""
        flags = [] if os.getuid() == 0 else ['--user', '--map-root-user']
        drop = 'setpriv --reuid 65534 --regid 65534 --clear-groups ' if os.getuid() == 0 else ''
        with tempfile.TemporaryDirectory(prefix='roost-test-') as folder:
            program = os.path.join(folder, 'roostd')
            os.chmod(folder, 0o755)
            with open(os.path.join(os.path.dirname(run_roostctl.__globals__['ROOSTD']), 'roostd'), 'rb') as f, \
                    open(program, 'wb') as g:
                g.write(f.read())
            os.chmod(program, 0o755)
            script = ('mount -t proc -o hidepid=invisible proc /proc && exec %s%s --set listen=127.0.0.1:0 '
                      '--set admin_listen=127.0.0.1:0 --set workers=2 --set drain_time=100ms' % (drop, program))
            p = subprocess.Popen(['unshare', *flags, '--mount', '--pid', '--fork', '--kill-child', 'sh', '-c', script],
                                 stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                 preexec_fn=before_exec)
            try:
                said, admin = [], None
                for line in p.stdout:
                    said.append(line)
                    if 'for=admin' in line:
                        admin = line.split('address=')[1].split()[0]
                    if re.search('msg="?ready', line):
                        break
                self.assertIsNotNone(admin, ''.join(said))
                d = type('Node', (), {'admin': admin})
                out = run_roostctl(d, 'get', '/debug/processes').stdout
                self.assertEqual(len(re.findall(r'"rss_bytes":\s*[1-9]', out)), 4, out)
            finally:
                self.end_namespace(p)


class Install(unittest.TestCase):
    def test_stripped_programs_with_their_symbols_apart(self):
        """As the image is made; the build is the one that is tested, so nothing is compiled anew."""
        top, build = os.path.join(HERE, '../..'), os.path.abspath(BUILD)
        with open(os.path.join(build, '.flags')) as f:
            compiler = f.read().split(' -Iinclude')[0]
        with tempfile.TemporaryDirectory(prefix='roost-test-') as out:
            subprocess.run(['make', 'install-strip', 'BUILD=' + build, 'CC=' + compiler, 'SAN=' + SAN, 'DESTDIR=' + out],
                           cwd=top, check=True, capture_output=True)
            for name in ('roostd', 'roostctl', 'roostload'):
                path = os.path.join(out, 'usr/local/bin', name)
                build_id = re.search(r'Build ID: (\w+)', self.readelf('-n', path)).group(1)
                symbols = os.path.join(out, 'usr/lib/debug/.build-id', build_id[:2], build_id[2:] + '.debug')
                self.assertNotIn('.debug_info', self.readelf('-S', path))
                self.assertNotIn('.symtab', self.readelf('-S', path))
                self.assertIn('.debug_info', self.readelf('-S', symbols))
                self.assertIn(build_id, self.readelf('-n', symbols))
                self.assertEqual(subprocess.run([path, '--version'], capture_output=True).returncode, 0)

    @staticmethod
    def readelf(option, path):
        return subprocess.run(['readelf', '-W', option, path], capture_output=True, text=True, check=True).stdout


if __name__ == '__main__':
    unittest.main()
