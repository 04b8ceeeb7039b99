#!/usr/bin/python3
"""Centrifuge clients without a WebSocket: long responses, the requests beside them, those that only listen."""

import contextlib
import json
import os
import signal
import unittest
import urllib.parse

from centrifuge import OPEN, SECRET, CentrifugeTest, in_seconds, token
from daemon import DaemonTest, stand_still, wait_for
from wsraw import CLOSE, TEXT, Raw, WebSocket


class Stream(Raw):
    """The head of a response without an end, and the messages that follow."""

    def __init__(self, address, path, body=None, fields=(), events=False):
        super().__init__(address)
        self.events = events
        lines = ['%s %s HTTP/1.1' % ('GET' if body is None else 'POST', path), 'Host: ' + address, *('%s: %s' % f for f in fields)]
        if body is not None:
            lines.append('Content-Length: %d' % len(body))
        self.send(('\r\n'.join(lines) + '\r\n\r\n').encode() + (body or '').encode())
        self.head = self.until(b'\r\n\r\n').decode()
        self.status = int(self.head.split()[1])
        if events and self.status == 200:
            assert self.until(b'\n') == b'\n'  # see stream.c: not CR LF

    def until(self, mark):
        while mark not in self.buf:
            self.fill()
        end = self.buf.index(mark) + len(mark)
        return bytes(self.take(end))

    def next(self):
        """The next message but pings."""
        while True:
            if self.events:
                line = self.until(b'\n\n').decode()
                assert line.startswith('data: '), line
                line = line[6:]
            else:
                line = self.until(b'\n').decode()
            message = json.loads(line)
            if message:
                return message


def commands(*list_of):
    return '\n'.join(json.dumps(c) for c in list_of)


CONNECT = {'id': 1, 'connect': {}}


class Streams(CentrifugeTest):
    options = {'http_stream': True, 'sse': True, 'uni_websocket': True, 'uni_sse': True, 'uni_http_stream': True,
               'allowed_origins': 'https://page.example', 'token_hmac_secret_key': SECRET}
    namespaces = [{'name': 'shut'}, {'name': 'delta', **OPEN, 'allowed_delta_types': 'fossil', 'delta_publish': True}]

    def stream(self, *args, **kw):
        s = Stream(self.d.client, *args, **kw)
        self.addCleanup(s.close)
        return s

    def both(self, *first, connect=CONNECT):
        """A stream of each kind, connected; one after the other."""
        for name in ('http_stream', 'sse'):
            text = commands(connect, *first)
            s = self.stream('/connection/' + name, text) if name == 'http_stream' else \
                self.stream('/connection/sse?cf_connect=' + urllib.parse.quote(text), events=True)
            self.assertEqual(s.status, 200)
            s.connected = s.next()['connect']
            yield s
            s.close()

    def publish(self, channel, data):
        self.assertIn('result', self.d.api('publish', channel=channel, data=data))

    @contextlib.contextmanager
    def hub_stopped(self):
        pid = self.d.pid_of('hub')
        stand_still(pid)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    def emulate(self, stream, *said, node=None, session=None):
        body = json.dumps({'session': session or stream.connected['session'], 'node': node or stream.connected['node'],
                           'data': commands(*said)})
        return self.d.http('POST', '/emulation', body, where='client')

    def test_what_is_said_beside_the_stream_is_answered_in_it(self):
        name = self.channel()
        for s in self.both({'id': 2, 'subscribe': {'channel': name}}):
            self.assertIn('subscribe', s.next())
            self.assertTrue(s.connected['pong'])
            for i in range(3, 30):  # by whichever worker takes it
                r = self.emulate(s, {'id': i, 'publish': {'channel': name, 'data': {'i': i}}}, {'id': 100 + i, 'rpc': {}})
                self.assertEqual((r.status, r.body, r.get('Content-Length')), (204, b'', None))
                self.assertEqual(s.next()['push']['pub']['data'], {'i': i})
                self.assertEqual(s.next(), {'id': i, 'publish': {}})
                self.assertEqual(s.next()['error']['code'], 108)

    def test_sessions_and_nodes_that_are_not_there(self):
        for s in self.both():
            good = s.connected['session']
            for session in ('x', '', good[:-1] + ('0' if good[-1] != '0' else '1'), '7f' + good[2:], 'g' + good[1:]):
                self.assertEqual(self.emulate(s, {'id': 2, 'rpc': {}}, session=session or ' ').status, 204)
            self.assertEqual(self.emulate(s, {'id': 2, 'rpc': {}}, node='elsewhere').status, 404)
            self.assertEqual(self.emulate(s, {'id': 3, 'rpc': {}}).status, 204)
            self.assertEqual(s.next()['id'], 3)  # nothing of the others was done
        for body in ('', '[]', '{"session":1}', 'x' * 100):
            self.assertEqual(self.d.http('POST', '/emulation', body, where='client').status, 400)
        self.assertEqual(self.d.http('POST', '/emulation', 'x' * 70000, where='client').status, 413)

    def test_a_listener_says_nothing_beside(self):
        name = self.channel()
        s = self.stream('/connection/uni_http_stream', '{}')
        s.connected = {**s.next()['connect'], 'node': next(self.both()).connected['node']}
        self.assertEqual(self.emulate(s, {'id': 2, 'subscribe': {'channel': name}}).status, 204)
        self.publish(name, 1)
        self.assertNotIn(name, self.d.api('channels', pattern=name)['result']['channels'])

    def test_who_waits_and_goes_on_talking_is_ended(self):
        s = next(self.both())
        piece = [{'id': i, 'publish': {'channel': 'x', 'data': 'y' * 50}} for i in range(2, 400)]
        with self.hub_stopped():  # no answer comes
            for _ in range(12):
                if self.emulate(s, {'id': 1000, 'history': {'channel': 'x', 'limit': 1}}, *piece).status != 204:
                    break
        while True:
            m = s.next()
            if 'disconnect' in m.get('push', {}):
                break
        self.assertEqual(m['push']['disconnect']['code'], 3013)

    def test_a_plus_in_the_query_is_a_space(self):
        name = self.channel()
        text = commands(CONNECT, {'id': 2, 'publish': {'channel': name, 'data': 'a b+c'}})
        s = self.stream('/connection/sse?cf_connect=' + urllib.parse.quote_plus(text), events=True)
        s.next(), s.next()
        self.assertEqual(self.d.api('history', channel=name, limit=1)['result']['publications'][0]['data'], 'a b+c')

    def test_the_end_is_a_push(self):
        for s in self.both():
            self.emulate(s, {'id': 2, 'connect': {}})
            self.assertEqual(s.next(), {'push': {'disconnect': {'code': 3501, 'reason': 'bad request'}}})
            s.expect_eof()
        s = self.stream('/connection/http_stream', 'no json')
        self.assertEqual(s.next()['push']['disconnect']['code'], 3501)

    def test_differences(self):
        name = 'delta:' + self.channel()
        for s in self.both({'id': 2, 'subscribe': {'channel': name, 'delta': 'fossil'}}):
            self.assertTrue(s.next()['subscribe']['delta'])
            for i in range(3):
                self.publish(name, {'long': 'the same again and again ' * 10, 'i': i})
            got = [s.next()['push']['pub'] for _ in range(3)]
            self.assertEqual([p.get('delta', False) for p in got], [False, True, True])

    def test_pages_from_elsewhere(self):
        page, other = ('Origin', 'https://page.example'), ('Origin', 'https://other.example')
        s = self.stream('/connection/http_stream', commands(CONNECT), fields=[page])
        self.assertIn('\r\nAccess-Control-Allow-Origin: https://page.example\r\n', s.head)
        self.assertEqual(self.stream('/connection/http_stream', commands(CONNECT), fields=[other]).status, 403)
        self.assertEqual(self.stream('/connection/sse', fields=[other]).status, 403)
        for path, methods in (('/connection/http_stream', 'POST, OPTIONS'), ('/emulation', 'POST, OPTIONS'),
                              ('/connection/sse', 'GET, POST, OPTIONS')):
            r = self.d.http('OPTIONS', path, fields=[page, ('Access-Control-Request-Method', methods.split(',')[0])], where='client')
            self.assertEqual((r.status, r.get('Access-Control-Allow-Methods'), r.get('Access-Control-Max-Age')), (204, methods, '300'))
            self.assertEqual(self.d.http('OPTIONS', path, fields=[other], where='client').status, 403)

    def test_pages_from_elsewhere_see_why_they_are_refused(self):
        """Without the fields a browser keeps the answer from the page, which is told of CORS alone."""
        page, other = ('Origin', 'https://page.example'), ('Origin', 'https://other.example')
        long = 'x' * 70000
        for method, path, body, status in (('POST', '/emulation', 'no json', 400), ('POST', '/emulation', long, 413),
                                           ('POST', '/emulation', json.dumps({'session': 'x', 'node': 'y', 'data': '{}'}), 404),
                                           ('PUT', '/emulation', None, 405), ('POST', '/connection/http_stream', long, 413),
                                           ('GET', '/connection/http_stream', None, 405), ('GET', '/connection/sse?cf_connect=%zz', None, 400),
                                           ('POST', '/connection/uni_sse', 'no json', 400)):
            for origin, allowed in ((page, page[1]), (other, None)):
                r = self.d.http(method, path, body, fields=[origin], where='client')
                self.assertEqual((r.status, r.get('Access-Control-Allow-Origin')),
                                 (status if allowed or status == 405 else 403, allowed), (method, path, origin))

    def test_also_while_their_body_comes(self):
        for path in ('/emulation', '/connection/http_stream'):
            with Raw(self.d.client) as c:
                c.send('POST %s HTTP/1.1\r\nHost: %s\r\nOrigin: https://page.example\r\nExpect: 100-continue\r\n'
                       'Transfer-Encoding: chunked\r\n\r\n' % (path, c.address))
                self.assertEqual(c.read_response().status, 100)  # it has the head
                c.send('no length\r\n')
                r = c.read_response()
                self.assertEqual((r.status, r.get('Access-Control-Allow-Origin')), (400, 'https://page.example'))

    def test_the_head_lets_nothing_be_kept_or_held_back(self):
        s = self.stream('/connection/sse?cf_connect=' + urllib.parse.quote(commands(CONNECT)), events=True)
        self.assertIn('\r\nContent-Type: text/event-stream\r\n', s.head)
        self.assertIn('\r\nX-Accel-Buffering: no\r\n', s.head)
        self.assertIn('no-store', s.head)

    def test_listeners_get_pushes_alone(self):
        name = self.channel()
        connect = {'subs': {name: {}, 'shut:x': {}}}
        query = '?cf_connect=' + urllib.parse.quote(json.dumps(connect))
        ws = WebSocket(self.d.client, '/connection/uni_websocket' + query)
        said = WebSocket(self.d.client, '/connection/uni_websocket')
        for c in (ws, said):
            self.addCleanup(c.close)
            self.assertEqual(c.response.status, 101)
            c.next = lambda c=c: json.loads(c.recv().payload)
        said.text(json.dumps(connect))
        said.text('and whatever else')
        for c in (ws, said, self.stream('/connection/uni_sse' + query, events=True),
                  self.stream('/connection/uni_sse', json.dumps(connect), events=True),
                  self.stream('/connection/uni_http_stream', json.dumps(connect))):
            got = c.next()['connect']
            self.assertIn('session', got)
            self.assertNotIn('pong', got)
            self.assertEqual(list(got['subs']), [name])
            self.publish(name, {'a': 1})
            got = c.next()
            self.assertEqual((got['channel'], got['pub']['data']), (name, {'a': 1}))

    def told(self, c, code):
        """By WebSocket, in a push and then in the close frame."""
        f = c.recv()
        self.assertEqual((f.opcode, json.loads(f.payload)['disconnect']['code']), (TEXT, code))
        f = c.recv()
        self.assertEqual((f.opcode, f.code), (CLOSE, code))

    def test_a_listener_by_websocket_is_told_its_end_in_a_push(self):
        user = self.channel()
        for path, text in (('?cf_connect=', None), ('', '{}')):
            with self.subTest(path):
                good, bad = json.dumps({'token': token(sub=user)}), json.dumps({'token': token(exp=in_seconds(-60))})
                with WebSocket(self.d.client, '/connection/uni_websocket' + (path and path + urllib.parse.quote(bad))) as c:
                    if text:
                        c.text(bad)
                    self.told(c, 3005)
                with WebSocket(self.d.client, '/connection/uni_websocket' + (path and path + urllib.parse.quote(good))) as c:
                    if text:
                        c.text(good)
                    self.assertIn('connect', json.loads(c.recv().payload))
                    self.d.api('disconnect', user=user, disconnect={'code': 4321, 'reason': 'go'})
                    self.told(c, 4321)

    def test_the_drain_of_a_listener_by_websocket(self):
        d = self.start(workers=1, uni_websocket=True, allow_anonymous_connect_without_token=True, drain_time='10ms')
        with WebSocket(d.client, '/connection/uni_websocket?cf_connect=%7B%7D') as c:
            self.assertIn('connect', json.loads(c.recv().payload))
            d.process.terminate()
            self.told(c, 3001)

    def test_a_refused_connect_of_a_listener_is_its_end(self):
        for claims, code in (({'exp': in_seconds(-60)}, 3005), ({'sub': 'x', 'channel': 'y'}, 3500)):
            s = self.stream('/connection/uni_http_stream', json.dumps({'token': token(**claims)}))
            self.assertEqual(s.next()['disconnect']['code'], code)
            s.expect_eof()
        self.assertEqual(self.stream('/connection/uni_sse?cf_connect=%5B%5D').status, 400)
        self.assertEqual(self.stream('/connection/uni_http_stream', '{},"x":{}').status, 400)

    def test_orders_of_the_server_reach_a_stream(self):
        name = self.channel()
        for s in self.both(connect={'id': 1, 'connect': {'token': token(sub='ann')}}):
            self.d.api('subscribe', user='ann', client=s.connected['client'], channel=name)
            self.assertEqual(s.next()['push']['channel'], name)
            self.d.api('disconnect', user='ann', session=s.connected['session'])
            self.assertEqual(s.next()['push']['disconnect']['code'], 3503)
            s.expect_eof()


class Off(DaemonTest):
    def test_without_the_settings(self):
        d = self.start(workers=1)
        for path in ('http_stream', 'sse', 'uni_sse', 'uni_http_stream'):
            self.assertEqual(d.http('POST', '/connection/' + path, '{}', where='client').status, 404)
        self.assertEqual(d.http('POST', '/emulation', '{}', where='client').status, 404)
        self.assertEqual(d.http('GET', '/connection/uni_websocket', where='client').status, 404)
        self.assertEqual(d.http('GET', '/connection/websocket', where='client').status, 426)

    def test_websockets_can_be_switched_off(self):
        d = self.start(workers=1, websocket=False, http_stream=True)
        self.assertEqual(d.http('GET', '/connection/websocket', where='client').status, 404)
        self.assertEqual(d.http('POST', '/connection/http_stream', '{"id":1}', where='client').status, 200)

    def test_pings_and_the_drain(self):
        d = self.start(workers=1, http_stream=True, uni_http_stream=True, allow_anonymous_connect_without_token=True,
                       ping_interval='1s', pong_timeout='1s', drain_time='10ms')
        s, listener = Stream(d.client, '/connection/http_stream', commands(CONNECT)), Stream(d.client, '/connection/uni_http_stream', '{}')
        self.addCleanup(s.close)
        self.addCleanup(listener.close)
        s.next(), listener.next()
        self.assertEqual(s.next(), {'push': {'disconnect': {'code': 3012, 'reason': 'no pong'}}})
        for _ in range(3):  # from a listener none is awaited
            self.assertEqual(listener.until(b'\n'), b'{}\n')
        d.stop()
        while True:
            line = json.loads(listener.until(b'\n'))
            if line:
                break
        self.assertEqual(line, {'disconnect': {'code': 3001, 'reason': 'shutdown'}})
        wait_for(lambda: d.process.poll() is not None)


if __name__ == '__main__':
    unittest.main(verbosity=0)
