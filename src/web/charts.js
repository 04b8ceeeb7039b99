/* web/charts.js - elements, numbers, charts and tables, for the pages of Roost: roostload's report and the admin page.
   Whatever text is given becomes text: nothing here makes markup of it. Charts are SVG with colors of web/page.css. */

function el(tag, attrs, ...kids) {
  const e = document.createElement(tag);
  for (const k in attrs || {}) e.setAttribute(k, attrs[k]);
  for (const k of kids) e.append(k);
  return e;
}
function svg(tag, attrs, text) {
  const e = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const k in attrs) e.setAttribute(k, attrs[k]);
  if (text !== undefined) e.textContent = text;
  return e;
}
function number(v) {
  if (v >= 1e9) return (v / 1e9).toFixed(2) + " G";
  if (v >= 1e6) return (v / 1e6).toFixed(2) + " M";
  if (v >= 1e4) return (v / 1e3).toFixed(1) + " k";
  if (v > 0 && v < 0.1) return String(Number(v.toPrecision(2)));
  return String(Math.round(v * 100) / 100);
}
function time(s) {
  if (!s) return "–";
  if (s < 1e-3) return Math.round(s * 1e6) + " µs";
  const [v, unit] = s < 1 ? [s * 1e3, " ms"] : [s, " s"];
  return v.toFixed(v < 10 ? 2 : v < 100 ? 1 : 0) + unit;
}
function bytes(v) {
  const u = ["B", "KiB", "MiB", "GiB"];
  let i = 0;
  while (v >= 1024 && i < 3) { v /= 1024; i++; }
  return v.toFixed(i ? 1 : 0) + " " + u[i];
}
/* The round value above v, of which a quarter is round too. */
function round_up(v, base) {
  const p = Math.pow(base, Math.floor(Math.log(v) / Math.log(base) + 1e-9));
  return (base === 2 ? [1, 1.25, 1.5, 1.75, 2] : [1, 2, 4, 8, 10]).map(f => f * p).find(m => m >= v) || v;
}

const H = 220, L = 62, R = 10, T = 16, B = 24; /* of a chart; its width is that of its place */

function swatch(color) {
  const i = el("i", { class: "swatch" });
  i.style.background = `var(--${color})`;
  return i;
}
/* A section that draws itself as wide as it is, and again when that changes or refresh() is called. draw(svg, width) returns
   what the picture says in words, and how what is pointed at is found: nearest(x) is the number of a place, place(i) gives
   [x of the cursor, lines of the tip], count is how many there are, for the arrow keys. */
function picture(title, draw) {
  const box = el("section", {}, el("h2", {}, title));
  const tip = el("div", { class: "tip", role: "status", hidden: "" });
  const pic = svg("svg", { role: "img", tabindex: 0 });
  let found = { count: 0 }, at = -1, width = 0;
  function point(i) {
    at = Math.max(0, Math.min(found.count - 1, i));
    const [x, lines] = found.place(at);
    pic.querySelector(".cursor")?.remove();
    pic.append(svg("line", { class: "cursor", x1: x, x2: x, y1: T, y2: H - B }));
    tip.replaceChildren(...lines.map(([k, v, color]) => el("div", {}, el("span", {}, ...(color ? [swatch(color)] : []), k), el("b", {}, v))));
    tip.hidden = false;
    const room = box.clientWidth - tip.offsetWidth - 8;
    tip.style.left = Math.max(8, Math.min(room, x < width / 2 ? x + 30 : x - tip.offsetWidth)) + "px";
  }
  function leave() {
    tip.hidden = true;
    pic.querySelector(".cursor")?.remove();
  }
  function redraw() {
    pic.setAttribute("viewBox", `0 0 ${width} ${H}`);
    pic.replaceChildren();
    found = draw(pic, width);
    pic.setAttribute("aria-label", found.says);
    if (!tip.hidden && found.count) point(at); else leave();
  }
  function resized() {
    const style = getComputedStyle(box), now = Math.round(box.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight));
    if (!(now > 0) || now === width) return; /* out of the document there is no padding to ask for */
    width = now;
    leave();
    redraw();
  }
  const move = e => {
    const r = pic.getBoundingClientRect();
    if (found.count) point(found.nearest((e.clientX - r.left) * width / r.width));
  };
  pic.addEventListener("pointermove", move);
  pic.addEventListener("pointerdown", move);
  pic.addEventListener("pointerleave", e => { if (e.pointerType === "mouse") leave(); });
  pic.addEventListener("blur", leave);
  pic.addEventListener("keydown", e => {
    const step = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity }[e.key];
    if (step && found.count) { e.preventDefault(); point(Math.max(at + step, 0)); }
    if (e.key === "Escape") leave();
  });
  box.append(pic, tip);
  box.refresh = () => { if (width) redraw(); };
  new ResizeObserver(resized).observe(box);
  return box;
}
/* Lines over time. data() gives { rows, from, to }: each row has `at`, between from and to. A series has a name, a color and
   of(row), null where nothing is known. tick(t) labels the axis, where(row) is the first line of the tip. show makes text of a
   value; log: the scale is logarithmic. mark(pic, x, to, width) draws behind the lines, extra are further words of the legend. */
function lines(title, { data, series, show, log, tick, where, mark, extra = [], says }) {
  const box = picture(title, (pic, W) => {
    const { rows, from, to } = data(), marks = [];
    let top = 0, low = Infinity;
    for (const s of series) for (const p of rows) {
      const v = s.of(p);
      if (v > top) top = v;
      if (v > 0 && v < low) low = v;
    }
    const words = `${title} ${says(from, to)}: ` + series.map(s => `${s.name} at most ${show(Math.max(0, ...rows.map(s.of)))}`).join(", ");
    if (top === 0) top = show === bytes ? 1024 : 1;
    if (!log) top = round_up(top, show === bytes ? 2 : 10);
    if (log) { top = Math.pow(10, Math.ceil(Math.log10(top))); low = Math.pow(10, Math.floor(Math.log10(low === Infinity ? top / 10 : low))); }
    const y = v => log ? H - B - (H - T - B) * (v <= low ? 0 : Math.log(v / low) / Math.log(top / low))
                       : H - B - (H - T - B) * v / top;
    const x = t => L + (W - L - R) * (t - from) / (to - from);
    if (mark) mark(pic, x, to, W);
    if (log) for (let v = low; v <= top * 1.001; v *= 10) marks.push(v);
    else for (let i = 0; i <= 4; i++) marks.push(top * i / 4);
    for (const m of marks) {
      pic.append(svg("line", { class: "axis", x1: L, x2: W - R, y1: y(m), y2: y(m) }));
      pic.append(svg("text", { x: L - 6, y: y(m) + 4, "text-anchor": "end" }, show(m)));
    }
    const steps = W < 420 ? 2 : 4;
    for (let i = 0; i <= steps; i++) {
      const t = from + (to - from) * i / steps;
      pic.append(svg("text", { x: x(t), y: H - 7, "text-anchor": i === steps ? "end" : i ? "middle" : "start" }, tick(t, from, to)));
    }
    for (const s of series)
      for (const run of runs(rows, p => s.of(p) !== null && !(log && s.of(p) <= 0), p => s.of(p) === null)) {
        if (run.length === 1) /* no line */
          pic.append(svg("circle", { cx: x(run[0].at), cy: y(s.of(run[0])), r: 3, fill: `var(--${s.color})` }));
        pic.append(svg("polyline", { points: run.map(p => `${x(p.at).toFixed(1)},${y(s.of(p)).toFixed(1)}`).join(" "),
          fill: "none", stroke: `var(--${s.color})`, "stroke-width": 1.8 }));
      }
    return {
      says: words,
      count: rows.length,
      nearest: px => rows.reduce((best, p, i) => Math.abs(x(p.at) - px) < Math.abs(x(rows[best].at) - px) ? i : best, 0),
      place: i => [x(rows[i].at), [where(rows[i]), ...series.map(s => [s.name, s.of(rows[i]) === null ? "–" : show(s.of(rows[i])), s.color])]],
    };
  });
  box.append(el("p", { class: "legend dim" }, ...series.map(s => el("span", {}, swatch(s.color), s.name)), ...extra));
  return box;
}
/* The rows that are shown, in pieces: a row that cuts lies between two of them. At least one piece, which may be empty. */
function runs(rows, shown, cuts) {
  const all = [[]];
  for (const p of rows) {
    if (cuts(p)) { if (all[all.length - 1].length) all.push([]); }
    else if (shown(p)) all[all.length - 1].push(p);
  }
  if (all.length > 1 && !all[all.length - 1].length) all.pop();
  return all;
}
/* How samples are spread. h() gives { buckets: [[seconds, samples], ...], p50, p99, max }. */
function histogram(title, h) {
  const N = 60;
  return picture(title, (pic, W) => {
    const { buckets, p50, p99, max } = h();
    if (!buckets.length) {
      pic.append(svg("text", { x: W / 2, y: H / 2, "text-anchor": "middle" }, "no samples"));
      return { says: `${title}: no samples`, count: 0 };
    }
    const low = Math.max(buckets[0][0], 1e-7), high = buckets[buckets.length - 1][0] * 1.01;
    const bars = new Array(N).fill(0);
    for (const [v, n] of buckets)
      bars[Math.min(N - 1, Math.floor(N * Math.log(Math.max(v, low) / low) / Math.log(high / low || 2)))] += n;
    const top = Math.max(...bars), bound = i => low * Math.pow(high / low, i / N);
    const w = (W - L - R) / N, x = i => L + i * w, steps = W < 420 ? 2 : 4;
    for (let i = 0; i <= 4; i++) {
      const y = H - B - (H - T - B) * i / 4;
      pic.append(svg("line", { class: "axis", x1: L, x2: W - R, y1: y, y2: y }));
      pic.append(svg("text", { x: L - 6, y: y + 4, "text-anchor": "end" }, number(top * i / 4)));
    }
    for (let i = 0; i <= steps; i++)
      pic.append(svg("text", { x: L + (W - L - R) * i / steps, y: H - 7, "text-anchor": i === steps ? "end" : i ? "middle" : "start" }, time(bound(N * i / steps))));
    bars.forEach((n, i) => {
      const hh = (H - T - B) * n / top;
      if (n) pic.append(svg("rect", { x: x(i), y: H - B - hh, width: Math.max(w - 1, 1), height: hh, fill: "var(--a)" }));
    });
    return {
      says: `${title}: half within ${time(p50)}, 99 % within ${time(p99)}, the longest ${time(max)}`,
      count: N,
      nearest: px => Math.max(0, Math.min(N - 1, Math.floor((px - L) / w))),
      place: i => [x(i) + w / 2, [[`${time(bound(i))} to ${time(bound(i + 1))}`, number(bars[i]) + " samples"]]],
    };
  });
}
/* The first cell of a row names it. A table that is wider than the screen scrolls, also by keyboard. */
function table(title, head, rows, kind) {
  const t = el("table", { class: kind || "" }, el("thead", {}, el("tr", {}, ...head.map(h => el("th", { scope: "col" }, h)))));
  t.append(el("tbody", {}, ...rows.map(([name, ...r]) => el("tr", {}, el("th", { scope: "row" }, ...[name].flat()), ...r.map(c => el("td", {}, c))))));
  return el("section", {}, el("h2", {}, title), el("div", { class: "scroll", role: "region", tabindex: 0, "aria-label": title }, t));
}
