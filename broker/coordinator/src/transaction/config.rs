/// A transaction coordinator's settings and limits. The default is Kafka's, where Kafka has the setting.
#[derive(Debug, Clone)]
pub struct TransactionConfig {
    /// `transaction.max.timeout.ms`
    pub max_timeout_ms: i32,
    /// `transactional.id.expiration.ms`
    pub id_expiration_ms: i64,
    /// `transaction.abort.timed.out.transaction.cleanup.interval.ms`
    pub abort_check_interval_ms: i64,
    /// `transaction.remove.expired.transaction.cleanup.interval.ms`
    pub expiry_check_interval_ms: i64,
    /// The cluster's `transaction.version`, by which the coordinator aborts of its own accord.
    pub transaction_version: i16,
    /// The leader epoch of the coordinator's partition, which its markers carry.
    pub coordinator_epoch: i32,
    /// How long a request that begins a transaction may wait for the end of the last one
    /// (`add.partitions.to.txn.retry.backoff.max.ms`).
    pub begin_wait_ms: i64,
    /// Transactional ids that one shard may have; InitProducerId with one more gets `POLICY_VIOLATION`.
    pub ids_max: usize,
    /// Partitions of one transaction; beyond, `POLICY_VIOLATION`. Its record stays below the topic's
    /// `max.message.bytes`.
    pub partitions_max: usize,
    /// Requests that may wait for the end of a transaction; beyond, they are told to ask again at once.
    pub waiting_max: usize,
}

impl Default for TransactionConfig {
    fn default() -> Self {
        Self {
            max_timeout_ms: 900_000,
            id_expiration_ms: 604_800_000,
            abort_check_interval_ms: 10_000,
            expiry_check_interval_ms: 3_600_000,
            transaction_version: 2,
            coordinator_epoch: 0,
            begin_wait_ms: 100,
            ids_max: 1_000_000,
            partitions_max: 10_000,
            waiting_max: 10_000,
        }
    }
}
