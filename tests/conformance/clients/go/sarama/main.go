// sarama plays the scenario with sarama: sarama BOOTSTRAP
package main

import (
	"context"
	"errors"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/IBM/sarama"

	. "strata.test/conformance/scenario"
)

type client struct {
	bootstrap []string
	admin     sarama.ClusterAdmin
}

func main() {
	bootstrap := os.Args[1:2]
	admin, err := sarama.NewClusterAdmin(bootstrap, settings())
	Check(err)
	defer admin.Close()
	Play(&client{bootstrap, admin}, "sarama")
}

func settings() *sarama.Config {
	config := sarama.NewConfig()
	config.Version = sarama.MaxVersion
	return config
}

// code is the server's error code; any other error ends the program.
func code(err error) int {
	var answered sarama.KError
	var topic *sarama.TopicError
	if err == nil {
		return 0
	} else if errors.As(err, &topic) {
		return int(topic.Err)
	} else if !errors.As(err, &answered) {
		Check(err)
	}
	return int(answered)
}

func (c *client) Create(topic string, partitions int, config map[string]string) int {
	entries := map[string]*string{}
	for name, value := range config {
		entries[name] = &value
	}
	return code(c.admin.CreateTopic(topic, &sarama.TopicDetail{NumPartitions: int32(partitions), ReplicationFactor: 1, ConfigEntries: entries}, false))
}

func (c *client) Topics() map[string]int {
	topics, err := c.admin.ListTopics()
	Check(err)
	found := map[string]int{}
	for name, detail := range topics {
		found[name] = int(detail.NumPartitions)
	}
	return found
}

func (c *client) Produce(topic, codec string, records []Record) {
	config := settings()
	Check(config.Producer.Compression.UnmarshalText([]byte(codec)))
	config.Producer.Idempotent, config.Producer.RequiredAcks, config.Net.MaxOpenRequests = true, sarama.WaitForAll, 1
	config.Producer.Partitioner = sarama.NewManualPartitioner
	config.Producer.Return.Successes = true
	config.Producer.Flush.Messages, config.Producer.Flush.Frequency = len(records), 50*time.Millisecond
	producer, err := sarama.NewSyncProducer(c.bootstrap, config)
	Check(err)
	defer producer.Close()
	var all []*sarama.ProducerMessage
	for _, r := range records {
		message := &sarama.ProducerMessage{Topic: topic, Partition: r.Partition, Timestamp: time.UnixMilli(r.Timestamp)}
		if r.Key != nil {
			message.Key = sarama.ByteEncoder(r.Key)
		}
		if r.Value != nil {
			message.Value = sarama.ByteEncoder(r.Value)
		}
		for _, h := range r.Headers {
			message.Headers = append(message.Headers, sarama.RecordHeader{Key: []byte(h.Name), Value: h.Value})
		}
		all = append(all, message)
	}
	Check(producer.SendMessages(all))
}

func (c *client) Offsets(topic string, spec int64) map[int32]int64 {
	asked := map[int32]int64{}
	for partition := range int32(Partitions) {
		asked[partition] = spec // Latest and Earliest are the protocol's own numbers
	}
	listed, err := c.admin.ListOffsets(map[string]map[int32]int64{topic: asked}, nil)
	Check(err)
	found := map[int32]int64{}
	for partition, result := range listed[topic] {
		if code(result.Err) != 0 {
			Check(result.Err)
		}
		found[partition] = result.Offset
	}
	return found
}

func (c *client) Committed(group, topic string) map[int32]int64 {
	answer, err := c.admin.ListConsumerGroupOffsets(group, nil)
	Check(err)
	found := map[int32]int64{}
	for partition, block := range answer.Blocks[topic] {
		found[partition] = block.Offset
	}
	return found
}

func (c *client) Group(group string) (string, int) {
	groups, err := c.admin.DescribeConsumerGroups([]string{group})
	Check(err)
	return groups[0].State, len(groups[0].Members)
}

func (c *client) DeleteGroup(group string) int { return code(c.admin.DeleteConsumerGroup(group)) }
func (c *client) DeleteTopic(topic string) int { return code(c.admin.DeleteTopic(topic)) }

// member joins in the background, again for each generation, and is its own handler of sessions.
type member struct {
	group   sarama.ConsumerGroup
	stop    context.CancelFunc
	stopped chan struct{}
	records chan *sarama.ConsumerMessage
	mutex   sync.Mutex
	session sarama.ConsumerGroupSession
	topic   string
}

func (c *client) Join(group, topic string) Member {
	config := settings()
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Offsets.AutoCommit.Enable = false
	config.Consumer.MaxWaitTime = 100 * time.Millisecond
	config.Consumer.Group.Session.Timeout, config.Consumer.Group.Heartbeat.Interval = 10*time.Second, 500*time.Millisecond
	joined, err := sarama.NewConsumerGroup(c.bootstrap, group, config)
	Check(err)
	running, stop := context.WithCancel(context.Background())
	m := &member{group: joined, stop: stop, stopped: make(chan struct{}), records: make(chan *sarama.ConsumerMessage), topic: topic}
	go func() {
		defer close(m.stopped)
		for running.Err() == nil {
			Check(joined.Consume(running, []string{topic}, m))
		}
	}()
	return m
}

func (m *member) Setup(session sarama.ConsumerGroupSession) error { m.enter(session); return nil }
func (m *member) Cleanup(_ sarama.ConsumerGroupSession) error     { m.enter(nil); return nil }
func (m *member) enter(session sarama.ConsumerGroupSession) {
	m.mutex.Lock()
	m.session = session
	m.mutex.Unlock()
}
func (m *member) current() (session sarama.ConsumerGroupSession) {
	m.mutex.Lock()
	session = m.session
	m.mutex.Unlock()
	return
}

func (m *member) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case message, open := <-claim.Messages():
			if !open {
				return nil
			}
			select {
			case m.records <- message:
				session.MarkMessage(message, "")
			case <-session.Context().Done():
				return nil
			}
		case <-session.Context().Done():
			return nil
		}
	}
}

func (m *member) Poll() []Record {
	var found []Record
	for end := time.After(PollMax); ; {
		select {
		case message := <-m.records:
			record := Record{Partition: message.Partition, Offset: message.Offset, Timestamp: message.Timestamp.UnixMilli(), Key: message.Key, Value: message.Value}
			for _, h := range message.Headers {
				record.Headers = append(record.Headers, Header{Name: string(h.Key), Value: h.Value})
			}
			found = append(found, record)
		case <-end:
			return found
		}
	}
}

func (m *member) Assignment() []int32 {
	if session := m.current(); session != nil {
		return slices.Sorted(slices.Values(session.Claims()[m.topic]))
	}
	return nil
}

func (m *member) Commit() { m.current().Commit() }

func (m *member) Close() {
	m.stop()
	<-m.stopped
	Check(m.group.Close())
}
