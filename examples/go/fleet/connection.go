// Package fleet connects the programs of this folder, from the environment.
package fleet

import (
	"crypto/tls"
	"crypto/x509"
	"log"
	"math/rand"
	"os"
	"strings"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

const (
	firstWait = time.Second
	longWait  = time.Minute
)

// Options returns the options of a connection: MQTT 3.1.1, a clean session, and the user name as the client id.
func Options() *mqtt.ClientOptions {
	name := os.Getenv("DASHFLEET_USERNAME")
	server := strings.NewReplacer("mqtts://", "ssl://", "mqtt://", "tcp://").Replace(os.Getenv("DASHFLEET_SERVER"))
	options := mqtt.NewClientOptions().AddBroker(server).SetProtocolVersion(4).SetCleanSession(true)
	options.SetClientID(name).SetUsername(name).SetPassword(os.Getenv("DASHFLEET_PASSWORD"))
	if path := os.Getenv("DASHFLEET_CA_FILE"); path != "" {
		pem, err := os.ReadFile(path)
		if err != nil {
			log.Fatal(err)
		}
		trusted := x509.NewCertPool()
		trusted.AppendCertsFromPEM(pem)
		options.SetTLSConfig(&tls.Config{RootCAs: trusted})
	}
	return options.SetAutoReconnect(false) // it would connect again at once; StayConnected waits
}

// StayConnected connects, calls connected, and connects again whenever the connection ends. It never returns.
func StayConnected(options *mqtt.ClientOptions, connected func(mqtt.Client)) {
	StayConnectedWith(options, func(*mqtt.ClientOptions) {}, connected)
}

// StayConnectedWith is StayConnected; before each connect it calls prepare, which may change the options.
func StayConnectedWith(options *mqtt.ClientOptions, prepare func(*mqtt.ClientOptions), connected func(mqtt.Client)) {
	lost := make(chan error, 1)
	options.SetConnectionLostHandler(func(_ mqtt.Client, err error) { lost <- err })
	for wait := firstWait; ; {
		prepare(options)
		client := mqtt.NewClient(options)
		token := client.Connect()
		token.Wait()
		if err := token.Error(); err != nil {
			log.Print(err)
			wait = min(2*wait, longWait)
		} else {
			wait = firstWait
			connected(client)
			log.Print(<-lost)
		}
		// a random part, as a broker that restarts loses all clients at once
		time.Sleep(wait/2 + time.Duration(rand.Int63n(int64(wait))))
	}
}

func min(a, b time.Duration) time.Duration {
	if a < b {
		return a
	}
	return b
}
