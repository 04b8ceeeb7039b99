// Drives the demo page in headless Chromium: usage: node demo.mjs CLIENT_ADDRESS ADMIN_ADDRESS centrifuge|plain [SCREENSHOT_FOLDER].
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { inBrowser } from './browser.mjs';

const [client, admin, protocol, shots] = process.argv.slice(2);
const scheme = process.env.TLS_CA ? 'https://' : 'http://'; // whoever sets it has Chromium trust it
const CENTRIFUGE_ONLY = /by name|is seen to|said|missed nothing/; // what the plain protocol has not

async function visit(newPage, hash, name) {
  const page = await newPage();
  await page.goto(scheme + client + '/' + hash);
  await page.fill('#name', name);
  await open(page);
  return page;
}

const open = (page) => page.waitForSelector('#state[data-state=open]', { timeout: 90000 });
const message = (page, body) => page.waitForSelector(`#messages li.message .body:text-is(${JSON.stringify(body)})`, { timeout: 90000 });

async function say(page, text) {
  await page.fill('#text', text);
  await page.click('#send');
}

async function publish(channel, data, idempotency_key) {
  const r = await fetch('http://' + admin + '/api/publish', { method: 'POST', body: JSON.stringify({ channel, data, idempotency_key }) });
  assert.ok((await r.json()).result);
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
  async 'both see who is there, by name'() {
    for (const page of [ada, bob])
      for (const who of ['ada', 'bob']) await page.waitForSelector(`#members li .who:text-is("${who}")`, { timeout: 90000 });
    assert.equal(await ada.textContent('#people-count'), '(2)');
    await bob.fill('#name', 'robert');
    await ada.waitForSelector('#members li .who:text-is("robert")', { timeout: 90000 });
    await bob.fill('#name', 'bob');
    await ada.waitForSelector('#members li .who:text-is("bob")', { timeout: 90000 });
  },
  async 'who writes is seen to'() {
    await bob.locator('#text').pressSequentially('wait');
    await ada.waitForSelector('#typing:text-is("bob is typing…")', { timeout: 90000 });
    await bob.press('#text', 'Enter');
    await message(ada, 'wait');
    await ada.waitForSelector('#typing:text-is("")', { state: 'attached', timeout: 90000 });
  },
  async 'who comes late reads what was said, and is seen to leave'() {
    const eve = await visit(newPage, '#e2e', 'eve');
    await message(eve, 'hello from ada');
    await message(eve, 'wait');
    assert.equal(await eve.locator('#messages li.message.own').count(), 0);
    await ada.waitForSelector('#members li .who:text-is("eve")', { timeout: 90000 });
    await eve.close();
    await ada.waitForSelector('#members li .who:text-is("eve")', { state: 'detached', timeout: 90000 });
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
  async 'every worker is killed: both come back and have missed nothing'() {
    const lost = [ada, bob].map((p) => p.waitForSelector('#state:not([data-state=open])', { timeout: 90000 }));
    for (const p of await processes()) if (p.name.startsWith('worker') && p.pid > 0) process.kill(p.pid, 'SIGKILL');
    await Promise.all(lost);
    if (shots) await ada.screenshot({ path: join(shots, 'reconnecting.png') });
    for (let i = 1; i <= 5; i++) {
      // A connection to one of the killed has no answer; the next one is to one that lives. The key makes it once.
      for (let tries = 1; ; tries++) {
        try {
          await publish('e2e', { text: 'while you were away ' + i }, 'away ' + i);
          break;
        } catch (e) { if (tries === 400) throw e; }
        await new Promise((r) => setTimeout(r, 50));
      }
    }
    await open(ada);
    await open(bob);
    await say(bob, 'still here');
    await message(ada, 'still here');
    for (const page of [ada, bob]) {
      const missed = await page.locator('.body', { hasText: 'while you were away' }).allTextContents();
      assert.deepEqual(missed, [1, 2, 3, 4, 5].map((i) => 'while you were away ' + i));
    }
  },
  async 'it fits a narrow screen'() {
    await ada.setViewportSize({ width: 360, height: 640 });
    const wide = await ada.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    assert.equal(wide, 0);
    if (shots) await dark(ada);
    await ada.locator('#send').click({ trial: true });
  },
};

async function dark(page) {
  await page.emulateMedia({ colorScheme: 'dark' });
  await page.screenshot({ path: join(shots, 'dark.png') });
}

let ada, bob, newPage;
// A refused or lost connection is reported by the browser itself; everything else is a fault of the page.
await inBrowser({
  viewport: { width: 1000, height: 700 }, ours: (url) => url.startsWith(scheme + client + '/'), ignored: /WebSocket connection/,
}, async (pages) => {
  newPage = pages;
  ada = await visit(newPage, '#e2e', 'ada');
  bob = await visit(newPage, '#e2e', 'bob');
  for (const [name, check] of Object.entries(checks)) {
    if (protocol === 'plain' && CENTRIFUGE_ONLY.test(name)) continue;
    await check();
    console.log('ok ' + name);
    if (shots) await ada.screenshot({ path: join(shots, name.replace(/\W+/g, '-') + '.png') });
  }
});
