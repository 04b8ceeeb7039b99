"""Running roostload, and the servers that it is tried against."""

import asyncio
import base64
import hashlib
import hmac
import http
import json
import os
import re
import socket
import subprocess
import tempfile
import threading
import time
import unittest

import jsonschema
import websockets

from daemon import BUILD, SLOW, wait_for

ROOSTLOAD = os.path.join(BUILD, 'roostload')
with open(os.path.join(os.path.dirname(__file__), '../../cmd/roostload/report.schema.json')) as schema:
    VALIDATOR = jsonschema.Draft202012Validator(json.load(schema))
VALIDATOR.check_schema(VALIDATOR.schema)


def run(*args, timeout=60):
    return subprocess.run([ROOSTLOAD, *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, timeout=timeout * SLOW)


def run_json(*args, status=0):
    with tempfile.TemporaryDirectory() as d:
        path = os.path.join(d, 'r.json')
        p = run(*args, '--plain', '--json', path)
        assert p.returncode == status, (p.returncode, p.stdout, p.stderr)
        with open(path) as f:
            r = json.load(f)
    VALIDATOR.validate(r)
    return r, p.stdout


class Server:
    """A WebSocket server of which `relay(n)` says how often the n-th publication is delivered to each client, and
    which may hold one back behind the next (swap)."""

    def __init__(self, relay=lambda n: 1, swap=None, refuse=False, **options):
        self.relay, self.swap, self.options = relay, swap, options
        if refuse:
            self.options['process_request'] = self.deny
        self.clients, self.seen, self.kept = set(), 0, None
        self.loop = asyncio.new_event_loop()
        started = threading.Event()
        self.thread = threading.Thread(target=self.serve, args=(started,), daemon=True)
        self.thread.start()
        started.wait(10)

    def serve(self, started):
        asyncio.set_event_loop(self.loop)

        async def begin():
            self.server = await websockets.serve(self.client, '127.0.0.1', 0, ping_interval=None, **self.options)
            self.port = self.server.sockets[0].getsockname()[1]
            started.set()

        self.loop.run_until_complete(begin())
        self.loop.run_forever()

    async def deny(self, path, headers):
        return http.HTTPStatus.SERVICE_UNAVAILABLE, [], b'no\n'

    async def client(self, c, path=None):
        self.clients.add(c)
        try:
            async for message in c:
                self.seen += 1
                batch = [message] * self.relay(self.seen)
                if self.swap == self.seen:
                    self.kept, batch = batch, []
                elif self.kept:
                    batch, self.kept = batch + self.kept, None
                for m in batch:
                    for other in list(self.clients):
                        await other.send(m)
        except websockets.ConnectionClosed:
            pass
        finally:
            self.clients.discard(c)

    def __enter__(self):
        return self

    def drop(self):
        """Resets every connection."""
        for c in list(self.clients):
            c.transport.abort()

    def __exit__(self, *_):
        async def end():
            self.server.close()
            await self.server.wait_closed()

        asyncio.run_coroutine_threadsafe(end(), self.loop).result(10)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)
        self.loop.close()


class Rooms(Server):
    """Relays a message to everybody whose path is its sender's, unless `route(server, c, message, n)` says otherwise: to
    the n-th message, from the client c, it gives pairs of client and message."""

    def __init__(self, route=None):
        self.route, self.held, self.sent_to, self.away_until = route or Rooms.to_room, [], {}, 0
        super().__init__(process_request=self.perhaps_away)

    async def perhaps_away(self, path, headers):
        return await self.deny(path, headers) if time.monotonic() < self.away_until else None

    def go_away(self, seconds):
        """Resets every connection and refuses new ones for a while."""
        self.away_until = time.monotonic() + seconds
        self.drop()

    def to_room(self, c, message, n=0):
        return [(other, message) for other in self.clients if other.path == c.path]

    async def client(self, c, path=None):
        self.clients.add(c)
        try:
            async for message in c:
                self.seen += 1
                self.sent_to[c.path] = self.sent_to.get(c.path, 0) + 1
                for other, m in self.route(self, c, message, self.seen):
                    try:
                        await other.send(m)
                    except websockets.ConnectionClosed:
                        pass
        except websockets.ConnectionClosed:
            pass
        finally:
            self.clients.discard(c)


class NatsInPieces(Server):
    """Speaks the NATS protocol; what it sends is cut into frames of `step` bytes, without regard to its messages."""

    def __init__(self, step):
        self.step, self.published = step, {}
        super().__init__()

    async def send(self, c, data):
        for i in range(0, len(data), self.step):
            await c.send(data[i:i + self.step])

    async def client(self, c, path=None):
        data = b''
        self.clients.add(c)
        try:
            await self.send(c, b'INFO {"server_id":"x"}\r\nPING\r\n')
            async for message in c:
                data += message
                while b'\r\n' in data:
                    line, _, data = data.partition(b'\r\n')
                    if line == b'PING':
                        await self.send(c, b'PONG\r\nPING\r\n')
                    elif line.startswith(b'PUB '):
                        n = int(line.split()[-1])
                        subject = line.split()[1].decode()
                        self.published[subject] = self.published.get(subject, 0) + 1
                        while len(data) < n + 2:
                            data += await c.recv()
                        body, data = data[:n + 2], data[n + 2:]
                        for other in list(self.clients):
                            await self.send(other, b'MSG load-0 1 %d\r\n%s' % (n, body) + b'PING\r\n' * (self.step > 64))
                    else:
                        self.seen += line == b'PONG'
        except websockets.ConnectionClosed:
            pass
        finally:
            self.clients.discard(c)


class Centrifuge(Server):
    """Speaks the Centrifuge protocol in JSON, with one endless history per channel. `deliver(offset)` says how often a live
    publication goes to each subscriber, `recover(publications)` what of those that were missed comes back, None: that
    they cannot be had. From publication cut[0] to cut[1] only publishers have a connection."""

    def __init__(self, deliver=lambda offset: 1, recover=lambda missed: missed, key=None, cut=(0, 0)):
        self.deliver, self.recover, self.key, self.cut = deliver, recover, key, cut
        self.streams, self.subscribed, self.users, self.resubscribed = {}, {}, set(), 0
        super().__init__(subprotocols=['centrifuge-json'], process_request=self.perhaps_cut)

    async def perhaps_cut(self, path, headers):
        cut = any(self.cut[0] <= len(stream) < self.cut[1] for stream in self.streams.values())
        return await self.deny(path, headers) if cut else None

    def user(self, token):
        head, claims, mac = token.split('.')
        made = hmac.new(self.key, ('%s.%s' % (head, claims)).encode(), 'sha256').digest()
        assert base64.urlsafe_b64decode(mac + '=') == made
        claims = json.loads(base64.urlsafe_b64decode(claims + '=='))
        assert time.time() < claims['exp']
        return claims['sub']

    def stream(self, channel):
        return self.streams.setdefault(channel, [])

    def on_connect(self, c, r):
        if self.key:
            self.users.add(self.user(r['token']))
        return {'connect': {'client': 'x', 'ping': 25, 'pong': True}}

    def on_subscribe(self, c, r):
        stream = self.stream(r['channel'])
        self.subscribed[c] = r['channel']
        if not r.get('recover'):
            return {'subscribe': {'recoverable': True, 'positioned': True, 'epoch': 'e', 'offset': len(stream)}}
        self.resubscribed += 1
        missed = self.recover(stream[r.get('offset', 0):])
        if missed is None:
            return {'subscribe': {'recoverable': True, 'epoch': 'e', 'was_recovering': True, 'offset': len(stream)}}
        return {'subscribe': {'recoverable': True, 'epoch': 'e', 'was_recovering': True, 'recovered': True,
                              'publications': missed, 'offset': r.get('offset', 0)}}

    def on_history(self, c, r):
        stream = self.stream(r['channel'])
        return {'history': {'publications': stream[:r['limit']], 'epoch': 'e', 'offset': len(stream)}}

    async def on_publish(self, c, r):
        stream = self.stream(r['channel'])
        stream.append({'data': r['data'], 'offset': len(stream) + 1})
        for other in list(self.clients if len(stream) == self.cut[0] else []):
            if other is not c:
                self.subscribed.pop(other, None)
                other.transport.abort()
        text = json.dumps({'push': {'channel': r['channel'], 'pub': stream[-1]}}, separators=(',', ':'))
        for other, channel in list(self.subscribed.items()):
            for _ in range(self.deliver(len(stream)) if channel == r['channel'] else 0):
                try:
                    await other.send(text)
                except websockets.ConnectionClosed:
                    pass

    async def client(self, c, path=None):
        self.clients.add(c)
        try:
            await c.send('{}')
            async for message in c:
                answers = []
                for command in map(json.loads, message.split('\n')):
                    self.seen += 1
                    name = next((k for k in command if k != 'id'), None)
                    if name == 'publish':
                        await self.on_publish(c, command[name])
                        answers.append({'id': command['id'], 'publish': {}})
                    elif name:
                        answers.append({'id': command['id'], **getattr(self, 'on_' + name)(c, command[name])})
                if answers:
                    await c.send('\n'.join(json.dumps(a, separators=(',', ':')) for a in answers))
        except websockets.ConnectionClosed:
            pass
        finally:
            self.clients.discard(c)
            self.subscribed.pop(c, None)


def broadcast(port, *more, status=0):
    return run_json('broadcast', '--url', 'ws://127.0.0.1:%d/x' % port, '--connections', '3', '--rate', '20', '--duration',
                    '1500ms', *more, status=status)


class TcpServer:
    """Accepts, and does with each connection what `with_it` says."""

    def __init__(self, with_it):
        self.socket = socket.create_server(('127.0.0.1', 0))
        self.port, self.with_it, self.kept = self.socket.getsockname()[1], with_it, []
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        while True:
            try:
                s, _ = self.socket.accept()
            except OSError:
                return
            self.kept.append(s)
            self.with_it(s)

    def stop(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.thread.join(10)
        for s in self.kept:
            s.close()


def upgrade(s, accept=None, behind=b'', **fields):
    """Reads a request head from the socket s and answers it with 101 and the given fields; None leaves one out. What stands
    behind it goes in the same segment, so that nobody sees the connection as a good one in between."""
    head = b''
    while b'\r\n\r\n' not in head:
        data = s.recv(4096)
        if not data:
            return False
        head += data
    key = re.search(rb'Sec-WebSocket-Key: (\S+)', head).group(1)
    digest = hashlib.sha1(key + b'258EAFA5-E914-47DA-95CA-C5AB0DC85B11').digest()
    answer = {'Upgrade': 'websocket', 'Connection': 'Upgrade',
              'Sec-WebSocket-Accept': accept or base64.b64encode(digest).decode(),
              **{k.replace('_', '-'): v for k, v in fields.items()}}
    s.sendall(('HTTP/1.1 101 Switching Protocols\r\n' +
               ''.join('%s: %s\r\n' % (k, v) for k, v in answer.items() if v is not None) + '\r\n').encode() + behind)
    return True


class SlowMetrics(TcpServer):
    """A Prometheus page that comes so many seconds after it was asked for."""

    def __init__(self, seconds):
        self.seconds = seconds
        super().__init__(lambda s: threading.Thread(target=self.answer, args=(s,), daemon=True).start())

    def answer(self, s):
        page = b'process_cpu_seconds_total %.3f\nprocess_resident_memory_bytes 1000\n' % time.process_time()
        try:
            s.recv(4096)
            time.sleep(self.seconds)
            s.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s' % (len(page), page))
            s.shutdown(socket.SHUT_WR)
        except OSError:
            pass


class ByHand(unittest.TestCase):
    def outcome(self, with_it, *args, status=1, settled=lambda: True):
        """settled: whether the server has seen all that is asserted of it; its threads may come to that when the run is over."""
        server = TcpServer(lambda s: threading.Thread(target=self.serve, args=(with_it, s), daemon=True).start())
        try:
            r, out = run_json('hold', '--url', 'ws://127.0.0.1:%d/x' % server.port, '--connections', '2', '--duration', '300ms',
                              '--connect-timeout', '30s', *args, status=status)
            wait_for(settled, what='the server to have seen everything')
        finally:
            server.stop()
        return {k: v for k, v in r['counters'].items() if v > 0 and k != 'connects_started'}, r, out

    def serve(self, with_it, s):
        try:
            with_it(s)
        except OSError:
            pass
