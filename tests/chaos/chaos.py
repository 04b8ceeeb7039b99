#!/usr/bin/python3
"""Clients of all kinds while processes die, stop and starve, settings change and the daemon is stopped.

usage: chaos.py [--seed N] [--duration SECONDS] [--only KIND,...] [--workers N] [--clients N] [--verbose]

A seed is a plan (plan.py): eras, each with a daemon of its own, of rounds, each of steps. Between rounds nothing is
done to the daemon, publishers wait, and everything must become whole: all processes serve, all clients are back, what
is published is where it belongs (verdict.py), metrics agree with what is there and with one another. The run ends with the first
round that ends after the duration. The last line is the totals: rounds and eras that were as they should, and faults.
"""

import argparse
import os
import random
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../integration'))

from audit import Audit  # noqa: E402
from clients import Centrifuge, Crowd, Half, PlainSubscriber  # noqa: E402
from daemon import BUILD, SLOW, alive  # noqa: E402
from node import Certificates, Node  # noqa: E402
from plan import KINDS, Plan, describe, variant  # noqa: E402
from verdict import Verdict  # noqa: E402
from wire import Loop  # noqa: E402

CHANNELS = {'room0': False, 'room1': False, 'stream:0': True, 'stream:1': True}
PATIENCE = 60 * SLOW    # until everything is whole again; nothing is judged by how much of it was needed
PUBLISH_EVERY = 0.05


class Run:
    def __init__(self, args):
        self.args, self.loop, self.verdict = args, Loop(), Verdict()
        self.crowd = Crowd(self.loop, self.verdict)
        self.plan = Plan(args.seed, args.workers, args.only or sorted(KINDS))
        self.chance = random.Random(args.seed)  # of what no plan can fix: who of those who are there
        self.started, self.good, self.steps = time.monotonic(), 0, 0
        self.publishing, self.node, self.calms = False, None, 0
        self.certificates = Certificates()

    def say(self, text, *values):
        if self.args.verbose:
            print('%7.2f  %s' % (time.monotonic() - self.started, text % values), flush=True)

    # steps

    def do(self, step):
        self.say('%s', describe(step))
        self.steps += 1
        getattr(self, 'do_' + step['kind'])(step)

    def do_kill_worker(self, step):
        self.node.signal('worker%d' % step['worker'], signal.SIGKILL)

    def do_kill_hub(self, step):
        self.node.signal('hub', signal.SIGKILL)

    def stop(self, name, ms):
        pid = self.node.signal(name, signal.SIGSTOP)
        self.loop.call_in(ms / 1000, lambda node=self.node: node.resume(pid))

    def do_stop_worker(self, step):
        self.stop('worker%d' % step['worker'], step['ms'])

    def do_stop_hub(self, step):
        self.stop('hub', step['ms'])

    def do_stop_master(self, step):
        self.stop('master', step['ms'])

    def do_few_descriptors(self, step):
        pid = self.node.limit('worker%d' % step['worker'], step['spare'])
        self.loop.call_in(step['ms'] / 1000, lambda node=self.node: node.unlimit(pid))

    def do_burst(self, step):
        channel = sorted(CHANNELS)[int(step['channel'] * len(CHANNELS))]
        kinds = [m for m in self.crowd.publishers(channel) if (m.kind == 'http') == (step['by'] == 'api')]
        for i in range(step['count']):
            kinds[i % len(kinds)].publish(step['size'])

    def some(self, share):
        members = self.crowd.of(PlainSubscriber, Centrifuge)
        return self.chance.sample(members, int(len(members) * share))

    def do_slow(self, step):
        members = self.some(step['share'])
        for m in members:
            m.pause(True)
        self.loop.call_in(step['ms'] / 1000, lambda: [m.pause(False) for m in members])

    def do_leave(self, step):
        for m in self.chance.sample(self.crowd.members, int(len(self.crowd.members) * step['share'])):
            m.leave(step['how'])

    def do_halves(self, step):
        for _ in range(step['count']):
            Half(self.crowd, step['what'])

    def do_reload(self, step):
        settings, wrong = variant(step['variant'])
        self.node.write(settings if settings is not None else self.settings, wrong)
        if settings is not None:
            self.settings = {**settings, 'ring_size': self.settings['ring_size']}
        self.node.signal('master', signal.SIGHUP)

    def do_certificate(self, step):
        shown = self.certificates.put(step['pair'])
        self.certificates.shown = shown or self.certificates.shown
        self.node.signal('master', signal.SIGHUP)

    def do_reopen(self, step):
        self.node.signal('master', signal.SIGUSR1)

    # rounds

    def publish_some(self):
        if self.publishing:
            for m in self.chance.sample(self.crowd.publishers(), 4):
                m.publish()
        self.loop.call_in(PUBLISH_EVERY, self.publish_some)

    def round(self, steps):
        self.publishing = True
        for step in steps:
            self.loop.run(step['after_ms'] / 1000)
            self.do(step)
        self.loop.run(0.2)
        self.publishing = False
        self.calm()

    def calm(self):
        """Everything is left alone and must become whole."""
        before = len(self.verdict.problems)
        self.node.relieve()
        for m in self.crowd.members:
            m.pause(False)
        for half in list(self.crowd.halves):
            half.reset()
        self.look_again()
        self.wait('all processes to serve', self.node.all_up, lambda: 'there are %r' % self.node.names())
        self.wait('all clients to come back', lambda: not self.crowd.not_ready(),
                  lambda: ['%s: %r' % (m.name, m.ends) for m in self.crowd.not_ready()[:5]])
        for m in self.crowd.publishers():
            m.publish()  # behind all that is on its way, from everybody
        self.wait('all publishers to be answered', lambda: not self.crowd.busy(), lambda: [m.name for m in self.crowd.busy()[:5]])
        self.wait('all that is published to arrive', lambda: not self.missing(), self.missing)
        self.audit.at_rest(self)
        self.change_certificate()
        lost = self.audit.lost_now()
        self.audit.lost += lost
        self.verdict.judge(lost)
        self.verdict.next_round(self.loop.next_tick())
        self.say('whole again: %d sent, %d seen, %d recovered', self.verdict.sent_total, self.verdict.seen_total, self.crowd.recovered)
        self.good += len(self.verdict.problems) == before

    def look_again(self):
        """A worker that was reloaded while it had few descriptors learns of more with the next reload that changes something."""
        self.calms += 1
        self.settings['keepalive_timeout'] = '%ds' % (100 + self.calms)
        self.node.write(self.settings)
        self.node.signal('master', signal.SIGHUP)

    def change_certificate(self):
        """The settings are whole again, and what is shown from now on is the other pair."""
        self.certificates.shown = self.certificates.put('two' if self.certificates.shown == 'one' else 'one')
        self.node.write(self.settings)
        self.node.signal('master', signal.SIGHUP)
        self.wait('the new certificate', lambda: self.node.shown() == self.certificates.der(self.certificates.shown), self.node.d.text)

    def missing(self):
        return self.verdict.missing(0) and self.verdict.missing(self.audit.lost_now())

    def wait(self, what, condition, else_say):
        if not self.verdict.problems and not self.loop.until(condition, PATIENCE):
            self.verdict.problem('%s: waited for in vain: %s', what, else_say())

    # eras

    def era(self, plan):
        settings, _ = variant(plan['variant'])
        self.settings = {**(settings or {}), 'ring_size': plan['ring_size'], 'log_level': 'info'}
        self.certificates.shown = self.certificates.put('one')
        self.node = Node(self.args.workers, self.settings, self.certificates)
        try:
            self.audit = Audit(self.verdict, self.node, self.loop, PATIENCE)
            self.say('an era begins: %r', self.settings)
            self.crowd.ways, self.crowd.admin = self.node.ways, self.node.d.admin
            self.crowd.leaving = False
            if not self.crowd.members:
                self.crowd.fill(CHANNELS, self.args.clients // len(CHANNELS) // 2)
                self.publish_some()
            for m in self.crowd.members:
                m.begin()
            self.calm()
            for steps in plan['rounds']:
                if self.over():
                    break
                self.round(steps)
            if not self.verdict.problems:
                self.end(plan['end'])
        finally:
            self.node.relieve()
            self.finish()

    def end(self, how):
        """empty: the clients leave first; drain: the daemon sends them away; kill: the master is killed."""
        before = len(self.verdict.problems)
        self.say('the era ends: %s', how)
        self.crowd.leaving = True
        pids = list(self.node.names().values())
        if how == 'empty':
            for m in self.crowd.members:
                m.leave(self.chance.choice(('reset', 'goodbye')))
            self.wait('all clients to be gone', lambda: not any(m.connection for m in self.crowd.members), lambda: '')
            self.audit.when_empty()
        self.node.d.process.send_signal(signal.SIGKILL if how == 'kill' else signal.SIGTERM)
        self.wait('the master to end', lambda: self.node.d.process.poll() is not None, lambda: self.node.d.text()[-2000:])
        self.wait('its processes to end', lambda: not any(alive(p) for p in pids), lambda: [p for p in pids if alive(p)])
        self.wait('all connections to end', lambda: not any(m.connection for m in self.crowd.members), lambda: '')
        if how != 'kill' and self.node.d.process.poll() not in (0, None):
            self.verdict.problem('the daemon ended with status %r:\n%s', self.node.d.process.poll(), self.node.d.text()[-2000:])
        self.audit.log()
        self.good += len(self.verdict.problems) == before

    def finish(self):
        if self.node.d.process.poll() is None:
            self.node.d.stop(signal.SIGKILL)
        for m in self.crowd.members:
            if m.connection is not None:
                m.connection.reset()
            if isinstance(m, Centrifuge):
                m.forget()
        self.verdict.judge()
        self.verdict.next_round(self.loop.next_tick())
        self.verdict.next_era()

    def over(self):
        return bool(self.verdict.problems) or time.monotonic() - self.started > self.args.duration

    def run(self):
        print('chaos: seed %d, %d workers, %d clients' % (self.args.seed, self.args.workers, self.args.clients), flush=True)
        eras = 0
        while eras == 0 or not self.over():
            self.era(self.plan.era())
            eras += 1
        print('chaos: %d steps in %d eras; %d messages sent, %d seen, %d recoveries' % (
            self.steps, eras, self.verdict.sent_total, self.verdict.seen_total, self.crowd.recovered))
        if self.args.verbose or self.verdict.problems:
            print('ends: ' + ', '.join('%s %d' % x for x in sorted(self.crowd.ends.items())))
        for p in self.verdict.problems:
            print('FAULT %s' % p)
        if self.verdict.problems:
            print('the same plan again: tests/chaos/chaos.py --verbose --seed %d --duration %d --workers %d --clients %d%s' % (
                self.args.seed, self.args.duration, self.args.workers, self.args.clients,
                ' --only ' + ','.join(self.args.only) if self.args.only else ''))
            path = os.path.join(BUILD, 'chaos-%d.log' % self.args.seed)
            with open(path, 'w') as f:
                f.write(self.node.d.text())
            print('the daemon\'s log: %s' % path)
        print('%d passed, %d failed' % (self.good, len(self.verdict.problems)))
        return 1 if self.verdict.problems else 0


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument('--seed', type=int, default=None)
    ap.add_argument('--duration', type=float, default=20)
    ap.add_argument('--only', type=lambda s: s.split(','))
    ap.add_argument('--workers', type=int, default=3)
    ap.add_argument('--clients', type=int, default=80)
    ap.add_argument('--verbose', action='store_true')
    args = ap.parse_args()
    if args.seed is None:
        args.seed = random.SystemRandom().randrange(1 << 30)
    sys.exit(Run(args).run())


if __name__ == '__main__':
    main()
