/* admin_page/ask.js - asking the daemon. The key is kept in this tab's session storage and goes in a header field: it is never part
   of an address, which would end up in histories and logs. */

const STORED = "roost-key", WAIT = 15000; /* ms for an answer */
const needs_key = document.documentElement.dataset.key === "needed";

/* What is wrong, in a sentence. status: of the answer; 0: there was none. */
class Trouble extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

let key = "";
try { key = sessionStorage.getItem(STORED) || ""; } catch { /* no storage: then it is asked for after each loading */ }

function keep_key(text) {
  key = text;
  try {
    if (text) sessionStorage.setItem(STORED, text); else sessionStorage.removeItem(STORED);
  } catch { /* as above */ }
}

/* A field's value is bytes: those of the key in UTF-8. */
const key_bytes = text => String.fromCharCode(...new TextEncoder().encode(text));

async function ask(path, { method = "GET", body, by = key } = {}) {
  let answer, text;
  try {
    answer = await fetch(path, { method, body, cache: "no-store", headers: by ? { "X-API-Key": key_bytes(by) } : {}, signal: AbortSignal.timeout(WAIT) });
    text = await answer.text();
  } catch (e) {
    throw new Trouble(e.name === "TimeoutError" ? `The daemon has not answered within ${WAIT / 1000} s.` : "The daemon cannot be reached.", 0);
  }
  if (answer.ok) return text;
  throw new Trouble(complaint(text) || `The daemon has answered ${answer.status}.`, answer.status);
}
/* Of a refusal: an error object, or a line of text. */
function complaint(text) {
  try {
    const e = JSON.parse(text);
    return (e.error || e).message || "";
  } catch {
    return text.length < 1000 && !text.includes("<") ? text.trim() : ""; /* a proxy's page says nothing that helps */
  }
}
/* Numbers that JavaScript cannot hold stay as they are written, where it can do that. */
const exact = (k, v, c) => typeof v === "number" && c && String(v) !== c.source && JSON.rawJSON ? JSON.rawJSON(c.source) : v;
async function ask_json(path, options = {}) {
  const text = await ask(path, options);
  try {
    return options.exact ? JSON.parse(text, exact) : JSON.parse(text);
  } catch {
    throw new Trouble("What has answered is not Roost: is a proxy in front?", 502);
  }
}
/* A method of the server API; its result. */
async function api(method, request, options) {
  const answer = await ask_json("api/" + method, { method: "POST", body: JSON.stringify(request), ...options });
  if (answer.error) throw new Trouble(answer.error.message, 200);
  return answer.result || {};
}
/* Members that are empty are left out. */
function query(path, members) {
  const q = new URLSearchParams(Object.entries(members).filter(([, v]) => v !== "" && v !== undefined && v !== null));
  return [...q].length ? path + "?" + q : path;
}

/* Resolves to what is wrong with a key; "" when it opens this page, and then it is kept. */
async function try_key(text) {
  const opens = path => ask(path, { by: text }).then(() => "", e => e);
  const wrong = await opens("debug/processes");
  if (!wrong) {
    keep_key(text);
    return "";
  }
  if (wrong.status !== 401) return wrong.message;
  return await opens("metrics") === "" ? "This key opens /metrics alone (metrics_key). This page needs api_key."
                                       : "The daemon does not accept this key. It wants its setting api_key.";
}
