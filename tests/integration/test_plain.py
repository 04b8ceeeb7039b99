#!/usr/bin/python3
"""The plain protocol: names, modes, echo, several channels on one connection."""

import json
import struct
import unittest

from daemon import SharedDaemonTest
from wsraw import BINARY, TEXT, WebSocket


def packed(name, data):
    """The binary form of a publication on a connection of several channels."""
    name = name.encode()
    return struct.pack('B', len(name)) + name + data


class Plain(SharedDaemonTest):
    settings = {'workers': 3, 'max_channels_per_connection': 8}

    def ws(self, path, **kw):
        c = self.d.ws(path, **kw)
        self.addCleanup(c.close)
        return c

    def status(self, path):
        with WebSocket(self.d.client, path) as c:
            return c.response.status

    def test_text_stays_text_and_binary_binary(self):
        a, b = self.ws('/ws/kinds'), self.ws('/ws/kinds')
        a.text('{"not": "touched" }')
        a.send_frame(BINARY, b'\x00\xff\x80')
        for c in (a, b):
            c.expect(TEXT, '{"not": "touched" }')
            c.expect(BINARY, b'\x00\xff\x80')

    def test_fragments_are_joined(self):
        a, b = self.ws('/ws/joined'), self.ws('/ws/joined')
        a.send_frame(TEXT, 'one ', fin=False)
        a.send_frame(0, 'message')
        b.expect(TEXT, 'one message')

    def test_echo_off(self):
        a, b = self.ws('/ws/quiet?echo=0'), self.ws('/ws/quiet?echo=1')
        a.text('from a')
        b.expect(TEXT, 'from a')
        b.text('from b')
        a.expect(TEXT, 'from b')
        b.expect(TEXT, 'from b')
        self.assertTrue(a.silent(0.1))

    def test_echo_off_in_a_busy_batch(self):
        a, b = self.ws('/ws/quiet2?echo=0'), self.ws('/ws/quiet2')
        for i in range(200):
            a.text('a%d' % i)
            b.text('b%d' % i)
        self.assertEqual([a.recv_data() for _ in range(200)], [b'b%d' % i for i in range(200)])
        got = [b.recv_data() for _ in range(400)]
        self.assertEqual([m for m in got if m[:1] == b'a'], [b'a%d' % i for i in range(200)])
        self.assertEqual([m for m in got if m[:1] == b'b'], [b'b%d' % i for i in range(200)])
        self.assertTrue(a.silent(0.1))

    def test_mode_sub_may_not_publish(self):
        a, b = self.ws('/ws/subonly?mode=sub'), self.ws('/ws/subonly')
        b.text('hello')
        a.expect(TEXT, 'hello')
        a.text('forbidden')
        a.expect_close(1008)
        b.expect(TEXT, 'hello')
        self.assertTrue(b.silent(0.1))

    def test_mode_pub_is_not_subscribed(self):
        a, b = self.ws('/ws/pubonly?mode=pub'), self.ws('/ws/pubonly')
        a.text('hello')
        b.expect(TEXT, 'hello')
        self.assertTrue(a.silent(0.1))
        a.goodbye()

    def test_several_channels(self):
        m = self.ws('/ws?channel=one&channel=two&channel=one')
        one, two, three = self.ws('/ws/one'), self.ws('/ws/two'), self.ws('/ws/three')
        one.text('plain "text"\n')
        self.assertEqual(json.loads(m.expect(TEXT).payload), {'channel': 'one', 'data': 'plain "text"\n'})
        two.text('{"json":  [1]}')
        self.assertEqual(m.expect(TEXT).payload, b'{"channel":"two","data":{"json":  [1]}}')
        two.text('{not json}')
        self.assertEqual(json.loads(m.expect(TEXT).payload), {'channel': 'two', 'data': '{not json}'})
        two.send_frame(BINARY, b'\x00\x01')
        m.expect(BINARY, packed('two', b'\x00\x01'))
        three.text('not for m')
        m.text('{"channel":"two","data":"a \\u00fc string"}')
        self.assertEqual(json.loads(m.expect(TEXT).payload), {'channel': 'two', 'data': 'a ü string'})
        two.expect(TEXT, '{"json":  [1]}')
        two.expect(TEXT, '{not json}')
        two.expect(BINARY, b'\x00\x01')
        two.expect(TEXT, 'a ü string')
        m.send_frame(BINARY, packed('one', b'\xff'))
        m.expect(BINARY, packed('one', b'\xff'))
        one.expect(TEXT, 'plain "text"\n')
        one.expect(BINARY, b'\xff')

    def test_one_channel_in_the_query_form(self):
        m, c = self.ws('/ws?channel=solo'), self.ws('/ws/solo')
        c.text('x')
        self.assertEqual(m.expect(TEXT).payload, b'{"channel":"solo","data":"x"}')

    def test_query_form_publishes_only_where_it_subscribed(self):
        for text in ('{"channel":"other","data":1}', '{"channel":"mine"}', '{"data":1}', '"mine"', 'hello',
                     '{"channel":1,"data":1}'):
            m = self.ws('/ws?channel=mine')
            m.text(text)
            m.expect_close(1008)
        for data in (b'', b'\x04min', packed('other', b'x')):
            m = self.ws('/ws?channel=mine')
            m.send_frame(BINARY, data)
            m.expect_close(1008)

    def test_api_data_reaches_both_forms(self):
        m, c = self.ws('/ws?channel=api'), self.ws('/ws/api')
        self.d.publish('api', {'text': 'hi'})
        c.expect(TEXT, '{"text": "hi"}')
        self.assertEqual(m.expect(TEXT).payload, b'{"channel":"api","data":{"text": "hi"}}')
        self.d.publish('api', 'a string')
        c.expect(TEXT, '"a string"')
        self.assertEqual(m.expect(TEXT).payload, b'{"channel":"api","data":"a string"}')

    def test_names(self):
        for path in ('/ws/a', '/ws/a/b/c', '/ws/a%2Fb', '/ws/%C3%A4', '/ws/a:b@c!$&()+,;=~._-', '/ws/' + 'n' * 255, '/ws/a%3Fb',
                     '/ws?channel=%C3%A4', '/ws/\'', '/ws/a%23b', '/ws/%F0%9F%90%94', '/ws/<>[]{}|^`'):
            self.assertEqual(self.status(path), 101, path)
        for path in ('/ws/', '/ws', '/ws/a%20b', '/ws/a*', '/ws/a%22', '/ws/a%5C', '/ws/%00', '/ws/%0a', '/ws/%7f', '/ws/%C2%80',
                     '/ws/%C2%A0', '/ws/%ff', '/ws/%C3', '/ws/%ED%A0%80', '/ws/%E2%80%A8', '/ws/%EF%BB%BF', '/ws/%EF%BF%BE',
                     '/ws/' + 'n' * 256, '/ws/a%', '/ws/a%1', '/ws/a%zz', '/ws?channel=', '/ws?channel=a%20b', '/ws?channel=%',
                     '/ws?channel=a&channel=*', '/ws?echo=0', '/ws?mode=pub'):
            self.assertEqual(self.status(path), 400, path)

    def test_a_name_is_the_same_however_it_is_written(self):
        a, b, c = self.ws('/ws/%61%2fb'), self.ws('/ws/a/b'), self.ws('/ws?channel=a%2Fb')
        a.text('same')
        b.expect(TEXT, 'same')
        self.assertEqual(json.loads(c.expect(TEXT).payload), {'channel': 'a/b', 'data': 'same'})
        self.d.publish('a/b', 1)
        a.expect(TEXT, 'same')
        a.expect(TEXT, '1')

    def test_names_differ_by_case(self):
        a, b = self.ws('/ws/Case'), self.ws('/ws/case')
        a.text('x')
        a.expect(TEXT, 'x')
        self.assertTrue(b.silent(0.1))

    def test_queries(self):
        for query in ('echo=2', 'echo=', 'echo=true', 'mode=both', 'mode=', 'mode=SUB', 'channel=b', 'echo=0&echo=1', 'mode=sub&mode=pub'):
            self.assertEqual(self.status('/ws/a?' + query), 400, query)
        for query in ('unknown=1', '', 'api_key=x', 'mode=sub&echo=1', '&&', 'x'):
            self.assertEqual(self.status('/ws/a?' + query), 101, query)

    def test_too_many_channels(self):
        self.assertEqual(self.status('/ws?' + '&'.join('channel=c%d' % i for i in range(8))), 101)
        self.assertEqual(self.status('/ws?' + '&'.join('channel=c%d' % i for i in range(9))), 400)

    def test_many_channels_one_client(self):
        m = self.ws('/ws?' + '&'.join('channel=m%d' % i for i in range(8)))
        for i in range(80):
            self.d.publish('m%d' % (i % 8), i)
        self.assertEqual([json.loads(m.expect(TEXT).payload) for _ in range(80)],
                         [{'channel': 'm%d' % (i % 8), 'data': i} for i in range(80)])

    def test_whoever_has_the_101_misses_nothing(self):
        for i in range(50):
            c = self.ws('/ws/fresh%d' % i)
            self.d.publish('fresh%d' % i, i)
            c.expect(TEXT, str(i))

    def test_leaving_is_clean(self):
        for _ in range(20):
            clients = [self.ws('/ws/leave') for _ in range(10)]
            clients[0].text('x')
            clients[9].expect(TEXT, 'x')
            for k, c in enumerate(clients[:5]):
                c.buf = b''
                c.close() if k % 2 else c.sock.shutdown(2)
            for c in clients[5:]:
                c.close()
        self.assertEqual(self.d.api('channels', pattern='nobody*'), {'result': {'channels': {}}})


if __name__ == '__main__':
    unittest.main(verbosity=0)
