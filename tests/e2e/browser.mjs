// Headless Chromium for the tests here: a fresh profile, and everything that a page must not do is noted.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

export const complaints = [];

/** Runs checks({ page: async () => Page }) in a browser of its own, and exits: 0, or 1 with what went wrong.
 *  `ours(url)` says which requests are right; `ignored` matches messages of the console that are no fault of the page; `args` are
 *  Chromium's own, `seconds` are for all of it. */
export async function inBrowser({ viewport, ours, ignored, args = [], seconds = 800 }, checks) {
  const profile = mkdtempSync(join(tmpdir(), 'roost-chromium-'));
  const deadline = setTimeout(() => { console.error('took too long'); process.exit(1); }, seconds * 1000);
  const browser = await chromium.launchPersistentContext(profile, {
    executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
    headless: true,
    viewport,
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
           '--disable-component-update', '--disable-sync', '--disable-dev-shm-usage', ...args],
  });
  let failed = false;

  async function page() {
    const p = await browser.newPage();
    p.on('console', (m) => { if (m.type() === 'error' && !(ignored && ignored.test(m.text()))) complaints.push(m.text()); });
    p.on('pageerror', (e) => complaints.push(String(e)));
    p.on('request', (r) => { if (!ours(r.url()) && !r.url().startsWith('data:')) complaints.push('asked for ' + r.url()); });
    return p;
  }

  try {
    await checks(page);
    if (complaints.length)
      throw new Error('the page complained');
    console.log('ok no error in the console, no request to another host');
  } catch (e) {
    failed = true;
    console.error(e, complaints);
  } finally {
    await browser.close();
    rmSync(profile, { recursive: true, force: true });
    clearTimeout(deadline);
  }
  process.exit(failed ? 1 : 0);
}
