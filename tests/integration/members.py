"""Nodes that share an engine, and what is asked of them about the members of channels."""

import json
import tempfile

from centrifuge import OPEN, SECRET, Client, token, yaml
from daemon import SAN, DaemonTest, wait_for

JOINS = {**OPEN, 'force_recovery': False, 'join_leave': True, 'force_push_join_leave': True}
TTL = 8 if SAN else 4


class MembersTest(DaemonTest):
    address = None  # of the engine

    def node(self, clean=False, up=1, **settings):
        settings = {'allow_anonymous_connect_without_token': True, 'token_hmac_secret_key': SECRET, 'engine': 'redis',
                    'engine_address': self.address, 'node_heartbeat': '1s', 'node_ttl': '%ds' % TTL,
                    'channel_without_namespace': JOINS, **settings}
        with tempfile.NamedTemporaryFile('w', suffix='.yaml', prefix='roost-test-') as f:
            f.write(yaml(settings))
            f.flush()
            d = self.start(config=f.name, clean=clean, workers=2)
        wait_for(lambda: d.metric('roost_engine_up') >= up, what='the engine to be there')
        return d

    def client(self, d, user=None, channel='x'):
        c = Client(d.client)
        self.addCleanup(c.close)
        c.connect(**({'token': token(sub=user)} if user else {}))
        if channel:
            c.subscribe(channel)
        c.worker = wait_for(lambda: [x['worker'] for x in [d.get_json('/debug/connections')]
                                     if any(y.get('client') == c.me for y in x['connections'])], what='its worker')[0]
        return c

    def both(self, d, n, **kw):
        """Clients of which at least n are on each worker."""
        clients = []
        while min(sum(c.worker == w for c in clients) for w in (0, 1)) < n:
            clients.append(self.client(d, **kw))
        return clients

    def answer(self, d, method, channel):
        """None: not now, as a process or the server is being replaced."""
        r = d.http('POST', '/api/' + method, json.dumps({'channel': channel}))
        body = json.loads(r.body)
        self.assertTrue(r.status == 200 or body['error']['code'] == 100, r)
        return body.get('result')

    def members(self, d, channel='x'):
        got = self.answer(d, 'presence', channel)
        return got and set(got['presence'])

    def counts(self, d, channel='x'):
        got = self.answer(d, 'presence_stats', channel)
        return (got['num_clients'], got['num_users']) if got else (None, None)

    def are(self, nodes, clients, what):
        """Every node says that these are there, and nobody else."""
        want = {c.me for c in clients}
        for d in nodes:
            wait_for(lambda: self.members(d) == want, 30, what)
            wait_for(lambda: self.counts(d)[0] == len(want), 30, what)

    def heard(self, c, kind, clients):
        """Nobody else, nobody twice."""
        want = sorted(x.me for x in clients)
        got = []
        while len(got) < len(want):
            got.append(c.push(kind)[1]['info']['client'])
        self.assertEqual(sorted(got), want)

    def quiet(self, clients):
        """Nobody was told anything more: a publication comes next."""
        clients[0].publish('x', 'the end')
        for c in clients:
            self.assertEqual(c.data(), 'the end')

    def settle(self, clients):
        """What these have been told until now is taken away. What one of them is the cause of is said before what it publishes; an
        answer to it may be earlier, or the listing of it."""
        said = ['here is ' + c.me for c in clients]
        for c, text in zip(clients, said):
            c.publish('x', text)
        for c in clients:
            missing = set(said)
            while missing:
                missing.discard(c.next()['push'].get('pub', {}).get('data'))
