"""A link between two programs, whose connections stall in one direction, or are cut."""

import selectors
import socket
import threading
import time

from engines import HOST, free_port


class Link:
    """A port that leads to another one, as long as it is not cut. Directions are 'up' (to the server) and 'down' (to who has connected).

    stall(): what is sent that way stays under way, while connections look sound; heal() lets it go on. cut(): connections end and new
    ones are refused until heal(). trickle(): that way so many bytes pass, again and again after so many seconds."""

    def __init__(self, port, host=HOST):
        self.target = (host, port)
        self.port = free_port()
        self.stalled, self.pairs, self.slow, self.rests = set(), {}, {}, {}
        self.listener, self.ended = None, False
        self.lock, self.selector = threading.Lock(), selectors.DefaultSelector()
        self.waker, self.wakes = socket.socketpair()
        self.selector.register(self.wakes, selectors.EVENT_READ)
        self.accepted = 0
        self._listen()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _listen(self):
        self.listener = socket.create_server((HOST, self.port), backlog=256)
        self.listener.setblocking(False)
        self.selector.register(self.listener, selectors.EVENT_READ)

    # orders

    def _order(self, change):
        with self.lock:
            change()
        self.waker.send(b'x')

    def stall(self, *directions):
        self._order(lambda: self.stalled.update(directions or ('up', 'down')))

    def trickle(self, direction, size, seconds):
        self._order(lambda: self.slow.update({direction: (size, seconds)}))

    def cut(self):
        def change():
            if self.listener:
                self.selector.unregister(self.listener)
                self.listener.close()
                self.listener = None
            for s in list(self.pairs):
                self._close(s)

        self._order(change)

    def heal(self):
        def change():
            self.stalled.clear()
            self.slow.clear()
            self.rests.clear()
            if not self.listener:
                self._listen()

        self._order(change)

    def stop(self):
        self.cut()
        self.ended = True
        self.waker.send(b'x')
        self.thread.join(10)
        for s in (self.waker, self.wakes):
            s.close()
        self.selector.close()

    # the thread

    def _close(self, s):
        if s in self.pairs:
            other = self.pairs.pop(s)[0]
            self.pairs.pop(other, None)
            for x in (s, other):
                try:
                    self.selector.unregister(x)
                except (KeyError, ValueError):
                    pass
                x.close()

    def _accept(self):
        s, _ = self.listener.accept()
        try:
            t = socket.create_connection(self.target, 2)
        except OSError:
            s.close()
            return
        self.accepted += 1
        for x in (s, t):
            x.setblocking(False)
            x.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.pairs[s] = [t, 'up', b'']  # whom its bytes go to, which way, those that wait
        self.pairs[t] = [s, 'down', b'']

    def _rests(self, way):
        return way in self.stalled or self.rests.get(way, 0) > time.monotonic()

    def _move(self, s):
        """Takes from one what the other has room for."""
        other, way, waits = self.pairs[s]
        if self._rests(way):
            return
        size, seconds = self.slow.get(way, (262144, 0))
        try:
            if not waits:
                waits = s.recv(size)
                if not waits:
                    self._close(s)
                    return
            n = other.send(waits)
            self.pairs[s][2] = waits[n:]
            if seconds:
                self.rests[way] = time.monotonic() + seconds
        except BlockingIOError:
            self.pairs[s][2] = waits
        except OSError:
            self._close(s)

    def _watch(self):
        wanted = {}
        for s, (other, way, waits) in self.pairs.items():
            if self._rests(way):
                continue
            who, what = (other, selectors.EVENT_WRITE) if waits else (s, selectors.EVENT_READ)
            wanted[who] = wanted.get(who, 0) | what
        for s in self.pairs:
            known = self.selector.get_map().get(s)
            if s not in wanted:
                if known:
                    self.selector.unregister(s)
            elif not known:
                self.selector.register(s, wanted[s])
            elif known.events != wanted[s]:
                self.selector.modify(s, wanted[s])

    def _run(self):
        while not self.ended:
            with self.lock:
                self._watch()
                now = time.monotonic()
                rest = min([0.5] + [end - now for end in self.rests.values() if end > now])
            ready = self.selector.select(rest)
            with self.lock:
                for key, events in ready:
                    s = key.fileobj
                    if s is self.wakes:
                        s.recv(1024)
                    elif s is self.listener:
                        self._accept()
                    elif s in self.pairs and events & selectors.EVENT_READ and not self.pairs[s][2]:
                        self._move(s)
                    if s in self.pairs and events & selectors.EVENT_WRITE and self.pairs[self.pairs[s][0]][2]:
                        self._move(self.pairs[s][0])
