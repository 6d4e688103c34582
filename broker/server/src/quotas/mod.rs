//! Quotas (KIP-13, KIP-55, KIP-124, KIP-599): who sends, reads or asks too much is told to wait, and is not read from meanwhile.
//!
//! ```text
//! request ─▶ Quotas::record(kind, user, client id, amount, now) ─▶ milliseconds to wait ─▶ throttle_time_ms of the answer
//!                                                                                     └─▶ Throttle: the connection is not read
//! ```
//!
//! Without a quota of a kind, asking costs one look at a shared pointer. Time comes in as an argument.

mod context;
mod limits;
mod rate;
mod throttle;

use std::collections::HashMap;
use std::net::IpAddr;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use strata_metadata::Image;

pub(crate) use self::context::REFUSED;
use self::limits::{Limits, Payer};
use self::rate::TokenBucket;
pub(crate) use self::rate::{Rate, Window};
pub(crate) use self::throttle::Throttle;

/// The most payers that are measured at once, for each kind; those that were quiet for longest are forgotten first.
const PAYERS_MAX: usize = 10_000;

/// What a quota bounds, per second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Bytes of produce requests.
    Produce = 0,
    /// Bytes of fetch responses.
    Fetch = 1,
    /// Percent of one processor's time.
    Request = 2,
    /// Partitions that are made or deleted.
    ControllerMutation = 3,
}

impl Kind {
    const COUNT: usize = 4;
    const ALL: [Self; Self::COUNT] = [Self::Produce, Self::Fetch, Self::Request, Self::ControllerMutation];

    /// The quota's name.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Produce => "producer_byte_rate",
            Self::Fetch => "consumer_byte_rate",
            Self::Request => "request_percentage",
            Self::ControllerMutation => "controller_mutation_rate",
        }
    }
}

/// The windows that rates are measured over.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Windows {
    /// `quota.window.*`.
    pub clients: Window,
    /// `controller.quota.window.*`.
    pub controller: Window,
}

/// All measurements of this broker.
pub(crate) struct Quotas {
    windows: Windows,
    limits: ArcSwap<Limits>,
    rates: [Mutex<HashMap<Payer, Rate>>; 3],
    mutations: Mutex<HashMap<Payer, TokenBucket>>,
}

impl Quotas {
    pub(crate) fn new(windows: Windows, image: &Image) -> Self {
        Self {
            windows,
            limits: ArcSwap::from_pointee(Limits::of(image)),
            rates: Default::default(),
            mutations: Mutex::default(),
        }
    }

    /// The metadata has changed; what was measured stands.
    pub(crate) fn follow(&self, image: &Image) {
        self.limits.store(Limits::of(image).into());
    }

    /// Whether nobody has a quota of this kind.
    pub(crate) fn is_off(&self, kind: Kind) -> bool {
        self.limits.load().is_off(kind)
    }

    /// Counts what a client has used, and answers for how many milliseconds it should rest: 0 within its quota.
    pub(crate) fn record(&self, kind: Kind, user: &str, client_id: &str, amount: f64, now_ms: i64) -> i64 {
        let Some((bound, payer)) = self.limits.load().find(kind, user, client_id) else { return 0 };
        let window = self.windows.clients;
        let mut rates = self.rates[kind as usize].lock();
        make_room(&mut rates, &payer, Rate::last_ms);
        let rate = rates.entry(payer).or_default();
        rate.record(window, amount, now_ms);
        let wait = rate.throttle_ms(window, bound, now_ms);
        // As in Kafka, work already done holds nobody up for longer than it is measured at once.
        if kind == Kind::Request { wait.min(window.length_ms) } else { wait }
    }

    /// Takes back what was counted: the client did not get it after all.
    pub(crate) fn unrecord(&self, kind: Kind, user: &str, client_id: &str, amount: f64, now_ms: i64) {
        let Some((_, payer)) = self.limits.load().find(kind, user, client_id) else { return };
        if let Some(rate) = self.rates[kind as usize].lock().get_mut(&payer) {
            rate.record(self.windows.clients, -amount, now_ms);
        }
    }

    /// The most bytes that one fetch may get without exceeding the client's quota by itself.
    pub(crate) fn fetch_bytes_max(&self, user: &str, client_id: &str) -> Option<usize> {
        let (bound, _) = self.limits.load().find(Kind::Fetch, user, client_id)?;
        Some(self.windows.clients.most(bound) as usize)
    }

    /// What a client may change of the cluster's partitions.
    pub(crate) fn mutations(&self, user: &str, client_id: &str, strict: bool, now_ms: i64) -> Mutations<'_> {
        let limit = self.limits.load().find(Kind::ControllerMutation, user, client_id);
        Mutations { quotas: self, limit, strict, now_ms, throttle_ms: 0 }
    }

    /// How many connections a second an address may make.
    pub(crate) fn connections_per_second(&self, address: IpAddr) -> Option<f64> {
        self.limits.load().connections_per_second(address)
    }

    pub(crate) fn window(&self) -> Window {
        self.windows.clients
    }
}

/// One request's changes of partitions.
pub(crate) struct Mutations<'a> {
    quotas: &'a Quotas,
    limit: Option<(f64, Payer)>,
    /// Whether the request's version knows of refusal by quota; older ones are let through, and held up afterwards.
    strict: bool,
    now_ms: i64,
    throttle_ms: i64,
}

impl Mutations<'_> {
    /// Whether so many partitions may be made or deleted; if so, they are counted.
    pub(crate) fn take(&mut self, partitions: usize) -> bool {
        let Some((bound, payer)) = &self.limit else { return true };
        let window = self.quotas.windows.controller;
        let mut buckets = self.quotas.mutations.lock();
        make_room(&mut buckets, payer, TokenBucket::last_ms);
        let fresh = || TokenBucket::new(window, *bound, self.now_ms);
        let bucket = buckets.entry(payer.clone()).or_insert_with(fresh);
        let overdrawn_ms = bucket.throttle_ms(window, *bound, self.now_ms);
        if self.strict && overdrawn_ms > 0 {
            self.throttle_ms = self.throttle_ms.max(overdrawn_ms);
            return false;
        }
        bucket.take(window, *bound, partitions as f64, self.now_ms);
        if !self.strict {
            self.throttle_ms = self.throttle_ms.max(bucket.throttle_ms(window, *bound, self.now_ms));
        }
        true
    }

    /// For how long the client should rest.
    pub(crate) fn throttle_ms(&self) -> i64 {
        self.throttle_ms
    }
}

/// Forgets the payer that was quiet for longest, when there is no place for a new one.
fn make_room<M>(measured: &mut HashMap<Payer, M>, payer: &Payer, last_ms: impl Fn(&M) -> i64) {
    if measured.len() < PAYERS_MAX || measured.contains_key(payer) {
        return;
    }
    let quietest = measured.iter().min_by_key(|(_, m)| last_ms(m)).map(|(payer, _)| payer.clone());
    quietest.and_then(|payer| measured.remove(&payer));
}

#[cfg(test)]
mod tests {
    use strata_protocol::messages::ClientQuotaRecord;
    use strata_protocol::messages::client_quota_record::EntityData;

    use super::*;

    const WINDOW: Window = Window { samples: 11, length_ms: 1000 };

    fn quotas(kind: Kind, bound: f64) -> Quotas {
        let mut image = Image::default();
        let everybody = EntityData { entity_type: "user".into(), entity_name: None, ..Default::default() };
        let record = ClientQuotaRecord {
            entity: vec![everybody],
            key: kind.key().into(),
            value: bound,
            ..Default::default()
        };
        image.apply(&record.into()).unwrap();
        Quotas::new(Windows { clients: WINDOW, controller: WINDOW }, &image)
    }

    #[test]
    fn everybody_pays_for_themselves_only() {
        let quotas = quotas(Kind::Produce, 100.0);
        assert_eq!(quotas.record(Kind::Produce, "a", "c", 2000.0, 0), 10_000);
        assert_eq!(quotas.record(Kind::Produce, "b", "c", 1000.0, 0), 0);
        assert_eq!(quotas.record(Kind::Fetch, "a", "c", 1e9, 0), 0);
    }

    #[test]
    fn request_time_holds_nobody_up_for_longer_than_a_sample() {
        let quotas = quotas(Kind::Request, 1.0);
        assert_eq!(quotas.record(Kind::Request, "a", "c", 10_000.0, 0), 1000);
    }

    #[test]
    fn payers_are_bounded_and_the_quietest_goes() {
        let quotas = quotas(Kind::Produce, 100.0);
        for user in 0..PAYERS_MAX as i64 + 10 {
            quotas.record(Kind::Produce, &user.to_string(), "c", 2000.0, user);
        }
        assert_eq!(quotas.rates[0].lock().len(), PAYERS_MAX);
        // The first ones are forgotten, and so begin anew.
        assert_eq!(quotas.record(Kind::Produce, "0", "c", 1000.0, 20_000), 0);
    }

    #[test]
    fn a_strict_request_is_refused_once_overdrawn_and_an_old_one_is_held_up() {
        let quotas = quotas(Kind::ControllerMutation, 1.0);
        let mut strict = quotas.mutations("a", "c", true, 0);
        assert!(strict.take(11) && strict.take(5));
        assert!(!strict.take(1));
        assert_eq!(strict.throttle_ms(), 5000);
        let mut old = quotas.mutations("a", "c", false, 0);
        assert!(old.take(1));
        assert_eq!(old.throttle_ms(), 6000);
    }

    #[test]
    fn a_fetch_gets_no_more_than_a_window_lets_through() {
        assert_eq!(quotas(Kind::Fetch, 100.0).fetch_bytes_max("a", "c"), Some(1000));
        assert_eq!(quotas(Kind::Produce, 100.0).fetch_bytes_max("a", "c"), None);
    }
}
