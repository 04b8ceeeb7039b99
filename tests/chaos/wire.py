"""One loop for all clients of a run, and connections that never block: TCP, TLS or UNIX sockets, HTTP, then WebSocket."""

import base64
import errno
import heapq
import itertools
import os
import re
import selectors
import socket
import ssl
import struct
import time
import zlib

from wsraw import BINARY, CLOSE, PING, PONG, TEXT, close_payload, frame

HEAD_END = b'\r\n\r\n'
OFFER = 'Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n'
DEFLATE_TAIL = b'\0\0\xff\xff'
LENGTH = re.compile(rb'\r\ncontent-length: *(\d+)', re.I)


class Loop:
    """Sockets and timers. `tick` counts what was sent and seen, so that "before" is known without a clock."""

    def __init__(self):
        self.selector, self.timers, self.numbers = selectors.EpollSelector(), [], itertools.count()
        self.tick = 0

    def next_tick(self):
        self.tick += 1
        return self.tick

    def call_in(self, seconds, then):
        heapq.heappush(self.timers, (time.monotonic() + seconds, next(self.numbers), then))

    def turn(self, at_most=0.05):
        now = time.monotonic()
        while self.timers and self.timers[0][0] <= now:
            heapq.heappop(self.timers)[2]()
        if self.timers:
            at_most = min(at_most, max(0, self.timers[0][0] - time.monotonic()))
        for key, events in self.selector.select(at_most):
            if key.data.sock is not None:
                key.data.ready(events)

    def run(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.turn(end - time.monotonic())

    def until(self, condition, seconds):
        """Goes on until condition() is true; False when that does not come in time."""
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                return False
            self.turn()
        return True


class Connection:
    """A socket of the loop. Subclasses have on_open(), on_bytes() and on_end(), which comes once."""

    def __init__(self, loop, address, tls=None):
        """tls: a context, with which the connection is open when the handshake is complete."""
        self.loop, self.address, self.tls = loop, address, tls
        self.out, self.buf = b'', b''
        self.open = self.paused = self.writes = False
        unix = address.startswith('unix:')
        self.sock = socket.socket(socket.AF_UNIX if unix else socket.AF_INET, socket.SOCK_STREAM)
        self.sock.setblocking(False)
        self.events = selectors.EVENT_WRITE
        if unix:
            error = self.sock.connect_ex(address[5:])
        else:
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            host, port = address.rsplit(':', 1)
            error = self.sock.connect_ex((host, int(port)))
        loop.selector.register(self.sock, self.events, self)
        if error not in (0, errno.EINPROGRESS):
            loop.call_in(0, lambda: self.end(os.strerror(error)))

    def want(self):
        if self.sock is None:
            return
        if self.open:
            events = (0 if self.paused else selectors.EVENT_READ) | (selectors.EVENT_WRITE if self.out else 0)
        elif isinstance(self.sock, ssl.SSLSocket):
            events = selectors.EVENT_WRITE if self.writes else selectors.EVENT_READ
        else:
            events = selectors.EVENT_WRITE
        if events == self.events:
            return
        if not events:
            self.loop.selector.unregister(self.sock)
        elif not self.events:
            self.loop.selector.register(self.sock, events, self)
        else:
            self.loop.selector.modify(self.sock, events, self)
        self.events = events

    def pause(self, paused):
        self.paused = paused
        self.want()

    def ready(self, events):
        if not self.open and not self.established():
            return
        if self.sock is not None and events & selectors.EVENT_WRITE:
            self.flush()
        if self.sock is not None and events & selectors.EVENT_READ:
            self.read()
        self.want()

    def established(self):
        """Has the connection just come to be open?"""
        error = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            self.end(os.strerror(error))
            return False
        if self.tls is not None:
            if not isinstance(self.sock, ssl.SSLSocket):
                number = self.sock.fileno()
                self.loop.selector.unregister(self.sock)
                self.sock = self.tls.wrap_socket(self.sock, server_hostname='localhost', do_handshake_on_connect=False)
                assert self.sock.fileno() == number
                self.loop.selector.register(self.sock, self.events, self)
            try:
                self.sock.do_handshake()
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError) as e:
                self.writes = isinstance(e, ssl.SSLWantWriteError)
                self.want()
                return False
            except OSError as e:
                self.end('handshake: %s' % (getattr(e, 'reason', None) or e.strerror))
                return False
        self.open = True
        self.on_open()
        return True

    def flush(self):
        try:
            while self.out:
                self.out = self.out[self.sock.send(self.out[:262144]):]
        except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
            pass
        except OSError as e:
            self.broken(e.strerror)

    def broken(self, why):
        """It takes nothing more; what has come before that is still read."""
        self.out = b''
        while self.sock is not None and not self.paused:
            if not self.read():
                break
        self.end(why)

    def read(self):
        """False when there is nothing more now."""
        try:
            data = self.sock.recv(262144)
            while isinstance(self.sock, ssl.SSLSocket) and self.sock.pending() > 0:
                data += self.sock.recv(262144)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return False
        except OSError as e:
            self.end(e.strerror)
            return False
        if not data:
            self.end('end of file')
            return False
        self.buf += data
        self.on_bytes()
        return self.sock is not None

    def send(self, data):
        if self.sock is None:
            return
        self.out += data
        if self.open:
            self.flush()
        self.want()

    def end(self, why):
        if self.sock is None:
            return
        if self.events:
            self.loop.selector.unregister(self.sock)
        self.sock.close()
        self.sock = None
        self.on_end(why)

    def reset(self):
        """Ends as a client whose machine went away: nothing is said, and nothing of it is left."""
        if self.sock is not None and self.sock.family != socket.AF_UNIX:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        self.end('reset by the client')

    def take_response(self):
        """(status, body) when a whole response is there; its bytes are taken."""
        at = self.buf.find(HEAD_END)
        if at < 0:
            return None
        status = int(self.buf[9:12])
        found = LENGTH.search(self.buf, 0, at)
        behind = at + len(HEAD_END) + (int(found.group(1)) if found and status != 101 else 0)
        if len(self.buf) < behind:
            return None
        self.head = self.buf[:at]
        body, self.buf = self.buf[at + len(HEAD_END):behind], self.buf[behind:]
        return status, body


class WebSocket(Connection):
    """Subclasses have on_101(), on_message() and on_gone(), which comes once, after the last message."""

    def __init__(self, loop, address, path, tls=None, deflate=False):
        super().__init__(loop, address, tls)
        self.deflate = deflate  # offered; from the 101 on: agreed
        self.path, self.upgraded, self.code = path, False, None

    def on_open(self):
        self.send(('GET %s HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: %s\r\n'
                   'Sec-WebSocket-Version: 13\r\n%s\r\n' % (self.path, base64.b64encode(os.urandom(16)).decode(),
                                                                   OFFER if self.deflate else '')).encode())

    def on_bytes(self):
        if not self.upgraded:
            response = self.take_response()
            if response is None:
                return
            if response[0] != 101:
                self.end('answered %d' % response[0])
                return
            self.upgraded = True
            self.deflate = b'permessage-deflate; server_no_context_takeover' in self.head
            self.on_101()
        self.take_frames()

    def take_frames(self):
        buf, at = self.buf, 0
        while len(buf) - at >= 2 and self.sock is not None:
            n, head = buf[at + 1] & 0x7f, 2
            if n >= 126:
                head = 4 if n == 126 else 10
                if len(buf) - at < head:
                    break
                n = int.from_bytes(buf[at + 2:at + head], 'big')
            if len(buf) - at < head + n:
                break
            self.on_frame(buf[at], buf[at + head:at + head + n])
            at += head + n
        self.buf = buf[at:]

    def on_frame(self, first, payload):
        if self.code is not None:
            self.on_fault('a frame after the close frame: %02x %r' % (first, payload[:40]))
        opcode = first & 15
        if first & 0x40 and self.deflate and opcode in (TEXT, BINARY):
            first, payload = first & ~0x40, zlib.decompressobj(-15).decompress(payload + DEFLATE_TAIL)
        if opcode in (TEXT, BINARY) and first & 0xf0 == 0x80:
            self.on_message(payload)
        elif first == 0x80 | PING:
            self.send(frame(PONG, payload))
        elif first == 0x80 | CLOSE:
            self.code = struct.unpack('>H', payload[:2])[0] if payload else 1005
            self.send(frame(CLOSE, payload[:2]))
        elif first != 0x80 | PONG:
            self.on_fault('a frame that nobody may send: %02x' % first)

    def goodbye(self):
        self.send(frame(CLOSE, close_payload(1000)))

    def text(self, payload):
        if self.deflate and len(payload) > 64:
            z = zlib.compressobj(1, zlib.DEFLATED, -15)
            small = z.compress(payload.encode()) + z.flush(zlib.Z_SYNC_FLUSH)
            if len(payload) < 100 * len(small):  # else it would be taken for a bomb
                self.send(frame(TEXT, small[:-4], rsv=4))
                return
        self.send(frame(TEXT, payload))

    def on_end(self, why):
        self.on_gone(why if self.code is None else 'close %d' % self.code)
