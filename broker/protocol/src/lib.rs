//! Kafka's messages and record batches: sans-IO, generated from schemas.
