#!/usr/bin/python3
"""What roostload counts, against servers of which it is known what they did with each message."""

import asyncio
import unittest

from loadtest import NatsInPieces, Rooms, run, run_json


class Measured(unittest.TestCase):
    def load(self, server, scenario, *args, path='{channel}', status=0):
        r, out = run_json(scenario, '--url', 'ws://127.0.0.1:%d/%s' % (server.port, path), *args, status=status)
        return r['counters'], r, out


class Sequences(Measured):
    def test_late_by_many_is_out_of_order_and_not_lost(self):
        released = []

        def hold_back(server, c, message, n):
            if n % 50 == 0:
                server.held.append((n, message))
                return
            yield from server.to_room(c, message)
            if server.held and n - server.held[0][0] >= 40:
                released.append(server.held[0])
                yield from server.to_room(c, server.held.pop(0)[1])

        with Rooms(hold_back) as s:
            c, _, _ = self.load(s, 'broadcast', '--connections', '2', '--rate', '200', '--duration', '2s')
        self.assertTrue(released)
        self.assertEqual((c['reordered'], c['duplicates']), (2 * len(released), 0))
        self.assertEqual(c['gaps'], 2 * len(s.held))  # those that are still held
        self.assertEqual(c['gaps'] + c['messages_in'] * 2 // 3, 2 * c['messages_out'])

    def test_repeated_after_many_is_a_duplicate(self):
        repeated = []

        def repeat(server, c, message, n):
            server.held.append(message)
            yield from server.to_room(c, message)
            if n > 60 and n % 10 == 0:
                repeated.append(n)
                yield from server.to_room(c, server.held[n - 60])

        with Rooms(repeat) as s:
            c, _, _ = self.load(s, 'broadcast', '--connections', '2', '--rate', '200', '--duration', '1s')
        self.assertTrue(repeated)
        self.assertEqual((c['duplicates'], c['gaps'], c['reordered']), (2 * len(repeated), 0, 0))


class Echo(Measured):
    def echo(self, route, *args, **kw):
        with Rooms(route) as s:
            return self.load(s, 'echo', '--connections', '1', *args, path='{n}', **kw)

    def test_every_second_twice_and_the_rest_never(self):
        c, _, _ = self.echo(lambda server, c, m, n: [(c, m)] * 2 if n % 2 else [], '--rate', '100', '--depth', '4', '--duration', '1s',
                            '--fail-if', 'lost>0', status=3)
        self.assertEqual((c['messages_out'], c['gaps'], c['duplicates'], c['reordered']), (8, 4, 4, 0))  # a lost one keeps its place
        self.assertEqual(c['not_sent'], 100 - 8)

    def test_answers_out_of_order(self):
        def swap(server, c, m, n):
            server.held.append(m)
            if n % 2 == 0:
                yield from [(c, server.held[-1]), (c, server.held[-2])]

        c, r, _ = self.echo(swap, '--depth', '2', '--rate', '100', '--duration', '1s')
        self.assertEqual((c['gaps'], c['duplicates']), (c['messages_out'] % 2, 0))
        self.assertEqual(c['reordered'], c['messages_out'] // 2)
        self.assertEqual(r['latencies']['echo']['count'], c['messages_in'])

    def test_a_close_frame_instead_of_an_answer(self):
        def close(server, c, m, n):
            if n % 20:
                return [(c, m)]
            asyncio.ensure_future(c.close(1001))
            return []

        with Rooms(close) as s:
            c, _, _ = self.load(s, 'echo', '--connections', '1', '--rate', '100', '--duration', '3s', '--fail-if', 'gaps>0', path='{n}',
                                status=3)
        self.assertEqual((c['server_closed'], c['gaps']), (s.seen // 20, s.seen // 20))
        self.assertEqual(c['messages_out'] + c['not_sent'], 300)
        self.assertEqual(c['messages_in'] + c['gaps'], c['messages_out'])

    def test_what_the_scenario_drops_is_not_lost(self):
        c, _, _ = self.echo(lambda server, c, m, n: [(c, m)] if n != 5 else [], '--rate', '100', '--duration', '2s', '--storm-after', '1s',
                            '--depth', '200')
        self.assertEqual((c['closed'], c['duplicates'], c['reordered'], c['gaps']), (1, 0, 0, 1))
        self.assertEqual(c['messages_out'] + c['not_sent'], 200)

    def test_the_schedule_goes_on_without_a_connection(self):
        """An outage: what was due meanwhile is sent afterwards, and its wait is in the corrected latency."""
        def drop(server, c, m, n):
            if n == 50:
                server.go_away(1.5)
            return [(c, m)]

        with Rooms(drop) as s:
            c, r, _ = self.load(s, 'echo', '--connections', '1', '--rate', '100', '--duration', '4s', path='{n}')
        self.assertEqual((c['connection_lost'], c['gaps']), (1, 1))
        self.assertEqual(c['messages_out'] + c['not_sent'], 400)
        self.assertGreater(r['latencies']['echo']['max'], 1.2)
        self.assertLessEqual(r['latencies']['echo_uncorrected']['p50'], r['latencies']['echo']['p90'])

    def test_who_never_comes_back_has_never_sent(self):
        def drop(server, c, m, n):
            if n == 50:
                server.go_away(60)
            return [(c, m)]

        with Rooms(drop) as s:
            c, _, _ = self.load(s, 'echo', '--connections', '1', '--rate', '100', '--duration', '1500ms', path='{n}')
        self.assertEqual((c['messages_out'], c['not_sent']), (s.seen, 150 - s.seen))


class Outage(Measured):
    def outage(self, seconds, duration):
        def drop(server, c, m, n):
            if n == 100:
                server.go_away(seconds)
            return server.to_room(c, m)

        with Rooms(drop) as s:
            return self.load(s, 'broadcast', '--connections', '2', '--publishers', '2', '--rate', '200', '--duration', duration,
                             '--fail-if', 'not_sent>0', '--fail-if', 'max>500ms', status=3)

    def test_what_was_due_meanwhile_is_sent_afterwards(self):
        c, r, out = self.outage(1.5, '5s')
        self.assertEqual((c['messages_out'] + c['not_sent'], c['missed']), (1000, 0))
        self.assertGreater(c['send_delayed'], 0)
        self.assertGreater(r['latencies']['delivery']['max'], 1.2)
        self.assertLessEqual(r['latencies']['delivery_uncorrected']['p50'], r['latencies']['delivery']['p99'])
        self.assertIn('FAILED: max>500ms', out)

    def test_what_still_waits_at_the_end_was_not_sent(self):
        c, _, out = self.outage(60, '2s')
        self.assertEqual(c['messages_out'] + c['not_sent'], 400)
        self.assertIn('FAILED: not_sent>0', out)

    def test_people_who_left_miss_their_turns(self):
        def go(server, c, m, n):
            if n == 100:
                server.go_away(60)
            return server.to_room(c, m)

        with Rooms(go) as s:
            c, _, _ = self.load(s, 'chat', '--connections', '4', '--room', '2', '--rate', '200', '--churn-rate', '0', '--duration', '2s',
                                '--fail-if', 'missed>0', status=3)
        self.assertEqual(c['messages_out'] + c['missed'] + c['not_sent'], 400)


class Shares(Measured):
    """Which channels the publications go to, as the server counted them."""

    def shares(self, server, channels, expected, *args):
        c, _, _ = self.load(server, 'broadcast', '--connections', '1', '--channels', str(channels), '--rate', '2000', '--duration', '2s',
                            *args, path='{channel}')
        n = sum(server.sent_to.values())
        self.assertEqual((n, c['not_sent'], c['gaps'], c['misrouted']), (c['messages_out'], 0, 0, 0))
        for i in range(channels):
            mean = expected(i) * n
            self.assertLess(abs(server.sent_to.get('/load-%d' % i, 0) - mean), 5 * mean ** 0.5 + 2, (i, mean, server.sent_to))

    def zipf(self, channels):
        return lambda i: 1 / (i + 1) / sum(1 / r for r in range(1, channels + 1))

    def test_zipf_where_the_path_is_the_channel(self):
        for publishers, processes in (5, 1), (13, 1), (40, 2):  # 40 of 41 users: both processes have some
            with self.subTest(publishers=publishers), Rooms() as s:
                self.shares(s, 5, self.zipf(5), '--publishers', str(publishers), '--distribution', 'zipf', '--processes', str(processes))

    def test_uniform_where_some_channels_have_more_publishers(self):
        with Rooms() as s:
            self.shares(s, 3, lambda i: 1 / 3, '--publishers', '4')

    def test_a_burst_is_one_channels(self):
        with Rooms() as s:
            self.load(s, 'broadcast', '--connections', '1', '--channels', '3', '--publishers', '3', '--rate', '50', '--burst', '7',
                      '--distribution', 'zipf', '--duration', '1s')
        self.assertEqual([n % 7 for n in s.sent_to.values()], [0] * len(s.sent_to))

    def test_zipf_where_publications_name_the_channel(self):
        with NatsInPieces(10000) as s:
            self.load(s, 'broadcast', '--connections', '1', '--channels', '4', '--rate', '500', '--duration', '2s', '--adapter', 'nats',
                      '--distribution', 'zipf')
        n = sum(s.published.values())
        for i in range(4):
            mean = self.zipf(4)(i) * n
            self.assertLess(abs(s.published['load-%d' % i] - mean), 5 * mean ** 0.5)

    def test_a_channel_without_a_publisher_is_refused(self):
        p = run('broadcast', '--channels', '10', '--publishers', '4')
        self.assertEqual(p.returncode, 2)
        self.assertIn('would leave 6 of the 10 channels without one; --publishers 10 is the least', p.stderr)


class Closed(Measured):
    def test_connections_that_the_server_closes_are_lost(self):
        def kick(server, c, message, n):
            if n == 30:
                for other in server.clients:
                    asyncio.ensure_future(other.close(1001))
            return server.to_room(c, message)

        with Rooms(kick) as s:
            c, _, out = self.load(s, 'broadcast', '--connections', '3', '--rate', '50', '--duration', '2s', '--fail-if', 'lost>2', status=3)
        self.assertEqual((c['server_closed'], c['connection_lost']), (4, 0))


class Chat(Measured):
    def chat(self, route):
        with Rooms(route) as s:
            return self.load(s, 'chat', '--connections', '20', '--room', '5', '--churn-rate', '0', '--rate', '100', '--duration', '1s')[0]

    def test_who_does_not_hear_themselves_has_lost_nothing(self):
        c = self.chat(lambda server, c, message, n: [to for to in server.to_room(c, message) if to[0] is not c])
        self.assertEqual((c['gaps'], c['messages_in']), (0, 4 * c['messages_out']))

    def test_who_does_not_hear_themselves_finds_what_others_lost(self):
        c = self.chat(lambda server, c, message, n: [to for to in server.to_room(c, message) if to[0] is not c and n != 60])
        self.assertEqual(c['gaps'], 4)

    def test_where_people_hear_themselves_their_own_is_lost_too(self):
        c = self.chat(lambda server, c, message, n: server.to_room(c, message) if n <= 60 else [])
        self.assertEqual(c['gaps'], 5 * (c['messages_out'] - 60))


class Tail(Measured):
    def test_too_many_pairs_to_check_are_said(self):
        with NatsInPieces(10000) as s:
            args = ('broadcast', '--connections', '1', '--publishers', '8', '--rate', '20', '--duration', '500ms', '--adapter', 'nats')
            _, r, out = self.load(s, *args, '--channels', '10000000')
            self.assertIs(r['tail_checked'], False)
            self.assertIn('messages lost at the end are not found: 8 publishers x 10000000 channels', out)
            _, r, out = self.load(s, *args, '--channels', '10')
            self.assertIs(r['tail_checked'], True)
            self.assertNotIn('are not found', out)


class Contents(Measured):
    def test_a_message_in_every_channel_is_misrouted(self):
        with Rooms(lambda server, c, message, n: [(other, message) for other in server.clients]) as s:
            c, _, _ = self.load(s, 'broadcast', '--connections', '8', '--publishers', '4', '--channels', '4', '--rate', '100',
                                '--duration', '1s', '--fail-if', 'misrouted>0', status=3)
        self.assertEqual(c['misrouted'] * 4, c['messages_in'] * 3)
        self.assertEqual((c['gaps'], c['foreign_in'], c['damaged']), (0, 0, 0))

    def test_an_answer_that_goes_to_everybody_is_misrouted(self):
        with Rooms() as s:
            c, _, _ = self.load(s, 'echo', '--connections', '3', '--rate', '60', '--duration', '1s', path='same')
        self.assertEqual((c['misrouted'], c['gaps'], c['duplicates']), (2 * c['messages_out'], 0, 0))

    def test_cut_messages_are_damaged_and_lost(self):
        with Rooms(lambda server, c, message, n: server.to_room(c, message[:66] if n % 2 else message)) as s:
            c, _, _ = self.load(s, 'broadcast', '--connections', '2', '--rate', '100', '--size', '1KiB', '--duration', '1s',
                                '--fail-if', 'damaged>0', '--fail-if', 'duplicates>0', status=3)
        self.assertEqual(c['damaged'], 3 * ((c['messages_out'] + 1) // 2))
        self.assertEqual(c['gaps'], 2 * ((c['messages_out'] + 1) // 2))


if __name__ == '__main__':
    unittest.main()
