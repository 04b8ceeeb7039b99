// Pages that are not ours, in headless Chromium, against an admin listener without a key:
// usage: node foreign.mjs CLIENT_ADDRESS ADMIN_ADDRESS.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import WebSocket from 'ws';
import { inBrowser } from './browser.mjs';

const [client, admin] = process.argv.slice(2);
const port = admin.split(':')[1];
const pages = createServer((_, rsp) => rsp.writeHead(200, { 'Content-Type': 'text/html' }).end('<title>foreign</title>'));
pages.listen(0, '127.0.0.1');
await once(pages, 'listening');

const subscriber = new WebSocket('ws://' + client + '/ws/c');
const received = [];
subscriber.on('message', (data) => received.push(data.toString()));
await once(subscriber, 'open');

// What a page can do without asking anybody: what it could read of the answers, and whether a WebSocket opened.
const attack = (target) => (async () => {
  const done = [];
  const body = '{"channel":"c","data":"from a foreign page"}';
  await fetch(target + '/api/publish', { method: 'POST', mode: 'no-cors', body }).catch(() => 0);
  for (const path of ['/debug/connections', '/metrics'])
    await fetch(target + path).then(async (r) => done.push(r.status + ' ' + await r.text()), () => 0);
  await new Promise((over) => {
    const s = new WebSocket(target.replace('http', 'ws') + '/ws/c');
    s.onopen = () => { done.push('a WebSocket opened'); s.send('from a foreign page'); s.close(); };
    s.onclose = s.onerror = over;
  });
  return done;
})();

async function nothing(newPage, page, target) {
  const p = await newPage();
  await p.goto(page);
  for (const what of await p.evaluate(attack, target))
    assert.match(what, /^403 without an api_key, /);
  await p.close();
  const r = await fetch('http://' + admin + '/api/publish', { method: 'POST', body: '{"channel":"c","data":"ours"}' });
  assert.deepEqual(await r.json(), { result: {} });
  while (!received.length) await once(subscriber, 'message');
  assert.deepEqual(received.splice(0), ['"ours"']);
}

await inBrowser({
  ours: () => true,
  ignored: /./,
  args: ['--host-resolver-rules=MAP evil.example 127.0.0.1'],
}, async (newPage) => {
  const own = pages.address().port;
  await nothing(newPage, `http://evil.example:${own}/`, `http://127.0.0.1:${port}`);
  console.log('ok a page of another site publishes, reads and opens nothing');
  await nothing(newPage, `http://127.0.0.1:${own}/`, `http://127.0.0.1:${port}`);
  console.log('ok nor does one of another port of this machine');
  await nothing(newPage, `http://evil.example:${port}/metrics`, `http://evil.example:${port}`);
  console.log('ok nor does a name that was made to resolve to 127.0.0.1');
  subscriber.terminate();
  pages.close();
});
