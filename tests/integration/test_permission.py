#!/usr/bin/python3
"""Permissions on the plain endpoint: what an anonymous client may, once anything about channels is set."""

import os
import signal
import unittest

from daemon import DaemonTest, wait_for
from wsraw import CLOSE, TEXT, WebSocket

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), '../..')
DEMO = os.path.join(TOP, 'deploy/demo.yaml')
CONFIG = """\
plain: true
channel_without_namespace:
  allow_subscribe_for_client: true
  allow_subscribe_for_anonymous: true
namespaces:
- name: open
  allow_subscribe_for_client: true
  allow_subscribe_for_anonymous: true
  allow_publish_for_subscriber: true
  allow_publish_for_anonymous: true
- name: users
  allow_subscribe_for_client: true
  allow_publish_for_client: true
- name: drop
  allow_publish_for_client: true
  allow_publish_for_anonymous: true
- name: json
  allow_subscribe_for_client: true
  allow_subscribe_for_anonymous: true
  allow_publish_for_subscriber: true
  allow_publish_for_anonymous: true
  publication_data_format: json
- name: counted
  allow_subscribe_for_client: true
  allow_subscribe_for_anonymous: true
  allow_publish_for_subscriber: true
  allow_publish_for_anonymous: true
  rate_limit_publish: 5
- name: others
  allow_subscribe_for_client: true
  allow_subscribe_for_anonymous: true
  allow_publish_for_subscriber: true
  allow_publish_for_anonymous: true
  exclude_self: true
- name: digits
  allow_subscribe_for_client: true
  allow_subscribe_for_anonymous: true
  channel_regex: '^[0-9]+$'
"""


class Plain(DaemonTest):
    def setUp(self):
        self.path = self.file(CONFIG)
        self.d = self.start(config=self.path)

    def status(self, path):
        with WebSocket(self.d.client, path) as c:
            return c.response.status

    def closed(self, c):
        f = c.recv()
        self.assertEqual((f.opcode, f.code), (CLOSE, 1008))
        c.close()

    def test_subscribing(self):
        for path, status in (('/ws/room', 101), ('/ws/open:room', 101), ('/ws/$open:room', 403), ('/ws/users:room', 403),
                             ('/ws/drop:room', 403), ('/ws/nope:room', 404), ('/ws/digits:42', 101),
                             ('/ws/digits:4x', 400), ('/ws/caf%C3%A9', 400), ('/ws?channel=room&channel=open:room', 101),
                             ('/ws?channel=room&channel=users:room', 403), ('/ws/users:room?mode=sub', 403)):
            with self.subTest(path):
                self.assertEqual(self.status(path), status)

    def test_publishing(self):
        a, b = self.d.ws('/ws/open:room'), self.d.ws('/ws/open:room')
        a.text('hello')
        b.expect(TEXT, 'hello')
        with self.d.ws('/ws/room') as reader:
            reader.text('not from me')
            self.closed(reader)
        with self.d.ws('/ws/open:room') as silent:  # there is nothing in it
            silent.text('')
            self.closed(silent)
        with self.d.ws('/ws?channel=room&channel=open:room') as both:
            both.text('{"channel":"open:room","data":"yes"}')
            b.expect(TEXT, 'yes')
            both.text('{"channel":"room","data":"no"}')
            while both.recv().opcode != CLOSE:
                pass

    def test_publishing_only(self):
        self.assertEqual(self.status('/ws/drop:room?mode=pub'), 101)
        self.assertEqual(self.status('/ws/room?mode=pub'), 403)
        self.assertEqual(self.status('/ws/open:room?mode=pub'), 403, 'it is no subscriber')
        self.assertEqual(self.status('/ws/nope:room?mode=pub'), 404)

    def test_format(self):
        with self.d.ws('/ws/json:room') as c:
            c.text('{"a": 1}')
            c.expect(TEXT, '{"a": 1}')
            c.text('not JSON')
            self.closed(c)

    def test_nothing_where_publishers_are_counted(self):
        with self.d.ws('/ws/counted:room') as c:
            c.text('x')
            self.closed(c)

    def test_exclude_self(self):
        a, b = self.d.ws('/ws/others:room'), self.d.ws('/ws?channel=room&channel=others:room')
        a.text('from a')
        b.expect(TEXT, '{"channel":"others:room","data":"from a"}')
        b.text('{"channel":"others:room","data":"from b"}')
        a.expect(TEXT, 'from b')  # and its own did not come before
        a.text('again')
        b.expect(TEXT, '{"channel":"others:room","data":"again"}')

    def test_the_server_api_is_not_asked(self):
        with self.d.ws('/ws/room') as c:
            self.d.publish('room', 'from the server')
            c.expect(TEXT, '"from the server"')

    def test_reload(self):
        with self.d.ws('/ws/open:room') as c:
            c.text('one')
            c.expect(TEXT, 'one')
            with open(self.path, 'w') as f:
                f.write(CONFIG.replace('allow_publish_for_subscriber: true', 'allow_publish_for_subscriber: false', 1)
                        .replace('name: users', 'name: members'))
            self.d.process.send_signal(signal.SIGHUP)
            self.d.wait_log('msg="reloaded" changed=namespaces')
            wait_for(lambda: self.status('/ws/members:room') == 403, what='the new namespace')
            wait_for(lambda: self.status('/ws/users:room') == 404, what='the end of the old one')
            c.text('two')
            self.closed(c)

    def test_a_wrong_reload_changes_nothing(self):
        with open(self.path, 'w') as f:
            f.write(CONFIG + '- name: open\n')
        self.d.process.send_signal(signal.SIGHUP)
        self.d.wait_log(r'msg="reload refused".*:\d+:3: namespaces: there are two with the name open')
        self.assertEqual(self.status('/ws/open:room'), 101)


class Demo(DaemonTest):
    def test_make_run_starts_with_it(self):
        """Nothing but one warning, and everybody chats from this machine's pages."""
        d = self.start(config=DEMO)
        self.assertEqual(len(d.warnings()), 1, d.text())
        with d.ws('/ws/caf%C3%A9', fields=[('Origin', 'http://localhost:5173')]) as a, d.ws('/ws/caf%C3%A9') as b:
            a.text('hello')
            b.expect(TEXT, 'hello')
        for origin in ('http://evil.example', 'http://localhost.evil.example:80'):
            with WebSocket(d.client, '/ws/x', fields=[('Origin', origin)]) as c:
                self.assertEqual(c.response.status, 403)
        with open(os.path.join(TOP, 'Makefile')) as f:
            self.assertIn('--config deploy/demo.yaml', f.read())


class Default(DaemonTest):
    def status(self, d, path='/ws/room'):
        with WebSocket(d.client, path) as c:
            return c.response.status

    def test_open_without_any_such_setting(self):
        d = self.start(allow_anonymous_connect_without_token='true')
        with d.ws('/ws/any:thing') as c:
            c.text('')
            c.expect(TEXT, '')
        self.assertTrue(d.find('level=warn.*allow_anonymous_connect_without_token'))

    def test_closed_with_one(self):
        for setting in ({'namespaces': '[{name: chat}]'}, {'channel_without_namespace': '{presence: true}'}):
            with self.subTest(setting):
                d = self.start(**setting)
                self.assertEqual(self.status(d), 404)
                with WebSocket(d.admin, '/ws/any:thing') as c:  # who asks there may publish anyway
                    self.assertEqual(c.response.status, 101)
                    c.text('')
                    c.expect(TEXT, '')

    def test_insecure_opens_all_but_private(self):
        d = self.start(plain='true', insecure='true', namespaces='[{name: chat}]')
        self.assertEqual(self.status(d, '/ws/chat:x'), 101)
        self.assertEqual(self.status(d, '/ws/$chat:x'), 403)
        self.assertEqual(self.status(d, '/ws/nope:x'), 404)
        self.assertTrue(d.find('level=warn.*insecure: everybody'))

    def test_from_the_environment(self):
        d = self.start(env={'ROOST_NAMESPACES': '[{"name":"chat","allow_subscribe_for_client":true,'
                                                '"allow_subscribe_for_anonymous":true}]', 'ROOST_PLAIN': 'true'})
        self.assertEqual(self.status(d, '/ws/chat:x'), 101)
        self.assertEqual(self.status(d, '/ws/x'), 403)


if __name__ == '__main__':
    unittest.main(verbosity=0)
