// Send samples of a machine, and run the orders of its operators, with mqtt.js.
//
// Beside the variables of consumer.js, DASHFLEET_MACHINE is the machine, DASHFLEET_KEYS the file of the keys that it trusts,
// as `dashfleet key list --org ORG --json` prints them, and DASHFLEET_STATE the file in which it remembers its session and
// its orders: an empty one at first, because a missing one means that a journal was lost.
// `dashfleet principal add attic --role machine` creates the credential.
//
// Samples wait in memory: what is not acknowledged when this program ends is lost, and it begins a new stream.
const { createHash, createPublicKey, randomBytes, verify } = require("node:crypto");
const fs = require("node:fs");
const os = require("node:os");
const { connect, parse } = require("./connection");

const env = process.env;
const { DASHFLEET_ORG: ORG, DASHFLEET_MACHINE: MACHINE, DASHFLEET_STATE: STATE } = env;
const INTERVAL_SECONDS = Number(env.DASHFLEET_INTERVAL_SECONDS ?? 10);
const RESEND_MILLISECONDS = 1000 * Number(env.DASHFLEET_RESEND_SECONDS ?? 30);
const MINE = `dashfleet/v1/${ORG}/${MACHINE}`;
const CONFIG = `dashfleet/v1/${ORG}/_config`;
const OUTBOX_MAX = 100_000;
const BATCH_MAX = 500;
const FUTURE_MILLISECONDS = 5 * 60_000;
const PING = {
  name: "ping",
  title: "Ping",
  arguments_schema: { type: "object", properties: {}, additionalProperties: false },
};

// What outlives this program: the session, and every order that was run. Without a journal, orders that were issued until
// now, or by a clock that is ahead, may have run: none of them runs again.
const lost = fs.existsSync(STATE) ? 0 : Date.now() + FUTURE_MILLISECONDS;
const text = lost ? "" : fs.readFileSync(STATE, "utf8");
const saved = text ? JSON.parse(text) : { session: 0, orders: {}, lost };

/** Write the state so that a power cut leaves the old or the new one. */
function save() {
  const file = fs.openSync(`${STATE}.new`, "w");
  fs.writeSync(file, JSON.stringify(saved));
  fs.fsyncSync(file);
  fs.closeSync(file);
  fs.renameSync(`${STATE}.new`, STATE);
}

// Keys.

const keyId = (hex) => createHash("sha256").update(Buffer.from(hex, "hex")).digest("hex").slice(0, 16);
const trusted = new Map(JSON.parse(fs.readFileSync(env.DASHFLEET_KEYS, "utf8")).map((key) => [keyId(key.public_key), key]));
const revoked = new Set();

/** Return a statement that a trusted key has signed, or undefined. */
function open({ statement, key, signature }) {
  const known = trusted.get(key);
  if (known === undefined || (known.expires_at != null && Date.now() >= known.expires_at)) return undefined;
  const der = Buffer.concat([Buffer.from("302a300506032b6570032100", "hex"), Buffer.from(known.public_key, "hex")]);
  const publicKey = createPublicKey({ key: der, format: "der", type: "spki" });
  const isSigned = verify(null, Buffer.from(statement), publicKey, Buffer.from(signature, "hex"));
  return isSigned ? JSON.parse(statement) : undefined;
}

/** Add and revoke keys, in the order of the changes; a trusted key has to sign each. */
function followKeys({ key_changes: changes = [] }) {
  for (const signed of changes) {
    const change = open(signed);
    if (change?.kind !== "key-change" || change.org !== ORG) continue;
    const id = keyId(change.public_key);
    if (change.change === "revoke") {
      revoked.add(id);
      trusted.delete(id);
    } else if (!revoked.has(id)) {
      trusted.set(id, change);
    }
  }
}

// The connection. Each has a higher session than all before it, stored first, and its own will.

const status = (state, reason) => ({
  v: 1,
  state,
  ...(reason && { reason }),
  session: saved.session,
  at: Date.now(),
  interval_seconds: INTERVAL_SECONDS,
});

function nextWill() {
  saved.session = Math.max(saved.session + 1, Date.now());
  save();
  return { topic: `${MINE}/up/status`, payload: JSON.stringify(status("offline", "lost")), qos: 1, retain: true };
}

const client = connect({ will: nextWill() });
client.on("reconnect", () => {
  client.options.will = nextWill();
});
client.on("error", (error) => console.error(error.message));

function send(leaf, content, retain = false) {
  if (client.connected) client.publish(`${MINE}/${leaf}`, JSON.stringify(content), { qos: 1, retain });
}

client.on("connect", () => {
  batch = [];
  client.subscribe({
    [`${MINE}/down/command`]: { qos: 1 },
    [`${MINE}/down/ack`]: { qos: 0 },
    [`${MINE}/up/status`]: { qos: 1 },
    [CONFIG]: { qos: 1 },
  });
  const info = {
    v: 1,
    session: saved.session,
    stream,
    at: Date.now(),
    hostname: os.hostname(),
    agent_version: "example 1",
    interval_seconds: INTERVAL_SECONDS,
    metrics: [{ name: "memory_percent", unit: "percent", title: "Memory" }],
    actions: [PING],
    keys: [...trusted.keys()],
  };
  send("up/info", info, true);
  send("up/status", status("online"), true);
  repeatResults();
});

const handlers = {
  [`${MINE}/down/command`]: onCommand,
  [`${MINE}/down/ack`]: onAck,
  [`${MINE}/up/status`]: (found) => {
    // the broker may publish the will of an earlier connection late
    if (found.state === "offline" && !ends) send("up/status", status("online"), true);
  },
  [CONFIG]: followKeys,
};

client.on("message", (topic, payload) => {
  try {
    handlers[topic]?.(parse(payload) ?? {});
  } catch (error) {
    console.error(`${topic}: ${error.message}`); // what cannot be read must not end the program
  }
});

// Samples. The newest is sent at once; what is not acknowledged is sent again in batches, one at a time.

const stream = randomBytes(8).toString("hex");
const outbox = new Map(); // number → sample
const sentAt = new Map();
let last = 0;
let dropped = 0;
let batch = []; // the numbers of the batch that waits for its acknowledgement

const head = () => ({ v: 1, session: saved.session, stream, oldest_seq: Math.min(...outbox.keys()), dropped });

function forget(number) {
  outbox.delete(number);
  sentAt.delete(number);
}

function sample() {
  const vitals = { memory_percent: 100 * (1 - os.freemem() / os.totalmem()), load_1m: os.loadavg()[0] };
  outbox.set((last += 1), { sampled_at: Date.now(), vitals });
  if (outbox.size > OUTBOX_MAX) {
    forget(outbox.keys().next().value);
    dropped += 1;
  }
  if (!client.connected) return;
  sentAt.set(last, Date.now());
  send("up/telemetry", { ...head(), seq: last, ...outbox.get(last) });
}

function backfill() {
  batch = batch.filter((number) => outbox.has(number));
  if (!client.connected || batch.length > 0) return;
  const late = Date.now() - RESEND_MILLISECONDS;
  batch = [...outbox.keys()].filter((number) => (sentAt.get(number) ?? late) <= late).slice(0, BATCH_MAX);
  if (batch.length === 0) return;
  const samples = batch.map((number) => outbox.get(number));
  const names = Object.keys(samples[0].vitals);
  const vitals = Object.fromEntries(names.map((name) => [name, samples.map((each) => each.vitals[name])]));
  send("up/backfill", { ...head(), seq: batch, sampled_at: samples.map((each) => each.sampled_at), vitals });
}

function onAck(ack) {
  for (const part of [ack, ...(ack.rejected ?? [])]) {
    if (part.stream !== stream) continue;
    for (const { first, last: end } of part.ranges ?? []) {
      for (const number of [...outbox.keys()]) if (first <= number && number <= end) forget(number);
    }
  }
  for (const id of ack.results ?? []) results.delete(id);
}

// Orders. Nothing runs before it is in the journal, so nothing runs twice.

const results = new Map(); // final results that no Ack has named
const result = (id, state, more = {}) => ({ v: 1, session: saved.session, id, state, at: Date.now(), ...more });

function report(found) {
  results.set(found.id, found);
  send("up/result", { ...found, session: saved.session });
}

function repeatResults() {
  for (const found of results.values()) send("up/result", { ...found, session: saved.session });
}

/** Return why an order must not be run, or undefined. Its signature and target are right. */
function refusal(order) {
  if (order.issued_at < saved.lost) return "journal";
  if (order.issued_at > Date.now() + FUTURE_MILLISECONDS) return "future";
  if (order.expires_at <= Date.now()) return "expired";
  if (order.action !== PING.name) return "not-allowed";
  return Object.keys(order.arguments ?? {}).length > 0 ? "arguments" : undefined;
}

function onCommand({ order: signed }) {
  const { id } = JSON.parse(signed.statement);
  const order = open(signed);
  if (order?.kind !== "order") return report(result(id, "rejected", { reason: "signature" }));
  if (order.org !== ORG || order.machine !== MACHINE) return report(result(id, "rejected", { reason: "target" }));
  if (saved.orders[id] !== undefined) return report(saved.orders[id]);
  const reason = refusal(order);
  if (reason !== undefined) return report(result(id, "rejected", { reason }));
  // If this program ends here, the order has failed: the journal says so before it runs.
  saved.orders[id] = result(id, "failed", { reason: "interrupted", action: PING.name });
  save();
  send("up/result", result(id, "running", { action: PING.name }));
  saved.orders[id] = result(id, "succeeded", { action: PING.name, output: "pong" });
  save();
  return report(saved.orders[id]);
}

// Time, and the end.

let ends = false;
setInterval(sample, 1000 * INTERVAL_SECONDS);
setInterval(backfill, RESEND_MILLISECONDS / 2);
setInterval(repeatResults, RESEND_MILLISECONDS);

process.on("SIGTERM", () => {
  ends = true;
  if (!client.connected) process.exit(0);
  const goodbye = JSON.stringify(status("offline", "stopped"));
  client.publish(`${MINE}/up/status`, goodbye, { qos: 1, retain: true }, () => client.end(false, {}, () => process.exit(0)));
});
