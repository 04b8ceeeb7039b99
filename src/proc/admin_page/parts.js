/* admin_page/parts.js - what views are made of. Texts of the daemon (names of channels, users, data) get into the page as text alone. */

const $ = id => document.getElementById(id);
const whole = v => Math.round(v).toLocaleString("en");
const many = (n, what, more = what + "s") => `${whole(n)} ${n === 1 ? what : more}`;
const maybe = (v, show) => v === null || v === undefined ? "–" : show(v);
const per_second = v => (v < 100 ? number(Math.round(v * 10) / 10) : v < 1e4 ? String(Math.round(v)) : number(v)) + "/s";
const count = v => whole(Math.ceil(v)); /* of a quantile of whole numbers */
const percent = (v, of) => of > 0 ? (100 * v / of).toFixed(v / of < 0.1 ? 1 : 0) + " %" : "–";
const clock = s => new Date(s * 1000).toLocaleTimeString("en-GB");
/* Of an age: the two greatest units. */
function age(s) {
  if (s === null || s === undefined || s < 0) return "–";
  if (s < 1) return Math.round(s * 1000) + " ms";
  if (s < 60) return (s < 10 ? s.toFixed(1) : Math.floor(s)) + " s";
  const [big, u, small, v] = s < 3600 ? [60, "min", 1, "s"] : s < 86400 ? [3600, "h", 60, "min"] : [86400, "d", 3600, "h"];
  const rest = Math.floor(s % big / small);
  return Math.floor(s / big) + " " + u + (rest ? ` ${rest} ${v}` : "");
}
/* An address within the page: #/view/name?option=value. */
function to(view, name, options) {
  return query("#/" + view + (name === undefined ? "" : "/" + encodeURIComponent(name)), options || {});
}
const link = (text, href) => el("a", { href }, text);

/* A table that is kept up to date. Its rows are told apart by key(row) and stay the elements that they are, so that the focus and
   what is selected stay, too. A column: { name, text(row) } with perhaps href(row), node(row) (made once for each row, instead of
   text), draw(cell, row) (instead of text), left (aligned), sort (what its header's button asks for), bad(row) (is marked). */
class Live {
  constructor(title, columns, key, { empty = "none", onsort } = {}) {
    Object.assign(this, { columns, key, empty, rows: new Map() });
    this.heads = columns.map(c => {
      const th = el("th", { scope: "col", class: c.left ? "left" : "" });
      if (c.sort && onsort) {
        const b = el("button", { type: "button", class: "sort" }, c.name);
        b.addEventListener("click", () => onsort(c.sort));
        th.append(b);
      } else th.append(c.name);
      return th;
    });
    this.body = el("tbody");
    this.note = el("p", { class: "dim note", role: "status" });
    this.box = el("section", {}, el("h2", {}, title), el("div", { class: "scroll", role: "region", tabindex: 0, "aria-label": title },
      el("table", {}, el("thead", {}, el("tr", {}, ...this.heads)), this.body)), this.note);
  }
  make(row) {
    const cells = this.columns.map((c, i) => {
      const cell = el(i ? "td" : "th", i ? {} : { scope: "row" });
      if (c.left) cell.className = "left";
      if (c.node) cell.append(c.node(row));
      else if (c.href) cell.append(el("a"));
      return cell;
    });
    return { tr: el("tr", {}, ...cells), cells };
  }
  fill(made, row) {
    this.columns.forEach((c, i) => {
      if (c.bad) made.cells[i].classList.toggle("bad", Boolean(c.bad(row)));
      if (c.node) return;
      if (c.draw) return c.draw(made.cells[i], row);
      const place = c.href ? made.cells[i].firstChild : made.cells[i], text = c.text(row);
      if (place.textContent !== text) place.textContent = text;
      if (c.href) place.href = c.href(row);
    });
  }
  show(rows, note = "") {
    const focus = document.activeElement, keys = new Set(rows.map(this.key));
    for (const [k, made] of this.rows) if (!keys.has(k)) { made.tr.remove(); this.rows.delete(k); }
    rows.forEach((row, i) => {
      const k = this.key(row);
      if (!this.rows.has(k)) this.rows.set(k, this.make(row));
      const made = this.rows.get(k);
      this.fill(made, row);
      if (this.body.children[i] !== made.tr) this.body.insertBefore(made.tr, this.body.children[i] || null);
    });
    if (focus !== document.activeElement && this.body.contains(focus)) focus.focus();
    const words = [rows.length ? "" : this.empty, note].filter(Boolean).join(" · ");
    if (this.note.textContent !== words) this.note.textContent = words;
  }
  sorted(by, down = true) {
    this.columns.forEach((c, i) => {
      if (c.sort && c.sort === by) this.heads[i].setAttribute("aria-sort", down ? "descending" : "ascending");
      else this.heads[i].removeAttribute("aria-sort");
    });
  }
}

/* Names and values. rows: [[name, value: text or element], ...]. */
function facts(title) {
  const list = el("dl", { class: "facts" }), box = el("section", {}, el("h2", {}, title), list);
  box.show = rows => list.replaceChildren(...rows.filter(([, v]) => v !== undefined && v !== null && v !== "")
    .map(([k, v]) => el("div", {}, el("dt", {}, k), el("dd", {}, v))));
  return box;
}
function card(name) {
  const value = el("b", {}, "–"), small = el("span", { class: "dim" }, name);
  const box = el("div", { class: "card" }, value, small);
  box.show = (text, more) => {
    value.textContent = text;
    small.textContent = more ? `${name} · ${more}` : name;
  };
  return box;
}

/* A form of fields: { name, label, value, kind: text, number, data, check or [[value, words], ...], hint }. onsend gets their values; the line below
   says how it went. */
let field_number = 0;
function field({ name, label, value = "", kind = "text", hint }) {
  const id = "f" + ++field_number;
  let input;
  if (Array.isArray(kind)) input = el("select", {}, ...kind.map(k => el("option", { value: k[0] }, k[1])));
  else if (kind === "data") input = el("textarea", { rows: 4, spellcheck: "false" });
  else input = el("input", { type: kind === "check" ? "checkbox" : kind, autocomplete: "off", autocapitalize: "off", spellcheck: "false" });
  if (kind === "check") input.checked = Boolean(value); else input.value = value;
  input.id = id;
  input.name = name;
  if (hint && kind !== "check") input.placeholder = hint;
  const text = el("label", { for: id }, label);
  return el("div", { class: "field " + (typeof kind === "string" ? kind : "choice") }, ...(kind === "check" ? [input, text] : [text, input]));
}
function form(title, fields, button, onsend, { danger, words } = {}) {
  const says = el("p", { class: "outcome", role: "status" });
  const send = el("button", { type: "submit", class: danger ? "danger" : "main" }, button);
  const f = el("form", {}, el("div", { class: "fields" }, ...fields.map(field)), el("div", { class: "row" }, send), says);
  f.addEventListener("submit", async e => {
    e.preventDefault();
    const values = {};
    for (const input of f.elements) if (input.name) values[input.name] = input.type === "checkbox" ? input.checked : input.value;
    send.disabled = true;
    try {
      outcome(says, await onsend(values) || "", true);
    } catch (trouble) {
      outcome(says, told(trouble), false);
    }
    enabled(send);
  });
  const box = el("section", {}, ...(title ? [el("h2", {}, title)] : []), ...(words ? [el("p", { class: "dim" }, words)] : []), f);
  return box;
}
/* A button that is disabled loses the focus. */
function enabled(button) {
  button.disabled = false;
  if (document.activeElement === document.body) button.focus();
}
function outcome(place, words, good) {
  place.className = "outcome " + (good ? "good" : "bad");
  place.textContent = words;
}
/* A trouble in words; of one with the key the page itself takes care. Faults of the page are not hidden. */
function told(trouble) {
  if (!(trouble instanceof Trouble)) throw trouble;
  if (trouble.status === 401) lock("The daemon does not accept the key any more.");
  return trouble.message;
}
/* A button that does something to somebody: asks first. done(words) is told how it went. */
function doer(text, question, yes, act, done) {
  const b = el("button", { type: "button", class: "danger small" }, text);
  b.addEventListener("click", async () => {
    if (!await confirmed(question, yes)) return;
    b.disabled = true;
    try {
      done(await act() || "done", true);
    } catch (trouble) {
      done(told(trouble), false);
    }
    enabled(b);
  });
  return b;
}
function confirmed(question, yes) {
  const box = $("ask");
  $("ask-words").textContent = question;
  $("ask-yes").textContent = yes;
  box.returnValue = "";
  box.showModal();
  return new Promise(resolve => box.addEventListener("close", () => resolve(box.returnValue === "yes"), { once: true }));
}
/* Data of a publication: JSON as it is, short of what would fill the screen. */
function brief(data, most = 2000) {
  const text = typeof data === "string" ? data : JSON.stringify(data);
  return text.length > most ? `${text.slice(0, most)}… (${whole(text.length)} characters)` : text;
}
