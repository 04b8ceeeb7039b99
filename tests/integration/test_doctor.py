#!/usr/bin/python3
"""roostctl doctor on made-up machines: what stops them at how many connections, with which arithmetic and fix."""

import json
import os
import subprocess
import tempfile
import unittest

from daemon import BUILD

ROOSTCTL = os.path.join(BUILD, 'roostctl')
SYS = '/proc/sys/'
LIMITS = """Limit                     Soft Limit           Hard Limit           Units
Max processes             96364                96364                processes
Max open files            {0:<20} {1:<20} files
"""

# More of everything than a million connections need.
PLENTY = {
    '/proc/self/limits': LIMITS.format(2000000, 2000000),
    '/proc/self/status': 'Name:\tx\nCpus_allowed:\t00000000,000000ff\n',
    '/proc/meminfo': 'MemTotal:       130000000 kB\nMemFree:  1 kB\nMemAvailable:   104857600 kB\n',
    SYS + 'fs/nr_open': '2000000\n',
    SYS + 'fs/file-nr': '1000\t0\t9223372036854775807\n',
    SYS + 'fs/epoll/max_user_watches': '50000000\n',
    SYS + 'net/core/somaxconn': '65535\n',
    SYS + 'net/ipv4/tcp_max_syn_backlog': '65535\n',
    SYS + 'net/ipv4/ip_local_port_range': '32768\t60999\n',
    SYS + 'net/ipv4/tcp_mem': '3000000\t4000000\t6000000\n',
    SYS + 'net/ipv4/tcp_ehash_entries': '1048576\n',
}
V2 = {'/proc/self/mountinfo': '30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n', '/proc/self/cgroup': '0::/roost\n'}
GROUP = '/sys/fs/cgroup/roost/'
MIB = 1 << 20


class Doctor(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix='roost-doctor-')
        self.addCleanup(folder.cleanup)
        self.root = folder.name

    def machine(self, *layers):
        for layer in (PLENTY,) + layers:
            for name, text in layer.items():
                path = self.root + name
                os.makedirs(os.path.dirname(path), exist_ok=True)
                if text is None:
                    os.remove(path)
                else:
                    with open(path, 'w') as f:
                        f.write(text)

    def run_it(self, *args, **settings):
        env = {**{k: v for k, v in os.environ.items() if not k.startswith('ROOST')}, **{'ROOST_' + k.upper(): str(v) for k, v in settings.items()}}
        return subprocess.run([ROOSTCTL, 'doctor', '--root', self.root, *args], env=env, capture_output=True, text=True)

    def ask(self, status, *args, **settings):
        p = self.run_it('-o', 'json', *args, **settings)
        self.assertEqual((p.returncode, p.stderr), (status, ''), p.stdout)
        return json.loads(p.stdout)

    def limit(self, answer, name):
        return next(x for x in answer['limits'] if x['name'] == name)

    def note(self, answer, name):
        return next((x for x in answer['notes'] if x['name'] == name), None)

    def stopped(self, name, connections, **settings):
        answer = self.ask(3, **settings)
        self.assertEqual((answer['stopped_by'], answer['connections']), (name, connections), answer)
        self.assertEqual(answer['limits'][0]['name'], name)
        self.assertEqual(answer['limits'], sorted(answer['limits'], key=lambda x: x['connections']))
        return answer['limits'][0]

    def test_a_machine_that_suffices(self):
        self.machine()
        answer = self.ask(0, max_connections=1000000)
        self.assertEqual((answer['stopped_by'], answer['connections'], answer['asked'], answer['workers']),
                         ('max_connections', 1000000, 1000000, 8))
        self.assertNotIn('fix', answer['limits'][0])
        self.assertEqual([x['name'] for x in answer['notes'] if x['warning']], ['slow clients'])
        p = self.run_it(max_connections=1000000)
        self.assertEqual(p.returncode, 0)
        self.assertIn('This machine will hold the 1,000,000 connections that max_connections allows.', p.stdout)
        self.assertIn('With a higher max_connections it would hold ', p.stdout)
        self.assertIn('Limits are those of this shell', p.stdout)

    def test_descriptors(self):
        self.machine({'/proc/self/limits': LIMITS.format(1024, 20000)})
        self.assertEqual(self.ask(0)['asked'], 30000)  # the default
        limit = self.stopped('descriptors', (20000 - 194) * 95 * 2 // 100, max_connections=100000, workers=2)
        self.assertIn('2 workers x (RLIMIT_NOFILE 20,000 - 194 of its own) x 0.95', limit['why'])
        self.assertIn('LimitNOFILE=52', limit['fix'])
        self.assertNotIn('nr_open', limit['fix'])
        limit = self.stopped('descriptors', 20000 - 192, max_connections=30000, workers=1)
        self.assertIn('1 worker x (RLIMIT_NOFILE 20,000 - 192 of its own)', limit['why'])
        self.assertNotIn('0.95', limit['why'])
        # What is set has more workers started.
        self.assertEqual(self.ask(0, max_connections=1000000)['workers'], 54)
        self.assertEqual(self.note(self.ask(0, max_connections=1000000), 'cores')['text'], '54 workers share 8 cores')
        self.assertIn('1,024', self.note(self.ask(0), 'descriptors')['text'])

    def test_more_descriptors_than_one_process_may_ever_have(self):
        self.machine({'/proc/self/limits': LIMITS.format(1024, 1024), SYS + 'fs/nr_open': '20000\n'})
        limit = self.limit(self.ask(3, max_connections=100000, workers=1), 'descriptors')
        self.assertTrue(limit['fix'].startswith('sysctl fs.nr_open='), limit)

    def test_descriptors_without_end(self):
        self.machine({'/proc/self/limits': LIMITS.format('unlimited', 'unlimited')})
        self.assertNotIn('descriptors', [x['name'] for x in self.ask(0)['limits']])

    def test_files_of_the_machine(self):
        self.machine({SYS + 'fs/file-nr': '1000\t0\t51000\n'})
        limit = self.stopped('open files', 50000, max_connections=100000)
        self.assertEqual(limit['why'], 'fs.file-max 51,000 - 1,000 in use on this machine')
        self.assertEqual(limit['fix'], 'sysctl fs.file-max=111000')

    def test_epoll(self):
        self.machine({SYS + 'fs/epoll/max_user_watches': '225000\n'})
        limit = self.stopped('epoll watches', 225000, max_connections=300000)
        self.assertEqual(limit['fix'], 'sysctl fs.epoll.max_user_watches=330000')

    def test_connection_tracking(self):
        self.machine({SYS + 'net/netfilter/nf_conntrack_max': '65536\n', SYS + 'net/netfilter/nf_conntrack_count': '536\n',
                      SYS + 'net/netfilter/nf_conntrack_buckets': '4096\n'})
        limit = self.stopped('connection tracking', 65000, max_connections=100000)
        self.assertIn('nf_conntrack_max 65,536 - 536', limit['why'])
        self.assertIn('nf_conntrack_max=110536', limit['fix'])
        self.assertIn('16 times', self.note(self.ask(0), 'hash of connection tracking')['text'])

    def test_ports_count_where_only_a_local_proxy_can_come(self):
        self.machine()
        limit = self.stopped('local ports', 28232, listen='127.0.0.1:8000')
        self.assertIn('ip_local_port_range 32,768 to 60,999', limit['why'])
        self.assertIn('unix:', limit['fix'])
        self.stopped('local ports', 28232, listen='[::1]:8000')
        two = '[{"kind": "client", "address": "127.0.0.1:8000"}, {"kind": "client", "address": "127.0.0.2:8000"}]'
        self.assertEqual(self.limit(self.ask(0, listeners=two), 'local ports')['connections'], 2 * 28232)
        for listen in ('0.0.0.0:8000', ':8000', 'unix:/run/roost.sock'):
            self.assertNotIn('local ports', [x['name'] for x in self.ask(0, listen=listen)['limits']])

    def test_memory(self):
        self.machine({'/proc/meminfo': 'MemTotal: 2097152 kB\nMemAvailable: 1572864 kB\n'})
        rings, processes = 2 * 2 * 8 * MIB, 5 * 4 * MIB
        limit = self.stopped('memory', (512 * MIB - rings - processes) // (5120 + 550), max_connections=100000, workers=2)
        self.assertIn('1.5 GiB available - 1 GiB of histories - 52 MiB of rings and processes', limit['why'])
        self.assertIn('of memory; or lower history_memory', limit['fix'])
        # Histories are elsewhere; clients of Centrifuge take more, TLS as well.
        settings = {'max_connections': 300000, 'workers': 2, 'engine': 'redis', 'engine_address': 'redis://127.0.0.1:6379'}
        self.stopped('memory', (1536 * MIB - rings - processes) // (5120 + 550), **settings)
        self.stopped('memory', (1536 * MIB - rings - processes) // (5120 + 1024), token_hmac_secret_key='k' * 32, **settings)

    def test_a_group_s_memory(self):
        self.machine(V2, {GROUP + 'memory.max': str(512 * MIB)})
        answer = self.ask(3)  # the default of max_connections is lowered
        self.assertEqual((answer['asked'], answer['connections'], answer['stopped_by']), (30000, 128 * MIB // 5120, 'max_connections'))
        self.assertIn("a quarter of the group's 512 MiB", answer['limits'][0]['why'])
        self.assertIn('set max_connections', answer['limits'][0]['fix'])
        limit = self.stopped('memory', (512 - 128 - 2 * 2 * 8 - 5 * 4) * MIB // (5120 + 550), max_connections=100000, workers=2)
        self.assertIn('512 MiB of the control group - 128 MiB of histories', limit['why'])
        self.assertIn('--memory', limit['fix'])
        # Half of a group as large as the machine is no news.
        self.machine(V2, {GROUP + 'memory.max': str(1 << 40)})
        self.assertIn('available', self.limit(self.ask(0), 'memory')['why'])

    def test_a_group_of_version_1(self):
        self.machine({'/proc/self/mountinfo': '34 25 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n',
                      '/proc/self/cgroup': '4:memory:/a\n', '/sys/fs/cgroup/memory/a/memory.limit_in_bytes': '268435456\n'})
        self.stopped('max_connections', 64 * MIB // 5120, workers=1)

    def test_worker_memory(self):
        self.machine()
        limit = self.stopped('worker_memory', MIB // 8 * 7 // 550 * 4, workers=4, worker_memory='1MiB')
        self.assertIn('4 workers x 7/8 of 1 MiB / 550 B each', limit['why'])
        answer = self.ask(0, workers=4, worker_memory=limit['fix'].split()[1])
        self.assertFalse(self.note(answer, 'slow clients')['warning'])

    def test_processes(self):
        self.machine(V2, {GROUP + 'pids.max': '5\n'})
        limit = self.stopped('processes', (2000000 - 194) * 2 * 95 // 100, max_connections=10000000, workers=8)
        self.assertIn('leave room for 2 of 8 workers', limit['why'])
        self.assertIn('TasksMax=11', limit['fix'])
        self.machine({GROUP + 'pids.max': '3\n'})
        self.stopped('processes', 0, workers=8)
        self.machine({GROUP + 'pids.max': '11\n'})
        self.assertNotIn('processes', [x['name'] for x in self.ask(0, workers=8)['limits']])

    def test_cores_and_quota(self):
        self.machine({'/proc/self/status': 'Cpus_allowed:\tf\n'})
        self.assertEqual(self.ask(0)['workers'], 4)
        self.machine(V2, {GROUP + 'cpu.max': '150000 100000\n'})
        self.assertEqual(self.ask(0)['workers'], 2)
        self.assertEqual(self.note(self.ask(0, workers=3), 'cores')['text'], '3 workers share 2 cores (of the CPU quota)')

    def test_storms(self):
        self.machine({SYS + 'net/core/somaxconn': '4096\n', SYS + 'net/ipv4/tcp_max_syn_backlog': '2048\n'})
        answer = self.ask(0, workers=2)
        self.assertIn('2 workers hold 8,192 of 30,000', self.note(answer, 'accept queue')['text'])
        self.assertIn('net.core.somaxconn=65535', self.note(answer, 'accept queue')['fix'])
        self.assertIn('is 2,048, less than an accept queue of 4,096', self.note(answer, 'half-open connections')['text'])
        answer = self.ask(0, workers=2, max_connections=1000)
        self.assertIsNone(self.note(answer, 'accept queue'))

    def test_buffers_and_hashes(self):
        self.machine({SYS + 'net/ipv4/tcp_mem': '9000\t10000\t12000\n', SYS + 'net/ipv4/tcp_ehash_entries': '-1024\n'})
        answer = self.ask(0)
        self.assertIn('12,000 pages, from 10,000 on', self.note(answer, 'TCP buffers')['text'])
        self.assertIn('tcp_mem="30000 37500 45000"', self.note(answer, 'TCP buffers')['fix'])
        self.assertIn('29 looked at for each packet', self.note(answer, 'hash of sockets')['text'])

    def test_what_the_system_does_not_say(self):
        self.machine({name: None for name in PLENTY if name != '/proc/self/limits'})
        answer = self.ask(0)
        self.assertEqual([x['name'] for x in answer['limits']], ['max_connections', 'descriptors'])
        self.assertEqual(answer['workers'], 1)

    def test_another_process(self):
        self.machine({'/proc/77/limits': LIMITS.format(1000, 1000), '/proc/77/status': 'Cpus_allowed:\t1\n'})
        answer = self.ask(3, '--pid', '77')
        self.assertEqual((answer['process'], answer['connections']), ('77', 1000 - 192))
        self.assertNotIn('this shell', self.run_it('--pid', '77').stdout)
        with tempfile.NamedTemporaryFile('w') as f:
            f.write('77\n')
            f.flush()
            self.assertEqual(self.ask(3, pid_file=f.name)['process'], '77')
            self.assertEqual(self.ask(0, '--pid', 'self', pid_file=f.name)['process'], 'self')
            os.remove(self.root + '/proc/77/limits')
            self.assertEqual(self.ask(0, pid_file=f.name)['process'], 'self')

    def test_what_goes_wrong(self):
        self.machine()
        p = self.run_it('--pid', '78')
        self.assertEqual((p.returncode, p.stdout), (1, ''))
        self.assertIn('/proc/78/limits: no such process', p.stderr)
        self.assertEqual(self.run_it(max_connections='many').returncode, 1)
        self.assertEqual(self.run_it('--config', '/nowhere.yaml').returncode, 1)
        self.assertEqual(self.run_it('more').returncode, 2)

    def test_this_machine(self):
        self.root = ''
        answer = self.ask(3, max_connections=16000000)
        self.assertIn('descriptors', [x['name'] for x in answer['limits']])
        self.assertIn('memory', [x['name'] for x in answer['limits']])

    def test_people_read_sentences(self):
        self.machine({'/proc/self/limits': LIMITS.format(1024, 20000)})
        p = self.run_it(max_connections=100000, workers=2)
        self.assertEqual(p.returncode, 3)
        lines = p.stdout.split('\n')
        self.assertRegex(lines[0], r'^This machine will hold 37,63\d of the 100,000 connections that max_connections asks for\.$')
        self.assertRegex(lines[1], r'^What stops it: descriptors: 2 workers x ')
        self.assertRegex(lines[2], r'^Fix: LimitNOFILE=\d+ in the unit')
        self.assertRegex(p.stdout, r'(?m)^ +37,63\d  descriptors +2 workers')


if __name__ == '__main__':
    unittest.main()
