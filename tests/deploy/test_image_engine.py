#!/usr/bin/python3
"""The image as engines see it: the Dockerfile's last stage is built by buildah, and what comes of it runs under crun, with the memory
limit, the root that cannot be written, the user and without the capabilities, as a container has them."""

import contextlib
import json
import os
import re
import subprocess
import tempfile
import threading
import unittest

from test_image import TOP, USER, lay_out, run, wait_for
from wsraw import TEXT, Raw, WebSocket

MIB = 1 << 20
LIMIT = 128 * MIB
# crun refuses to work where version 2 of control groups is mounted beside version 1; without that mount the limits are version 1's.
ENTER = ['unshare', '-m', 'sh', '-c', 'mount --make-rprivate /; umount /sys/fs/cgroup/unified 2>/dev/null; exec "$@"', 'sh']
NAMESPACE = {'name': 'kept', 'history_size': 100000, 'history_ttl': '1h', 'allow_subscribe_for_client': True,
             'allow_subscribe_for_anonymous': True}


def last_stage():
    """The Dockerfile from its last FROM on; what earlier stages make is taken from the context."""
    with open(os.path.join(TOP, 'Dockerfile')) as f:
        text = f.read()
    stage = text[text.rindex('\nFROM scratch'):]
    assert stage.count('COPY --from=build /image/ /') == 1, stage
    return stage.replace('COPY --from=build /image/ /', 'COPY image/ /')


@unittest.skipUnless(os.getuid() == 0, 'needs root: containers and control groups are made')
class Engine(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        stack = contextlib.ExitStack()
        cls.addClassCleanup(stack.close)
        cls.folder = stack.enter_context(tempfile.TemporaryDirectory(prefix='roost-image-engine-'))
        cls.context = os.path.join(cls.folder, 'context')
        os.mkdir(cls.context)
        lay_out(os.path.join(cls.context, 'image'))
        with open(os.path.join(cls.context, 'Dockerfile'), 'w') as f:
            f.write(last_stage())
        cls.image = cls.build('roost')
        cls.buildah('from', '--pull-never', '--name', 'life', 'localhost/roost')
        stack.callback(lambda: (cls.buildah('umount', 'life'), cls.buildah('rm', 'life')))
        cls.root = cls.buildah('mount', 'life').strip()

    @classmethod
    def buildah(cls, *args):
        return run('buildah', '--root', cls.folder + '/storage', '--runroot', cls.folder + '/run', '--storage-driver', 'vfs', *args)

    @classmethod
    def build(cls, name):
        """What buildah knows of the image that it has made."""
        cls.buildah('bud', '--isolation', 'chroot', '--format', 'docker', '--pull-never', '--no-cache', '--timestamp', '86400', '--build-arg',
                    'VERSION=0.1.0', '--build-arg', 'REVISION=abc', '-t', 'localhost/' + name, cls.context)
        return json.loads(cls.buildah('inspect', '--type', 'image', 'localhost/' + name))

    def crun(self, *args, **kw):
        return [*ENTER, 'crun', '--root', self.folder + '/crun', *args]

    def spec(self, **settings):
        """As an engine makes one of the image's configuration, with the options of a careful operator."""
        c = self.image['Docker']['config']
        env = ['ROOST_%s=%s' % (k.upper(), v) for k, v in {'listen': '127.0.0.1:0', 'admin_listen': '127.0.0.1:0', **settings}.items()]
        user, group = (int(x) for x in c['User'].split(':'))
        return {
            'ociVersion': '1.0.0', 'hostname': 'gateway', 'root': {'path': self.root, 'readonly': True},
            'process': {'user': {'uid': user, 'gid': group}, 'args': c['Entrypoint'], 'env': c['Env'] + env, 'cwd': '/',
                        'capabilities': {}, 'noNewPrivileges': True, 'rlimits': [{'type': 'RLIMIT_NOFILE', 'soft': 4096, 'hard': 4096}]},
            'mounts': [{'destination': '/proc', 'type': 'proc', 'source': 'proc'},
                       {'destination': '/dev', 'type': 'tmpfs', 'source': 'tmpfs', 'options': ['nosuid', 'mode=755', 'size=64k']},
                       {'destination': '/sys/fs/cgroup', 'type': 'cgroup', 'source': 'cgroup', 'options': ['nosuid', 'noexec', 'nodev', 'ro']}],
            'linux': {'namespaces': [{'type': x} for x in ('pid', 'ipc', 'uts', 'mount')],
                      'resources': {'memory': {'limit': LIMIT, 'swap': LIMIT}, 'pids': {'limit': 16}}}}

    def start(self, **settings):
        bundle = tempfile.mkdtemp(dir=self.folder)
        with open(bundle + '/config.json', 'w') as f:
            json.dump(self.spec(**settings), f)
        self.name = 'roost-test-%d' % os.getpid()
        self.process = subprocess.Popen(self.crun('run', '--bundle', bundle, self.name), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, text=True)
        self.addCleanup(self.end)
        self.lines = []
        self.reader = threading.Thread(target=lambda: self.lines.extend(self.process.stdout), daemon=True)
        self.reader.start()
        wait_for(lambda: self.find('msg="?ready') or self.process.poll() is not None, seconds=30, what='readiness')
        self.assertIsNone(self.process.poll(), self.text())
        self.client, self.admin = (self.find(r'address=(\S+) for=' + x)[1] for x in ('clients', 'admin'))

    def end(self):
        subprocess.run(self.crun('delete', '--force', self.name), capture_output=True)
        self.process.wait(120)
        self.reader.join(120)
        self.process.stdout.close()

    def text(self):
        return ''.join(self.lines)

    def find(self, pattern):
        return re.search(pattern, self.text())

    def group(self, controller):
        """The folder of the container's control group, by the number of its first process outside."""
        state = json.loads(run(*self.crun('state', self.name)))
        with open('/proc/%d/cgroup' % state['pid']) as f:
            own = dict((names, path) for _, names, path in (x.rstrip('\n').split(':', 2) for x in f))
        version1 = '/sys/fs/cgroup/' + controller
        return state['pid'], version1 + own[controller] if controller in own else '/sys/fs/cgroup' + own['']

    def number(self, *names):
        """Of the first of the group's files that is there: version 1's or 2's."""
        _, folder = self.group('memory')
        for name, word in names:
            path = os.path.join(folder, name)
            if os.path.exists(path):
                with open(path) as f:
                    return int(re.search(r'(?m)^%s(\d+)$' % (word + ' ' if word else ''), f.read())[1])
        raise AssertionError('%s has none of %s' % (folder, names))

    def test_what_the_image_says_of_itself(self):
        c = self.image['Docker']['config']
        self.assertEqual(c['User'], '%d:%d' % (USER, USER))
        self.assertEqual(c['Entrypoint'], ['/usr/local/bin/roostd'])
        self.assertEqual(set(c['ExposedPorts']), {'8000/tcp', '8001/tcp'})
        self.assertEqual(c['Healthcheck']['Test'], ['CMD', '/usr/local/bin/roostctl', 'health'])
        self.assertEqual(c['StopSignal'], 'SIGTERM')
        self.assertEqual(c['Labels']['org.opencontainers.image.version'], '0.1.0')
        self.assertEqual(c['Labels']['org.opencontainers.image.revision'], 'abc')

    def test_built_again_it_has_the_same_layers(self):
        again = self.build('again')
        self.assertEqual(again['Docker']['rootfs']['diff_ids'], self.image['Docker']['rootfs']['diff_ids'])

    def test_a_life_within_its_limits(self):
        self.start(workers='auto', drain_time='100ms', ping_interval='1h', plain='true', namespaces=json.dumps([NAMESPACE]))
        pid, _ = self.group('memory')
        with open('/proc/%d/status' % pid) as f:
            status = f.read()
        self.assertRegex(status, r'Uid:\s+%d\b' % USER)
        self.assertRegex(status, r'CapBnd:\s+0{16}')
        self.assertRegex(status, r'CapEff:\s+0{16}')
        self.assertRegex(status, r'NoNewPrivs:\s+1')
        with open('/proc/%d/mountinfo' % pid) as f:
            self.assertRegex(f.read(), r'(?m)^\d+ \d+ \S+ \S+ / ro[, ]')
        self.assertEqual(self.number(('memory.limit_in_bytes', ''), ('memory.max', '')), LIMIT)
        # The defaults have gone by it.
        said = self.find(r'msg="memory of the control group" limit=(\d+) history_memory=(\d+) worker_memory=(\d+) workers=(\d+)')
        self.assertIsNotNone(said, self.text())
        limit, history, worker, workers = (int(x) for x in said.groups())
        self.assertEqual((limit, history, worker), (LIMIT, LIMIT // 4, LIMIT // 4 // workers))
        for word in ('health', 'ready'):
            run(*self.crun('exec', '--env', 'ROOST_ADMIN_LISTEN=' + self.admin, self.name, '/usr/local/bin/roostctl', word))
        run(*self.crun('kill', self.name, 'HUP'))
        wait_for(lambda: self.find('nothing has changed'), seconds=30, what='a reload that finds the same limit')
        with Raw(self.admin) as api, WebSocket(self.client, '/ws/kept:0') as ws:
            def publish(channel, data):
                body = json.dumps({'channel': channel, 'data': data})
                self.assertIn('offset', json.loads(api.request('POST', '/api/publish', (), body).body)['result'])

            publish('kept:0', 'from outside')
            ws.expect(TEXT, '"from outside"')
            # More than the limit is published into histories: what is over their quarter goes, and nobody is killed.
            for i in range(LIMIT // MIB * 17):
                publish('kept:%d' % (1 + i % 100), 'x' * 65000)
            page = api.request('GET', '/metrics').body.decode()
            self.assertGreater(float(re.search(r'(?m)^roost_history_evicted_total (\S+)$', page)[1]), 0)
            self.assertLess(self.number(('memory.max_usage_in_bytes', ''), ('memory.peak', '')), LIMIT)
            self.assertEqual(self.number(('memory.oom_control', 'oom_kill'), ('memory.events', 'oom_kill')), 0)
            run(*self.crun('kill', self.name, 'TERM'))
            ws.expect_close(1001)
        self.assertEqual(self.process.wait(120), 0, self.text())
        self.reader.join(120)
        self.assertTrue(self.find('msg="?stopped'), self.text())
        self.assertIsNone(self.find('level=error|generation=2'), self.text())


if __name__ == '__main__':
    unittest.main()
