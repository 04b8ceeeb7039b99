// The admin page of a daemon without a key: usage: node admin_open.mjs CLIENT_ADDRESS ADMIN_ADDRESS [SCREENSHOT_FOLDER].
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { once } from 'node:events';
import { inBrowser } from './browser.mjs';

const [, admin] = process.argv.slice(2);
const home = 'http://' + admin + '/';

// Another program's page, on another port of this machine.
const elsewhere = createServer((request, response) => {
  response.setHeader('Content-Type', 'text/html');
  response.end(`<!doctype html><title>elsewhere</title><iframe src="${home}admin"></iframe><script src="${home}admin/app.js"></script>`);
}).listen(0, '127.0.0.1');
await once(elsewhere, 'listening');
const theirs = `http://127.0.0.1:${elsewhere.address().port}/`;

const checks = {
  async 'the listener leads to the page, which asks for no key'() {
    await page.goto(home);
    assert.equal(page.url(), home + 'admin');
    await page.waitForSelector('.verdict h2:not(:empty)', { timeout: 90000 });
    assert.equal(await page.locator('#leave').isVisible(), false);
    assert.equal(await page.locator('#key').count(), 0);
  },
  async 'with a slash behind it, too'() {
    await page.goto(home + 'admin/#/processes');
    assert.equal(page.url(), home + 'admin#/processes');
    await page.waitForSelector('h1:text-is("Workers and rings")', { timeout: 90000 });
  },
  async 'no page from elsewhere may show it in a frame, or take its script'() {
    await page.goto(theirs);
    await page.waitForLoadState('load');
    const inside = await page.evaluate(() => { try { return document.querySelector('iframe').contentDocument?.title ?? 'closed'; } catch { return 'closed'; } });
    assert.notEqual(inside, 'Roost');
    for (const frame of page.frames().slice(1)) assert.equal(await frame.locator('#view').count(), 0);
    assert.equal(await page.evaluate(() => typeof ask_json), 'undefined');
  },
};

let page;
await inBrowser({
  viewport: { width: 1000, height: 700 }, ours: (url) => url.startsWith(home) || url.startsWith(theirs), ignored: /status of 403|frame|ERR_BLOCKED/,
}, async (newPage) => {
  page = await newPage();
  for (const [name, check] of Object.entries(checks)) {
    await check();
    console.log('ok ' + name);
  }
});
