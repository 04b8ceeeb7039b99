// The npm package centrifuge, as it is, says what it hears: usage: node recover.mjs json|protobuf CHANNEL ENDPOINT
// One line for an event: "pub OFFSET DATA", "subscribed FIRST|RECOVERED|LOST", "connected", "other TEXT".
import { createRequire } from 'node:module';

const require = createRequire(new URL('../e2e/package.json', import.meta.url));
const [encoding, channel, endpoint] = process.argv.slice(2);
const { Centrifuge } = require(encoding === 'json' ? 'centrifuge' : 'centrifuge/build/protobuf');
const say = (...words) => process.stdout.write(words.join(' ') + '\n');
const client = new Centrifuge(endpoint, {
  websocket: require('ws'), minReconnectDelay: 20, maxReconnectDelay: 200, timeout: 60000,
});
const sub = client.newSubscription(channel, { minResubscribeDelay: 20, maxResubscribeDelay: 200 });
client.on('connected', () => say('connected'));
client.on('disconnected', (c) => say('other disconnected', c.code, c.reason));
sub.on('publication', (c) => say('pub', c.offset, encoding === 'json' ? c.data : JSON.parse(Buffer.from(c.data))));
sub.on('subscribed', (c) => say('subscribed', !c.wasRecovering ? 'FIRST' : c.recovered ? 'RECOVERED' : 'LOST'));
sub.on('unsubscribed', (c) => say('other unsubscribed', c.code, c.reason));
sub.subscribe();
client.connect();
process.stdin.on('end', () => process.exit(0)).resume();
