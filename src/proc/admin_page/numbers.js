/* admin_page/numbers.js - what /metrics says, and what it says of the time between two answers. */

const SPAN = 600;   /* s that charts show */
const WINDOW = 60;  /* s that percentiles and "lately" are about */
const HISTOGRAMS = [ /* metric, what it is, in seconds */
  ["roost_publish_to_write_seconds", "publish to first write", true],
  ["roost_batch_duration_seconds", "first to last subscriber of a batch", true],
  ["roost_turn_duration_seconds", "turn of a process", true],
  ["roost_api_duration_seconds", "server API, request to answer", true],
  ["roost_tls_handshake_seconds", "TLS handshake", true],
  ["roost_engine_call_seconds", "call to the engine's server", true],
  ["roost_engine_delivery_lag_seconds", "from another node, by wall clocks", true],
  ["roost_fanout_subscribers", "subscribers per batch", false],
  ["roost_batch_publications", "publications per batch", false],
];

class Metrics {
  constructor(text) {
    this.families = new Map();
    for (const line of text.split("\n")) {
      const m = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)/.exec(line);
      if (!m) continue;
      const labels = {};
      for (const [, k, v] of (m[2] || "").matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g))
        labels[k] = v.replace(/\\(.)/g, (_, c) => c === "n" ? "\n" : c);
      if (!this.families.has(m[1])) this.families.set(m[1], []);
      this.families.get(m[1]).push({ labels, value: Number(m[3]) });
    }
  }
  series(name) {
    return this.families.get(name) || [];
  }
  /* Over all labels, or those with this one. */
  sum(name, label, value) {
    return this.series(name).reduce((n, s) => label === undefined || s.labels[label] === value ? n + s.value : n, 0);
  }
  has(name) {
    return this.families.has(name);
  }
  by(name, label) {
    const all = {};
    for (const s of this.series(name)) all[s.labels[label]] = (all[s.labels[label]] || 0) + s.value;
    return all;
  }
  /* [[upper bound, samples up to it], ...] over all labels. */
  histogram(name) {
    const all = new Map();
    for (const s of this.series(name + "_bucket")) {
      const bound = s.labels.le === "+Inf" ? Infinity : Number(s.labels.le);
      all.set(bound, (all.get(bound) || 0) + s.value);
    }
    return [...all].sort((a, b) => a[0] - b[0]);
  }
}

/* The samples of each bucket between two histograms: [[lower, upper, samples], ...] without empty ones. */
function between(now, before) {
  const all = [];
  now.forEach(([bound, n], i) => {
    const lower = i ? now[i - 1] : [0, 0];
    const was = before.length ? before[i][1] - (i ? before[i - 1][1] : 0) : 0;
    if (n - lower[1] - was > 0) all.push([lower[0], bound, n - lower[1] - was]);
  });
  return all;
}
const samples_of = buckets => buckets.reduce((n, b) => n + b[2], 0);
/* null without samples. Within a bucket samples are taken to be spread evenly. */
function quantile(buckets, q) {
  let left = q * samples_of(buckets);
  for (const [lower, upper, n] of buckets) {
    if (left <= n) return upper === Infinity ? lower : lower + (upper - lower) * left / n;
    left -= n;
  }
  return null;
}
function longest(buckets) {
  const last = buckets[buckets.length - 1];
  return !last ? null : last[1] === Infinity ? last[0] : last[1];
}

/* Everything that was read since the page was opened, as far as it is kept. */
const seen = {
  rows: [],     /* of charts */
  answers: [],  /* { at, metrics, histograms } of the last WINDOW, oldest first */
  processes: null, processes_before: null, processes_at: 0, processes_apart: 0, /* the last two, when, how long between them */
  readyz: "",   /* why the node is not ready */
};
const latest = () => seen.answers[seen.answers.length - 1];

const started = m => m.sum("roost_process_start_time_seconds", "process", "master");

function take_answer(metrics, processes) {
  const at = Date.now() / 1000, last = latest();
  const histograms = {};
  for (const [name] of HISTOGRAMS) histograms[name] = metrics.histogram(name);
  if (last && started(last.metrics) !== started(metrics)) { /* another daemon: its counters began at 0 */
    seen.answers = [];
    seen.rows.push(row_of(at - 0.001, null, null));
  }
  const before = latest();
  seen.answers.push({ at, metrics, histograms });
  seen.processes = processes;
  seen.rows.push(row_of(at, before, latest()));
  while (seen.answers.length > 2 && seen.answers[0].at < at - WINDOW) seen.answers.shift();
  while (seen.rows.length > 2 && seen.rows[0].at < at - SPAN) seen.rows.shift();
}
/* A gap in the charts. */
function take_nothing() {
  if (seen.rows.length && seen.rows[seen.rows.length - 1].connections !== null) seen.rows.push(row_of(Date.now() / 1000, null, null));
}

const RATES = { /* a row's member: the counter that it is the rate of */
  accepts: "roost_accepts_total", closes: "roost_closes_total", messages_in: "roost_messages_in_total",
  publications: "roost_publications_ordered_total", deliveries: "roost_deliveries_total",
  bytes_in: "roost_read_bytes_total", bytes_out: "roost_written_bytes_total", drops: "roost_drops_total",
  lost: "roost_lost_publications_total", refused: "roost_handshake_failures_total",
};
const GAUGES = {
  subscriptions: "roost_subscriptions", queued: "roost_output_queue_bytes", to_hub: "roost_ring_to_hub_bytes",
  to_worker: "roost_ring_to_worker_bytes", hub_queue: "roost_hub_queue_bytes",
};
function row_of(at, before, now) {
  const row = { at, connections: null, p50: null, p99: null, turn: null, cpu: {} };
  const rates = before && now;
  for (const k in RATES) row[k] = rates ? Math.max(0, (now.metrics.sum(RATES[k]) - before.metrics.sum(RATES[k])) / (now.at - before.at)) : null;
  for (const k in GAUGES) row[k] = now ? now.metrics.sum(GAUGES[k]) : null;
  if (now) row.connections = now.metrics.sum("roost_worker_connections");
  if (!rates) return row;
  const spread = name => between(now.histograms[name], before.histograms[name]);
  row.p50 = quantile(spread("roost_publish_to_write_seconds"), 0.5);
  row.p99 = quantile(spread("roost_publish_to_write_seconds"), 0.99);
  row.turn = quantile(spread("roost_turn_duration_seconds"), 0.99);
  const cpu = before.metrics.by("roost_process_cpu_seconds_total", "process");
  for (const [p, v] of Object.entries(now.metrics.by("roost_process_cpu_seconds_total", "process")))
    row.cpu[p] = Math.max(0, (v - (cpu[p] || 0)) / (now.at - before.at));
  return row;
}
/* How much a counter has grown lately, and over which time. */
function lately(name, label, value) {
  const [first, last] = [seen.answers[0], latest()];
  return Math.max(0, last.metrics.sum(name, label, value) - first.metrics.sum(name, label, value));
}
const lately_seconds = () => latest().at - seen.answers[0].at;
const lately_spread = name => between(latest().histograms[name], seen.answers.length > 1 ? seen.answers[0].histograms[name] : []);
const lately_words = () => seen.answers.length > 1 ? `of the last ${age(lately_seconds())}` : "since the start";
const last_row = () => seen.rows[seen.rows.length - 1];
