// Run an action on one machine and wait for its outcome. The exit status is 0 if the machine has succeeded.
//
// Beside the variables of the consumer, DASHFLEET_MACHINE and DASHFLEET_ACTION say what to run, and DASHFLEET_KEY names the
// file of the private key, 64 hex digits. `dashfleet principal add robot --role operator` creates the credential.
package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"strings"
	"sync/atomic"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"examples/fleet"
)

const (
	repeatAfter = 5 * time.Second
	lifetime    = 10 * time.Minute
)

type object map[string]interface{}

type update struct {
	Request string  `json:"request"`
	Command *string `json:"command"`
	State   string  `json:"state"`
	Detail  string  `json:"detail"`
}

// newID returns a random id. It stays the same when a request is repeated, so nothing is done twice.
func newID() string {
	id := make([]byte, 16)
	if _, err := rand.Read(id); err != nil {
		log.Fatal(err)
	}
	return hex.EncodeToString(id)
}

// signed returns a statement with its signature: Ed25519 over exactly the bytes that are sent.
func signed(statement []byte) object {
	text, err := os.ReadFile(os.Getenv("DASHFLEET_KEY"))
	if err != nil {
		log.Fatal(err)
	}
	seed, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(seed) != ed25519.SeedSize {
		log.Fatal("DASHFLEET_KEY must name a file with 64 hex digits")
	}
	key := ed25519.NewKeyFromSeed(seed)
	id := sha256.Sum256(key.Public().(ed25519.PublicKey))
	return object{
		"statement": string(statement),
		"key":       hex.EncodeToString(id[:8]),
		"signature": hex.EncodeToString(ed25519.Sign(key, statement)),
	}
}

// newRequest returns a Request with one order, and its id.
func newRequest() ([]byte, string) {
	now, id := time.Now(), newID()
	statement, _ := json.Marshal(object{
		"kind": "order", "id": newID(), "org": os.Getenv("DASHFLEET_ORG"), "machine": os.Getenv("DASHFLEET_MACHINE"),
		"action": os.Getenv("DASHFLEET_ACTION"), "arguments": object{},
		"issued_at": now.UnixMilli(), "expires_at": now.Add(lifetime).UnixMilli(),
	})
	change := object{"kind": "act", "batch": newID(), "orders": []object{signed(statement)}}
	payload, _ := json.Marshal(object{"v": 1, "id": id, "change": change})
	return payload, id
}

func isFinal(found update) bool {
	switch found.State {
	case "refused":
		return true
	case "succeeded", "failed", "rejected", "expired", "cancelled": // timed-out is not final
		return found.Command != nil
	}
	return false
}

func main() {
	mine := "dashfleet/v1/" + os.Getenv("DASHFLEET_ORG") + "/_actions/" +
		strings.SplitN(os.Getenv("DASHFLEET_USERNAME"), "._", 2)[1]
	request, id := newRequest()
	var answered int32 // since the last connect

	read := func(_ mqtt.Client, message mqtt.Message) {
		var found update
		if json.Unmarshal(message.Payload(), &found) != nil || found.Request != id {
			return
		}
		atomic.StoreInt32(&answered, 1)
		fmt.Println(found.State, found.Detail)
		if found.State == "succeeded" && isFinal(found) {
			os.Exit(0)
		} else if isFinal(found) {
			os.Exit(1)
		}
	}

	fleet.StayConnected(fleet.Options(), func(client mqtt.Client) {
		atomic.StoreInt32(&answered, 0) // updates may have been missed: ask again
		if !client.Subscribe(mine+"/update", 1, read).WaitTimeout(repeatAfter) {
			return
		}
		go func() {
			for client.IsConnected() && atomic.LoadInt32(&answered) == 0 {
				client.Publish(mine+"/request", 1, false, request)
				time.Sleep(repeatAfter)
			}
		}()
	})
}
