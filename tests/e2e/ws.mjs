// npm's ws as a client: usage: node ws.mjs CLIENT_ADDRESS ADMIN_ADDRESS. By TLS with TLS_CA in the environment, a file of
// certificates to trust. Exit status 0: all held.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import WebSocket from 'ws';

const [client, admin] = process.argv.slice(2);
const trust = process.env.TLS_CA ? { ca: readFileSync(process.env.TLS_CA) } : {};
const scheme = process.env.TLS_CA ? 'wss://' : 'ws://';
const deadline = setTimeout(() => { console.error('took too long'); process.exit(1); }, 600000);

// Messages that arrived wait in .queue until next() asks.
function open(path, protocols, options) {
  const s = new WebSocket(scheme + client + path, protocols, { ...trust, ...options });
  s.queue = [];
  s.on('message', (data, binary) => {
    s.queue.push(binary ? data : data.toString());
    s.emit('queued');
  });
  return once(s, 'open').then(() => s);
}

async function next(s) {
  while (!s.queue.length) await once(s, 'queued');
  return s.queue.shift();
}

const checks = {
  async 'text and binary between two clients'() {
    const [a, b] = [await open('/ws/npm'), await open('/ws/npm')];
    a.send('text ä 🐔');
    b.send(Buffer.from([0, 255, 128]));
    for (const s of [a, b]) {
      const got = [await next(s), await next(s)];
      assert(got.includes('text ä 🐔'));
      assert(got.some((m) => Buffer.isBuffer(m) && m.equals(Buffer.from([0, 255, 128]))));
    }
    a.close();
    b.close();
  },
  async 'sizes'() {
    const s = await open('/ws/npm-sizes');
    for (const n of [0, 125, 126, 65535, 65536, 1048576]) {
      s.send('x'.repeat(n));
      assert.equal((await next(s)).length, n);
    }
    s.close();
  },
  async 'fragments, with a ping between'() {
    const s = await open('/ws/npm-fragments');
    s.send('one ', { fin: false });
    s.ping('between');
    s.send('message', { fin: true });
    const [pong] = await once(s, 'pong');
    assert.equal(pong.toString(), 'between');
    assert.equal(await next(s), 'one message');
    s.close();
  },
  async 'subprotocol'() {
    const s = await open('/ws/npm-sub', ['unknown', 'roost-plain']);
    assert.equal(s.protocol, 'roost-plain');
    s.close();
  },
  async 'compression, offered and not'() {
    for (const perMessageDeflate of [true, false]) {
      const s = await open('/ws/npm-deflate', [], { perMessageDeflate });
      assert.equal(s.extensions, perMessageDeflate ? 'permessage-deflate' : '');
      s.send('x'.repeat(10000));
      assert.equal((await next(s)).length, 10000);
      s.close();
    }
  },
  async 'close code and reason'() {
    const s = await open('/ws/npm-close');
    s.close(4321, 'why not');
    const [code] = await once(s, 'close');
    assert.equal(code, 4321);
  },
  async 'too large a message'() {
    const s = await open('/ws/npm-large');
    s.send(Buffer.alloc(1048577));
    const [code, reason] = await once(s, 'close');
    assert.equal(code, 1009);
    assert.match(reason.toString(), /larger/);
  },
  async 'refused handshakes'() {
    for (const [path, options, status] of [['/ws/a%20b', {}, 400], ['/nothing', {}, 404], ['/ws/x', { origin: 'http://evil.example' }, 403]]) {
      const s = new WebSocket(scheme + client + path, [], { ...trust, ...options });
      const [, response] = await once(s, 'unexpected-response');
      assert.equal(response.statusCode, status);
      s.on('error', () => {});
      s.terminate();
    }
  },
  async 'published by fetch, received by all'() {
    const all = await Promise.all(Array.from({ length: 20 }, () => open('/ws/npm-api')));
    const r = await fetch('http://' + admin + '/api/publish', { method: 'POST', body: '{"channel":"npm-api","data":{"n":1}}' });
    assert.deepEqual(await r.json(), { result: {} });
    for (const s of all) {
      assert.equal(await next(s), '{"n":1}');
      s.close();
    }
  },
  async 'several channels'() {
    const [m, a] = [await open('/ws?channel=npm-a&channel=npm-b'), await open('/ws/npm-a')];
    a.send('hello');
    assert.deepEqual(JSON.parse(await next(m)), { channel: 'npm-a', data: 'hello' });
    m.send(JSON.stringify({ channel: 'npm-a', data: 'back' }));
    assert.equal(await next(a), 'hello');
    assert.equal(await next(a), 'back');
    m.close();
    a.close();
  },
  async 'a thousand messages in order'() {
    const [a, b] = [await open('/ws/npm-order?mode=pub'), await open('/ws/npm-order?mode=sub')];
    for (let i = 0; i < 1000; i++) a.send(String(i));
    for (let i = 0; i < 1000; i++) assert.equal(await next(b), String(i));
    a.close();
    b.close();
  },
};

for (const [name, check] of Object.entries(checks)) {
  await check();
  console.log('ok ' + name);
}
clearTimeout(deadline);
