"""Nodes that share NATS servers, for the tests of the engine."""

import json
import tempfile

from centrifuge import OPEN, Client, yaml
from daemon import DaemonTest, wait_for
from engines import Nats

BARE = {k: v for k, v in OPEN.items() if 'presence' not in k and 'history_' not in k and 'force' not in k}


class Nodes(DaemonTest):
    def server(self, **kw):
        n = Nats(**kw)
        self.addCleanup(n.stop)
        return n

    def node(self, *servers, clean=True, up=True, **settings):
        settings = {'allow_anonymous_connect_without_token': True, 'plain': True, 'engine': 'nats',
                    'engine_address': ','.join(s if isinstance(s, str) else s.address for s in servers),
                    'engine_probe_interval': '300ms', 'engine_timeout': '4s', 'engine_reconnect_max': '200ms',
                    'channel_without_namespace': BARE, 'namespaces': [{**BARE, 'name': 'ns'}, {**BARE, 'name': 'utf', 'channel_regex': '.*'}], **settings}
        with tempfile.NamedTemporaryFile('w', suffix='.yaml', prefix='roost-test-') as f:
            f.write(yaml(settings))
            f.flush()
            d = self.start(config=f.name, clean=clean, workers=2)
        if up:
            self.is_up(d)
        return d

    def is_up(self, d):
        wait_for(lambda: d.metric('roost_engine_up') == 1, what='the engine to be there')

    def client(self, d, *channels):
        c = Client(d.client)
        self.addCleanup(c.close)
        c.connect()
        for channel in channels:
            c.subscribe(channel)
        return c

    def answers(self, d, channel, data, **more):
        """Status and body of a publish."""
        r = d.http('POST', '/api/publish', json.dumps({'channel': channel, 'data': data, **more}))
        return r.status, json.loads(r.body)

    def published(self, d, channel, data):
        self.assertEqual(self.answers(d, channel, data), (200, {'result': {}}))
