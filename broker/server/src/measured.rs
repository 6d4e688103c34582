//! What a request has cost: its time for the metrics, and its share of a processor for the sender's quota (KIP-124).

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use strata_protocol::{ApiKey, Response, Str};

use crate::broker::Broker;
use crate::dispatch::{Context, Refusal};
use crate::quotas::{Kind, Throttle};

thread_local! {
    /// Of the request that this thread works on: since when, and for how long it was worked on before.
    static WORK: Cell<Option<(Instant, Duration)>> = const { Cell::new(None) };
}

/// Runs to the end, and tells how long it was worked on; what it waited for does not count.
pub(crate) async fn timed<F: Future>(future: F) -> (F::Output, Duration) {
    let (mut future, mut busy) = (pin!(future), Duration::ZERO);
    let output = poll_fn(|cx| {
        let began = Instant::now();
        WORK.set(Some((began, busy)));
        let polled = future.as_mut().poll(cx);
        busy += began.elapsed();
        polled
    });
    (output.await, busy)
}

/// What request quotas go by, of a second of one processor.
pub(crate) fn percent(busy: Duration) -> f64 {
    busy.as_secs_f64() * 100.0
}

/// For how long the request that asks has been worked on up to now.
pub(crate) fn busy() -> Duration {
    WORK.get().map_or(Duration::ZERO, |(began, before)| before + began.elapsed())
}

/// What is needed of a request once its handler has taken it.
pub(crate) struct Measured {
    broker: Arc<Broker>,
    throttle: Arc<Throttle>,
    began: Instant,
    request_bytes: usize,
    /// User and client id; `None`: nobody has a quota of processor time.
    payer: Option<(Str, Str)>,
}

impl Measured {
    pub(crate) fn of(cx: &Context) -> Self {
        let payer = (!cx.broker.quotas.is_off(Kind::Request))
            .then(|| (Str::from(cx.principal().name()), cx.client_id.clone().unwrap_or_default()));
        Self {
            broker: cx.broker.clone(),
            throttle: cx.peer.throttle.clone(),
            began: Instant::now(),
            request_bytes: cx.request_bytes,
            payer,
        }
    }

    /// Counts the request for the metrics.
    pub(crate) fn count<R>(&self, key: ApiKey, busy: Duration, handled: &Result<R, Refusal>) {
        let refused = matches!(handled, Err(Refusal::Close { .. }));
        self.broker.metrics.request(key, self.request_bytes, self.began.elapsed(), busy, refused);
    }

    /// Charges the processor's time; over its quota, the sender is told to rest.
    pub(crate) fn charge(&self, busy: Duration, response: &mut impl Response) {
        if let Some((user, client_id)) = &self.payer {
            let now = Instant::now();
            let percent = percent(busy);
            let now_ms = self.broker.clock_ms(now);
            let wait = self.broker.quotas.record(Kind::Request, user, client_id, percent, now_ms);
            let wait = self.throttle.rest(wait, now);
            response.set_throttle_time_ms(response.throttle_time_ms().max(wait));
        }
        if response.throttle_time_ms() > 0 {
            self.broker.metrics.throttled(response.throttle_time_ms());
        }
    }
}
