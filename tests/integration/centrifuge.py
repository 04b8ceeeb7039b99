"""A Centrifuge client in JSON that says what it is told to, and tokens for it."""

import base64
import hashlib
import hmac
import json
import tempfile
import time

from daemon import SharedDaemonTest
from wsraw import BINARY, CLOSE, TEXT, Closed, WebSocket

PATH = '/connection/websocket'
SECRET = 'a-secret-of-the-tests-long-enough-for-HS256'

# What most tests want of channels: everything, for everybody.
OPEN = {'presence': True, 'history_size': 100, 'history_ttl': '300s', 'force_recovery': True,
        'allow_subscribe_for_client': True, 'allow_subscribe_for_anonymous': True,
        'allow_publish_for_client': True, 'allow_publish_for_anonymous': True,
        'allow_presence_for_client': True, 'allow_presence_for_anonymous': True,
        'allow_history_for_client': True, 'allow_history_for_anonymous': True}


def yaml(settings, indent=''):
    """Settings as a file has them: mappings and lists of mappings."""
    text = ''
    for key, value in settings.items():
        if isinstance(value, dict):
            text += '%s%s:\n%s' % (indent, key, yaml(value, indent + '  '))
        elif isinstance(value, list):
            text += '%s%s:\n' % (indent, key)
            for item in value:
                text += '%s  - %s' % (indent, yaml(item, indent + '    ').lstrip())
        else:
            text += '%s%s: %s\n' % (indent, key, json.dumps(value))
    return text


def b64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b'=').decode()


def token(secret=SECRET, **claims):
    head = b64url(json.dumps({'alg': 'HS256', 'typ': 'JWT'}).encode()) + '.' + b64url(json.dumps(claims).encode())
    return head + '.' + b64url(hmac.new(secret.encode(), head.encode(), hashlib.sha256).digest())


def in_seconds(n):
    return int(time.time()) + n


class Client(WebSocket):
    """Messages are dicts; pings are answered, unless silent_pings."""

    def __init__(self, address, query='', fields=(), **kw):
        super().__init__(address, PATH + query, fields, **kw)
        assert self.response.status == 101, self.response
        self.id = 0
        self.messages = []   # received, not taken yet
        self.frame_sizes = []  # messages in each frame
        self.pings = 0
        self.answers_pings = True
        self.me = None

    def say(self, *commands):
        """One frame; a command is a dict, or a text that is sent as it is."""
        self.text('\n'.join(c if isinstance(c, str) else json.dumps(c) for c in commands))

    def command(self, **request):
        """A command with the next id."""
        self.id += 1
        return {'id': self.id, **request}

    def next(self):
        """The next message, whatever it is."""
        while not self.messages:
            f = self.recv()
            if f.opcode == CLOSE:
                raise Closed('close %d %s' % (f.code, f.payload[2:].decode()))
            assert f.opcode == TEXT, f
            found = [json.loads(line) for line in f.payload.decode().split('\n')]
            self.frame_sizes.append(len(found))
            for m in found:
                if m == {}:
                    self.pings += 1
                    if self.answers_pings:
                        self.text('{}')
                else:
                    self.messages.append(m)
        return self.messages.pop(0)

    def ask(self, **request):
        """The answer to a command, without its id; pushes that come before it are kept behind."""
        c = self.command(**request)
        self.say(c)
        return self.answer(c['id'])

    def answer(self, id):
        kept = []
        while True:
            m = self.next()
            if m.get('id') == id:
                self.messages = kept + self.messages
                del m['id']
                return m
            kept.append(m)

    def connect(self, **request):
        answer = self.ask(connect=request)
        assert 'connect' in answer, answer
        self.me = answer['connect']['client']
        return answer['connect']

    def subscribe(self, channel, **request):
        answer = self.ask(subscribe={'channel': channel, **request})
        assert 'subscribe' in answer, answer
        return answer['subscribe']

    def publish(self, channel, data):
        answer = self.ask(publish={'channel': channel, 'data': data})
        assert answer == {'publish': {}}, answer

    def error(self, **request):
        answer = self.ask(**request)
        assert list(answer) == ['error'], answer
        return answer['error']['code']

    def push(self, kind='pub'):
        """The next message, which is a push of that kind: its channel and content."""
        m = self.next()
        assert list(m) == ['push'] and kind in m['push'], m
        return m['push'].get('channel'), m['push'][kind]

    def data(self):
        return self.push()[1]['data']

    def ends(self):
        """Code and reason of the close frame; what comes before it is passed over."""
        while True:
            f = self.recv()
            if f.opcode == CLOSE:
                return f.code, f.payload[2:].decode()

    def binary(self, payload):
        self.send_frame(BINARY, payload)


def staying(clients):
    """Those that have not been ended; the others are closed."""
    def stays(c):
        try:
            return c.error(rpc={}) == 108
        except Closed as e:
            assert str(e) == 'close 3504 connection limit', e
            c.close()
            return False
    return [c for c in clients if stays(c)]


def one_stays(clients, daemons):
    """Of a user's clients that all have said connect. What is asked of everybody is answered when all have what was said before."""
    for c in clients:
        assert 'connect' in c.next()
    left = clients
    while len(left) > 1:
        left = staying(left)
    for d in daemons:
        assert 'result' in d.api('disconnect', user='nobody')
    return staying(left)


class CentrifugeTest(SharedDaemonTest):
    workers = 3
    options = {}
    channels = OPEN
    namespaces = []

    @classmethod
    def setUpClass(cls):
        settings = {'allow_anonymous_connect_without_token': True, **cls.options,
                    'channel_without_namespace': cls.channels}
        if cls.namespaces:
            settings['namespaces'] = cls.namespaces
        with tempfile.NamedTemporaryFile('w', suffix='.yaml', prefix='roost-test-') as f:
            f.write(yaml(settings))
            f.flush()
            cls.settings = {'workers': cls.workers, 'config': f.name}
            super().setUpClass()

    def client(self, address=None, **kw):
        c = Client(address or self.d.client, **kw)
        self.addCleanup(c.close)
        return c

    def connected(self, **kw):
        c = self.client(**kw)
        c.connect()
        return c

    def channel(self):
        """A name that no other test uses."""
        return self.id().rsplit('.', 1)[1]
