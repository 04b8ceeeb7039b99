/* admin_page/processes.js - workers and hub, the rings between them, listeners, nodes, settings. */

const COLORS = ["a", "b", "c", "d"];

/* A counter of a process, per second, between the last two answers. */
function process_rate(p, member) {
  const was = seen.processes_before && seen.processes_before.processes.find(w => w.name === p.name && w.generation === p.generation);
  return was ? Math.max(0, (p[member] - was[member]) / seen.processes_apart) : null;
}
const of_worker = (p, text) => p.name.startsWith("worker") ? text : "–";
function process_table() {
  const t = new Live("Processes", [
    { name: "process", text: p => p.name },
    { name: "state", text: p => p.heartbeat_age > 1 ? "hung for " + age(p.heartbeat_age) : p.phase, bad: p => p.phase !== "ready" || p.heartbeat_age > 1, left: true },
    { name: "CPU", text: p => maybe(last_row().cpu[p.name], v => (100 * v).toFixed(0) + " %"), bad: p => last_row().cpu[p.name] > 0.9 },
    { name: "memory", text: p => bytes(p.rss_bytes) },
    { name: "connections", text: p => of_worker(p, whole(p.connections)) },
    { name: "subscriptions", text: p => of_worker(p, whole(p.subscriptions)) },
    { name: "deliveries", text: p => of_worker(p, maybe(process_rate(p, "deliveries"), per_second)) },
    { name: "publications", text: p => of_worker(p, maybe(process_rate(p, "publications"), per_second)) },
    { name: "descriptors", text: p => whole(latest().metrics.sum("roost_process_open_fds", "process", p.name)) },
    { name: "up", text: p => age(p.uptime) },
    { name: "restarts", text: p => whole(p.restarts), bad: p => p.restarts > 0 && p.uptime < SPAN },
    { name: "pid", text: p => String(p.pid) },
  ], p => p.name);
  t.refresh = () => t.show(seen.processes.processes);
  return t;
}
function cpu_chart() {
  const names = seen.processes.processes.map(p => p.name).filter(n => n === "hub" || n.startsWith("worker")).slice(0, COLORS.length);
  return seen_chart("CPU of processes (cores)", names.map((n, i) => [n, COLORS[i], r => r.cpu[n] ?? null]), number);
}
/* How full a ring is, as a bar. */
function draw_fill(cell, { used, capacity }) {
  if (!cell.firstChild) cell.append(el("span", { class: "fill" }, el("i")));
  cell.firstChild.firstChild.style.width = Math.max(used > 0 ? 2 : 0, Math.min(100, 100 * used / capacity)) + "%";
}
function ring_table() {
  const t = new Live("Rings", [
    { name: "between", text: r => r.name },
    { name: "used", text: r => bytes(r.used), bad: r => r.used > 0.5 * r.capacity },
    { name: "of it", text: r => percent(r.used, r.capacity) },
    { name: "", draw: draw_fill },
    { name: "carried", text: r => maybe(r.rate, v => bytes(v) + "/s") },
    { name: "reader", text: r => r.consumer_sleeps ? "sleeps" : "is awake", left: true },
  ], r => r.name);
  let before = null;
  t.refresh = async () => {
    const answer = await ask_json("debug/rings"), at = performance.now() / 1000, made = new Map();
    const rows = answer.links.flatMap(l => [["to_hub", `worker${l.worker} → hub`], ["to_worker", `hub → worker${l.worker}`]].map(([k, name]) => {
      const was = before && before.made.get(name);
      made.set(name, l[k].produced);
      return { name, capacity: answer.capacity, ...l[k], rate: was === null || was === undefined ? null : Math.max(0, (l[k].produced - was) / (at - before.at)) };
    }));
    before = { at, made };
    t.show(rows, `each of ${bytes(answer.capacity)}; queued in the hub for full rings: ${bytes(answer.hub.queue_bytes)}`);
    return answer.hub;
  };
  return t;
}
function turn_table() {
  const spread = (name, member, q, show) => ({ name, text: w => w[member].count ? show(w[member][q]) : "–" });
  const t = new Live("Turns and batches of each worker", [
    { name: "worker", text: w => "worker" + w.worker }, { name: "turns", text: w => number(w.turns) },
    spread("turn p50", "turn_seconds", "p50", time), spread("p99", "turn_seconds", "p99", time), spread("p99.9", "turn_seconds", "p99.9", time),
    spread("publish to write p50", "publish_to_write_seconds", "p50", time), spread("p99", "publish_to_write_seconds", "p99", time),
    spread("batch p99", "batch_seconds", "p99", time), spread("subscribers p99", "fanout_subscribers", "p99", number),
  ], w => w.worker);
  t.refresh = async () => t.show((await ask_json("debug/turns")).workers, "since each worker's start");
  return t;
}
function listener_table() {
  const t = new Live("Listeners", [
    { name: "listener", text: l => l.name }, { name: "address", text: l => l.address, left: true },
    { name: "for", text: l => [l.kind + "s", l.tls && "TLS", l.proxy_protocol && "PROXY protocol", l.passed && "passed", l.shared && "shared"].filter(Boolean).join(", "), left: true },
    { name: "connections", text: l => whole(l.connections) + (l.max_connections ? ` of ${whole(l.max_connections)}` : "") },
    { name: "accepted", text: l => whole(l.accepts) }, { name: "of each worker", text: l => l.workers.map(whole).join(" · ") },
  ], l => l.name);
  t.refresh = async () => t.show((await ask_json("debug/listeners")).listeners);
  return t;
}
function node_table() {
  const t = new Live("Nodes that share the engine", [
    { name: "node", text: n => n.name + (n.self ? " (this one)" : "") },
    { name: "is", text: n => n.draining ? "draining" : n.agrees ? "in agreement" : "of other settings", bad: n => !n.agrees, left: true },
    { name: "heard", text: n => age(n.heard_ago) + " ago", bad: n => n.heard_ago > 10 }, { name: "up", text: n => age(n.uptime) },
    { name: "clients", text: n => whole(n.clients) }, { name: "users", text: n => whole(n.users) }, { name: "channels", text: n => whole(n.channels) },
    { name: "memory", text: n => bytes(n.rss_bytes) }, { name: "CPU", text: n => n.cpu.toFixed(2) }, { name: "version", text: n => n.version, left: true },
  ], n => n.uid, { empty: "none: the memory engine orders for this node alone" });
  t.refresh = async () => t.show((await ask_json("debug/nodes")).nodes);
  return t;
}
function processes_view() {
  const hub = facts("Hub"), procs = process_table(), rings = ring_table(), chart = cpu_chart();
  const others = [turn_table(), listener_table(), node_table()];
  return {
    nodes: [procs.box, chart, rings.box, hub, ...others.map(t => t.box)],
    refresh: async () => {
      procs.refresh();
      chart.refresh();
      const [h] = await Promise.all([rings.refresh(), ...others.map(t => t.refresh())]);
      hub.show([["channels", whole(h.channels)], ["members of presences", `${whole(h.members)} (${bytes(h.member_bytes)})`], ["users", whole(h.users)],
        ["queued for full rings", bytes(h.queue_bytes)],
        ["history", `${whole(latest().metrics.sum("roost_history_publications"))} publications of ${whole(latest().metrics.sum("roost_history_channels"))} channels, ${bytes(latest().metrics.sum("roost_history_bytes"))}`]]);
    },
  };
}

/* ---- settings ---- */

function settings_view() {
  const text = el("pre", { tabindex: 0, "aria-label": "settings in force" });
  const find = el("input", { type: "search", id: "find", autocomplete: "off", spellcheck: "false" });
  let all = "";
  const show = () => { text.textContent = all.split("\n").filter(l => l.toLowerCase().includes(find.value.toLowerCase())).join("\n"); };
  find.addEventListener("input", show);
  return {
    nodes: [el("section", {}, el("h2", {}, "Settings in force"), el("p", { class: "dim" }, "Secrets are not shown."),
      el("div", { class: "field" }, el("label", { for: "find" }, "Lines with"), find), text)],
    refresh: async () => { all = await ask("debug/config"); show(); }, every: 60,
  };
}
