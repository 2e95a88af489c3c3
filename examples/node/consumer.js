// Show the presence of every machine of an organisation, with mqtt.js.
//
// DASHFLEET_SERVER, DASHFLEET_USERNAME, DASHFLEET_PASSWORD and DASHFLEET_ORG say where and as whom to connect:
// `dashfleet principal add robot --role reader` creates a credential.
const { connect, parse } = require("./connection");

const client = connect();

client.on("connect", () => client.subscribe(`dashfleet/v1/${process.env.DASHFLEET_ORG}/_presence/+`, { qos: 1 }));

client.on("message", (topic, payload) => {
  const machine = topic.split("/").at(-1);
  if (payload.length === 0) {
    console.log(`${machine} removed`);
    return;
  }
  const found = parse(payload);
  if (typeof found?.presence === "string") {
    console.log(`${machine} ${found.presence}${found.verified === false ? " unverified" : ""}`);
  }
});

client.on("error", (error) => console.error(error.message)); // without a listener it would end the program
