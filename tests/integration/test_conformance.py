#!/usr/bin/python3
"""RFC 6455 clause by clause: every case is sent whole and byte by byte, with the same outcome.

The daemon is an echo server here, in two ways: a channel with one subscriber, who publishes; and /echo, without the hub.
"""

import itertools
import unittest

from daemon import DaemonTest, SharedDaemonTest, at_some_pace
from wsraw import (BINARY, CLOSE, CONT, PING, PONG, TEXT, WebSocket, close_payload, frame)

MAX = 1048576  # max_message_size and max_frame_size by default
number = itertools.count(1)

# Markus Kuhn's stress test, and the corners of RFC 3629 §4.
UTF8_GOOD = [
    'κόσμε', 'Hello-µ@ßöäüàá-UTF-8!!', '\x00', '\x7f', '\x80', '\u07ff', '\u0800', '\ud7ff', '\ue000',
    '\ufffd', '\uffff', '\U00010000', '\U0010ffff', '\ufdd0', '\U0001fffe', '\ufeff', 'a\u0300', '𝕊' * 40,
]
UTF8_BAD = [
    b'\x80', b'\xbf', b'\x80\xbf', b'\x80' * 5, b'a\xc0 ', b'\xe0 ', b'\xf0 ', b'\xf8 ', b'\xfc ', b'\xc2a',
    b'\xe0\xa0a', b'\xf0\x90\x80a', b'\xf8\x88\x80\x80\x80', b'\xfc\x84\x80\x80\x80\x80', b'\xfe', b'\xff',
    b'\xc0\xaf', b'\xe0\x80\xaf', b'\xf0\x80\x80\xaf', b'\xf8\x80\x80\x80\xaf', b'\xc1\xbf', b'\xe0\x9f\xbf',
    b'\xf0\x8f\xbf\xbf', b'\xc0\x80', b'\xe0\x80\x80', b'\xf0\x80\x80\x80', b'\xed\xa0\x80', b'\xed\xad\xbf',
    b'\xed\xae\x80', b'\xed\xaf\xbf', b'\xed\xbe\x80', b'\xed\xbf\xbf', b'\xed\xa0\x80\xed\xb0\x80',
    b'\xf4\x90\x80\x80', b'\xf5\x80\x80\x80', b'\xf7\xbf\xbf\xbf', b'ok \xce\xba\xe1\xbd\xb9 \xed\xa0\x80 edited',
]
UTF8_CUT = [b'\xce', b'\xe1\xbd', b'\xf0\x90\x80', b'good \xf4\x8f\xbf']  # good so far, but no end


def echo(op, payload):
    """A case: one message there and back."""
    return frame(op, payload), [(op, payload)]


def fails(data, code, before=()):
    """A case: what was sent before is answered, then the connection fails with that code."""
    return data, list(before) + [('close', code)]


CASES = {}

# §5.2, §5.6: sizes of each form of the length
for n in (0, 1, 7, 125, 126, 127, 128, 1000, 65535, 65536, 65537, 131072):
    CASES['5_6_text_%d' % n] = echo(TEXT, b'*' * n)
    CASES['5_6_binary_%d' % n] = echo(BINARY, bytes(range(256)) * (n // 256) + b'\xfe' * (n % 256))
CASES['5_6_two_in_a_row'] = (frame(TEXT, 'one') + frame(BINARY, b'\x00two'), [(TEXT, b'one'), (BINARY, b'\x00two')])
CASES['5_6_a_hundred_in_a_row'] = (b''.join(frame(TEXT, 'n%d' % i) for i in range(100)),
                                   [(TEXT, b'n%d' % i) for i in range(100)])

# §5.2: the shortest form of the length must be used; the top bit of 64 must be 0
for form, n in ((16, 0), (16, 125), (64, 0), (64, 125), (64, 126), (64, 65535)):
    CASES['5_2_length_%d_in_%d_bits' % (n, form)] = fails(frame(TEXT, b'x' * n, form=form), 1002)
CASES['5_2_length_top_bit'] = fails(frame(BINARY, b'', form=64, length=1 << 63), 1002)

# §5.1: a client masks
for op in (TEXT, BINARY, PING, PONG, CLOSE, CONT):
    CASES['5_1_unmasked_opcode_%d' % op] = fails(frame(op, b'', mask=False), 1002)

# §5.2: reserved bits and opcodes, alone and behind a message that is still answered
for rsv in range(1, 8):
    CASES['5_2_rsv_%d' % rsv] = fails(frame(TEXT, 'x', rsv=rsv), 1002)
    CASES['5_2_rsv_%d_in_ping' % rsv] = fails(frame(PING, b'x', rsv=rsv), 1002)
    CASES['5_2_rsv_%d_in_close' % rsv] = fails(frame(CLOSE, close_payload(1000), rsv=rsv), 1002)
    CASES['5_2_rsv_%d_behind_a_message' % rsv] = fails(
        frame(TEXT, 'first') + frame(TEXT, 'x', rsv=rsv) + frame(PING), 1002, [(TEXT, b'first')])
for op in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15):
    CASES['5_2_opcode_%d' % op] = fails(frame(op, b''), 1002)
    CASES['5_2_opcode_%d_with_payload' % op] = fails(frame(op, b'payload'), 1002)
    CASES['5_2_opcode_%d_behind_a_message' % op] = fails(
        frame(TEXT, 'first') + frame(op, b'x') + frame(PING), 1002, [(TEXT, b'first')])
    CASES['5_2_opcode_%d_inside_a_message' % op] = fails(frame(TEXT, 'a', fin=False) + frame(op), 1002)

# §5.5.2, §5.5.3: pings and pongs
for name, payload in (('empty', b''), ('hello', b'Hello'), ('125', b'\xfe' * 125), ('not_utf8', b'\x00\xff\xfe\xfd')):
    CASES['5_5_2_ping_' + name] = (frame(PING, payload), [(PONG, payload)])
CASES['5_5_2_ten_pings'] = (b''.join(frame(PING, b'p%d' % i) for i in range(10)), [(PONG, b'p%d' % i) for i in range(10)])
CASES['5_5_3_unsolicited_pong'] = (frame(PONG) + frame(PONG, b'unasked') + frame(PING, b'after'), [(PONG, b'after')])
# §5.5: control frames have at most 125 bytes and are not fragmented
for name, op in (('ping', PING), ('pong', PONG), ('close', CLOSE)):
    CASES['5_5_%s_of_126' % name] = fails(frame(op, b'\xfe' * 126), 1002)
    CASES['5_5_%s_of_70000' % name] = fails(frame(op, b'x' * 70000)[:14], 1002)
    CASES['5_5_%s_in_fragments' % name] = fails(frame(op, b'a', fin=False) + frame(CONT, b'b'), 1002)

# §5.4: fragmentation
CASES['5_4_two_fragments'] = (frame(TEXT, 'frag', fin=False) + frame(CONT, 'ments'), [(TEXT, b'fragments')])
CASES['5_4_binary_fragments'] = (frame(BINARY, b'\x00\xff', fin=False) + frame(CONT, b'\xfe'), [(BINARY, b'\x00\xff\xfe')])
CASES['5_4_all_empty'] = (frame(TEXT, '', fin=False) + frame(CONT, '', fin=False) + frame(CONT, ''), [(TEXT, b'')])
CASES['5_4_middle_only'] = (frame(TEXT, '', fin=False) + frame(CONT, 'mid', fin=False) + frame(CONT, ''), [(TEXT, b'mid')])
CASES['5_4_two_hundred_fragments'] = (
    frame(TEXT, 'x', fin=False) + frame(CONT, 'y', fin=False) * 198 + frame(CONT, 'z'), [(TEXT, b'x' + b'y' * 198 + b'z')])
CASES['5_4_ping_between'] = (frame(TEXT, 'a', fin=False) + frame(PING, b'p') + frame(CONT, 'b'), [(PONG, b'p'), (TEXT, b'ab')])
CASES['5_4_pings_between_five'] = (
    frame(TEXT, '1', fin=False) + frame(CONT, '2', fin=False) + frame(PING, b'p1') + frame(CONT, '3', fin=False)
    + frame(CONT, '4', fin=False) + frame(PING, b'p2') + frame(CONT, '5'), [(PONG, b'p1'), (PONG, b'p2'), (TEXT, b'12345')])
CASES['5_4_pong_between'] = (frame(TEXT, 'a', fin=False) + frame(PONG, b'p') + frame(CONT, 'b'), [(TEXT, b'ab')])
CASES['5_4_message_behind_fragments'] = (
    frame(TEXT, 'a', fin=False) + frame(CONT, 'b') + frame(BINARY, b'c'), [(TEXT, b'ab'), (BINARY, b'c')])
for fin in (True, False):
    CASES['5_4_continuation_of_nothing_fin_%d' % fin] = fails(frame(CONT, 'x', fin=fin), 1002)
    CASES['5_4_continuation_behind_the_end_fin_%d' % fin] = fails(
        frame(TEXT, 'a', fin=False) + frame(CONT, 'b') + frame(CONT, 'c', fin=fin), 1002, [(TEXT, b'ab')])
    for name, op in (('text', TEXT), ('binary', BINARY)):
        CASES['5_4_new_%s_inside_fin_%d' % (name, fin)] = fails(frame(TEXT, 'a', fin=False) + frame(op, 'b', fin=fin), 1002)
CASES['5_4_close_inside'] = fails(frame(TEXT, 'a', fin=False) + frame(CLOSE, close_payload(1000)), 1000)
CASES['5_4_close_inside_then_the_rest'] = fails(
    frame(TEXT, 'a', fin=False) + frame(CLOSE, close_payload(1000)) + frame(CONT, 'b'), 1000)

# §5.6, §8.1: text is UTF-8
for i, text in enumerate(UTF8_GOOD):
    data = text.encode()
    CASES['8_1_good_%02d' % i] = echo(TEXT, data)
    parts = [data[k:k + 1] for k in range(len(data))]
    CASES['8_1_good_%02d_a_byte_a_fragment' % i] = (
        frame(TEXT, b'', fin=False) + b''.join(frame(CONT, p, fin=False) for p in parts) + frame(CONT, b''), [(TEXT, data)])
for i, data in enumerate(UTF8_BAD):
    CASES['8_1_bad_%02d' % i] = fails(frame(TEXT, data), 1007)
    CASES['8_1_bad_%02d_a_byte_a_fragment' % i] = fails(
        frame(TEXT, b'', fin=False) + b''.join(frame(CONT, data[k:k + 1], fin=False) for k in range(len(data))) + frame(CONT), 1007)
    CASES['8_1_bad_%02d_behind_a_message' % i] = fails(frame(TEXT, 'good') + frame(TEXT, data), 1007, [(TEXT, b'good')])
    # fails fast: neither the rest of the frame nor of the message is waited for
    CASES['8_1_bad_%02d_in_an_incomplete_frame' % i] = fails(frame(TEXT, data, length=len(data) + 1000), 1007)
    CASES['8_1_bad_%02d_in_an_incomplete_message' % i] = fails(
        frame(TEXT, 'κόσμε', fin=False) + frame(CONT, data + b'....', fin=False), 1007)
    CASES['8_1_bad_%02d_is_good_binary' % i] = echo(BINARY, data)
for i, data in enumerate(UTF8_CUT):
    CASES['8_1_cut_%d' % i] = fails(frame(TEXT, data), 1007)
    CASES['8_1_cut_%d_at_the_last_fragment' % i] = fails(frame(TEXT, 'x', fin=False) + frame(CONT, data), 1007)

# §5.5.1, §7: closing
CASES['7_empty'] = fails(frame(CLOSE), 1005)
CASES['7_one_byte'] = fails(frame(CLOSE, b'\x03'), 1002)
CASES['7_code_only'] = fails(frame(CLOSE, close_payload(1000)), 1000)
CASES['7_reason'] = fails(frame(CLOSE, close_payload(1000, 'Hello World!')), 1000)
CASES['7_reason_of_123'] = fails(frame(CLOSE, close_payload(1000, '*' * 123)), 1000)
CASES['7_reason_of_124'] = fails(frame(CLOSE, close_payload(1000, '*' * 124)), 1002)
CASES['7_reason_not_utf8'] = fails(frame(CLOSE, close_payload(1000, b'\xed\xa0\x80')), 1007)
CASES['7_reason_cut'] = fails(frame(CLOSE, close_payload(1000, b'\xf0\x90\x80')), 1007)
CASES['7_behind_a_message'] = fails(frame(TEXT, 'bye') + frame(CLOSE, close_payload(1000)), 1000, [(TEXT, b'bye')])
CASES['7_twice'] = fails(frame(CLOSE, close_payload(1000)) * 2, 1000)
CASES['7_ping_behind'] = fails(frame(CLOSE, close_payload(1000)) + frame(PING), 1000)
CASES['7_text_behind'] = fails(frame(CLOSE, close_payload(1000)) + frame(TEXT, 'x'), 1000)
CASES['7_large_message_then_close_then_ping'] = fails(
    frame(TEXT, b'B' * 262144) + frame(CLOSE, close_payload(1000)) + frame(PING), 1000, [(TEXT, b'B' * 262144)])
for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999):
    CASES['7_4_code_%d' % code] = fails(frame(CLOSE, close_payload(code)), code)
for code in (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535):
    CASES['7_4_bad_code_%d' % code] = fails(frame(CLOSE, close_payload(code)), 1002)
    CASES['7_4_bad_code_%d_with_reason' % code] = fails(frame(CLOSE, close_payload(code, 'reason')), 1002)

# §7.4.1: 1009, as soon as the length is known
CASES['7_4_1_largest'] = echo(BINARY, b'm' * MAX)
CASES['7_4_1_frame_too_big'] = fails(frame(TEXT, b'', length=MAX + 1), 1009)
CASES['7_4_1_frame_far_too_big'] = fails(frame(BINARY, b'', length=(1 << 63) - 1), 1009)
CASES['7_4_1_message_too_big'] = fails(frame(BINARY, b'm' * MAX, fin=False) + frame(CONT, b'1')[:2], 1009)
CASES['7_4_1_largest_in_fragments'] = (
    frame(BINARY, b'f' * 65536, fin=False) + frame(CONT, b'f' * 65536, fin=False) * 14 + frame(CONT, b'f' * 65536),
    [(BINARY, b'f' * MAX)])

# Byte by byte takes as many system calls as bytes.
CHOP = {name: 1 if len(case[0]) <= 4096 else 997 if len(case[0]) < 200000 else 8191 for name, case in CASES.items()}


class Conformance(SharedDaemonTest):
    settings = {'workers': 2}

    def path(self):
        return '/ws/conformance-%d' % next(number)

    def open(self):
        c = WebSocket(self.d.client, self.path())
        self.addCleanup(c.close)
        self.assertEqual(c.response.status, 101)
        return c

    def check(self, c, wanted):
        for op, payload in wanted:
            if op == 'close':
                c.expect_close(payload)
                return
            c.expect(op, payload)
        c.goodbye()


class EchoConformance(Conformance):
    settings = {'workers': 2, 'echo': 'true'}

    def path(self):
        return '/echo'


def make(name, case):
    def whole(self):
        c = self.open()
        c.send(case[0])
        self.check(c, case[1])

    def chopped(self):
        c = self.open()
        c.send(case[0], chop=CHOP[name])
        self.check(c, case[1])

    setattr(Conformance, 'test_%s' % name, whole)
    setattr(Conformance, 'test_%s_chopped' % name, chopped)


for case_name, one_case in CASES.items():
    make(case_name, one_case)


class AtTheHandshake(SharedDaemonTest):
    """What comes with the request's bytes is not lost (RFC 6455 §4.1: a client may not, but TCP may join)."""

    def test_frames_in_the_same_segment(self):
        with WebSocket(self.d.client, '/ws/early', early=frame(TEXT, 'early') + frame(PING, b'bird')) as c:
            self.assertEqual(c.response.status, 101)
            got = {c.recv().payload, c.recv().payload}
            self.assertEqual(got, {b'early', b'bird'})
            c.goodbye()

    def test_violation_in_the_same_segment(self):
        with WebSocket(self.d.client, '/ws/early2', early=frame(3, b'x')) as c:
            self.assertEqual(c.response.status, 101)
            c.expect_close(1002)


class Alive(DaemonTest):
    """Who answers pings lives on, longer than one answer lasts."""

    def client(self, pace):
        d = self.start(ping_interval='%dms' % (300 * pace), pong_timeout='%dms' % (700 * pace))
        return d.ws('/ws/idle')

    def test_idle_client_is_pinged_and_lives_on(self):
        def lives(pace):
            c = self.client(pace)
            for _ in range(4):
                f = c.expect(PING)
                c.send_frame(PONG, f.payload)
            c.goodbye()

        at_some_pace(lives)

    def test_any_frame_counts_as_pong(self):
        def lives(pace):
            c = self.client(pace)
            for i in range(4):
                c.expect(PING)
                c.text('alive %d' % i)
                while (f := c.recv()).opcode == PING:
                    pass
                self.assertEqual((f.opcode, f.payload), (TEXT, b'alive %d' % i))
            c.send_frame(CLOSE, close_payload(1000))
            c.expect_close(1000)

        at_some_pace(lives)


class Deadlines(SharedDaemonTest):
    settings = {'ping_interval': '300ms', 'pong_timeout': '700ms', 'close_timeout': '500ms'}

    def test_silent_client_is_closed_with_1011(self):
        with self.d.ws('/ws/idle3') as c:
            c.expect(PING)
            c.expect_close(1011)

    def test_peer_that_ignores_the_close_frame_is_cut_off(self):
        with self.d.ws('/ws/deaf') as c:
            c.expect(PING)
            c.expect(CLOSE)
            c.expect_eof()


class Incomplete(SharedDaemonTest):
    settings = {'ping_interval': '300ms', 'pong_timeout': '10m', 'message_timeout': '500ms'}

    def test_incomplete_message_is_closed_with_1008(self):
        with self.d.ws('/ws/slow') as c:
            c.send(frame(TEXT, 'never finished')[:-3])
            f = c.recv()
            if f.opcode == PING:  # cannot be answered: we are in the middle of a frame
                f = c.recv()
            self.assertEqual((f.opcode, f.code), (CLOSE, 1008))

    def test_incomplete_fragments_kept_alive_by_pongs_are_closed_with_1008(self):
        with self.d.ws('/ws/slow2') as c:
            c.send_frame(TEXT, 'never', fin=False)
            while True:
                f = c.recv()
                if f.opcode != PING:
                    break
                c.send_frame(PONG, f.payload)
            self.assertEqual((f.opcode, f.code), (CLOSE, 1008))


if __name__ == '__main__':
    unittest.main(verbosity=0)
