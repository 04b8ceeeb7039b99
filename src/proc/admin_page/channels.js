/* admin_page/channels.js - channels by subscribers, and one channel: who is there, what was said, what can be done. */

/* Of all nodes that share the engine, by the server API; of one node that is alone, only the first ones, which it sorts itself. */
const CHANNELS_SHOWN = 500;
async function list_channels(pattern, by) {
  if (latest().metrics.sum("roost_nodes") <= 1) {
    try {
      return await ask_json(query("debug/channels", { limit: CHANNELS_SHOWN, sort: by, pattern }));
    } catch (e) {
      if (e.status !== 404) throw e; /* it is a node of another version */
    }
  }
  const answer = await api("channels", pattern ? { pattern } : {});
  const all = Object.entries(answer.channels).map(([channel, c]) => ({ channel, subscribers: c.num_clients }));
  all.sort((a, b) => (by === "name" ? 0 : b.subscribers - a.subscribers) || (a.channel < b.channel ? -1 : 1));
  return { channels: all.slice(0, CHANNELS_SHOWN), total: answer.total ?? all.length, partial: answer.partial };
}
function channels_view(args) {
  const list = new Live("Channels", [
    { name: "channel", text: c => c.channel, href: c => to("channel", c.channel), sort: "name" },
    { name: "subscribers", text: c => whole(c.subscribers), sort: "subscribers" },
    { name: "", node: c => link("connections", to("connections", undefined, { channel: c.channel })) },
  ], c => c.channel, { empty: args.pattern ? "no channel matches" : "nobody is subscribed to anything",
    onsort: by => { location.hash = to("channels", undefined, { ...args, sort: by }); } });
  const by = args.sort || "subscribers";
  list.sorted(by, by !== "name");
  async function refresh() {
    const answer = await list_channels(args.pattern, by);
    list.show(answer.channels, [answer.total > answer.channels.length ? `${whole(answer.channels.length)} of ${whole(answer.total)} shown` : "",
      answer.partial ? "a node has not answered in time: its channels are missing" : "", WORKER_MISSING(answer)].filter(Boolean).join(" · "));
  }
  const filter = form("", [{ name: "pattern", label: "Names like", value: args.pattern, hint: "news:*" }], "Show",
    values => { location.hash = to("channels", undefined, { ...args, ...values }); });
  const open = form("", [{ name: "name", label: "A channel by name", value: "", hint: "also one without subscribers" }], "Open",
    values => { if (values.name) location.hash = to("channel", values.name); });
  return { nodes: [el("div", { class: "grid" }, filter, open), list.box], refresh, every: 5 };
}

/* ---- one channel ---- */

/* What a method answers, or null where the channel has no such thing (error 108). */
async function if_available(method, request, options) {
  try {
    return await api(method, request, options);
  } catch (e) {
    if (e instanceof Trouble && e.status !== 0 && e.status !== 401 && /not available/.test(e.message)) return null;
    throw e;
  }
}
function presence_list(channel, says) {
  const told_here = (words, good) => outcome(says, words, good);
  const list = new Live("Who is there", [
    { name: "user", text: m => m.user || "(anonymous)", href: m => to("connections", undefined, { user: m.user, channel }) },
    { name: "client", text: m => m.client, left: true },
    { name: "info", text: m => [m.conn_info, m.chan_info].filter(i => i !== undefined).map(i => brief(i, 200)).join(" · ") || "–", left: true },
    { name: "", node: m => el("span", { class: "row" },
      doer("Unsubscribe", `Unsubscribe ${m.user || m.client} (client ${m.client}) from ${channel}?`, "Unsubscribe",
        async () => { await api("unsubscribe", { user: m.user, client: m.client, channel }); again(); return "It is unsubscribed."; }, told_here),
      doer("Disconnect", `Disconnect client ${m.client} of ${m.user || "an anonymous user"}?`, "Disconnect",
        async () => { await api("disconnect", { user: m.user, client: m.client }); again(); return "It is disconnected."; }, told_here)) },
  ], m => m.client, { empty: "nobody" });
  list.take = answer => {
    if (!answer) return list.show([], "this channel has no presence (option presence)");
    const all = Object.values(answer.presence).sort((a, b) => a.user.localeCompare(b.user) || a.client.localeCompare(b.client));
    list.show(all.slice(0, 200), all.length > 200 ? `200 of ${whole(all.length)} clients shown` : `${many(all.length, "client")} of ${many(new Set(all.map(m => m.user)).size, "user")}`);
  };
  return list;
}
const HISTORY_PAGE = 50;
function history_list(channel) {
  const more = el("button", { type: "button", hidden: "" }, "Older");
  let pages = 1;
  const list = new Live("History", [
    { name: "offset", text: p => String(p.offset) },
    { name: "data", text: p => brief(p.data), left: true },
    { name: "by", text: p => p.info ? p.info.user || p.info.client : "–", left: true },
    { name: "tags", text: p => p.tags ? Object.entries(p.tags).map(t => t.join("=")).join(", ") : "–", left: true },
  ], p => p.offset, { empty: "nothing is kept" });
  list.box.classList.add("data");
  list.box.append(more);
  more.addEventListener("click", () => { pages++; again(); });
  list.refresh = async () => {
    const answer = await if_available("history", { channel, limit: pages * HISTORY_PAGE, reverse: true }, { exact: true });
    more.hidden = !answer || answer.publications.length < pages * HISTORY_PAGE;
    if (!answer) list.show([], "this channel has no history (options history_size and history_ttl)");
    else list.show(answer.publications, answer.publications.length ? "newest first" : "");
    return answer;
  };
  return list;
}
/* Asks for that channel alone: in a pattern "?" is any byte, the listing goes by bytes, and the last name before this one that could match
 * has ">" in the place of the last "?". */
function exactly(channel) {
  const at = channel.lastIndexOf("?");
  return { pattern: channel, limit: 1, ...(at < 0 ? {} : { cursor: channel.slice(0, at) + ">" + channel.slice(at + 1) }) };
}
function channel_view(args, channel) {
  const says = el("p", { class: "outcome", role: "status" });
  const sums = facts("Channel"), members = presence_list(channel, says), history = history_list(channel);
  const forget = doer("Forget history", `Forget everything that is kept of ${channel}? Its position goes on. This cannot be undone.`, "Forget it",
    async () => { await api("history_remove", { channel }); again(); return "Its history is empty."; }, (words, good) => outcome(says, words, good));
  async function refresh() {
    const [found, presence, kept] = await Promise.all([api("channels", exactly(channel)), if_available("presence", { channel }), history.refresh()]);
    const own = found.channels[channel];
    sums.show([["name", channel], ["subscribers", (own ? whole(own.num_clients) : "none") + (found.partial ? " (a node has not answered in time)" : "")],
      ["position", kept ? `${whole(kept.offset)} in epoch ${kept.epoch || "–"}` : "none is kept"],
      ["connections", link("those of this node", to("connections", undefined, { channel }))]]);
    members.take(presence);
    forget.hidden = !kept;
  }
  return { nodes: [sums, says, publish_form(channel), members.box, history.box, el("div", { class: "row" }, forget)], refresh, every: 5 };
}
