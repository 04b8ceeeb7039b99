#!/usr/bin/python3
"""What roostload refuses before it starts, with a sentence that names the fix; the scenario file."""

import socket
import tempfile
import unittest

from daemon import wait_for
from loadtest import TcpServer, run, run_json


class Refusals(unittest.TestCase):
    def refuse(self, *args, status=2):
        p = run(*args)
        self.assertEqual(p.returncode, status, p.stdout)
        return p.stderr

    def test_targets_elsewhere(self):
        self.assertIn('--i-own-the-target', self.refuse('hold', '--url', 'ws://192.0.2.1:80/x'))

    def test_too_many_connections_for_the_processes(self):
        err = self.refuse('hold', '--connections', '4000000', '--processes', '1')
        self.assertRegex(err, r'4000000 connections need \d+ processes of \d+ descriptors')
        err = self.refuse('hold', '--connections', '64000000')
        self.assertRegex(err, r'need \d+ processes of .* and 1024 is the most; raise the limit')

    def test_too_few_ports(self):
        self.assertIn('local ports', self.refuse('hold', '--connections', '200000', '--source', '127.0.0.1'))

    def test_too_little_memory(self):
        """Each subscriber keeps the sequence of each publisher: 320 GB."""
        err = self.refuse('broadcast', '--connections', '400000', '--publishers', '100000')
        self.assertRegex(err, r'500000 connections need \d+\.\d GiB of memory, and [\d.]+ GiB are available: .*--publishers')

    def test_usage(self):
        self.assertIn('which scenario', self.refuse())
        self.assertIn('unknown option "nope"', self.refuse('hold', '--nope', '1'))
        self.assertIn('expected a whole number from 1', self.refuse('hold', '--connections', '0'))
        self.assertIn('expected one of hold|broadcast', self.refuse('dance'))
        self.assertIn('did you mean broadcast?', self.refuse('brodcast'))
        for wrong, right in (('--conections', 'connections'), ('--conections=3', 'connections'), ('--fail_if', 'fail-if'), ('--jsn', 'json'),
                             ('--hlep', 'help'), ('--confg', 'config'), ('--conn', 'connections')):
            self.assertIn('did you mean --%s?' % right, self.refuse('hold', wrong))
        self.assertIn('one scenario is enough', self.refuse('hold', 'echo'))
        self.assertIn('--config needs a file', self.refuse('--config'))
        self.assertIn('needs a value', self.refuse('hold', '--connections'))
        self.assertIn('unknown option "nope"', self.refuse('hold', '--nope'))
        for rate in ('0x10', '1e3', 'nan', '1.2.3', '-1', '.', ''):
            self.assertIn('rate: expected a number', self.refuse('hold', '--rate', rate))
        self.assertIn('expected raw, centrifuge, mqtt or nats', self.refuse('hold', '--adapter', 'x'))
        self.assertIn('multiple of --room', self.refuse('chat', '--connections', '11', '--room', '10'))
        self.assertIn('ws://', self.refuse('hold', '--url', 'http://127.0.0.1/'))

    def test_urls(self):
        for url, why in (('ws://u:p@127.0.0.1/x', '--header'), ('ws://127.0.0.1:99999/', '1 to 65535'), ('ws://127.0.0.1/a b', 'percent-encoded'),
                         ('ws://127.0.0.1?x', '/?'), ('ws://[::1/', 'brackets'), ('ws://no.such.name.invalid/', 'no.such.name')):
            self.assertIn(why, self.refuse('hold', '--url', url))
        self.assertIn('nothing else', self.refuse('hold', '--url', 'ws://127.0.0.1:1/{room}'))
        many = [a for i in range(65) for a in ('--url', 'ws://127.0.0.1:%d/' % (i + 1))]
        self.assertIn('at most 64', self.refuse('hold', *many))

    def test_thresholds_are_read_before_the_test(self):
        for e, why in (('nonsense', 'no > or <'), ('p99>50', 'its unit'), ('lost>5ms', 'without a unit'), ('p999>1s', 'measured'),
                       ('lost==0', 'no > or <')):
            self.assertIn(why, self.refuse('hold', '--fail-if', 'lost>0', '--fail-if', e))

    def test_files_that_cannot_be_written(self):
        with tempfile.TemporaryDirectory() as d:
            self.assertIn('No such file or directory', self.refuse('hold', '--json', d + '/no/r.json'))
            self.assertIn('Is a directory', self.refuse('hold', '--html', d))
            self.assertIn('that is where --json goes', self.refuse('hold', '--html', d + '/x', '--json', d + '/x'))

    def test_sources(self):
        self.assertIn('expected an IPv4 address', self.refuse('hold', '--source', 'eth0'))
        self.assertIn('Cannot assign', self.refuse('hold', '--source', '192.0.2.7'))
        self.assertIn('IPv4 targets', self.refuse('hold', '--source', '127.0.0.1', '--url', 'ws://[::1]:1/'))

    def test_fields_of_the_request(self):
        self.assertIn('Name: value', self.refuse('hold', '--header', 'no colon'))
        self.assertIn('already', self.refuse('hold', '--header', 'upgrade: x'))
        self.assertIn('24 characters', self.refuse('hold', '--header', 'Sec-WebSocket-Key: x'))
        self.assertIn('--subprotocol', self.refuse('hold', '--header', 'Sec-WebSocket-Protocol: x'))
        self.assertIn('line break', self.refuse('hold', '--header', 'A: b\rC: d'))
        self.assertIn('control character', self.refuse('hold', '--header', 'A: b\x01'))
        self.assertIn('--channel : expected a name', self.refuse('hold', '--channel', ''))
        self.assertIn('control characters', self.refuse('hold', '--channel', 'a\tb'))
        self.assertIn('NATS', self.refuse('hold', '--channel', 'a b', '--adapter', 'nats'))
        self.assertIn('commas', self.refuse('hold', '--subprotocol', 'a b'))

    def test_a_server_that_cannot_be_watched(self):
        self.assertIn('no such process', self.refuse('hold', '--pid', '999999999'))
        self.assertIn('no such process', self.refuse('hold', '--pid', 'roostd'))
        self.assertIn('expected http://', self.refuse('hold', '--metrics', '127.0.0.1:8001'))
        self.assertIn('Connection refused', self.refuse('hold', '--metrics', 'http://127.0.0.1:1/metrics'))
        self.assertIn('--i-own-the-target', self.refuse('hold', '--metrics', 'http://192.0.2.1/metrics'))
        self.assertIn('one of them', self.refuse('hold', '--metrics', 'http://127.0.0.1:1/metrics', '--pid', '1'))
        for answer, why in ((b'', 'timed out'), (b'SSH-2.0-x\r\n', 'HTTP/1.1'), (b'HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n', 'status 404'),
                            (b'HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nx 1\n', 'process_cpu_seconds_total')):
            server = TcpServer(lambda s, answer=answer: s.recv(4096) and answer and (s.sendall(answer), s.shutdown(socket.SHUT_WR)))
            try:
                wait_for(lambda: why in self.refuse('hold', '--metrics', 'http://127.0.0.1:%d/' % server.port), what=why)  # an answer in time
            finally:
                server.stop()

    def test_help_and_version(self):
        p = run('--help')
        self.assertEqual(p.returncode, 0)
        for word in ('hold', 'storm', '--fail-if', '--html', 'Exit status'):
            self.assertIn(word, p.stdout)
        self.assertRegex(run('--version').stdout, r'^roostload \d')

    def test_scenario_file_below_the_command_line(self):
        with tempfile.NamedTemporaryFile('w', suffix='.yaml') as f:
            f.write('scenario: hold\nconnections: 3\nduration: 500ms\nurl:\n  - ws://127.0.0.1:1/a\n  - ws://127.0.0.1:1/b\n')
            f.flush()
            r, _ = run_json('--config', f.name, '--connections', '2', status=1)
        self.assertEqual((r['users'], r['options']['duration']), (2, '500ms'))
        self.assertEqual(r['options']['url'], 'ws://127.0.0.1:1/a\nws://127.0.0.1:1/b')

    def test_scenario_file_errors_have_a_place(self):
        with tempfile.NamedTemporaryFile('w', suffix='.yaml') as f:
            f.write('scenario: hold\nconections: 3\n')
            f.flush()
            self.assertIn('%s:2:1: unknown key "conections"; did you mean "connections"?' % f.name, self.refuse('--config', f.name))
        for text, why in (('', 'which scenario'), ('connections: 3\n', 'which scenario'), ('[hold]\n', ':1:1: expected settings as'),
                          ('scenario: hold\n\tx: 1\n', ':2:1: '), ('scenario: hold\nconnections: {a: 1}\n', ':2:14: expected a value'),
                          ('scenario: hold\nconnections: ""\n', 'got ""'), ('scenario: hold\nsize: 99\nsize: 99\n', ':3:1: size is set twice'),
                          ('scenario: dance\n', ':1:11: scenario: expected'),
                          ('scenario: hold\nconnections: [5, 6]\n', ':2:14: expected one value'),
                          ('scenario: hold\nplain: []\n', ':2:8: expected one value'),
                          ('scenario: [hold, echo]\n', ':1:11: expected one value'), ('scenario: hold\nnope: [1]\n', ':2:1: unknown key "nope"; see roostload --help'),
                          ('scenario: hold\nurl: [[ws://127.0.0.1:1/]]\n', ':2:7: expected a list of words')):
            with self.subTest(text=text), tempfile.NamedTemporaryFile('w', suffix='.yaml') as f:
                f.write(text)
                f.flush()
                self.assertIn(why, self.refuse('--config=' + f.name))


if __name__ == '__main__':
    unittest.main()
