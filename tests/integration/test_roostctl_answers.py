#!/usr/bin/python3
"""What roostctl makes of answers that a daemon seldom gives: stand_in.py gives them."""

import json
import unittest

from daemon import run_roostctl
from stand_in import StandIn


class Answers(unittest.TestCase):
    def setUp(self):
        self.node = StandIn()
        self.addCleanup(self.node.server_close)
        self.addCleanup(self.node.shutdown)

    def ctl(self, *args, status=0):
        p = run_roostctl(self.node, *args)
        self.assertEqual(p.returncode, status, (args, p.stdout, p.stderr))
        return p

    def test_a_list_that_is_cut(self):
        self.node.answers['/api/channels'] = 200, {'result': {'channels': {'a': {'num_clients': 2}}, 'total': 100001}}
        p = self.ctl('channels', status=1)
        self.assertEqual(p.stdout.split(), ['subscribers', 'channel', '2', 'a'])
        self.assertIn('there are 100001 such channels', p.stderr)
        self.node.answers['/api/channels'] = 200, {'result': {'channels': {'a': {'num_clients': 2}}}}
        self.assertEqual(self.ctl('channels').stderr, '')

    def test_one_channel_is_asked_for_alone(self):
        """A name with characters of a pattern, too: others may be more than a listing holds."""
        self.node.answers['/api/channels'] = 200, {'result': {'channels': {}}}
        for path in ('history', 'presence_stats'):
            self.node.answers['/api/' + path] = 200, {'error': {'code': 108, 'message': 'not available'}}
        for name, asked in (('ab', {'pattern': 'ab', 'limit': 1}), ('a?b?c', {'pattern': 'a?b?c', 'limit': 1, 'cursor': 'a?b>c'})):
            self.node.answers['/debug/channel?name=' + name.replace('?', '%3F')] = 200, {'channel': name, 'possible': True}
            self.ctl('channel', name)
            self.assertEqual([json.loads(body) for path, body in self.node.requests if path == '/api/channels'][-1], asked)

    def test_nodes_that_did_not_answer(self):
        self.node.answers['/api/disconnect'] = 200, {'result': {'nodes_asked': 3, 'nodes_answered': 2}}
        self.assertIn('2 of 3 nodes have answered', self.ctl('disconnect', '--user', 'a', status=1).stderr)
        p = self.ctl('disconnect', '--user', 'a', '-o', 'json', status=1)
        self.assertEqual(json.loads(p.stdout), {'nodes_asked': 3, 'nodes_answered': 2})
        for all_of_them in ({}, {'nodes_asked': 3, 'nodes_answered': 3}):
            self.node.answers['/api/disconnect'] = 200, {'result': all_of_them}
            self.assertEqual(self.ctl('disconnect', '--user', 'a').stderr, '')

    def diff(self, status, **report):
        self.node.answers['/debug/config?format=json'] = 200, {'settings': []}
        self.node.answers['/debug/reload?look=1'] = 200, {'look': True, 'complete': False, **report}
        p = self.ctl('config', 'diff', status=status)
        self.assertIn('no room for everything', p.stderr)
        self.assertNotIn('no setting differs', p.stdout)
        whole = json.loads(self.ctl('config', 'diff', '-o', 'json', status=status).stdout)
        self.assertIs(whole['complete'], False)
        return p.stdout, [(c['name'], c['applies']) for c in whole['changes']]

    def test_a_report_without_room_for_values(self):
        names = {'changed': ['max_connections'], 'restart': ['node_name'], 'settings': []}
        text, changes = self.diff(4, result='needs_restart', **names)
        self.assertRegex(text, r'(?m)^max_connections +-')
        self.assertEqual(changes, [('max_connections', 'reload'), ('node_name', 'restart')])
        self.assertEqual(self.diff(3, result='applied', changed=['max_connections'], restart=[], settings=[])[1],
                         [('max_connections', 'reload')])
        # Not even the names.
        for status, result in ((0, 'unchanged'), (3, 'applied'), (4, 'needs_restart'), (5, 'refused')):
            self.assertEqual(self.diff(status, result=result)[1], [])

    def test_a_reload_whose_report_had_no_room(self):
        self.node.answers['/debug/reload'] = 200, {
            'result': 'applied', 'look': False, 'changed': ['max_connections', 'trusted_proxies'], 'settings': [], 'complete': False}
        p = self.ctl('reload')
        self.assertEqual(p.stdout.split(), ['reloaded', 'setting', 'max_connections', 'trusted_proxies'])
        self.assertIn('no room for everything', p.stderr)
        self.node.answers['/debug/reload'] = 200, {'result': 'applied', 'look': False, 'complete': False}
        self.assertEqual(self.ctl('reload').stdout, 'reloaded\n')


if __name__ == '__main__':
    unittest.main()
