"""A connection that has nothing to do with the load, and how long its pings take."""
import os
import socket
import struct
import threading
import time

UPGRADE = ("GET /ws/bystander HTTP/1.1\r\nHost: b\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
           "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")


class Bystander(threading.Thread):
    """Pings until stop(), one at a time, PAUSE apart; stop() returns (time, seconds taken) of each."""
    PAUSE = 0.001

    def __init__(self, port, timeout=60):
        super().__init__(daemon=True)
        self.pings, self.running = [], True
        self.socket = socket.create_connection(("127.0.0.1", port), timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(UPGRADE.encode())
        head = b""
        while b"\r\n\r\n" not in head:
            head += self.receive(1)
        if b" 101 " not in head:
            raise OSError(f"the bystander was refused: {head[:80]!r}")
        self.start()

    def receive(self, n):
        data = b""
        while len(data) < n:
            some = self.socket.recv(n - len(data))
            if not some:
                raise OSError("the bystander was disconnected")
            data += some
        return data

    def ping(self, number):
        """A masked ping with a number, until its pong; a ping of the server's is answered."""
        payload, key = struct.pack(">I", number), os.urandom(4)
        self.socket.sendall(b"\x89\x84" + key + bytes(a ^ b for a, b in zip(payload, key)))
        while True:
            head = self.receive(2)
            data = self.receive(head[1] & 127)
            if head[0] == 0x89:
                self.socket.sendall(bytes([0x8a, 0x80 | len(data), 0, 0, 0, 0]) + data)
            elif head[0] == 0x8a and data == payload:
                return

    def run(self):
        while self.running:
            at, begun = time.time(), time.perf_counter()
            self.ping(len(self.pings))
            self.pings.append((at, time.perf_counter() - begun))
            time.sleep(self.PAUSE)

    def stop(self):
        self.running = False
        self.join(60)
        self.socket.close()
        return self.pings
