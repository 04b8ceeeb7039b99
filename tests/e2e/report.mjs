// Reads a report of roostload in headless Chromium: usage: node report.mjs PAGE.html DOCUMENT.json [SCREENSHOT_FOLDER].
// The document is that of the same run: what the page shows must be what stands there.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { inBrowser } from './browser.mjs';

const [file, document_, shots] = process.argv.slice(2);
const url = pathToFileURL(resolve(file)).href;
const d = JSON.parse(readFileSync(document_, 'utf8'));

const section = (title) => page.locator('section', { has: page.locator('h2', { hasText: new RegExp('^' + title) }) });
const text = async (locator) => (await locator.allTextContents()).map((t) => t.trim());

/** The rows of a table, by their first cell. */
async function table(title) {
  const rows = {};
  for (const row of await section(title).locator('tbody tr').all()) {
    const [name, ...cells] = await text(row.locator('td'));
    rows[name] = cells;
  }
  return rows;
}

/** The points of each line of a chart. */
async function lines(title) {
  const all = [];
  for (const line of await section(title).locator('polyline').all())
    all.push((await line.getAttribute('points')).split(' ').filter((p) => p).map((p) => p.split(',').map(Number)));
  return all;
}

function seconds(shown) {
  const [number, unit] = shown.split(' ');
  return Number(number) * { 'µs': 1e-6, ms: 1e-3, s: 1 }[unit];
}

const near = (a, b) => assert.ok(Math.abs(a - b) <= 0.02 * b + 1e-6, `${a} is not about ${b}`);

const checks = {
  async 'the head says what was run'() {
    assert.equal(await page.textContent('h1'), 'roostload ' + d.scenario);
    const cards = await text(page.locator('.card'));
    assert.ok(cards.some((c) => c.startsWith(String(d.ready_max)) && c.includes('connections')), cards.join());
    const storm = cards.filter((c) => c.includes('after the storm'));
    assert.equal(storm.length, d.latencies.back.count ? 1 : 0, cards.join());
    if (d.storm_recovery_seconds >= 0) near(seconds(storm[0].match(/^[\d.]+ (µs|ms|s)/)[0]), d.storm_recovery_seconds);
  },
  async 'each second is a point of each chart, inside its frame'() {
    for (const [title, n] of [['Connections', 2], ['Connects per second', 2], ['Messages per second', 2]]) {
      const all = await lines(title);
      assert.equal(all.length, n, title);
      for (const line of all) {
        assert.equal(line.length, d.seconds.length, title);
        for (const [x, y] of line) assert.ok(x >= 0 && x <= 560 && y >= 0 && y <= 220, `${title}: ${x},${y}`);
      }
    }
    const [ready] = await lines('Connections');
    const top = ready.reduce((m, [, y]) => Math.min(m, y), Infinity);
    d.seconds.forEach((s, i) => assert.equal(ready[i][1] === top, s.ready === d.ready_max, `second ${i}`));
  },
  async 'percentiles over time lie above each other'() {
    const [p50, p90, p99, max] = await lines(d.latencies[d.main_latency].label.replace(/[()]/g, '\\$&') + ' over time');
    assert.ok(p50.length > 1);
    p50.forEach(([, y], i) => assert.ok(y >= p90[i][1] && p90[i][1] >= p99[i][1] && p99[i][1] >= max[i][1]));
  },
  async 'the histogram has all samples'() {
    const bars = await section(d.latencies[d.main_latency].label.replace(/[()]/g, '\\$&') + ', all samples').locator('rect').all();
    assert.ok(bars.length > 1);
    for (const bar of bars) assert.ok(Number(await bar.getAttribute('height')) > 0);
  },
  async 'latencies are those of the document'() {
    const rows = await table('Latencies');
    for (const l of Object.values(d.latencies).filter((x) => x.count)) {
      const [, , p50, p90, p99, p999, max] = rows[l.label];
      [[p50, l.p50], [p90, l.p90], [p99, l.p99], [p999, l['p99.9']], [max, l.max]].forEach(([shown, is]) => near(seconds(shown), is));
    }
  },
  async 'counts are those of the document'() {
    const rows = await table('Counts');
    for (const [name, n] of Object.entries(d.counters)) assert.equal(rows[name.replaceAll('_', ' ')][0], String(n), name);
  },
  async 'thresholds, and which of them failed'() {
    const rows = await table('Thresholds');
    for (const t of d.thresholds) assert.equal(rows[t.fail_if][0], t.failed ? 'FAILED' : 'ok');
    assert.equal(await page.locator('.bad', { hasText: 'FAILED' }).count(), d.thresholds.filter((t) => t.failed).length);
  },
  async 'the server for each connection and message'() {
    const rows = await table('Server ');
    near(seconds(rows['CPU per delivered message'][0]), d.server.cpu_seconds_per_message);
    assert.match(rows['private memory per connection'][0], /B$/);
  },
  async 'what the user typed is text'() {
    assert.equal((await table('Options')).channel[0], d.options.channel);
    assert.equal(await page.locator('#injected').count(), 0);
  },
  async 'it fits a narrow screen'() {
    await page.setViewportSize({ width: 360, height: 640 });
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth), 0);
  },
};

let page;
await inBrowser({ viewport: { width: 1200, height: 900 }, ours: (u) => u === url }, async (newPage) => {
  page = await newPage();
  await page.goto(url);
  if (shots) await page.screenshot({ path: join(shots, 'report.png'), fullPage: true });
  for (const [name, check] of Object.entries(checks)) {
    await check();
    console.log('ok ' + name);
  }
});
