//! Segmented partition logs in Kafka's on-disk format.
