package main

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"log"
	"os"
)

const future = 5 * 60_000 // milliseconds

// saved is what outlives this program: the session, and every order that was run. Orders that were issued before Lost may
// have run, since the journal that knew them was lost.
type saved struct {
	Session int64             `json:"session"`
	Orders  map[string]object `json:"orders"`
	Lost    int64             `json:"lost"`
	path    string
}

func readSaved(path string) saved {
	found := saved{Orders: map[string]object{}, path: path}
	text, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		found.Lost = now() + future
	} else if err == nil && len(text) > 0 {
		err = json.Unmarshal(text, &found)
	}
	if err != nil && !os.IsNotExist(err) {
		log.Fatal(err)
	}
	return found
}

// write stores it so that a power cut leaves the old or the new state.
func (state *saved) write() {
	text, _ := json.Marshal(state)
	file, err := os.Create(state.path + ".new")
	if err == nil {
		_, err = file.Write(text)
	}
	if err == nil {
		err = file.Sync()
	}
	if err == nil {
		err = file.Close()
	}
	if err == nil {
		err = os.Rename(state.path+".new", state.path)
	}
	if err != nil {
		log.Fatal(err) // nothing may run that is not stored
	}
}

type key struct {
	PublicKey string `json:"public_key"`
	ExpiresAt *int64 `json:"expires_at"`
}

func (each key) id() string {
	public, _ := hex.DecodeString(each.PublicKey)
	sum := sha256.Sum256(public)
	return hex.EncodeToString(sum[:8])
}

// keys are those whose orders are run.
type keys struct {
	trusted map[string]key
	revoked map[string]bool
}

func readKeys(path string) keys {
	found := keys{map[string]key{}, map[string]bool{}}
	text, err := os.ReadFile(path)
	if err != nil {
		log.Fatal(err)
	}
	var known []key
	if err := json.Unmarshal(text, &known); err != nil {
		log.Fatal(err)
	}
	for _, each := range known {
		found.trusted[each.id()] = each
	}
	return found
}

func (known *keys) ids() []string {
	found := []string{}
	for id := range known.trusted {
		found = append(found, id)
	}
	return found
}

type signedStatement struct {
	Statement, Key, Signature string
}

// open decodes a statement that a trusted key has signed; it returns false if none has.
func (known *keys) open(signed signedStatement, into interface{}) bool {
	by, ok := known.trusted[signed.Key]
	if !ok || (by.ExpiresAt != nil && now() >= *by.ExpiresAt) {
		return false
	}
	public, err := hex.DecodeString(by.PublicKey)
	signature, other := hex.DecodeString(signed.Signature)
	if err != nil || other != nil || len(public) != ed25519.PublicKeySize {
		return false
	}
	isSigned := ed25519.Verify(public, []byte(signed.Statement), signature)
	return isSigned && json.Unmarshal([]byte(signed.Statement), into) == nil
}

// follow adds and revokes keys, in the order of the changes; a trusted key has to sign each.
func (known *keys) follow(payload []byte) error {
	var found struct {
		Changes []signedStatement `json:"key_changes"`
	}
	if err := json.Unmarshal(payload, &found); err != nil {
		return err
	}
	for _, signed := range found.Changes {
		var change struct {
			Kind, Change, Org string
			key
		}
		if !known.open(signed, &change) || change.Kind != "key-change" || change.Org != org {
			continue
		}
		id := change.key.id()
		if change.Change == "revoke" {
			known.revoked[id] = true
			delete(known.trusted, id)
		} else if !known.revoked[id] {
			known.trusted[id] = change.key
		}
	}
	return nil
}

type order struct {
	Kind, ID, Org, Machine, Action string
	Arguments                      object
	IssuedAt                       int64 `json:"issued_at"`
	ExpiresAt                      int64 `json:"expires_at"`
}

// refusal returns why an order must not be run, or an empty text. Its signature and target are right.
func (given order) refusal(lost int64) string {
	switch {
	case given.IssuedAt < lost:
		return "journal"
	case given.IssuedAt > now()+future:
		return "future"
	case given.ExpiresAt <= now():
		return "expired"
	case given.Action != ping["name"]:
		return "not-allowed"
	case len(given.Arguments) > 0:
		return "arguments"
	}
	return ""
}

// onCommand checks an order, writes it to the journal, runs it, and reports.
func (own *agent) onCommand(payload []byte) error {
	var command struct{ Order signedStatement }
	if err := json.Unmarshal(payload, &command); err != nil {
		return err
	}
	var claimed, given order
	if err := json.Unmarshal([]byte(command.Order.Statement), &claimed); err != nil || claimed.ID == "" {
		return errors.New("an order without a readable id")
	}
	id := claimed.ID
	if !own.keys.open(command.Order, &given) || given.Kind != "order" {
		own.report(own.result(id, "rejected", object{"reason": "signature"}))
	} else if given.Org != org || given.Machine != machine {
		own.report(own.result(id, "rejected", object{"reason": "target"}))
	} else if known, ok := own.saved.Orders[id]; ok {
		own.report(known) // it is never run again
	} else if reason := given.refusal(own.saved.Lost); reason != "" {
		own.report(own.result(id, "rejected", object{"reason": reason}))
	} else {
		own.run(id)
	}
	return nil
}

// run runs the only action. If this program ends meanwhile, the order has failed: the journal says so before it runs.
func (own *agent) run(id string) {
	own.saved.Orders[id] = own.result(id, "failed", object{"reason": "interrupted", "action": "ping"})
	own.saved.write()
	own.send("up/result", own.result(id, "running", object{"action": "ping"}), false)
	own.saved.Orders[id] = own.result(id, "succeeded", object{"action": "ping", "output": "pong"})
	own.saved.write()
	own.report(own.saved.Orders[id])
}

func (own *agent) result(id, state string, more object) object {
	found := object{"v": 1, "session": own.saved.Session, "id": id, "state": state, "at": now()}
	for name, value := range more {
		found[name] = value
	}
	return found
}

// report publishes a final result, now and until an Ack names it.
func (own *agent) report(found object) {
	found["session"] = own.saved.Session
	own.results[found["id"].(string)] = found
	own.send("up/result", found, false)
}

func (own *agent) repeatResults() {
	for _, found := range own.results {
		found["session"] = own.saved.Session
		own.send("up/result", found, false)
	}
}
