"""Who subscribes and who publishes. Each comes back by itself after an end, until the crowd is told to leave."""

import json
import re

from verdict import Source
from wire import Connection, WebSocket

MESSAGE = re.compile(rb'"m": ?"(\d+)\.(\d+)"')
PAUSE = 0.05            # before a client comes back


def payload(source, n, size=0):
    return '{"m":"%d.%d","x":"%s"}' % (source.number, n, 'x' * size)


def message_of(data):
    found = MESSAGE.search(data)
    return (int(found.group(1)), int(found.group(2))) if found else None


class Member:
    """Somebody of the crowd: one connection at a time."""

    def __init__(self, crowd, name, channel):
        self.crowd, self.name, self.channel = crowd, name, channel
        self.connection, self.paused, self.tries = None, False, 0
        self.way = len(crowd.members) // 2  # over TCP, TLS of both versions and a UNIX socket in turn
        self.ends = {}          # why connections ended, counted
        crowd.members.append(self)
        self.begin()

    def begin(self):
        if not self.crowd.leaving and self.connection is None:
            self.tries += 1
            self.connection = self.dial()

    def gone(self, why):
        """The connection has ended."""
        self.connection = None
        self.ends[why] = self.ends.get(why, 0) + 1
        self.crowd.count_end(self.kind, why)
        self.lost_connection(why)
        self.crowd.loop.call_in(PAUSE, self.begin)

    def lost_connection(self, why):
        pass

    def pause(self, paused):
        self.paused = paused
        if self.connection is not None:
            self.connection.pause(paused)

    def leave(self, how):
        c = self.connection
        if c is not None and how == 'goodbye' and self.ready():
            c.pause(False)
            c.goodbye()
        elif c is not None:
            c.reset()

    def ready(self):
        return self.connection is not None and self.connection.upgraded


class Socket(WebSocket):
    """Hands everything to its member."""

    def __init__(self, member, path):
        self.member = member
        address, tls = member.crowd.way(member.way)
        super().__init__(member.crowd.loop, address, path, tls, deflate=member.way // 4 % 2 == 1)

    def on_101(self):
        self.member.opened()

    def on_message(self, data):
        self.member.message(data)

    def on_fault(self, text):
        self.member.crowd.verdict.problem('%s: %s', self.member.name, text)

    def on_gone(self, why):
        self.member.gone(why)


class PlainSubscriber(Member):
    kind = 'plain'

    def dial(self):
        self.life = None
        return Socket(self, '/ws/%s?mode=sub' % self.channel)

    def opened(self):
        self.life = self.crowd.verdict.life(self.channel, '%s/%d' % (self.name, self.tries), self.crowd.loop.next_tick())

    def message(self, data):
        m = message_of(data)
        if m is None:
            self.crowd.verdict.problem('%s got what nobody sent: %r', self.name, data[:80])
        else:
            self.life.seen.append(m)

    def lost_connection(self, why):
        if self.life:
            self.life.end(why)


class PlainPublisher(Member):
    """Sends without waiting for anything; each connection is a source of its own."""

    kind = 'plain'

    def dial(self):
        self.source = None
        return Socket(self, '/ws/%s?mode=pub' % self.channel)

    def opened(self):
        self.source = self.crowd.verdict.source(self.channel, '%s/%d' % (self.name, self.tries), prefix=True)

    def message(self, data):
        self.crowd.verdict.problem('%s, which is subscribed to nothing, got %r', self.name, data[:80])

    def lost_connection(self, why):
        if self.source:
            self.source.alive = False

    def publish(self, size=0):
        if self.ready() and len(self.connection.out) < 262144:
            n = self.source.sent(self.crowd.loop.next_tick())
            self.connection.text(payload(self.source, n, size))

    def busy(self):
        return self.connection is None or self.connection.out != b''


class Centrifuge(Member):
    """A JSON client that subscribes to one channel, recovers where it can, and publishes at times."""

    kind = 'centrifuge'

    def __init__(self, crowd, name, channel, recovers, publishes):
        self.recovers, self.publishes = recovers, publishes
        self.at, self.life, self.subscribed = None, None, False
        super().__init__(crowd, name, channel)

    def dial(self):
        self.id, self.asked, self.source, self.subscribed = 0, {}, None, False
        return Socket(self, '/connection/websocket')

    def say(self, then, **request):
        self.id += 1
        self.asked[self.id] = then
        self.connection.text(json.dumps({'id': self.id, **request}))

    def opened(self):
        self.say(self.connected, connect={})

    def connected(self, m):
        if 'connect' in m:
            if self.publishes:
                self.source = self.crowd.verdict.source(self.channel, '%s/%d' % (self.name, self.tries), prefix=True)
            self.subscribe()
        else:
            self.connection.reset()

    def subscribe(self):
        wish = {'channel': self.channel}
        if self.at:
            wish.update(recover=True, epoch=self.at[0], offset=self.at[1])
        self.say(self.subscribed_now, subscribe=wish)

    def subscribed_now(self, m):
        verdict, got = self.crowd.verdict, m.get('subscribe')
        if got is None:  # a temporary error: the hub is not there
            self.crowd.loop.call_in(PAUSE, lambda c=self.connection: c is self.connection and c is not None and self.subscribe())
            return
        self.subscribed = True
        asked, recovered = self.at, got.get('recovered', False)
        if asked and recovered and got['epoch'] != asked[0]:
            verdict.problem('%s recovered in epoch %s what it had of %s', self.name, got['epoch'], asked[0])
        if asked and not recovered and got.get('epoch') == asked[0]:
            verdict.problem('%s did not recover from %r, though the stream is there: %r', self.name, asked, got)
        if not (asked and recovered and self.life):
            self.end_life('not recovered')
            self.life = verdict.life(self.channel, '%s/%d' % (self.name, self.tries), self.crowd.loop.next_tick(), told=self.recovers)
            self.at = None
        self.crowd.recovered += bool(asked and recovered)
        if self.recovers:
            self.at = self.at or (got['epoch'], got.get('offset', 0))
            for p in got.get('publications', []):
                self.publication(p)
            if asked and recovered and self.at[1] < got.get('offset', 0):
                verdict.problem('%s was told %r when it had recovered up to %r', self.name, got.get('offset'), self.at)

    def end_life(self, why):
        if self.life:
            self.life.end(why)
        self.life = None

    def message(self, data):
        for line in data.split(b'\n'):
            m = json.loads(line)
            if m == {}:
                self.connection.text('{}')
            elif 'id' in m:
                self.asked.pop(m['id'])(m)
            elif 'pub' in m.get('push', {}):
                self.publication(m['push']['pub'])
            elif 'unsubscribe' in m.get('push', {}):
                self.unsubscribed(m['push']['unsubscribe'])
            elif 'disconnect' not in m.get('push', {}):
                self.crowd.verdict.problem('%s got %r', self.name, line[:80])
            if self.connection is None:
                break

    def unsubscribed(self, m):
        """It has missed something and knows it: who cannot recover begins a new life."""
        self.crowd.count_end('centrifuge', 'unsubscribe %d' % m['code'])
        self.subscribed = False
        if not self.recovers:
            self.end_life('unsubscribe %d' % m['code'])
        self.subscribe()

    def publication(self, p):
        number, n = (int(x) for x in p['data']['m'].split('.'))
        self.life.seen.append((number, n))
        if self.recovers:
            offset = p.get('offset', 0)
            if offset != self.at[1] + 1:
                self.crowd.verdict.problem('%s: %s got offset %d behind %r', self.channel, self.name, offset, self.at)
            self.at = (self.at[0], offset)
            self.crowd.verdict.position(self.channel, self.at[0], offset, (number, n))

    def lost_connection(self, why):
        if self.source:
            self.source.alive = False
        if not self.recovers:
            self.end_life(why)

    def publish(self, size=0):
        if self.source is None or self.connection is None or len(self.connection.out) > 262144:
            return
        source, n = self.source, self.source.sent(self.crowd.loop.next_tick())
        self.say(lambda m: self.published(source, n, m), publish={'channel': self.channel, 'data': json.loads(payload(source, n, size))})

    def published(self, source, n, m):
        if 'publish' in m:
            source.status[n] = Source.IN
        else:
            source.status[n] = Source.UNKNOWN
            self.crowd.count_end('publish', 'error %s' % m['error'].get('code'))

    def ready(self):
        return super().ready() and self.subscribed

    def busy(self):
        return self.connection is None or bool(self.asked)

    def forget(self):
        """What it knew of streams went with the daemon."""
        self.at = None
        self.end_life('the daemon ended')


class ApiConnection(Connection):
    def __init__(self, member):
        self.member, self.waiting = member, None
        self.upgraded = True
        super().__init__(member.crowd.loop, member.crowd.admin)

    def on_open(self):
        self.member.go_on()

    def ask(self, request):
        body = json.dumps(request).encode()
        self.send(b'POST /api/publish HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s' % (len(body), body))

    def on_bytes(self):
        response = self.take_response()
        if response:
            self.member.answered(*response)

    def on_end(self, why):
        self.member.gone(why)


class ApiPublisher(Member):
    """A server: one call at a time."""

    kind = 'http'

    def __init__(self, crowd, name, channel):
        self.waiting, self.queue = None, []
        self.source = crowd.verdict.source(channel, name)
        super().__init__(crowd, name, channel)

    def dial(self):
        return ApiConnection(self)

    def publish(self, size=0):
        if self.ready() and self.waiting is None:
            self.waiting = self.source.sent(self.crowd.loop.next_tick())
            self.connection.ask({'channel': self.channel, 'data': json.loads(payload(self.source, self.waiting, size))})
        elif len(self.queue) < 100:
            self.queue.append(size)

    def answered(self, status, body):
        if status == 200 and b'"result"' in body:
            self.source.status[self.waiting] = Source.IN
        elif status == 503:
            self.source.status[self.waiting] = Source.OUT
        elif status != 504:
            self.crowd.verdict.problem('%s was answered %d %r', self.name, status, body[:200])
        self.crowd.count_end('api', 'answer %d' % status)
        self.waiting = None
        self.go_on()

    def go_on(self):
        if self.queue and self.waiting is None:
            self.publish(self.queue.pop())

    def lost_connection(self, why):
        self.waiting = None

    def leave(self, how):
        if self.connection is not None:
            self.connection.reset()

    def ready(self):
        return self.connection is not None and self.connection.open

    def busy(self):
        return self.waiting is not None or bool(self.queue)


class Half(Connection):
    """Begins something and does not go on."""

    BEGINNINGS = {'nothing': b'', 'hello': b'\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03', 'head': b'GET /ws/room HTTP/1.1\r\nHos', 'body': b'POST /api/publish HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"ch',
                  'frame': b'GET /ws/room HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n'
                           b'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n\x81\xfe\xff\xffabcdpart'}

    def __init__(self, crowd, what):
        self.crowd, self.beginning = crowd, self.BEGINNINGS[what]
        super().__init__(crowd.loop, crowd.way(len(crowd.halves))[0])
        crowd.halves.append(self)

    def on_open(self):
        self.send(self.beginning)

    def on_bytes(self):
        self.buf = b''

    def on_end(self, why):
        self.crowd.halves.remove(self)


class Crowd:
    def __init__(self, loop, verdict):
        self.loop, self.verdict = loop, verdict
        self.members, self.halves, self.ends = [], [], {}
        self.ways, self.admin = [], None  # of ways: address, and a context if it is TLS
        self.leaving = False
        self.recovered = 0

    def fill(self, channels, per_channel):
        """channels: name -> whether it is a stream."""
        for channel, stream in channels.items():
            for i in range(per_channel):
                PlainSubscriber(self, 'plain%d@%s' % (i, channel), channel)
                Centrifuge(self, 'cf%d@%s' % (i, channel), channel, stream, i == 0)
            for i in range(2):
                PlainPublisher(self, 'publisher%d@%s' % (i, channel), channel)
            ApiPublisher(self, 'api@%s' % channel, channel)

    def way(self, number):
        return self.ways[number % len(self.ways)]

    def count_end(self, kind, why):
        self.ends[kind + ': ' + why] = self.ends.get(kind + ': ' + why, 0) + 1

    def of(self, *kinds):
        return [m for m in self.members if isinstance(m, kinds)]

    def publishers(self, channel=None, kinds=(PlainPublisher, Centrifuge, ApiPublisher)):
        return [m for m in self.of(*kinds) if channel in (None, m.channel) and (not isinstance(m, Centrifuge) or m.publishes)]

    def not_ready(self):
        return [m for m in self.members if not m.ready()]

    def busy(self):
        return [m for m in self.publishers() if m.busy()]
