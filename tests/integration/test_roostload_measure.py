#!/usr/bin/python3
"""What roostload counts, against servers of which it is known what they did with each message."""

import unittest

from loadtest import Rooms, run_json


class Measured(unittest.TestCase):
    def load(self, server, scenario, *args, path='{channel}', status=0):
        r, out = run_json(scenario, '--url', 'ws://127.0.0.1:%d/%s' % (server.port, path), *args, status=status)
        return r['counters'], r, out


class Sequences(Measured):
    def test_late_by_many_is_out_of_order_and_not_lost(self):
        def hold_back(server, c, message, n):
            if n % 50 == 0:
                server.held.append((n, message))
                return
            yield from server.to_room(c, message)
            if server.held and n - server.held[0][0] >= 40:
                yield from server.to_room(c, server.held.pop(0)[1])

        with Rooms(hold_back) as s:
            c, _, _ = self.load(s, 'broadcast', '--connections', '2', '--rate', '200', '--duration', '2s')
        self.assertGreater(c['reordered'], 3)
        self.assertEqual(c['duplicates'], 0)
        self.assertLessEqual(c['gaps'], 2)  # the last one may still be held
        self.assertEqual(c['gaps'] + c['messages_in'] * 2 // 3, 2 * c['messages_out'])

    def test_repeated_after_many_is_a_duplicate(self):
        def repeat(server, c, message, n):
            server.held.append(message)
            yield from server.to_room(c, message)
            if n > 60 and n % 10 == 0:
                yield from server.to_room(c, server.held[n - 60])

        with Rooms(repeat) as s:
            c, _, _ = self.load(s, 'broadcast', '--connections', '2', '--rate', '200', '--duration', '1s')
        self.assertGreater(c['duplicates'], 5)
        self.assertEqual((c['gaps'], c['reordered']), (0, 0))


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
