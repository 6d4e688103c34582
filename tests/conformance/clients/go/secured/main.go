// secured authenticates with franz-go and sarama, by SCRAM and PLAIN over TLS, and says what each may do and is told:
// secured BOOTSTRAP CA-FILE TOPIC
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
	xdg "github.com/xdg-go/scram"

	. "strata.test/conformance/scenario"
)

const (
	wait    = 30 * time.Second
	records = 3
)

type login struct{ mechanism, user, password string }

func main() {
	bootstrap, topic := os.Args[1], os.Args[3]
	pem, err := os.ReadFile(os.Args[2])
	Check(err)
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		Check(errors.New("no certificate in the CA file"))
	}
	trust := &tls.Config{RootCAs: roots, ServerName: "localhost"}
	for _, who := range []login{
		{"SCRAM-SHA-512", "bob", "c=secret"}, {"SCRAM-SHA-256", "bob", "c=secret"}, {"PLAIN", "alice", "b-secret"},
		{"SCRAM-SHA-512", "bob", "wrong"}, {"SCRAM-SHA-512", "nobody", "x"}, {"PLAIN", "alice", "wrong"},
	} {
		fmt.Println("franz-go", who, franz(bootstrap, topic, who, trust))
		fmt.Println("sarama", who, saramaClient(bootstrap, topic, who, trust))
	}
}

// code is how the server's answer is told, or the error's own words.
func code(err error) string {
	var franz *kerr.Error
	var sarama sarama.KError
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &franz):
		return fmt.Sprint(franz.Code)
	case errors.As(err, &sarama):
		return fmt.Sprint(int(sarama))
	}
	return err.Error()
}

func franz(bootstrap, topic string, who login, trust *tls.Config) string {
	limited, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	var mechanism sasl.Mechanism
	switch auth := (scram.Auth{User: who.user, Pass: who.password}); who.mechanism {
	case "SCRAM-SHA-512":
		mechanism = auth.AsSha512Mechanism()
	case "SCRAM-SHA-256":
		mechanism = auth.AsSha256Mechanism()
	default:
		mechanism = plain.Auth{User: who.user, Pass: who.password}.AsMechanism()
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.SASL(mechanism), kgo.DialTLSConfig(trust), kgo.RetryTimeout(time.Second),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().AtStart()}}))
	Check(err)
	defer client.Close()
	if err := client.Ping(limited); err != nil {
		return "is refused: " + code(err)
	}
	for n := range records {
		record := &kgo.Record{Topic: topic, Value: fmt.Appendf(nil, "franz-go %s %d", who.mechanism, n)}
		Check(client.ProduceSync(limited, record).FirstErr())
	}
	read := 0
	for read < records {
		fetches := client.PollFetches(limited)
		Check(fetches.Err())
		read += fetches.NumRecords()
	}
	answers, err := kadm.NewClient(client).CreateTopics(limited, 1, 1, nil, "forbidden")
	Check(err)
	return fmt.Sprint("writes and reads; may not create: ", code(answers["forbidden"].Err))
}

func saramaClient(bootstrap, topic string, who login, trust *tls.Config) string {
	config := sarama.NewConfig()
	config.Version = sarama.V3_9_0_0
	config.Net.TLS.Enable, config.Net.TLS.Config = true, trust
	config.Net.SASL.Enable, config.Net.SASL.User, config.Net.SASL.Password = true, who.user, who.password
	config.Net.SASL.Mechanism = sarama.SASLMechanism(who.mechanism)
	config.Net.SASL.SCRAMClientGeneratorFunc = func() sarama.SCRAMClient { return &conversation{mechanism: who.mechanism} }
	config.Metadata.Retry.Max, config.Admin.Retry.Max = 0, 0
	config.Producer.Return.Successes, config.Producer.Partitioner = true, sarama.NewManualPartitioner
	client, err := sarama.NewClient([]string{bootstrap}, config)
	if err != nil {
		return "is refused: " + code(err)
	}
	defer client.Close()
	producer, err := sarama.NewSyncProducerFromClient(client)
	Check(err)
	for n := range records {
		_, _, err = producer.SendMessage(&sarama.ProducerMessage{Topic: topic, Value: sarama.StringEncoder(fmt.Sprint("sarama ", who.mechanism, n))})
		Check(err)
	}
	consumer, err := sarama.NewConsumerFromClient(client)
	Check(err)
	partition, err := consumer.ConsumePartition(topic, 0, sarama.OffsetOldest)
	Check(err)
	for range records {
		select {
		case <-partition.Messages():
		case <-time.After(wait):
			Check(errors.New("timed out: reading"))
		}
	}
	Check(partition.Close())
	admin, err := sarama.NewClusterAdminFromClient(client)
	Check(err)
	var refused *sarama.TopicError
	err = admin.CreateTopic("forbidden", &sarama.TopicDetail{NumPartitions: 1, ReplicationFactor: 1}, false)
	if errors.As(err, &refused) {
		err = refused.Err
	}
	return fmt.Sprint("writes and reads; may not create: ", code(err))
}

// conversation is what sarama wants of a SCRAM library.
type conversation struct {
	mechanism string
	*xdg.ClientConversation
}

func (c *conversation) Begin(user, password, authorization string) error {
	hash := xdg.SHA512
	if c.mechanism == "SCRAM-SHA-256" {
		hash = xdg.SHA256
	}
	client, err := hash.NewClient(user, password, authorization)
	if err == nil {
		c.ClientConversation = client.NewConversation()
	}
	return err
}
