// The npm package centrifuge, as it is: usage: node centrifuge.mjs json|protobuf TRANSPORT CLIENT_ADDRESS ADMIN_ADDRESS.
// TRANSPORT: websocket, http_stream or sse. The daemon runs with test_centrifuge.py's settings. Exit status 0: all held.
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { once, EventEmitter } from 'node:events';
import { EventSource } from 'eventsource';
import WebSocket from 'ws';
import { Centrifuge as JsonClient } from 'centrifuge';
import { Centrifuge as ProtobufClient } from 'centrifuge/build/protobuf';

const [encoding, transport, address, admin] = process.argv.slice(2);
const binary = encoding === 'protobuf';
const Client = binary ? ProtobufClient : JsonClient;
const deadline = setTimeout(() => { console.error('took too long'); process.exit(1); }, 540000);
const scheme = transport === 'websocket' ? 'ws' : 'http';
const clients = [];
let serial = 0;

/* ---- help ---- */

const base64url = (value) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');

function token(claims) {
  const text = base64url({ alg: 'HS256', typ: 'JWT' }) + '.' + base64url(claims);
  return text + '.' + createHmac('sha256', 'secret').update(text).digest('base64url');
}

const inSeconds = (n) => Math.floor(Date.now() / 1000) + n;
const encode = (value) => binary ? Buffer.from(JSON.stringify(value)) : value;
const decode = (data) => binary ? JSON.parse(Buffer.from(data).toString()) : data;
const name = (namespace) => (namespace ? namespace + ':' : '') + 'c' + process.pid + '_' + encoding + transport + ++serial;

function newClient(options = {}) {
  const endpoint = scheme + '://' + address + '/connection/' + transport;
  const c = new Client(transport === 'websocket' ? endpoint : [{ transport, endpoint }], {
    websocket: WebSocket, eventsource: EventSource, fetch, readableStream: ReadableStream, minReconnectDelay: 50, maxReconnectDelay: 500,
    emulationEndpoint: 'http://' + address + '/emulation', ...options,
  });
  clients.push(c);
  return c;
}

async function connected(options) {
  const c = newClient(options);
  c.connect();
  await c.ready(90000);
  return c;
}

/* What happens to a subscription, in order: take(event) waits for the next one of that kind. */
function watch(source, events) {
  const seen = Object.fromEntries(events.map((e) => [e, []]));
  const bell = new EventEmitter();
  for (const e of events) source.on(e, (ctx) => { seen[e].push(ctx); bell.emit('rung'); });
  seen.take = async (event) => {
    while (!seen[event].length) await once(bell, 'rung');
    return seen[event].shift();
  };
  return seen;
}

const SUB_EVENTS = ['subscribed', 'subscribing', 'unsubscribed', 'publication', 'join', 'leave', 'error'];

async function subscribed(client, channel, options) {
  const sub = client.newSubscription(channel, options);
  const seen = watch(sub, SUB_EVENTS);
  sub.subscribe();
  await sub.ready(90000);
  return { sub, seen };
}

async function api(method, body) {
  const r = await fetch('http://' + admin + '/api/' + method, { method: 'POST', headers: { 'X-API-Key': 'test-api-key' }, body: JSON.stringify(body) });
  const answer = await r.json();
  assert.ok(answer.result, method + ': ' + JSON.stringify(answer));
  return answer.result;
}

async function until(what, condition) {
  for (let i = 0; i < 4000; i++) {
    if (await condition()) return;
    await new Promise((r) => setTimeout(r, 25));
  }
  assert.fail('never came: ' + what);
}

async function processes(kind) {
  const all = await (await fetch('http://' + admin + '/debug/processes', { headers: { 'X-API-Key': 'test-api-key' } })).json();
  return all.processes.filter((p) => p.name.startsWith(kind) && p.pid > 0);
}

/* ---- checks ---- */

const checks = {
  async 'two clients chat and see each other'() {
    const [a, b] = [await connected(), await connected()], channel = name();
    const [x, y] = [await subscribed(a, channel), await subscribed(b, channel)];
    await x.sub.publish(encode({ text: 'hello' }));
    const got = await y.seen.take('publication');
    assert.deepEqual(decode(got.data), { text: 'hello' });
    assert.equal(got.info.client, a.session ?? got.info.client);
    assert.deepEqual(decode((await x.seen.take('publication')).data), { text: 'hello' });
    const { clients: present } = await y.sub.presence();
    assert.equal(Object.keys(present).length, 2);
    assert.deepEqual(await y.sub.presenceStats(), { numClients: 2, numUsers: 1 });
    x.sub.unsubscribe();
    await until('one leaves', async () => (await y.sub.presenceStats()).numClients === 1);
  },
  async 'tokens are asked for once, and again when they expire'() {
    for (let life = 2; ; life *= 3) { // seconds; longer where it is over before this machine has connected
      let asked = 0;
      const c = newClient({ getToken: async () => { asked++; return token({ sub: '42', exp: inSeconds(asked === 1 ? life : 600) }); } });
      const seen = watch(c, ['connected', 'disconnected', 'connecting']);
      c.connect();
      await c.ready(90000);
      if (asked > 1 && life < 50) {
        c.disconnect();
        continue;
      }
      assert.equal(asked, 1);
      await until('refreshed', () => asked === 2);
      assert.equal(seen.disconnected.length, 0);
      break;
    }
  },
  async 'a bad token ends it for good'() {
    const c = newClient({ token: token({ sub: '42' }) + 'x' });
    const seen = watch(c, ['disconnected']);
    c.connect();
    assert.equal((await seen.take('disconnected')).code, 3500);
  },
  async 'private channels want a token of their own'() {
    const c = await connected({ token: token({ sub: '42' }) }), channel = '$' + name();
    const refused = c.newSubscription(channel);
    const seen = watch(refused, SUB_EVENTS);
    refused.subscribe();
    assert.equal((await seen.take('unsubscribed')).code, 103);
    c.removeSubscription(refused);
    let asked = 0;
    const { sub } = await subscribed(c, channel, { getToken: async () => { asked++; return token({ sub: '42', channel }); } });
    assert.equal(sub.state, 'subscribed');
    assert.equal(asked, 1);
  },
  async 'many channels at once, optimistically'() {
    const c = newClient(), subs = [];
    for (let i = 0; i < 40; i++) subs.push(c.newSubscription(name()));
    for (const s of subs) s.subscribe();
    c.connect();
    await Promise.all(subs.map((s) => s.ready(90000)));
  },
  async 'history'() {
    const c = await connected(), channel = name(), { sub } = await subscribed(c, channel);
    for (let i = 1; i <= 5; i++) await sub.publish(encode({ i }));
    const all = await sub.history({ limit: 10 });
    assert.deepEqual(all.publications.map((p) => decode(p.data).i), [1, 2, 3, 4, 5]);
    const since = await sub.history({ limit: 10, since: { offset: 3, epoch: all.epoch } });
    assert.deepEqual(since.publications.map((p) => p.offset), [4, 5]);
    const reverse = await sub.history({ limit: 2, reverse: true });
    assert.deepEqual(reverse.publications.map((p) => p.offset), [5, 4]);
    await assert.rejects(sub.history({ limit: 1, since: { offset: 1, epoch: 'wrong' } }), (e) => e.code === 112);
    assert.equal((await sub.history({ limit: 0 })).offset, 5);
  },
  async 'what was missed while the connection was cut comes once, in order'() {
    const c = await connected(), channel = name(), { sub, seen } = await subscribed(c, channel);
    for (let i = 1; i <= 3; i++) await api('publish', { channel, data: { i } });
    for (let i = 1; i <= 3; i++) assert.equal(decode((await seen.take('publication')).data).i, i);
    for (let round = 0; round < 3; round++) {
      c.disconnect();
      for (let i = 4 + 10 * round; i <= 13 + 10 * round; i++) await api('publish', { channel, data: { i } });
      seen.subscribed.length = 0;
      c.connect();
      await sub.ready(90000);
      const s = await seen.take('subscribed');
      assert.equal(s.wasRecovering, true);
      assert.equal(s.recovered, true);
      for (let i = 4 + 10 * round; i <= 13 + 10 * round; i++) {
        const got = await seen.take('publication');
        assert.equal(decode(got.data).i, i);
        assert.equal(got.offset, i);
      }
    }
    assert.equal(seen.publication.length, 0);
  },
  async 'too much missed is told'() {
    const c = await connected(), channel = name('smallhistory'), { sub, seen } = await subscribed(c, channel);
    await api('publish', { channel, data: 0 });
    await seen.take('publication');
    c.disconnect();
    for (let i = 1; i <= 6; i++) await api('publish', { channel, data: i });
    seen.subscribed.length = 0;
    c.connect();
    await sub.ready(90000);
    assert.equal((await seen.take('subscribed')).recovered, false);
    await api('publish', { channel, data: 7 });
    await until('the live one', () => seen.publication.some((p) => decode(p.data) === 7));
  },
  async 'the latest is kept for who comes late'() {
    const channel = name('cache');
    await api('publish', { channel, data: { v: 1 } });
    await api('publish', { channel, data: { v: 2 } });
    const { seen } = await subscribed(await connected(), channel, { since: { offset: 0, epoch: '' } });
    assert.deepEqual(decode((await seen.take('publication')).data), { v: 2 });
  },
  async 'joins and leaves'() {
    const [a, b] = [await connected({ token: token({ sub: 'ann', info: { name: 'Ann' } }) }), await connected({ token: token({ sub: 'bob' }) })];
    const channel = name('joins'), x = await subscribed(a, channel, { joinLeave: true });
    const own = await x.seen.take('join');
    assert.equal(own.info.user, 'ann');
    assert.deepEqual(decode(own.info.connInfo), { name: 'Ann' });
    const y = await subscribed(b, channel, { joinLeave: true });
    assert.equal((await x.seen.take('join')).info.user, 'bob');
    y.sub.unsubscribe();
    assert.equal((await x.seen.take('leave')).info.user, 'bob');
  },
  async 'differences'() {
    const channel = name('delta'), c = await connected(), { sub, seen } = await subscribed(c, channel, { delta: 'fossil' });
    const data = (i) => ({ i, long: 'the same words again and again, '.repeat(20), tail: 'x'.repeat(i % 5) });
    for (let i = 1; i <= 10; i++) await api('publish', { channel, data: data(i) });
    for (let i = 1; i <= 10; i++) assert.deepEqual(decode((await seen.take('publication')).data), data(i));
    c.disconnect();
    for (let i = 11; i <= 15; i++) await api('publish', { channel, data: data(i) });
    c.connect();
    await sub.ready(90000);
    for (let i = 16; i <= 20; i++) await api('publish', { channel, data: data(i) });
    for (let i = 11; i <= 20; i++) assert.deepEqual(decode((await seen.take('publication')).data), data(i));
  },
  async 'tags filter'() {
    const channel = name('tags'), { seen } = await subscribed(await connected(), channel, { tagsFilter: { key: 'side', cmp: 'eq', val: 'buy' } });
    await api('publish', { channel, data: 1, tags: { side: 'sell' } });
    await api('publish', { channel, data: 2, tags: { side: 'buy' } });
    assert.equal(decode((await seen.take('publication')).data), 2);
    assert.equal(seen.publication.length, 0);
  },
  async 'server-side subscriptions'() {
    const channel = name(), other = name(), user = 'u' + process.pid + ++serial;
    const c = newClient({ token: token({ sub: user, channels: [channel] }) });
    const seen = watch(c, ['subscribed', 'unsubscribed', 'publication', 'disconnected']);
    c.connect();
    await c.ready(90000);
    await until('its channel', () => seen.subscribed.some((s) => s.channel === channel));
    await api('publish', { channel, data: { a: 1 } });
    assert.equal((await seen.take('publication')).channel, channel);
    await api('subscribe', { user, channel: other });
    await until('the other', () => seen.subscribed.some((s) => s.channel === other));
    await api('publish', { channel: other, data: { b: 1 } });
    assert.equal((await seen.take('publication')).channel, other);
    await api('unsubscribe', { user, channel: other });
    assert.equal((await seen.take('unsubscribed')).channel, other);
    await api('disconnect', { user });
    assert.equal((await seen.take('disconnected')).code, 3503);
  },
  async 'refusals have their codes'() {
    const c = await connected();
    await assert.rejects(c.rpc('nothing', encode({})), (e) => e.code === 108);
    await assert.rejects(c.publish('nowhere:x', encode({})), (e) => e.code === 102);
    const s = c.newSubscription('nowhere:x'), seen = watch(s, SUB_EVENTS);
    s.subscribe();
    assert.equal((await seen.take('unsubscribed')).code, 102);
  },
  async 'every worker is killed in the middle of traffic'() {
    const channel = name(), n = 300, pairs = [];
    for (let i = 0; i < 6; i++) pairs.push(await subscribed(await connected(), channel));
    const killing = (async () => {
      for (const p of await processes('worker')) {
        process.kill(p.pid, 'SIGKILL');
        await until('it is back', async () => (await processes('worker').catch(() => [])).some((q) => q.name === p.name && q.pid !== p.pid));
      }
    })();
    for (let i = 1; i <= n; i++) {
      for (;;) { // an answer that did not come may have been done: the key makes it once
        try {
          await api('publish', { channel, data: i, idempotency_key: 'k' + i });
          break;
        } catch { await new Promise((r) => setTimeout(r, 20)); }
      }
    }
    await killing;
    for (const { seen } of pairs) {
      await until('all of them', () => seen.publication.length >= n);
      assert.deepEqual(seen.publication.map((p) => decode(p.data)), Array.from({ length: n }, (_, i) => i + 1));
    }
  },
  async 'the hub is killed: nobody is told less than the truth'() {
    const channel = name(), { sub, seen } = await subscribed(await connected(), channel);
    await api('publish', { channel, data: 'before' });
    await seen.take('publication');
    seen.subscribed.length = 0;
    const [hub] = await processes('hub');
    process.kill(hub.pid, 'SIGKILL');
    await until('another hub', async () => (await processes('hub').catch(() => [])).some((p) => p.pid !== hub.pid));
    await until('a publication goes through', async () => {
      try { await api('publish', { channel, data: 'after' }); } catch { return false; }
      await new Promise((r) => setTimeout(r, 100));
      return seen.publication.some((p) => decode(p.data) === 'after');
    });
    assert.ok(seen.subscribed.some((s) => s.wasRecovering && !s.recovered), 'it was told that its place is lost');
    assert.equal(sub.state, 'subscribed');
  },
};

for (const [title, check] of Object.entries(checks)) {
  try {
    await check();
    console.log('ok ' + title);
  } catch (e) {
    console.log('not ok ' + title);
    console.error(title, e);
    process.exitCode = 1;
  }
  for (const c of clients.splice(0)) c.disconnect();
}
clearTimeout(deadline);
process.exit();
