#!/usr/bin/python3
"""The server API over several workers: every method, batches, error modes, keys, its own description."""

import base64
import json
import os
import re
import signal
import unittest

from centrifuge import OPEN, SECRET, CentrifugeTest, in_seconds, token, yaml
from daemon import SLOW, DaemonTest, stand_still, wait_for
from wsraw import Raw

NO_ERROR_MODE = ('X-Centrifugo-Error-Mode', 'transport')


def validate(value, schema, root, where=''):
    """Of JSON Schema what the description uses. Returns what is wrong, or None."""
    if '$ref' in schema:
        return validate(value, root['components']['schemas'][schema['$ref'].rsplit('/', 1)[1]], root, where)
    kind = schema.get('type')
    good = {'object': dict, 'array': list, 'string': str, 'integer': int, 'number': (int, float), None: object}[kind]
    if not isinstance(value, good) or (kind in ('integer', 'number') and isinstance(value, bool)):
        return '%s is no %s: %r' % (where, kind, value)
    if kind == 'array':
        return next((e for i, v in enumerate(value) if (e := validate(v, schema['items'], root, '%s[%d]' % (where, i)))), None)
    if kind == 'object':
        for name in schema.get('required', ()):
            if name not in value:
                return '%s has no %s' % (where, name)
        for name, v in value.items():
            inner = schema.get('properties', {}).get(name, schema.get('additionalProperties', True))
            if inner is False:
                return '%s.%s is not described' % (where, name)
            if inner is not True and (e := validate(v, inner, root, where + '.' + name)):
                return e
    return None


class Methods(CentrifugeTest):
    # An answer of 30 MB is written by a program whose every access is checked, maybe.
    options = {'token_hmac_secret_key': SECRET, 'hub_timeout': '%ds' % (15 * SLOW)}
    namespaces = [{'name': 'bare', 'allow_subscribe_for_client': True, 'allow_subscribe_for_anonymous': True},
                  {'name': 'json', **OPEN, 'publication_data_format': 'json'},
                  {'name': 'object', **OPEN, 'publication_data_format': 'json_object'}]

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.description = json.loads(cls.d.http('GET', '/api/openapi.json').body)

    def post(self, path, body, fields=()):
        r = self.d.http('POST', path, body if isinstance(body, (str, bytes)) else json.dumps(body), list(fields))
        return r.status, r.body

    def call(self, _method, **request):
        """Its result, or the code of its error; held against the description."""
        status, body = self.post('/api/' + _method, request)
        self.assertEqual(status, 200, body)
        answer = json.loads(body)
        operation = self.description['paths']['/api/' + _method]['post']
        takes = operation['requestBody']['content']['application/json']['schema']
        self.assertIsNone(validate(answer, operation['responses']['200']['content']['application/json']['schema'], self.description))
        self.assertLessEqual(set(request), set(takes['properties']))
        return answer['error']['code'] if 'error' in answer else answer.get('result', answer)

    def of_user(self, user, n, **claims):
        """Clients of a user, on all workers most likely."""
        clients = []
        for _ in range(n):
            clients.append(self.client())
            clients[-1].connect(token=token(sub=user, **claims))
        return clients

    def test_publish_history_remove(self):
        name = self.channel()
        first = self.call('publish', channel=name, data={'n': 1}, tags={'a': 'b'})
        self.assertEqual(first['offset'], 1)
        self.assertRegex(first['epoch'], '^[A-Za-z]{8}$')
        self.assertEqual(self.call('publish', channel=name, data=None), {'offset': 2, 'epoch': first['epoch']})
        self.call('publish', channel=name, b64data=base64.b64encode(b'\xff\x00').decode())
        self.call('publish', channel=name, b64data=base64.b64encode(b'[1]').decode())
        all_of_it = [{'data': {'n': 1}, 'offset': 1, 'tags': {'a': 'b'}}, {'data': None, 'offset': 2}, {'data': '/wA=', 'offset': 3},
                     {'data': [1], 'offset': 4}]
        at = {'offset': 4, 'epoch': first['epoch']}
        self.assertEqual(self.call('history', channel=name, limit=-1), {'publications': all_of_it, **at})
        self.assertEqual(self.call('history', channel=name), {'publications': [], **at})
        self.assertEqual(self.call('history', channel=name, limit=2, reverse=True)['publications'], all_of_it[:1:-1])
        since = {'offset': 2, 'epoch': first['epoch']}
        self.assertEqual(self.call('history', channel=name, limit=1, since=since)['publications'], all_of_it[2:3])
        self.assertEqual(self.call('history', channel=name, limit=5, since=since, reverse=True)['publications'], all_of_it[:1])
        for epoch in ('abcdefgh', 'x', 'ä'):
            self.assertEqual(self.call('history', channel=name, limit=1, since={'offset': 2, 'epoch': epoch}), 112)
        self.assertEqual(self.call('history', channel=name, since={'offset': 0}, reverse=True), 107)
        self.assertEqual(self.call('history_remove', channel=name), {})
        self.assertEqual(self.call('history', channel=name, limit=-1), {'publications': [], **at})
        self.assertEqual(self.call('publish', channel=name, data=5), {'offset': 5, 'epoch': first['epoch']})

    def test_data_is_kept_byte_for_byte(self):
        name, data = self.channel(), '{"a":1.0,"a":2,"n":12345678901234567890,"s":"\\/\\u00e4",\n "l": [ 1e2 ]}'
        self.post('/api/publish', '{"channel":"%s","data":%s}' % (name, data))
        self.assertIn(data.encode(), self.post('/api/history', {'channel': name, 'limit': 1})[1])
        lines = self.post('/api', json.dumps({'method': 'history', 'params': {'channel': name, 'limit': 1}}))[1]
        self.assertEqual(len(lines.split(b'\n')), 1)
        self.assertEqual(json.loads(lines)['result']['publications'][0]['data'], json.loads(data))

    def test_once(self):
        name, c = self.channel(), self.connected()
        c.subscribe(name)
        c.subscribe('bare:' + name)
        first = self.call('publish', channel=name, data='k', idempotency_key='one')
        self.assertEqual(self.call('publish', channel=name, data='k', idempotency_key='one'), first)
        top = self.call('publish', channel=name, data='v5', version=5)
        self.assertEqual(self.call('publish', channel=name, data='v4', version=4), top)
        self.assertEqual(self.call('publish', channel=name, data='other', version=1, version_epoch='x')['offset'], 3)
        self.assertEqual([c.data() for _ in range(3)], ['k', 'v5', 'other'])
        for _ in range(2):
            self.assertEqual(self.call('publish', channel='bare:' + name, data='bare', idempotency_key='b'), {})
            self.assertEqual(self.call('broadcast', channels=['bare:' + name], data='bare', idempotency_key='b'), {'responses': [{'result': {}}]})
        self.assertEqual(self.call('publish', channel=name, data='skipped', skip_history=True), {})
        self.assertEqual([c.data() for _ in range(2)], ['bare', 'skipped'])
        self.assertEqual(self.call('history', channel=name)['offset'], 3)

    def test_broadcast(self):
        name = self.channel()
        c = self.connected()
        c.subscribe(name)
        got = self.call('broadcast', channels=[name, 'bare:x', 'nope:x', '', 'a b', name, name + '2'], data=[1], tags={'t': '1'})['responses']
        epoch = got[0]['result']['epoch']
        self.assertEqual([r['result'] if 'result' in r else r['error']['code'] for r in got],
                         [{'offset': 1, 'epoch': epoch}, {}, 102, 107, 107, {'offset': 2, 'epoch': epoch},
                          {'offset': 1, 'epoch': got[6]['result']['epoch']}])
        self.assertEqual([c.push()[1]['tags'] for _ in range(2)], [{'t': '1'}] * 2)
        many = ['%s-%d' % (name, i) for i in range(3000)]
        got = self.call('broadcast', channels=many, data='x' * 500)['responses']
        self.assertEqual([r['result']['offset'] for r in got], [1] * 3000)
        for channel in (many[0], many[2999]):
            self.assertEqual(self.call('history', channel=channel)['offset'], 1)

    def test_format(self):
        self.assertEqual(self.call('publish', channel='json:x', b64data=base64.b64encode(b'\xff').decode()), 107)
        self.assertEqual(self.call('publish', channel='json:x', b64data=base64.b64encode(b'{}').decode())['offset'], 1)
        for data in (1, '{}', [{}], None):
            self.assertEqual(self.call('publish', channel='object:x', data=data), 107, data)
            self.assertEqual(self.call('broadcast', channels=['object:x'], data=data)['responses'][0]['error']['code'], 107)
        self.assertEqual(self.call('publish', channel='object:x', data={})['offset'], 1)
        for text, want in ((b' \n{}', 2), (b'{', 107), (b' []', 107)):
            got = self.call('publish', channel='object:x', b64data=base64.b64encode(text).decode())
            self.assertEqual(got if want == 107 else got['offset'], want)

    def test_libraries_that_write_what_they_do_not_use(self):
        name = self.channel()
        c = self.connected()
        c.subscribe(name)
        self.call('publish', channel=name, data=None, b64data=base64.b64encode(b'[1]').decode())
        self.call('publish', channel=name, data=[2], b64data=None)
        self.call('publish', channel=name, data=[3], b64data='', tags=None, delta=None, version=None, idempotency_key=None)
        self.call('broadcast', channels=[name], data=None, b64data=base64.b64encode(b'[4]').decode())
        self.call('publish', channel=name, data=['not this'], b64data=base64.b64encode(b'[5]').decode())
        self.call('broadcast', channels=[name], data=['not this'], b64data=base64.b64encode(b'[6]').decode())
        self.assertEqual([c.data() for _ in range(6)], [[1], [2], [3], [4], [5], [6]])

    def test_bytes_that_are_no_json(self):
        c, name = self.of_user('zoe', 1)[0], self.channel()
        for data, text in ((b'{"a":1}', {'a': 1}), (b'hi "there"', 'hi "there"'), (b'\xff\x00', '/wA=')):
            bytes_ = base64.b64encode(data).decode()
            self.assertEqual(self.call('subscribe', user='zoe', channel=name, info={'not': 'this'}, b64info=bytes_,
                                       data={'not': 'this'}, b64data=bytes_), {})
            self.assertEqual(c.push('subscribe')[1]['data'], text)
            wait_for(lambda: self.call('presence', channel=name)['presence'].get(c.me, {}).get('chan_info') == text, what='the info')
            c.ask(unsubscribe={'channel': name})

    def test_presence(self):
        name = self.channel()
        self.assertEqual(self.call('presence', channel=name), {'presence': {}})
        clients = self.of_user('ann', 6, info={'name': 'Ann'}) + [self.connected()]
        for c in clients:
            c.subscribe(name)
        wait_for(lambda: self.call('presence_stats', channel=name) == {'num_clients': 7, 'num_users': 2}, what='all of them')
        got = self.call('presence', channel=name)['presence']
        self.assertEqual(got, {**{c.me: {'user': 'ann', 'client': c.me, 'conn_info': {'name': 'Ann'}} for c in clients[:6]},
                               clients[6].me: {'user': '', 'client': clients[6].me}})

    def test_what_a_channel_has_not(self):
        for method in ('presence', 'presence_stats', 'history', 'history_remove'):
            self.assertEqual(self.call(method, channel='bare:x'), 108, method)
        for method in ('presence', 'presence_stats', 'history', 'history_remove', 'subscribe', 'unsubscribe'):
            self.assertEqual(self.call(method, channel='nope:x'), 102, method)
            self.assertEqual(self.call(method), 107, method)
        self.assertEqual(self.call('publish', channel='nope:x', data=1), 102)
        self.assertEqual(self.call('rpc', method='m'), 108)

    def test_subscribe_and_unsubscribe(self):
        name, clients, other = self.channel(), self.of_user('bob', 6), self.of_user('eve', 1)[0]
        other.subscribe(name)
        self.assertEqual(self.call('subscribe', user='bob', channel=name, data={'d': 1}, info={'i': 1}), {})
        for c in clients:
            channel, push = c.push('subscribe')
            self.assertEqual((channel, push['data']), (name, {'d': 1}))
        self.call('publish', channel=name, data='all')
        for c in clients + [other]:
            self.assertEqual(c.data(), 'all')
        wait_for(lambda: self.call('presence', channel=name)['presence'].get(clients[0].me) ==
                 {'user': 'bob', 'client': clients[0].me, 'chan_info': {'i': 1}}, what='what is seen of it')
        self.assertEqual(self.call('unsubscribe', user='bob', channel=name, whitelist=[clients[1].me, clients[2].me],
                                   unsubscribe={'code': 2100, 'reason': 'away'}), {})
        for c in clients[:1] + clients[3:]:
            self.assertEqual(c.push('unsubscribe'), (name, {'code': 2100, 'reason': 'away'}))
        self.call('unsubscribe', user='bob', channel=name, client=clients[1].me)
        self.assertEqual(clients[1].push('unsubscribe')[1]['code'], 2000)
        self.call('publish', channel=name, data='left')
        self.assertEqual([clients[2].data(), other.data()], ['left', 'left'])
        own = name + '-one'
        self.call('subscribe', user='bob', channel=own, client=clients[0].me, override={'presence': {'value': False}})
        self.assertEqual(clients[0].push('subscribe')[0], own)
        self.assertEqual(self.call('presence', channel=own), {'presence': {}})
        self.assertEqual(clients[0].ask(unsubscribe={'channel': own}), {'unsubscribe': {}})

    def test_a_subscription_that_is_over_before_it_begins(self):
        c, name = self.of_user('kim', 1)[0], self.channel()
        self.assertEqual(self.call('subscribe', user='kim', channel=name, expire_at=in_seconds(-100)), {})
        self.call('publish', channel=name, data=1)
        self.call('subscribe', user='kim', channel=name + '2')
        self.assertEqual(c.push('subscribe')[0], name + '2')  # it stays, and got nothing else

    def test_subscribe_recovers(self):
        name, c = self.channel(), self.of_user('rex', 1)[0]
        for i in range(3):
            at = self.call('publish', channel=name, data=i)
        self.call('subscribe', user='rex', channel=name, recover_since={'offset': 1, 'epoch': at['epoch']})
        self.assertEqual(c.push('subscribe')[0], name)
        self.assertEqual([c.data(), c.data()], [1, 2])

    def test_disconnect(self):
        for request, ends in (({}, (3503, 'force disconnect')), ({'disconnect': {'code': 4001, 'reason': 'go away'}}, (4001, 'go away'))):
            clients = self.of_user('dan', 6)
            self.assertEqual(self.call('disconnect', user='dan', whitelist=[clients[3].me], **request), {})
            for c in clients[:3] + clients[4:]:
                self.assertEqual(c.ends(), ends)
            self.assertEqual(clients[3].ask(unsubscribe={'channel': 'x'}), {'unsubscribe': {}})
            self.call('disconnect', client=clients[3].me, user='dan')
            self.assertEqual(clients[3].ends()[0], 3503)
        for code in (1, 2999, 5000):
            self.assertEqual(self.call('disconnect', user='dan', disconnect={'code': code}), 107)

    def test_refresh(self):
        c, = self.of_user('fay', 1, exp=in_seconds(60))
        self.assertEqual(self.call('refresh', user='fay', expire_at=in_seconds(1000)), {})
        refreshed = c.push('refresh')[1]
        self.assertTrue(refreshed['expires'] and 900 < refreshed['ttl'] <= 1000, refreshed)
        self.assertEqual(self.call('refresh', user='fay', expire_at=in_seconds(1000), info={'of': 'late'}), {})
        c.push('refresh')
        name = self.channel()
        c.subscribe(name)
        c.publish(name, 1)
        self.assertEqual(c.push()[1]['info']['conn_info'], {'of': 'late'})
        self.assertEqual(self.call('refresh', user='fay', expired=True), {})
        self.assertEqual(c.ends(), (3005, 'connection expired'))
        for past in (-1, 1 - 2 ** 63):
            c, = self.of_user('gil', 1)
            self.assertEqual(self.call('refresh', user='gil', expire_at=past), {})
            self.assertEqual(c.ends(), (3005, 'connection expired'))

    def test_nobody_is_no_error(self):
        for user in ({}, {'user': ''}, {'user': 'nobody'}, {'client': 'nobody'}, {'session': 'nobody'}):
            for method in ('subscribe', 'unsubscribe', 'disconnect', 'refresh'):
                channel = {'channel': 'x'} if 'sub' in method else {}
                self.assertEqual(self.call(method, **user, **channel), {}, (method, user))

    def test_channels_in_pages(self):
        name = self.channel()
        clients = [self.connected() for _ in range(4)]
        for i in range(25):
            clients[i % 4].subscribe('%s%02d' % (name, i))
        got, cursor, pages = [], '', 0
        while cursor is not None:
            page = self.call('channels', pattern=name + '*', limit=10, cursor=cursor)
            self.assertEqual(page.get('total'), 25 - len(got) if 'cursor' in page else None)
            got += list(page['channels'])
            cursor, pages = page.get('cursor'), pages + 1
        self.assertEqual((got, pages), (['%s%02d' % (name, i) for i in range(25)], 3))
        for bad in ({'limit': 1001}, {'limit': -1}, {'cursor': 'x'}):
            self.assertEqual(self.call('channels', **bad), 107)

    def test_channels_and_info(self):
        name, c = self.channel(), self.of_user('ida', 1)[0]
        c.subscribe(name)
        self.assertEqual(self.call('channels', pattern=name[:-1] + '?'), {'channels': {name: {'num_clients': 1}}})
        wait_for(lambda: self.call('info')['nodes'][0]['num_users'] >= 1, what='the users')

    def batch(self, **body):
        status, text = self.post('/api/batch', body)
        self.assertEqual(status, 200)
        schema = self.description['paths']['/api/batch']['post']['responses']['200']['content']['application/json']['schema']
        self.assertIsNone(validate(json.loads(text), schema, self.description))
        return json.loads(text)

    def test_batch(self):
        name = self.channel()
        got = self.batch(commands=[{'publish': {'channel': name, 'data': 1}}, {'presence': {'channel': 'bare:x'}}, {'nosuch': {}}, {},
                                   {'history': {'channel': name, 'limit': 1}}, {'publish': {'channel': 1}}, {'batch': {}},
                                   {'unknown': 1, 'channels': {'pattern': 'nobody'}, 'rpc': None}, {'publish': 5},
                                   {'presence_stats': {'channel': name}, 'info': {}}])['replies']
        at = got[0]['publish']
        self.assertEqual([r['error']['code'] if 'error' in r else r for r in got],
                         [{'publish': at}, 108, 104, 104, {'history': {'publications': [{'data': 1, 'offset': 1}], **at}}, 107, 104,
                          {'channels': {'channels': {}}}, 107, {'presence_stats': {'num_clients': 0, 'num_users': 0}}])
        self.assertEqual(self.batch(commands=[]), {})
        self.assertEqual(self.batch(), {})
        for body in ('nope', '[]', {'commands': {}}, {'commands': [1]}, ''):
            self.assertEqual(self.post('/api/batch', body)[0], 400)

    def test_large_batches(self):
        name = self.channel()
        for parallel in (False, True):
            commands = [{'publish': {'channel': '%s-%s-%d' % (name, parallel, i), 'data': i}} for i in range(3000)]
            got = self.batch(commands=commands + [{'rpc': {}}] * 3000, parallel=parallel)['replies']
            self.assertEqual([r['publish']['offset'] for r in got[:3000]], [1] * 3000)
            self.assertEqual({r['error']['code'] for r in got[3000:]}, {108})

    def test_legacy(self):
        name = self.channel()

        def go(body):
            status, text = self.post('/api', body)
            return [json.loads(line) for line in text.split(b'\n')] if status == 200 else status
        publish = {'method': 'publish', 'params': {'channel': name, 'data': 1}}
        first = go(json.dumps(publish))
        self.assertEqual(first[0]['result']['offset'], 1)
        got = go('\n'.join(map(json.dumps, [publish, {'method': 'info'}, {'method': 'nosuch'}, {'method': 'rpc', 'params': None}, {}])) + '\n')
        self.assertEqual(got[0]['result']['offset'], 2)
        self.assertIn('nodes', got[1]['result'])
        self.assertEqual([r['error']['code'] for r in got[2:]], [104, 108, 104])
        # Answers say their command's id; the method may be in capitals.
        body = '\n'.join(map(json.dumps, [{'id': 7, **publish}, {**publish, 'method': 'PUBLISH'}, {'id': 4294967295, 'method': 'Rpc'}, {'id': 'x', 'method': 'NOSUCH'}]))
        self.assertEqual([r.get('id') for r in go(body)], [7, None, 4294967295, None])
        self.assertEqual([r.get('result', {}).get('offset') for r in go(body)], [5, 6, None, None])
        self.assertEqual(self.post('/api', {'id': 8, 'method': 'rpc'})[1], b'{"id":8,"error":{"code":108,"message":"not available: nothing answers procedures"}}')
        for body in ('', ' ', 'nope', '[]', '{} x', '{"method":"info"}{'):
            self.assertEqual(go(body), 400, body)

    def test_transport_errors(self):
        for status, code, method, request in ((404, 102, 'publish', {'channel': 'nope:x', 'data': 1}), (400, 107, 'publish', {'data': 1}),
                                              (400, 108, 'presence', {'channel': 'bare:x'}), (400, 108, 'rpc', {}),
                                              (416, 112, 'history', {'channel': 'x', 'limit': 1, 'since': {'offset': 1, 'epoch': 'x'}})):
            got, body = self.post('/api/' + method, request, [NO_ERROR_MODE])
            self.assertEqual((got, json.loads(body)['code'], list(json.loads(body))), (status, code, ['code', 'message']))
        self.assertEqual(self.post('/api/batch', {'commands': [{'rpc': {}}]}, [NO_ERROR_MODE]),
                         (200, b'{"replies":[{"error":{"code":108,"message":"not available"}}]}'))
        self.assertEqual(self.post('/api/publish', {'channel': 'bare:x', 'data': 1}, [NO_ERROR_MODE]), (200, b'{"result":{}}'))

    def test_description(self):
        self.assertEqual(self.d.http('POST', '/api/openapi.json', '{}').status, 405)
        for path, item in self.description['paths'].items():
            takes = item['post']['requestBody']['content']['application/json']['schema']['properties']
            for name, schema in takes.items():
                wrong = {'string': 5, 'boolean': 5, 'integer': 'x', 'object': 5, 'array': 5}.get(schema.get('type'))
                if wrong is not None:
                    self.assertEqual(self.post(path, {name: wrong})[0], 400, (path, name))
            self.assertEqual(self.post(path, '[]')[0], 400, path)
        self.assertEqual(self.d.http('POST', '/api/publish', '{}', [('X-API-Key', 'any')]).status, 200)

    def test_large_answers(self):
        name = self.channel()
        for _ in range(60):
            self.d.publish(name, 'x' * 500000)
        with Raw(self.d.admin, timeout=60) as slow:
            slow.send('POST /api/history HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n' % (25 + len(name)))
            slow.send('{"channel":"%s","limit":-1}' % name)
            self.assertEqual(self.call('publish', channel='bare:other', data=1), {})  # others are served meanwhile
            r = slow.read_response()
            self.assertEqual(len(json.loads(r.body)['result']['publications']), 60)
            self.assertEqual(slow.request('GET', '/healthz').status, 200)


class Modes(DaemonTest):
    def stopped_hub(self, **settings):
        config = self.file(yaml({'channel_without_namespace': OPEN}))
        d = self.start(workers=1, hub_timeout='500ms', config=config, **settings)
        hub = d.pid_of('hub')
        stand_still(hub)
        self.addCleanup(os.kill, hub, signal.SIGCONT)
        return d

    REQUESTS = {'publish': {'channel': 'a', 'data': 1}, 'broadcast': {'channels': ['a'], 'data': 1}, 'subscribe': {'channel': 'a', 'user': 'u'},
                'unsubscribe': {'channel': 'a', 'user': 'u'}, 'disconnect': {'user': 'u'}, 'refresh': {'user': 'u'},
                'history_remove': {'channel': 'a'}, 'presence': {'channel': 'a'}, 'presence_stats': {'channel': 'a'},
                'history': {'channel': 'a'}, 'channels': {}}
    ASKING = ('presence', 'presence_stats', 'history', 'channels')

    def test_a_silent_hub(self):
        """What changes nothing is not done; of the others nobody knows."""
        d = self.stopped_hub()
        for method, request in self.REQUESTS.items():
            r = d.http('POST', '/api/' + method, json.dumps(request))
            said = ('not done, retry: ', 503) if method in self.ASKING else ('outcome unknown: ', 504)
            self.assertEqual((json.loads(r.body)['error']['message'][:len(said[0])], r.status), said, method)
        commands = [{'info': {}}] + [{m: r} for m, r in self.REQUESTS.items()] + [{'rpc': {}}]
        got = json.loads(d.http('POST', '/api/batch', json.dumps({'commands': commands, 'parallel': True})).body)['replies']
        for command, reply in list(zip(commands, got))[1:-1]:
            said = 'not done, retry: ' if list(command)[0] in self.ASKING else 'outcome unknown: '
            self.assertEqual(reply['error']['message'][:len(said)], said, command)
        self.assertEqual((list(got[0]), got[-1]['error']['code']), (['info'], 108))
        got = json.loads(d.http('POST', '/api/batch', json.dumps({'commands': commands})).body)['replies']
        self.assertEqual([r['error']['message'][:15] for r in got[1:4]], ['outcome unknown', 'not done, retry', 'not done, retry'])

    def test_by_setting(self):
        for mode, status in (('centrifugo', 200), ('transport', 500)):
            d = self.stopped_hub(api_error_mode=mode)
            r = d.http('POST', '/api/publish', '{"channel":"a","data":1}')
            self.assertEqual((r.status, b'"code":100' in r.body), (status, True))
            r = d.http('POST', '/api/publish', '{"data":1}')
            self.assertEqual((r.status, r.body), {'centrifugo': (200, b'{"error":{"code":107,"message":"bad request"}}'),
                                                  'transport': (400, b'{"code":107,"message":"bad request"}')}[mode])
            self.assertEqual(d.metric('roost_api_requests_total{outcome="unknown"}'), 1)


class ClientListener(DaemonTest):
    def status(self, d, fields=(), path='/api/publish', body='{"channel":"a","data":1}'):
        return d.http('POST', path, body, list(fields), where='client').status

    def test_off(self):
        d = self.start()
        for path in ('/api/publish', '/api/batch', '/api', '/api/openapi.json'):
            self.assertEqual(self.status(d, path=path), 404)

    def test_with_a_key(self):
        d = self.start(api_on_client_listener='true', api_key='a-key-of-the-tests')
        self.assertEqual(self.status(d), 401)
        self.assertEqual(self.status(d, [('X-API-Key', '')]), 401)
        for fields in ([('X-API-Key', 'a-key-of-the-tests')], [('Authorization', 'apikey a-key-of-the-tests')]):
            self.assertEqual(self.status(d, fields), 200)
        self.assertEqual(self.status(d, path='/api/publish?api_key=a-key-of-the-tests'), 200)
        for path in ('/api/batch', '/api', '/api/history'):
            self.assertEqual(self.status(d, path=path), 401)
        self.assertEqual(d.http('GET', '/api/openapi.json', where='client').status, 401)
        self.assertEqual(d.http('POST', '/debug/loop', '', where='client').status, 404)

    def test_without_a_key(self):
        d = self.start(api_on_client_listener='true')
        for fields in ([], [('X-API-Key', '')], [('Authorization', 'apikey ')]):
            self.assertEqual(self.status(d, fields), 401)
        self.assertEqual(self.status(d, path='/api/publish?api_key='), 401)

    def test_insecure(self):
        d = self.start(api_on_client_listener='true', api_insecure='true')
        self.assertEqual(self.status(d), 200)
        self.assertTrue(re.search('level=warn .*api_insecure', d.text()))
        for foreign in (('Origin', 'http://evil.example'), ('Sec-Fetch-Site', 'cross-site')):
            self.assertEqual(self.status(d, [foreign]), 403)


if __name__ == '__main__':
    unittest.main(verbosity=0)
