"""Many idle plain clients in a process of their own, each on a channel of its own. usage: crowd.py ADDRESS FIRST COUNT

Client i is on /ws/<i> if i is even, else on /ws/bare:<i>. Says a line when all are open, and one for each line of standard input: how many
are still there, how many have had a message, how many messages there were."""

import os
import resource
import selectors
import socket
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

HELLO = ('GET /ws/%s HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n'
         'Sec-WebSocket-Key: cm9vc3Rsb2FkLWtleS0wMQ==\r\n\r\n')
PONG = b'\x8a\x80\x00\x00\x00\x00'


def channel(i):
    return '%d' % i if i % 2 == 0 else 'bare:%d' % i


def enter(address, name):
    host, port = address.rsplit(':', 1)
    s = socket.create_connection((host, int(port)), 30)
    s.sendall((HELLO % name).encode())
    answer = b''
    while b'\r\n\r\n' not in answer:
        data = s.recv(4096)
        assert data, 'refused: %r' % answer
        answer += data
    assert answer.startswith(b'HTTP/1.1 101'), answer
    s.setblocking(False)
    return s


class Crowd:
    def __init__(self, address, first, count):
        self.selector = selectors.DefaultSelector()
        self.there, self.reached, self.messages = count, set(), 0
        for i in range(first, first + count):
            self.selector.register(enter(address, channel(i)), selectors.EVENT_READ, i)

    def read(self, s, i):
        try:
            data = s.recv(65536)
        except ConnectionResetError:
            data = b''
        at = 0
        while at < len(data):  # small frames, whole ones
            opcode, n = data[at] & 15, data[at + 1]
            if opcode == 1:
                self.reached.add(i)
                self.messages += 1
            elif opcode == 9:
                s.sendall(PONG)
            elif opcode == 8:
                break
            at += 2 + n
        if not data or at < len(data):
            self.there -= 1
            self.selector.unregister(s)
            s.close()

    def say(self):
        print(self.there, len(self.reached), self.messages, flush=True)

    def run(self):
        self.say()
        self.selector.register(sys.stdin, selectors.EVENT_READ, -1)
        while True:
            for key, _ in self.selector.select():
                if key.data != -1:
                    self.read(key.fileobj, key.data)
                elif sys.stdin.buffer.raw.read(1):
                    self.say()
                else:
                    return


if __name__ == '__main__':
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    Crowd(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])).run()
