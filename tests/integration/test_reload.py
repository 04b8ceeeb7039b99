#!/usr/bin/python3
"""SIGHUP: what a reload takes, what it refuses, and that it waits for nobody."""

import base64
import os
import re
import signal
import unittest

from daemon import DaemonTest, wait_for
from wsraw import TEXT

KEY = 'hunter2-hunter2-hunter2'


class Reload(DaemonTest):
    def setUp(self):
        self.path = self.file('')

    def write(self, text):
        with open(self.path + '.new', 'w') as f:
            f.write(text)
        os.replace(self.path + '.new', self.path)

    def reload(self, d, pattern):
        """SIGHUP; the log from there on, once the pattern is in it."""
        before = len(d.text())
        os.kill(d.process.pid, signal.SIGHUP)
        wait_for(lambda: re.search(pattern, d.text()[before:]), what='/%s/ in the log' % pattern)
        return d.text()[before:]

    def keyed(self, d):
        """Does the daemon still want the key?"""
        return d.http('GET', '/metrics').status == 401 and d.http('GET', '/metrics', fields=[('X-API-Key', KEY)]).status == 200

    def test_absence_is_not_a_default(self):
        self.write('api_key: %s\nmax_connections: 77\n' % KEY)
        d = self.start(config=self.path)
        for text in ('', '\n', '# api_key\n'):
            self.write(text)
            self.assertIn('sets nothing any more', self.reload(d, 'reload refused'))
            self.assertTrue(self.keyed(d))
        os.unlink(self.path)
        self.assertIn('No such file', self.reload(d, 'reload refused'))
        os.mkfifo(self.path)
        self.assertIn('is not a regular file', self.reload(d, 'reload refused'))
        os.unlink(self.path)
        os.mkdir(self.path)
        self.assertIn('is a folder', self.reload(d, 'reload refused'))
        os.rmdir(self.path)
        self.assertTrue(self.keyed(d))
        self.write('api_key: %s\nmax_connections: 78\n' % KEY)
        self.reload(d, 'reloaded.*changed=max_connections')

    def test_what_came_through_a_pipe_is_kept(self):
        r, w = os.pipe()
        os.write(w, b'api_key: %s\n' % KEY.encode())
        os.close(w)
        d = self.start(config='/dev/fd/%d' % os.dup2(r, 9), pass_fds=[9])
        os.close(r)
        os.close(9)
        self.assertIn('came through a pipe', self.reload(d, 'reload refused'))
        self.assertTrue(self.keyed(d))

    def test_protections_that_go_are_named(self):
        self.write('api_key: %s\nallowed_origins: [https://a.example]\nmax_connections_per_address: 9\n' % KEY)
        d = self.start(config=self.path)
        self.write('demo_page: false\nallowed_origins: ["*"]\n')
        log = self.reload(d, 'msg="?reloaded')
        self.assertEqual(sorted(re.findall(r'level=warn .*protection away" reason="(\w+)', log)),
                         ['allowed_origins', 'api_key', 'max_connections_per_address'])
        self.assertNotIn('hunter', d.text())

    def test_null_takes_a_key_away_and_says_so(self):
        self.write('api_key: %s\n' % KEY)
        d = self.start(config=self.path)
        self.write('api_key: null\ndemo_page: false\n')
        self.assertIn('protection away', self.reload(d, 'msg="?reloaded'))
        wait_for(lambda: d.http('GET', '/metrics').status == 200, what='metrics without a key')

    def test_secrets_are_not_in_the_log(self):
        self.write('api_key: %s\n' % KEY)
        d = self.start(config=self.path, log_level='debug')
        for text in ('api_key: "hunter2 x"\n', 'api_key: "hunter2\\n"\n', 'api_key: [hunter2]\n', 'hunter2 : 1\napi_key=hunter2: 1\n'):
            self.write(text)
            self.reload(d, 'reload refused')
        self.assertNotIn('hunter2 x', d.text())
        self.write('api_key: hunter2-hunter2-hunter2-other\n')
        self.reload(d, 'reloaded.*changed=api_key')
        r = wait_for(lambda: (r := d.http('GET', '/debug/config', fields=[('X-API-Key', KEY + '-other')])).status == 200 and r)
        self.assertIn(b"api_key: '(hidden)'", r.body)
        self.assertNotIn(b'hunter', r.body)

    def test_a_key_file_is_read_again(self):
        self.write(KEY + '\n')
        d = self.start(env={'ROOST_API_KEY_FILE': self.path})
        self.assertTrue(self.keyed(d))
        r = d.http('GET', '/debug/config', fields=[('X-API-Key', KEY)])
        self.assertNotIn(b'hunter', r.body)
        self.write('')
        self.assertIn('empty', self.reload(d, 'reload refused'))
        self.assertTrue(self.keyed(d))
        self.write('another-key-of-some-length\n')
        self.reload(d, 'reloaded.*changed=api_key')
        wait_for(lambda: d.http('GET', '/metrics', fields=[('X-API-Key', 'another-key-of-some-length')]).status == 200)
        wait_for(lambda: d.http('GET', '/metrics', fields=[('X-API-Key', KEY)]).status == 401)


class Warnings(DaemonTest):
    def test_a_short_key_off_loopback(self):
        d = self.start(admin_listen='0.0.0.0:0', api_key='k')
        self.assertRegex(d.text(), 'level=warn .*api_key: it has less than 16')
        d = self.start(admin_listen='0.0.0.0:0', api_key='0123456789abcdef')
        self.assertEqual(d.warnings(), [])

    def test_limits(self):
        d = self.start(max_message_size='2MiB', max_frame_size='1MiB')
        self.assertRegex(d.text(), 'level=warn .*max_frame_size: is less than max_message_size')


class Derived(DaemonTest):
    def test_the_largest_message_passes_everywhere(self):
        n = 4 << 20
        d = self.start(max_message_size='4MiB', output_limit='16MiB')
        with d.ws('/ws/a') as c:
            c.text('x' * n)
            c.expect(TEXT, 'x' * n)
            self.assertEqual(d.api('publish', channel='a', b64data=base64.b64encode(b'y' * n).decode()), {'result': {}})
            self.assertEqual(len(c.recv().payload), n)

    def test_800000_bytes_as_base64(self):
        d = self.start()
        with d.ws('/ws/a') as c:
            self.assertEqual(d.api('publish', channel='a', b64data=base64.b64encode(b'y' * 800000).decode()), {'result': {}})
            self.assertEqual(len(c.recv().payload), 800000)


if __name__ == '__main__':
    unittest.main(verbosity=0)
