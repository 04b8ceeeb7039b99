#!/usr/bin/python3
"""roostctl channel, history, presence, metrics, and publish in both forms."""

import json
import unittest

from centrifuge import OPEN, CentrifugeTest
from daemon import run_roostctl, wait_for


class Channels(CentrifugeTest):
    workers = 2
    channels = {'allow_subscribe_for_client': True, 'allow_subscribe_for_anonymous': True}
    namespaces = [{**OPEN, 'name': 'chat', 'history_size': 3, 'history_ttl': '1h', 'presence': True}]

    def ctl(self, *args, status=0):
        p = run_roostctl(self.d, *args)
        self.assertEqual(p.returncode, status, (p.stdout, p.stderr))
        return p.stdout if status == 0 else p.stderr

    def json(self, *args, **kw):
        return json.loads(self.ctl(*args, '-o', 'json', **kw))

    def rows(self, *args):
        return [line.split() for line in self.ctl(*args).splitlines()]

    def test_a_channel(self):
        for n in range(5):
            self.d.publish('chat:a', {'n': n})
        self.connected().subscribe('chat:a')
        wait_for(lambda: self.json('channel', 'chat:a')['clients'] == 1, what='the subscriber')
        facts = dict(self.rows('channel', 'chat:a'))
        for name, value in (('channel', 'chat:a'), ('subscribers', '1'), ('offset', '5'), ('kept', '3'), ('clients', '1'),
                            ('namespace', 'chat'), ('history_size', '3'), ('presence', 'true')):
            self.assertEqual(facts[name], value)
        self.assertNotIn('join_leave', facts)
        whole = self.json('channel', 'chat:a')
        self.assertEqual(whole['options']['join_leave'], 'false')
        self.assertIn('history_ttl', whole['changed'])

    def test_channels_without_history_or_nobody_in(self):
        plain = self.json('channel', 'plain')
        self.assertEqual((plain['subscribers'], plain['namespace']), (0, ''))
        self.assertNotIn('offset', plain)
        # A name that would be a pattern of others.
        self.connected().subscribe('wha')
        self.assertEqual(self.json('channel', 'wha')['subscribers'], 1)
        self.assertEqual(self.json('channel', 'wh?')['subscribers'], 0)
        self.connected().subscribe('wh?')
        self.connected().subscribe('wh?')
        self.connected().subscribe('whz')
        self.assertEqual(self.json('channel', 'wh?')['subscribers'], 2)
        self.assertEqual(self.json('channel', 'wha')['subscribers'], 1)

    def test_no_such_channel(self):
        for name in ('nothing:a', 'a b', 'a*'):
            self.assertIn('no channel of that name', self.ctl('channel', name, status=1))

    def test_history(self):
        for n in range(4):
            self.d.publish('chat:h', {'n': n})
        rows = self.rows('history', 'chat:h')
        self.assertEqual(rows[1], ['offset', 'user', 'tags', 'data'])
        self.assertEqual([r[0] for r in rows[2:]], ['4', '3', '2'])
        self.assertEqual(rows[2][1], '-')
        position = self.rows('history', 'chat:h', '--limit', '0')[0][1]
        self.assertEqual(position.split(':')[0], '4')
        got = self.json('history', 'chat:h', '--limit', '2', '--since', '1:' + position.split(':')[1])
        self.assertEqual([p['offset'] for p in got['publications']], [2, 3])
        self.assertIn('no history', self.ctl('history', 'plain', status=1))
        for args in (('--limit', 'x'), ('--limit', '-1'), ('--since', '5'), ('--since', 'x:y')):
            self.assertIn(args[0], self.ctl('history', 'chat:h', *args, status=2))

    def test_presence(self):
        self.assertEqual(self.rows('presence', 'chat:p'), [['client', 'user', 'conn_info', 'chan_info']])
        self.connected().subscribe('chat:p')
        wait_for(lambda: len(self.rows('presence', 'chat:p')) == 2, what='the client')
        self.assertEqual(len(self.json('presence', 'chat:p')['presence']), 1)
        self.assertEqual(self.json('channel', 'chat:p')['clients'], 1)
        self.assertIn('no presence', self.ctl('presence', 'plain', status=1))

    def test_publish(self):
        self.assertEqual(self.ctl('publish', 'chat:o', 'x'), '')
        self.assertEqual(self.json('publish', 'chat:o', 'x'), {'channel': 'chat:o'})
        self.assertEqual(self.json('publish', '--json', 'chat:o', '{"a":1}')['offset'], 3)

    def test_metrics(self):
        rows = self.rows('metrics')
        self.assertEqual(rows[0], ['metric', 'labels', 'value'])
        self.assertIn(['roost_workers', '2'], rows)
        self.assertFalse([r for r in rows if r[0].endswith('_bucket')])
        self.assertFalse([r for r in rows[1:] if r[-1] == '0'])
        self.assertTrue([r for r in self.rows('metrics', '--all') if r[-1] == '0'])
        only = self.rows('metrics', 'process_resident')
        self.assertEqual([r[1] for r in only[1:]], ['process="%s"' % p for p in ('master', 'hub', 'worker0', 'worker1')])
        self.assertTrue(all(r[-1] in ('KiB', 'MiB') for r in only[1:]), only)
        self.assertEqual(self.rows('metrics', 'roost_work?rs')[1:], [['roost_workers', '2']])
        self.assertEqual(self.ctl('metrics', 'process_restarts').splitlines()[1:], ['4 more are 0: --all prints them'])
        self.assertEqual(len(self.rows('metrics', 'process_restarts', '--all')), 5)
        self.assertIn('no metric is called "roost_nonsense"', self.ctl('metrics', 'roost_nonsense', status=1))
        self.assertIn('no metric is called "nonsense"', self.ctl('metrics', 'nonsense', '-o', 'json', status=1))
        got = self.json('metrics', 'roost_build_info')['metrics']
        self.assertEqual((len(got), got[0]['value'], set(got[0]['labels'])), (1, 1, {'version', 'revision'}))
        self.assertGreater(len([m for m in self.json('metrics')['metrics'] if m['name'].endswith('_bucket')]), 20)


if __name__ == '__main__':
    unittest.main()
