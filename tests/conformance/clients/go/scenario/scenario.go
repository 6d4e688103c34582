// Package scenario is what every client plays (see ../../README.md), for the Go clients.
package scenario

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

const (
	Partitions      = 3
	recordsPerCodec = 12
	startMs         = 1_700_000_000_000
	wait            = 30 * time.Second
	PollMax         = 300 * time.Millisecond
)

// Codecs, in the order of their use.
var Codecs = []string{"none", "gzip", "snappy", "lz4", "zstd"}

// Special offsets to ask for; any other number is a timestamp.
const (
	Latest   int64 = -1
	Earliest int64 = -2
)

type Header struct {
	Name  string
	Value []byte
}

// Record is what is produced and consumed. A nil key or value is null.
type Record struct {
	Partition int32
	Offset    int64
	Timestamp int64
	Key       []byte
	Value     []byte
	Headers   []Header
}

// Client is one library. Whatever fails other than by the server's error code ends the program through Check.
type Client interface {
	Create(topic string, partitions int, config map[string]string) (code int)
	Topics() map[string]int
	Produce(topic, codec string, records []Record)
	Offsets(topic string, spec int64) map[int32]int64
	Join(group, topic string) Member
	Committed(group, topic string) map[int32]int64
	Group(group string) (state string, members int)
	DeleteGroup(group string) (code int)
	DeleteTopic(topic string) (code int)
}

// Member is one consumer of a group.
type Member interface {
	Poll() []Record // waits for at most PollMax
	Assignment() []int32
	Commit()
	Close()
}

// Play plays the scenario and prints its transcript.
func Play(client Client, topic string) {
	say("create:", client.Create(topic, Partitions, map[string]string{"retention.ms": "-1"}))
	say("create again:", client.Create(topic, Partitions, nil))
	await("the topic is there", func() bool { return client.Topics()[topic] > 0 })
	say("partitions:", client.Topics()[topic])
	for number, codec := range Codecs {
		client.Produce(topic, codec, records(codec, number))
	}
	say("offsets earliest:", byPartition(client.Offsets(topic, Earliest)))
	say("offsets latest:", byPartition(client.Offsets(topic, Latest)))
	for _, at := range []int64{startMs + 17_500, startMs + 3_600_000} {
		say(fmt.Sprintf("offsets %d:", at), byPartition(client.Offsets(topic, at)))
	}

	group := topic + "-group"
	member := client.Join(group, topic)
	consume(member, len(Codecs)*recordsPerCodec)
	member.Commit()
	member.Close()
	say("committed:", byPartition(client.Committed(group, topic)))
	sayGroup(client, group)

	client.Produce(topic, "none", records("more", len(Codecs)))
	member = client.Join(group, topic)
	consume(member, recordsPerCodec)
	member.Commit()
	member.Close()
	say("resumed and committed:", byPartition(client.Committed(group, topic)))

	rebalance(client, group, topic)
	say("delete group:", client.DeleteGroup(group))
	say("delete topic:", client.DeleteTopic(topic))
	await("the topic is gone", func() bool { return client.Topics()[topic] == 0 })
	say("done")
}

// Check ends the program when there is an error.
func Check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// records are those of the number-th codec: nulls, empties, repeated headers, and enough likeness to compress.
func records(codec string, number int) []Record {
	var all []Record
	for n := range recordsPerCodec {
		record := Record{Partition: int32(n % Partitions), Timestamp: int64(startMs + 1000*(number*recordsPerCodec+n))}
		if n%4 != 3 {
			record.Key = fmt.Appendf(nil, "key-%d", n)
		}
		if n == 0 {
			record.Value = []byte{}
		} else if n%5 != 4 {
			record.Value = fmt.Appendf(nil, "%s %d %s", codec, n, strings.Repeat("abcdefghij", 8))
		}
		if n%2 == 0 {
			record.Headers = []Header{{"codec", []byte(codec)}, {"n", fmt.Append(nil, n)}, {"n", []byte("again")}, {"empty", []byte{}}}
		}
		if n%6 == 0 {
			record.Headers = append(record.Headers, Header{"null", nil})
		}
		all = append(all, record)
	}
	return all
}

func rebalance(client Client, group, topic string) {
	everything := []int32{0, 1, 2}
	first := client.Join(group, topic)
	await("the first member gets every partition", func() bool { return slices.Equal(first.Assignment(), everything) }, first)
	say("rebalance: one member has", list(first.Assignment()))
	second := client.Join(group, topic)
	var sizes []int
	var together []int32
	await("both members get partitions", func() bool {
		a, b := first.Assignment(), second.Assignment()
		sizes, together = []int{len(a), len(b)}, append(slices.Clone(a), b...)
		slices.Sort(sizes)
		slices.Sort(together)
		return sizes[0] > 0 && slices.Equal(together, everything)
	}, first, second)
	say("rebalance: two members have", list(sizes), "together", list(together))
	sayGroup(client, group)
	second.Close()
	await("the first member gets every partition back", func() bool { return slices.Equal(first.Assignment(), everything) }, first)
	say("rebalance: one left, the other has", list(first.Assignment()))
	first.Close()
	sayGroup(client, group)
}

// consume reads count records, and would notice more.
func consume(member Member, count int) {
	var found []Record
	await(fmt.Sprintf("%d records come", count), func() bool {
		found = append(found, member.Poll()...)
		return len(found) >= count
	})
	found = append(found, member.Poll()...)
	slices.SortFunc(found, func(a, b Record) int {
		if a.Partition != b.Partition {
			return int(a.Partition - b.Partition)
		}
		return int(a.Offset - b.Offset)
	})
	for _, record := range found {
		var headers []string
		for _, header := range record.Headers {
			headers = append(headers, header.Name+"="+text(header.Value))
		}
		say("record", fmt.Sprintf("%d/%d %d %s %s [%s]", record.Partition, record.Offset, record.Timestamp,
			text(record.Key), text(record.Value), strings.Join(headers, " ")))
	}
}

// await polls the members until the condition holds.
func await(what string, condition func() bool, members ...Member) {
	end := time.Now().Add(wait)
	for !condition() {
		if time.Now().After(end) {
			Check(fmt.Errorf("timed out: %s", what))
		}
		for _, member := range members {
			member.Poll()
		}
	}
}

func sayGroup(client Client, group string) {
	state, members := client.Group(group)
	say("group:", state, members)
}

func byPartition(offsets map[int32]int64) string {
	var all []int64
	for partition := range int32(Partitions) {
		all = append(all, offsets[partition])
	}
	return list(all)
}

func list[T any](all []T) string { return strings.Trim(fmt.Sprint(all), "[]") }

func text(data []byte) string {
	if data == nil {
		return "null"
	}
	return `"` + string(data) + `"`
}

func say(words ...any) { fmt.Println(words...) }
