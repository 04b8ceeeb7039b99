/* admin_page/start.js - views and their addresses, the key, the clock. */

const VIEWS = { /* name: [title, make(args, name) -> { nodes, refresh(), every: s at least }, where it stands in the navigation] */
  overview: ["Overview", overview], connections: ["Connections", connections_view], connection: ["Connection", connection_view, "connections"],
  channels: ["Channels", channels_view], channel: ["Channel", channel_view, "channels"], closes: ["Ended", closes_view],
  processes: ["Workers and rings", processes_view], actions: ["Publish, disconnect", actions_view], settings: ["Settings", settings_view],
};
let view = null, shown_at = 0, asking = false, once_more = false, timer = 0, away_since = 0, locked = false, first = true;

const nav = $("nav"), main = $("view");
for (const [name, [title, , under]] of Object.entries(VIEWS)) if (!under) nav.append(link(title, to(name)));

/* ---- which view ---- */

function where() {
  const [path, options] = location.hash.replace(/^#\/?/, "").split("?");
  const [name, ...rest] = path.split("/");
  let what;
  try {
    what = decodeURIComponent(rest.join("/"));
  } catch {
    what = rest.join("/");
  }
  return VIEWS[name] ? { name, what, args: Object.fromEntries(new URLSearchParams(options || "")) } : { name: "overview", what: "", args: {} };
}
function show_view() {
  const { name, what, args } = where(), [title, make, under] = VIEWS[name];
  view = make(args, what);
  view.trouble = el("p", { class: "outcome bad", role: "alert", hidden: "" });
  const head = el("h1", { tabindex: -1 }, what || title);
  main.replaceChildren(head, view.trouble, ...view.nodes);
  document.title = `${what || title} · Roost`;
  for (const a of nav.children) {
    if (a.hash === to(under || name)) a.setAttribute("aria-current", "page"); else a.removeAttribute("aria-current");
  }
  nav.querySelector("[aria-current]").scrollIntoView({ block: "nearest", inline: "nearest" });
  if (!first) head.focus({ preventScroll: true });
  if (!first) scrollTo(0, 0);
  first = false;
  shown_at = 0;
  refresh_view();
}
async function refresh_view() {
  const of = view;
  if (Date.now() - shown_at < (of.every || 0) * 1000 - 500) return;
  shown_at = Date.now();
  try {
    await of.refresh();
    of.trouble.hidden = true;
  } catch (e) {
    const words = told(e);
    if (of !== view || locked) return;
    if (e.status === 0) away(e.message);
    of.trouble.textContent = words;
    of.trouble.hidden = e.status === 0; /* the line above says it */
  }
}
/* Something was done: what is shown has changed. */
function again() {
  shown_at = 0;
  clearTimeout(timer);
  tick();
}

/* ---- the clock ---- */

function say_link(state, word) {
  $("link").dataset.state = state;
  if ($("link-word").textContent !== word) $("link-word").textContent = word;
}
function away(words) {
  away_since = away_since || Date.now() / 1000;
  take_nothing();
  say_link("away", "away");
  const text = `${words} Since ${clock(away_since)}; what is shown is from before. Trying again.`;
  if ($("away").textContent !== text) $("away").textContent = text;
  $("away").hidden = false;
}
function back() {
  away_since = 0;
  $("away").hidden = true;
  say_link("live", Number($("every").value) ? "live" : "paused");
  $("link-at").textContent = clock(Date.now() / 1000);
}
async function read_node() {
  const [metrics, processes] = await Promise.all([ask("metrics"), ask_json("debug/processes")]);
  const at = performance.now() / 1000;
  seen.processes_before = seen.processes;
  seen.processes_apart = at - (seen.processes_at || at);
  seen.processes_at = at;
  take_answer(new Metrics(metrics), processes);
  if (latest().metrics.sum("roost_ready")) seen.readyz = "";
  else seen.readyz = await ask("readyz").then(() => "", e => e.message.replace(/^not ready: /, ""));
  const info = latest().metrics.series("roost_node_info")[0];
  $("node").textContent = info ? info.labels.name : "Roost";
  $("build").textContent = `roostd ${processes.version}`;
}
async function tick() {
  clearTimeout(timer);
  once_more = once_more || asking;
  if (locked || asking) return;
  asking = true;
  try {
    await read_node();
    back();
    if (!view) show_view(); else await refresh_view();
  } catch (e) {
    const words = told(e);
    if (!locked) away(words);
  } finally {
    asking = false;
    if (once_more) setTimeout(tick, 0); else plan();
    once_more = false;
  }
}
function plan() {
  const every = Number($("every").value);
  clearTimeout(timer);
  if (!locked && every && document.visibilityState === "visible") timer = setTimeout(tick, every * 1000);
}
$("every").addEventListener("change", () => { if (Number($("every").value)) tick(); else { clearTimeout(timer); say_link("paused", "paused"); } });
document.addEventListener("visibilitychange", () => { if (document.visibilityState === "visible" && !timer_paused()) tick(); else clearTimeout(timer); });
const timer_paused = () => !Number($("every").value);
document.querySelector(".skip").addEventListener("click", e => { e.preventDefault(); main.focus(); });
addEventListener("hashchange", () => { if (!locked && view) show_view(); });

/* ---- the key ---- */

/* Asks for the key; words say why, if it is not the first time. */
function lock(words = "") {
  locked = true;
  clearTimeout(timer);
  keep_key("");
  view = null;
  seen.rows = [];
  seen.answers = [];
  nav.hidden = $("leave").hidden = $("away").hidden = true;
  away_since = 0;
  say_link("locked", "locked");
  $("link-at").textContent = "";
  const says = el("p", { class: "outcome bad", role: "alert" }, words);
  const input = el("input", { type: "password", id: "key", autocomplete: "off", spellcheck: "false", autocapitalize: "off", required: "", "aria-describedby": "key-words" });
  const open = el("button", { type: "submit", class: "main" }, "Open");
  const f = el("form", {}, el("div", { class: "field" }, el("label", { for: "key" }, "API key"), input), el("div", { class: "row" }, open), says,
    el("p", { class: "dim", id: "key-words" }, "The daemon's setting api_key. It is kept until this tab is closed, and is never part of an address."));
  f.addEventListener("submit", async e => {
    e.preventDefault();
    open.disabled = true;
    says.textContent = "";
    const wrong = await try_key(input.value);
    open.disabled = false;
    if (wrong) {
      says.textContent = wrong;
      input.select();
    } else unlock();
  });
  main.replaceChildren(el("section", { class: "gate" }, el("h1", {}, "Roost"), f));
  input.focus();
}
function unlock() {
  locked = false;
  nav.hidden = false;
  $("leave").hidden = !key;
  main.replaceChildren(el("p", { class: "dim" }, "Asking the daemon…"));
  tick();
}
$("leave").addEventListener("click", () => lock());
$("ask-no").addEventListener("click", () => $("ask").close(""));

if (needs_key && !key) lock(); else unlock();
