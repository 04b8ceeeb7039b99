// Drives the admin page in headless Chromium: usage: node admin.mjs CLIENT_ADDRESS ADMIN_ADDRESS SETTINGS_FILE TOKEN_SECRET [SCREENSHOT_FOLDER].
// The daemon has two workers and the keys below; the file is rewritten at the end, so that the key is another.
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { connect as connectTcp } from 'node:net';
import { join } from 'node:path';
import WebSocket from 'ws';
import { Centrifuge } from 'centrifuge';
import { complaints, inBrowser } from './browser.mjs';

const KEY = 'the+key/of=ops', METRICS_KEY = 'the-key-of-the-scraper';
const CHANNEL = "</script><img/src=x/onerror=document.title=1><b/id=injected>'&amp;"; // a channel's name has neither spaces nor "
const HOSTILE = '</script><img src=x onerror="document.title=1"><b id=injected>"&amp;';
const [client, admin, settings, secret, shots] = process.argv.slice(2);
const home = 'http://' + admin + '/admin';

/* ---- the daemon and its clients ---- */

async function ask(path, options = {}) {
  const r = await fetch('http://' + admin + '/' + path, { ...options, headers: { 'X-API-Key': KEY } });
  assert.equal(r.status, 200, path);
  return r.text();
}
const json = async (path) => JSON.parse(await ask(path));
const api = async (method, request) => JSON.parse(await ask('api/' + method, { method: 'POST', body: JSON.stringify(request) })).result;
async function metric(name) {
  return Number(new RegExp(`^${name} (.*)$`, 'm').exec(await ask('metrics'))[1]);
}
const base64url = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
function token(claims) {
  const text = base64url({ alg: 'HS256', typ: 'JWT' }) + '.' + base64url(claims);
  return text + '.' + createHmac('sha256', secret).update(text).digest('base64url');
}
const clients = [];
async function connect(user, ...channels) {
  const c = new Centrifuge('ws://' + client + '/connection/websocket', { websocket: WebSocket, token: token({ sub: user, info: { name: user } }) });
  clients.push(c);
  c.subs = channels.map((name) => c.newSubscription(name));
  for (const s of c.subs) s.subscribe();
  c.connect();
  await c.ready(90000);
  for (const s of c.subs) await s.ready(90000);
  return c;
}

/* ---- the page ---- */

const PATIENCE = 90000; // ms
const section = (title) => page.locator('section', { has: page.locator(`h2:text-is(${JSON.stringify(title)})`) });
const exactly = (text) => new RegExp('^' + text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&') + '$');
const row = (title, name) => section(title).locator('tbody tr', { has: page.locator('th', { hasText: exactly(name) }) });
const shown = (locator) => locator.first().waitFor({ timeout: PATIENCE });
const gone = (locator) => locator.first().waitFor({ state: 'detached', timeout: PATIENCE });
async function go(view, title) {
  await page.evaluate((h) => { location.hash = h; }, '#/' + view);
  await shown(page.locator(`h1:text-is(${JSON.stringify(title)})`));
}
async function until(what, condition) {
  for (const end = Date.now() + PATIENCE; Date.now() < end; await new Promise((r) => setTimeout(r, 50)))
    if (await condition()) return;
  assert.fail(what);
}
async function picture(name) {
  if (shots) await page.screenshot({ path: join(shots, `admin-${name}.png`), fullPage: true });
}
async function type_key(key) {
  await page.fill('#key', key);
  await page.keyboard.press('Enter');
}
async function unlock() {
  await type_key(KEY);
  await shown(page.locator('.verdict h2:not(:empty)'));
}
const confirm = async () => {
  await shown(page.locator('dialog[open]'));
  await page.click('#ask-yes');
};

const checks = {
  async 'nothing is asked for before there is a key'() {
    await page.goto(home);
    await shown(page.locator('#key'));
    assert.deepEqual(requests.map((u) => new URL(u).pathname).filter((p) => !/^\/admin(\/(app\.js|style\.css|icon\.svg))?$/.test(p)), []);
    assert.equal(await metric('roost_api_key_failures_total'), 0);
    await picture('key');
  },
  async 'a wrong key is said, that of the scraper too'() {
    await type_key('kein Schlüssel');
    await shown(page.locator('.gate [role=alert]', { hasText: 'does not accept this key' }));
    await type_key(METRICS_KEY);
    await shown(page.locator('.gate [role=alert]', { hasText: 'opens /metrics alone' }));
    assert.equal(await page.evaluate(() => sessionStorage.length + localStorage.length), 0);
  },
  async 'the key opens the page and is in the session alone'() {
    await unlock();
    assert.deepEqual(await page.evaluate(() => Object.values(sessionStorage)), [KEY]);
    assert.equal(await page.evaluate(() => localStorage.length), 0);
    assert.deepEqual(await page.context().cookies(), []);
    for (const url of [page.url(), ...requests]) assert.ok(!decodeURIComponent(url).includes(KEY), url);
    for (const path of ['admin', 'admin/app.js', 'admin/style.css']) {
      const text = await ask(path);
      assert.ok(!text.includes(KEY) && !text.includes(METRICS_KEY) && !text.includes(secret), path);
    }
    await page.reload();
    await shown(page.locator('.verdict h2:not(:empty)'));
  },
  async 'it says how the node is'() {
    await page.selectOption('#every', '1');
    const p = await json('debug/processes');
    const says = new RegExp(`2 of 2 workers serve ${p.connections} connection`); // one that stood still for a second is told for a moment
    await until('the page says who serves', async () => says.test(await page.textContent('.verdict p')));
    await shown(page.locator('.card', { hasText: /connections/ }).locator(`b:text-is("${p.connections}")`));
    await shown(page.locator('.card', { hasText: 'subscriptions' }).locator('b:text-is("4")'));
    assert.equal(await page.textContent('#build'), 'roostd ' + p.version);
  },
  async 'charts go on, and can be read by keyboard'() {
    const line = section('Connections').locator('polyline').first();
    await until('the chart goes on', async () => ((await line.getAttribute('points')) || '').split(' ').length >= 3);
    await section('Connections').locator('svg').focus();
    await page.keyboard.press('End');
    const tip = section('Connections').locator('.tip:not([hidden]) div');
    assert.match((await tip.allTextContents())[1], /^connections\d+$/);
    const first = await tip.first().textContent();
    await until('what is pointed at moves with time', async () => { await page.keyboard.press('End'); return await tip.first().textContent() !== first; });
    await page.keyboard.press('Escape');
    for (const pic of await page.locator('svg').all()) assert.match(await pic.getAttribute('aria-label'), /: ./);
  },
  async 'rates and percentiles are of what happens'() {
    await until('deliveries are counted', async () => {
      await api('publish', { channel: 'news', data: { n: 1 } });
      return /^[1-9]/.test(await page.locator('.card', { hasText: 'deliveries' }).locator('b').textContent());
    });
    await shown(row('Percentiles', 'publish to first write'));
    const cells = await row('Percentiles', 'publish to first write').locator('td').allTextContents();
    assert.match(cells[1], /(µs|ms| s)$/);
    assert.match(await page.locator('.card', { hasText: 'p99' }).locator('b').textContent(), /(µs|ms| s)$/);
    await picture('overview');
  },
  async 'a channel: who is there, what was said, and what is published comes'() {
    await go('channel/news', 'news');
    await shown(row('Who is there', 'ada'));
    const heard = once(ada.subs[0], 'publication');
    await section('Publish').locator('textarea').fill('{"big":12345678901234567890}');
    await section('Publish').locator('button').click();
    await shown(section('Publish').locator('.good', { hasText: 'Published, as number' }));
    await heard;
    await shown(section('History').locator('td:text-is("{\\"big\\":12345678901234567890}")'));
    assert.match(await ask('api/history', { method: 'POST', body: '{"channel":"news","limit":1,"reverse":true}' }), /"big":12345678901234567890/);
    await section('Publish').locator('textarea').fill('{no json');
    await section('Publish').locator('button').click();
    await shown(section('Publish').locator('.bad', { hasText: 'This is no JSON' }));
    await section('Publish').locator('select').selectOption('text');
    await section('Publish').locator('button').click();
    await shown(section('History').locator('td:text-is("{no json")'));
    await picture('channel');
  },
  async 'history goes on behind its first page, and can be forgotten'() {
    await api('batch', { commands: Array.from({ length: 60 }, (_, i) => ({ publish: { channel: 'long', data: 'line ' + i } })) });
    await go('channel/long', 'long');
    await shown(section('History').locator('td:text-is("line 59")'));
    assert.equal(await section('History').locator('tbody tr').count(), 50);
    await section('History').locator('button:text-is("Older")').click();
    await shown(section('History').locator('td:text-is("line 0")'));
    await page.click('button:text-is("Forget history")');
    await page.keyboard.press('Escape');
    await page.click('button:text-is("Forget history")');
    await page.keyboard.press('Enter'); // Cancel has the focus
    assert.equal((await api('history', { channel: 'long', limit: -1 })).publications.length, 60);
    await page.click('button:text-is("Forget history")');
    await confirm();
    await shown(section('History').locator('.note:has-text("nothing is kept")'));
    assert.equal((await api('history', { channel: 'long', limit: -1 })).publications.length, 0);
  },
  async 'a channel without history and presence says so'() {
    await go('channel/bare%3Ax', 'bare:x');
    await shown(section('History').locator('.note', { hasText: 'has no history' }));
    await shown(section('Who is there').locator('.note', { hasText: 'has no presence' }));
  },
  async 'one client is unsubscribed, another disconnected'() {
    await go('channel/news', 'news');
    const left = once(bob.subs[0], 'unsubscribed'), ended = once(eve, 'disconnected');
    await row('Who is there', 'bob').locator('button:text-is("Unsubscribe")').click();
    await confirm();
    assert.equal((await left)[0].code, 2000);
    await gone(row('Who is there', 'bob'));
    await row('Who is there', 'eve').locator('button:text-is("Disconnect")').click();
    await confirm();
    assert.equal((await ended)[0].code, 3503);
    await gone(row('Who is there', 'eve'));
  },
  async 'publish, unsubscribe and disconnect by name'() {
    await go('actions', 'Publish, disconnect');
    const fill = async (title, values) => { for (const k in values) await section(title).locator(`[name=${k}]`).fill(values[k]); };
    await section('Disconnect').locator('button').click();
    await shown(section('Disconnect').locator('.bad', { hasText: 'Name a user' }));
    await fill('Publish', { channel: 'news', data: '"by name"' });
    const heard = once(ada.subs[0], 'publication');
    await section('Publish').locator('button').click();
    assert.equal((await heard)[0].data, 'by name');
    const left = once(ada.subs[1], 'unsubscribed'), ended = once(ada, 'disconnected');
    await fill('Unsubscribe', { user: 'ada', channel: 'other' });
    await section('Unsubscribe').locator('button').click();
    await confirm();
    await left;
    await fill('Disconnect', { user: 'ada', code: '4501', reason: 'come tomorrow' });
    await section('Disconnect').locator('button').click();
    await confirm();
    const [ctx] = await ended;
    assert.deepEqual([ctx.code, ctx.reason], [4501, 'come tomorrow']);
    await shown(section('Disconnect').locator('.good', { hasText: 'They are disconnected' }));
    await picture('actions');
  },
  async 'connections by what they are; one in full, which is ended'() {
    const zoe = await connect('zoe', 'news', 'other');
    await go('connections', 'Connections');
    await shown(section('Connections').locator('td:text-is("zoe")'));
    await page.fill('[name=user]', 'zoe');
    await page.keyboard.press('Enter');
    await until('one is left', async () => await section('Connections').locator('tbody tr').count() === 1);
    await picture('connections');
    await section('Connections').locator('tbody a').click();
    await shown(page.locator('.verdict h2', { hasText: 'It is not slow' }));
    for (const name of ['news', 'other']) await shown(row('Subscriptions', name).locator('td', { hasText: 'live' }));
    const left = once(zoe.subs[1], 'unsubscribed'), ended = once(zoe, 'disconnected');
    await picture('connection');
    await row('Subscriptions', 'other').locator('button').click();
    await confirm();
    await left;
    await gone(row('Subscriptions', 'other'));
    await page.click('main > .row > button:text-is("Disconnect")');
    await confirm();
    await ended;
    await shown(page.locator('.verdict h2', { hasText: 'It is not there any more' }));
  },
  async 'who does not read is found by the queue, and it is said why'() {
    const socket = connectTcp(Number(client.split(':')[1]), '127.0.0.1');
    socket.write(`GET /ws/slow HTTP/1.1\r\nHost: ${client}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n`);
    await once(socket, 'data');
    socket.pause();
    const data = 'x'.repeat(200000);
    await until('it has a queue that stays: the sockets of both sides have taken what they can', async () => {
      const [top] = (await json('debug/connections?worker=all&sort=queued&limit=1')).connections;
      if (top.queued > 0) return (await json('debug/connection?id=' + top.id)).connection.queue_age > 0.5;
      await api('publish', { channel: 'slow', data });
      return false;
    });
    await go('connections?sort=queued', 'Connections');
    const top = section('Connections').locator('tbody tr').first();
    await shown(top.locator('td.bad'));
    assert.equal(await section('Connections').locator('th[aria-sort=descending]').textContent(), 'unsent');
    await top.locator('a').click();
    await shown(page.locator('.verdict li', { hasText: 'the socket is full' }));
    await shown(row('Subscriptions', 'slow'));
    await picture('slow');
    socket.destroy();
  },
  async 'what has ended, by reason'() {
    await go('closes', 'Ended');
    await shown(row('Reasons', 'cf_forced'));
    await row('Reasons', 'cf_forced').locator('a').click();
    const list = section('Ended because of cf_forced').locator('tbody tr');
    await shown(list);
    const { closes } = await json('debug/closes?limit=1000&reason=cf_forced');
    assert.equal(await list.count(), closes.length);
    for (const reason of await list.locator('td:nth-child(2)').allTextContents()) assert.equal(reason, 'cf_forced');
    await picture('ended');
  },
  async 'channels by subscribers, and by name'() {
    await Promise.all([connect('one', 'crowd', 'lonely'), connect('two', 'crowd'), connect('three', 'crowd')]);
    await go('channels', 'Channels');
    await shown(row('Channels', 'crowd').locator('td:text-is("3")'));
    const names = await section('Channels').locator('tbody th').allTextContents();
    assert.ok(names.indexOf('crowd') < names.indexOf('lonely'), names.join());
    await picture('channels');
    await page.fill('[name=pattern]', 'lone*');
    await page.keyboard.press('Enter');
    await gone(row('Channels', 'crowd'));
    await row('Channels', 'lonely').locator('th a').click();
    await shown(page.locator('h1:text-is("lonely")'));
  },
  async 'a channel whose name is a pattern of others is asked for alone'() {
    await Promise.all([connect('one', 'wh?', 'who'), connect('two', 'who', 'wh1', 'what')]);
    // The view before this one goes on asking about its own channel.
    const answers = page.waitForResponse((r) => r.url().endsWith('/api/channels') && /wh/.test(r.request().postData()), { timeout: PATIENCE });
    await go('channel/wh%3F', 'wh?');
    assert.deepEqual((await (await answers).json()).result.channels, { 'wh?': { num_clients: 1 } });
  },
  async 'hostile names and data are text'() {
    await connect(HOSTILE, CHANNEL);
    await api('publish', { channel: CHANNEL, data: HOSTILE, tags: { [HOSTILE]: HOSTILE } });
    await go('channel/' + encodeURIComponent(CHANNEL), CHANNEL);
    await shown(row('Who is there', HOSTILE));
    await shown(section('History').locator('td', { hasText: exactly(HOSTILE) }));
    await row('Who is there', HOSTILE).locator('button').first().click();
    await shown(page.locator('#ask-words', { hasText: HOSTILE }));
    await page.keyboard.press('Escape');
    await harmless();
    for (const [view, title] of [['connections', 'Connections'], ['channels', 'Channels']]) {
      await go(view, title);
      await shown(section(title).locator('tbody', { hasText: view === 'channels' ? CHANNEL : HOSTILE }));
      await harmless();
    }
  },
  async 'the policy lets no script and no markup in'() {
    const before = complaints.length;
    const made = await page.evaluate(() => {
      const s = document.createElement('b');
      try { s.innerHTML = '<i>markup</i>'; return 'markup'; } catch (e) { return e.name; }
    });
    assert.equal(made, 'TypeError');
    assert.equal(await page.evaluate(() => fetch('https://elsewhere.example/').then(() => 'asked', () => 'refused')), 'refused');
    complaints.splice(before); // what the browser has said of these two
  },
  async 'workers and rings; one that is killed is told'() {
    await go('processes', 'Workers and rings');
    for (const name of ['master', 'hub', 'worker0', 'worker1']) await shown(row('Processes', name));
    for (const name of ['worker0 → hub', 'hub → worker1']) await shown(row('Rings', name).locator('td', { hasText: '%' }));
    for (const [title, name] of [['Turns and batches of each worker', 'worker1'], ['Listeners', 'admin_listen']]) await shown(row(title, name));
    await picture('processes');
    const { processes } = await json('debug/processes');
    process.kill(processes.find((p) => p.name === 'worker1').pid, 'SIGKILL');
    await go('overview', 'Overview');
    await shown(page.locator('.problems li', { hasText: 'worker1 was started again' }));
    await picture('trouble');
  },
  async 'settings without secrets'() {
    await go('settings', 'Settings');
    await page.fill('#find', 'workers:');
    await until('the line is found', async () => /^workers: 2$/m.test(await page.textContent('pre')));
    await page.fill('#find', '');
    const text = await page.textContent('pre');
    for (const word of [KEY, METRICS_KEY, secret]) assert.ok(!text.includes(word));
  },
  async 'by keyboard alone'() {
    await go('overview', 'Overview');
    await page.locator('#every').focus();
    for (let i = 0; i < 20 && await page.evaluate(() => document.activeElement.textContent) !== 'Settings'; i++) await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    await shown(page.locator('h1:text-is("Settings")'));
    assert.equal(await page.evaluate(() => document.activeElement.tagName), 'H1');
    await page.keyboard.press('Tab');
    assert.equal(await page.evaluate(() => document.activeElement.id), 'find');
  },
  async 'it fits a phone, light and dark, in each view'() {
    for (const colorScheme of ['dark', 'light']) {
      await page.emulateMedia({ colorScheme });
      for (const [view, title] of [['overview', 'Overview'], ['connections', 'Connections'], ['channels', 'Channels'], ['channel/' + encodeURIComponent(CHANNEL), CHANNEL],
        ['closes', 'Ended'], ['processes', 'Workers and rings'], ['actions', 'Publish, disconnect'], ['settings', 'Settings']]) {
        await page.setViewportSize({ width: 360, height: 740 });
        await go(view, title);
        for (const width of [360, 320]) {
          await page.setViewportSize({ width, height: 740 });
          assert.equal(await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth), 0, view);
        }
      }
    }
    await page.setViewportSize({ width: 1200, height: 900 });
  },
  async 'a daemon that is away is said, and that it is back'() {
    await go('overview', 'Overview');
    await page.context().setOffline(true);
    await shown(page.locator('#away:not([hidden])', { hasText: 'cannot be reached' }));
    await picture('away');
    await page.context().setOffline(false);
    await page.locator('#away').waitFor({ state: 'hidden', timeout: PATIENCE });
    assert.equal(await page.getAttribute('#link', 'data-state'), 'live');
  },
  async 'a key that is changed is asked for again'() {
    writeFileSync(settings, readFileSync(settings, 'utf8').replace(/^api_key: .*$/m, 'api_key: another'));
    const { processes } = await json('debug/processes');
    process.kill(processes.find((p) => p.name === 'master').pid, 'SIGHUP');
    await shown(page.locator('.gate [role=alert]', { hasText: 'does not accept the key any more' }));
    assert.equal(await page.evaluate(() => sessionStorage.length), 0);
    await type_key('another');
    await shown(page.locator('.verdict h2:not(:empty)'));
    await page.click('#leave');
    await shown(page.locator('#key'));
    assert.equal(await page.evaluate(() => sessionStorage.length), 0);
  },
};
async function harmless() {
  assert.equal(await page.locator('#injected, main img').count(), 0);
  assert.notEqual(await page.title(), '1');
}

let page, ada, bob, eve;
const requests = [];
await inBrowser({
  viewport: { width: 1200, height: 900 }, ours: (url) => url.startsWith(home.replace(/admin$/, '')), ignored: /status of 40[134]|ERR_INTERNET_DISCONNECTED/, seconds: 1400,
}, async (newPage) => {
  [ada, bob, eve] = [await connect('ada', 'news', 'other'), await connect('bob', 'news'), await connect('eve', 'news')];
  page = await newPage();
  page.on('request', (r) => requests.push(r.url()));
  for (const [name, check] of Object.entries(checks)) {
    await check();
    console.log('ok ' + name);
  }
  for (const c of clients) c.disconnect();
});
