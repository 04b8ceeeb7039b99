#!/usr/bin/python3
"""roostload --adapter centrifuge: tokens, history, recovery, against a server that loses, repeats and forgets on purpose."""

import unittest

from loadtest import Centrifuge, run, run_json


def load(scenario, s, *more, status=0):
    r, _ = run_json(scenario, '--adapter', 'centrifuge', '--url', 'ws://127.0.0.1:%d' % s.port, '--connections', '4', '--rate',
                    '40', '--duration', '2s', *more, status=status)
    return r


def found(r):
    return {k: r['counters'][k] for k in ('gaps', 'duplicates', 'reordered', 'unrecovered', 'offset_jumps') if r['counters'][k]}


class Recovery(unittest.TestCase):
    def test_a_storm_misses_nothing(self):
        with Centrifuge() as s:
            r = load('storm', s, '--recover', '--storm-after', '500ms', '--fail-if', 'lost>0')
        self.assertEqual(found(r), {})
        self.assertEqual(s.resubscribed, 4)
        self.assertEqual(r['counters']['messages_in'], 5 * r['counters']['messages_out'])  # the publisher's own, too

    def test_churn_misses_nothing(self):
        with Centrifuge() as s:
            r = load('churn', s, '--recover', '--churn-rate', '10', '--fail-if', 'lost>0')
        self.assertEqual(found(r), {})
        self.assertGreater(s.resubscribed, 4)

    def test_a_message_that_is_not_delivered(self):
        """It is lost, and the next one's offset jumps; the publisher looks at offsets only."""
        with Centrifuge(deliver=lambda offset: int(offset != 40)) as s:
            r = load('broadcast', s, '--recover', '--fail-if', 'gaps>0', status=3)
        self.assertEqual(found(r), {'gaps': 4, 'offset_jumps': 5})

    def test_what_everybody_has_missed(self):
        with Centrifuge(cut=(20, 30)) as s:
            r = load('broadcast', s, '--recover', '--duration', '4s')
        self.assertEqual(found(r), {})
        self.assertGreaterEqual(r['counters']['recovered_in'], 4 * 10)
        self.assertEqual(r['latencies']['delivery']['count'] + r['counters']['recovered_in'], r['counters']['messages_in'])

    def test_recovery_that_leaves_one_out(self):
        with Centrifuge(cut=(20, 30), recover=lambda missed: missed[:3] + missed[4:]) as s:
            r = load('broadcast', s, '--recover', '--duration', '4s')
        self.assertEqual(found(r), {'gaps': 4, 'offset_jumps': 4})

    def test_recovery_that_repeats(self):
        with Centrifuge(cut=(20, 30), recover=lambda missed: missed[:3] + missed[2:]) as s:
            r = load('broadcast', s, '--recover', '--duration', '4s')
        self.assertEqual(found(r), {'duplicates': 4, 'offset_jumps': 4})

    def test_recovery_in_another_order(self):
        with Centrifuge(cut=(20, 30), recover=lambda missed: missed[1::-1] + missed[2:]) as s:
            r = load('broadcast', s, '--recover', '--duration', '4s')
        self.assertEqual(found(r), {'reordered': 4, 'offset_jumps': 12})

    def test_a_server_that_has_forgotten(self):
        with Centrifuge(cut=(20, 30), recover=lambda missed: None) as s:
            r = load('broadcast', s, '--recover', '--duration', '4s', '--fail-if', 'unrecovered>0', status=3)
        self.assertEqual((r['counters']['unrecovered'], r['counters']['recovered_in']), (4, 0))
        self.assertGreaterEqual(r['counters']['gaps'], 4 * 10)


class Options(unittest.TestCase):
    def test_each_user_has_a_token(self):
        with Centrifuge(key=b'not-a-secret') as s:
            r = load('broadcast', s, '--token-key', 'not-a-secret', '--token-user', 'u{n}')
        self.assertEqual(s.users, {'u0', 'u1', 'u2', 'u3', 'u4'})
        self.assertEqual(r['options']['token-key'], '...')

    def test_history_is_asked_for_and_timed(self):
        with Centrifuge() as s:
            r = load('broadcast', s, '--history', '10')
        self.assertEqual(r['latencies']['history']['count'], 5)

    def test_what_only_this_adapter_has(self):
        for option in (['--recover'], ['--delta'], ['--history', '3'], ['--token-key', 'x'], ['--protocol', 'protobuf']):
            with self.subTest(option=option):
                p = run('hold', *option)
                self.assertEqual(p.returncode, 2, p.stderr)
                self.assertIn('only adapter centrifuge has that', p.stderr)
        self.assertIn('protocol', run('hold', '--adapter', 'centrifuge', '--protocol', 'xml').stderr)


if __name__ == '__main__':
    unittest.main()
