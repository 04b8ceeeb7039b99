#!/usr/bin/python3
"""The Centrifuge protocol: commands, their order, errors and ends; what goes wrong is said by its code."""

import unittest

from centrifuge import OPEN, PATH, CentrifugeTest, Client, yaml
from daemon import DaemonTest, at_some_pace, wait_for
from wsraw import BINARY, CLOSE, CONT, PING, PONG, TEXT, WebSocket


class Commands(CentrifugeTest):
    namespaces = [{'name': 'shut'}, {'name': 'letters', **OPEN, 'channel_regex': '^[a-z]+$'},
                  {'name': 'bin', **OPEN, 'publication_data_format': 'binary'}]

    def test_connect(self):
        c = self.client()
        got = c.connect(name='test', version='1')
        self.assertRegex(got.pop('client'), r'^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$')
        self.assertRegex(got.pop('version'), r'^\d+\.\d+\.\d+$')
        self.assertEqual(got, {'ping': 25, 'pong': True})

    def test_optimistic_subscriptions_are_answered_in_order_in_frames_of_16(self):
        c = self.client()
        name = self.channel()
        c.say({'id': 1, 'connect': {}},
              *({'id': 2 + i, 'subscribe': {'channel': '%s%d' % (name, i)}} for i in range(40)))
        self.assertEqual([c.next()['id'] for _ in range(41)], list(range(1, 42)))
        self.assertLessEqual(max(c.frame_sizes), 16)
        c.say(*({'id': 100 + i, 'rpc': {'method': 'x'}} for i in range(40)))
        del c.frame_sizes[:]
        self.assertEqual([c.next()['id'] for _ in range(40)], list(range(100, 140)))
        self.assertEqual(c.frame_sizes, [16, 16, 8])

    def test_one_end_of_line_behind_the_last_command(self):
        c = self.client()
        c.text('{"id":1,"connect":{}}\n')
        self.assertIn('connect', c.next())
        c.text('{"id":2,"rpc":{}}\n\n')
        self.assertEqual(c.next()['error']['code'], 108)
        self.assertEqual(c.ends(), (3501, 'bad request'))

    def test_publications_reach_everybody_and_the_publisher_before_its_answer(self):
        name = self.channel()
        clients = [self.connected() for _ in range(8)]
        for c in clients:
            c.subscribe(name)
        for i in range(20):
            a = clients[i % 8]
            a.say({'id': 100 + i, 'publish': {'channel': name, 'data': {'n': i}}})
            got = a.next()
            self.assertEqual(got['push']['pub']['data'], {'n': i})
            self.assertEqual(got['push']['pub']['info'], {'user': '', 'client': a.me})
            self.assertEqual(a.next(), {'id': 100 + i, 'publish': {}})
            for c in clients:
                if c is not a:
                    self.assertEqual(c.data(), {'n': i})

    def test_many_publications_at_once_are_answered_in_order(self):
        name = self.channel()
        a, b = self.connected(), self.connected()
        b.subscribe(name)
        for start in range(0, 1000, 100):
            a.say(*({'id': 10 + i, 'publish': {'channel': name, 'data': i}} for i in range(start, start + 100)))
        self.assertEqual([a.next() for _ in range(1000)], [{'id': 10 + i, 'publish': {}} for i in range(1000)])
        self.assertEqual([b.data() for _ in range(1000)], list(range(1000)))

    def test_a_command_behind_publications_is_answered_behind_them(self):
        name = self.channel()
        a = self.connected()
        a.say({'id': 1, 'publish': {'channel': name, 'data': 1}}, {'id': 2, 'rpc': {}},
              {'id': 3, 'publish': {'channel': name, 'data': 1}}, {'id': 4, 'publish': {'channel': 'shut:x', 'data': 1}},
              {'id': 5, 'subscribe': {'channel': name}}, {'id': 6, 'unsubscribe': {'channel': name}})
        self.assertEqual([a.next()['id'] for _ in range(6)], [1, 2, 3, 4, 5, 6])

    def test_data_passes_byte_for_byte(self):
        name = self.channel()
        a, b = self.connected(), self.connected()
        b.subscribe(name)
        for text in ('1.0', '12345678901234567890', '{"a":1,"a":2}', '"\\/"', 'null', '""', '0', 'false', '[ 1 ]',
                     '"\\ud83d\\ude00"', '"\u00e9"'):
            a.id += 1
            a.text('{"id":%d,"publish":{"channel":"%s","data":%s}}' % (a.id, name, text))
            self.assertEqual(a.answer(a.id), {'publish': {}})
            f = b.recv()
            self.assertEqual(f.opcode, TEXT)
            self.assertIn(('"data":%s,' % text).encode(), f.payload)

    def test_errors(self):
        c = self.connected()
        c.subscribe('taken')
        long = 'x' * 256
        for code, request in (
                (105, {'subscribe': {'channel': 'taken'}}),
                (107, {'subscribe': {'channel': long}}),
                (107, {'subscribe': {'channel': 'caf\u00e9'}}),
                (107, {'subscribe': {'channel': 'letters:123'}}),
                (102, {'subscribe': {'channel': 'nowhere:x'}}),
                (103, {'subscribe': {'channel': 'shut:x'}}),
                (103, {'subscribe': {'channel': '$private'}}),
                (103, {'subscribe': {'channel': 'x', 'type': 1}}),
                (107, {'subscribe': {'channel': 'x', 'tf': {'key': 'a', 'cmp': 'eq', 'val': 'b'}}}),
                (107, {'publish': {'channel': 'taken'}}),
                (102, {'publish': {'channel': 'nowhere:x', 'data': 1}}),
                (103, {'publish': {'channel': 'shut:x', 'data': 1}}),
                (108, {'presence': {'channel': 'shut:x'}}),
                (108, {'presence_stats': {'channel': 'shut:x'}}),
                (108, {'history': {'channel': 'shut:x'}}),
                (107, {'history': {'channel': 'taken', 'since': {'epoch': ''}, 'reverse': True}}),
                (108, {'rpc': {'method': 'x', 'data': {}}}),
                (103, {'sub_refresh': {'channel': 'not mine', 'token': 'x'}}),
                (107, {'sub_refresh': {'channel': 'taken'}}),
        ):
            with self.subTest(str(request)[:60]):
                self.assertEqual(c.error(**request), code)

    def test_an_error_has_a_message(self):
        self.assertEqual(self.connected().ask(rpc={}), {'error': {'code': 108, 'message': 'not available'}})

    def test_unsubscribe(self):
        name = self.channel()
        a, b = self.connected(), self.connected()
        a.subscribe(name)
        self.assertEqual(a.ask(unsubscribe={'channel': name}), {'unsubscribe': {}})
        self.assertEqual(a.ask(unsubscribe={'channel': name}), {'unsubscribe': {}})
        b.publish(name, 1)
        self.assertEqual(a.ask(rpc={}), {'error': {'code': 108, 'message': 'not available'}})
        self.assertEqual(a.messages, [])
        a.subscribe(name)
        b.publish(name, 2)
        self.assertEqual(a.data(), 2)

    def test_the_first_request_of_a_command_counts(self):
        c = self.connected()
        c.say('{"id":9,"unsubscribe":{"channel":"x"},"subscribe":{"channel":"two"}}')
        self.assertIn('subscribe', c.next())
        c.say('{"id":10,"subscribe":null,"rpc":{}}')
        self.assertIn('error', c.next())

    def test_binary_frames_are_read_too(self):
        c = self.connected()
        c.binary(b'{"id":7,"rpc":{}}')
        self.assertEqual(c.next()['id'], 7)

    def test_what_is_bad_ends_with_3501(self):
        rows = ['{}', '{"id":5}', '{"id":5,"nothing":{}}', '{"id":5,"ping":{}}', '{"subscribe":{"channel":"x"}}',
                '{"id":"5","rpc":{}}', '{"id":4294967296,"rpc":{}}', '{"id":-1,"rpc":{}}', '{"id":1.5,"rpc":{}}',
                '{"id":5,"rpc":{}', '', '\n', '[]', 'null', '{"id":5,"subscribe":{"channel":7}}', '{"id":5,"subscribe":[]}',
                '{"id":5,"subscribe":{}}', '{"id":5,"subscribe":{"channel":""}}', '{"id":5,"publish":{"data":1}}',
                '{"id":5,"presence":{}}', '{"id":5,"history":{}}', '{"id":5,"unsubscribe":{}}', '{"id":5,"refresh":{}}',
                '{"id":5,"sub_refresh":{}}', '{"id":5,"subscribe":{"channel":"x","delta":"zip"}}', '{"id":5,"connect":{}}',
                '{"id":5,\n"rpc":{}}', '{"id":5,"rpc":{}}\n\n{"id":6,"rpc":{}}', '{"id":5,"rpc":{"data":' + '[' * 100 + ']' * 100 + '}}',
                '{"id":5,"history":{"channel":"x","limit":"1"}}', '{"id":5,"rpc":{"method":"\\ud800"}}', '{"id":5,"rpc":{}}\0']
        for text in rows:
            with self.subTest(text[:50]):
                c = self.connected()
                c.text(text)
                self.assertEqual(c.ends(), (3501, 'bad request'))
        for data in (b'\xff\xfe', b'{"id":5,"rpc":{"method":"\xff"}}'):
            c = self.connected()
            c.binary(data)
            self.assertEqual(c.ends(), (3501, 'bad request'))

    def test_before_connect_nothing_else(self):
        for text in ('{"id":1,"subscribe":{"channel":"x"}}', '{}', '{"send":{"data":1}}', '{"id":1,"rpc":{}}', 'x'):
            with self.subTest(text):
                c = self.client()
                c.text(text)
                self.assertEqual(c.ends(), (3501, 'bad request'))

    def test_repeated_members_and_unknown_ones(self):
        c = self.connected()
        c.say('{"id":5,"rpc":{"method":"a","method":"b","more":[1,{"x":2}]},"else":null,"id":6}')
        self.assertEqual(c.next()['id'], 6)

    def test_send_is_not_available(self):
        c = self.connected()
        c.text('{"send":{"data":{}}}')
        self.assertEqual(c.ends(), (3508, 'not available'))

    def test_too_long_a_message(self):
        c = self.connected()
        c.say({'id': 1, 'rpc': {'data': 'x' * 65000}})
        self.assertEqual(c.next()['error']['code'], 108)
        c.say({'id': 1, 'rpc': {'data': 'x' * 65536}})
        self.assertEqual(c.ends()[0], 1009)

    def test_channel_limit(self):
        c = self.connected()
        c.say(*({'id': 10 + i, 'subscribe': {'channel': 'limit%d' % i}} for i in range(129)))
        got = [c.next() for _ in range(129)]
        self.assertTrue(all('subscribe' in m for m in got[:128]))
        self.assertEqual(got[128], {'id': 138, 'error': {'code': 106, 'message': 'limit exceeded'}})
        c.ask(unsubscribe={'channel': 'limit7'})
        c.subscribe('limit128')

    def test_plain_clients_share_the_channels(self):
        name = self.channel()
        d = self.d
        c = self.connected()
        c.subscribe(name)
        d.publish(name, {'by': 'api'})
        got = c.push()[1]
        self.assertEqual(got['data'], {'by': 'api'})
        self.assertNotIn('info', got)

    def test_subprotocols(self):
        for offered, chosen in (('centrifuge-json', 'centrifuge-json'), ('x, centrifuge-json', 'centrifuge-json'),
                                ('centrifuge-protobuf', 'centrifuge-protobuf'), ('x', None)):
            with WebSocket(self.d.client, PATH, [('Sec-WebSocket-Protocol', offered)]) as c:
                self.assertEqual(c.response.status, 101)
                self.assertEqual(c.response.get('sec-websocket-protocol'), chosen)

    def test_protobuf_is_binary(self):
        connect = bytes([4, 8, 1, 0x22, 0])  # length, id 1, connect {}
        for query, fields in (('?format=protobuf', ()), ('?cf_protocol=protobuf', ()),
                              ('', [('Sec-WebSocket-Protocol', 'centrifuge-protobuf')])):
            with WebSocket(self.d.client, PATH + query, fields) as c:
                c.send_frame(BINARY, connect)
                f = c.recv()
                self.assertEqual(f.opcode, BINARY)
                self.assertEqual(f.payload[0], len(f.payload) - 1)
                self.assertEqual(f.payload[1:4], b'\x08\x01\x2a')
                self.assertIn(b'\x0a\x24', f.payload)  # the client's id
        with WebSocket(self.d.client, PATH + '?format=protobuf') as c:  # bytes may be none, where there may be any
            publish = b'\x08\x02\x3a\x07\x0a\x05bin:x'
            c.send_frame(BINARY, connect)
            c.recv()
            c.send_frame(BINARY, bytes([len(publish)]) + publish)
            self.assertEqual(c.recv().payload, b'\x04\x08\x02\x42\x00')  # id 2, publish {}
        for bad in (b'', b'\x05', b'\x80', b'\xff' * 11, b'\x02\x0b\x0c', b'\x02\x08\x80', b'\x00'):
            with WebSocket(self.d.client, PATH + '?format=protobuf') as c:
                c.send_frame(BINARY, bad)
                self.assertEqual(c.expect(CLOSE).code, 3501)

    def test_debug_and_metrics(self):
        c = self.connected()
        c.subscribe('seen')
        def mine():  # of the worker that happens to be asked
            return [x for x in self.d.get_json('/debug/connections')['connections'] if x.get('client') == c.me]

        shown = wait_for(mine, what='the worker of the connection to be asked')
        self.assertEqual([(x['protocol'], x['encoding'], x['user'], x['channels']) for x in shown],
                         [('centrifuge', 'json', '', ['seen'])])
        m = self.d.metrics()
        self.assertGreaterEqual(m['roost_centrifuge_subscriptions'], 1)
        self.assertGreaterEqual(m['roost_centrifuge_commands_total{method="subscribe"}'], 1)
        self.assertGreaterEqual(m['roost_connections{protocol="centrifuge"}'], 1)


class Deadlines(DaemonTest):
    def connected(self, query='', **settings):
        d = self.start(allow_anonymous_connect_without_token=True, **settings)
        c = Client(d.client, query)
        self.addCleanup(c.close)
        return c, c.connect()

    def in_time(self, pace):
        return {'ping_interval': '%dms' % (400 * pace), 'pong_timeout': '%dms' % (300 * pace)}

    def test_pings(self):
        def answered(pace):
            c, _ = self.connected(**self.in_time(pace))
            while c.pings < 3:
                self.assertEqual(c.recv().payload, b'{}')
                c.pings += 1
                c.text('{}')
            self.assertEqual(c.ask(rpc={})['error']['code'], 108)

        at_some_pace(answered)

    def test_no_pong(self):
        c, _ = self.connected(**self.in_time(1))
        c.expect(TEXT, '{}')
        self.assertEqual(c.ends(), (3012, 'no pong'))

    def test_a_pong_that_nobody_asked_for(self):
        c, _ = self.connected(ping_interval='400ms', pong_timeout='10m')
        c.expect(TEXT, '{}')
        c.text('{}')
        c.text('{}')
        self.assertEqual(c.ends(), (3501, 'bad request'))

    def test_stale(self):
        d = self.start(stale_close_delay='500ms')
        with Client(d.client) as c:
            self.assertEqual(c.ends(), (3502, 'stale'))

    def test_pings_of_frames(self):
        def answered(pace):
            c, got = self.connected('?cf_ws_frame_ping_pong=true', **self.in_time(pace))
            self.assertNotIn('ping', got)
            self.assertNotIn('pong', got)
            for _ in range(2):
                f = c.recv()
                self.assertEqual(f.opcode, PING)
                c.send_frame(PONG, f.payload)

        at_some_pace(answered)


class Ends(DaemonTest):
    def start_with(self, text='', **kw):
        return self.start(config=self.file(text), **kw)

    def test_the_lesser_of_two_limits_of_a_message(self):
        d = self.start_with('allow_anonymous_connect_without_token: true\nhttp_stream: true\n', max_message_size='20000')
        with Client(d.client) as c:
            c.connect()
            long = ('{"id":2,"rpc":{"data":"%s"}}' % ('x' * 30000)).encode()
            c.send_frame(TEXT, long[:15000], fin=False)
            c.send_frame(CONT, long[15000:])
            self.assertEqual(c.ends()[0], 1009)
        r = d.http('POST', '/connection/http_stream', long, where='client')
        self.assertEqual(r.status, 413)

    def test_no_credentials(self):
        d = self.start_with()
        with Client(d.client) as c:
            c.say({'id': 1, 'connect': {}})
            self.assertEqual(c.ends(), (3501, 'bad request'))
        d.wait_log('client credentials not found')
        line = d.lines('client credentials not found')[0]
        self.assertIn('level=warn', line)
        self.assertIn('allow_anonymous_connect_without_token', line)

    def test_shutdown(self):
        d = self.start_with('allow_anonymous_connect_without_token: true\n', workers=2)
        clients = [Client(d.client) for _ in range(6)]
        for c in clients:
            c.connect()
        d.process.terminate()
        for c in clients:
            self.assertEqual(c.ends(), (3001, 'shutdown'))
            c.close()

    def test_slow(self):
        d = self.start_with(yaml({'allow_anonymous_connect_without_token': True, 'channel_without_namespace': OPEN}),
                            workers=1, output_limit='64KiB', output_grace='100ms', send_buffer_size='8KiB', close_timeout='10m', output_timeout='10m')
        c = Client(d.client, rcvbuf=4096)
        c.connect()
        c.subscribe('much')
        for _ in range(200):
            d.publish('much', 'x' * 10000)
        wait_for(lambda: d.metric('roost_connections_closing') > 0, what='the slow one to be ended')
        self.assertEqual(c.ends(), (3008, 'slow'))
        c.close()

    def test_conflate(self):
        """Who lags gets the newest publication of its channel, and is not ended; who keeps up gets all."""
        d = self.start_with(yaml({'allow_anonymous_connect_without_token': True, 'namespaces': [{'name': 'newest', **OPEN, 'conflate': True}]}),
                            workers=1, output_limit='64KiB', output_grace='100ms', send_buffer_size='8KiB', output_timeout='10m')
        slow, fast = Client(d.client, rcvbuf=4096), Client(d.client)
        for c in (slow, fast):
            c.connect()
            c.subscribe('newest:a')
            c.subscribe('newest:b')
        for i in range(200):
            for room in 'ab':
                d.publish('newest:' + room, '%d' % i + 'x' * 10000)
                self.assertEqual(fast.data()[:8], ('%d' % i + 'x' * 10000)[:8])
        self.assertGreater(d.metric('roost_drops_total{policy="conflate"}'), 0)
        got = {'newest:a': [], 'newest:b': []}
        while not all(numbers and numbers[-1] == 199 for numbers in got.values()):
            room, pub = slow.push()
            got[room].append(int(pub['data'].rstrip('x')))
        for numbers in got.values():
            self.assertEqual(numbers, sorted(set(numbers)))
            self.assertLess(len(numbers), 200)
        slow.publish('newest:a', 'still here')
        for c in (slow, fast):
            c.close()

    def test_conflate_by_key(self):
        """Of each value of the tag `key` the newest comes, and of those without one."""
        d = self.start_with(yaml({'allow_anonymous_connect_without_token': True, 'namespaces': [{'name': 'newest', **OPEN, 'conflate': True}]}),
                            workers=1, send_buffer_size='8KiB', output_timeout='10m')
        slow = Client(d.client, rcvbuf=4096)
        slow.connect()
        slow.subscribe('newest:a')
        for i in range(100):
            for tags in ({'key': 'x', 'other': '%d' % i}, {'key': 'y'}, {}):
                self.assertIn('result', d.api('publish', channel='newest:a', data=[i, 'z' * 5000], tags=tags))
        got = {'x': [], 'y': [], None: []}
        while not all(numbers and numbers[-1] == 99 for numbers in got.values()):
            pub = slow.push()[1]
            got[pub.get('tags', {}).get('key')].append(pub['data'][0])
        for numbers in got.values():
            self.assertEqual(numbers, sorted(set(numbers)))
            self.assertLess(len(numbers), 100)
        slow.close()

    def test_origin(self):
        d = self.start_with('allow_anonymous_connect_without_token: true\nallowed_origins: "https://good.example"\n')
        for origin, status in ((None, 101), ('https://good.example', 101), ('https://evil.example', 403)):
            with WebSocket(d.client, PATH, [('Origin', origin)] if origin else ()) as c:
                self.assertEqual(c.response.status, status)


if __name__ == '__main__':
    unittest.main(verbosity=0)
