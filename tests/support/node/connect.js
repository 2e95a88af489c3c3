// Connect with mqtt.js, subscribe to a topic, publish on it, and print what comes of it as one line of JSON.
const mqtt = require("mqtt");
const { topic, ...options } = JSON.parse(process.argv[2]);
const client = mqtt.connect({ ...options, connectTimeout: 8000, reconnectPeriod: 0 });
const seen = { connected: false, received: "", error: "", code: null };
const end = () => client.end(true, () => {
  console.log(JSON.stringify(seen));
  process.exit(0);
});
client.on("connect", () => {
  seen.connected = true;
  client.subscribe(topic, { qos: 1 }, () => client.publish(topic, "hello", { qos: 1 }));
});
client.on("message", (_topic, payload) => {
  seen.received = payload.toString();
  end();
});
client.on("error", (error) => {
  seen.error = error.message;
  seen.code = error.code ?? null;
});
client.on("close", end);
