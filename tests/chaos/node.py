"""The daemon of an era, seen from outside: processes, descriptors, memory, metrics."""

import os
import re
import resource
import shutil
import signal
import ssl
import tempfile

from centrifuge import OPEN, yaml
from daemon import Daemon
from pki import Pki
from wsraw import Raw

GAUGES_AT_REST = ('roost_connections{protocol="echo"}', 'roost_connections_closing', 'roost_hub_queue_bytes', 'roost_partial_bytes',
                  'roost_frame_slots_in_use', 'roost_output_queue_bytes', 'roost_output_queues', 'roost_tokens_waiting',
                  'roost_ring_to_hub_bytes', 'roost_ring_to_worker_bytes')
# Beside these, when nobody is there.
GAUGES_WHEN_EMPTY = ('roost_connections{protocol="plain"}', 'roost_connections{protocol="centrifuge"}', 'roost_subscriptions',
                     'roost_centrifuge_subscriptions', 'roost_worker_channels', 'roost_presence_members', 'roost_users')
COUNTERS = ('_total', '_count', '_sum', '_bucket')
STREAM = {**OPEN, 'history_size': 20000, 'history_ttl': '3600s'}
PLAIN = {**OPEN, 'history_size': 0, 'history_ttl': '0s', 'force_recovery': False}


def fds_of(pid):
    """What is open, by kind: {'socket': 12, 'anon_inode:[eventfd]': 4, ...}"""
    kinds = {}
    for name in os.listdir('/proc/%d/fd' % pid):
        try:
            kind = re.sub(r':\[\d+\]$|(?<=^/proc/)\d+', '', os.readlink('/proc/%d/fd/%s' % (pid, name)))
        except FileNotFoundError:
            continue
        kinds[kind] = kinds.get(kind, 0) + 1
    return kinds


def segments_of(pid):
    """Bytes of shared mappings."""
    total = 0
    with open('/proc/%d/maps' % pid) as f:
        for line in f:
            area, mode = line.split()[:2]
            if mode[3] == 's':
                first, last = (int(x, 16) for x in area.split('-'))
                total += last - first
    return total


class Certificates:
    """Two pairs, of which one at a time is what the listener's files are."""

    def __init__(self):
        self.pki = Pki()
        for name in ('one', 'two'):
            self.pki.make(name)
        self.shown = self.put('one')

    def put(self, pair):
        """Writes the files; the name of the pair that is in force once the daemon has read them, None: what was before."""
        pem, key = {'mismatched': ('one', 'two')}.get(pair, (pair, pair))
        for name, kind in ((pem, 'pem'), (key, 'key')):
            to = self.pki.path('server.' + kind)
            if pair == 'missing':
                if os.path.exists(to):
                    os.unlink(to)
            else:
                shutil.copy(self.pki.path(name + '.' + kind), to + '.new')
                os.rename(to + '.new', to)
        return pair if pair in ('one', 'two') else None

    def ways(self, plain, tls, unix):
        """Addresses, and contexts where TLS is spoken: half of the clients come without."""
        old, new = (self.pki.client(version=v) for v in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3))
        return [(plain, None), (tls, new), (unix, None), (tls, old)]

    def der(self, name):
        with open(self.pki.path(name + '.one')) as f:
            return ssl.PEM_cert_to_DER_cert(f.read())


class Node:
    def __init__(self, workers, settings, certificates):
        self.workers, self.certificates = workers, certificates
        self.folder = tempfile.TemporaryDirectory(prefix='roost-chaos-')
        self.file = tempfile.NamedTemporaryFile('w', suffix='.yaml', prefix='roost-chaos-')
        self.write(settings)
        self.d = Daemon(workers=workers, listen=None, config=self.file.name, drain_time='500ms', hang_timeout=None, ring_size=settings.get('ring_size', '4MiB'),
                        max_message_size='16KiB', send_buffer_size='16KiB')
        self.limits, self.stopped = {}, set()
        found = dict(re.findall(r'msg="?listening"? address=(\S+) for=clients name=(\S+)', self.d.text()))
        self.ways = certificates.ways(*(next(a for a, n in found.items() if n == name) for name in ('plain', 'tls', 'unix')))

    def write(self, settings, wrong=''):
        """The configuration file, whole."""
        self.file.seek(0)
        self.file.truncate()
        self.file.write(yaml({'plain': True, 'allow_anonymous_connect_without_token': True, 'presence_update_interval': '5s',
                              'recovery_max_publication_limit': 20000, 'ping_interval': '20s', 'pong_timeout': '60s',
                              'output_timeout': '60s', 'message_timeout': '600s', 'header_timeout': '600s', 'body_timeout': '600s',
                              **{k: v for k, v in settings.items() if k != 'ring_size'}, 'listeners': self.listeners(),
                              'channel_without_namespace': PLAIN, 'namespaces': [{'name': 'stream', **STREAM}]}) + wrong)
        self.file.flush()

    def listeners(self):
        path = self.certificates.pki.path
        return [{'name': 'plain', 'address': '127.0.0.1:0'}, {'name': 'unix', 'address': 'unix:' + os.path.join(self.folder.name, 's')},
                {'name': 'tls', 'address': '127.0.0.1:0', 'tls_certificate': path('server.pem'), 'tls_key': path('server.key')}]

    def shown(self):
        """The certificate that a new connection is shown."""
        with Raw(self.ways[1][0], tls=self.ways[1][1]) as c:
            return c.sock.getpeercert(True)

    # processes

    def names(self):
        """name -> pid of the daemon's processes, from /proc."""
        found = {}
        for pid in self.d.children():
            try:
                with open('/proc/%d/comm' % pid) as f:
                    name = f.read().strip()
                with open('/proc/%d/stat' % pid) as f:
                    state = f.read().rsplit(')', 1)[1].split()[0]
            except (FileNotFoundError, ProcessLookupError):
                continue
            if state not in 'ZX':
                found[name.replace('roost: ', '')] = pid
        return found

    def expected(self):
        return ['hub'] + ['worker%d' % i for i in range(self.workers)]

    def pid(self, name):
        return self.d.process.pid if name == 'master' else self.names().get(name)

    def signal(self, name, sig):
        pid = self.pid(name)
        if pid:
            try:
                os.kill(pid, sig)
            except ProcessLookupError:
                return None
            if sig == signal.SIGSTOP:
                self.stopped.add(pid)
        return pid

    def resume(self, pid):
        if pid in self.stopped:
            self.stopped.discard(pid)
            try:
                os.kill(pid, signal.SIGCONT)
            except ProcessLookupError:
                pass

    def limit(self, name, spare):
        """The process may open so many descriptors more."""
        pid = self.pid(name)
        try:
            before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
            highest = max(int(x) for x in os.listdir('/proc/%d/fd' % pid))
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (highest + 1 + spare, before[1]))
        except (TypeError, ProcessLookupError, FileNotFoundError):
            return None
        self.limits.setdefault(pid, before)
        return pid

    def unlimit(self, pid):
        if pid in self.limits:
            try:
                resource.prlimit(pid, resource.RLIMIT_NOFILE, self.limits.pop(pid))
            except ProcessLookupError:
                pass

    def relieve(self):
        for pid in list(self.stopped):
            self.resume(pid)
        for pid in list(self.limits):
            self.unlimit(pid)

    def deaths(self, name):
        return len(self.d.lines(r'msg="?(killed|exited)"? process=%s ' % name))

    def inventory(self):
        """What each process has open and shares."""
        return {name: (fds_of(pid), segments_of(pid)) for name, pid in [('master', self.d.process.pid)] + sorted(self.names().items())}

    def all_up(self):
        try:
            m = self.d.metrics()
            return sorted(self.names()) == self.expected() and m['roost_ready'] == 1 and all(
                m.get('roost_process_up{process="%s"}' % n) == 1 for n in self.expected())
        except (OSError, KeyError):
            return False
