#!/usr/bin/python3
"""Listeners of every kind: UNIX sockets, sockets that were passed, several of each, limits of their own."""

import contextlib
import fcntl
import grp
import json
import os
import signal
import socket
import stat
import subprocess
import tempfile
import unittest

from daemon import ROOSTCTL, ROOSTD, DaemonTest, run_roostd, wait_for
from wsraw import TEXT, Closed, Raw, WebSocket


def listeners(*entries):
    """--set listeners=, which is YAML; JSON is."""
    return json.dumps(entries)


class Folder(DaemonTest):
    def setUp(self):
        super().setUp()
        self.folder = self.enterContext(tempfile.TemporaryDirectory(prefix='roost-'))
        os.chmod(self.folder, 0o755)

    def path(self, name='s'):
        return os.path.join(self.folder, name)

    def unix(self, name='s'):
        return 'unix:' + self.path(name)

    def by_name(self, d):
        return {x['name']: x for x in d.get_json('/debug/listeners')['listeners']}


class UnixSockets(Folder):
    def test_clients_and_operators(self):
        d = self.start(workers=1, listen=self.unix('c'), admin_listen=self.unix('a'))
        self.assertEqual((d.client, d.admin), (self.unix('c'), self.unix('a')))
        with WebSocket(d.client, '/ws/x') as c:
            c.text('hello')
            c.expect(TEXT, 'hello')
            seen = [x for x in d.get_json('/debug/connections')['connections'] if x['protocol'] == 'plain']
            self.assertEqual((seen[0]['address'], seen[0]['listener'], seen[0]['by']), ('unix', 'client', 'listen'))
        self.assertEqual(self.by_name(d)['listen']['shared'], True)
        self.assertEqual(d.metric('roost_listener_accepts_total{listener="listen"}'), 1)
        wait_for(lambda: d.metric('roost_listener_connections{listener="listen"}') == 0, what='the end')

    def test_the_file_comes_and_goes(self):
        d = self.start(listen=self.unix())
        self.assertEqual(stat.S_IMODE(os.lstat(self.path()).st_mode), 0o660)
        d.stop()
        self.assertFalse(os.path.exists(self.path()))

    def test_mode_owner_and_group(self):
        group = grp.getgrgid(os.getgid()).gr_name
        self.start(listeners=listeners({'address': self.unix('a'), 'mode': '0600', 'owner': str(os.getuid())},
                                       {'address': self.unix('b'), 'mode': '666', 'group': group}))
        self.assertEqual(stat.S_IMODE(os.lstat(self.path('a')).st_mode), 0o600)
        self.assertEqual(stat.S_IMODE(os.lstat(self.path('b')).st_mode), 0o666)
        self.assertEqual(os.lstat(self.path('b')).st_gid, os.getgid())

    def test_what_a_dead_daemon_left_is_replaced(self):
        left = socket.socket(socket.AF_UNIX)
        left.bind(self.path())
        left.close()
        d = self.start(listen=self.unix())
        with WebSocket(d.client, '/ws/x') as c:
            c.text('new')
            c.expect(TEXT, 'new')

    def test_what_somebody_uses_is_not(self):
        d = self.start(listen=self.unix())
        rc, _, err = run_roostd('--set', 'listen=' + self.unix(), '--set', 'admin_listen=off')
        self.assertEqual(rc, 1)
        self.assertIn('somebody listens there; is roostd running already?', err)
        with WebSocket(d.client, '/ws/x') as c:
            c.text('still')
            c.expect(TEXT, 'still')
        with open(self.path('file'), 'w') as f:
            f.write('precious')
        rc, _, err = run_roostd('--set', 'listen=' + self.unix('file'), '--set', 'admin_listen=off')
        self.assertEqual(rc, 1)
        self.assertIn('a file that is no socket', err)
        with open(self.path('file')) as f:
            self.assertEqual(f.read(), 'precious')

    def test_another_daemons_file_stays(self):
        d = self.start(listen=self.unix())
        os.unlink(self.path())
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as other:
            other.bind(self.path())
            d.stop()
            self.assertTrue(os.path.exists(self.path()))

    def test_a_failed_start_leaves_nothing(self):
        rc, _, err = run_roostd('--set', 'admin_listen=off', '--set', 'listeners=' + listeners(
            {'address': self.unix('a')}, {'address': 'fd:nobody'}))
        self.assertEqual(rc, 1)
        self.assertIn('fd:nobody: no socket of this name was passed', err)
        self.assertEqual(os.listdir(self.folder), [])

    def test_check_looks_at_owner_and_folder(self):
        rc, _, err = run_roostd('--check', '--set', 'listeners=' + listeners(
            {'address': self.unix('x/y')}, {'address': self.unix('a'), 'owner': 'no-such-user'}))
        self.assertEqual(rc, 2)
        self.assertIn('listeners[0]: the folder', err)
        self.assertIn('listeners[1]: owner: there is no user no-such-user on this machine', err)

    def test_drain_refuses_who_waits(self):
        """Also those in the queue that a worker which does not move would have taken."""
        d = self.start(workers=1, listen=self.unix(), hang_timeout='0s', drain_time='30s')
        with WebSocket(d.client, '/ws/x'):
            d.kill('worker0', signal.SIGSTOP)
            waiting = Raw(d.client)
            waiting.send('GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n')
            d.process.send_signal(signal.SIGTERM)
            with self.assertRaises(ConnectionResetError):  # its request was not read
                waiting.sock.recv(1)
            waiting.close()
            wait_for(lambda: not os.path.exists(self.path()), what='the file to go')
            d.process.send_signal(signal.SIGTERM)
            d.process.wait(20)

    def test_hints_and_roostctl(self):
        """Where roostctl finds the daemon by its settings, and where it is told."""
        env = {'ROOST_HINTS': '1'}
        d = self.start(listen=self.unix('c'), admin_listen=self.unix('a'), env=env)
        d.wait_log('curl --unix-socket %s http://localhost/\n' % self.path('c'))
        d.wait_log('roostctl --admin %s status' % self.unix('a'))
        self.enterContext(WebSocket(d.client, '/ws/lobby'))
        for argv, extra in ((['--admin', self.unix('a')], {}), ([], {'ROOSTCTL_ADMIN': self.unix('a')}),
                            ([], {'ROOST_ADMIN_LISTEN': self.unix('a')}),
                            ([], {'ROOST_LISTENERS': listeners({'address': 'fd:x', 'kind': 'admin', 'name': 'x'},
                                                               {'address': self.unix('a'), 'kind': 'admin'}),
                                  'ROOST_API_KEY': 'k' * 16})):
            for command in (['status'], ['publish', 'lobby', 'text'], ['ready']):
                p = subprocess.run([ROOSTCTL, *argv, *command], capture_output=True, text=True, timeout=60,
                                   env={**os.environ, **extra})
                self.assertEqual((p.returncode, p.stderr), (0, ''), (argv, extra, command))
        p = subprocess.run([ROOSTCTL, '--admin', self.unix('nobody'), 'status'], capture_output=True, text=True, timeout=60)
        self.assertEqual(p.returncode, 1)
        self.assertIn('cannot reach unix:%s: No such file or directory' % self.path('nobody'), p.stderr)


class Several(Folder):
    def test_addresses_of_both_kinds(self):
        d = self.start(listen=None, admin_listen=None, api_key='k' * 16, listeners=listeners(
            {'address': '127.0.0.1:0', 'name': 'one'}, {'address': '127.0.0.2:0', 'name': 'two'},
            {'address': self.unix(), 'name': 'three'},
            {'address': '127.0.0.1:0', 'name': 'ops', 'kind': 'admin'}, {'address': '[::1]:0', 'name': 'six'}))
        key = [('X-API-Key', 'k' * 16)]
        seen = {x['name']: x for x in json.loads(d.http('GET', '/debug/listeners', fields=key).body)['listeners']}
        self.assertEqual(list(seen), ['one', 'two', 'three', 'ops', 'six'])
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(WebSocket(seen[n]['address'], '/ws/x')) for n in ('one', 'two', 'three', 'six')]
            clients[0].text('to all')
            for c in clients:
                c.expect(TEXT, 'to all')
        with Raw(seen['one']['address']) as c:  # not an operator's
            self.assertEqual(c.request('GET', '/metrics').status, 404)

    def test_the_flat_defaults_give_way(self):
        _, out, _ = run_roostd('--check', '--set', 'listeners=' + listeners({'address': self.unix()}))
        d = self.start(listen=None, listeners=listeners({'address': self.unix(), 'name': 'only'}))
        self.assertEqual(sorted(self.by_name(d)), ['admin_listen', 'only'])
        self.assertNotIn('8000', out)

    def test_ipv6_only(self):
        rc, _, err = run_roostd('--check', '--set', 'listeners=' + listeners(
            {'address': '[::]:8000', 'ipv6_only': True}, {'address': '0.0.0.0:8000'}))
        self.assertEqual((rc, err), (0, ''))
        d = self.start(listen=None, listeners=listeners({'address': '[::]:0', 'ipv6_only': True, 'name': 'six'}))
        port = self.by_name(d)['six']['address'].rsplit(':', 1)[1]
        with WebSocket('[::1]:' + port, '/ws/x') as c:
            c.text('six')
            c.expect(TEXT, 'six')
        with self.assertRaises(ConnectionRefusedError):
            Raw('127.0.0.1:' + port)

    def test_what_is_refused(self):
        for entries, says in (
                ([{'address': ':1'}, {'address': '[::]:1'}], 'listeners[1]: [::]:1 takes in the port of listeners[0], :1'),
                ([{'address': 'unix:/tmp/a'}, {'address': 'unix:/tmp/a', 'name': 'b'}], 'takes in the path of'),
                ([{'address': 'unix:/tmp/a', 'name': 'x'}, {'address': 'unix:/tmp/b', 'name': 'x'}],
                 'listeners[1]: there are two called x'),
                ([{'address': '0.0.0.0:1', 'kind': 'admin'}], 'listeners[0]: the admin listener is not on loopback'),
                ([{'address': 'fd:x', 'kind': 'admin'}], 'listeners[0]: the admin listener is not on loopback'),
                ([{'address': 'unix:/' + 'a' * 120}], 'the path of a UNIX socket has at most 107 bytes'),
                ([{'kind': 'client'}], 'listeners[0].address: is missing'),
                ([{'address': ':%d' % (1000 + i)} for i in range(17)], 'at most 16 are possible')):
            rc, _, err = run_roostd('--check', '--set', 'listeners=' + listeners(*entries))
            self.assertEqual(rc, 2, entries)
            self.assertIn(says, err)

    def test_a_limit_of_its_own_holds_for_the_node(self):
        d = self.start(workers=2, listeners=listeners({'address': '127.0.0.1:0', 'name': 'small', 'max_connections': 3}))
        small = self.by_name(d)['small']['address']
        with contextlib.ExitStack() as stack:
            for n in range(3):
                stack.enter_context(WebSocket(small, '/ws/x'))
                wait_for(lambda: self.by_name(d)['small']['connections'] == n + 1, what='the count')
            with Raw(small) as c:
                r = c.request('GET', '/ws/x')
                self.assertEqual((r.status, r.body), (503, b'the listener holds as many connections as it may\n'))
            with WebSocket(d.client, '/ws/x') as c:  # another listener's places are its own
                c.text('x')
                c.expect(TEXT, 'x')
        wait_for(lambda: self.by_name(d)['small']['connections'] == 0, what='the ends')
        with WebSocket(small, '/ws/x') as c:
            c.text('again')
            c.expect(TEXT, 'again')


    def test_a_burst_does_not_exceed_it(self):
        """Workers that take connections at the same moment: each counts before it looks."""
        d = self.start(workers=4, listeners=listeners({'address': self.unix(), 'name': 'small', 'max_connections': 5}))
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(Raw(self.unix())) for _ in range(60)]
            for c in clients:
                c.send('GET /ws/x HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n'
                       'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n')
            answers = []
            for c in clients:
                with contextlib.suppress(Closed, OSError):  # refused without an answer, beyond the reserve
                    answers.append(c.read_response().status)
            self.assertLessEqual(answers.count(101), 5)
            wait_for(lambda: self.by_name(d)['small']['connections'] == answers.count(101), what='the end of those that were refused')


    def test_networks_that_may_connect(self):
        entry = {'address': '127.0.0.1:0', 'name': 'closed', 'allow': ['127.0.0.2', '127.0.1.0/24']}
        path = self.path('roost.yaml')
        with open(path, 'w') as f:
            json.dump({'listeners': [entry]}, f)
        d = self.start(config=path)
        closed = self.by_name(d)['closed']['address']
        for source in ('127.0.0.2', '127.0.1.77'):
            with Raw(closed, source=source) as c:
                self.assertEqual(c.request('GET', '/healthz').status, 200)
        with Raw(closed, source='127.0.0.3') as c:
            with self.assertRaises((Closed, OSError)):
                c.request('GET', '/healthz')
        d.wait_log('connection refused" reason=not_allowed.*peer=127.0.0.3')
        d.wait_metric('roost_closes_total{reason="not_allowed"}', 1)
        with open(path, 'w') as f:
            json.dump({'listeners': [{**entry, 'allow': []}]}, f)
        d.process.send_signal(signal.SIGHUP)
        d.wait_log('takes a protection away" reason="allow: closed is open to all now')

        def served():
            with contextlib.suppress(Closed, OSError), Raw(closed, source='127.0.0.3') as c:
                return c.request('GET', '/healthz').status == 200

        wait_for(served, what='a worker with the new settings')


class Reload(Folder):
    def entries(self, **changes):
        return [{'address': self.unix('a'), 'name': 'one', 'max_connections': 100, **changes}]

    def write(self, entries):
        with open(self.path('roost.yaml'), 'w') as f:
            json.dump({'listeners': entries}, f)

    def test_options_change_and_sockets_stay(self):
        self.write(self.entries())
        d = self.start(listen=None, config=self.path('roost.yaml'))
        self.write(self.entries(max_connections=1))
        d.process.send_signal(signal.SIGHUP)
        d.wait_log('reloaded" changed=listeners')
        d.everywhere(lambda: self.by_name(d)['one']['max_connections'] == 1, what='the new limit')
        with WebSocket(self.unix('a'), '/ws/x'):
            wait_for(lambda: self.by_name(d)['one']['connections'] == 1, what='the count')
            with Raw(self.unix('a')) as c:
                self.assertEqual(c.request('GET', '/ws/x').status, 503)
        for n, entries in enumerate((self.entries(mode='0600'), self.entries(address=self.unix('b')),
                                     self.entries() + [{'address': self.unix('c')}], self.entries(kind='admin'))):
            self.write(entries)
            d.process.send_signal(signal.SIGHUP)
            wait_for(lambda: len(d.lines('reload refused')) == n + 1, what='a refusal')
            self.assertIn('settings=listeners', d.lines('reload refused')[-1])


class Passed(Folder):
    """As systemd does it: sd_listen_fds(3)."""

    def bound(self, family=socket.AF_INET, address=('127.0.0.1', 0)):
        s = self.enterContext(contextlib.closing(socket.socket(family)))
        s.bind(address)
        s.listen(100)
        return s

    def start_with(self, sockets, names, pid='$$', **settings):
        """A shell puts them at descriptor 3 and behind it, and becomes the daemon, whose id it says."""
        high = [fcntl.fcntl(s.fileno(), fcntl.F_DUPFD, 200) for s in sockets]
        places = ' '.join('%d<&%d %d<&-' % (3 + i, h, h) for i, h in enumerate(high))
        with open(self.path('run'), 'w') as f:
            f.write('#!/bin/bash\nexec %s\nLISTEN_PID=%s exec %s "$@"\n' % (places, pid, os.path.abspath(ROOSTD)))
        os.chmod(self.path('run'), 0o755)
        try:
            return self.start(program=self.path('run'), pass_fds=high, env={
                'LISTEN_FDS': str(len(sockets)), 'LISTEN_FDNAMES': ':'.join(names)}, **settings)
        finally:
            for h in high:
                os.close(h)

    def test_by_address_and_by_name(self):
        tcp, ops, path = self.bound(), self.bound(), self.bound(socket.AF_UNIX, self.path())
        address = '127.0.0.1:%d' % tcp.getsockname()[1]
        d = self.start_with([tcp, ops, path], ['roost.socket', 'ops', 'roost.socket'], listen=address, admin_listen='off',
                            api_key='k' * 16, listeners=listeners(
                                {'address': 'fd:ops', 'kind': 'admin', 'name': 'ops'}, {'address': 'fd:roost.socket', 'name': 'p'}))
        self.assertEqual(d.client, address)
        self.assertEqual(d.admin, '127.0.0.1:%d' % ops.getsockname()[1])
        for where in (address, self.unix()):
            with WebSocket(where, '/ws/x') as c:
                c.text(where)
                c.expect(TEXT, where)
        key = [('X-API-Key', 'k' * 16)]
        seen = json.loads(d.http('GET', '/debug/listeners', fields=key).body)['listeners']
        self.assertEqual({(x['name'], x['passed'], x['shared']) for x in seen},
                         {('listen', True, True), ('ops', True, True), ('p', True, True)})
        d.stop()
        self.assertTrue(os.path.exists(self.path()))  # it is the parent's

    def test_who_comes_between_two_daemons_is_served(self):
        tcp = self.bound()
        address = '127.0.0.1:%d' % tcp.getsockname()[1]
        d = self.start_with([tcp], ['web'], listen='fd:web')
        with WebSocket(address, '/ws/x') as c:
            c.text('first')
            c.expect(TEXT, 'first')
        d.stop()
        with Raw(address) as c:
            c.send('GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n')
            self.start_with([tcp], ['web'], listen='fd:web')
            self.assertEqual(c.read_response().status, 200)

    def test_none_is_for_a_child(self):
        """The variables are another process's, which has left them behind."""
        tcp = self.bound()
        d = self.start_with([tcp], ['web'], pid='1')
        self.assertNotEqual(d.client, '127.0.0.1:%d' % tcp.getsockname()[1])

    def test_what_belongs_to_no_listener_is_told(self):
        d = self.start_with([self.bound()], ['stray'])
        d.wait_log('a socket that was passed belongs to no listener.* name=stray')

    def test_what_does_not_listen_is_refused(self):
        s = socket.socket()
        self.addCleanup(s.close)
        with self.assertRaisesRegex(AssertionError, 'is no listening stream socket'):
            self.start_with([s], ['web'], listen='fd:web')
        datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(datagrams.close)
        with self.assertRaisesRegex(AssertionError, 'is no listening stream socket'):
            self.start_with([datagrams], ['web'], listen='fd:web')


class Fairness(Folder):
    """One socket for four workers, which the kernel does not share out."""
    CLIENTS = 2000

    def counts(self, d):
        return self.by_name(d)['listen']['workers']

    def open(self, n):
        clients = []
        for _ in range(n):
            s = socket.socket(socket.AF_UNIX)
            s.settimeout(60)
            s.connect(self.path())
            clients.append(s)
            self.addCleanup(s.close)
        return clients

    def start_it(self):
        return self.start(workers=4, listen=self.unix(), header_timeout='10m', hang_timeout='0s', max_connections=10000)

    def check(self, d, counts):
        self.assertEqual(sum(counts), self.CLIENTS)
        self.assertLessEqual(max(counts), 2 * self.CLIENTS / 4, counts)

    def test_no_worker_has_twice_the_mean(self):
        d = self.start_it()
        self.open(self.CLIENTS)
        self.check(d, wait_for(lambda: sum(self.counts(d)) == self.CLIENTS and self.counts(d), what='all'))

    def test_also_while_one_does_not_move(self):
        d = self.start_it()
        d.kill('worker2', signal.SIGSTOP)
        self.open(self.CLIENTS)
        counts = wait_for(lambda: sum(self.counts(d)) == self.CLIENTS and self.counts(d), 30, what='all')
        self.check(d, counts)
        self.assertEqual(counts[2], 0)
        d.kill('worker2', signal.SIGCONT)
        total = self.CLIENTS
        while total < self.CLIENTS * 7 // 5 and counts[2] < self.CLIENTS // 8:  # who has less gets what comes, once it runs
            self.open(50)
            total += 50
            counts = wait_for(lambda: sum(self.counts(d)) == total and self.counts(d), what='all')
        self.assertGreaterEqual(counts[2], self.CLIENTS // 8, counts)


if __name__ == '__main__':
    unittest.main()
