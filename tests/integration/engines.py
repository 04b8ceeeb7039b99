"""Servers of engines, real ones, on ports or sockets of their own, in folders that go with them: Redis (passwords, users, TLS, replicas),
Sentinel, Redis Cluster, NATS. links.py has what stands between a node and its server."""

import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile

from daemon import SLOW, before_exec, stand_still, wait_for

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), '../..')
FETCHED = os.path.join(TOP, 'build/tools/peers/usr')  # make build/tools/peers/.redis-server
HOST = '127.0.0.1'
SLOTS = 16384


def program(name):
    found = shutil.which(name, path='%s/bin:%s/sbin:%s:/usr/sbin' % (FETCHED, FETCHED, os.environ.get('PATH', '')))
    if not found:
        raise AssertionError('%s is not installed, and was not fetched: make build/tools/peers/.redis-server' % name)
    return found


def environment():
    libraries = [os.path.join(FETCHED, 'lib', d) for d in ('x86_64-linux-gnu', 'aarch64-linux-gnu')]
    return {**os.environ, 'LD_LIBRARY_PATH': ':'.join(libraries)}


RESERVED = []


def free_port():
    """One that the kernel gives to nobody by itself: whoever connects again and again to a server that is away would else meet
    himself one day, and a server that starts again might find its port taken. No other test on this machine takes it, either,
    as long as this process is there, whoever listens on it or not: an abstract name of a UNIX socket stands for it."""
    while True:
        port, name = random.randrange(15000, 30000), socket.socket(socket.AF_UNIX)
        with socket.socket() as s:
            try:
                name.bind('\0roost-test-port-%d' % port)
                s.bind((HOST, port))
            except OSError:
                name.close()
                continue
        RESERVED.append(name)
        return port


class Server:
    """A program with a folder of its own. start() returns when it answers; a killed one can be started again, on the same port."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix='roost-engine-')
        self.process = None

    def file(self, name, text):
        path = os.path.join(self.dir, name)
        with open(path, 'w') as f:
            f.write(text)
        return path

    def run(self, *argv):
        with open(os.path.join(self.dir, 'log'), 'ab') as log:
            self.process = subprocess.Popen([program(argv[0]), *argv[1:]], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            env=environment(), preexec_fn=before_exec)
        try:
            wait_for(lambda: self.process.poll() is not None or self.answers(), what=argv[0])
            assert self.process.poll() is None, '%s has ended' % argv[0]
        except AssertionError as e:
            self.stop(keep=True)
            raise AssertionError('%s; its log:\n%s' % (e, self.log())) from None

    def log(self):
        with open(os.path.join(self.dir, 'log'), errors='replace') as f:
            return f.read()

    def kill(self, sig=signal.SIGKILL):
        if sig == signal.SIGSTOP:
            stand_still(self.process.pid)
            return
        self.process.send_signal(sig)
        if sig in (signal.SIGKILL, signal.SIGTERM):
            self.process.wait(20 * SLOW)

    def pause(self):
        """It stands still: its connections stay, nobody answers."""
        self.kill(signal.SIGSTOP)

    def resume(self):
        self.kill(signal.SIGCONT)

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def stop(self, keep=False):
        if self.alive():
            self.kill()
        if not keep:
            shutil.rmtree(self.dir, ignore_errors=True)


class Redis(Server):
    """One redis-server, which keeps nothing when it ends. It always has a UNIX socket (path), by which say() asks; tcp adds a port.

    password: of everybody. acl: lines of users, to which one named admin is added. tls: a Pki, whose certificate "server" it shows
    (ask_certificate: it wants one, too); then the port speaks TLS. replica_of: a Redis or (host, port). Options: redis-server's."""

    def __init__(self, *options, tcp=False, password=None, acl=None, tls=None, ask_certificate=False, replica_of=None, names=None):
        super().__init__()
        self.path = os.path.join(self.dir, 's')
        self.tls, self.password, self.user = tls, password, None
        self.port = free_port() if tcp or tls else 0
        self.options = ['--unixsocket', self.path, '--save', '', '--dir', self.dir, '--loglevel', 'warning', '--bind', HOST,
                        '--port', '0' if tls else str(self.port), '--repl-diskless-sync-delay', '0']
        if password:
            self.options += ['--requirepass', password, '--masterauth', password]
        if acl:
            self.user, self.password = 'admin', 'of the tests'.replace(' ', '-')
            self.options += ['--aclfile', self.file('users', '%s\nuser admin on >%s ~* &* +@all\n' % (acl.strip(), self.password))]
        if tls:
            tls.make('server', *([names] if names else []))
            self.options += ['--tls-port', str(self.port), '--tls-cert-file', tls.path('server.pem'), '--tls-key-file',
                             tls.path('server.key'), '--tls-ca-cert-file', tls.path('ca.pem'), '--tls-auth-clients',
                             'yes' if ask_certificate else 'no']
        if replica_of:
            host, port = (HOST, replica_of.port) if isinstance(replica_of, Redis) else replica_of
            self.options += ['--replicaof', '%s %d' % (host, port)]
        self.options += options
        self.start()

    @property
    def address(self):
        """As engine_address has it."""
        return '%s://%s:%d' % ('rediss' if self.tls else 'redis', HOST, self.port) if self.port else 'unix:' + self.path

    def start(self):
        self.run('redis-server', *self.options)

    def answers(self):
        return os.path.exists(self.path) and self.say('PING') in ('PONG', 'LOADING Redis is loading the dataset in memory')

    def cli(self):
        return [program('redis-cli'), '-s', self.path, *(['--no-auth-warning', '-a', self.password] if self.password else []),
                *(['--user', self.user] if self.user else [])]

    def say(self, *command):
        """The answer as redis-cli writes it."""
        done = subprocess.run([*self.cli(), *map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              env=environment(), timeout=30)
        return done.stdout.strip()

    def info(self, name):
        """A line of INFO."""
        found = [x.split(':', 1)[1] for x in self.say('INFO', 'everything').split('\n') if x.startswith(name + ':')]
        return found[0].strip() if found else None

    def role(self):
        return self.say('ROLE').split('\n')[0]

    def await_replicas(self, n=1):
        """Until so many have all that it has now: each says how far it is."""
        top = int(self.info('master_repl_offset'))
        wait_for(lambda: sum(int(x) >= top for x in re.findall(r'state=online,offset=(\d+),', self.say('INFO', 'replication'))) >= n,
                 what='%d replicas' % n)
        return self

    def kill(self, sig=signal.SIGKILL):
        super().kill(sig)
        if sig == signal.SIGKILL and os.path.exists(self.path):
            os.unlink(self.path)


class Sentinel(Server):
    """One redis-sentinel that watches a master (host, port) under a name."""

    def __init__(self, name, port, quorum=1, down_after=500, extra=''):
        super().__init__()
        self.name, self.port = name, free_port()
        self.conf = self.file('conf', 'port %d\nbind %s\ndir %s\nsentinel resolve-hostnames no\nsentinel monitor %s %s %d %d\n'
                              'sentinel down-after-milliseconds %s %d\nsentinel failover-timeout %s 3000\n%s\n'
                              % (self.port, HOST, self.dir, name, HOST, port, quorum, name, down_after, name, extra))
        self.start()

    def start(self):
        self.run('redis-server', self.conf, '--sentinel')

    def answers(self):
        return self.say('PING') == 'PONG'

    def say(self, *command):
        done = subprocess.run([program('redis-cli'), '-h', HOST, '-p', str(self.port), *map(str, command)], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, env=environment(), timeout=30)
        return done.stdout.strip()

    def master(self):
        """The port of the master that it names."""
        lines = self.say('SENTINEL', 'get-master-addr-by-name', self.name).split('\n')
        return int(lines[1]) if len(lines) == 2 else None

    def master_says(self, field):
        lines = self.say('SENTINEL', 'master', self.name).split('\n')
        return dict(zip(lines[::2], lines[1::2])).get(field)


class Sentinels:
    """A master, its replicas and sentinels that know of one another. Options are those of each Redis."""

    def __init__(self, replicas=1, sentinels=1, name='roost', down_after=1000, extra='', **options):
        self.name = name
        self.redis = [Redis(tcp=True, **options)]
        try:
            self.redis += [Redis(tcp=True, replica_of=self.redis[0], **options) for _ in range(replicas)]
            self.redis[0].await_replicas(replicas)
            self.sentinels = []
            for _ in range(sentinels):
                self.sentinels.append(Sentinel(name, self.redis[0].port, sentinels // 2 + 1, down_after, extra))
            wait_for(lambda: all(s.master_says('num-slaves') == str(replicas) and s.master_says('num-other-sentinels') ==
                                 str(sentinels - 1) for s in self.sentinels), 60, 'sentinels that know all')
        except BaseException:
            self.stop()
            raise

    @property
    def address(self):
        return 'redis+sentinel://%s/0?master=%s' % (','.join('%s:%d' % (HOST, s.port) for s in self.sentinels), self.name)

    def master(self):
        """The Redis that a living sentinel names."""
        port = next(s for s in self.sentinels if s.alive()).master()
        return next((r for r in self.redis if r.port == port), None)

    def failover(self, sig=signal.SIGKILL):
        """The master dies (or stands still); returns (old, new) when another one is announced and takes writes."""
        old = self.master()
        old.kill(sig)

        def replaced():
            new = self.master()
            return new is not old and new.role() == 'master' and new

        return old, wait_for(replaced, 30, 'another master')

    def stop(self):
        for s in getattr(self, 'sentinels', []) + self.redis:
            s.stop()


class Cluster:
    """Redis Cluster: primaries that share the slots evenly, each with so many replicas. tls: a Pki; everything speaks TLS."""

    def __init__(self, primaries=3, replicas=0, timeout=2000, **options):
        self.redis, self.tls, bus = [], options.get('tls'), []
        if self.tls:  # also among themselves, as they else do not know each other's ports for it
            self.tls.make('bus', usage='clientAuth')
            bus = ['--tls-cluster', 'yes', '--tls-replication', 'yes', '--tls-client-cert-file', self.tls.path('bus.pem'),
                   '--tls-client-key-file', self.tls.path('bus.key')]
        try:
            for _ in range(primaries * (1 + replicas)):
                self.redis.append(Redis(*bus, '--cluster-enabled', 'yes', '--cluster-node-timeout', str(timeout), '--cluster-port',
                                        str(free_port()), '--cluster-require-full-coverage', 'no', tcp=True, **options))
            self.primaries = self.redis[:primaries]
            self._meet(primaries, replicas)
        except BaseException:
            self.stop()
            raise

    def _meet(self, primaries, replicas):
        for i, r in enumerate(self.primaries):
            r.say('CLUSTER', 'ADDSLOTSRANGE', i * SLOTS // primaries, (i + 1) * SLOTS // primaries - 1)
            r.say('CLUSTER', 'SET-CONFIG-EPOCH', i + 1)
        for r in self.redis[1:]:
            self.redis[0].say('CLUSTER', 'MEET', HOST, r.port, self._bus(r))
        wait_for(lambda: all(len(self.nodes(r)) == len(self.redis) for r in self.redis), 60, 'nodes that know one another')
        for i, r in enumerate(self.redis[primaries:]):
            r.say('CLUSTER', 'REPLICATE', self.id(self.primaries[i % primaries]))
        self.await_ok()
        for p in self.primaries if replicas else ():
            p.await_replicas(replicas)

    def _bus(self, r):
        return r.options[r.options.index('--cluster-port') + 1]

    @property
    def address(self):
        return ('rediss' if self.tls else 'redis') + '+cluster://' + ','.join('%s:%d' % (HOST, r.port) for r in self.redis[:3])

    def id(self, r):
        return r.say('CLUSTER', 'MYID')

    def nodes(self, r):
        """CLUSTER NODES of that one: id -> fields."""
        return {x.split()[0]: x.split() for x in r.say('CLUSTER', 'NODES').split('\n') if x}

    def await_ok(self):
        wait_for(lambda: all('cluster_state:ok' in r.say('CLUSTER', 'INFO') for r in self.redis if r.alive()), 30, 'cluster_state:ok')

    def slot(self, key):
        return int(next(r for r in self.redis if r.alive()).say('CLUSTER', 'KEYSLOT', key))

    def owner(self, slot, among=None):
        """Who serves it, as a living one says."""
        one = among or next(r for r in self.redis if r.alive())
        for fields in self.nodes(one).values():
            for part in fields[8:]:
                low, _, high = part.partition('-')
                if '[' not in part and int(low) <= slot <= int(high or low):
                    port = int(fields[1].split('@')[0].split(':')[1])
                    return next(r for r in self.redis if r.port == port)
        return None

    def begin_migration(self, slot, to):
        """From now on until end_migration() its keys are here and there: ASK, TRYAGAIN."""
        old = self.owner(slot)
        to.say('CLUSTER', 'SETSLOT', slot, 'IMPORTING', self.id(old))
        old.say('CLUSTER', 'SETSLOT', slot, 'MIGRATING', self.id(to))
        return old

    def end_migration(self, slot, old, to):
        while True:
            keys = [k for k in old.say('CLUSTER', 'GETKEYSINSLOT', slot, 100).split('\n') if k]
            if not keys:
                break
            old.say('MIGRATE', HOST, to.port, '', 0, 5000, 'KEYS', *keys)
        for r in [to, old] + [p for p in self.redis if p not in (to, old)]:
            if r.alive() and r.role() == 'master':
                r.say('CLUSTER', 'SETSLOT', slot, 'NODE', self.id(to))

    def migrate(self, slot, to):
        old = self.begin_migration(slot, to)
        self.end_migration(slot, old, to)
        return old

    def stop(self):
        for r in self.redis:
            r.stop()


class Nats(Server):
    """One nats-server. user and password or token: of everybody. tls: a Pki, as Redis has it. routes: others of its cluster; conf: more
    lines of its file."""

    def __init__(self, user=None, password=None, token=None, tls=None, ask_certificate=False, routes=(), conf='', names=None):
        super().__init__()
        self.port, self.route, self.monitor = free_port(), free_port(), free_port()
        lines = ['listen: "%s:%d"' % (HOST, self.port), 'http: "%s:%d"' % (HOST, self.monitor), 'pid_file: "%s/pid"' % self.dir,
                 'cluster { name: roost, listen: "%s:%d", routes: %s }'
                 % (HOST, self.route, json.dumps(['nats://%s:%d' % (HOST, r.route) for r in routes]))]
        if token:
            lines.append('authorization { token: "%s" }' % token)
        elif password:
            lines.append('authorization { user: "%s", password: "%s" }' % (user, password))
        self.tls = tls
        if tls:
            tls.make('server', *([names] if names else []))
            lines.append('tls { cert_file: "%s", key_file: "%s", ca_file: "%s", verify: %s }'
                         % (tls.path('server.pem'), tls.path('server.key'), tls.path('ca.pem'), json.dumps(ask_certificate)))
        self.conf = self.file('conf', '\n'.join(lines + [conf]) + '\n')
        self.start()

    @property
    def address(self):
        return '%s://%s:%d' % ('tls' if self.tls else 'nats', HOST, self.port)

    def start(self):
        self.run('nats-server', '-c', self.conf)

    def answers(self):
        try:
            with socket.create_connection((HOST, self.port), 2) as s:
                return s.recv(5) == b'INFO '
        except OSError:
            return False

    def ask(self, what):
        """A page of its monitor: connz, subsz, varz, routez."""
        with socket.create_connection((HOST, self.monitor), 5) as s:
            s.sendall(b'GET /%s HTTP/1.0\r\n\r\n' % what.encode())
            answer = b''.join(iter(lambda: s.recv(65536), b''))
        return json.loads(answer.split(b'\r\n\r\n', 1)[1])
