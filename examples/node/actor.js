// Run an action on one machine and wait for its outcome, with mqtt.js. The exit status is 0 if the machine has succeeded.
//
// Beside the variables of consumer.js, DASHFLEET_MACHINE and DASHFLEET_ACTION say what to run, and DASHFLEET_KEY names the
// file of the private key, 64 hex digits. `dashfleet principal add robot --role operator` creates the credential.
const { createHash, createPrivateKey, createPublicKey, randomBytes, sign } = require("node:crypto");
const fs = require("node:fs");
const { connect, parse } = require("./connection");

const { DASHFLEET_USERNAME, DASHFLEET_ORG, DASHFLEET_MACHINE, DASHFLEET_ACTION, DASHFLEET_KEY } = process.env;
const mine = `dashfleet/v1/${DASHFLEET_ORG}/_actions/${DASHFLEET_USERNAME.split("._")[1]}`;
const OUTCOMES = ["succeeded", "failed", "rejected", "expired", "cancelled"]; // timed-out is not final
const REPEAT_MILLISECONDS = 5000;
const LIFETIME = 10 * 60_000;

const newId = () => randomBytes(16).toString("hex");

/** Return a statement with its signature: Ed25519 over exactly the bytes that are sent. */
function signed(statement) {
  const seed = Buffer.from(fs.readFileSync(DASHFLEET_KEY, "utf8").trim(), "hex");
  const der = Buffer.concat([Buffer.from("302e020100300506032b657004220420", "hex"), seed]); // PKCS #8 around the seed
  const key = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
  const publicKey = createPublicKey(key).export({ format: "der", type: "spki" }).subarray(-32);
  return {
    statement,
    key: createHash("sha256").update(publicKey).digest("hex").slice(0, 16),
    signature: sign(null, Buffer.from(statement), key).toString("hex"),
  };
}

const now = Date.now();
const order = {
  kind: "order",
  id: newId(),
  org: DASHFLEET_ORG,
  machine: DASHFLEET_MACHINE,
  action: DASHFLEET_ACTION,
  arguments: {},
  issued_at: now,
  expires_at: now + LIFETIME,
};
// Its ids stay the same when it is repeated, so nothing is done twice.
const request = { v: 1, id: newId(), change: { kind: "act", batch: newId(), orders: [signed(JSON.stringify(order))] } };

const client = connect();
let asks = false; // no Update has answered since the last connect

function ask() {
  if (asks && client.connected) client.publish(`${mine}/request`, JSON.stringify(request), { qos: 1 });
}

// Subscribe first, so that no answer is missed. After each connect ask again: Updates may have been missed.
client.on("connect", () =>
  client.subscribe(`${mine}/update`, { qos: 1 }, (error) => {
    if (error) return;
    asks = true;
    ask();
  }),
);
setInterval(ask, REPEAT_MILLISECONDS);

client.on("message", (_topic, payload) => {
  const update = parse(payload);
  if (update?.request !== request.id) return;
  asks = false;
  console.log(update.state, update.detail ?? "");
  const ended = update.state === "refused" || (update.command != null && OUTCOMES.includes(update.state));
  if (ended) client.end(false, {}, () => process.exit(update.state === "succeeded" ? 0 : 1));
});

client.on("error", (error) => console.error(error.message));
