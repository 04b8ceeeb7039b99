#!/usr/bin/python3
"""What Centrifuge clients find in channels: history, recovery, presence, who comes and goes, differences, tags."""

import json
import unittest

from centrifuge import OPEN, CentrifugeTest, yaml
from daemon import wait_for


def numbers(publications):
    return [p['data'] for p in publications]


class History(CentrifugeTest):
    namespaces = [{'name': 'small', **OPEN, 'history_size': 2},
                  {'name': 'none', **OPEN, 'history_size': 0, 'history_ttl': '0s', 'force_recovery': False},
                  {'name': 'on', **OPEN, 'force_recovery': False, 'allow_recovery': True, 'allow_positioning': True},
                  {'name': 'off', **OPEN, 'force_recovery': False, 'allow_history_for_client': False},
                  {'name': 'cache', **OPEN, 'force_recovery_mode': 'cache'},
                  {'name': 'auto', **OPEN, 'force_recovery_mode': 'cache', 'auto_cache_recover': True}]
    options = {'recovery_max_publication_limit': 20, 'history_max_publication_limit': 10}

    def filled(self, name, n, first=1):
        for i in range(first, first + n):
            self.d.publish(name, i)

    def test_history(self):
        c, name = self.connected(), self.channel()
        self.assertEqual(c.ask(history={'channel': name, 'limit': 5})['history']['publications'], [])
        self.filled(name, 15)
        got = c.ask(history={'channel': name, 'limit': 3})['history']
        self.assertEqual(got['offset'], 15)
        self.assertRegex(got['epoch'], '^[A-Za-z]{8}$')
        self.assertEqual(got['publications'], [{'data': n, 'offset': n} for n in (1, 2, 3)])
        top = c.ask(history={'channel': name})['history']
        self.assertEqual(top, {'publications': [], 'epoch': got['epoch'], 'offset': 15})
        since = {'offset': 10, 'epoch': got['epoch']}
        self.assertEqual(numbers(c.ask(history={'channel': name, 'limit': 3, 'since': since})['history']['publications']),
                         [11, 12, 13])
        self.assertEqual(numbers(c.ask(history={'channel': name, 'limit': 3, 'since': since, 'reverse': True})['history']
                                 ['publications']), [9, 8, 7])
        self.assertEqual(numbers(c.ask(history={'channel': name, 'limit': 3, 'reverse': True})['history']['publications']),
                         [15, 14, 13])
        self.assertEqual(len(c.ask(history={'channel': name, 'limit': -1})['history']['publications']), 10)
        self.assertEqual(c.error(history={'channel': name, 'limit': 1, 'since': {'offset': 1, 'epoch': 'wrong'}}), 112)
        self.assertEqual(c.error(history={'channel': name, 'limit': 1, 'since': {'offset': 1, 'epoch': 'abcdefgh'}}), 112)
        self.assertEqual(c.error(history={'channel': 'none:x'}), 108)

    def test_a_publication_of_a_client_says_who(self):
        c, name = self.connected(), self.channel()
        c.publish(name, [1])
        got = c.ask(history={'channel': name, 'limit': 1})['history']['publications']
        self.assertEqual(got, [{'data': [1], 'info': {'user': '', 'client': c.me}, 'offset': 1}])

    def test_positions(self):
        c, name = self.connected(), self.channel()
        got = c.subscribe(name)
        self.assertEqual({k: got.get(k) for k in ('recoverable', 'positioned', 'offset', 'recovered', 'was_recovering')},
                         {'recoverable': True, 'positioned': True, 'offset': None, 'recovered': None, 'was_recovering': None})
        self.filled(name, 3)
        first = c.push()[1]
        self.assertEqual(first, {'data': 1, 'offset': 1, 'epoch': got['epoch']})
        self.assertEqual([c.push()[1] for _ in range(2)], [{'data': 2, 'offset': 2}, {'data': 3, 'offset': 3}])
        self.assertEqual(self.connected().subscribe(name)['offset'], 3)

    def test_what_is_granted(self):
        c = self.connected()
        for channel, wish, positioned, recoverable in (
                ('on:a', {}, None, None), ('on:b', {'positioned': True}, True, None), ('on:c', {'recoverable': True}, True, True),
                ('off:a', {'positioned': True, 'recoverable': True}, None, None),
                ('none:a', {'positioned': True, 'recoverable': True}, None, None)):
            got = c.subscribe(channel, **wish)
            self.assertEqual((got.get('positioned'), got.get('recoverable')), (positioned, recoverable), channel)

    def test_recovery(self):
        c, name = self.connected(), self.channel()
        epoch = c.subscribe(name)['epoch']
        self.filled(name, 5)
        for since, want in ((2, [3, 4, 5]), (5, []), (0, [1, 2, 3, 4, 5])):
            a = self.connected()
            got = a.subscribe(name, recover=True, epoch=epoch, offset=since)
            self.assertEqual((got.get('recovered'), got.get('was_recovering')), (True, True))
            self.assertEqual(numbers(got.get('publications', [])), want)
            self.assertEqual(got.get('offset', 0), since)
            self.assertEqual(got['epoch'], epoch)
            a.close()

    def test_recovery_of_everything(self):
        name = self.channel()
        self.filled(name, 3)
        got = self.connected().subscribe(name, recover=True)
        self.assertEqual((got.get('recovered'), numbers(got['publications'])), (True, [1, 2, 3]))
        self.assertTrue(self.connected().subscribe(name + '2', recover=True)['recovered'])

    def test_not_recovered(self):
        c, name = self.connected(), 'small:' + self.channel()
        epoch = c.subscribe(name)['epoch']
        self.filled(name, 5)
        for wish in ({'epoch': epoch, 'offset': 1}, {'epoch': 'abcdefgh', 'offset': 5}, {'epoch': 'x', 'offset': 4},
                     {'epoch': epoch, 'offset': 6}):
            with self.subTest(str(wish)):
                a = self.connected()
                got = a.subscribe(name, recover=True, **wish)
                self.assertNotIn('recovered', got)
                self.assertNotIn('publications', got)
                self.assertEqual((got['was_recovering'], got['offset'], got['epoch']), (True, 5, epoch))
                self.assertEqual(self.connected().error(subscribe={'channel': name, 'recover': True, 'flag': 2, **wish}), 112)
                a.close()
        a = self.connected()
        self.assertEqual(a.error(subscribe={'channel': name, 'recover': True, 'flag': 2, 'epoch': 'x'}), 112)
        self.assertIn('subscribe', a.ask(subscribe={'channel': name}))  # it was left again

    def test_too_many_missed(self):
        c, name = self.connected(), self.channel()
        epoch = c.subscribe(name)['epoch']
        self.filled(name, 30)
        self.assertNotIn('recovered', self.connected().subscribe(name, recover=True, epoch=epoch, offset=5))
        self.assertTrue(self.connected().subscribe(name, recover=True, epoch=epoch, offset=10)['recovered'])

    def test_recovery_while_it_is_published(self):
        """Nothing missing, nothing twice, in order, between what is recovered and what comes."""
        name = self.channel()
        epoch = self.connected().subscribe(name)['epoch']
        at = 0
        for round in range(10):
            self.filled(name, 8, first=at + 1)
            clients = [self.connected() for _ in range(4)]
            for c in clients:
                c.say({'id': 50, 'subscribe': {'channel': name, 'recover': True, 'epoch': epoch, 'offset': at}})
            self.filled(name, 8, first=at + 9)
            for c in clients:
                got = c.answer(50)['subscribe']
                seen = numbers(got.get('publications', []))
                while not seen or seen[-1] < at + 16:
                    seen.append(c.data())
                self.assertEqual(seen, list(range(at + 1, at + 17)))
                c.close()
            at += 16

    def test_cache(self):
        c, name = self.connected(), 'cache:' + self.channel()
        got = c.subscribe(name, recover=True)
        self.assertNotIn('recovered', got)
        self.filled(name, 3)
        for wish in ({}, {'epoch': got['epoch'], 'offset': 1}, {'epoch': 'wrong', 'offset': 77}):
            answer = self.connected().subscribe(name, recover=True, **wish)
            self.assertEqual((answer.get('recovered'), numbers(answer.get('publications', []))), (True, [3]), wish)
            self.assertEqual((answer['epoch'], answer.get('offset', 0)), (got['epoch'], wish.get('offset', 0)))
        answer = self.connected().subscribe(name, recover=True, epoch=got['epoch'], offset=3)
        self.assertEqual((answer.get('recovered'), answer.get('publications')), (True, None))
        self.assertNotIn('publications', self.connected().subscribe(name))

    def test_cache_without_asking(self):
        name = 'auto:' + self.channel()
        self.filled(name, 3)
        got = self.connected().subscribe(name)
        self.assertEqual(numbers(got['publications']), [3])
        self.assertEqual((got['recovered'], got['was_recovering'], got.get('offset')), (True, True, None))

    def test_the_hub_is_killed(self):
        d = self.start(config=self.file(yaml({'allow_anonymous_connect_without_token': True,
                                              'channel_without_namespace': OPEN,
                                              'namespaces': [{'name': 'loose', **OPEN, 'force_recovery': False}]})), clean=False)
        c = self.client(address=d.client)
        c.connect()
        epoch = c.subscribe('x')['epoch']
        c.subscribe('loose:x')
        d.publish('x', 1)
        c.data()
        d.kill('hub')
        channel, got = c.push('unsubscribe')
        self.assertEqual((channel, got), ('x', {'code': 2500, 'reason': 'insufficient state'}))
        got = c.subscribe('x', recover=True, epoch=epoch, offset=1)
        self.assertNotIn('recovered', got)
        self.assertNotEqual(got['epoch'], epoch)
        d.publish('loose:x', 2)
        self.assertEqual(c.data(), 2)

    def test_a_worker_is_killed(self):
        d = self.start(config=self.file(yaml({'allow_anonymous_connect_without_token': True,
                                              'channel_without_namespace': OPEN})), clean=False, workers=1)
        c = self.client(address=d.client)
        c.connect()
        epoch = c.subscribe('x')['epoch']
        d.publish('x', 1)
        c.data()
        old = d.kill('worker0')
        wait_for(lambda: d.pid_of('worker0') not in (0, old), what='a new worker')
        d.publish('x', 2)
        a = self.client(address=d.client)
        a.connect()
        got = a.subscribe('x', recover=True, epoch=epoch, offset=1)
        self.assertEqual((got['recovered'], numbers(got['publications'])), (True, [2]))


class Presence(CentrifugeTest):
    namespaces = [{'name': 'tell', **OPEN, 'join_leave': True}, {'name': 'push', **OPEN, 'join_leave': True,
                                                                 'force_push_join_leave': True}]

    def test_who_is_there(self):
        name = self.channel()
        clients = [self.connected() for _ in range(5)]
        for c in clients:
            c.subscribe(name)
        other = self.connected()  # who has not subscribed may ask, too
        want = {c.me: {'user': '', 'client': c.me} for c in clients}
        wait_for(lambda: other.ask(presence={'channel': name})['presence']['presence'] == want, what='all to be there')
        self.assertEqual(other.ask(presence_stats={'channel': name}), {'presence_stats': {'num_clients': 5, 'num_users': 1}})
        clients[0].ask(unsubscribe={'channel': name})
        self.assertEqual(clients[0].ask(presence_stats={'channel': name})['presence_stats']['num_clients'], 4)
        clients[1].close()
        wait_for(lambda: other.ask(presence_stats={'channel': name})['presence_stats']['num_clients'] == 3, what='it to go')
        self.assertEqual(other.ask(presence={'channel': name + '2'}), {'presence': {'presence': {}}})
        self.assertEqual(other.ask(presence_stats={'channel': name + '2'}),
                         {'presence_stats': {'num_clients': 0, 'num_users': 0}})

    def test_one_is_there_then_none(self):
        name = self.channel()
        c = self.connected()
        c.say({'id': 11, 'subscribe': {'channel': name}}, {'id': 12, 'presence': {'channel': name}},
              {'id': 13, 'presence_stats': {'channel': name}}, {'id': 14, 'unsubscribe': {'channel': name}},
              {'id': 15, 'presence': {'channel': name}})
        got = [c.next() for _ in range(5)]
        self.assertEqual(list(got[1]['presence']['presence']), [c.me])
        self.assertEqual(got[2]['presence_stats'], {'num_clients': 1, 'num_users': 1})
        self.assertEqual(got[4]['presence']['presence'], {})

    def test_join_and_leave(self):
        name = 'push:' + self.channel()
        a, b = self.connected(), self.connected()
        a.subscribe(name)
        self.assertEqual(a.push('join'), (name, {'info': {'user': '', 'client': a.me}}))  # its own, behind the answer
        b.subscribe(name)
        self.assertEqual(a.push('join'), (name, {'info': {'user': '', 'client': b.me}}))
        self.assertEqual(b.push('join'), (name, {'info': {'user': '', 'client': b.me}}))
        b.ask(unsubscribe={'channel': name})
        self.assertEqual(a.push('leave'), (name, {'info': {'user': '', 'client': b.me}}))
        b.subscribe(name)
        self.assertEqual(a.push('join')[1]['info']['client'], b.me)
        b.close()
        self.assertEqual(a.push('leave')[1]['info']['client'], b.me)

    def test_join_and_leave_are_for_those_who_ask(self):
        name = 'tell:' + self.channel()
        a, b, c = (self.connected() for _ in range(3))
        a.subscribe(name)
        # Its join has been told to who was there, nobody: b is not.
        wait_for(lambda: b.ask(presence_stats={'channel': name})['presence_stats']['num_clients'] == 1, what='a to be there')
        b.subscribe(name, join_leave=True)
        self.assertEqual(b.push('join')[1]['info']['client'], b.me)
        c.subscribe(name)
        self.assertEqual(b.push('join')[1]['info']['client'], c.me)
        c.publish(name, 1)
        self.assertEqual(a.data(), 1)
        self.assertEqual(b.data(), 1)

    def test_a_worker_is_killed(self):
        d = self.start(config=self.file(yaml({'allow_anonymous_connect_without_token': True,
                                              'channel_without_namespace': OPEN})), clean=False, workers=2)
        clients = {}
        while len(clients) < 2:  # one on each worker
            c = self.client(address=d.client)
            c.connect()
            found = wait_for(lambda: [(w, x) for w, x in ((y['worker'], z) for y in [d.get_json('/debug/connections')]
                                                          for z in y['connections']) if x.get('client') == c.me], what='it')
            clients[found[0][0]] = c
        for c in clients.values():
            c.subscribe('x')
        wait_for(lambda: clients[1].ask(presence_stats={'channel': 'x'})['presence_stats']['num_clients'] == 2, what='both')
        d.kill('worker0')
        wait_for(lambda: clients[1].ask(presence_stats={'channel': 'x'})['presence_stats']['num_clients'] == 1,
                 what='those of the worker to go')
        d.kill('hub')
        wait_for(lambda: clients[1].ask(presence_stats={'channel': 'x'}).get('presence_stats', {}).get('num_clients') == 1,
                 what='a new hub to learn who is there')


def apply_delta(base, delta):
    """A difference in Fossil's format, as clients apply it."""
    digits = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz~'
    at, out = 0, b''

    def number():
        nonlocal at
        n = 0
        while chr(delta[at]) in digits:
            n = n * 64 + digits.index(chr(delta[at]))
            at += 1
        return n

    size = number()
    assert delta[at:at + 1] == b'\n'
    at += 1
    while True:
        n = number()
        command = delta[at:at + 1]
        at += 1
        if command == b'@':
            start = number()
            assert delta[at:at + 1] == b','
            at += 1
            out += base[start:start + n]
        elif command == b':':
            out += delta[at:at + n]
            at += n
        else:
            assert command == b';' and len(out) == size, (command, out)
            return out


class Delta(CentrifugeTest):
    channels = {**OPEN, 'allowed_delta_types': 'fossil', 'delta_publish': True}
    namespaces = [{'name': 'no', **OPEN}]
    text = 'a long text that stays mostly as it is, ' * 5

    class Reader:
        def __init__(self):
            self.base = None
            self.deltas = 0

        def read(self, pub):
            data = pub['data'].encode()
            assert isinstance(pub['data'], str)
            if pub.get('delta'):
                data = apply_delta(self.base, data)
                self.deltas += 1
            self.base = data
            return json.loads(data)

    def test_differences(self):
        name = self.channel()
        a, plain = self.connected(), self.connected()
        self.assertTrue(a.subscribe(name, delta='fossil')['delta'])
        plain.subscribe(name)
        reader = self.Reader()
        for i in range(5):
            self.d.publish(name, {'text': self.text, 'n': i})
            got = a.push()[1]
            self.assertEqual('delta' in got, i > 0)
            self.assertEqual(reader.read(got), {'text': self.text, 'n': i})
            self.assertEqual(plain.data(), {'text': self.text, 'n': i})
        self.assertEqual(reader.deltas, 4)
        b = self.connected()
        b.subscribe(name, delta='fossil')
        self.d.publish(name, {'text': self.text, 'n': 5})
        first = b.push()[1]
        self.assertNotIn('delta', first)
        self.assertEqual(json.loads(first['data'])['n'], 5)
        self.assertTrue(a.push()[1]['delta'])

    def test_what_gets_no_shorter_is_sent_whole(self):
        name = self.channel()
        a = self.connected()
        a.subscribe(name, delta='fossil')
        self.d.publish(name, {'x': 1})
        self.d.publish(name, 7)
        self.assertEqual(json.loads(a.data()), {'x': 1})
        self.assertEqual(a.push()[1], {'data': '7', 'offset': 2})

    def test_any_json_value_is_a_base(self):
        """Texts and numbers, too, each in a walk of its own."""
        name = self.channel()
        a = self.connected()
        a.subscribe(name, delta='fossil')
        reader = self.Reader()
        for i in range(4):
            self.d.publish(name, self.text + str(i))
            got = a.push()[1]
            self.assertEqual('delta' in got, i > 0)
            self.assertEqual(reader.read(got), self.text + str(i))

    def test_recovery_is_a_chain_of_differences(self):
        name = self.channel()
        c = self.connected()
        epoch = c.subscribe(name)['epoch']
        for i in range(5):
            self.d.publish(name, {'text': self.text, 'n': i})
        a = self.connected()
        got = a.subscribe(name, delta='fossil', recover=True, epoch=epoch, offset=1)
        reader = self.Reader()
        self.assertEqual([reader.read(p)['n'] for p in got['publications']], [1, 2, 3, 4])
        self.assertEqual([p.get('delta', False) for p in got['publications']], [False, True, True, True])
        self.d.publish(name, {'text': self.text, 'n': 5})
        live = a.push()[1]
        self.assertTrue(live['delta'])
        self.assertEqual(reader.read(live)['n'], 5)

    def test_where_it_is_not_allowed_it_is_ignored(self):
        a = self.connected()
        self.assertNotIn('delta', a.subscribe('no:' + self.channel(), delta='fossil'))
        self.d.publish('no:' + self.channel(), {'x': 1})
        self.assertEqual(a.data(), {'x': 1})


class Tags(CentrifugeTest):
    channels = {**OPEN, 'allow_tags_filter': True}
    namespaces = [{'name': 'cache', **channels, 'force_recovery_mode': 'cache'}]

    def test_filter(self):
        name = self.channel()
        a, b = self.connected(), self.connected()
        a.subscribe(name, tf={'key': 'lang', 'cmp': 'eq', 'val': 'en'})
        b.subscribe(name)
        for i, lang in enumerate(('en', 'de', 'en', None, 'en')):
            r = self.d.api('publish', channel=name, data=i, **({'tags': {'lang': lang}} if lang else {}))
            self.assertIn('result', r)
        self.assertEqual([a.data() for _ in range(3)], [0, 2, 4])
        got = [b.push()[1] for _ in range(5)]
        self.assertEqual([p.get('tags') for p in got], [{'lang': 'en'}, {'lang': 'de'}, {'lang': 'en'}, None, {'lang': 'en'}])

    def test_recovery_is_filtered(self):
        name, wish = self.channel(), {'tf': {'key': 'lang', 'cmp': 'eq', 'val': 'en'}, 'recover': True}
        for i, lang in enumerate(('en', 'de', 'de', 'en', 'de')):
            for channel in (name, 'cache:' + name):
                self.d.api('publish', channel=channel, data=i, tags={'lang': lang})
        a = self.connected()
        got = a.subscribe(name, **wish)
        self.assertEqual((got['recovered'], numbers(got['publications'])), (True, [0, 3]))
        self.d.api('publish', channel=name, data=5, tags={'lang': 'en'})
        self.assertEqual(a.push()[1]['offset'], 6)  # nothing is missing to it
        got = self.connected().subscribe('cache:' + name, **wish)
        self.assertEqual((got['recovered'], got.get('publications')), (True, None))
        got = self.client().connect(subs={name: {**wish, 'offset': 1}})['subs'][name]
        self.assertEqual((got['recovered'], numbers(got['publications'])), (True, [3, 5]))

    def test_bad_filters(self):
        c = self.connected()
        for tf in ({'op': 'xor'}, {'key': 'a', 'cmp': 'about'}, {'op': 'and'}, {'nodes': 3}):
            with self.subTest(str(tf)):
                self.assertEqual(c.error(subscribe={'channel': 'x', 'tf': tf}), 107)


class ExcludeSelf(CentrifugeTest):
    channels = {**OPEN, 'exclude_self': True}
    namespaces = [{'name': 'delta', **OPEN, 'allowed_delta_types': 'fossil', 'delta_publish': True}]

    def test_the_publisher_does_not_get_its_own(self):
        name = self.channel()
        a, b = self.connected(), self.connected()
        a.subscribe(name)
        b.subscribe(name)
        for i in range(10):
            (a if i % 2 else b).publish(name, i)
        self.d.publish(name, 10)
        self.assertEqual([a.data() for _ in range(6)], [0, 2, 4, 6, 8, 10])
        self.assertEqual([b.data() for _ in range(6)], [1, 3, 5, 7, 9, 10])

    def test_the_server_leaves_one_out(self):
        name = self.channel()
        a, b = self.connected(), self.connected()
        for c in (a, b):
            c.subscribe(name)
        for i in range(6):
            self.assertIn('result', self.d.api('publish', channel=name, data=i, exclude_client=(a if i % 2 else b).me))
        self.d.publish(name, 6)
        self.assertEqual([a.data() for _ in range(4)], [0, 2, 4, 6])
        self.assertEqual([b.data() for _ in range(4)], [1, 3, 5, 6])

    def test_nor_when_it_recovers(self):
        name = self.channel()
        a, b = self.connected(), self.connected()
        epoch = a.subscribe(name)['epoch']
        for i in range(4):
            (a if i % 2 else b).publish(name, i)
        a.ask(unsubscribe={'channel': name})
        a.messages.clear()
        self.assertEqual(numbers(a.subscribe(name, recover=True, epoch=epoch)['publications']), [0, 2])

    def test_who_is_left_out_does_not_recover_it(self):
        name = 'delta:' + self.channel()
        a = self.connected()
        epoch = a.subscribe(name, delta='fossil')['epoch']
        for i in range(4):
            self.d.api('publish', channel=name, data={'text': 'x' * 100, 'i': i}, exclude_client=a.me if i in (1, 3) else '')
        a.ask(unsubscribe={'channel': name})
        got = a.subscribe(name, delta='fossil', recover=True, epoch=epoch)
        self.assertEqual([(p['offset'], p.get('delta')) for p in got['publications']], [(1, None), (3, None)])
        for whole in (None, True):  # what it does not know is no base, neither of what is recovered nor of what follows
            self.d.publish(name, {'text': 'x' * 100, 'i': 9})
            while a.messages and a.messages[0]['push']['pub'].get('offset', 9) < 5:
                a.messages.pop(0)
            self.assertEqual(a.push()[1].get('delta'), whole)


if __name__ == '__main__':
    unittest.main(verbosity=0)
