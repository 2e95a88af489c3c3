// Show the presence of every machine of an organisation, with paho.mqtt.golang.
//
// DASHFLEET_SERVER, DASHFLEET_USERNAME, DASHFLEET_PASSWORD and DASHFLEET_ORG say where and as whom to connect:
// `dashfleet principal add robot --role reader` creates a credential.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"examples/fleet"
)

type presence struct {
	Presence string `json:"presence"`
	Verified *bool  `json:"verified"` // missing: true
}

func show(_ mqtt.Client, message mqtt.Message) {
	levels := strings.Split(message.Topic(), "/")
	machine := levels[len(levels)-1]
	if len(message.Payload()) == 0 {
		fmt.Println(machine, "removed")
		return
	}
	var found presence
	if json.Unmarshal(message.Payload(), &found) != nil || found.Presence == "" {
		return // what cannot be read is skipped
	}
	if found.Verified != nil && !*found.Verified {
		fmt.Println(machine, found.Presence, "unverified")
	} else {
		fmt.Println(machine, found.Presence)
	}
}

func main() {
	topic := "dashfleet/v1/" + os.Getenv("DASHFLEET_ORG") + "/_presence/+"
	fleet.StayConnected(fleet.Options(), func(client mqtt.Client) {
		client.Subscribe(topic, 1, show) // after every connect: sessions are clean
	})
}
