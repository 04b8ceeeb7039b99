// Drives the demo page in headless Chromium: usage: node demo.mjs CLIENT_ADDRESS ADMIN_ADDRESS [SCREENSHOT_FOLDER].
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { inBrowser } from './browser.mjs';

const [client, admin, shots] = process.argv.slice(2);

async function visit(newPage, hash, name) {
  const page = await newPage();
  await page.goto('http://' + client + '/' + hash);
  await page.fill('#name', name);
  await open(page);
  return page;
}

const open = (page) => page.waitForSelector('#state[data-state=open]', { timeout: 30000 });
const message = (page, body) => page.waitForSelector(`#messages li.message .body:text-is(${JSON.stringify(body)})`, { timeout: 15000 });

async function say(page, text) {
  await page.fill('#text', text);
  await page.click('#send');
}

async function publish(channel, data) {
  const r = await fetch('http://' + admin + '/api/publish', { method: 'POST', body: JSON.stringify({ channel, data }) });
  assert.deepEqual(await r.json(), { result: {} });
}

async function processes() {
  return (await (await fetch('http://' + admin + '/debug/processes')).json()).processes;
}

const checks = {
  async 'two people chat'() {
    await say(ada, 'hello from ada');
    await message(bob, 'hello from ada');
    await say(bob, 'hello back');
    await message(ada, 'hello back');
    const who = await ada.textContent('#messages li.message:last-child .who');
    assert.equal(who, 'bob');
  },
  async 'markup is shown as text'() {
    await say(ada, '<img src=x onerror="document.title=1"><b>bold</b>');
    await message(bob, '<img src=x onerror="document.title=1"><b>bold</b>');
    assert.equal(await bob.locator('#messages img, #messages b').count(), 0);
  },
  async 'a server publishes'() {
    await publish('e2e', { text: 'from the server', user: 'cron' });
    await message(ada, 'from the server');
    await message(bob, 'from the server');
  },
  async 'rooms are apart'() {
    await bob.fill('#room', 'other');
    await bob.click('#join');
    await open(bob);
    await publish('other', { text: 'only for other' });
    await message(bob, 'only for other');
    assert.equal(await ada.locator('.body', { hasText: 'only for other' }).count(), 0);
    assert.match(bob.url(), /#other$/);
    await bob.goBack();
    await open(bob);
    await publish('e2e', { text: 'welcome back' });
    await message(bob, 'welcome back');
  },
  async 'both reconnect by themselves when every worker is killed'() {
    const lost = [ada, bob].map((p) => p.waitForSelector('#state:not([data-state=open])', { timeout: 15000 }));
    for (const p of await processes()) if (p.name.startsWith('worker') && p.pid > 0) process.kill(p.pid, 'SIGKILL');
    await Promise.all(lost);
    if (shots) await ada.screenshot({ path: join(shots, 'reconnecting.png') });
    await open(ada);
    await open(bob);
    await say(bob, 'still here');
    await message(ada, 'still here');
  },
  async 'it fits a narrow screen'() {
    await ada.setViewportSize({ width: 360, height: 640 });
    const wide = await ada.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    assert.equal(wide, 0);
    await ada.locator('#send').click({ trial: true });
  },
};

let ada, bob;
// A refused or lost connection is reported by the browser itself; everything else is a fault of the page.
await inBrowser({
  viewport: { width: 1000, height: 700 }, ours: (url) => url.startsWith('http://' + client + '/'), ignored: /WebSocket connection/,
}, async (newPage) => {
  ada = await visit(newPage, '#e2e', 'ada');
  bob = await visit(newPage, '#e2e', 'bob');
  for (const [name, check] of Object.entries(checks)) {
    await check();
    console.log('ok ' + name);
    if (shots) await ada.screenshot({ path: join(shots, name.replace(/\W+/g, '-') + '.png') });
  }
});
