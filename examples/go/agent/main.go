// Send samples of a machine, and run the orders of its operators, with paho.mqtt.golang.
//
// Beside the variables of the consumer, DASHFLEET_MACHINE is the machine, DASHFLEET_KEYS the file of the keys that it
// trusts, as `dashfleet key list --org ORG --json` prints them, and DASHFLEET_STATE the file in which it remembers its
// session and its orders: an empty one at first, because a missing one means that a journal was lost.
// `dashfleet principal add attic --role machine` creates the credential.
//
// Samples wait in memory: what is not acknowledged when this program ends is lost, and it begins a new stream.
package main

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"log"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"examples/fleet"
)

type object map[string]interface{}

var (
	org     = os.Getenv("DASHFLEET_ORG")
	machine = os.Getenv("DASHFLEET_MACHINE")
	mine    = "dashfleet/v1/" + org + "/" + machine + "/"
	config  = "dashfleet/v1/" + org + "/_config"

	interval = seconds("DASHFLEET_INTERVAL_SECONDS", 10)
	resend   = seconds("DASHFLEET_RESEND_SECONDS", 30)
)

var ping = object{
	"name": "ping", "title": "Ping",
	"arguments_schema": object{"type": "object", "properties": object{}, "additionalProperties": false},
}

func seconds(name string, otherwise float64) time.Duration {
	if given, err := strconv.ParseFloat(os.Getenv(name), 64); err == nil {
		otherwise = given
	}
	return time.Duration(otherwise * float64(time.Second))
}

func now() int64 { return time.Now().UnixMilli() }

// agent is the program. Its lock is held in every callback and timer, so that they never work at the same time.
type agent struct {
	sync.Mutex
	client  mqtt.Client
	saved   saved
	keys    keys
	outbox  outbox
	results map[string]object // final results that no Ack has named
	ends    bool
}

func main() {
	stream := make([]byte, 8)
	if _, err := rand.Read(stream); err != nil {
		log.Fatal(err)
	}
	own := &agent{
		saved:   readSaved(os.Getenv("DASHFLEET_STATE")),
		keys:    readKeys(os.Getenv("DASHFLEET_KEYS")),
		outbox:  newOutbox(hex.EncodeToString(stream)),
		results: map[string]object{},
	}
	go own.every(interval, own.sample)
	go own.every(resend/2, own.backfill)
	go own.every(resend, own.repeatResults)
	go own.waitForTheEnd()
	options := fleet.Options()
	fleet.StayConnectedWith(options, own.prepare, own.connected)
}

func (own *agent) every(period time.Duration, work func()) {
	for range time.Tick(period) {
		own.Lock()
		work()
		own.Unlock()
	}
}

// waitForTheEnd says goodbye at SIGTERM.
func (own *agent) waitForTheEnd() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt)
	<-signals
	own.Lock()
	own.ends = true
	if own.client != nil && own.client.IsConnected() {
		payload, _ := json.Marshal(own.status("offline", "stopped"))
		own.client.Publish(mine+"up/status", 1, true, payload).WaitTimeout(5 * time.Second)
		own.client.Disconnect(250)
	}
	os.Exit(0)
}

// prepare gives the next connection a higher session, which is stored first, and its will.
func (own *agent) prepare(options *mqtt.ClientOptions) {
	own.Lock()
	defer own.Unlock()
	own.saved.Session++
	if own.saved.Session < now() {
		own.saved.Session = now()
	}
	own.saved.write()
	will, _ := json.Marshal(own.status("offline", "lost"))
	options.SetBinaryWill(mine+"up/status", will, 1, true)
}

// connected subscribes, then publishes Info and the birth.
func (own *agent) connected(client mqtt.Client) {
	filters := map[string]byte{mine + "down/command": 1, mine + "down/ack": 0, mine + "up/status": 1, config: 1}
	client.SubscribeMultiple(filters, own.receive).WaitTimeout(10 * time.Second)
	own.Lock()
	defer own.Unlock()
	own.client = client
	own.outbox.batch = nil
	hostname, _ := os.Hostname()
	own.send("up/info", object{
		"v": 1, "session": own.saved.Session, "stream": own.outbox.stream, "at": now(), "hostname": hostname,
		"agent_version": "example 1", "interval_seconds": interval.Seconds(), "actions": []object{ping},
		"metrics": []object{{"name": "load_1m", "unit": "count", "title": "Load"}}, "keys": own.keys.ids(),
	}, true)
	own.send("up/status", own.status("online", ""), true)
	own.repeatResults()
}

func (own *agent) status(state, reason string) object {
	found := object{
		"v": 1, "state": state, "session": own.saved.Session, "at": now(), "interval_seconds": interval.Seconds(),
	}
	if reason != "" {
		found["reason"] = reason
	}
	return found
}

// send publishes with QoS 1; without a connection nothing is sent.
func (own *agent) send(leaf string, content object, retain bool) bool {
	if own.client == nil || !own.client.IsConnected() {
		return false
	}
	payload, err := json.Marshal(content)
	if err != nil {
		log.Fatal(err)
	}
	own.client.Publish(mine+leaf, 1, retain, payload)
	return true
}

// receive handles a message; what cannot be read is skipped.
func (own *agent) receive(_ mqtt.Client, message mqtt.Message) {
	own.Lock()
	defer own.Unlock()
	var err error
	switch payload := message.Payload(); message.Topic() {
	case mine + "down/command":
		err = own.onCommand(payload)
	case mine + "down/ack":
		err = own.onAck(payload)
	case config:
		err = own.keys.follow(payload)
	case mine + "up/status":
		var found struct{ State string }
		// the broker may publish the will of an earlier connection late
		if err = json.Unmarshal(payload, &found); err == nil && found.State == "offline" && !own.ends {
			own.send("up/status", own.status("online", ""), true)
		}
	}
	if err != nil {
		log.Printf("%s: %v", message.Topic(), err)
	}
}
