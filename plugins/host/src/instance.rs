//! One live plugin, and how it is called: within its limits, and never again after it broke one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmtime::{AsContextMut, Store, Trap, UpdateDeadline};

use crate::bindings::topology::strata::plugin::types;
use crate::error::{LimitReached, Returned, Verdict};
use crate::host::Shared;
use crate::http::Client;
use crate::imports::{Call, Data, Usage};
use crate::state::{NoState, StateAccess};
use crate::{Grants, PluginError};

/// A plugin's instance: its store, and the world's exports `E`.
pub(crate) struct Instance<E> {
    shared: Arc<Shared>,
    store: Store<Data>,
    exports: E,
    alive: bool,
}

pub(crate) type Answer<T> = wasmtime::Result<T>;

/// A store with limits and nothing granted but `grants`.
pub(crate) fn new_store(shared: &Shared, plugin: Arc<str>, grants: &Grants) -> Store<Data> {
    let http =
        grants.http.clone().map(|grant| Client::new(grant, shared.limits.http.clone(), shared.tls.clone()));
    let mut store = Store::new(&shared.engine, Data::new(plugin, shared.limits.clone(), http));
    store.limiter(|data| data);
    store.set_hostcall_fuel(shared.limits.output_bytes_max);
    store.epoch_deadline_callback(|context| {
        if Instant::now() >= context.data().call.deadline {
            return Err(LimitReached::Deadline.into());
        }
        Ok(UpdateDeadline::Yield(1))
    });
    store
}

impl<E> Instance<E> {
    pub(crate) fn new(shared: Arc<Shared>, store: Store<Data>, exports: E) -> Self {
        Instance { shared, store, exports, alive: true }
    }

    /// What the last call used.
    pub(crate) fn usage(&self) -> Usage {
        self.store.data().call.usage
    }

    /// A call without state.
    pub(crate) async fn call<T>(
        &mut self,
        call: impl AsyncFnOnce(&E, &mut Store<Data>) -> Answer<T>,
    ) -> Result<T, PluginError> {
        self.call_with_state(Arc::default(), Arc::new(NoState), call).await
    }

    /// Runs one call to the plugin. A call that fails, or whose future is dropped, is the instance's last.
    pub(crate) async fn call_with_state<T>(
        &mut self,
        stores: Arc<[String]>,
        state: Arc<dyn StateAccess>,
        call: impl AsyncFnOnce(&E, &mut Store<Data>) -> Answer<T>,
    ) -> Result<T, PluginError> {
        if !std::mem::replace(&mut self.alive, false) {
            return Err(PluginError::Discarded);
        }
        let exports = &self.exports;
        let answer = within_limits(&self.shared, &mut self.store, stores, state, async |store| {
            call(exports, store).await
        });
        let answer = answer.await?;
        self.alive = true;
        Ok(answer)
    }

    /// For answers that broke the contract: the instance is not to be trusted any more.
    pub(crate) fn discard(&mut self) {
        self.alive = false;
    }
}

/// Runs guest code in `store` until it ends or runs into a limit.
pub(crate) async fn within_limits<T>(
    shared: &Shared,
    store: &mut Store<Data>,
    stores: Arc<[String]>,
    state: Arc<dyn StateAccess>,
    call: impl AsyncFnOnce(&mut Store<Data>) -> Answer<T>,
) -> Result<T, PluginError> {
    let limits = &shared.limits;
    let time = Duration::from_millis(limits.call_deadline_ms);
    // The guest's own time is held by the epoch; this holds one that waits in the host.
    let all_time = time + Duration::from_millis(limits.http.call_deadline_ms);
    let may_wait = store.data().may_wait();
    store.data_mut().call = Call::new(time, stores, state);
    store.as_context_mut().set_epoch_deadline(1);
    let ticking = shared.ticker.call();
    let answer = tokio::time::timeout(if may_wait { all_time } else { time }, call(store)).await;
    drop(ticking);
    store.data_mut().call.forget_state();
    let usage = store.data().call.usage;
    if usage.log_lines_dropped > 0 {
        let plugin = &*store.data().plugin;
        tracing::warn!(target: "strata::plugin", plugin, lines = usage.log_lines_dropped, "log lines were dropped: too many bytes in one call");
    }
    match answer {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(classify(&error, store.data())),
        Err(_) => Err(PluginError::Deadline { limit_ms: limits.call_deadline_ms }),
    }
}

/// Which limit, or which trap.
pub(crate) fn classify(error: &wasmtime::Error, data: &Data) -> PluginError {
    let limits = &data.limits;
    match error.downcast_ref::<LimitReached>() {
        Some(LimitReached::Deadline) => return PluginError::Deadline { limit_ms: limits.call_deadline_ms },
        Some(LimitReached::Memory) => {
            return PluginError::MemoryLimit { limit_bytes: limits.memory_bytes_max };
        }
        Some(LimitReached::Table) => {
            return PluginError::TableLimit { limit_elements: limits.table_elements_max };
        }
        Some(LimitReached::HostCalls) => return PluginError::HostCallLimit { limit: limits.host_calls_max },
        None => {}
    }
    let cause = error.root_cause().to_string();
    // wasmtime keeps this error's type to itself.
    if cause.contains("fuel allocated for hostcalls has been exhausted") {
        return PluginError::OutputTooLarge { limit_bytes: limits.output_bytes_max };
    }
    let trap = error.downcast_ref::<Trap>().map_or(cause, Trap::to_string);
    let reason = match &data.call.last_error {
        Some(words) => format!("{trap} ({words})"),
        None => trap,
    };
    PluginError::Trap { reason }
}

/// A plugin's own error.
pub(crate) fn returned(error: types::Error) -> PluginError {
    let verdict = match error.verdict {
        types::Verdict::Reject => Verdict::Reject,
        types::Verdict::Retry => Verdict::Retry,
        types::Verdict::Stop => Verdict::Stop,
    };
    PluginError::Returned(Returned { verdict, message: error.message, record: error.record })
}
