//! What a plugin's imports do: its side of the host.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmtime::ResourceLimiter;
use wasmtime::component::{HasData, Linker, ResourceTable};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use crate::bindings::source_connector::strata::plugin::http;
use crate::bindings::topology::strata::plugin::{log, state, types};
use crate::error::LimitReached;
use crate::http::Client;
use crate::limits::Limits;
use crate::state::{NoState, StateAccess};

/// What belongs to one instance on the host's side.
pub(crate) struct Data {
    wasi: WasiCtx,
    resources: ResourceTable,
    pub(crate) plugin: Arc<str>,
    pub(crate) limits: Arc<Limits>,
    http: Option<Client>,
    pub(crate) call: Call,
    /// All linear memories.
    memory_bytes: usize,
}

/// What belongs to one call to the plugin.
pub(crate) struct Call {
    pub(crate) deadline: Instant,
    /// The node that is running may use these; what they hold is behind `state`.
    stores: Arc<[String]>,
    state: Arc<dyn StateAccess>,
    pub(crate) usage: Usage,
    /// The last line that was logged as an error: a panic's words come this way, just before its trap.
    pub(crate) last_error: Option<String>,
}

/// What a plugin's last call used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub host_calls: u32,
    pub log_bytes: usize,
    pub log_lines_dropped: u64,
}

impl Data {
    pub(crate) fn new(plugin: Arc<str>, limits: Arc<Limits>, http: Option<Client>) -> Self {
        let call = Call::new(Duration::ZERO, Arc::default(), Arc::new(NoState));
        // An empty context: no files, no environment, no sockets, nothing on the standard streams.
        let wasi = WasiCtx::builder().build();
        Data { wasi, resources: ResourceTable::new(), plugin, limits, http, call, memory_bytes: 0 }
    }

    /// Whether a call may spend time in the host that is not the plugin's.
    pub(crate) fn may_wait(&self) -> bool {
        self.http.is_some()
    }

    fn count_host_call(&mut self) -> wasmtime::Result<()> {
        let usage = &mut self.call.usage;
        usage.host_calls = usage.host_calls.saturating_add(1);
        if usage.host_calls > self.limits.host_calls_max {
            return Err(LimitReached::HostCalls.into());
        }
        Ok(())
    }

    fn store_of_this_node(&self, store: &str) -> Result<(), String> {
        if self.call.stores.iter().any(|own| own == store) {
            return Ok(());
        }
        Err(format!("the node that is running does not name the store `{}`", store.escape_debug()))
    }
}

impl Call {
    pub(crate) fn new(time: Duration, stores: Arc<[String]>, state: Arc<dyn StateAccess>) -> Self {
        Call { deadline: Instant::now() + time, stores, state, usage: Usage::default(), last_error: None }
    }

    /// The state is the caller's again.
    pub(crate) fn forget_state(&mut self) {
        self.state = Arc::new(NoState);
    }
}

/// Everything that any plugin may import. Whether it may is decided by name, before it is instantiated.
pub(crate) fn add_to_linker(linker: &mut Linker<Data>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)?;
    types::add_to_linker::<_, Imports>(linker, |data| data)?;
    log::add_to_linker::<_, Imports>(linker, |data| data)?;
    state::add_to_linker::<_, Imports>(linker, |data| data)?;
    http::add_to_linker::<_, Imports>(linker, |data| data)
}

struct Imports;

impl HasData for Imports {
    type Data<'a> = &'a mut Data;
}

impl WasiView for Data {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.resources }
    }
}

impl types::Host for Data {}

impl log::Host for Data {
    async fn write(&mut self, lines: Vec<log::Line>) -> wasmtime::Result<()> {
        self.count_host_call()?;
        for line in lines {
            let left = self.limits.log_bytes_max - self.call.usage.log_bytes;
            if line.message.len() > left {
                self.call.usage.log_lines_dropped += 1;
                continue;
            }
            self.call.usage.log_bytes += line.message.len();
            let message = printable(&line.message);
            let plugin = &*self.plugin;
            match line.level {
                log::Level::Error => tracing::error!(target: "strata::plugin", plugin, "{message}"),
                log::Level::Warn => tracing::warn!(target: "strata::plugin", plugin, "{message}"),
                log::Level::Info => tracing::info!(target: "strata::plugin", plugin, "{message}"),
                log::Level::Debug => tracing::debug!(target: "strata::plugin", plugin, "{message}"),
                log::Level::Trace => tracing::trace!(target: "strata::plugin", plugin, "{message}"),
            }
            if matches!(line.level, log::Level::Error) {
                self.call.last_error = Some(message);
            }
        }
        Ok(())
    }
}

impl state::Host for Data {
    async fn get_many(
        &mut self,
        store: String,
        keys: Vec<Vec<u8>>,
    ) -> wasmtime::Result<Result<Vec<Option<Vec<u8>>>, String>> {
        self.count_host_call()?;
        Ok(self
            .store_of_this_node(&store)
            .and_then(|()| self.call.state.get_many(&store, keys).map_err(|error| error.to_string())))
    }

    async fn put_many(
        &mut self,
        store: String,
        entries: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    ) -> wasmtime::Result<Result<(), String>> {
        self.count_host_call()?;
        Ok(self
            .store_of_this_node(&store)
            .and_then(|()| self.call.state.put_many(&store, entries).map_err(|error| error.to_string())))
    }
}

impl http::Host for Data {
    async fn send_many(
        &mut self,
        requests: Vec<http::Request>,
    ) -> wasmtime::Result<Vec<Result<http::Response, http::HttpError>>> {
        self.count_host_call()?;
        let Some(client) = &self.http else {
            let refused = || Err(http::HttpError::NotGranted("http is not granted to this plugin".into()));
            return Ok(requests.iter().map(|_| refused()).collect());
        };
        let started = Instant::now();
        let answers = client.send_many(requests).await;
        // The network's time is not the plugin's.
        self.call.deadline += started.elapsed();
        Ok(answers)
    }
}

impl ResourceLimiter for Data {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        self.memory_bytes = self.memory_bytes.saturating_sub(current).saturating_add(desired);
        if self.memory_bytes > self.limits.memory_bytes_max {
            return Err(LimitReached::Memory.into());
        }
        Ok(true)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if desired > self.limits.table_elements_max {
            return Err(LimitReached::Table.into());
        }
        Ok(true)
    }

    fn instances(&self) -> usize {
        crate::host::CORE_INSTANCES_MAX as usize
    }

    fn tables(&self) -> usize {
        crate::host::TABLES_MAX as usize
    }

    fn memories(&self) -> usize {
        crate::host::MEMORIES_MAX as usize
    }
}

/// One line, without control characters: a plugin does not get to write escape sequences into an operator's terminal.
fn printable(message: &str) -> String {
    let mut line = String::with_capacity(message.len());
    for letter in message.chars() {
        if letter.is_control() && letter != '\t' {
            line.extend(letter.escape_default());
        } else {
            line.push(letter);
        }
    }
    line
}
