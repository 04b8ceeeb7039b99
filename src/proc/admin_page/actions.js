/* admin_page/actions.js - publish, unsubscribe, disconnect: by the server API. */

const AS = [["json", "JSON"], ["text", "text"], ["base64", "bytes (base64)"]];

/* The body of a publication: JSON that was typed goes byte for byte. */
function publish_body(v) {
  const rest = { channel: v.channel };
  if (v.skip_history) rest.skip_history = true;
  if (v.as === "base64") return JSON.stringify({ ...rest, b64data: v.data.trim() });
  if (v.as === "text") return JSON.stringify({ ...rest, data: v.data });
  try {
    JSON.parse(v.data);
  } catch (e) {
    throw new Trouble(`This is no JSON: ${e.message}. Choose text if it is meant to be none.`, 200);
  }
  return JSON.stringify(rest).slice(0, -1) + `,"data":${v.data}}`;
}
function publish_form(channel) {
  const fields = [
    ...(channel === undefined ? [{ name: "channel", label: "Channel" }] : []),
    { name: "data", label: "Data", kind: "data", hint: '{"text":"hello"}' },
    { name: "as", label: "It is", kind: AS, value: "json" },
    { name: "skip_history", label: "deliver it, keep it in no history", kind: "check" },
  ];
  return form("Publish", fields, "Publish", async v => {
    if (channel !== undefined) v.channel = channel;
    const answer = await ask_json("api/publish", { method: "POST", body: publish_body(v) });
    if (answer.error) throw new Trouble(answer.error.message, 200);
    again();
    const r = answer.result || {};
    return r.offset ? `Published, as number ${r.offset} of the channel.` : "Published.";
  });
}
/* Members that were filled in, numbers as numbers. */
function filled(v) {
  return Object.fromEntries(Object.entries(v).filter(([, x]) => x !== ""));
}
const whom = v => (v.client ? `client ${v.client} of ` : "all clients of ") + (v.user ? `user ${v.user}` : "no user");
function somebody(v) {
  if (!v.user && !v.client) throw new Trouble("Name a user; of anonymous clients, the client.", 200);
}
const told_nodes = r => r.nodes_asked > 1 ? ` on ${r.nodes_answered} of ${r.nodes_asked} nodes` : "";

function unsubscribe_form() {
  return form("Unsubscribe", [{ name: "user", label: "User" }, { name: "client", label: "only the client", hint: "its id" }, { name: "channel", label: "Channel" }],
    "Unsubscribe", async v => {
      somebody(v);
      if (!v.channel) throw new Trouble("Name a channel.", 200);
      if (!await confirmed(`Unsubscribe ${whom(v)} from ${v.channel}?`, "Unsubscribe")) return "";
      return "They are unsubscribed" + told_nodes(await api("unsubscribe", filled(v))) + ".";
    }, { danger: true, words: "On every node. Clients of the Centrifuge protocol are told, and do not subscribe again of themselves." });
}
function disconnect_form() {
  return form("Disconnect", [{ name: "user", label: "User" }, { name: "client", label: "only the client", hint: "its id" },
    { name: "code", label: "Close code", kind: "number", hint: "3503" }, { name: "reason", label: "Reason that they are told", hint: "force disconnect" }],
    "Disconnect", async v => {
      somebody(v);
      const { code, reason, ...who } = filled(v);
      if (!await confirmed(`Disconnect ${whom(v)}?`, "Disconnect")) return "";
      if (code || reason) who.disconnect = { code: Number(code || 3503), reason: reason || "force disconnect" };
      return "They are disconnected" + told_nodes(await api("disconnect", who)) + ".";
    }, { danger: true, words: "On every node. Codes 3500 to 3999 and 4500 to 4999 are final; after others clients connect again. A single connection, a plain one too, is ended on its own page." });
}
function actions_view() {
  return { nodes: [el("div", { class: "grid" }, publish_form(), el("div", { class: "stack" }, unsubscribe_form(), disconnect_form()))], refresh: () => {} };
}
