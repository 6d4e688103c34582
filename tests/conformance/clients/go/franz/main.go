// franz plays the scenario with franz-go: franz BOOTSTRAP [consumer], the latter with the new group protocol
package main

import (
	"context"
	"errors"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	. "strata.test/conformance/scenario"
)

var background = context.Background()

type client struct {
	bootstrap string
	kip848    bool
	admin     *kadm.Client
}

func main() {
	bootstrap := os.Args[1]
	kip848, name := len(os.Args) > 2, "franz-go"
	if kip848 {
		name = "franz-go-kip848"
	}
	Play(&client{bootstrap, kip848, kadm.NewClient(connect(bootstrap))}, name)
}

func connect(bootstrap string, options ...kgo.Opt) *kgo.Client {
	client, err := kgo.NewClient(append(options, kgo.SeedBrokers(bootstrap), kgo.MetadataMinAge(50*time.Millisecond))...)
	Check(err)
	return client
}

// code is the server's error code; any other error ends the program.
func code(err error) int {
	var answered *kerr.Error
	if err == nil {
		return 0
	} else if !errors.As(err, &answered) {
		Check(err)
	}
	return int(answered.Code)
}

func (c *client) Create(topic string, partitions int, config map[string]string) int {
	values := map[string]*string{}
	for name, value := range config {
		values[name] = &value
	}
	answer, err := c.admin.CreateTopic(background, int32(partitions), 1, values, topic)
	if err == nil {
		err = answer.Err
	}
	return code(err)
}

func (c *client) Topics() map[string]int {
	details, err := c.admin.ListTopics(background)
	Check(err)
	found := map[string]int{}
	for name, detail := range details {
		found[name] = len(detail.Partitions)
	}
	return found
}

func (c *client) Produce(topic, codec string, records []Record) {
	codecs := map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	}
	producer := connect(c.bootstrap, kgo.ProducerBatchCompression(codecs[codec]), kgo.ProducerLinger(50*time.Millisecond),
		kgo.RecordPartitioner(kgo.ManualPartitioner()))
	defer producer.Close()
	var all []*kgo.Record
	for _, r := range records {
		record := &kgo.Record{Topic: topic, Partition: r.Partition, Timestamp: time.UnixMilli(r.Timestamp), Key: r.Key, Value: r.Value}
		for _, h := range r.Headers {
			record.Headers = append(record.Headers, kgo.RecordHeader{Key: h.Name, Value: h.Value})
		}
		all = append(all, record)
	}
	Check(producer.ProduceSync(background, all...).FirstErr())
}

func (c *client) Offsets(topic string, spec int64) map[int32]int64 {
	var listed kadm.ListedOffsets
	var err error
	switch spec {
	case Earliest:
		listed, err = c.admin.ListStartOffsets(background, topic)
	case Latest:
		listed, err = c.admin.ListEndOffsets(background, topic)
	default:
		listed, err = c.admin.ListOffsetsAfterMilli(background, spec, topic) // the end where there is none
	}
	Check(err)
	found := map[int32]int64{}
	listed.Each(func(offset kadm.ListedOffset) { found[offset.Partition] = offset.Offset })
	return found
}

func (c *client) Committed(group, topic string) map[int32]int64 {
	offsets, err := c.admin.FetchOffsets(background, group)
	Check(err)
	found := map[int32]int64{}
	for partition, offset := range offsets[topic] {
		Check(offset.Err)
		found[partition] = offset.At
	}
	return found
}

func (c *client) Group(group string) (string, int) {
	if c.kip848 {
		groups, err := c.admin.DescribeConsumerGroups(background, group)
		Check(err)
		Check(groups[group].Err)
		return groups[group].State, len(groups[group].Members)
	}
	groups, err := c.admin.DescribeGroups(background, group)
	Check(err)
	Check(groups[group].Err)
	return groups[group].State, len(groups[group].Members)
}

func (c *client) DeleteGroup(group string) int {
	answer, err := c.admin.DeleteGroup(background, group)
	if err == nil {
		err = answer.Err
	}
	return code(err)
}

func (c *client) DeleteTopic(topic string) int {
	answer, err := c.admin.DeleteTopic(background, topic)
	if err == nil {
		err = answer.Err
	}
	return code(err)
}

type member struct {
	consumer *kgo.Client
	mutex    sync.Mutex
	assigned []int32
}

func (c *client) Join(group, topic string) Member {
	m := &member{}
	var options []kgo.Opt
	if c.kip848 {
		options = append(options, kgo.Balancers(kgo.StickyBalancer()), kgo.ServerSideBalancer())
	}
	m.consumer = connect(c.bootstrap, append(options, kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.DisableAutoCommit(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(100*time.Millisecond),
		kgo.SessionTimeout(10*time.Second), kgo.HeartbeatInterval(500*time.Millisecond),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, added map[string][]int32) {
			m.change(func(p []int32) []int32 { return append(p, added[topic]...) })
		}),
		kgo.OnPartitionsRevoked(func(_ context.Context, _ *kgo.Client, lost map[string][]int32) {
			m.change(func(p []int32) []int32 {
				return slices.DeleteFunc(p, func(partition int32) bool { return slices.Contains(lost[topic], partition) })
			})
		}))...)
	return m
}

func (m *member) change(f func([]int32) []int32) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.assigned = f(m.assigned)
	slices.Sort(m.assigned)
}

func (m *member) Assignment() []int32 {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	return slices.Clone(m.assigned)
}

func (m *member) Poll() []Record {
	limited, cancel := context.WithTimeout(background, PollMax)
	defer cancel()
	fetches := m.consumer.PollFetches(limited)
	for _, failed := range fetches.Errors() {
		if !errors.Is(failed.Err, context.DeadlineExceeded) {
			Check(failed.Err)
		}
	}
	var found []Record
	fetches.EachRecord(func(r *kgo.Record) {
		record := Record{Partition: r.Partition, Offset: r.Offset, Timestamp: r.Timestamp.UnixMilli(), Key: r.Key, Value: r.Value}
		for _, h := range r.Headers {
			record.Headers = append(record.Headers, Header{Name: h.Key, Value: h.Value})
		}
		found = append(found, record)
	})
	return found
}

func (m *member) Commit() { Check(m.consumer.CommitUncommittedOffsets(background)) }
func (m *member) Close()  { m.consumer.Close() }
