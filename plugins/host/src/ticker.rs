//! The clock of running guests: moves the engine's epoch forward while a call is under way, and rests otherwise.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use wasmtime::{Engine, EngineWeak};

use crate::limits::TICK_MS;

/// Ticks without a call before the thread rests, so that back-to-back calls need not wake it.
const RESTS_AFTER_TICKS: u32 = 100;

/// Stops with its last handle.
pub(crate) struct Ticker {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    calls: Mutex<Calls>,
    woken: Condvar,
}

#[derive(Default)]
struct Calls {
    running: usize,
    resting: bool,
    stopped: bool,
}

/// The ticker does not rest while one of these lives.
pub(crate) struct Ticking {
    shared: Arc<Shared>,
}

impl Ticker {
    pub(crate) fn start(engine: &Engine) -> std::io::Result<Self> {
        let shared = Arc::<Shared>::default();
        let (its_own, engine) = (shared.clone(), engine.weak());
        thread::Builder::new().name("plugin-ticker".into()).spawn(move || run(&its_own, &engine))?;
        Ok(Ticker { shared })
    }

    pub(crate) fn call(&self) -> Ticking {
        let mut calls = self.shared.calls.lock();
        calls.running += 1;
        if calls.resting {
            self.shared.woken.notify_one();
        }
        Ticking { shared: self.shared.clone() }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.calls.lock().stopped = true;
        self.shared.woken.notify_one();
    }
}

impl Drop for Ticking {
    fn drop(&mut self) {
        self.shared.calls.lock().running -= 1;
    }
}

fn run(shared: &Shared, engine: &EngineWeak) {
    let mut idle_ticks = 0;
    loop {
        let mut calls = shared.calls.lock();
        if calls.stopped {
            return;
        }
        idle_ticks = if calls.running > 0 { 0 } else { idle_ticks + 1 };
        if idle_ticks > RESTS_AFTER_TICKS {
            calls.resting = true;
            shared.woken.wait(&mut calls);
            calls.resting = false;
            idle_ticks = 0;
        } else {
            shared.woken.wait_for(&mut calls, Duration::from_millis(TICK_MS));
        }
        drop(calls);
        let Some(engine) = engine.upgrade() else { return };
        engine.increment_epoch();
    }
}
