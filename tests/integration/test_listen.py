#!/usr/bin/python3
"""The client listener for both families of addresses."""

import ctypes
import errno
import platform
import socket
import struct
import unittest

from daemon import DaemonTest, run_roostd
from wsraw import TEXT, WebSocket

PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, SECCOMP_MODE_FILTER = 22, 38, 2
SOCKET_CALL = {'x86_64': 41, 'aarch64': 198}


def without_ipv6():
    """socket(AF_INET6) fails from here on as it does on a kernel without IPv6."""
    load_word, jump_equal, answer = 0x20, 0x15, 0x06
    program = [(load_word, 0, 0, 0), (jump_equal, 0, 3, SOCKET_CALL[platform.machine()]),
               (load_word, 0, 0, 16), (jump_equal, 0, 1, socket.AF_INET6),
               (answer, 0, 0, 0x00050000 | errno.EAFNOSUPPORT), (answer, 0, 0, 0x7fff0000)]
    code = ctypes.create_string_buffer(b''.join(struct.pack('=HBBI', *i) for i in program))
    head = ctypes.create_string_buffer(struct.pack('@HP', len(program), ctypes.addressof(code)))
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0
            or prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.c_void_p(ctypes.addressof(head)), 0, 0) != 0):
        raise OSError(ctypes.get_errno(), 'seccomp')


class BothFamilies(DaemonTest):
    def addresses(self, d):
        self.assertRegex(d.client, r'^\[::\]:\d+$')
        port = d.client.rsplit(':', 1)[1]
        return ['127.0.0.1:' + port, '[::1]:' + port]

    def test_one_socket_serves_both(self):
        for setting in ('[::]:0', ':0'):
            d = self.start(workers=1, listen=setting)
            v4, v6 = self.addresses(d)
            with WebSocket(v4, '/ws/x') as a, WebSocket(v6, '/ws/x') as b:
                a.text('to both')
                a.expect(TEXT, 'to both')
                b.expect(TEXT, 'to both')
                seen = d.http('GET', '/debug/connections').body.decode()
                self.assertIn('127.0.0.1:%d' % a.sock.getsockname()[1], seen)
                self.assertIn('[::1]:%d' % b.sock.getsockname()[1], seen)
                self.assertNotIn('ffff', seen)

    def test_the_log_shows_mapped_addresses_as_ipv4(self):
        d = self.start(listen='[::]:0', log_level='debug')
        with WebSocket(self.addresses(d)[0], '/ws/x') as c:
            c.send_frame(3, '')  # no such opcode
            c.expect_close(1002)
            d.wait_log(r'127\.0\.0\.1:%d' % c.sock.getsockname()[1])
        self.assertNotIn('::ffff', d.text())

    def test_limits_per_address(self):
        d = self.start(workers=1, listen='[::]:0', max_connections_per_address=1)
        v4, v6 = self.addresses(d)
        with WebSocket(v4, '/ws/x') as a, WebSocket(v4, '/ws/x') as b, WebSocket(v6, '/ws/x') as c:
            self.assertEqual([x.response.status for x in (a, b, c)], [101, 503, 101])

    def test_origins(self):
        d = self.start(listen='[::]:0')
        for address in self.addresses(d):
            with WebSocket(address, '/ws/x', [('Origin', 'http://' + address)]) as c:
                self.assertEqual(c.response.status, 101)
            with WebSocket(address, '/ws/x', [('Origin', 'http://evil.example')]) as c:
                self.assertEqual(c.response.status, 403)

    def test_the_default(self):
        self.assertIn("\nlisten: '[::]:8000'\n", run_roostd('--print-config')[1])

    def test_a_port_that_either_family_uses_is_refused(self):
        for taken in (self.start().client, self.start(listen='[::1]:0').client):
            port = taken.rsplit(':', 1)[1]
            status, _, err = run_roostd('--set', 'listen=[::]:' + port, '--set', 'admin_listen=127.0.0.1:0')
            self.assertEqual(status, 1)
            self.assertIn('in use', err)

    def test_without_ipv6(self):
        d = self.start(listen='[::]:0', prepare=without_ipv6)
        self.assertRegex(d.client, r'^0\.0\.0\.0:\d+$')
        self.assertEqual(len(d.lines('no IPv6')), 1)
        with WebSocket('127.0.0.1:' + d.client.rsplit(':', 1)[1], '/ws/x') as c:
            self.assertEqual(c.response.status, 101)

    def test_one_ipv6_address_without_ipv6(self):
        d = self.start(clean=False, ready=False, listen='[::1]:0', prepare=without_ipv6)
        d.wait_log('not supported')
        self.assertEqual(d.process.wait(30), 1)


if __name__ == '__main__':
    unittest.main(verbosity=0)
