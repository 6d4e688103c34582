//! The async Kafka client that the brokers' companions and the command line use.
