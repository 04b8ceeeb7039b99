#!/usr/bin/python3
"""What one worker asks the others: connections of all, one in full, its end; closes, channels; roostctl about them."""

import json
import os
import re
import signal
import unittest

from centrifuge import OPEN, SECRET, Client, token
from daemon import DaemonTest, SharedDaemonTest, run_roostctl, stand_still, wait_for
from wsraw import CLOSE, TEXT, Raw

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), '../..')


def listed(d, query):
    """All that match, as a set of ids, and the last page."""
    seen, after = [], ''
    while True:
        page = d.get_json('/debug/connections?' + query + after)
        seen += [c['id'] for c in page['connections']]
        if 'after' not in page:
            return seen, page
        after = '&after=' + page['after']


class Connections(SharedDaemonTest):
    settings = {'workers': 3}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.clients = cls.d.spread(lambda i: '/ws/room%d' % (i % 2), per_worker=3)

    def test_all_workers(self):
        ids, page = listed(self.d, 'protocol=plain&limit=2')
        self.assertEqual(len(ids), len(self.clients))
        self.assertEqual(len(set(ids)), len(ids))
        self.assertEqual({int(i.split(':')[0]) for i in ids}, {0, 1, 2})
        self.assertEqual(page['missing'], [])
        self.assertGreater(page['total'], len(ids))  # the admin's own are among these

    def test_one_worker(self):
        for w in range(3):
            ids, page = listed(self.d, 'protocol=plain&worker=%d' % w)
            self.assertEqual((page['worker'], {int(i.split(':')[0]) for i in ids}), (w, {w}))
        self.assertEqual(sum(len(listed(self.d, 'protocol=plain&worker=%d' % w)[0]) for w in range(3)), len(self.clients))

    def test_page_of_another_worker(self):
        """A page that goes on is its worker's, whoever is asked."""
        for w in range(3):
            first = self.d.get_json('/debug/connections?protocol=plain&limit=1&worker=%d' % w)['connections'][0]['id']
            page = self.d.get_json('/debug/connections?after=' + first)
            self.assertEqual(page['worker'], w)
            self.assertNotIn(first, [c['id'] for c in page['connections']])

    def test_filters(self):
        every = {c['id']: c for c in self.d.get_json('/debug/connections?worker=all&limit=1000')['connections']}
        plain = {i for i, c in every.items() if c['protocol'] == 'plain'}
        port = next(c for c in every.values() if c['protocol'] == 'plain')['address'].rsplit(':', 1)[1]
        by = next(c for c in every.values() if c['protocol'] == 'plain')['by']
        for query, want in (
                ('channel=room0', {i for i in plain if every[i]['channels'] == ['room0']}),
                ('channel=nowhere', set()),
                ('state=open', plain),
                ('listener=' + by, plain),
                ('protocol=plain&address=127.0.0.0/8', plain),
                ('protocol=plain&address=127.0.0.1', plain),
                ('protocol=plain&address=10.0.0.0/8', set()),
                ('address=127.0.0.1:' + port, {i for i in plain if every[i]['address'].startswith('127.0.0.1:' + port)}),
                ('protocol=plain&address=127.0', plain),
                ('min_queue=1', set()),
                ('user=nobody', set())):
            self.assertEqual(set(listed(self.d, query)[0]), want, query)

    def test_sorted(self):
        for n, c in enumerate(self.clients):
            for _ in range(n):
                c.text('x')
        sent = len(self.clients)
        want, pages = [sent - 1 - i for i in range(5)], []
        wait_for(lambda: pages.append(self.d.get_json('/debug/connections?protocol=plain&sort=in&limit=5')) or
                 [c['frames_in'] for c in pages[-1]['connections']] == want, what='the frames to have come')
        page = pages[-1]
        self.assertEqual((page['matched'], page['more'], 'after' in page), (sent, sent > 5, False))
        self.assertFalse(self.d.get_json('/debug/connections?protocol=plain&sort=in&limit=1000')['more'])
        ages = [c['age'] for c in self.d.get_json('/debug/connections?sort=age&limit=1000')['connections']]
        self.assertEqual(ages, sorted(ages, reverse=True))

    def test_bad_queries(self):
        for query in ('sort=size', 'state=happy', 'protocol=smtp', 'worker=3', 'worker=x', 'limit=x', 'min_queue=-1', 'after=9:1',
                      'after=x', 'after=1', 'sort=age&after=0:1', 'address=1.2.3.4/99', 'user=a&user=b', 'channel=%zz', 'channel=a%00b'):
            self.assertEqual(self.d.http('GET', '/debug/connections?' + query).status, 400, query)

    def test_every_protocol_can_be_asked_for(self):
        """By the page, by roostctl, and on the admin page."""
        with open(os.path.join(TOP, 'include/tbl/protocols.def')) as f:
            names = re.findall(r'^(?:WS_SESSION|SPOKEN)\(.*"(\w+)"\)$', f.read(), re.M)
        self.assertLessEqual({'plain', 'centrifuge', 'http', 'proxy'}, set(names))
        with open(os.path.join(TOP, 'src/proc/admin_page/connections.js')) as f:
            offered, = re.findall(r'name: "protocol".*kind: \[(.*)\] \}', f.read())
        self.assertEqual(sorted(re.findall(r'\["(\w+)",', offered)), sorted(names))
        for name in names:
            self.assertEqual(self.d.http('GET', '/debug/connections?protocol=' + name).status, 200, name)
            self.assertEqual(run_roostctl(self.d, 'conns', '--protocol', name).returncode, 0, name)

    def test_a_worker_that_does_not_exist_is_named(self):
        told = b'there is no worker 3; this node\'s are 0 to 2\n'
        for method, target in (('GET', '/debug/connections?worker=3'), ('GET', '/debug/connections?sort=age&worker=3'),
                               ('GET', '/debug/connections?after=3:1'), ('GET', '/debug/connection?id=3:1'),
                               ('POST', '/debug/disconnect?id=3:1'), ('GET', '/debug/trace?conn=3:1')):
            r = self.d.http(method, target)
            self.assertEqual((r.status, r.body), (400, told), target)
        for target in ('connections?worker=x', 'connections?worker=-1', 'connections?worker=2&limit=x', 'connection?id=2:', 'trace?conn=2:0'):
            r = self.d.http('GET', '/debug/' + target)
            self.assertEqual((r.status, r.body), (400, b'missing, malformed or repeated query parameter\n'), target)
        for words in (('conns', '--worker', '3'), ('conn', '3:1'), ('disconnect', '--conn', '3:1'), ('trace', '--conn', '3:1')):
            p = run_roostctl(self.d, *words)
            self.assertEqual(p.returncode, 1, words)
            self.assertIn("there is no worker 3; this node's are 0 to 2", p.stderr, words)

    def test_one_in_full(self):
        for w in range(3):
            c = self.d.get_json('/debug/connections?protocol=plain&worker=%d&limit=1' % w)['connections'][0]
            for _ in range(6):  # whichever worker the kernel picks
                page = self.d.get_json('/debug/connection?id=' + c['id'])
                self.assertEqual((page['worker'], page['connection']['id']), (w, c['id']))
            self.assertEqual([s['channel'] for s in page['connection']['subscriptions']], c['channels'])
            self.assertEqual((page['connection']['why_slow'], page['connection']['queued_frames']), ([], 0))
            bare = c['id'].split(':')[1]  # as the log has it: whoever has it, if that is one
            for _ in range(6):
                page = self.d.get_json('/debug/connection?id=' + bare)
                self.assertEqual((page['worker'], page['connection']['id']), (w, c['id']))
        for query, status in (('id=0:1', 404), ('id=3:1', 400), ('id=x:1', 400), ('id=1:', 400), ('id=:1', 400), ('id=1', 404), ('', 400)):
            self.assertEqual(self.d.http('GET', '/debug/connection?' + query).status, status, query)

    def test_disconnect(self):
        d = self.d
        for query, code, reason in (('', 1008, b'ended by an operator'), ('&code=4000&reason=go%20away', 4000, b'go away')):
            with d.ws('/ws/ended') as c:
                there = wait_for(lambda: d.get_json('/debug/connections?channel=ended')['connections'], what='it to be listed')[0]['id']
                r = d.http('POST', '/debug/disconnect?id=' + there + query)
                self.assertEqual((r.status, json.loads(r.body)['disconnected']), (200, there))
                f = c.recv()
                self.assertEqual((f.opcode, f.code, f.payload[2:]), (CLOSE, code, reason))
            wait_for(lambda: d.http('POST', '/debug/disconnect?id=' + there).status == 404, what='it to be gone')
        with d.ws('/ws/stays') as c:  # an id without its worker could be anybody's
            there = wait_for(lambda: d.get_json('/debug/connections?channel=stays')['connections'], what='it to be listed')[0]['id']
            for _ in range(6):
                self.assertEqual(d.http('POST', '/debug/disconnect?id=' + there.split(':')[1]).status, 400)
            c.text('here')
            c.expect(TEXT, 'here')
        for query in ('', 'id=0:1&code=99', 'id=0:1&code=1005', 'id=0:1&code=x', 'id=0:1&reason=' + 'x' * 124, 'id=0:1&reason=%ff'):
            self.assertEqual(d.http('POST', '/debug/disconnect?' + query).status, 400, query)
        self.assertEqual(d.http('GET', '/debug/disconnect?id=0:1').status, 405)

    def test_disconnect_without_a_session(self):
        with Raw(self.d.client) as c:
            c.send('GET / HTTP/1.1\r\n')
            there = wait_for(lambda: self.d.get_json('/debug/connections?protocol=http&address=127.0.0.1:%d' % c.sock.getsockname()[1])
                             ['connections'], what='it to be listed')[0]['id']
            self.assertEqual(self.d.http('POST', '/debug/disconnect?id=' + there).status, 200)
            c.expect_eof()


class Channels(DaemonTest):
    def test_by_subscribers(self):
        d = self.start(workers=2)
        clients = [d.ws('/ws/' + name) for name, n in (('few', 2), ('most', 9), ('some', 5)) for _ in range(n)]
        want = [{'channel': 'most', 'subscribers': 9}, {'channel': 'some', 'subscribers': 5}, {'channel': 'few', 'subscribers': 2}]
        wait_for(lambda: d.get_json('/debug/channels') == {'channels': want, 'total': 3}, what='all to be counted')
        self.assertEqual(d.get_json('/debug/channels?limit=1&sort=subscribers'), {'channels': want[:1], 'total': 3})
        self.assertEqual(d.get_json('/debug/channels?pattern=*e*'), {'channels': [want[1], want[2]], 'total': 2})
        self.assertEqual([c['channel'] for c in d.get_json('/debug/channels?sort=name')['channels']], ['few', 'most', 'some'])
        self.assertEqual([c['channel'] for c in d.get_json('/debug/channels?sort=name&after=few&limit=1')['channels']], ['most'])
        for query in ('sort=size', 'limit=x', 'after=a', 'pattern=' + 'x' * 256):
            self.assertEqual(d.http('GET', '/debug/channels?' + query).status, 400, query)
        for c in clients:
            c.close()

    def test_hub_stopped(self):
        d = self.start(workers=1, hub_timeout='300ms')
        hub = d.pid_of('hub')
        stand_still(hub)
        try:
            self.assertEqual(d.http('GET', '/debug/channels').status, 503)
        finally:
            os.kill(hub, signal.SIGCONT)
        wait_for(lambda: d.http('GET', '/debug/channels').status == 200, what='the hub to answer')


class Closes(DaemonTest):
    def closes(self, d, query=''):
        return d.get_json('/debug/closes' + query)['closes']

    def test_how_they_ended(self):
        d = self.start(workers=2)
        with d.ws('/ws/x') as c:
            c.text('x')
            c.expect(TEXT, 'x')
            port = c.sock.getsockname()[1]
            c.goodbye()
        one = wait_for(lambda: self.closes(d), what='the close')[0]
        self.assertEqual((one['reason'], one['code'], one['protocol'], one['address'], one['frames_in']),
                         ('peer_closed', 1000, 'plain', '127.0.0.1:%d' % port, 2))
        self.assertEqual(int(one['id'].split(':')[0]), one['worker'])
        self.assertLess(one['ago'], 1000)
        with d.ws('/ws/x') as c:
            there = wait_for(lambda: d.get_json('/debug/connections?protocol=plain')['connections'], what='it to be listed')[0]['id']
            d.http('POST', '/debug/disconnect?id=%s&code=4444' % there)
            c.expect_close(4444)
        page = wait_for(lambda: self.closes(d, '?reason=operator'), what='the other close')
        self.assertEqual([(x['id'], x['code']) for x in page], [(there, 4444)])
        self.assertEqual(self.closes(d, '?limit=1')[0]['id'], there)
        d.http('GET', '/healthz', where='client')  # no exchange that is done
        self.assertEqual([x['reason'] for x in self.closes(d)], ['operator', 'peer_closed'])
        for query in ('reason=nothing', 'limit=x', 'reason=a&reason=b'):
            self.assertEqual(d.http('GET', '/debug/closes?' + query).status, 400, query)

    def test_they_outlive_their_worker(self):
        d = self.start(workers=1)
        d.ws('/ws/x').close()
        first = wait_for(lambda: self.closes(d), what='the close')
        d.kill('worker0')
        wait_for(lambda: [x['id'] for x in self.closes(d)] == [x['id'] for x in first], what='the new worker to tell')
        d.ws('/ws/x').close()
        closes = wait_for(lambda: len(self.closes(d)) == 2 and self.closes(d), what='its own close')
        self.assertEqual(len({x['id'] for x in closes}), 2)  # it does not count from the beginning

    def test_strangers_leave_them_alone(self):
        """What never opened takes nobody's place."""
        d = self.start(workers=1)
        d.ws('/ws/x').close()
        first = wait_for(lambda: self.closes(d), what='the close')
        refused = d.metric('roost_closes_total{reason="peer_gone"}')
        for _ in range(20):
            with Raw(d.client) as c:
                c.send('GET /nowhere HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n')
                self.assertEqual(c.read_response().status, 404)
                c.expect_eof()
        with Raw(d.client) as c:
            c.send('GET / HT')
        wait_for(lambda: d.metric('roost_closes_total{reason="peer_gone"}') > refused, what='its end')
        self.assertEqual([x['id'] for x in self.closes(d)], [x['id'] for x in first])


class Users(DaemonTest):
    def test_user_and_subscriptions(self):
        d = self.start(workers=2, token_hmac_secret_key=SECRET, channel_without_namespace=json.dumps(OPEN))
        clients = [Client(d.client) for _ in range(8)]
        for n, c in enumerate(clients):
            c.connect(token=token(sub='user%d' % (n % 2)))
            c.subscribe('room')
        page = d.get_json('/debug/connections?user=user1')
        self.assertEqual([c['user'] for c in page['connections']], ['user1'] * 4)
        one = d.get_json('/debug/connection?id=' + page['connections'][0]['id'])['connection']
        self.assertEqual([(s['channel'], s['live'], 'positioned' in s['is']) for s in one['subscriptions']], [('room', True, True)])
        r = d.http('POST', '/debug/disconnect?id=' + page['connections'][0]['id'])
        self.assertEqual(r.status, 200)
        ended = next(c for c in clients if c.me == one['client'])
        ended.expect_close(3503)
        for c in clients:
            c.close()


class Roostctl(DaemonTest):
    def ctl(self, d, *args, status=0):
        p = run_roostctl(d, *args)
        self.assertEqual(p.returncode, status, (args, p.stdout, p.stderr))
        return p.stdout if status == 0 else p.stderr

    def test_connections(self):
        d = self.start(workers=2)
        clients = d.spread('/ws/room')
        lines = self.ctl(d, 'conns', '--protocol', 'plain', '--sort', 'age').splitlines()
        self.assertEqual(len(lines), 1 + len(clients))
        self.assertRegex(lines[0], r'^ *id +protocol +state +address +user +age +idle +in +out +queued')
        there = json.loads(self.ctl(d, 'conns', '--channel', 'room', '--limit', '1', '-o', 'json'))['connections'][0]['id']
        self.assertEqual(len(self.ctl(d, 'conns', '--protocol', 'plain', '--worker', '1').splitlines()), 1 + len(
            d.get_json('/debug/connections?protocol=plain&worker=1')['connections']))
        self.assertIn('there are more', run_roostctl(d, 'conns', '--limit', '1').stderr)
        self.assertIn('there are more', run_roostctl(d, 'conns', '--limit', '1', '--sort', 'age').stderr)
        self.assertEqual(run_roostctl(d, 'conns', '--sort', 'age').stderr, '')
        self.assertIn('--sort: expected queued, age, idle, in or out, got "size"', self.ctl(d, 'conns', '--sort', 'size', status=2))
        one = self.ctl(d, 'conn', there)
        self.assertRegex(one, r'(?m)^id +%s$' % there)
        self.assertRegex(one, r'(?m)^room +true')
        self.assertEqual(json.loads(self.ctl(d, '-o', 'json', 'conn', there))['connection']['id'], there)
        self.assertIn('no connection 0:1', self.ctl(d, 'conn', '0:1', status=1))
        self.assertEqual(self.ctl(d, 'disconnect', '--conn', there, '--reason', 'for a test', '--code', '4001'), '')
        wait_for(lambda: 'no connection' in run_roostctl(d, 'conn', there).stderr, what='it to have gone')
        closes = self.ctl(d, 'closes').splitlines()
        self.assertRegex(closes[1], r'%s +\S+ +plain +operator +4001' % there)
        self.assertEqual(json.loads(self.ctl(d, 'closes', '--reason', 'operator', '-o', 'json'))['closes'][0]['id'], there)
        self.ctl(d, 'disconnect', status=2)
        self.ctl(d, 'disconnect', '--conn', there, '--user', 'x', status=2)
        self.ctl(d, 'disconnect', '--user', 'x', '--code', 'many', status=2)
        self.assertIn('W:ID', self.ctl(d, 'disconnect', '--conn', 'x', status=2))
        self.assertIn('no connection', self.ctl(d, 'disconnect', '--conn', there, status=1))

    def test_clients_of_a_user(self):
        d = self.start(workers=2, token_hmac_secret_key=SECRET)
        clients = [Client(d.client) for _ in range(3)]
        for c, user in zip(clients, ('a', 'a', 'b')):
            c.connect(token=token(sub=user))
        self.assertIn('a', self.ctl(d, 'conns', '--user', 'a'))
        self.ctl(d, 'disconnect', '--user', 'a', '--client', clients[0].me)
        clients[0].expect_close(3503)
        self.ctl(d, 'disconnect', '--user', 'a', '--reason', 'enough', '--code', '4500')
        clients[1].expect_close(4500)
        self.assertEqual(json.loads(self.ctl(d, 'disconnect', '--user', 'b', '-o', 'json')), {})
        clients[2].expect_close(3503)


class Missing(DaemonTest):
    def on_one_worker(self, d, n):
        """At least n connections of the admin listener, at one worker: these, its number, its pid, the other's."""
        by_worker = {}
        while True:
            c = Raw(d.admin)
            self.addCleanup(c.close)
            w = json.loads(c.request('GET', '/debug/connections').body)['worker']
            by_worker.setdefault(w, []).append(c)
            if len(by_worker[w]) == n:
                return by_worker[w], w, d.pid_of('worker%d' % (1 - w))

    def test_stopped_worker(self):
        d = self.start(workers=2)
        d.spread('/ws/x')
        there = {w: d.get_json('/debug/connections?protocol=plain&worker=%d' % w)['connections'][0]['id'] for w in range(2)}
        (c,), w, other = self.on_one_worker(d, 1)
        stand_still(other)
        try:
            page = json.loads(c.request('GET', '/debug/connections?protocol=plain&sort=age').body)
            self.assertEqual((page['missing'], page['why_missing']), ([1 - w], ['silent']))
            self.assertEqual({int(x['id'].split(':')[0]) for x in page['connections']}, {w})
            self.assertEqual(c.request('GET', '/debug/connection?id=' + there[1 - w]).status, 503)
        finally:
            os.kill(other, signal.SIGCONT)
        wait_for(lambda: d.get_json('/debug/connections?worker=all')['missing'] == [], what='all to answer')

    def test_killed_worker(self):
        d = self.start(workers=2)
        d.spread('/ws/x')
        d.kill('worker1')
        wait_for(lambda: d.get_json('/debug/connections?worker=all')['missing'] == [], what='the new one to answer')

    def test_hub_away(self):
        """The own worker needs no hub to answer."""
        d = self.start(workers=2)
        d.spread('/ws/x')
        hub = d.pid_of('hub')
        (c,), w, _ = self.on_one_worker(d, 1)
        stand_still(hub)
        try:
            page = json.loads(c.request('GET', '/debug/connections?protocol=plain').body)
            self.assertEqual((page['missing'], {int(x['id'].split(':')[0]) for x in page['connections']}), ([1 - w], {w}))
        finally:
            os.kill(hub, signal.SIGCONT)

    def test_who_waits_for_the_hub(self):
        d = self.start(workers=1, channel_without_namespace=json.dumps(OPEN), allow_anonymous_connect_without_token=True)
        c = Client(d.client)
        c.connect()
        hub = d.pid_of('hub')
        stand_still(hub)
        try:
            c.say(c.command(subscribe={'channel': 'new'}))
            wait_for(lambda: [x for x in d.get_json('/debug/connections?protocol=centrifuge')['connections']
                              if 'subscription' in x.get('waits_for', '')], what='it to wait')
        finally:
            os.kill(hub, signal.SIGCONT)
        c.close()

    def test_large_answers(self):
        """More than fits a ring, from each worker."""
        d = self.start(workers=2, ring_size='64KiB', max_message_size='4KiB', max_frame_size='4KiB', max_channels_per_connection=200)
        name = 'c' * 100
        path = '/ws?' + '&'.join('channel=%s%d' % (name, i) for i in range(100))
        clients = d.spread(path, per_worker=40)
        ids, page = listed(d, 'protocol=plain&limit=1000')
        self.assertEqual((len(set(ids)), len(ids), page['missing']), (len(clients), len(clients), []))

    def test_many_names(self):
        """Of a connection's names as many are listed as have room, and it is said how many there are."""
        d = self.start(workers=1, max_message_size='64KiB', max_frame_size='64KiB', max_header_size='64KiB', max_channels_per_connection=100)
        path = '/ws?' + '&'.join('channel=' + 'c' * 250 + '%d' % i for i in range(90))
        with d.ws(path):
            one = wait_for(lambda: [c for c in d.get_json('/debug/connections')['connections'] if c['protocol'] == 'plain'], what='it')[0]
            self.assertEqual(one['channels_count'], 90)
            self.assertLess(sum(map(len, one['channels'])), 8192 + 260)
            page = d.get_json('/debug/connection?id=' + one['id'])['connection']
            self.assertEqual(len(page['subscriptions']), 90)


if __name__ == '__main__':
    unittest.main(verbosity=0)
