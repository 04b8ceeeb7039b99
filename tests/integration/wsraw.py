"""A WebSocket and HTTP client on a bare socket, which may break every rule on purpose."""

import base64
import hashlib
import os
import socket
import struct
import time

TEXT, BINARY, CLOSE, PING, PONG, CONT = 1, 2, 8, 9, 10, 0
GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'
TIMEOUT = 60.0  # for what must come: long, as a slow machine under sanitizers takes its time


class Closed(Exception):
    """The peer ended the connection where more was expected."""


def frame(opcode, payload=b'', fin=True, rsv=0, mask=True, length=None, form=None):
    """The bytes of one frame. length: what the header claims; form: 7, 16 or 64 bits of length."""
    if isinstance(payload, str):
        payload = payload.encode()
    n = len(payload) if length is None else length
    if form is None:
        form = 7 if n < 126 else 16 if n < 65536 else 64
    head = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
    bit = 0x80 if mask else 0
    if form == 7:
        head += bytes([bit | n])
    elif form == 16:
        head += bytes([bit | 126]) + struct.pack('>H', n)
    else:
        head += bytes([bit | 127]) + struct.pack('>Q', n)
    if not mask:
        return head + payload
    key = os.urandom(4)
    return head + key + masked(payload, key)


def masked(payload, key):
    if not payload:
        return b''
    n = len(payload)
    keys = (key * (n // 4 + 1))[:n]
    return (int.from_bytes(payload, 'big') ^ int.from_bytes(keys, 'big')).to_bytes(n, 'big')


def close_payload(code, reason=b''):
    return struct.pack('>H', code) + (reason.encode() if isinstance(reason, str) else reason)


class Frame:
    def __init__(self, fin, rsv, opcode, payload):
        self.fin, self.rsv, self.opcode, self.payload = fin, rsv, opcode, payload

    def __repr__(self):
        return 'Frame(op=%d, fin=%s, %d bytes: %r)' % (self.opcode, self.fin, len(self.payload), self.payload[:40])

    @property
    def code(self):
        return struct.unpack('>H', self.payload[:2])[0] if len(self.payload) >= 2 else 1005


class Response:
    def __init__(self, status, fields, body):
        self.status, self.fields, self.body = status, fields, body

    def get(self, name):
        """The field's value, or None; several are joined."""
        values = [v for k, v in self.fields if k == name.lower()]
        return ', '.join(values) if values else None

    def __repr__(self):
        return 'Response(%d, %r, %r)' % (self.status, self.fields, self.body[:200])


class Raw:
    """A TCP connection, or one to unix:/path, with a receive buffer; tls: an ssl.SSLContext, for the host `name`."""

    def __init__(self, address, timeout=TIMEOUT, rcvbuf=None, source=None, tls=None, name='localhost', session=None):
        path = address[len('unix:'):] if address.startswith('unix:') else None
        host, port = address.rsplit(':', 1)
        family = socket.AF_UNIX if path else socket.AF_INET6 if host[0] == '[' else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_STREAM)
        if rcvbuf:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        if not path:
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.settimeout(timeout)
        if source:
            self.sock.bind((source, 0))
        try:
            self.sock.connect(path or (host.strip('[]'), int(port)))
            if tls:
                self.sock = tls.wrap_socket(self.sock, server_hostname=name, session=session)
        except OSError:
            self.sock.close()
            raise
        self.address = 'localhost' if path else address
        self.buf = b''

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def close(self):
        self.sock.close()

    # bytes

    def send(self, data, chop=0):
        """chop: so many bytes per segment. A peer that has gone is seen when reading."""
        if isinstance(data, str):
            data = data.encode()
        try:
            if not chop:
                self.sock.sendall(data)
                return
            for i in range(0, len(data), chop):
                self.sock.sendall(data[i:i + chop])
                if chop == 1 and i < 64:
                    time.sleep(0.0002)  # so that most bytes arrive alone
        except (BrokenPipeError, ConnectionResetError):
            pass

    def fill(self):
        try:
            data = self.sock.recv(262144)
        except ConnectionResetError:
            data = b''
        if not data:
            raise Closed('end of file behind %r' % self.buf[:80])
        self.buf += data

    def take(self, n):
        while len(self.buf) < n:
            self.fill()
        data, self.buf = self.buf[:n], self.buf[n:]
        return data

    def expect_eof(self):
        """Nothing more comes but the end."""
        try:
            self.fill()
        except Closed:
            if self.buf:
                raise AssertionError('expected the end, got %r' % self.buf[:80])
            return
        raise AssertionError('expected the end, got %r' % self.buf[:80])

    def silent(self, seconds):
        """True when nothing arrives for so long."""
        if self.buf:
            return False
        self.sock.settimeout(seconds)
        try:
            self.buf += self.sock.recv(65536)
            return False
        except socket.timeout:
            return True
        finally:
            self.sock.settimeout(TIMEOUT)

    # HTTP

    def read_response(self, head=False):
        while b'\r\n\r\n' not in self.buf:
            self.fill()
        text, self.buf = self.buf.split(b'\r\n\r\n', 1)
        lines = text.decode('latin-1').split('\r\n')
        status = int(lines[0].split(' ')[1])
        fields = [(k.strip().lower(), v.strip()) for k, v in (x.split(':', 1) for x in lines[1:])]
        length = int(dict(fields).get('content-length', '0'))
        bodiless = head or status < 200 or status in (204, 304)
        return Response(status, fields, b'' if bodiless else self.take(length))

    def request(self, method, target, fields=(), body=None, version='1.1'):
        text = '%s %s HTTP/%s\r\nHost: %s\r\n' % (method, target, version, self.address)
        text += ''.join('%s: %s\r\n' % f for f in fields)
        if body is not None:
            body = body.encode() if isinstance(body, str) else body
            text += 'Content-Length: %d\r\n' % len(body)
        self.send(text.encode() + b'\r\n' + (body or b''))
        return self.read_response(head=method == 'HEAD')


class WebSocket(Raw):
    """Opened by the constructor unless the answer is not 101: then self.response says."""

    reserved = (0,)  # what a data frame's reserved bits may be

    def __init__(self, address, path, fields=(), timeout=TIMEOUT, rcvbuf=None, early=b'', source=None, **tls):
        super().__init__(address, timeout, rcvbuf, source, **tls)
        self.key = base64.b64encode(os.urandom(16)).decode()
        self.send(('GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n'
                   'Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n%s\r\n'
                   % (path, self.address, self.key, ''.join('%s: %s\r\n' % f for f in fields))).encode() + early)
        try:
            self.response = self.read_response()
        except (Closed, OSError):
            self.close()
            raise
        if self.response.status == 101:
            want = base64.b64encode(hashlib.sha1((self.key + GUID).encode()).digest()).decode()
            assert self.response.get('sec-websocket-accept') == want, self.response

    def send_frame(self, opcode, payload=b'', chop=0, **kw):
        self.send(frame(opcode, payload, **kw), chop)

    def text(self, payload, **kw):
        self.send_frame(TEXT, payload, **kw)

    def recv(self):
        """The next frame; a server must not mask, nor fragment its control frames."""
        b0, b1 = self.take(2)
        assert not b1 & 0x80, 'a server must not mask'
        n = b1 & 0x7f
        if n == 126:
            n = struct.unpack('>H', self.take(2))[0]
            assert n >= 126, 'length is not minimal'
        elif n == 127:
            n = struct.unpack('>Q', self.take(8))[0]
            assert n >= 65536, 'length is not minimal'
        f = Frame(bool(b0 & 0x80), b0 >> 4 & 7, b0 & 15, self.take(n))
        assert f.rsv in (self.reserved if f.opcode in (TEXT, BINARY) else (0,)), f
        assert f.opcode < 8 or (f.fin and n <= 125), f
        return f

    def recv_data(self):
        """The next data frame's payload; pings are answered."""
        while True:
            f = self.recv()
            if f.opcode == PING:
                self.send_frame(PONG, f.payload)
            elif f.opcode in (TEXT, BINARY):
                return f.payload
            elif f.opcode == CLOSE:
                raise Closed('close %d %r' % (f.code, f.payload[2:]))

    def past_pings(self, answer):
        """The next frame that is no ping: how many come between depends on the clock."""
        while (f := self.recv()).opcode == PING:
            if answer:
                self.send_frame(PONG, f.payload)
        return f

    def expect(self, opcode, payload=None):
        """The next frame. Pings before it are answered, unless one is expected, or the end."""
        f = self.recv() if opcode == PING else self.past_pings(opcode != CLOSE)
        if isinstance(payload, str):
            payload = payload.encode()
        assert f.opcode == opcode and f.fin and (payload is None or f.payload == payload), \
            'expected opcode %d %r, got %r' % (opcode, payload and payload[:40], f)
        return f

    def expect_close(self, code, answer=True):
        """The server's close frame with that code, then the end. answer: as a good client does."""
        f = self.past_pings(False)
        assert f.opcode == CLOSE, 'expected a close frame, got %r' % f
        assert f.code == code, 'expected close %d, got %d %r' % (code, f.code, f.payload[2:])
        f.payload[2:].decode('utf-8')
        if answer:
            self.send_frame(CLOSE, close_payload(code) if code != 1005 else b'')
        self.expect_eof()
        return f

    def goodbye(self, code=1000):
        """The closing handshake from our side, to its end."""
        self.send_frame(CLOSE, close_payload(code))
        f = self.expect(CLOSE)
        assert f.code == code, f
        self.expect_eof()
        self.close()
