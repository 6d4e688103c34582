// Package suites names the modules whose own tests ../run plays, so that go.mod pins them and go.sum their content.
package suites

import (
	_ "github.com/segmentio/kafka-go"
	_ "github.com/segmentio/kafka-go/sasl/scram"
	_ "github.com/twmb/franz-go/pkg/kadm"
	_ "github.com/twmb/franz-go/pkg/kgo"
)
