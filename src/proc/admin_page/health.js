/* admin_page/health.js - what an operator should know first: what is wrong now, or was lately. */

/* The counters that say that something is not as it should be: counter, label and value or null, words(n), and whether it is bad. */
const ALARMS = [
  ["roost_hang_kills_total", null, n => `${many(n, "process", "processes")} did not move, and ${n === 1 ? "was" : "were"} killed`, true],
  ["roost_lost_publications_total", null, n => `${many(n, "publication")} lost on the way to a worker (hub_queue)`, true],
  ["roost_presence_lost_total", null, n => `${many(n, "change")} of presence lost`, true],
  ["roost_controls_lost_total", null, n => `${many(n, "control message")} did not reach a worker`, true],
  ["roost_drops_total", null, n => `${many(n, "publication")} did not reach slow subscribers`, false],
  ["roost_ring_stalls_total", null, n => `${many(n, "time")} a publisher was not read because the ring to the hub was full`, false],
  ["roost_hub_push_backs_total", null, n => `${many(n, "time")} the hub held publishers back for a worker that does not keep up`, false],
  ["roost_accept_stops_total", "descriptors", n => `${many(n, "time")} no clients were accepted for want of descriptors`, true],
  ["roost_accept_stops_total", "memory", n => `${many(n, "time")} no clients were accepted for want of memory (worker_memory)`, true],
  ["roost_accept_errors_total", null, n => `${many(n, "connection")} could not be accepted`, false],
  ["roost_listen_overflows_total", null, n => `${many(n, "connection")} dropped by the kernel because an accept queue was full`, false],
  ["roost_history_evicted_total", null, n => `${many(n, "publication")} taken from histories because history_memory was used up`, false],
  ["roost_engine_probes_missed_total", null, n => `${many(n, "time")} the engine's server was connected and silent`, false],
  ["roost_api_key_failures_total", null, n => `${many(n, "request")} without the right key`, false],
];

function process_problems(p) {
  const all = [];
  for (const w of p.processes) {
    if (w.phase !== "ready" || w.heartbeat_age > 1)
      all.push([true, `${w.name} does not serve: ${w.phase}, ${w.heartbeat_age > 1 ? `has not moved for ${age(w.heartbeat_age)}` : `process ${w.pid}`}`]);
    else if (w.restarts > 0 && w.uptime < SPAN)
      all.push([false, `${w.name} was started again ${age(w.uptime)} ago, ${many(w.restarts, "time")} in all: the log says why`]);
  }
  if (p.max_connections > 0 && p.connections > 0.8 * p.max_connections)
    all.push([p.connections > 0.95 * p.max_connections,
      `${percent(p.connections, p.max_connections)} of the connections that the node may hold (max_connections ${whole(p.max_connections)})`]);
  return all;
}
function metric_problems(m) {
  const all = [], open = m.by("roost_process_open_fds", "process");
  for (const [name, most] of Object.entries(m.by("roost_process_max_fds", "process")))
    if (open[name] > 0.85 * most) all.push([true, `${name} has ${whole(open[name])} of ${whole(most)} descriptors open`]);
  for (const s of m.series("roost_engine_up"))
    if (!s.value) all.push([true, `the engine's server ${s.labels.shard} is away`]);
  if (m.sum("roost_last_reload_refused")) all.push([false, "the last reload was refused: what is in force is not what the files say"]);
  if (m.sum("roost_last_reload_certificates_kept")) all.push([false, "the last reload found certificates that it could not use: the old ones are in force"]);
  if (m.sum("roost_node_config_mismatch")) all.push([true, "other nodes have settings that must be the same here and are not"]);
  for (const s of m.series("roost_tls_certificate_expiry_timestamp_seconds")) {
    const left = s.value - Date.now() / 1000;
    if (left < 14 * 86400) all.push([left < 3 * 86400, `${s.labels.file} of ${s.labels.listener} ${left < 0 ? "has expired" : "expires in " + age(left)}`]);
  }
  return all;
}
/* [[bad, words], ...], the bad ones first. */
function problems() {
  const m = latest().metrics, p = seen.processes, all = [];
  if (p.draining) all.push([false, "the node drains: its clients are closed, new ones refused"]);
  else if (!m.sum("roost_ready")) all.push([true, "the node takes no new clients" + (seen.readyz ? ": " + seen.readyz : "")]);
  all.push(...process_problems(p), ...metric_problems(m));
  for (const [name, of, words, bad] of ALARMS) {
    const n = of ? lately(name, "for_want_of", of) : lately(name);
    if (n > 0) all.push([bad, words(n) + ` in the last ${age(lately_seconds())}`]);
  }
  const turn = quantile(lately_spread("roost_turn_duration_seconds"), 0.99);
  if (turn !== null && turn > 0.05) all.push([turn > 0.5, `turns take long: 1 % of them more than ${time(turn)}`]);
  return all.sort((a, b) => b[0] - a[0]);
}
function health() {
  const head = el("h2"), sums = el("p"), list = el("ul", { class: "problems" });
  const box = el("section", { class: "verdict" }, head, sums, list);
  box.show = () => {
    const all = problems(), p = seen.processes, bad = all.some(([b]) => b);
    const serving = p.processes.filter(w => w.name.startsWith("worker") && w.phase === "ready" && w.heartbeat_age <= 1).length;
    box.className = "verdict " + (bad ? "failed" : all.length ? "doubtful" : "passed");
    head.className = bad ? "bad" : all.length ? "" : "good";
    const words = bad ? "Something is wrong" : all.length ? "Serves, and there is something to know" : "All is well";
    if (head.textContent !== words) head.textContent = words;
    sums.textContent = `${serving} of ${many(p.workers, "worker")} ${p.workers === 1 ? "serves" : "serve"} ${many(p.connections, "connection")}, ${percent(p.connections, p.max_connections)} of what the node may hold. Up ${age(p.uptime)}.`;
    list.replaceChildren(...all.map(([b, w]) => el("li", b ? { class: "bad" } : {}, w)));
  };
  return box;
}
