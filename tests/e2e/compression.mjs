// permessage-deflate with npm's ws and headless Chromium, both with their defaults, against a daemon with /echo:
// usage: node compression.mjs CLIENT_ADDRESS.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import WebSocket from 'ws';
import { inBrowser } from './browser.mjs';

const [client] = process.argv.slice(2);
const url = 'ws://' + client;
const prose = Array.from({ length: 3000 }, (_, i) => `{"id":${i},"square":${i * i},"colour":"${['red', 'green'][i % 2]}"}`).join();
const texts = [prose.slice(0, 2000), 'short', prose, '', prose.slice(0, 40000), 'ünïcode '.repeat(500)];

async function open(path, options) {
  const s = new WebSocket(url + path, options);
  s.received = [];
  s.waiting = [];
  s.on('message', (data) => (s.waiting.length ? s.waiting.shift()(data.toString()) : s.received.push(data.toString())));
  await once(s, 'open');
  return s;
}

const next = (s) => (s.received.length ? s.received.shift() : new Promise((got) => s.waiting.push(got)));

const echo = await open('/echo');
assert.match(echo.extensions, /permessage-deflate/);
for (const text of texts) {
  echo.send(text);
  assert.equal(await next(echo), text);
}
echo.close();
console.log('ok ws: echoes');

// Those that keep less: the smallest window that ws itself can read (zlib has none of 256 bytes).
const clients = await Promise.all([open('/ws/mixed'), open('/ws/mixed', { perMessageDeflate: false }),
  open('/ws/mixed', { perMessageDeflate: { serverMaxWindowBits: 9, clientMaxWindowBits: 9 } }),
  open('/ws/mixed', { perMessageDeflate: { serverMaxWindowBits: 12, serverNoContextTakeover: true, threshold: 0 } })]);
assert.deepEqual(clients.map((c) => /deflate/.test(c.extensions)), [true, false, true, true]);
for (const from of clients) {
  for (const text of texts) {
    from.send(text);
    for (const c of clients) {
      assert.equal(await next(c), text);
    }
  }
}
console.log('ok ws: published by each, received by all');

const inPage = (target, messages) => new Promise((over) => {
  const s = new WebSocket(target + '/echo'), got = [];
  s.onopen = () => s.send(messages[0]);
  s.onmessage = (e) => {
    got.push(e.data);
    if (got.length < messages.length) {
      s.send(messages[got.length]);
    } else {
      over({ got, extensions: s.extensions });
    }
  };
  s.onclose = s.onerror = (e) => over({ error: e.code ?? 'error' });
});

const pages = createServer((_, rsp) => rsp.writeHead(200, { 'Content-Type': 'text/html' }).end('<title>compression</title>'));
pages.listen(0, '127.0.0.1');
await once(pages, 'listening');
await inBrowser({ ours: () => true }, async (newPage) => {
  const page = await newPage();
  await page.goto('http://127.0.0.1:' + pages.address().port);
  const result = await page.evaluate(`(${inPage})(${JSON.stringify(url)}, ${JSON.stringify(texts)})`);
  assert.deepEqual(result.got, texts, result.error);
  assert.match(result.extensions, /permessage-deflate/);
  console.log('ok Chromium: echoes');
  await page.close();
  pages.close();
  clients.forEach((c) => c.terminate());
});
