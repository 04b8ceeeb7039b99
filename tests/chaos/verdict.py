"""Judges what subscribers saw against what publishers know: one order, no gap, nothing twice.

Nothing here looks at a clock. "Before" and "after" are ticks of the one loop in which all clients live: what was
sent after a subscription was confirmed must come, unless the subscription ended first, and then no later one may
have come either.
"""


class Source:
    """One publisher: its messages in the order of sending, and what is known of each."""

    # Told to be published; told not to be; not told yet; told that nobody knows; not told to be, but somebody saw it, or
    # what was sent behind it.
    IN, OUT, MAYBE, UNKNOWN, SEEN = 'in', 'out', 'maybe', 'unknown', 'seen'

    def __init__(self, number, channel, name, prefix):
        """prefix: what a publisher does that sends without waiting: some first part of it all is published."""
        self.number, self.channel, self.name, self.prefix = number, channel, name, prefix
        self.ticks, self.status = [], []
        self.alive = True       # what it sent goes on being taken; else only what is seen is known
        self.judged = 0         # messages of earlier rounds

    def sent(self, tick):
        self.ticks.append(tick)
        self.status.append(self.MAYBE)
        return len(self.ticks) - 1

    def published(self, n):
        return self.status[n] in (self.IN, self.SEEN)


class Life:
    """One subscription, from its confirmation to its end: what it saw."""

    def __init__(self, channel, who, tick, told):
        """told: it ends when something is missing. Else it may miss what the daemon says that it has lost."""
        self.channel, self.who, self.since, self.told = channel, who, tick, told
        self.seen, self.ended = [], None

    def end(self, why):
        if self.ended is None:
            self.ended = why


class Verdict:
    def __init__(self):
        self.sources, self.lives, self.problems = [], [], []
        self.positions, self.epochs = {}, {}
        self.seen_total = self.sent_total = 0

    def problem(self, text, *values):
        text = text % values
        if len(self.problems) < 50 and text not in self.problems:
            self.problems.append(text)

    # what is reported while it happens

    def source(self, channel, name, prefix=False):
        self.sources.append(Source(len(self.sources), channel, name, prefix))
        return self.sources[-1]

    def life(self, channel, who, tick, told=True):
        self.lives.append(Life(channel, who, tick, told))
        return self.lives[-1]

    def position(self, channel, epoch, offset, message):
        """A place in a stream belongs to one message, a message to one place of the stream."""
        for key, value in (((channel, epoch, offset), message), ((channel, epoch, message), offset)):
            if self.positions.setdefault(key, value) != value:
                self.problem('%s: in epoch %s offset %d is %s, but %r was known to be %r', channel, epoch, offset,
                             self.text(message), key[2], self.positions[key])
        self.epochs.setdefault(channel, [])
        if epoch not in self.epochs[channel]:
            self.epochs[channel].append(epoch)

    def text(self, message):
        source, n = message
        return '%s#%d' % (self.sources[source].name if source < len(self.sources) else source, n)

    # the verdict

    def missing(self, lost):
        """What subscriptions that are still there have not seen yet of what is certainly published."""
        self.settle()
        untold = set()
        for life in self.lives:
            seen = set(life.seen) if life.ended is None else ()
            for s in self.sources if life.ended is None else ():
                for n in range(s.judged, len(s.ticks)) if s.channel == life.channel else ():
                    if s.published(n) and s.ticks[n] > life.since and (s.number, n) not in seen:
                        untold.add((s.number, n))
                        if life.told or len(untold) > lost:
                            return '%s has not got %s' % (life.who, self.text((s.number, n)))
        return None

    def settle(self):
        """What somebody has seen is published, and so is all that its publisher had sent before."""
        for life in self.lives:
            for number, n in life.seen:
                s = self.sources[number]
                if n >= len(s.ticks):
                    self.problem('%s got %s, which was never sent', life.who, self.text((number, n)))
                elif n < s.judged:
                    self.problem('%s got %s again, or when all before it had been waited for', life.who, self.text((number, n)))
                elif s.status[n] == Source.OUT:
                    self.problem('%s got %s, which was answered as not done', life.who, self.text((number, n)))
                    s.status[n] = Source.SEEN
                elif s.status[n] != Source.IN:
                    s.status[n] = Source.SEEN
        for s in self.sources:
            known = [n for n in range(s.judged, len(s.ticks)) if s.published(n)]
            if s.prefix and (s.alive or known):
                for n in range(s.judged, len(s.ticks) if s.alive else known[-1] + 1):
                    if s.status[n] == Source.MAYBE:
                        s.status[n] = Source.SEEN

    def judge(self, lost=0):
        """lost: publications that the daemon says it has lost meanwhile."""
        self.settle()
        self.untold = set()
        for channel in {life.channel for life in self.lives}:
            self.judge_channel(channel, lost)
        if len(self.untold) > lost:
            self.problem('lost, to subscribers that are not told of it: %s; the daemon has counted %d',
                         ', '.join(self.text(m) for m in sorted(self.untold)[:10]), lost)

    def judge_channel(self, channel, lost):
        lives = [life for life in self.lives if life.channel == channel]
        for life in lives:
            if len(set(life.seen)) != len(life.seen):
                twice = next(m for i, m in enumerate(life.seen) if m in life.seen[:i])
                self.problem('%s: %s got %s twice', channel, life.who, self.text(twice))
        self.judge_order(channel, [life for life in lives if life.told or not lost])
        for s in self.sources:
            if s.channel == channel and s.judged < len(s.ticks):
                for life in lives:
                    self.judge_pair(s, life)

    def judge_order(self, channel, lives):
        """Nothing may be missing between two messages of a subscription, so both have the same neighbour everywhere."""
        after, before = {}, {}
        for life in lives:
            for a, b in zip(life.seen, life.seen[1:]):
                for table, key, value in ((after, a, b), (before, b, a)):
                    if table.setdefault(key, (value, life.who))[0] != value:
                        self.problem('%s: %s saw %s then %s, but for %s beside %s stands %s', channel, life.who, self.text(a),
                                     self.text(b), table[key][1], self.text(key), self.text(table[key][0]))

    def judge_pair(self, s, life):
        """What was sent after a subscription began must have come; if it has ended, then nothing that was sent behind
        what did not come. (What a server call did not tell to be done may be overtaken by the next call.)"""
        seen = [n for number, n in life.seen if number == s.number]
        had, last = set(seen), max(seen, default=-1)
        missed = [n for n in range(s.judged, len(s.ticks)) if s.published(n) and s.ticks[n] > life.since and n not in had]
        if life.ended is not None:
            missed = [n for n in missed if n < last and (s.prefix or s.status[n] == Source.IN)]
        if not life.told:
            self.untold.update((s.number, n) for n in missed)
        elif missed:
            self.problem('%s: %s (%s) lost %s; the last it saw were %s', life.channel, life.who, life.ended or 'still there',
                         ', '.join(self.text((s.number, n)) for n in missed[:5]), seen[-5:])
        if s.prefix and seen != sorted(seen):
            self.problem('%s: %s got what %s sent in another order: %s', life.channel, life.who, s.name, seen)

    def next_round(self, tick):
        """What was judged is forgotten; subscriptions that are still there begin anew."""
        self.sent_total += sum(len(s.ticks) - s.judged for s in self.sources)
        self.seen_total += sum(len(life.seen) for life in self.lives)
        for s in self.sources:
            s.judged = len(s.ticks)
        self.lives = [life for life in self.lives if life.ended is None]
        for life in self.lives:
            life.since, life.seen = tick, []

    def next_era(self):
        self.positions, self.epochs = {}, {}
