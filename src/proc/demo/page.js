
/* The page: what arrives is shown as text, never as markup. */

const ROOMS = ['lobby', 'kitchen', 'music', 'random'];
const MAX_ENTRIES = 500;      // in the list
const MAX_SHOWN = 10000;      // characters of one message
const MAX_MEMBERS = 30;       // shown by name; more only as a number
const SAME_PERSON = 120000;   // ms within which messages of one person are shown as a group
const TYPING_SHOWN = 4000;    // ms after which somebody is no longer said to be typing
const TYPING_EVERY = 2500;    // ms between two words of ours that we are

const $ = (id) => document.getElementById(id);
const log = $('log'), list = $('messages'), text = $('text');

let room = '';
let queue = [], flushTimer = 0;
let lastWho = null, lastAt = 0, unread = 0;
let stuck = true;             // to the newest message, until the reader scrolls up
let fresh = true;             // nothing of this room has been shown yet
const names = new Map();      // client id -> what it calls itself
const typing = new Map();     // client id -> timer
let typedAt = 0, nameTimer = 0, replyTimer = 0;

const link = new Link({
  state: setState,
  notice: (words) => enqueue({ notice: words }),
  message: (publication) => enqueue(read(publication)),
  members: showMembers,
  aside: heardAside,
  entered,
});

/* ---- what is remembered ---- */

function load(key) {
  try { return localStorage.getItem(key); } catch { return null; }
}

function save(key, value) {
  try { localStorage.setItem(key, value); } catch { /* private mode: then not */ }
}

function myName() {
  return $('name').value.trim() || 'guest';
}

/* ---- the connection's news ---- */

function setState(state, word, wait = '') {
  $('state').dataset.state = state;
  if ($('state-word').textContent !== word) $('state-word').textContent = word;
  $('state-wait').textContent = wait;
  if (state === 'open') $('kept').hidden = true; else showTyping(null);
}

function entered(recovered, publications) {
  if (!recovered) enqueue({ notice: 'Some messages were missed while the connection was cut.' });
  for (const p of publications) enqueue(read(p));
  if (fresh && publications.length) enqueue({ notice: 'Above is what was said before you came.' });
  fresh = false;
  link.aside({ hello: myName(), reply: true });
}

/* What is said beside the messages: names, and who is typing. Only a small room answers every newcomer. */
function heardAside(said, client, own) {
  if (own || !client || said === null || typeof said !== 'object') return;
  if (typeof said.hello === 'string') {
    learn(client, said.hello);
    if (said.reply === true && link.protocol.listed && link.protocol.members.size <= MAX_MEMBERS) replyLater();
  }
  if (said.typing === true) showTyping(client);
}

/* One answer serves all who have asked meanwhile; not everybody answers in the same instant. */
function replyLater() {
  if (replyTimer) return;
  replyTimer = setTimeout(() => { replyTimer = 0; link.aside({ hello: myName() }); }, 50 + Math.random() * 300);
}

function tellName() {
  link.aside({ hello: myName() });
  if (link.protocol.members) showMembers(link.protocol.members);
}

function learn(client, name) {
  name = name.trim().slice(0, 40);
  if (!name || names.get(client) === name) return;
  if (names.size > 10000) names.clear();
  names.set(client, name);
  if (link.protocol.members?.has(client)) showMembers(link.protocol.members);
}

function nameOf(client, info) {
  if (client === link.protocol.client) return myName();
  return names.get(client) || info?.user || 'guest ' + client.slice(0, 4);
}

function showTyping(client) {
  if (client === null) {
    for (const timer of typing.values()) clearTimeout(timer);
    typing.clear();
  } else {
    clearTimeout(typing.get(client));
    typing.set(client, setTimeout(() => { typing.delete(client); sayTyping(); }, TYPING_SHOWN));
  }
  sayTyping();
}

function sayTyping() {
  const who = [...typing.keys()].map((client) => nameOf(client));
  $('typing').textContent = who.length > 3 ? who.length + ' people are typing…'
    : who.length > 1 ? who.join(', ') + ' are typing…' : who.length ? who[0] + ' is typing…' : '';
}

function showMembers(members) {
  const rows = [], all = members ? [...members.values()] : [];
  $('people').hidden = members === null;
  $('people-count').textContent = all.length ? '(' + all.length + ')' : '';
  for (const info of all.slice(0, MAX_MEMBERS)) {
    const name = nameOf(info.client, info), row = element('li', info.client === link.protocol.client ? 'own' : '');
    row.append(avatarOf(name), element('span', 'who', name));
    rows.push(row);
  }
  rows.sort((a, b) => Number(b.className === 'own') - Number(a.className === 'own'));
  if (all.length > MAX_MEMBERS) rows.push(element('li', 'more', 'and ' + (all.length - MAX_MEMBERS) + ' more'));
  $('members').replaceChildren(...rows);
}

/* ---- messages ---- */

function read({ data: value, raw, binary, client, user, own }) {
  const who = client === undefined ? 'server' : nameOf(client, { user });
  if (binary !== undefined) return { who: 'anonymous', body: binary + (binary === 1 ? ' byte' : ' bytes'), data: true };
  if (raw !== undefined) return { who: 'anonymous', body: raw };
  if (value === null || typeof value !== 'object') return { who, own, body: typeof value === 'string' ? value : JSON.stringify(value) };
  if (typeof value.text !== 'string') return { who, own, body: JSON.stringify(value, null, 1).replace(/\n\s*/g, ' '), data: true };
  const name = typeof value.user === 'string' && value.user.trim() ? value.user.trim().slice(0, 40) : who;
  if (client && name !== who) learn(client, name);
  if (client && typing.has(client)) {
    clearTimeout(typing.get(client));
    typing.delete(client);
    sayTyping();
  }
  return { who: name, own: own ?? name === myName(), body: value.text, at: Number.isFinite(value.at) ? Math.min(value.at, Date.now()) : undefined };
}

/* A burst is shown in one go: the list is laid out once, however many messages it brings. */
function enqueue(entry) {
  entry.at ??= Date.now();
  queue.push(entry);
  if (queue.length > 2 * MAX_ENTRIES) queue = queue.slice(-MAX_ENTRIES);
  if (!flushTimer) flushTimer = setTimeout(flush, 25);
}

function flush() {
  const part = document.createDocumentFragment();
  flushTimer = 0;
  for (const entry of queue.slice(-MAX_ENTRIES)) part.append(entry.notice ? noticeItem(entry) : messageItem(entry));
  if (document.hidden) unread += queue.filter((entry) => !entry.notice).length;
  queue = [];
  list.append(part);
  while (list.childElementCount > MAX_ENTRIES) list.firstElementChild.remove();
  list.firstElementChild?.classList.remove('same'); // its group's head may just have gone
  if (stuck) toBottom(); else $('newer').hidden = false;
  showTitle();
}

function element(tag, className, content) {
  const e = document.createElement(tag);
  e.className = className;
  if (content !== undefined) e.textContent = content;
  return e;
}

function noticeItem(entry) {
  lastWho = null;
  return element('li', 'notice', entry.notice);
}

function hueOf(who) {
  let h = 7;
  for (const c of who) h = (h * 31 + c.codePointAt(0)) % 360;
  return h;
}

function avatarOf(who) {
  const avatar = element('span', 'avatar', ([...who][0] || '?').toUpperCase());
  avatar.setAttribute('aria-hidden', 'true');
  avatar.style.setProperty('--hue', hueOf(who));
  return avatar;
}

function messageItem(entry) {
  const item = element('li', 'message'), box = element('div', 'box'), meta = element('div', 'meta');
  const avatar = avatarOf(entry.who);
  const date = new Date(entry.at);
  const time = element('time', 'when', date.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' }));
  const shown = entry.body.length > MAX_SHOWN ? entry.body.slice(0, MAX_SHOWN) + '…' : entry.body;

  time.dateTime = date.toISOString();
  time.title = date.toLocaleString();
  if (entry.own) item.classList.add('own');
  if (entry.data) item.classList.add('data');
  if (entry.who === lastWho && entry.at - lastAt < SAME_PERSON) item.classList.add('same');
  lastWho = entry.who;
  lastAt = entry.at;
  meta.append(element('span', 'who', entry.who), time);
  box.append(meta, element('div', 'body', shown));
  item.append(avatar, box);
  return item;
}

function atBottom() {
  return log.scrollHeight - log.scrollTop - log.clientHeight < 48;
}

function toBottom() {
  stuck = true;
  log.scrollTop = log.scrollHeight;
  $('newer').hidden = true;
}

function showTitle() {
  document.title = (unread ? '(' + unread + ') ' : '') + room + ' · Roost';
}

/* ---- rooms ---- */

/* Spaces and what no channel name may hold become dashes. */
function cleanRoom(name) {
  return name.trim().replace(/[\s*"\\\u0000-\u001f\u007f-\u00a0]+/g, '-').slice(0, 200);
}

function roomOfHash() {
  try { return cleanRoom(decodeURIComponent(location.hash.slice(1))); } catch { return ''; }
}

function quoted(s) {
  return "'" + s.replace(/'/g, "'\\''") + "'";
}

function showRoom() {
  const call = JSON.stringify({ channel: room, data: { text: 'hi' } });
  $('room').value = room;
  $('title').textContent = room;
  $('curl').textContent = 'curl -d ' + quoted(call) + ' http://localhost:8001/api/publish';
  $('wscat').textContent = 'npx wscat -c ' + origin() + '/ws/' + encodeRoom(room);
  $('link').textContent = location.href.split('#')[0] + '#' + encodeRoom(room);
  for (const chip of $('rooms').children) chip.setAttribute('aria-pressed', chip.textContent === room);
  showTitle();
}

function enter(name) {
  if (name === room) {
    $('room').value = room;
    link.retryNow();
    return;
  }
  room = name;
  fresh = true;
  queue = [];
  lastWho = null;
  list.textContent = '';
  toBottom();
  showRoom();
  enqueue({ notice: 'This is the start of ' + room + '. Messages appear as they are published.' });
  showTyping(null);
  showMembers(null);
  link.enter(room);
}

/* The hash names the room, so the back button works and a link can be shared. */
function join(name) {
  name = cleanRoom(name) || ROOMS[0];
  if (roomOfHash() !== name) location.hash = encodeRoom(name);
  enter(name);
}

/* ---- events ---- */

function send() {
  if (!text.value.trim()) return;
  if (!link.open) {
    $('kept').hidden = false;
    link.retryNow();
    return;
  }
  link.publish({ user: myName(), text: text.value.trim(), at: Date.now() });
  typedAt = 0;
  text.value = '';
  fit();
  toBottom();
}

function fit() {
  text.style.height = '';
  if (text.scrollHeight > text.clientHeight) text.style.height = text.scrollHeight + 2 + 'px';
}

function startCopy(button) {
  navigator.clipboard.writeText($(button.dataset.copy).textContent).then(() => {
    button.textContent = 'Copied';
    setTimeout(() => { button.textContent = 'Copy'; }, 1500);
  }, () => {});
}

for (const name of ROOMS) {
  const chip = element('button', '', name);
  chip.type = 'button';
  chip.onclick = () => join(name);
  $('rooms').append(chip);
}
for (const button of document.querySelectorAll('[data-copy]')) {
  button.hidden = !navigator.clipboard; // only in a secure context
  button.setAttribute('aria-label', 'Copy the ' + button.dataset.copy + (button.dataset.copy === 'link' ? '' : ' command'));
  button.onclick = () => startCopy(button);
}
$('room-form').onsubmit = (event) => { event.preventDefault(); join($('room').value); };
$('composer').onsubmit = (event) => { event.preventDefault(); send(); text.focus(); };
text.onkeydown = (event) => {
  if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) { event.preventDefault(); send(); }
};
text.oninput = () => {
  fit();
  if (!text.value || Date.now() - typedAt < TYPING_EVERY) return;
  typedAt = Date.now();
  link.aside({ typing: true });
};
$('name').oninput = () => {
  save('roost.name', $('name').value.trim());
  clearTimeout(nameTimer);
  nameTimer = setTimeout(tellName, 400);
};
$('newer').onclick = toBottom;
log.onscroll = () => {
  stuck = atBottom();
  if (stuck) $('newer').hidden = true;
};
new ResizeObserver(() => { if (stuck) toBottom(); }).observe(log);
window.onhashchange = () => enter(roomOfHash() || ROOMS[0]);
window.ononline = () => link.retryNow();
document.onvisibilitychange = () => {
  if (document.hidden) return;
  unread = 0;
  showTitle();
  link.retryNow();
};

$('name').value = load('roost.name') || 'guest-' + Math.floor(1000 + Math.random() * 9000);
save('roost.name', $('name').value);
if (matchMedia('(max-width: 47rem)').matches) $('hint').open = false;
join(roomOfHash());
