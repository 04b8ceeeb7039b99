#!/usr/bin/python3
"""roostload with tokens and recovery against roostd: storms, churn, killed workers and hubs, JSON and Protobuf."""

import json
import subprocess
import unittest

from daemon import SLOW, DaemonTest
from loadtest import ROOSTLOAD, run_json

KEY = 'a-secret-of-enough-characters'
CONFIG = """
token_hmac_secret_key: %s
channel_without_namespace:
  history_size: 5000
  history_ttl: 300s
  force_recovery: true
  allow_subscribe_for_client: true
  allow_publish_for_client: true
  allow_history_for_subscriber: true
  allowed_delta_types: [fossil]
  delta_publish: true
recovery_max_publication_limit: 5000
""" % KEY


class Recovery(DaemonTest):
    def daemon(self):
        return self.start(workers=3, config=self.file(CONFIG))

    def arguments(self, d, protocol, *more):
        return ['--adapter', 'centrifuge', '--protocol', protocol, '--url', 'ws://' + d.client, '--token-key', KEY, '--recover',
                '--connections', '300', '--channels', '4', '--rate', str(400 // SLOW), '--duration', '4s', *more]

    def load(self, scenario, d, protocol, *more):
        thresholds = [x for what in ('lost', 'duplicates', 'reordered', 'unrecovered', 'offset_jumps') for x in ('--fail-if', what + '>0')]
        return run_json(scenario, *self.arguments(d, protocol, *thresholds, *more))[0]

    def test_a_storm_loses_nothing(self):
        d = self.daemon()
        for protocol in ('json', 'protobuf'):
            with self.subTest(protocol=protocol):
                c = self.load('storm', d, protocol, '--storm-after', '1s', '--channel', protocol + '-{c}')['counters']
                self.assertEqual((c['closed'], c['not_back']), (300, 0))
                self.assertGreater(c['recovered_in'], 0)

    def test_churn_loses_nothing(self):
        d = self.daemon()
        for protocol in ('json', 'protobuf'):
            with self.subTest(protocol=protocol):
                r = self.load('churn', d, protocol, '--churn-rate', '100', '--history', '10', '--channel', protocol + '-{c}')
                self.assertGreater(r['counters']['closed'], 0)
                self.assertGreater(r['latencies']['history']['count'], 0)  # who is sent away first gets no answer

    def test_deltas_are_chained_over_recovery(self):
        """What is made of them is what was published, before a storm, recovered after it, and live again."""
        d = self.daemon()
        for protocol in ('json', 'protobuf'):
            with self.subTest(protocol=protocol):
                c = self.load('storm', d, protocol, '--storm-after', '1s', '--delta', '--size', '300', '--channel',
                              protocol + '-{c}')['counters']
                self.assertEqual((c['not_back'], c['damaged'], c['foreign_in']), (0, 0, 0))
                self.assertGreater(c['deltas_in'], c['messages_in'] / 2)
                self.assertGreater(c['recovered_in'], 0)

    def during(self, d, protocol, then):
        """Calls then() when a run is under way; its counters."""
        path = self.file('', '.json')
        with subprocess.Popen([ROOSTLOAD, 'broadcast', *self.arguments(d, protocol, '--plain', '--json', path, '--channel',
                                                                       protocol + '-{c}')], stdout=subprocess.PIPE, text=True) as p:
            for line in p.stdout:
                if ' run ' in line:
                    break
            then()
            p.stdout.read()
        self.assertEqual(p.returncode, 0)
        with open(path) as f:
            return json.load(f)['counters']

    def test_a_killed_worker_costs_no_place_in_the_stream(self):
        """What a publisher had on its way to the worker is gone; of what is in the stream nobody misses anything."""
        d = self.daemon()
        for protocol in ('json', 'protobuf'):
            with self.subTest(protocol=protocol):
                c = self.during(d, protocol, lambda: d.kill('worker0'))
                self.assertGreater(c['connection_lost'], 0)
                self.assertEqual([c[k] for k in ('unrecovered', 'offset_jumps', 'duplicates', 'reordered')], [0] * 4)
                self.assertGreater(c['connects_done'], 301)

    def test_a_killed_hub_is_told(self):
        """Its histories went with it: everybody is told, nobody gets anything twice, and it goes on."""
        d = self.daemon()
        for protocol in ('json', 'protobuf'):
            with self.subTest(protocol=protocol):
                c = self.during(d, protocol, lambda: d.kill('hub'))
                self.assertGreaterEqual(c['unrecovered'], 300)
                self.assertEqual([c[k] for k in ('duplicates', 'reordered', 'protocol_errors')], [0] * 3)
                self.assertGreater(c['messages_out'] * 76, c['gaps'])  # 75 or 76 listen to a channel


if __name__ == '__main__':
    unittest.main()
