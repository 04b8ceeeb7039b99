"""What must be true of the daemon when it is left alone: metrics, descriptors, shared memory, memory, its log."""

import json
import re

from clients import Centrifuge, PlainSubscriber
from daemon import SAN
from node import COUNTERS, GAUGES_AT_REST, GAUGES_WHEN_EMPTY

GROWTH = 48 << 20       # private memory that an era may leave behind in all processes together


def is_counter(name):
    return name.split('{')[0].endswith(COUNTERS)


def total(metrics, family):
    return sum(v for k, v in metrics.items() if k.split('{')[0] == family)


class Audit:
    def __init__(self, verdict, node, loop, patience):
        self.verdict, self.node, self.loop, self.patience = verdict, node, loop, patience
        self.inventory = node.inventory()  # before anybody has connected: a worker may be slow to see that who asked has gone
        self.memory = node.d.private_bytes()
        self.before = node.d.metrics()
        self.lost = 0

    def wait(self, differences):
        """Until differences() is empty once; what is left at the end is a fault."""
        last = []

        def none():
            last[:] = differences()
            return not last

        if not self.verdict.problems and not self.loop.until(none, self.patience):
            for d in last:
                self.verdict.problem('%s', d)

    def gauges(self, expected):
        m = self.node.d.metrics()
        return ['%s is %g and should be %g' % (k, m[k], v) for k, v in expected.items() if m[k] != v] + self.counters(m)

    def counters(self, m):
        """They only grow, and those of one thing agree."""
        found = ['%s went from %g to %g' % (k, self.before[k], v) for k, v in m.items()
                 if is_counter(k) and 'process_cpu' not in k and v < self.before.get(k, 0)]
        self.before = m
        for k, v in m.items():
            if k.endswith('_bucket{le="+Inf"}') and m[k.replace('_bucket{le="+Inf"}', '_count')] != v:
                found.append('%s is %g, its count %g' % (k, v, m[k.replace('_bucket{le="+Inf"}', '_count')]))
        if total(m, 'roost_closes_total') + total(m, 'roost_connections') > m['roost_accepts_total']:
            found.append('more connections closed and open than were accepted')
        repeated = self.node.deaths('hub')  # the record that each had in work: its successor takes it, and counts it, again
        if m['roost_publications_ordered_total'] > m['roost_publications_in_total'] + repeated:
            found.append('more publications ordered than were handed in')
        if m['roost_accepts_stand_in_total'] > m['roost_accepts_total']:
            found.append('more accepts in place of others than there were')
        return found

    def at_rest(self, run):
        crowd = run.crowd
        plain = sum(m.kind == 'plain' for m in crowd.members)
        centrifuge = len(crowd.of(Centrifuge))
        subscriptions = centrifuge + len(crowd.of(PlainSubscriber))
        channels = {m.channel for m in crowd.of(Centrifuge, PlainSubscriber)}
        self.wait(lambda: self.gauges({**dict.fromkeys(GAUGES_AT_REST, 0), 'roost_connections{protocol="plain"}': plain,
                                       'roost_connections{protocol="centrifuge"}': centrifuge, 'roost_subscriptions': subscriptions,
                                       'roost_centrifuge_subscriptions': centrifuge, 'roost_presence_members': centrifuge,
                                       'roost_hub_channels': len(channels)}))
        self.sockets(plain + centrifuge)
        self.streams(run)

    def lost_now(self):
        """Publications that the daemon has counted as lost since the last judgement."""
        return self.node.d.metric('roost_lost_publications_total') - self.lost

    def sockets(self, clients):
        """Each connection is one socket in one worker, beside those that a worker has anyway."""
        def differences():
            now = self.node.inventory()
            more = sum(now[n][0].get('socket', 0) - self.inventory[n][0].get('socket', 0) for n in self.inventory if n in now)
            http = self.node.d.metrics()['roost_connections{protocol="http"}'] - 1  # less the one that asks
            return [] if more == clients + http else ['%d sockets more than at the start, for %d clients and %d of HTTP' % (more, clients, http)]

        self.wait(differences)

    def streams(self, run):
        """The history has what subscribers saw, and nothing else in between."""
        for channel in {m.channel for m in run.crowd.of(Centrifuge) if m.recovers}:
            answer = self.node.d.http('POST', '/api/history', json.dumps({'channel': channel, 'limit': -1}))
            if answer.status != 200:
                self.verdict.problem('%s: history is answered %d %r', channel, answer.status, answer.body[:200])
                print(json.dumps(self.node.d.get_json('/debug/rings')))
                continue
            got = json.loads(answer.body)['result']
            offsets = [p['offset'] for p in got['publications']]
            if offsets != list(range(offsets[0] if offsets else 1, got['offset'] + 1)):
                self.verdict.problem('%s: the history has offsets %r... of %d', channel, offsets[:5], got['offset'])
            for p in got['publications']:
                number, n = (int(x) for x in p['data']['m'].split('.'))
                self.verdict.position(channel, got['epoch'], p['offset'], (number, n))
        for channel, epochs in self.verdict.epochs.items():
            if len(epochs) > 1 + self.node.deaths('hub'):
                self.verdict.problem('%s has had %d epochs, the hub has died %d times', channel, len(epochs), self.node.deaths('hub'))

    def when_empty(self):
        self.wait(lambda: self.gauges(dict.fromkeys(GAUGES_AT_REST + GAUGES_WHEN_EMPTY, 0)))
        self.wait(lambda: ['%s has %r and had %r at the start' % (n, now, self.inventory.get(n)) for n, now in self.node.inventory().items()
                           if now != self.inventory.get(n)])
        grown = self.node.d.private_bytes() - self.memory
        if grown > GROWTH and not SAN:  # a sanitizer keeps what is freed
            self.verdict.problem('private memory has grown by %d KiB', grown >> 10)

    def log(self):
        """No process died in a way that nobody caused."""
        for line in self.node.d.lines(r'msg="(killed" .*signal=(4|6|7|8|11)\b|exited" .*status=[1-9])|runtime error: |Sanitizer'):
            self.verdict.problem('%s', line)
        for line in self.node.d.lines(r'reason=(internal|cf_internal)\b'):
            self.verdict.problem('%s', re.sub(r'\bts=\S+ ', '', line))
