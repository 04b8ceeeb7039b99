// The demo page where its Origin is not allowed: usage: node refused.mjs CLIENT_ADDRESS [SCREENSHOT_FOLDER].
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { inBrowser } from './browser.mjs';

const [client, shots] = process.argv.slice(2);

await inBrowser({
  viewport: { width: 1000, height: 700 }, ours: (url) => url.startsWith('http://' + client + '/'),
  ignored: /WebSocket connection|403 \(Forbidden\)/,
}, async (newPage) => {
  const page = await newPage();
  let sockets = 0;
  page.on('websocket', () => sockets++);
  await page.goto('http://' + client + '/#e2e');
  const notice = page.locator('#messages li.notice', { hasText: 'allowed_origins' });
  await notice.waitFor({ timeout: 90000 });
  assert.match(await notice.textContent(), /this Origin is not allowed \(http:\/\/[0-9.:]+\)/);
  console.log('ok the page says why');
  await page.waitForSelector('#state:has-text("refused")', { timeout: 90000 });
  const patient = () => page.waitForFunction(() => // longer than it waits for a server that is away
    parseInt(document.getElementById('state-wait').textContent.replace(/\D+/g, ''), 10) > 15, null, { timeout: 90000 });
  await patient();
  await page.evaluate(() => window.dispatchEvent(new Event('online'))); // tries at once
  await patient();
  assert.ok(sockets >= 1 && sockets <= 2, sockets + ' attempts');
  assert.equal(await notice.count(), 1);
  console.log('ok it is said once, and asked for rarely');
  if (shots) await page.screenshot({ path: join(shots, 'refused.png') });
});
