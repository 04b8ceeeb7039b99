/* admin_page/overview.js - how the node is: health, figures, charts, percentiles, why connections ended. */

/* A chart over what was seen. series: [name, color, of(row)]. */
function seen_chart(title, series, show, log) {
  return lines(title, {
    series: series.map(([name, color, of]) => ({ name, color, of })), show, log,
    data: () => {
      const rows = seen.rows, end = rows.length ? last_row().at : Date.now() / 1000;
      return { rows, from: Math.min(rows.length ? rows[0].at : end, end - 30), to: end };
    },
    says: (from, end) => `from ${clock(from)} to ${clock(end)}`,
    tick: clock,
    where: row => [clock(row.at), ""],
  });
}
const busiest = row => Object.keys(row.cpu).length ? Math.max(...Object.values(row.cpu)) : null;
const all_cpu = row => Object.keys(row.cpu).length ? Object.values(row.cpu).reduce((a, b) => a + b) : null;

function overview_cards() {
  const list = {
    connections: card("connections"), accepts: card("new connections"), messages_in: card("messages from clients"),
    publications: card("publications"), deliveries: card("deliveries"), latency: card("publish to write, p99"),
    subscriptions: card("subscriptions"), channels: card("channels"), users: card("users"), queued: card("unsent output"),
    cpu: card("CPU"), memory: card("resident memory"),
  };
  const box = el("div", { class: "cards" }, ...Object.values(list));
  box.show = () => {
    const m = latest().metrics, row = last_row(), p = seen.processes;
    const p99 = quantile(lately_spread("roost_publish_to_write_seconds"), 0.99);
    list.connections.show(whole(p.connections), p.max_connections > 0 ? `of ${number(p.max_connections)}` : "");
    for (const k of ["accepts", "messages_in", "publications", "deliveries"]) list[k].show(maybe(row[k], per_second));
    list.latency.show(maybe(p99, time), lately_words());
    list.subscriptions.show(whole(row.subscriptions));
    list.channels.show(whole(m.sum("roost_hub_channels")));
    list.users.show(whole(m.sum("roost_users")));
    list.queued.show(bytes(row.queued), many(m.sum("roost_output_queues"), "connection"));
    list.cpu.show(maybe(all_cpu(row), v => v.toFixed(2)), `cores, ${many(p.workers, "worker")}`);
    list.memory.show(bytes(m.sum("roost_process_resident_memory_bytes")));
  };
  return box;
}
function percentiles() {
  const t = new Live("Percentiles", [
    { name: "what", text: r => r.what }, { name: "samples", text: r => number(r.samples) },
    ...[["p50", 0.5], ["p90", 0.9], ["p99", 0.99], ["p99.9", 0.999]].map(([name, q]) => ({ name, text: r => maybe(quantile(r.buckets, q), r.show) })),
    { name: "most", text: r => maybe(longest(r.buckets), r.show) },
  ], r => r.what, { empty: "nothing has happened yet" });
  t.refresh = () => t.show(HISTOGRAMS.map(([name, what, seconds]) => {
    const buckets = lately_spread(name);
    return { what, buckets, samples: samples_of(buckets), show: seconds ? time : count };
  }).filter(r => r.samples > 0), `${lately_words()}; within a bucket of the histogram values are taken to be spread evenly`);
  return t;
}
/* Reasons of ends and refusals since the daemon was started. */
function reasons() {
  const t = new Live("Why connections ended", [
    { name: "reason", text: r => r.reason, href: r => to("closes", undefined, { reason: r.reason }) },
    { name: "last minute", text: r => whole(r.now) }, { name: "since the start", text: r => whole(r.all) },
    { name: "handshakes refused", text: r => r.refused ? whole(r.refused) : "–" },
  ], r => r.reason, { empty: "nothing has ended yet" });
  t.refresh = () => {
    const m = latest().metrics, refused = m.by("roost_handshake_failures_total", "reason");
    t.show(Object.entries(m.by("roost_closes_total", "reason")).filter(([k, v]) => v > 0 || refused[k] > 0)
      .map(([reason, all]) => ({ reason, all, refused: refused[reason], now: lately("roost_closes_total", "reason", reason) }))
      .sort((a, b) => b.now - a.now || b.all - a.all));
  };
  return t;
}
function overview() {
  const verdict = health(), cards = overview_cards(), spread = percentiles(), why = reasons();
  const charts = [
    seen_chart("Connections", [["connections", "a", r => r.connections]], number),
    seen_chart("Connects and ends per second", [["accepted", "a", r => r.accepts], ["ended", "c", r => r.closes], ["refused", "d", r => r.refused]], number),
    seen_chart("Messages per second", [["deliveries", "a", r => r.deliveries], ["publications", "b", r => r.publications], ["from clients", "c", r => r.messages_in]], number),
    seen_chart("Publish to first write", [["p50", "a", r => r.p50], ["p99", "b", r => r.p99]], time, true),
    seen_chart("Bytes per second", [["written", "a", r => r.bytes_out], ["read", "c", r => r.bytes_in]], bytes),
    seen_chart("CPU (cores)", [["all processes", "a", all_cpu], ["the busiest one", "b", busiest]], number),
    seen_chart("Waiting", [["in clients' queues", "a", r => r.queued], ["in rings", "b", r => r.to_hub === null ? null : r.to_hub + r.to_worker], ["queued in the hub", "d", r => r.hub_queue]], bytes),
    seen_chart("Losses per second", [["not delivered to slow clients", "b", r => r.drops], ["lost", "d", r => r.lost]], number),
  ];
  const all = histogram("Publish to first write, last minute", () => {
    const b = lately_spread("roost_publish_to_write_seconds");
    return { buckets: b.map(([lower, upper, n]) => [upper === Infinity ? lower : upper, n]), p50: quantile(b, 0.5), p99: quantile(b, 0.99), max: longest(b) };
  });
  return {
    nodes: [verdict, cards, el("div", { class: "grid" }, ...charts), all, spread.box, why.box],
    refresh: () => { for (const part of [verdict, cards]) part.show(); for (const part of [spread, why, all, ...charts]) part.refresh(); },
  };
}
