// The connection that all programs here share, from the environment.
const fs = require("node:fs");
const mqtt = require("mqtt");

const { DASHFLEET_SERVER, DASHFLEET_USERNAME, DASHFLEET_PASSWORD, DASHFLEET_CA_FILE } = process.env;

/** Connect, and connect again whenever the connection ends. `more`: further options of mqtt.js. */
function connect(more = {}) {
  return mqtt.connect(DASHFLEET_SERVER, {
    protocolVersion: 4, // MQTT 3.1.1
    clientId: DASHFLEET_USERNAME, // the client id is the user name
    username: DASHFLEET_USERNAME,
    password: DASHFLEET_PASSWORD,
    clean: true,
    ca: DASHFLEET_CA_FILE && fs.readFileSync(DASHFLEET_CA_FILE),
    reconnectPeriod: 1000 + Math.random() * 1000, // spread: a broker that restarts loses all clients at once
    reconnectOnConnackError: true, // mqtt.js gives up on a refusal otherwise, and a new credential is refused for a second
    resubscribe: false, // the programs subscribe after every connect
    queueQoSZero: false,
    ...more,
  });
}

/** Return the JSON of a payload, or undefined: what cannot be read must not end the program. */
function parse(payload) {
  try {
    const found = JSON.parse(payload.toString());
    return found !== null && typeof found === "object" ? found : undefined;
  } catch {
    return undefined;
  }
}

module.exports = { connect, parse };
