/* admin_page/connections.js - connections of all workers, one in full, and those that have ended. */

const WORKER_MISSING = answer => answer.missing && answer.missing.length
  ? `without what ${answer.missing.map(w => "worker" + w).join(", ")} would have said: no answer in time` : "";
const SORTS = [["", "as they come"], ["queued", "most unsent output"], ["age", "oldest"], ["idle", "longest silent"], ["in", "most frames from it"], ["out", "most frames to it"]];
const connection_fields = args => [
  { name: "user", label: "User", value: args.user },
  { name: "channel", label: "Channel", value: args.channel },
  { name: "address", label: "Address", value: args.address, hint: "10.0.0.0/8 or how it begins" },
  { name: "protocol", label: "Protocol", value: args.protocol || "", kind: [["", "any"], ["centrifuge", "centrifuge"], ["plain", "plain"], ["echo", "echo"], ["centrifuge_stream", "centrifuge over HTTP"], ["http", "http"], ["proxy", "PROXY protocol"]] },
  { name: "min_queue", label: "Unsent bytes, at least", value: args.min_queue, kind: "number" },
  { name: "sort", label: "Order", value: args.sort || "", kind: SORTS },
];
const CONNECTION_FILTERS = ["user", "channel", "address", "protocol", "min_queue", "listener", "state", "sort"];

const channel_count = c => c.channels_count ?? (c.channels ? c.channels.length : 0);
function connection_columns() {
  return [
    { name: "connection", text: c => c.id, href: c => to("connection", c.id) },
    { name: "address", text: c => c.address, left: true },
    { name: "protocol", text: c => c.protocol, left: true },
    { name: "user", text: c => c.user === undefined ? "–" : c.user || "(anonymous)", left: true },
    { name: "state", text: c => c.state, left: true },
    { name: "age", text: c => age(c.age), sort: "age" },
    { name: "silent for", text: c => age(c.idle), sort: "idle" },
    { name: "frames in", text: c => whole(c.frames_in), sort: "in" },
    { name: "frames out", text: c => whole(c.frames_out), sort: "out" },
    { name: "unsent", text: c => c.queued ? bytes(c.queued) : "–", bad: c => c.queued > 0, sort: "queued" },
    { name: "channels", text: c => channel_count(c) === 1 && c.channels ? c.channels[0] : whole(channel_count(c)) },
  ];
}
function connections_view(args) {
  const more = el("button", { type: "button", hidden: "" }, "More");
  let pages = 1;
  const list = new Live("Connections", connection_columns(), c => c.id,
    { empty: "no connection matches", onsort: by => { location.hash = to("connections", undefined, { ...args, sort: by }); } });
  list.sorted(args.sort);
  list.box.append(more);
  const asked = {};
  for (const k of CONNECTION_FILTERS) asked[k] = args[k];
  async function refresh() {
    let rows = [], answer = {};
    for (let i = 0; i < pages; i++) {
      answer = await ask_json(query("debug/connections", { worker: "all", limit: 100, ...asked, after: answer.after }));
      rows = rows.concat(answer.connections);
      if (!answer.after) break;
    }
    more.hidden = !answer.after;
    const filtered = CONNECTION_FILTERS.some(k => k !== "sort" && asked[k]);
    const of = answer.matched ?? (filtered ? undefined : answer.total);
    list.show(rows, [`${whole(rows.length)} shown` + (of === undefined ? "" : ` of ${whole(of)}`), WORKER_MISSING(answer)].filter(Boolean).join(" · "));
  }
  more.addEventListener("click", () => { pages++; again(); });
  const filter = form("", connection_fields(args), "Show", values => { location.hash = to("connections", undefined, { ...args, ...values }); });
  return { nodes: [filter, list.box], refresh, every: 5 };
}

/* ---- one of them ---- */

const KNOWN_FACTS = new Set(["id", "worker", "fd", "address", "listener", "by", "protocol", "state", "age", "idle", "frames_in", "frames_out", "queued",
  "queued_frames", "queue_age", "user", "client", "encoding", "mode", "transport", "certificate", "channels", "channels_count", "subscriptions",
  "subscriptions_count", "why_slow", "flags", "held_for", "deadline_in", "partial_bytes", "glitches", "reason", "last_sent_turn"]);
const words_of = v => Array.isArray(v) ? v.join(", ") : typeof v === "object" && v !== null ? JSON.stringify(v) : String(v);

function connection_facts(c) {
  const rest = Object.entries(c).filter(([k]) => !KNOWN_FACTS.has(k)).map(([k, v]) => [k.replaceAll("_", " "), words_of(v)]);
  return [
    ["address", c.address], ["protocol", [c.protocol, c.encoding, c.mode].filter(Boolean).join(", ")],
    ["user", c.user === undefined ? "" : c.user === "" ? "(anonymous)" : link(c.user, to("connections", undefined, { user: c.user }))],
    ["client", c.client], ["state", c.state + (c.reason && c.reason !== "none" ? `, because of ${c.reason}` : "")],
    ["connected for", age(c.age)], ["silent for", age(c.idle)],
    ["by", `${c.by}, ${c.transport || ""}`], ["certificate", c.certificate], ["worker", `worker${c.worker}, descriptor ${c.fd}`],
    ["frames", `${whole(c.frames_in)} in, ${whole(c.frames_out)} out`],
    ["unsent", c.queued ? `${bytes(c.queued)} in ${whole(c.queued_frames ?? 0)} frames, the oldest for ${age(c.queue_age)}` : "nothing"],
    ["incomplete input", c.partial_bytes ? bytes(c.partial_bytes) : ""],
    ["glitches", c.glitches ? whole(c.glitches) : ""], ["next deadline", c.deadline_in >= 0 ? "in " + age(c.deadline_in) : "none"],
    ["held for", words_of(c.held_for || [])], ["flags", words_of(c.flags || [])], ...rest,
  ];
}
function connection_view(args, id) {
  const says = el("p", { class: "outcome", role: "status" });
  const slow = el("section", { class: "verdict" }, el("h2"), el("ul", { class: "problems" }));
  const all = facts("Connection " + id);
  let client, user; /* of a Centrifuge client */
  const subs = new Live("Subscriptions", [
    { name: "channel", text: s => s.channel, href: s => to("channel", s.channel) },
    { name: "is", text: s => s.subscribed === false ? "publishes alone" : [s.live ? "live" : "being made", ...(s.is || [])].join(", "), left: true },
    { name: "position", text: s => s.offset === undefined ? "–" : whole(s.offset) },
    { name: "", node: s => doer("Unsubscribe", `Unsubscribe this client from ${s.channel}? It is told so, and does not come back of itself.`, "Unsubscribe",
      async () => {
        if (!client) throw new Trouble("A plain connection has no client id: it can only be disconnected.", 200);
        await api("unsubscribe", { user, client, channel: s.channel });
        again();
        return "It is unsubscribed from " + s.channel + ".";
      }, (words, good) => outcome(says, words, good)) },
  ], s => s.channel, { empty: "none" });
  const end = doer("Disconnect", `End connection ${id}?`, "Disconnect", async () => {
    await ask(query("debug/disconnect", { id }), { method: "POST" });
    again();
    return "It is disconnected.";
  }, (words, good) => outcome(says, words, good));
  const buttons = el("div", { class: "row" }, end, link("All connections", to("connections")));
  async function refresh() {
    let c;
    try {
      ({ connection: c } = await ask_json(query("debug/connection", { id })));
    } catch (e) {
      if (e.status !== 404) throw e;
      slow.className = "verdict failed";
      slow.firstChild.textContent = "It is not there any more";
      slow.lastChild.replaceChildren(el("li", {}, link("connections that have ended", to("closes"))));
      end.hidden = true;
      return;
    }
    const why = c.why_slow || [];
    ({ client, user } = c);
    slow.className = "verdict " + (why.length ? "doubtful" : "passed");
    slow.firstChild.textContent = why.length ? "Why it is slow" : "It is not slow: nothing waits, neither to it nor from it";
    slow.lastChild.replaceChildren(...why.map(w => el("li", {}, w)));
    all.show(connection_facts(c));
    const list = c.subscriptions || [];
    subs.show(list, list.length < (c.subscriptions_count ?? 0) ? `${list.length} of ${whole(c.subscriptions_count)} shown` : "");
  }
  return { nodes: [slow, all, buttons, says, subs.box], refresh, every: 2 };
}

/* ---- those that have ended ---- */

function closes_view(args) {
  const chosen = args.reason || "";
  const counts = new Live("Reasons", [
    { name: "reason", text: r => r.reason, href: r => to("closes", undefined, { reason: r.reason }) },
    { name: "in words", text: r => r.text || "–", left: true },
    { name: "of these", text: r => whole(r.n) },
    { name: "latest", text: r => maybe(r.time, clock) },
    { name: "since the start", text: r => maybe(r.all, whole) },
  ], r => r.reason, { empty: "no connection has ended yet" });
  const list = new Live(chosen ? `Ended because of ${chosen}` : "The last that ended", [
    { name: "when", text: c => clock(c.time) },
    { name: "reason", text: c => c.reason, left: true },
    { name: "code", text: c => c.code ? String(c.code) : "–" },
    { name: "address", text: c => c.address, left: true },
    { name: "protocol", text: c => c.protocol, left: true },
    { name: "by", text: c => c.by, left: true },
    { name: "lived", text: c => age(c.age) },
    { name: "frames in", text: c => whole(c.frames_in) },
    { name: "frames out", text: c => whole(c.frames_out) },
    { name: "unsent", text: c => c.queued ? bytes(c.queued) : "–", bad: c => c.queued > 0 },
    { name: "connection", text: c => c.id },
  ], c => c.id, { empty: chosen ? "none of those that are remembered; the counters have longer memories" : "no connection has ended yet" });
  async function refresh() {
    const answer = await ask_json(query("debug/closes", { limit: 1000, reason: chosen })).catch(e => {
      if (e.status !== 404) throw e;
      return { closes: [], matched: 0 }; /* a node of another version: there are only the counters */
    });
    const all = latest().metrics.by("roost_closes_total", "reason"), sums = new Map();
    for (const [reason, n] of Object.entries(all))
      if (n > 0 && (!chosen || reason === chosen)) sums.set(reason, { reason, n: 0, all: n });
    for (const c of answer.closes) {
      const r = sums.get(c.reason) || { reason: c.reason, n: 0 };
      r.n++;
      r.text = c.text;
      r.time = Math.max(r.time || 0, c.time);
      sums.set(c.reason, r);
    }
    counts.show([...sums.values()].sort((a, b) => b.n - a.n || b.all - a.all));
    list.show(answer.closes.slice(0, 200), answer.closes.length ? `the last ${whole(Math.min(200, answer.closes.length))} of ${whole(answer.matched)} that are remembered` : "");
  }
  return { nodes: [...(chosen ? [el("p", {}, link("All reasons", to("closes")))] : []), counts.box, list.box], refresh, every: 5 };
}
