//! Side by side with Apache Kafka.
fn main() {}
