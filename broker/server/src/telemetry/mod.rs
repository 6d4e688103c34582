//! Client telemetry (KIP-714): which clients shall push which of their metrics, and what becomes of them.
//!
//! ```text
//! GetTelemetrySubscriptions ─▶ subscriptions that fit the client ─▶ a subscription: metrics, interval, id
//! PushTelemetry ─▶ its time has come? ─▶ decompress, within limits ─▶ OTLP ─▶ the newest points of each client ─▶ /metrics
//! ```
//!
//! Sans-IO: time is an argument, in milliseconds.

mod matching;
mod otlp;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;
use strata_metadata::{ConfigResource, Image};
use strata_protocol::Str;
use strata_protocol::records::Compression;
use strata_types::ErrorCode;
use uuid::Uuid;

pub(crate) use matching::{Client, Match};
pub(crate) use otlp::{Point, points};

/// The push interval of a subscription that names none.
pub(crate) const INTERVAL_DEFAULT_MS: i32 = 5 * 60 * 1000;
/// The shortest and the longest interval that a subscription may ask for.
pub(crate) const INTERVAL_MIN_MS: i32 = 100;
pub(crate) const INTERVAL_MAX_MS: i32 = 3_600_000;
/// The most clients that are known at once; those that were quiet for longest are forgotten.
const INSTANCES_MAX: usize = 16_384;
/// The most clients whose metrics are kept, and the most points of each.
const SHOWN_MAX: usize = 500;
pub(crate) const POINTS_MAX: usize = 200;
/// How much a push may grow when decompressed: so many times its size, and never above so many times `telemetry.max.bytes`.
pub(crate) const RATIO_MAX: usize = 100;
pub(crate) const GROWTH_MAX: usize = 4;
/// What clients may compress with, the best first.
pub(crate) const COMPRESSIONS: [Compression; 4] =
    [Compression::Zstd, Compression::Lz4, Compression::Gzip, Compression::Snappy];

/// What a client shall push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Subscription {
    pub id: i32,
    pub interval_ms: i32,
    /// Prefixes of names; `*` is all. None at all: the client pushes nothing.
    pub metrics: Vec<Str>,
}

impl Subscription {
    /// All that the cluster's subscriptions ask of a client.
    pub(crate) fn of(image: &Image, client: &Client<'_>) -> Self {
        let (mut metrics, mut interval_ms) = (BTreeSet::new(), None::<i32>);
        for (resource, set) in image.configs() {
            if !matches!(resource, ConfigResource::ClientMetrics(_)) {
                continue;
            }
            let selectors = set.get("match").map_or(Ok(Match::default()), |text| Match::parse(text));
            // What cannot be read was let in by another version; it fits nobody.
            if !selectors.is_ok_and(|selectors| selectors.fits(client)) {
                continue;
            }
            let wanted = set.get("metrics").map(Str::as_str).unwrap_or_default();
            metrics.extend(wanted.split(',').map(str::trim).filter(|name| !name.is_empty()).map(Str::from));
            let interval = set.get("interval.ms").and_then(|ms| ms.trim().parse().ok());
            let interval = interval.unwrap_or(INTERVAL_DEFAULT_MS);
            interval_ms = Some(interval_ms.map_or(interval, |least| least.min(interval)));
        }
        let metrics = match metrics.contains("*") {
            true => vec![Str::from_static("*")],
            false => metrics.into_iter().collect::<Vec<_>>(),
        };
        let interval_ms = interval_ms.unwrap_or(INTERVAL_DEFAULT_MS);
        Self { id: id_of(&metrics, interval_ms), interval_ms, metrics }
    }
}

/// The same for the same subscription, whichever broker says it (FNV-1a).
fn id_of(metrics: &[Str], interval_ms: i32) -> i32 {
    let mut hash = 0x811c_9dc5_u32;
    let names = metrics.iter().flat_map(|name| name.bytes().chain([0]));
    for byte in names.chain(interval_ms.to_be_bytes()) {
        hash = (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    }
    hash as i32
}

/// A client as it was last heard of.
struct Instance {
    subscription_id: i32,
    interval_ms: i64,
    asked_ms: Option<i64>,
    pushed_ms: Option<i64>,
    /// Its last push was refused for a reason that makes it ask anew at once.
    may_ask: bool,
    terminating: bool,
}

impl Instance {
    fn heard_ms(&self) -> i64 {
        self.asked_ms.max(self.pushed_ms).unwrap_or(i64::MIN)
    }
}

/// What a client has pushed last.
#[derive(Debug)]
pub(crate) struct Pushed {
    pub client_id: String,
    pub instance_id: Uuid,
    pub points: Vec<Point>,
}

/// What is known of the clients.
#[derive(Default)]
pub(crate) struct Telemetry {
    instances: Mutex<HashMap<Uuid, Instance>>,
    shown: Mutex<HashMap<Uuid, (i64, Arc<Pushed>)>>,
}

impl Telemetry {
    /// A client asks what to push.
    pub(crate) fn ask(&self, id: Uuid, wanted: &Subscription, now_ms: i64) -> Result<(), ErrorCode> {
        let mut instances = self.instances.lock();
        make_room(&mut instances, &id, Instance::heard_ms);
        let instance = instances.entry(id).or_insert_with(|| fresh(wanted));
        let early = instance.asked_ms.is_some_and(|asked| now_ms - asked < instance.interval_ms);
        if early && !instance.may_ask && instance.subscription_id == wanted.id {
            return Err(ErrorCode::ThrottlingQuotaExceeded);
        }
        (instance.subscription_id, instance.interval_ms) = (wanted.id, i64::from(wanted.interval_ms));
        (instance.asked_ms, instance.may_ask) = (Some(now_ms), false);
        Ok(())
    }

    /// A client wants to push, under the subscription that it knows.
    pub(crate) fn admit(
        &self,
        id: Uuid,
        wanted: &Subscription,
        subscription_id: i32,
        terminating: bool,
        now_ms: i64,
    ) -> Result<(), ErrorCode> {
        if id.is_nil() {
            return Err(ErrorCode::InvalidRequest);
        }
        let mut instances = self.instances.lock();
        make_room(&mut instances, &id, Instance::heard_ms);
        let instance = instances.entry(id).or_insert_with(|| fresh(wanted));
        if instance.terminating {
            return Err(ErrorCode::InvalidRequest);
        }
        let early = instance.pushed_ms.is_some_and(|pushed| now_ms - pushed < instance.interval_ms);
        // The last words of a client that ends come when they come.
        if early && !terminating {
            return Err(ErrorCode::ThrottlingQuotaExceeded);
        }
        (instance.pushed_ms, instance.terminating) = (Some(now_ms), terminating);
        if subscription_id != wanted.id {
            instance.may_ask = true;
            return Err(ErrorCode::UnknownSubscriptionId);
        }
        Ok(())
    }

    /// A push was refused for its form: the client may ask again at once.
    pub(crate) fn refused(&self, id: Uuid) {
        if let Some(instance) = self.instances.lock().get_mut(&id) {
            instance.may_ask = true;
        }
    }

    /// Keeps what a client has pushed, until its next push.
    pub(crate) fn keep(&self, pushed: Pushed, now_ms: i64) {
        let mut shown = self.shown.lock();
        if shown.len() >= SHOWN_MAX && !shown.contains_key(&pushed.instance_id) {
            let oldest = shown.iter().min_by_key(|(_, (at, _))| *at).map(|(id, _)| *id);
            oldest.and_then(|id| shown.remove(&id));
        }
        shown.insert(pushed.instance_id, (now_ms, Arc::new(pushed)));
    }

    /// A client has ended: it says no more of itself.
    pub(crate) fn forget(&self, id: Uuid) {
        self.shown.lock().remove(&id);
    }

    /// What clients have pushed last.
    pub(crate) fn pushed(&self) -> Vec<Arc<Pushed>> {
        self.shown.lock().values().map(|(_, pushed)| pushed.clone()).collect()
    }
}

fn fresh(wanted: &Subscription) -> Instance {
    Instance {
        subscription_id: wanted.id,
        interval_ms: i64::from(wanted.interval_ms),
        asked_ms: None,
        pushed_ms: None,
        may_ask: false,
        terminating: false,
    }
}

fn make_room(instances: &mut HashMap<Uuid, Instance>, id: &Uuid, heard_ms: impl Fn(&Instance) -> i64) {
    if instances.len() >= INSTANCES_MAX && !instances.contains_key(id) {
        let quietest = instances.iter().min_by_key(|(_, instance)| heard_ms(instance)).map(|(id, _)| *id);
        quietest.and_then(|id| instances.remove(&id));
    }
}

#[cfg(test)]
mod tests {
    use strata_protocol::messages::ConfigRecord;

    use super::*;

    const ID: Uuid = Uuid::from_u128(7);

    fn image(set: &[(&str, &str, &str)]) -> Image {
        let mut image = Image::default();
        for (subscription, name, value) in set {
            let record = ConfigRecord {
                resource_type: 16,
                resource_name: (*subscription).into(),
                name: (*name).into(),
                value: Some((*value).into()),
                ..Default::default()
            };
            image.apply(&record.into()).unwrap();
        }
        image
    }

    fn client(client_id: &str) -> Client<'_> {
        Client {
            client_id,
            instance_id: "",
            software_name: "librdkafka",
            software_version: "2",
            address: [127, 0, 0, 1].into(),
            port: 1,
        }
    }

    #[test]
    fn subscriptions_that_fit_add_up() {
        let image = image(&[
            ("a", "metrics", "org.x.,org.y."),
            ("a", "interval.ms", "5000"),
            ("b", "metrics", "org.z."),
            ("b", "match", "client_id=app.*"),
            ("b", "interval.ms", "1000"),
            ("c", "metrics", "*"),
            ("c", "match", "client_id=all"),
        ]);
        let of = |id: &str| Subscription::of(&image, &client(id));
        assert_eq!((of("x").metrics.len(), of("x").interval_ms), (2, 5000));
        assert_eq!((of("app1").metrics.len(), of("app1").interval_ms), (3, 1000));
        assert_eq!(of("all").metrics, ["*"]);
        assert_ne!(of("x").id, of("app1").id);
        assert_eq!(Subscription::of(&Image::default(), &client("x")).metrics, Vec::<Str>::new());
    }

    #[test]
    fn who_asks_or_pushes_too_early_waits() {
        let telemetry = Telemetry::default();
        let wanted = Subscription { id: 1, interval_ms: 1000, metrics: vec!["*".into()] };
        assert_eq!(telemetry.ask(ID, &wanted, 0), Ok(()));
        assert_eq!(telemetry.ask(ID, &wanted, 999), Err(ErrorCode::ThrottlingQuotaExceeded));
        assert_eq!(telemetry.admit(ID, &wanted, 1, false, 10), Ok(()));
        assert_eq!(telemetry.admit(ID, &wanted, 1, false, 500), Err(ErrorCode::ThrottlingQuotaExceeded));
        let changed = Subscription { id: 2, ..wanted };
        assert_eq!(telemetry.admit(ID, &changed, 1, false, 1500), Err(ErrorCode::UnknownSubscriptionId));
        assert_eq!(telemetry.ask(ID, &changed, 1501), Ok(()), "what it knew is not asked for any more");
        assert_eq!(telemetry.admit(ID, &changed, 2, true, 1502), Ok(()), "last words come at any time");
        assert_eq!(telemetry.admit(ID, &changed, 2, false, 9000), Err(ErrorCode::InvalidRequest));
        assert_eq!(telemetry.admit(Uuid::nil(), &changed, 2, false, 0), Err(ErrorCode::InvalidRequest));
    }

    #[test]
    fn what_is_kept_of_clients_is_bounded() {
        let telemetry = Telemetry::default();
        let wanted = Subscription { id: 1, interval_ms: 1000, metrics: Vec::new() };
        for number in 1..=(INSTANCES_MAX as u128 + 5) {
            telemetry.ask(Uuid::from_u128(number), &wanted, number as i64).unwrap();
        }
        assert_eq!(telemetry.instances.lock().len(), INSTANCES_MAX);
        for number in 1..=(SHOWN_MAX as u128 + 5) {
            let instance_id = Uuid::from_u128(number);
            telemetry.keep(Pushed { client_id: "c".into(), instance_id, points: Vec::new() }, number as i64);
        }
        assert_eq!(telemetry.pushed().len(), SHOWN_MAX);
    }
}
