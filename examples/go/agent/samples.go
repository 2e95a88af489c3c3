package main

import (
	"encoding/json"
	"os"
	"strconv"
	"strings"
	"time"
)

const (
	outboxMax = 100_000
	batchMax  = 500
)

// reading is a sample; at is when it was published last, zero if never.
type reading struct {
	sampledAt int64
	load      interface{}
	at        time.Time
}

// outbox has the samples first to last of a stream that are not acknowledged.
type outbox struct {
	stream  string
	samples map[int64]*reading
	oldest  int64
	last    int64
	dropped int64
	batch   []int64 // that waits for its acknowledgement: there is one at a time
}

func newOutbox(stream string) outbox {
	return outbox{stream: stream, samples: map[int64]*reading{}, oldest: 1}
}

func (box *outbox) forget(number int64) {
	delete(box.samples, number)
	for box.oldest <= box.last && box.samples[box.oldest] == nil {
		box.oldest++
	}
}

func (own *agent) head() object {
	box := &own.outbox
	return object{
		"v": 1, "session": own.saved.Session, "stream": box.stream, "oldest_seq": box.oldest, "dropped": box.dropped,
	}
}

// load returns the load average of Linux, nil if it cannot be read.
func load() interface{} {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return nil
	}
	found, err := strconv.ParseFloat(strings.Fields(string(text))[0], 64)
	if err != nil {
		return nil
	}
	return found
}

// sample takes a sample and publishes it.
func (own *agent) sample() {
	box := &own.outbox
	box.last++
	taken := &reading{sampledAt: now(), load: load()}
	box.samples[box.last] = taken
	if len(box.samples) > outboxMax {
		box.forget(box.oldest)
		box.dropped++
	}
	content := own.head()
	content["seq"], content["sampled_at"] = box.last, taken.sampledAt
	content["vitals"] = object{"load_1m": taken.load}
	if own.send("up/telemetry", content, false) {
		taken.at = time.Now()
	}
}

// backfill publishes samples that were not acknowledged, in columns.
func (own *agent) backfill() {
	box := &own.outbox
	for _, number := range box.batch {
		if box.samples[number] != nil {
			return
		}
	}
	box.batch = nil
	var times []int64
	var loads []interface{}
	for number := box.oldest; number <= box.last && len(box.batch) < batchMax; number++ {
		if found := box.samples[number]; found != nil && time.Since(found.at) >= resend {
			box.batch = append(box.batch, number)
			times, loads = append(times, found.sampledAt), append(loads, found.load)
		}
	}
	if len(box.batch) == 0 {
		return
	}
	content := own.head()
	content["seq"], content["sampled_at"], content["vitals"] = box.batch, times, object{"load_1m": loads}
	if !own.send("up/backfill", content, false) {
		box.batch = nil
	}
}

type numbers struct {
	Stream string
	Ranges []struct{ First, Last int64 }
}

// onAck deletes what is stored, and what never will be.
func (own *agent) onAck(payload []byte) error {
	var ack struct {
		numbers
		Rejected []numbers
		Results  []string
	}
	if err := json.Unmarshal(payload, &ack); err != nil {
		return err
	}
	for _, part := range append(ack.Rejected, ack.numbers) {
		if part.Stream != own.outbox.stream {
			continue
		}
		for _, each := range part.Ranges {
			for number := range own.outbox.samples {
				if each.First <= number && number <= each.Last {
					own.outbox.forget(number)
				}
			}
		}
	}
	for _, id := range ack.Results {
		delete(own.results, id)
	}
	return nil
}
