/* The connection: Centrifuge's protocol where the server lets anonymous clients in, else plain WebSocket frames. */

const BACKOFF_MIN = 500, BACKOFF_MAX = 15000;  // ms
const STABLE = 5000;          // ms open, after which the back-off starts anew
const CONNECT_TIMEOUT = 10000;
const REFUSED_RETRY = 60000;  // ms, when the server says that it will not have this page
const TYPING = 'typing:';     // namespace of what is said about a room and not kept

/* Also what encodeURIComponent leaves alone but a shell does not. A slash is an ordinary character of a name. */
function encodeRoom(name) {
  return encodeURIComponent(name).replace(/[!'()*]/g, (c) => '%' + c.charCodeAt(0).toString(16));
}

function origin() {
  return (location.protocol === 'https:' ? 'wss://' : 'ws://') + location.host;
}

/* What both protocols share: one socket at a time, the way back, and asking why. `on` has state(state, word, wait),
 * notice(text), message(publication), members(list or null), aside(data, client), entered(recovered, publications). */
class Link {
  socket = null;              // the only one whose events count
  attempts = 0; retryTimer = 0; tickTimer = 0; retryAt = 0;
  whyTurn = 0; refusal = '';  // what was last said about one
  room = '';
  protocol = new CentrifugeProtocol(this);

  constructor(on) { this.on = on; }

  get open() { return this.socket?.readyState === WebSocket.OPEN && this.protocol.ready; }

  enter(room) {
    this.room = room;
    this.refusal = '';
    this.protocol.enter(room);
  }

  publish(data) { this.protocol.publish(data); }
  aside(data) { if (this.open) this.protocol.aside(data); }

  retryNow() { if (this.retryTimer) this.connect(); }

  stopWaiting() {
    clearTimeout(this.retryTimer);
    clearInterval(this.tickTimer);
    this.retryTimer = this.tickTimer = 0;
  }

  disconnect() {
    const old = this.socket;
    this.stopWaiting();
    this.whyTurn++;
    this.socket = null;
    if (old) old.close(1000);
  }

  connect() {
    this.disconnect();
    this.on.state('connecting', 'connecting');
    const s = this.socket = new WebSocket(origin() + this.protocol.path());
    const giveUp = setTimeout(() => s.close(), CONNECT_TIMEOUT);
    let openedAt = 0;
    s.binaryType = 'arraybuffer';
    s.onopen = () => {
      clearTimeout(giveUp);
      if (s !== this.socket) return;
      openedAt = Date.now();
      this.protocol.opened();
    };
    s.onmessage = (event) => { if (s === this.socket) this.protocol.received(event.data); };
    s.onclose = (event) => {
      clearTimeout(giveUp);
      if (s === this.socket) this.closed(event, openedAt);
    };
  }

  closed(event, openedAt) {
    const wasReady = this.protocol.ready;
    this.socket = null;
    this.protocol.ready = false;
    if (openedAt && Date.now() - openedAt >= STABLE) this.attempts = 0;
    if (!wasReady && this.protocol.refusedBy(event.code)) {
      this.protocol = new PlainProtocol(this);
      this.connect();
      return;
    }
    if (wasReady) this.on.notice('Disconnected' + (event.reason ? ': ' + event.reason : '') + ' (' + event.code + ')');
    if (openedAt) this.retryLater(); else this.askWhy();
  }

  nowOpen() {
    this.refusal = '';
    this.on.state('open', 'connected');
  }

  /* A browser does not tell a page why its WebSocket was refused: the page asks by HTTP, with the same Origin and Host. */
  async askWhy() {
    const turn = ++this.whyTurn;
    let status = 0, said = '';
    this.on.state('closed', 'not connected');
    try {
      const answer = await fetch('/demo/check', { method: 'POST', cache: 'no-store', signal: AbortSignal.timeout(CONNECT_TIMEOUT) });
      status = answer.status;
      said = (await answer.text()).trim().slice(0, 200);
    } catch { /* nobody answers: nothing to say but that we try again */ }
    if (turn !== this.whyTurn || this.socket) return;
    this.tell(this.whyText(status, said));
    this.retryLater(status === 403 ? REFUSED_RETRY : 0);
  }

  whyText(status, said) {
    if (status === 403)
      return 'The server refuses this page: ' + said + ' (' + location.origin + '). Its operator can add it to allowed_origins, or let the ' +
        'proxy in front pass on the Host it was asked for; the server’s log says what it saw.';
    if (status === 503) return 'The server refuses: ' + said + '.';
    if (status === 200 && this.protocol instanceof PlainProtocol && this.protocol.tokenAsked)
      return 'The server lets nobody in without a token. allow_anonymous_connect_without_token: true in its settings opens this page.';
    if (status === 200 && this.attempts > 0)
      return 'The server answers, but no WebSocket opens: a proxy in front must pass on Upgrade and Connection.';
    return '';
  }

  /* Once for each cause, however often it is met. */
  tell(why) {
    if (why && why !== this.refusal) this.on.notice(why);
    if (why) this.refusal = why;
  }

  /* Exponential, with jitter so that a thousand pages do not come back in the same instant. */
  retryLater(atLeast = 0) {
    const ceiling = Math.min(BACKOFF_MAX, BACKOFF_MIN * 2 ** (this.attempts + 1));
    const delay = Math.max(BACKOFF_MIN, atLeast, ceiling * (0.5 + Math.random() / 2));
    const wait = () => ' in ' + Math.max(1, Math.ceil((this.retryAt - Date.now()) / 1000)) + ' s';
    const show = () => this.on.state('closed', atLeast ? 'refused, trying again' : 'reconnecting', wait());
    this.attempts = Math.min(this.attempts + 1, 10);
    this.retryAt = Date.now() + delay;
    show();
    this.retryTimer = setTimeout(() => this.connect(), delay);
    this.tickTimer = setInterval(show, 250);
  }
}

/* Each room is a path, each frame a publication. Nothing is kept, nobody is listed. */
class PlainProtocol {
  ready = false;
  tokenAsked = true;

  constructor(link) { this.link = link; }

  path() { return '/ws/' + encodeRoom(this.link.room); }
  enter() { this.link.connect(); }
  refusedBy() { return false; }
  aside() {}

  opened() {
    this.ready = true;
    this.tokenAsked = false;
    this.link.nowOpen();
    this.link.on.members(null);
    this.link.on.entered(true, []);
  }

  received(data) {
    if (typeof data !== 'string') {
      this.link.on.message({ binary: data.byteLength });
      return;
    }
    try { this.link.on.message({ data: JSON.parse(data) }); } catch { this.link.on.message({ raw: data }); }
  }

  publish(data) { this.link.socket.send(JSON.stringify(data)); }
}

/* One connection for all rooms; what was missed while it was cut comes with the subscription. */
class CentrifugeProtocol {
  ready = false;
  client = '';                // our id on this connection
  nextId = 1;
  waiting = new Map();        // id of a command -> what to do with its reply
  position = null;            // { epoch, offset } of the room
  members = new Map();        // client id -> info, where the server lists them
  listed = false;             // it does
  pingTimer = 0; pingEvery = 0;

  constructor(link) { this.link = link; }

  path() { return '/connection/websocket'; }

  /* 3501: no credentials. 3507: anonymous clients are not wanted. 1006 at once: there is no such path. */
  refusedBy(code) { return code === 3501 || code === 3507; }

  command(body, done) {
    const id = this.nextId++;
    if (done) this.waiting.set(id, done);
    this.link.socket.send(JSON.stringify({ id, ...body }));
  }

  opened() {
    this.waiting.clear();
    this.command({ connect: { name: 'roost-demo' } }, (reply) => {
      if (reply.error) return this.link.socket.close();
      this.client = reply.connect.client;
      this.pingEvery = reply.connect.ping ?? 0;
      this.heard();
      this.ready = true;
      this.link.nowOpen();
      this.subscribe();
    });
  }

  enter(room) {
    const old = this.entered;
    this.position = null;
    this.members.clear();
    if (!this.ready) return this.link.connect();
    if (old && old !== room) for (const channel of [old, TYPING + old]) this.command({ unsubscribe: { channel } });
    this.subscribe();
  }

  /* From the room's beginning when we are new in it, else from where we were. */
  subscribe() {
    const channel = this.entered = this.link.room;
    const again = this.position !== null;
    const since = this.position ?? { epoch: '', offset: 0 };
    this.command({ subscribe: { channel: TYPING + channel } }, () => {});
    this.command({ subscribe: { channel, recover: true, join_leave: true, ...since } }, (reply) => {
      if (channel !== this.link.room) return;
      if (reply.error) {
        if (reply.error.code !== 105) this.link.tell('The server does not let this page into ' + channel + ': ' + reply.error.message + '.');
        return;
      }
      const { epoch = '', offset = 0, publications = [], recovered = false } = reply.subscribe;
      const last = publications.length ? publications[publications.length - 1].offset : offset;
      if (reply.subscribe.recoverable) this.position = { epoch, offset: last };
      this.link.on.entered(recovered || !again, publications.map((p) => this.publication(p)));
      this.list(channel);
    });
  }

  /* Who is here; from then on joins and leaves tell. */
  list(channel) {
    this.command({ presence: { channel } }, (reply) => {
      if (channel !== this.link.room) return;
      this.listed = !reply.error;
      this.members = new Map(Object.entries(reply.presence?.presence ?? {}));
      this.link.on.members(this.listed ? this.members : null);
    });
  }

  publication(p) {
    return { data: p.data, client: p.info?.client, user: p.info?.user, own: p.info !== undefined && p.info.client === this.client };
  }

  /* Silence for longer than the server pings is a connection that is gone. */
  heard() {
    clearTimeout(this.pingTimer);
    const s = this.link.socket;
    if (this.pingEvery && s) this.pingTimer = setTimeout(() => s.close(), this.pingEvery * 1000 + 10000);
  }

  received(data) {
    this.heard();
    for (const line of data.split('\n')) {
      if (line === '') continue;
      if (line === '{}') {
        this.link.socket?.send('{}');
        continue;
      }
      const message = JSON.parse(line);
      if (message.push) {
        this.pushed(message.push);
        continue;
      }
      const done = this.waiting.get(message.id);
      this.waiting.delete(message.id);
      done?.(message);
    }
  }

  pushed(push) {
    if (push.channel === TYPING + this.link.room && push.pub)
      return this.link.on.aside(push.pub.data, push.pub.info?.client, push.pub.info?.client === this.client);
    if (push.channel !== this.link.room) return;
    if (push.pub) {
      if (push.pub.offset && this.position) this.position.offset = push.pub.offset;
      this.link.on.message(this.publication(push.pub));
    } else if (push.join || push.leave) {
      const { info } = push.join ?? push.leave;
      if (push.join) this.members.set(info.client, info); else this.members.delete(info.client);
      this.link.on.members(this.members);
    } else if (push.unsubscribe && push.unsubscribe.code >= 2500) {
      this.subscribe();
    } else if (push.unsubscribe) {
      this.link.tell('The server has taken this page out of the room: ' + push.unsubscribe.reason + '.');
    }
  }

  publish(data) {
    this.command({ publish: { channel: this.link.room, data } }, (reply) => {
      if (reply.error) this.link.on.notice('Not sent: ' + reply.error.message + '.');
    });
  }

  aside(data) { this.command({ publish: { channel: TYPING + this.link.room, data } }, () => {}); }
}
