#!/usr/bin/python3
"""Who a Centrifuge client is: tokens of connections and subscriptions, what the server subscribes them to, expiry, limits."""

import os
import signal
import time
import unittest

from centrifuge import OPEN, SECRET, CentrifugeTest, Client, in_seconds, one_stays, token, yaml
from daemon import DaemonTest, at_some_pace, run_roostctl, wait_for

CLOSED = {'presence': True, 'history_size': 100, 'history_ttl': '300s', 'force_recovery': True,
          'allow_publish_for_subscriber': True, 'allow_presence_for_subscriber': True, 'allow_history_for_subscriber': True}


class Tokens(CentrifugeTest):
    options = {'allow_anonymous_connect_without_token': False, 'token_hmac_secret_key': SECRET,
               'subscribe_to_user_personal_channel': True, 'channel_limit': 5, 'expired_close_delay': '200ms',
               'expired_sub_close_delay': '200ms', 'presence_update_interval': '300ms'}
    channels = CLOSED
    namespaces = [{'name': 'open', **OPEN}, {'name': 'users', **CLOSED, 'allow_user_limited_channels': True},
                  {'name': 'told', **CLOSED}, {'name': 'letters', **OPEN, 'channel_regex': '^[a-z]+$'}]

    def user(self, name, **claims):
        c = self.client()
        return c, c.connect(token=token(sub=name, **claims))

    def test_who_it_is(self):
        a, got = self.user('42', info={'name': 'Ann'})
        self.assertEqual(got['subs'].keys(), {'#42'})
        a.subscribe('open:x')
        a.publish('open:x', 1)
        self.assertEqual(a.push()[1]['info'], {'user': '42', 'client': a.me, 'conn_info': {'name': 'Ann'}})
        got = a.ask(presence={'channel': 'open:x'})['presence']['presence']
        self.assertEqual(got, {a.me: {'user': '42', 'client': a.me, 'conn_info': {'name': 'Ann'}}})

    def test_bad_tokens(self):
        for bad in ('x', 'a.b.c', token(secret='another', sub='42'), token(sub='42') + 'x', token(sub='42', channel='x'),
                    token(sub=7)):
            with self.subTest(bad[:30]):
                c = self.client()
                c.say({'id': 1, 'connect': {'token': bad}})
                self.assertEqual(c.ends(), (3500, 'invalid token'))

    def test_no_token(self):
        c = self.client()
        c.say({'id': 1, 'connect': {}})
        self.assertEqual(c.ends(), (3501, 'bad request'))

    def test_an_expired_token_and_nothing_more(self):
        c = self.client()
        self.assertEqual(c.error(connect={'token': token(sub='42', exp=in_seconds(-100))}), 109)
        c.say({'id': 7, 'rpc': {}}, {'id': 8, 'connect': {'token': token(sub='42')}})
        self.assertTrue(c.silent(0.2))

    def lasts(self, got, exp, since):
        """It says how long what was asked for at that time lasts, to a second."""
        self.assertTrue(got['expires'])
        self.assertTrue(exp - time.time() - 1 <= got['ttl'] <= exp - since + 1, got)

    def test_expiry_and_refresh(self):
        since, exp = time.time(), in_seconds(30)
        c, got = self.user('42', exp=exp)
        self.lasts(got, exp, since)
        since, exp = time.time(), in_seconds(60)
        got = c.ask(refresh={'token': token(sub='42', exp=exp)})['refresh']
        self.assertEqual(got.keys(), {'expires', 'ttl'})
        self.lasts(got, exp, since)
        self.assertEqual(c.ask(refresh={'token': token(sub='42')}), {'refresh': {}})
        # Its answer is not asked for: who is slow here is late with it.
        c.say(c.command(refresh={'token': token(sub='42', exp=in_seconds(1))}))
        self.assertEqual(c.ends(), (3005, 'connection expired'))

    def test_bad_refreshes(self):
        for claims, want in (({'sub': '43'}, (3500, 'invalid token')), ({'sub': '42', 'exp': in_seconds(-100)},
                                                                       (3005, 'connection expired')),
                             ({'sub': '42', 'channels': ['told:y']}, (3010, 'insufficient state'))):
            c, _ = self.user('42', channels=['told:x'])
            c.say({'id': 9, 'refresh': {'token': token(**claims)}})
            self.assertEqual(c.ends(), want)
        c, _ = self.user('42', channels=['told:x'])
        self.assertEqual(c.ask(refresh={'token': token(sub='42', channels=['told:x'])}), {'refresh': {}})

    def test_a_refresh_is_seen_by_others(self):
        a, _ = self.user('42', info={'mood': 1})
        others = self.client()
        others.connect(token=token(sub='43'))
        a.subscribe('told:a', token=token(sub='42', channel='told:a', info={'role': 1}))
        others.subscribe('told:a', token=token(sub='43', channel='told:a'))

        def seen():
            got = others.ask(presence={'channel': 'told:a'})['presence']['presence'][a.me]
            return got.get('conn_info', {}).get('mood'), got.get('chan_info', {}).get('role')

        a.ask(refresh={'token': token(sub='42', info={'mood': 2})})
        wait_for(lambda: seen() == (2, 1), what='the new info of the connection')
        a.ask(sub_refresh={'channel': 'told:a', 'token': token(sub='42', channel='told:a', info={'role': 2})})
        wait_for(lambda: seen() == (2, 2), what='the new info of the subscription')
        a.publish('told:a', 1)
        self.assertEqual(others.push()[1]['info'], {'user': '42', 'client': a.me, 'conn_info': {'mood': 2}, 'chan_info': {'role': 2}})
        self.d.api('refresh', user='42', client=a.me, info={'mood': 3})
        wait_for(lambda: seen() == (3, 2), what='what the server says')
        a.ask(sub_refresh={'channel': 'told:a', 'token': token(sub='42', channel='told:a')})
        wait_for(lambda: seen() == (3, None), what='none')
        self.assertEqual(others.ask(presence_stats={'channel': 'told:a'})['presence_stats'], {'num_clients': 2, 'num_users': 2})
        a.close()
        wait_for(lambda: others.ask(presence={'channel': 'told:a'})['presence']['presence'].keys() == {others.me}, what='it has left')

    def test_a_subscription_is_not_refreshed_by_an_expired_token(self):
        c, _ = self.user('42')
        c.subscribe('$x', token=token(sub='42', channel='$x', exp=in_seconds(60)))
        c.say({'id': 9, 'sub_refresh': {'channel': '$x', 'token': token(sub='42', channel='$x', exp=in_seconds(-100))}})
        self.assertEqual(c.ends(), (3006, 'subscription expired'))

    def test_a_token_of_the_other_kind(self):
        c, _ = self.user('42')
        self.assertEqual(c.error(subscribe={'channel': '$news', 'token': token(sub='42')}), 103)

    def test_a_token_for_a_namespace_that_is_not_there(self):
        for claims in ({'channels': ['told:x', 'nowhere:x']}, {'subs': {'told:x': {}, 'nowhere:x': {}}}):
            c = self.client()
            self.assertEqual(c.error(connect={'token': token(sub='42', **claims)}), 102)
            c.say({'id': 7, 'rpc': {}})
            self.assertTrue(c.silent(0.2))

    def test_subscription_tokens(self):
        c, _ = self.user('42')
        self.assertEqual(c.error(subscribe={'channel': '$news'}), 103)
        self.assertEqual(c.error(subscribe={'channel': 'news'}), 103)
        self.assertEqual(c.error(subscribe={'channel': '$news', 'token': 'x'}), 103)
        self.assertEqual(c.error(subscribe={'channel': '$news', 'token': token(sub='42', channel='$news', exp=in_seconds(-100))}),
                         109)
        got = c.subscribe('$news', token=token(sub='42', channel='$news', info={'role': 'dj'}, data={'hello': 1}))
        self.assertEqual(got['data'], {'hello': 1})
        c.publish('$news', 1)
        self.assertEqual(c.push()[1]['info'], {'user': '42', 'client': c.me, 'chan_info': {'role': 'dj'}})
        since, exp = time.time(), in_seconds(60)
        self.lasts(c.subscribe('$soon', token=token(sub='42', channel='$soon', exp=exp)), exp, since)

    def test_a_token_for_somebody_else(self):
        for claims in ({'sub': '43', 'channel': '$news'}, {'sub': '42', 'channel': '$other'}):
            c, _ = self.user('42')
            c.say({'id': 5, 'subscribe': {'channel': '$news', 'token': token(**claims)}})
            self.assertEqual(c.ends(), (3500, 'invalid token'))

    def test_user_limited_channels(self):
        c, _ = self.user('42')
        c.subscribe('users:room#41,42')
        self.assertEqual(c.error(subscribe={'channel': 'users:room#41,43'}), 103)
        c.subscribe('users:room#41', token=token(sub='42', channel='users:room#41'))
        c.subscribe('open:room#41')  # nothing special there

    def test_a_subscription_expires(self):
        c, _ = self.user('42')

        def soon(pace):
            return c.subscribe('$soon', token=token(sub='42', channel='$soon', exp=in_seconds(pace)))

        at_some_pace(soon)  # a token that has expired on its way is refused
        channel, got = c.push('unsubscribe')
        self.assertEqual((channel, got), ('$soon', {'code': 2501, 'reason': 'subscription expired'}))
        soon(60)
        since, exp = time.time(), in_seconds(70)
        got = c.ask(sub_refresh={'channel': '$soon', 'token': token(sub='42', channel='$soon', exp=exp)})
        self.lasts(got['sub_refresh'], exp, since)
        self.assertEqual(c.ask(sub_refresh={'channel': '$soon', 'token': token(sub='42', channel='$soon')}), {'sub_refresh': {}})
        self.assertEqual(c.error(sub_refresh={'channel': 'x', 'token': 'x'}), 103)

    def test_server_side_subscriptions(self):
        a, got = self.user('42', channels=['told:x'])
        self.assertEqual(got['subs'].keys(), {'told:x', '#42'})
        self.assertTrue(got['subs']['told:x']['recoverable'])
        epoch = got['subs']['told:x']['epoch']
        self.d.publish('told:x', 1)
        self.assertEqual(a.push()[0], 'told:x')
        self.assertEqual(a.ask(unsubscribe={'channel': 'told:x'}), {'unsubscribe': {}})
        a.close()
        self.d.publish('told:x', 2)
        b = self.client()
        got = b.connect(token=token(sub='42', subs={'told:x': {'data': {'d': 1}}}),
                        subs={'told:x': {'recover': True, 'epoch': epoch, 'offset': 1}})['subs']['told:x']
        self.assertEqual((got['recovered'], [p['data'] for p in got['publications']], got['data']), (True, [2], {'d': 1}))

    def test_the_personal_channel(self):
        c, got = self.user('47')
        self.assertEqual(got['subs']['#47'].get('recoverable'), True)
        self.d.publish('#47', 'you')
        self.assertEqual(c.push(), ('#47', {'data': 'you', 'offset': 1, 'epoch': got['subs']['#47']['epoch']}))

    def test_whose_id_is_no_name_has_no_personal_channel(self):
        for name in ('Ann B', 'a*b', 'a"b', 'a\\b'):
            c, got = self.user(name)
            self.assertNotIn('subs', got)
            c.subscribe('open:x')

    def test_names_that_the_application_gives_are_not_held_to_what_clients_may_ask_for(self):
        # As the server API's publications are not: without channel_regex names are ASCII, with one they match.
        names = ['open:к', 'letters:1']
        a, got = self.user('51', channels=names)
        self.assertEqual(got['subs'].keys(), {'#51', *names})
        b, _ = self.user('52')
        for name in names:
            self.assertEqual(b.error(subscribe={'channel': name}), 107)
            self.assertEqual(self.d.api('subscribe', user='52', channel=name), {'result': {}})
            self.assertEqual(b.push('subscribe')[0], name)
            self.d.publish(name, 1)
            self.assertEqual([c.push()[0] for c in (a, b)], [name] * 2)
            p = run_roostctl(self.d, 'channel', name)
            self.assertEqual(p.returncode, 0, p.stderr)

    def test_an_id_or_an_info_that_is_too_long(self):
        self.user('u' * 1024)[0].subscribe('open:x')
        ends = self.d.metrics()['roost_closes_total{reason="cf_info_too_long"}']
        c = self.client()
        c.say({'id': 1, 'connect': {'token': token(sub='u' * 1025)}})
        self.assertEqual(c.ends(), (3500, 'invalid token'))
        # What the server API says is refused there, and the client stays.
        c, _ = self.user('53')
        c.subscribe('open:x')
        for method, request in (('refresh', {}), ('subscribe', {'channel': 'open:y'})):
            for length, code in ((70000, 107), (60000, None)):
                got = self.d.api(method, user='53', info='x' * length, **request)
                self.assertEqual(got.get('error', {}).get('code'), code, got)
        # Each of the two fits, and both together do not.
        self.assertEqual(c.ends(), (3500, 'invalid token'))
        wait_for(lambda: self.d.metrics()['roost_closes_total{reason="cf_info_too_long"}'] == ends + 2)

    def test_what_a_client_wishes_and_may_not_have_is_left_out(self):
        c = self.client()
        got = c.connect(token=token(sub='42'), subs={'open:x': {}, 'told:secret': {}, 'nowhere:x': {}, '$private': {}})
        self.assertEqual(got['subs'].keys(), {'#42', 'open:x'})

    def test_too_many_of_them(self):
        c = self.client()
        c.say({'id': 1, 'connect': {'token': token(sub='42', channels=['told:%d' % i for i in range(6)])}})
        self.assertEqual(c.ends(), (3505, 'channel limit'))

    def test_all_channels_count(self):
        c, _ = self.user('42', channels=['told:a'])  # and its own: two of five
        for i in range(3):
            c.subscribe('open:%d' % i)
        self.assertEqual(c.error(subscribe={'channel': 'open:3'}), 106)
        c.ask(unsubscribe={'channel': 'told:a'})
        c.subscribe('open:3')
        self.d.api('subscribe', user='42', client=c.me, channel='told:b')
        self.assertEqual(c.ends(), (3505, 'channel limit'))

    def test_overrides(self):
        c, _ = self.user('42')
        got = c.subscribe('$x', token=token(sub='42', channel='$x', override={'force_recovery': {'value': False}}))
        self.assertNotIn('recoverable', got)

    def test_commands_behind_a_token_wait(self):
        c = self.client()
        c.say({'id': 1, 'connect': {'token': token(sub='42')}}, {'id': 2, 'subscribe': {'channel': 'open:a'}},
              {'id': 3, 'subscribe': {'channel': '$b', 'token': token(sub='42', channel='$b')}}, {'id': 4, 'rpc': {}})
        c.say({'id': 5, 'publish': {'channel': 'open:a', 'data': 1}}, {'id': 6, 'rpc': {}})
        got = [c.next() for _ in range(7)]
        self.assertEqual([m.get('id', 'push') for m in got], [1, 2, 3, 4, 'push', 5, 6])


class Insecure(CentrifugeTest):
    options = {'insecure': True, 'token_hmac_secret_key': SECRET, 'allow_anonymous_connect_without_token': False}
    channels = {'history_size': 10, 'history_ttl': '60s'}

    def test_everything_is_permitted(self):
        c = self.connected()
        got = c.subscribe('x', recoverable=True, positioned=True)
        self.assertTrue(got['recoverable'])
        c.publish('x', 1)
        self.assertEqual(c.ask(history={'channel': 'x', 'limit': 1})['history']['offset'], 1)

    def test_a_token_is_checked_all_the_same(self):
        c = self.client()
        c.say({'id': 1, 'connect': {'token': 'bad'}})
        self.assertEqual(c.ends(), (3500, 'invalid token'))
        c = self.client()
        self.assertNotIn('expires', c.connect(token=token(sub='42', exp=in_seconds(60))))


class Limits(DaemonTest):
    def daemon(self, **settings):
        return self.start(config=self.file(yaml({'token_hmac_secret_key': SECRET, 'channel_without_namespace': OPEN, **settings})),
                          workers=2)

    def client(self, d, user='42', **claims):
        c = Client(d.client)
        self.addCleanup(c.close)
        c.say({'id': 1, 'connect': {'token': token(sub=user, **claims)}})
        return c

    def test_connections_of_a_user(self):
        d = self.daemon(user_connection_limit=3)
        held = [self.client(d) for _ in range(3)]
        for c in held:
            self.assertIn('connect', c.next())
        for _ in range(4):
            self.assertEqual(self.client(d).ends(), (3504, 'connection limit'))
        self.assertIn('connect', self.client(d, user='43').next())
        held[0].close()

        def again():
            c = self.client(d)
            f = c.recv()
            return f.opcode == 1
        wait_for(again, what='room for one more')

    def test_one_connection_for_a_personal_channel(self):
        d = self.daemon(subscribe_to_user_personal_channel=True, personal_channel_single_connection=True)
        first = self.client(d)
        first.next()
        for _ in range(3):
            second = self.client(d)
            second.next()
            self.assertEqual(first.ends(), (3504, 'connection limit'))
            first = second
        self.assertEqual(second.error(rpc={}), 108)

    def test_one_of_those_that_connect_at_the_same_time(self):
        """The orders that end the others come when all are there: none of them is for the one that was last."""
        d = self.daemon(subscribe_to_user_personal_channel=True, personal_channel_single_connection=True)
        for _ in range(5):
            hub = d.kill('hub', signal.SIGSTOP)
            clients = [self.client(d) for _ in range(8)]
            os.kill(hub, signal.SIGCONT)
            self.assertEqual(len(one_stays(clients, [d])), 1)

    def test_anonymous_tokens(self):
        d = self.daemon(disallow_anonymous_connection_tokens=True)
        self.assertEqual(self.client(d, user='').ends(), (3507, 'permission denied'))

    def test_a_header_of_the_proxy(self):
        d = self.daemon(user_id_http_header='X-User')
        c = Client(d.client, fields=[('X-User', '42')])
        self.addCleanup(c.close)
        c.connect()
        c.subscribe('x')
        c.publish('x', 1)
        self.assertEqual(c.push()[1]['info']['user'], '42')
        c = Client(d.client)
        self.addCleanup(c.close)
        c.say({'id': 1, 'connect': {}})
        self.assertEqual(c.ends()[0], 3501)

    def test_too_many_commands(self):
        d = self.daemon(command_rate_limit=20)
        c = self.client(d)
        c.next()
        c.say(*({'id': 10 + i, 'rpc': {}} for i in range(30)))
        got = [c.next()['error']['code'] for _ in range(30)]
        self.assertEqual(set(got), {108, 111})
        self.assertEqual(got, sorted(got))
        c.say(*({'id': 10 + i, 'rpc': {}} for i in range(300)))
        self.assertEqual(c.ends(), (3013, 'too many requests'))

    def test_too_many_publications(self):
        d = self.daemon(namespaces=[{'name': 'paced', **OPEN, 'rate_limit_publish': 10}])
        c = self.client(d)
        c.next()
        c.say(*({'id': 10 + i, 'publish': {'channel': 'paced:x', 'data': i}} for i in range(15)))
        got = [c.next() for _ in range(15)]
        self.assertEqual([m['id'] for m in got], list(range(10, 25)))
        self.assertEqual({m['error']['code'] for m in got if 'error' in m}, {111})
        c.publish('x', 1)  # elsewhere it is free


if __name__ == '__main__':
    unittest.main(verbosity=0)
