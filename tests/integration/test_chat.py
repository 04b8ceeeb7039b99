#!/usr/bin/python3
"""The main job: people chat across processes, servers publish."""

import asyncio
import base64
import json
import random
import threading
import time
import unittest

import websockets

from daemon import SAN, SLOW, SharedDaemonTest, wait_for
from wsraw import TEXT, Raw


class Chat(SharedDaemonTest):
    settings = {'workers': 4, 'output_limit': '64MiB'}  # the readers are slow Python threads

    def test_everybody_on_every_worker_hears_everybody(self):
        clients = self.d.spread('/ws/lobby', per_worker=2)
        for i, c in enumerate(clients):
            c.text('hello from %d' % i)
            for other in clients:
                other.expect(TEXT, 'hello from %d' % i)
        for c in clients:
            c.goodbye()

    def test_rooms_are_apart(self):
        rooms = [[self.d.ws('/ws/room%d' % r) for _ in range(3)] for r in range(20)]
        for r, room in enumerate(rooms):
            room[0].text('room %d' % r)
        for r, room in enumerate(rooms):
            for c in room:
                c.expect(TEXT, 'room %d' % r)
        for room in rooms:
            for c in room:
                self.assertTrue(c.silent(0.001))
                c.close()

    def test_one_order_for_all_under_load(self):
        """Publishers on several workers and by the API; subscribers on all workers see one sequence."""
        each = 300 if SAN else 1500
        subscribers = self.d.spread('/ws/order?mode=sub', per_worker=3)
        publishers = self.d.spread('/ws/order?mode=pub', per_worker=len(subscribers) // 4 + 2)[:6]

        def publish(p):
            for i in range(each):
                publishers[p].text('%d:%d:%s' % (p, i, 'x' * random.randrange(0, 300)))

        def call():
            with Raw(self.d.admin) as c:
                for i in range(each):
                    c.request('POST', '/api/publish', body=json.dumps({'channel': 'order', 'data': '6:%d:' % i}))

        sequences = [[] for _ in subscribers]

        def read(k):
            for _ in range(7 * each):
                text = subscribers[k].recv_data().decode()
                sequences[k].append(tuple(int(x) for x in text.strip('"').split(':')[:2]))

        threads = [threading.Thread(target=publish, args=(p,)) for p in range(6)] + [threading.Thread(target=call)]
        threads += [threading.Thread(target=read, args=(k,)) for k in range(len(subscribers))]
        for t in threads:
            t.start()
        for t in threads:
            t.join(200)
        for s in sequences[1:]:
            self.assertEqual(len(s), 7 * each)
            self.assertTrue(s == sequences[0], 'two subscribers saw different orders')
        for p in range(7):  # a publisher's own order is kept, nothing lost or doubled
            self.assertEqual([i for q, i in sequences[0] if q == p], list(range(each)))
        for c in subscribers + publishers:
            c.close()

    def test_python_websockets(self):
        async def run():
            url = 'ws://%s/ws/asyncio' % self.d.client
            async with websockets.connect(url, subprotocols=['roost-plain']) as a, websockets.connect(url) as b:
                self.assertEqual(a.subprotocol, 'roost-plain')
                await a.send('text ä')
                await b.send(b'\x00binary')
                self.assertCountEqual([await a.recv(), await a.recv()], ['text ä', b'\x00binary'])
                self.assertCountEqual([await b.recv(), await b.recv()], ['text ä', b'\x00binary'])
                await (await a.ping(b'are you there'))
                big = 'ü' * 400000
                await a.send(['frag', 'ments ', big])
                self.assertEqual(await b.recv(), 'fragments ' + big)
                await a.close(4001, 'done')
                self.assertEqual(a.close_code, 4001)

        asyncio.run(asyncio.wait_for(run(), 60))


class Api(SharedDaemonTest):
    settings = {'workers': 2, 'node_name': 'test "node"'}

    def call(self, method, body):
        r = self.d.http('POST', '/api/' + method, body if isinstance(body, (str, bytes)) else json.dumps(body))
        if r.status == 200:
            self.assertEqual(r.get('content-type'), 'application/json')
            return json.loads(r.body)
        return r.status

    def error(self, method, body, code):
        answer = self.call(method, body)
        self.assertIsInstance(answer, dict, (body, answer))
        self.assertEqual(answer['error']['code'], code, (body, answer))
        self.assertEqual(list(answer), ['error'])
        self.assertTrue(answer['error']['message'])

    def test_data_passes_through_byte_for_byte(self):
        with self.d.ws('/ws/raw') as c:
            for data in ('{"b": 1,  "a":[ 1e2 ]}', '"\\u00e4\\/"', '12.50', 'true', 'null', '[]'):
                self.assertEqual(self.call('publish', '{"channel":"raw","data": %s }' % data), {'result': {}})
                c.expect(TEXT, data)

    def test_b64data(self):
        with self.d.ws('/ws/bin') as c:
            for data in (b'\x00\xff', b'x', bytes(range(256))):
                self.assertEqual(self.call('publish', {'channel': 'bin', 'b64data': base64.b64encode(data).decode()}), {'result': {}})
                self.assertEqual((lambda f: (f.opcode, f.payload))(c.recv()), (2, data))
        for bad in ('*', 'QQ', 'QQ=', 'QR==', 'Q Q='):
            self.error('publish', {'channel': 'bin', 'b64data': bad}, 107)

    def test_broadcast(self):
        clients = [self.d.ws('/ws/b%d' % i) for i in range(5)]
        answer = self.call('broadcast', {'channels': ['b0', 'b1', 'bad name', 'b2', 'nobody', 'b3', 'b4'], 'data': {'n': 1}})
        responses = answer['result']['responses']
        self.assertEqual(len(responses), 7)
        self.assertEqual(responses[2]['error']['code'], 107)
        self.assertEqual([r for i, r in enumerate(responses) if i != 2], [{'result': {}}] * 6)
        for c in clients:
            c.expect(TEXT, '{"n": 1}')
            c.close()

    def test_large_broadcast(self):
        names = ['wide%d' % i for i in range(10000)]
        with self.d.ws('/ws/wide9999') as last, self.d.ws('/ws/wide0') as first:
            self.assertEqual(len(self.call('broadcast', {'channels': names, 'data': 1})['result']['responses']), 10000)
            first.expect(TEXT, '1')
            last.expect(TEXT, '1')
        self.error('broadcast', {'channels': names + ['one more'], 'data': 1}, 107)

    def test_channels(self):
        clients = [self.d.ws(p) for p in ('/ws/list:a', '/ws/list:a', '/ws/list:b', '/ws/list:%C3%A4', '/ws/list:c?mode=pub')]
        wait_for(lambda: self.call('channels', {'pattern': 'list:*'})['result']['channels'] ==
                 {'list:a': {'num_clients': 2}, 'list:b': {'num_clients': 1}, 'list:ä': {'num_clients': 1}}, what='the listing')
        self.assertEqual(self.call('channels', {'pattern': 'list:b'}), {'result': {'channels': {'list:b': {'num_clients': 1}}}})
        self.assertIn('list:a', self.call('channels', '')['result']['channels'])
        self.assertEqual(self.call('channels', {'pattern': 1}), 400)
        for c in clients:
            c.close()
        wait_for(lambda: self.call('channels', {'pattern': 'list:*'}) == {'result': {'channels': {}}}, what='the empty listing')

    def test_info(self):
        with self.d.ws('/ws/info'):
            wait_for(lambda: self.call('info', {})['result']['nodes'][0]['num_clients'] == 1, what='the count of clients')
            node = self.call('info', '{}')['result']['nodes'][0]
        self.assertEqual(node['name'], 'test "node"')
        self.assertEqual(node['num_subs'], 1)
        for key in ('uid', 'version', 'num_users', 'num_channels', 'uptime', 'process'):
            self.assertIn(key, node)
        self.assertGreater(node['process']['rss'], 100000)

    def test_errors(self):
        for body in ({}, {'channel': 'a'}, {'data': 1}, {'channel': '', 'data': 1}, {'channel': 'a b', 'data': 1},
                     {'channel': 'x' * 256, 'data': 1}):
            self.error('publish', body, 107)
        for body in ({}, {'channels': [], 'data': 1}, {'channels': ['a']}):
            self.error('broadcast', body, 107)
        for body in ({'channel': 1, 'data': 1}, {'channel': ['a'], 'data': 1}, {'channel': 'a', 'b64data': 1}, {'tags': []}):
            self.assertEqual(self.call('publish', body), 400, body)
        for body in ('', 'x', '{', '{"channel":"a","data":1', '{"channel":"a","data":1}x', '{"channel":"a","data":01}', '[]', '1', 'null',
                     b'{"channel":"a","data":"\xff"}', '{"channel":"a","data":"\x01"}', '[' * 10000):
            self.assertEqual(self.call('publish', body), 400, body[:30])
        self.assertEqual(self.d.http('POST', '/api/nothing', '{}').status, 404)

    def test_what_is_accepted_and_means_nothing_here(self):
        self.assertEqual(self.call('publish', {'channel': 'a', 'data': 1, 'skip_history': True, 'tags': {'a': 'b'}, 'delta': True,
                                               'idempotency_key': '', 'version': 0, 'unknown': 1}), {'result': {}})

    def test_many_callers(self):
        done = []

        def call(k):
            with Raw(self.d.admin) as c:
                for i in range(100):
                    r = c.request('POST', '/api/publish', body='{"channel":"busy","data":[%d,%d]}' % (k, i))
                    done.append(r.body)

        with self.d.ws('/ws/busy') as s:
            threads = [threading.Thread(target=call, args=(k,)) for k in range(8)]
            for t in threads:
                t.start()
            got = [json.loads(s.recv_data()) for _ in range(800)]
            for t in threads:
                t.join()
        self.assertEqual(set(done), {b'{"result":{}}'})
        for k in range(8):
            self.assertEqual([i for q, i in got if q == k], list(range(100)))

    def test_publish_answers_when_it_is_ordered(self):
        """So a caller who publishes twice in a row keeps the order, whichever worker answers."""
        with self.d.ws('/ws/seq') as c:
            for i in range(200):
                self.d.publish('seq', i)
            self.assertEqual([c.recv_data() for _ in range(200)], [b'%d' % i for i in range(200)])


class Curl(SharedDaemonTest):
    def test_latency_is_small(self):
        """Nothing waits for a timer on its way: the fastest round trip is far below any tick."""
        with self.d.ws('/ws/latency') as c:
            def small():
                started = time.perf_counter()
                c.text('x')
                c.expect(TEXT, 'x')
                return time.perf_counter() - started < 0.005 * SLOW

            wait_for(small, what='a round trip that nothing else of the machine came between', every=0.001)


if __name__ == '__main__':
    unittest.main(verbosity=0)
