//! How Kafka measures a rate, and for how long it holds up who exceeds a bound. Sans-IO: time is an argument, in milliseconds.
//!
//! ```text
//! │ sample │ sample │ … │ current │     a sample takes what comes in `length_ms`; the oldest are forgotten after
//!                                       `samples` such lengths; rate = all they hold / the time since the oldest began,
//!                                       of which there is at least one length for every sample but one
//! ```

/// The window over which a rate is measured: `quota.window.num` samples of `quota.window.size.seconds` each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    pub samples: usize,
    pub length_ms: i64,
}

impl Window {
    /// What a bound lets through within a whole window without exceeding it.
    pub(crate) fn most(self, bound: f64) -> f64 {
        bound * (self.samples.saturating_sub(1)).max(1) as f64 * self.length_ms as f64 / 1000.0
    }
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    began_ms: i64,
    last_ms: i64,
    value: f64,
}

/// A rate per second.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rate {
    samples: Vec<Sample>,
    current: usize,
}

impl Rate {
    /// Counts `value`, which may be negative to take back what was counted.
    pub(crate) fn record(&mut self, window: Window, value: f64, now_ms: i64) {
        let fresh = Sample { began_ms: now_ms, last_ms: now_ms, value: 0.0 };
        if self.samples.is_empty() {
            self.samples.push(fresh);
        }
        if now_ms - self.samples[self.current].began_ms >= window.length_ms {
            // One more than counts: the oldest may still overlap the window.
            self.current = (self.current + 1) % (window.samples + 1);
            match self.samples.get_mut(self.current) {
                Some(oldest) => *oldest = fresh,
                None => self.samples.push(fresh),
            }
        }
        let sample = &mut self.samples[self.current];
        sample.value += value;
        sample.last_ms = now_ms;
    }

    /// The rate now.
    pub(crate) fn measure(&mut self, window: Window, now_ms: i64) -> f64 {
        let length_ms = self.length_ms(window, now_ms);
        self.samples.iter().map(|sample| sample.value).sum::<f64>() / (length_ms as f64 / 1000.0)
    }

    /// By how long the rate must rest to be within `bound` again; 0 if it is.
    pub(crate) fn throttle_ms(&mut self, window: Window, bound: f64, now_ms: i64) -> i64 {
        let rate = self.measure(window, now_ms);
        if rate <= bound {
            return 0;
        }
        let length_ms = self.length_ms(window, now_ms) as f64;
        ((rate - bound) / bound * length_ms).round() as i64
    }

    /// When something was counted last.
    pub(crate) fn last_ms(&self) -> i64 {
        self.samples.iter().map(|sample| sample.last_ms).max().unwrap_or(i64::MIN)
    }

    fn length_ms(&mut self, window: Window, now_ms: i64) -> i64 {
        let age_max = window.samples as i64 * window.length_ms;
        for sample in &mut self.samples {
            if now_ms - sample.last_ms >= age_max {
                *sample = Sample { began_ms: now_ms, last_ms: now_ms, value: 0.0 };
            }
        }
        let oldest = self.samples.iter().map(|sample| sample.began_ms).min().unwrap_or(now_ms);
        let elapsed = now_ms - oldest;
        let missing = (window.samples as i64 - 1 - elapsed / window.length_ms).max(0);
        (elapsed + missing * window.length_ms).max(1)
    }
}

/// KIP-599's bucket: it fills at the bound's rate, and may be overdrawn once.
#[derive(Debug, Clone)]
pub(crate) struct TokenBucket {
    tokens: f64,
    filled_ms: i64,
}

impl TokenBucket {
    /// A full one.
    pub(crate) fn new(window: Window, bound: f64, now_ms: i64) -> Self {
        Self { tokens: Self::most(window, bound), filled_ms: now_ms }
    }

    fn most(window: Window, bound: f64) -> f64 {
        window.samples as f64 * (window.length_ms as f64 / 1000.0) * bound
    }

    fn fill(&mut self, window: Window, bound: f64, now_ms: i64) {
        let elapsed = (now_ms - self.filled_ms).max(0) as f64 / 1000.0;
        self.tokens = Self::most(window, bound).min(self.tokens + bound * elapsed);
        self.filled_ms = now_ms;
    }

    /// Takes tokens, whether they are there or not.
    pub(crate) fn take(&mut self, window: Window, bound: f64, tokens: f64, now_ms: i64) {
        self.fill(window, bound, now_ms);
        self.tokens -= tokens;
    }

    /// When it will not be overdrawn any more; 0 if it is not.
    pub(crate) fn throttle_ms(&mut self, window: Window, bound: f64, now_ms: i64) -> i64 {
        self.fill(window, bound, now_ms);
        if self.tokens < 0.0 { (-self.tokens / bound * 1000.0).round() as i64 } else { 0 }
    }

    pub(crate) fn last_ms(&self) -> i64 {
        self.filled_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Window = Window { samples: 11, length_ms: 1000 };

    #[test]
    fn who_stays_below_the_bound_is_never_held_up() {
        // Eleven samples may stand for ten seconds, so that who sends just at the bound may be held up for a moment.
        let mut rate = Rate::default();
        for second in 0..100 {
            rate.record(WINDOW, 900.0, second * 1000);
            assert_eq!(rate.throttle_ms(WINDOW, 1000.0, second * 1000), 0, "second {second}");
        }
    }

    #[test]
    fn a_burst_is_held_up_until_the_rate_is_the_bound() {
        // Ten lengths count at least: 20,000 in no time are 2,000 a second.
        let mut rate = Rate::default();
        rate.record(WINDOW, 20_000.0, 0);
        assert_eq!(rate.measure(WINDOW, 0), 2000.0);
        assert_eq!(rate.throttle_ms(WINDOW, 1000.0, 0), 10_000);
        // Once the burst has left the window, nothing is held against the sender.
        assert_eq!(rate.throttle_ms(WINDOW, 1000.0, 11_000), 0);
    }

    #[test]
    fn what_is_older_than_the_window_is_forgotten() {
        let mut rate = Rate::default();
        rate.record(WINDOW, 1_000_000.0, 0);
        assert!(rate.measure(WINDOW, 10_999) > 0.0);
        assert_eq!(rate.measure(WINDOW, 11_000), 0.0);
    }

    #[test]
    fn samples_are_reused_and_bounded() {
        let mut rate = Rate::default();
        for second in 0..1000 {
            rate.record(WINDOW, 1.0, second * 1000);
        }
        assert_eq!(rate.samples.len(), WINDOW.samples + 1);
    }

    #[test]
    fn what_was_counted_can_be_taken_back() {
        let mut rate = Rate::default();
        rate.record(WINDOW, 500.0, 0);
        rate.record(WINDOW, -500.0, 3);
        assert_eq!(rate.measure(WINDOW, 3), 0.0);
    }

    #[test]
    fn a_bucket_is_full_at_first_and_may_be_overdrawn_once() {
        let mut bucket = TokenBucket::new(WINDOW, 10.0, 0);
        bucket.take(WINDOW, 10.0, 110.0, 0);
        assert_eq!(bucket.throttle_ms(WINDOW, 10.0, 0), 0);
        bucket.take(WINDOW, 10.0, 50.0, 0);
        assert_eq!(bucket.throttle_ms(WINDOW, 10.0, 0), 5000);
        assert_eq!(bucket.throttle_ms(WINDOW, 10.0, 5000), 0);
    }
}
