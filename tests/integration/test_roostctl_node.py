#!/usr/bin/python3
"""roostctl without --admin, health and ready."""

import os
import signal
import subprocess
import unittest

from daemon import ROOSTCTL, SLOW, DaemonTest, wait_for


class FromSettings(DaemonTest):
    """Without --admin it is the daemon's own settings that say where to ask: in a container and under a service manager
    both see the same environment."""

    def ctl(self, *args, **env):
        clean = {k: v for k, v in os.environ.items() if not k.startswith('ROOST')}
        return subprocess.run([ROOSTCTL, *args], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              env={**clean, **env}, timeout=20 * SLOW)

    def good(self, *args, **env):
        p = self.ctl(*args, **env)
        self.assertEqual((p.returncode, p.stderr), (0, ''), args)
        return p.stdout

    def test_the_environment(self):
        d = self.start()
        for address in (d.admin, ':' + d.admin.split(':')[1], '0.0.0.0:' + d.admin.split(':')[1],
                        '[::]:' + d.admin.split(':')[1]):
            for command in ('health', 'ready'):
                self.assertEqual(self.good(command, ROOST_ADMIN_LISTEN=address, ROOST_API_KEY='a-key-of-16-bytes'), '')
        self.assertIn('worker0', self.good('status', ROOST_ADMIN_LISTEN=d.admin))

    def test_a_line_end_behind_variables(self):
        """As the daemon, which is given the same."""
        d = self.start(env={'ROOST_API_KEY': 'a-key-of-16-bytes\n'})
        self.assertIn('worker0', self.good('status', ROOST_ADMIN_LISTEN=d.admin + '\n', ROOST_API_KEY='a-key-of-16-bytes\n'))
        self.assertIn('worker0', self.good('status', ROOSTCTL_ADMIN='http://%s\r\n' % d.admin, ROOSTCTL_KEY='a-key-of-16-bytes\r\n'))
        self.assertEqual(self.ctl('status', ROOST_ADMIN_LISTEN=d.admin, ROOST_API_KEY='another-key-of-16\n').returncode, 1)

    def test_the_file_with_its_key(self):
        d = self.start(api_key='a-key-of-16-bytes')
        path = self.file('admin_listen: %s\napi_key: a-key-of-16-bytes\n' % d.admin)
        self.good('ready', ROOST_CONFIG=path)
        self.assertIn('worker0', self.good('status', ROOST_CONFIG=path))
        self.assertEqual(self.ctl('--key', 'another-key-of-16', 'status', ROOST_CONFIG=path).returncode, 1)

    def test_off_leaves_the_client_listener(self):
        d = self.start(admin_listen='off')
        env = {'ROOST_ADMIN_LISTEN': 'off', 'ROOST_LISTEN': d.client}
        self.good('health', **env)
        self.good('ready', **env)
        p = self.ctl('status', **env)
        self.assertEqual(p.returncode, 1)
        self.assertIn('admin_listen: off', p.stderr)

    def test_readyz_stays_with_the_admin_listener_that_there_is(self):
        d = self.start()
        self.assertEqual(d.http('GET', '/readyz').status, 200)
        self.assertEqual(d.http('GET', '/readyz', where='client').status, 404)

    def test_ready_says_why_not(self):
        d = self.start(workers=1, drain_time='1h', hub_timeout='100ms')
        hub = d.kill('hub', signal.SIGSTOP)
        try:
            p = wait_for(lambda: [q for q in [self.ctl('ready', ROOST_ADMIN_LISTEN=d.admin)] if q.returncode != 0])[0]
            self.assertEqual(p.returncode, 1)
            self.assertIn('the hub', p.stderr)
            self.good('health', ROOST_ADMIN_LISTEN=d.admin)
        finally:
            os.kill(hub, signal.SIGCONT)
        wait_for(lambda: self.ctl('ready', ROOST_ADMIN_LISTEN=d.admin).returncode == 0, what='readiness')

    def test_what_was_named_comes_first(self):
        d = self.start()
        self.good('--admin', 'http://' + d.admin, 'health', ROOST_ADMIN_LISTEN='127.0.0.1:1')
        self.good('health', ROOSTCTL_ADMIN='http://' + d.admin, ROOST_ADMIN_LISTEN='127.0.0.1:1')

    def test_settings_that_do_not_help(self):
        p = self.ctl('health', ROOST_ADMIN_LISTEN='127.0.0.1:0')
        self.assertEqual(p.returncode, 1)
        self.assertIn('port 0', p.stderr)
        p = self.ctl('health', ROOST_CONFIG='/nonexistent/roost.yaml')
        self.assertIn('its defaults count', p.stderr)
        self.assertEqual(self.ctl('version', ROOST_CONFIG='/nonexistent/roost.yaml').stderr, '')

if __name__ == '__main__':
    unittest.main()
