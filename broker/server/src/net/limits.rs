//! Who may connect: as many connections as `max.connections`, `max.connections.per.ip` and the rates of their creation allow
//! (KIP-402, KIP-612). All of it may change while the broker runs.
//!
//! ```text
//! accept ─▶ a place among all, and among its listener's ─▶ the address's count ─▶ the rates ─▶ served
//!             (waits outside, as in Kafka)                   (closed)              broker's, listener's: waits; address's: closed
//! ```

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use strata_metadata::Image;
use strata_protocol::Str;
use tokio::sync::Notify;

use super::causes::Causes;
use crate::configs::{Configs, connections_per_ip};
use crate::quotas::{Quotas, Rate};

/// The most addresses whose connection rates are measured at once; those that were quiet for longest are forgotten.
const ADDRESSES_MAX: usize = 10_000;
/// A rate of new connections that is none: Kafka's default.
const CREATION_RATE_OFF: i64 = i32::MAX as i64;

/// The settings, as they are now.
struct Settings {
    connections_max: usize,
    per_ip_max: usize,
    per_ip: HashMap<IpAddr, usize>,
    creation_rate: i64,
    /// By listener: the most connections, and the most new ones a second.
    listeners: HashMap<String, (usize, i64)>,
}

impl Settings {
    fn read(configs: &Configs, image: &Image, listeners: &[String]) -> Self {
        let size = |number: i64| usize::try_from(number).unwrap_or(usize::MAX);
        let own = |listener: &str, name: &str| -> Option<i64> {
            configs.listener_value(image, listener, name)?.trim().parse().ok()
        };
        let per_ip = configs.broker_value(image, "max.connections.per.ip.overrides").unwrap_or_default();
        let per_ip = connections_per_ip(&per_ip).unwrap_or_else(|why| {
            tracing::error!("max.connections.per.ip.overrides is not followed: {why}");
            Vec::new()
        });
        let of_listener = |listener: &String| {
            let connections = own(listener, "max.connections").map_or(usize::MAX, size);
            let rate = own(listener, "max.connection.creation.rate").unwrap_or(CREATION_RATE_OFF);
            (listener.clone(), (connections, rate))
        };
        Self {
            connections_max: size(configs.broker_number(image, "max.connections")),
            per_ip_max: size(configs.broker_number(image, "max.connections.per.ip")),
            per_ip: per_ip.into_iter().collect(),
            creation_rate: configs.broker_number(image, "max.connection.creation.rate"),
            listeners: listeners.iter().map(of_listener).collect(),
        }
    }
}

#[derive(Default)]
struct Counts {
    all: usize,
    per_listener: HashMap<Str, usize>,
    /// Those of `per_listener` that are not just a place for whoever comes next.
    open: HashMap<Str, usize>,
    per_ip: HashMap<IpAddr, usize>,
}

#[derive(Default)]
struct Rates {
    broker: Rate,
    per_listener: HashMap<Str, Rate>,
    per_ip: HashMap<IpAddr, Rate>,
}

/// What all listeners share.
pub(crate) struct Limits {
    settings: ArcSwap<Settings>,
    listeners: Vec<String>,
    counts: Mutex<Counts>,
    rates: Mutex<Rates>,
    /// Told when a connection ends or a limit changes.
    freed: Notify,
    base: Instant,
    pub(super) causes: Causes,
}

/// Why a connection is closed at once, or after a while.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum TooMany {
    /// The address has all the connections that it may have.
    OfAddress,
    /// It made too many lately; it is told by a close after this time, so that it does not come back at once.
    Lately(Duration),
}

impl Limits {
    pub(crate) fn new(configs: &Configs, image: &Image, listeners: Vec<String>) -> Arc<Self> {
        Arc::new(Self {
            settings: ArcSwap::from_pointee(Settings::read(configs, image, &listeners)),
            listeners,
            counts: Mutex::default(),
            rates: Mutex::default(),
            freed: Notify::new(),
            base: Instant::now(),
            causes: Causes::default(),
        })
    }

    /// The settings may have changed. Connections that are there stay.
    pub(crate) fn follow(&self, configs: &Configs, image: &Image) {
        self.settings.store(Settings::read(configs, image, &self.listeners).into());
        self.freed.notify_waiters();
    }

    /// How many connections are open, by listener.
    pub(crate) fn open(&self) -> Vec<(Str, usize)> {
        let counts = self.counts.lock();
        counts.open.iter().map(|(name, count)| (name.clone(), *count)).collect()
    }

    /// Waits for a place for one more connection of this listener.
    pub(super) async fn place(self: &Arc<Self>, listener: &Str) -> Place {
        loop {
            let freed = self.freed.notified();
            let mut freed = std::pin::pin!(freed);
            // Listens from here on, so that no end between the look and the wait is missed.
            freed.as_mut().enable();
            if let Some(place) = self.try_place(listener) {
                return place;
            }
            freed.await;
        }
    }

    fn try_place(self: &Arc<Self>, listener: &Str) -> Option<Place> {
        let settings = self.settings.load();
        let of_listener = settings.listeners.get(listener.as_str()).map_or(usize::MAX, |(most, _)| *most);
        let mut counts = self.counts.lock();
        let here = counts.per_listener.get(listener).copied().unwrap_or(0);
        if counts.all >= settings.connections_max || here >= of_listener {
            return None;
        }
        counts.all += 1;
        *counts.per_listener.entry(listener.clone()).or_default() += 1;
        Some(Place { limits: self.clone(), listener: listener.clone(), ip: None })
    }

    /// Counts a new connection of an address in, if it may have one more. Answers how long the listener should then take no
    /// further one.
    pub(super) fn admit(&self, place: &mut Place, ip: IpAddr, quotas: &Quotas) -> Result<Duration, TooMany> {
        let settings = self.settings.load();
        let most = settings.per_ip.get(&ip).copied().unwrap_or(settings.per_ip_max);
        {
            let mut counts = self.counts.lock();
            let count = counts.per_ip.entry(ip).or_default();
            if *count >= most {
                if *count == 0 {
                    counts.per_ip.remove(&ip);
                }
                return Err(TooMany::OfAddress);
            }
            *count += 1;
            place.ip = Some(ip);
            *counts.open.entry(place.listener.clone()).or_default() += 1;
        }
        self.measure(&settings, place, ip, quotas)
    }

    fn measure(
        &self,
        settings: &Settings,
        place: &Place,
        ip: IpAddr,
        quotas: &Quotas,
    ) -> Result<Duration, TooMany> {
        let (window, now_ms) = (quotas.window(), self.base.elapsed().as_millis() as i64);
        let mut rates = self.rates.lock();
        let over = |rate: &mut Rate, bound: f64| {
            rate.record(window, 1.0, now_ms);
            rate.throttle_ms(window, bound, now_ms).min(window.length_ms)
        };
        if let Some(bound) = quotas.connections_per_second(ip) {
            if rates.per_ip.len() >= ADDRESSES_MAX && !rates.per_ip.contains_key(&ip) {
                let quietest = rates.per_ip.iter().min_by_key(|(_, rate)| rate.last_ms()).map(|(ip, _)| *ip);
                quietest.and_then(|ip| rates.per_ip.remove(&ip));
            }
            let rate = rates.per_ip.entry(ip).or_default();
            let wait = over(rate, bound);
            if wait > 0 {
                // It is not let in, and so does not count.
                rate.record(window, -1.0, now_ms);
                return Err(TooMany::Lately(millis(wait)));
            }
        }
        let mut wait = 0;
        if settings.creation_rate < CREATION_RATE_OFF {
            wait = over(&mut rates.broker, settings.creation_rate as f64);
        }
        if let Some((_, bound)) =
            settings.listeners.get(place.listener.as_str()).filter(|(_, rate)| *rate < CREATION_RATE_OFF)
        {
            let rate = rates.per_listener.entry(place.listener.clone()).or_default();
            wait = wait.max(over(rate, *bound as f64));
        }
        Ok(millis(wait))
    }
}

fn millis(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

/// A connection's place within the limits, given back when dropped.
pub(super) struct Place {
    pub(super) limits: Arc<Limits>,
    listener: Str,
    ip: Option<IpAddr>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.limits.counts.lock();
        counts.all -= 1;
        if let Some(count) = counts.per_listener.get_mut(&self.listener) {
            *count -= 1;
        }
        if self.ip.is_some()
            && let Some(count) = counts.open.get_mut(&self.listener)
        {
            *count -= 1;
        }
        if let Some(ip) = self.ip
            && let Some(count) = counts.per_ip.get_mut(&ip)
        {
            *count -= 1;
            if *count == 0 {
                counts.per_ip.remove(&ip);
            }
        }
        drop(counts);
        self.limits.freed.notify_waiters();
    }
}
