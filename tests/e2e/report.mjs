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
  for (const row of await section(title).locator('tbody tr').all())
    rows[await row.locator('th').evaluate((th) => th.firstChild.textContent)] = await text(row.locator('td'));
  return rows;
}

/** The points of each line of a chart. */
async function lines(title) {
  const all = [];
  for (const line of await section(title).locator('polyline').all())
    all.push((await line.getAttribute('points')).split(' ').filter((p) => p).map((p) => p.split(',').map(Number)));
  return all;
}

/** What the tip of a chart says, by name, after the keys. */
async function tip(title, ...keys) {
  await section(title).locator('svg').focus();
  for (const key of keys) await page.keyboard.press(key);
  const says = {};
  for (const line of await section(title).locator('.tip:not([hidden]) div').all()) {
    const [name, value] = await text(line.locator('> span, > b'));
    says[name] = value;
  }
  return says;
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
  async 'target and verdict stand above everything else'() {
    const box = page.locator('main > section').first();
    assert.ok((await box.textContent()).includes(d.options.url.split('\n')[0]));
    const says = await box.locator('h2').textContent();
    assert.match(says, { passed: /^Passed/, failed: /^Failed/, 'not judged': /^Not judged/, 'not run': /^Not run/ }[d.verdict]);
    for (const t of d.thresholds) assert.equal(says.includes(t.fail_if), t.failed, says);
  },
  async 'the storm is marked in each chart over time'() {
    const charts = await page.locator('section:has(polyline)').count();
    assert.ok(charts >= 4);
    assert.equal(await page.locator('line.storm').count(), d.storm_at === null ? 0 : charts);
    if (d.storm_at === null) return;
    const x = Number(await section('Connections').locator('line.storm').getAttribute('x1'));
    const [ready] = await lines('Connections');
    const row = d.seconds.findIndex((s) => s.at >= d.storm_at);
    assert.ok(x <= ready[row][0] + 0.1 && (row === 0 || x >= ready[row - 1][0] - 0.1), `${x} among ${ready.map((p) => p[0])}`);
  },
  async 'values by keyboard and pointer'() {
    const first = d.seconds[0], last = d.seconds[d.seconds.length - 1];
    const shown = (s) => ({ [s.at.toFixed(1) + ' s']: s.phase, ready: String(s.ready), connecting: String(s.connecting) });
    assert.deepEqual(await tip('Connections', 'End'), shown(last));
    assert.deepEqual(await tip('Connections', 'Home'), shown(first));
    if (d.seconds.length > 1) assert.deepEqual(await tip('Connections', 'ArrowRight'), shown(d.seconds[1]));
    await page.keyboard.press('Escape');
    assert.equal(await page.locator('.tip:not([hidden])').count(), 0);
    const box = await section('Connections').locator('svg').boundingBox();
    await page.mouse.move(box.x + box.width - 11, box.y + 100);
    assert.equal(await section('Connections').locator('.tip:not([hidden]) div').count(), 3);
    await page.mouse.move(1, 1);
    const main_ = d.latencies[d.main_latency].label.replace(/[()]/g, '\\$&') + ', all samples';
    assert.match(Object.values(await tip(main_, 'Home'))[0], /samples$/);
    await page.keyboard.press('Escape');
  },
  async 'tables and charts can be read aloud'() {
    for (const th of await page.locator('th').all()) {
      assert.notEqual((await th.textContent()).trim(), '');
      assert.match(await th.getAttribute('scope'), /^(row|col)$/);
    }
    for (const table_ of await page.locator('table').all()) {
      const region = table_.locator('xpath=..');
      assert.deepEqual([await region.getAttribute('role'), await region.getAttribute('tabindex')], ['region', '0']);
      assert.ok(await region.getAttribute('aria-label'));
    }
    for (const pic of await page.locator('svg').all()) assert.match(await pic.getAttribute('aria-label'), /: ./);
  },
  async 'no two counters have one name'() {
    const names = Object.values(d.labels);
    assert.equal(new Set(names).size, names.length);
    assert.equal(Object.keys(await table('Counts')).length, names.length);
  },
  async 'each second is a point of each chart, inside its frame'() {
    for (const [title, n] of [['Connections', 2], ['Connects per second', 2], ['Messages per second', 2]]) {
      const all = await lines(title);
      assert.equal(all.length, n, title);
      for (const line of all) {
        assert.equal(line.length, d.seconds.length, title);
        for (const [x, y] of line) assert.ok(x >= 0 && x <= 600 && y >= 0 && y <= 220, `${title}: ${x},${y}`);
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
    for (const [name, n] of Object.entries(d.counters)) assert.equal(rows[d.labels[name]][0], String(n), name);
  },
  async 'thresholds, and which of them failed'() {
    const rows = await table('Thresholds');
    for (const t of d.thresholds) assert.equal(rows[t.fail_if][0], t.failed ? 'FAILED' : 'ok');
    assert.equal(await page.locator('td .bad', { hasText: 'FAILED' }).count(), d.thresholds.filter((t) => t.failed).length);
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
    for (const width of [390, 360, 320]) {
      await page.setViewportSize({ width, height: 640 });
      assert.equal(await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth), 0);
      /* Drawn for this width: text is not shrunk with the picture. */
      await page.waitForFunction(() => [...document.querySelectorAll('svg')].every(
        (s) => Math.abs(s.viewBox.baseVal.width - s.getBoundingClientRect().width) <= 1));
    }
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
