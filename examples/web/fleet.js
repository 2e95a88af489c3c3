// Show a fleet live in a web page, with nothing but the topics of DashFleet and mqtt.js.
//
// Beside this file belongs `mqtt.esm.js` of mqtt.js 5: copy it from `node_modules/mqtt/dist` after `npm install mqtt`.
// The credential of a reader is enough, and its password stays in the memory of the page.
import mqtt from "./mqtt.esm.js";

const MACHINES_MAX = 20_000;
const ORDER = ["offline", "expired", "stale", "unknown", "online", "retired"];
const VITALS = ["cpu_percent", "memory_percent", "disk_percent"];

const machines = new Map(); // by id: {presence, sample, alerts}
const body = document.querySelector("tbody");
const state = document.querySelector("#state");
let drawing = false;

document.querySelector("#sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  const form = event.target;
  form.hidden = true;
  connect(Object.fromEntries(new FormData(form)), (refusal) => {
    state.textContent = refusal;
    form.hidden = false;
  });
});

/** Connect and stay connected; call `refused` with a sentence if the broker does not admit the credential. */
function connect({ server, org, username, password }, refused) {
  const base = `dashfleet/v1/${org}`;
  const client = mqtt.connect(server, {
    protocolVersion: 4, // MQTT 3.1.1
    clientId: username, // the client id is the user name, so two pages of one credential end each other
    username,
    password,
    clean: true,
    reconnectPeriod: 1000 + Math.random() * 1000, // spread: a broker that restarts loses all clients at once
    resubscribe: false,
  });
  state.textContent = "Connecting …";
  client.on("connect", () => {
    machines.clear(); // what is retained comes again; what was cleared meanwhile does not
    client.subscribe([`${base}/_presence/+`, `${base}/_alerts/+/+`], { qos: 1 });
    client.subscribe(`${base}/+/up/telemetry`, { qos: 0 });
    state.textContent = `Connected as ${username}`;
    document.querySelector("main").hidden = false;
    draw();
  });
  client.on("message", (topic, payload) => {
    keep(topic.split("/").slice(3), payload);
    draw();
  });
  client.on("close", () => {
    if (!client.disconnecting) state.textContent = "The connection has ended; trying again. The table may be out of date.";
  });
  client.on("error", (error) => {
    if (error.code === 4 || error.code === 5) {
      client.end(true);
      refused("The broker refuses this user name and password.");
    }
  });
}

/** Keep what a message says of a machine. An empty payload clears what was retained. */
function keep([first, second, third], payload) {
  const found = payload.length === 0 ? null : parse(payload);
  if (found === undefined) return;
  if (first === "_presence") {
    if (found === null) machines.delete(second);
    else entry(second).presence = found;
  } else if (first === "_alerts") {
    if (found === null) entry(second).alerts.delete(third);
    else entry(second).alerts.set(third, found);
  } else if (found !== null) {
    entry(first).sample = found;
  }
}

function entry(id) {
  if (!machines.has(id) && machines.size < MACHINES_MAX) {
    machines.set(id, { presence: undefined, sample: undefined, alerts: new Map() });
  }
  return machines.get(id) ?? { alerts: new Map() };
}

/** Return the object in a payload, or undefined: what cannot be read must not end the page. */
function parse(payload) {
  try {
    const found = JSON.parse(payload.toString());
    return found !== null && typeof found === "object" ? found : undefined;
  } catch {
    return undefined;
  }
}

/** Draw the table with the next frame: many messages are one drawing. */
function draw() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    const known = [...machines].filter(([, each]) => each.presence);
    known.sort(([a, one], [b, two]) => rank(one) - rank(two) || a.localeCompare(b));
    body.replaceChildren(...known.map(([id, each]) => row(id, each)));
    const down = known.filter(([, each]) => ["offline", "expired", "stale"].includes(each.presence.presence)).length;
    document.querySelector("#summary").textContent = `${known.length} ${known.length === 1 ? "machine" : "machines"}, ${down} not online`;
    document.title = down ? `(${down}) Fleet` : "Fleet";
  });
}

function rank({ presence }) {
  const place = ORDER.indexOf(presence.presence);
  return place < 0 ? ORDER.length : place;
}

function row(id, { presence, sample, alerts }) {
  const line = document.createElement("tr");
  const name = presence.presence + (presence.verified === false ? " (unverified)" : "");
  const current = presence.presence === "online" && presence.verified !== false;
  line.dataset.machine = id;
  line.append(
    cell(presence.display_name ?? id),
    cell(name, ORDER.includes(presence.presence) ? presence.presence : ""),
    cell(time(presence.since)),
    ...VITALS.map((vital) => cell(percent(sample?.vitals?.[vital]), current ? "number" : "number old")),
    listed([...alerts.values()]),
  );
  return line;
}

/** Return a cell with a text. It is never HTML: each text is that of a machine. */
function cell(text, className = "") {
  const made = document.createElement("td");
  made.textContent = String(text).slice(0, 400);
  made.className = className;
  return made;
}

function listed(alerts) {
  const made = cell("");
  alerts.forEach((alert, index) => {
    const part = document.createElement("span");
    part.textContent = String(alert.title).slice(0, 100);
    part.className = alert.severity === "critical" ? "critical" : "warning";
    made.append(index ? ", " : "", part);
  });
  return made;
}

function percent(value) {
  return typeof value === "number" ? `${value.toFixed(1)} %` : "–";
}

function time(milliseconds) {
  return typeof milliseconds === "number" ? new Date(milliseconds).toLocaleString(undefined, { dateStyle: "short", timeStyle: "short" }) : "–";
}
