#!/usr/bin/python3
"""The rules of deploy/prometheus/roost-rules.yml: each alert fires and is quiet as its cases say, and the handbook says what to do."""

import glob
import os
import re
import subprocess
import unittest

import yaml

TOP = os.path.realpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), '../..'))
PROMTOOL = os.path.join(TOP, 'build/tools/promtool')
RULES = os.path.join(TOP, 'deploy/prometheus/roost-rules.yml')
CASES = sorted(glob.glob(os.path.join(TOP, 'tests/deploy/rules/*.yml')))


def read(path):
    with open(os.path.join(TOP, path)) as f:
        return f.read()


def promtool(*args):
    p = subprocess.run([PROMTOOL, *args], capture_output=True, text=True)
    return p.returncode, p.stdout + p.stderr


def rules(kind):
    return [r for g in yaml.safe_load(read(RULES))['groups'] for r in g['rules'] if kind in r]


class Rules(unittest.TestCase):
    def test_promtool_has_no_complaint(self):
        for args in (('check', 'rules', '--lint=all', '--lint-fatal', RULES), ('check', 'config', os.path.join(TOP, 'deploy/prometheus.yml'))):
            status, out = promtool(*args)
            self.assertEqual(status, 0, out)

    def test_cases(self):
        self.assertTrue(CASES)
        for path in CASES:
            with self.subTest(os.path.basename(path)):
                status, out = promtool('test', 'rules', path)
                self.assertEqual(status, 0, out)

    def test_each_alert_has_a_case_that_fires_and_one_that_does_not(self):
        fires, quiet = set(), set()
        for path in CASES:
            for case in yaml.safe_load(read(path))['tests']:
                for t in case['alert_rule_test']:
                    (fires if t['exp_alerts'] else quiet).add(t['alertname'])
        names = {r['alert'] for r in rules('alert')}
        self.assertEqual(names - fires, set())
        self.assertEqual(names - quiet, set())

    def test_the_handbook_says_what_to_do(self):
        section = read('deploy/README.md').split('### Alerts')[1].split('\n## ')[0]
        listed = re.findall(r'`(Roost\w+)`', ''.join(x.split('|')[1] for x in section.splitlines() if x.startswith('| `')))
        self.assertEqual(sorted(listed), sorted(r['alert'] for r in rules('alert')))
        for r in rules('alert'):
            self.assertEqual(r['annotations'].keys(), {'summary', 'description', 'runbook'}, r['alert'])
            self.assertIn(r['labels']['severity'], ('warning', 'critical'))
            self.assertEqual(r['annotations']['runbook'], 'deploy/README.md#alerts')

    def test_names_are_those_of_the_reference(self):
        """Metrics, their labels and values of labels exist; a recorded series is recorded before it is used."""
        reference = read('deploy/METRICS.md')
        metrics = dict(re.findall(r'^\| `(roost_\w+)` \| (\w+) \|', reference, re.M))
        recorded = set()
        for r in rules('expr'):
            for name in re.findall(r'\broost_\w+', re.sub(r'\w+:roost_\w+(?::\w+)?', '', r['expr'])):
                base = re.sub(r'_bucket$', '', name)
                self.assertIn(base, metrics, r)
                self.assertEqual(name.endswith('_bucket'), metrics[base] == 'histogram', r)
            for name in re.findall(r'\w+:roost_\w+(?::\w+)?', r['expr']):
                self.assertIn(name, recorded, r)
            for label, values in re.findall(r'(reason|outcome|result|policy|for_want_of)=~?"([^"]+)"', r['expr']):
                for value in values.split('|'):
                    self.assertRegex(reference, r'%s="%s"|^\| `%s` \|' % (label, value, value) if label != 'reason'
                                     else r'(?m)^\| `%s` \|' % value, r)
            if 'record' in r:
                recorded.add(r['record'])


if __name__ == '__main__':
    unittest.main()
