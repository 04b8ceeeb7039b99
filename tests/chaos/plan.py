"""What happens in a run: everything that is decided by chance is decided here, from the seed alone."""

import random

MAX_STEP_MS = 400
MAX_STOP_MS = 2500      # below hang_timeout
ROUND_STEPS = 12
ROUNDS_OF_AN_ERA = 3

# kind: how often, and what else has to be chosen.
KINDS = {
    'kill_worker': (3, lambda r, w: {'worker': r.randrange(w)}),
    'kill_hub': (2, lambda r, w: {}),
    'stop_worker': (3, lambda r, w: {'worker': r.randrange(w), 'ms': r.randrange(50, MAX_STOP_MS)}),
    'stop_hub': (2, lambda r, w: {'ms': r.randrange(20, MAX_STOP_MS)}),
    'stop_master': (1, lambda r, w: {'ms': r.randrange(20, MAX_STOP_MS)}),
    'few_descriptors': (2, lambda r, w: {'worker': r.randrange(w), 'spare': r.randrange(0, 6), 'ms': r.randrange(50, 1500)}),
    'burst': (4, lambda r, w: {'channel': r.random(), 'count': r.randrange(10, 80), 'size': r.randrange(200, 12000),
                               'by': r.choice(('plain', 'api'))}),
    'slow': (3, lambda r, w: {'share': r.uniform(0.05, 0.4), 'ms': r.randrange(50, 2000)}),
    'leave': (3, lambda r, w: {'share': r.uniform(0.05, 0.4), 'how': r.choice(('reset', 'goodbye'))}),
    'halves': (2, lambda r, w: {'count': r.randrange(1, 12), 'what': r.choice(('nothing', 'hello', 'head', 'frame', 'body'))}),
    'reload': (2, lambda r, w: {'variant': r.randrange(1 << 30)}),
    'certificate': (2, lambda r, w: {'pair': r.choice(('one', 'two', 'mismatched', 'missing'))}),
    'reopen': (1, lambda r, w: {}),
}

# What a reload changes, beside what it must not break.
VARIANTS = {
    'log_level': ('info', 'debug', 'warn'),
    'turn_budget': ('100us', '2ms', '20ms'),
    'read_budget': ('4KiB', '64KiB'),
    'output_limit': ('64KiB', '1MiB'),
    'output_grace': ('0s', '200ms', '1s'),
    'hub_queue': ('64KiB', '512KiB', '32MiB'),
    'publication_backlog': ('64KiB', '16MiB'),
    'channel_linger': ('0s', '100ms'),
    'accept_budget': ('1', '64'),
}
WRONG = ('no_such_setting: 1\n', 'turn_budget: soon\n', 'namespaces: 3\n', '\tnot yaml')


def variant(number):
    """The settings of a reload; None: a file that must be refused."""
    r = random.Random(number)
    if r.random() < 0.2:
        return None, r.choice(WRONG)
    return {name: r.choice(values) for name, values in VARIANTS.items()}, ''


class Plan:
    """Eras (one daemon each) of rounds of steps; the same for the same seed, kinds and number of workers."""

    def __init__(self, seed, workers, kinds):
        self.random, self.workers, self.kinds = random.Random(seed), workers, kinds

    def step(self):
        r = self.random
        kind = r.choices(self.kinds, [KINDS[k][0] for k in self.kinds])[0]
        return {'kind': kind, 'after_ms': r.randrange(1, MAX_STEP_MS), **KINDS[kind][1](r, self.workers)}

    def era(self):
        r = self.random
        return {'variant': r.randrange(1 << 30), 'ring_size': r.choice(('64KiB', '256KiB', '4MiB')),
                'end': r.choice(('empty', 'drain', 'drain', 'kill')),
                'rounds': [[self.step() for _ in range(ROUND_STEPS)] for _ in range(ROUNDS_OF_AN_ERA)]}


def describe(step):
    return step['kind'] + ''.join(' %s=%s' % (k, '%.2f' % v if isinstance(v, float) else v)
                                  for k, v in step.items() if k != 'kind')
