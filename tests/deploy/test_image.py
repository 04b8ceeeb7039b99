#!/usr/bin/python3
"""The container image: deploy/image.sh lays it out from programs of this machine, and roostd lives in it as in a container: another
root that cannot be written, an ordinary user, no capability, settings of the environment alone. Then the Dockerfile, by buildah."""

import ctypes
import hashlib
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import unittest

TOP = os.path.realpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), '../..'))
sys.path.insert(0, os.path.join(TOP, 'tests/integration'))

from daemon import BUILD, before_exec, wait_for  # noqa: E402
from wsraw import TEXT, Raw, WebSocket  # noqa: E402

USER = 10001
CLONE_NEWNS, MS_RDONLY, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 0x20000, 1, 32, 4096, 16384, 1 << 18
PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 24, 38
LIBC = ctypes.CDLL(None, use_errno=True)


def run(*argv, **kw):
    p = subprocess.run(argv, capture_output=True, text=True, **kw)
    assert p.returncode == 0, '%s: %s%s' % (' '.join(argv), p.stdout[-3000:], p.stderr[-3000:])
    return p.stdout


def lay_out(root, epoch='86400', programs=os.path.abspath(BUILD)):
    return run(os.path.join(TOP, 'deploy/image.sh'), root, programs, '0.1.0', env={**os.environ, 'SOURCE_DATE_EPOCH': epoch})


def handbook():
    with open(os.path.join(TOP, 'deploy/README.md')) as f:
        return f.read()


def package(library):
    """Whose it is; known by its path in /lib or in /usr/lib."""
    for path in library, '/usr' + library, os.path.realpath(library):
        p = subprocess.run(['dpkg', '-S', path], capture_output=True, text=True)
        if p.returncode == 0:
            return p.stdout.split(':')[0]
    raise AssertionError('no package has ' + library)


def digest(root):
    """Of an archive of everything, names, modes and times included."""
    p = subprocess.run(['tar', '-C', root, '--sort=name', '--numeric-owner', '-cf', '-', '.'], capture_output=True, check=True)
    return hashlib.sha256(p.stdout).hexdigest()


def check(result):
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def enter(root):
    """What a container engine does before it executes the entry point: in the child."""
    def mount(source, target, flags):
        check(LIBC.mount(source, target.encode(), None, flags, None))

    check(LIBC.unshare(CLONE_NEWNS))
    mount(None, '/', MS_REC | MS_PRIVATE)
    mount(root.encode(), root, MS_BIND)
    mount(b'/proc', root + '/proc', MS_BIND)
    mount(None, root, MS_REMOUNT | MS_BIND | MS_RDONLY)
    os.chroot(root)
    os.chdir('/')
    for capability in range(64):
        LIBC.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
    os.setgroups([])
    os.setgid(USER)
    os.setuid(USER)
    check(LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))


class Container:
    """roostd in it."""

    def __init__(self, root, nofile=4096, memory=None, **settings):
        def prepare():
            resource.setrlimit(resource.RLIMIT_NOFILE, (nofile, nofile))
            if memory:
                resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
            enter(root)

        self.root = root
        self.env = {'PATH': '/usr/local/bin', 'ROOST_LISTEN': '127.0.0.1:0', 'ROOST_ADMIN_LISTEN': '127.0.0.1:0', **settings}
        self.process = subprocess.Popen(['/usr/local/bin/roostd'], env=self.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                        stdin=subprocess.DEVNULL, preexec_fn=lambda: before_exec(prepare=prepare))
        self.lines = []
        threading.Thread(target=self._read, daemon=True).start()
        wait_for(lambda: self.find(r'msg="?ready') or self.process.poll() is not None, what='readiness')
        assert self.process.poll() is None, '\n'.join(self.lines)
        self.client, self.admin = (self.find(r'address=(\S+) for=' + x)[1] for x in ('clients', 'admin'))

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line.rstrip())

    def find(self, pattern):
        return re.search(pattern, '\n'.join(self.lines))

    def roostctl(self, *args):
        return subprocess.run(['/usr/local/bin/roostctl', *args], env={**self.env, 'ROOST_ADMIN_LISTEN': self.admin}, capture_output=True, text=True,
                              preexec_fn=lambda: before_exec(prepare=lambda: enter(self.root)))

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(120)


class Image(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix='roost-image-')
        cls.root = os.path.join(cls.folder.name, 'root')
        lay_out(cls.root)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def files(self):
        return {os.path.join(f, n)[len(self.root):] for f, _, names in os.walk(self.root) for n in names}

    def test_no_shell_and_no_package_manager(self):
        programs = {x for x in self.files() if os.access(self.root + x, os.X_OK) and '.so' not in x}
        self.assertEqual(programs, {'/usr/local/bin/' + x for x in ('roostd', 'roostctl', 'roostload')})
        self.assertEqual([x for x in self.files() if 'dpkg' in x or '/apt' in x], [])
        self.assertIn('/etc/ssl/certs/ca-certificates.crt', self.files())
        self.assertIn('/usr/share/zoneinfo/Europe/Berlin', self.files())

    def test_the_same_inputs_make_the_same_image(self):
        again, later = (os.path.join(self.folder.name, x) for x in ('again', 'later'))
        lay_out(again)
        lay_out(later, '172800')
        self.assertEqual(digest(again), digest(self.root))
        self.assertNotEqual(digest(later), digest(self.root))
        shutil.rmtree(again)
        shutil.rmtree(later)

    def test_the_list_of_what_is_in_it(self):
        with open(self.root + '/usr/local/share/roost/sbom.spdx.json') as f:
            sbom = json.load(f)
        self.assertEqual(sbom['spdxVersion'], 'SPDX-2.3')
        packages = {p['name']: p['versionInfo'] for p in sbom['packages']}
        self.assertEqual(len(packages), len(sbom['packages']))
        self.assertEqual(packages.pop('roost'), '0.1.0')
        for name in ('libc6', 'libev4', 'libssl3', 'libcurl4', 'ca-certificates', 'tzdata'):
            self.assertIn(name, packages)
        for name, version in packages.items():
            self.assertEqual(run('dpkg-query', '-W', '-f', '${Version}\n', name).split()[0], version)
        ids = {p['SPDXID'] for p in sbom['packages']} | {'SPDXRef-DOCUMENT'}
        self.assertEqual({r['relatedSpdxElement'] for r in sbom['relationships']} | {'SPDXRef-DOCUMENT'}, ids)

    @unittest.skipUnless(BUILD.rstrip('/').endswith('release'), 'sanitizers are larger')
    def test_the_table_of_sizes(self):
        """That of the handbook: KiB on disk, the programs stripped as the Dockerfile does."""
        table = {what: int(size.replace(',', '')) for what, size in re.findall(r'^\| (`roostd`|shared libraries|time zones|certificates).*? \| ([\d,]+) \|$', handbook(), re.M)}
        stripped, root = (os.path.join(self.folder.name, x) for x in ('stripped', 'small'))
        os.mkdir(stripped)
        for name in 'roostd', 'roostctl', 'roostload':
            run('strip', '-o', os.path.join(stripped, name), os.path.join(BUILD, name))
        lay_out(root, programs=stripped)
        libraries = [os.path.join(f, n) for f, _, names in os.walk(root) for n in names if '.so' in n]
        there = {'`roostd`': [root + '/usr/local/bin'], 'shared libraries': libraries, 'time zones': [root + '/usr/share/zoneinfo'],
                 'certificates': [root + '/etc/ssl']}
        self.assertEqual(set(table), set(there))
        for what, paths in there.items():
            size = int(run('du', '-skc', *paths).splitlines()[-1].split()[0])
            self.assertLess(abs(size - table[what]), 0.15 * size, '%s: %d KiB' % (what, size))
        self.assertEqual(re.search(r'\| shared libraries, (\d+) of Debian 12', handbook())[1], str(len(libraries)))

    def test_libraries_that_the_handbook_names(self):
        """Who copies the programs to another Debian needs the packages of what they are linked with: these, and libc."""
        needed = set()
        for name in 'roostd', 'roostctl', 'roostload':
            program = os.path.join(BUILD, name)
            where = dict(re.findall(r'^\s+(\S+) => (\S+)', run('ldd', program), re.M))
            needed |= {package(where[x]) for x in re.findall(r'NEEDED.*\[(.*)\]', run('readelf', '-d', program)) if 'san.so' not in x and 'ubsan' not in x}
        named = re.search(r'on Debian 12 the packages `([^`]+)`', handbook())[1].split()
        self.assertEqual(sorted(named), sorted(needed - {'libc6', 'libgcc-s1'}))

    @unittest.skipUnless(os.getuid() == 0, 'needs root: the image is entered with chroot')
    def test_a_life_in_it(self):
        c = Container(self.root, ROOST_WORKERS='2', ROOST_DRAIN_TIME='100ms', ROOST_PLAIN='true',
                      ROOST_NAMESPACES='[{"name": "chat", "history_size": 10, "history_ttl": "60s", "allow_subscribe_for_client": true, '
                                       '"allow_subscribe_for_anonymous": true}]', ROOST_ALLOWED_ORIGINS='https://a.example,https://b.example')
        self.addCleanup(c.process.stdout.close)
        self.addCleanup(c.process.kill)
        with open('/proc/%d/status' % c.process.pid) as f:
            status = f.read()
        self.assertRegex(status, r'Uid:\s+%d\b' % USER)
        self.assertRegex(status, r'CapBnd:\s+0000000000000000')
        self.assertRegex(status, r'CapEff:\s+0000000000000000')
        self.assertEqual((c.roostctl('health').returncode, c.roostctl('ready').returncode), (0, 0), c.lines)
        with WebSocket(c.client, '/ws/chat:1') as ws, Raw(c.admin) as api:
            body = json.dumps({'channel': 'chat:1', 'data': 'from the environment'})
            answer = json.loads(api.request('POST', '/api/publish', (), body).body)
            self.assertEqual(answer['result']['offset'], 1)  # the namespace of the variable has a history
            ws.expect(TEXT, '"from the environment"')
        self.assertEqual(c.stop(), 0, c.lines)
        self.assertTrue(c.find('msg="?stopped'), c.lines)
        self.assertEqual([x for x in c.lines if 'level=error' in x], [])

    @unittest.skipUnless(os.getuid() == 0, 'needs root: the image is entered with chroot')
    def test_little_memory(self):
        """A limit that the rings of the default would not fit into is said, not met by a signal."""
        c = Container(self.root, memory=512 << 20, ROOST_WORKERS='2', ROOST_DRAIN_TIME='100ms')
        self.addCleanup(c.process.stdout.close)
        self.addCleanup(c.process.kill)
        self.assertEqual(c.roostctl('ready').returncode, 0)
        self.assertEqual(c.stop(), 0, c.lines)


class Dockerfile(unittest.TestCase):
    """What a build of it would take: its instructions against the tree, without an engine."""

    def setUp(self):
        with open(os.path.join(TOP, 'Dockerfile')) as f:
            self.text = f.read().replace('\\\n', ' ')

    def test_what_is_copied_exists_and_suffices(self):
        sources = re.findall(r'(?m)^COPY (?!--from)(.+) \S+$', self.text)
        names = {x for line in sources for x in line.split()}
        for name in names:
            self.assertTrue(os.path.exists(os.path.join(TOP, name)), name)
        self.assertLessEqual({'Makefile', 'include', 'src', 'cmd', 'deploy'}, names)

    def test_packages_are_those_of_the_makefile(self):
        """Each header that the build looks for has its package there."""
        with open(os.path.join(TOP, 'Makefile')) as f:
            headers = re.search(r'(?m)^HEADERS +:=((?:.*\\\n)*.*)$', f.read())[1].replace('\\\n', ' ')
        installed = set(re.search(r'--no-install-recommends (.+?) &&', self.text)[1].split())
        self.assertEqual({x.split(':')[1] for x in headers.split()} - installed, set())

    def test_the_last_stage(self):
        last = self.text.split('\nFROM ')[-1]
        self.assertTrue(last.startswith('scratch\n'))
        self.assertNotIn('\nRUN', last)
        self.assertRegex(last, r'(?m)^USER 10001:10001$')
        self.assertRegex(last, r'(?m)^ENTRYPOINT \["/usr/local/bin/roostd"\]$')
        self.assertRegex(last, r'HEALTHCHECK .*"/usr/local/bin/roostctl", "health"')
        for label in ('title', 'description', 'licenses', 'version', 'revision'):
            self.assertIn('org.opencontainers.image.%s=' % label, last)


if __name__ == '__main__':
    unittest.main()
