//! The engine that all plugins share.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio_rustls::TlsConnector;
use wasmtime::component::{Component, Linker};
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::cache::Cache;
use crate::imports::{self, Data};
use crate::limits::{COMPONENT_BYTES_MAX, Limits, STACK_BYTES_MAX};
use crate::ticker::Ticker;
use crate::{Plugin, PluginError, http};

/// Core modules of one component: toolchains add adapters and shims to a plugin's own.
pub(crate) const CORE_INSTANCES_MAX: u32 = 20;
pub(crate) const TABLES_MAX: u32 = 20;
pub(crate) const MEMORIES_MAX: u32 = 2;
/// Host memory for one component's bookkeeping.
const INSTANCE_BYTES_MAX: usize = 1 << 20;

#[derive(Clone, Debug)]
pub struct HostOptions {
    /// Where compiled plugins are kept; none: they are compiled anew by each process.
    pub cache_dir: Option<PathBuf>,
    pub limits: Limits,
    /// Instances that live at a time. Address space is reserved for them, memory is not.
    pub instances_max: u32,
}

impl Default for HostOptions {
    fn default() -> Self {
        HostOptions { cache_dir: None, limits: Limits::default(), instances_max: 100 }
    }
}

/// The sandbox. A cheap handle.
#[derive(Clone)]
pub struct Host {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) engine: Engine,
    pub(crate) linker: Linker<Data>,
    pub(crate) ticker: Ticker,
    pub(crate) limits: Arc<Limits>,
    pub(crate) tls: TlsConnector,
    cache: Option<Cache>,
}

impl Host {
    /// Fails when the machine cannot give the address space or the thread, or the cache folder cannot be made.
    pub fn new(options: HostOptions) -> Result<Self, PluginError> {
        let engine = Engine::new(&engine_config(&options)).map_err(PluginError::host)?;
        let mut linker = Linker::new(&engine);
        imports::add_to_linker(&mut linker).map_err(PluginError::host)?;
        let ticker = Ticker::start(&engine).map_err(PluginError::host)?;
        let cache = options.cache_dir.map(Cache::open).transpose().map_err(PluginError::host)?;
        let limits = Arc::new(options.limits);
        let shared = Shared { engine, linker, ticker, limits, tls: http::tls_connector(), cache };
        Ok(Host { shared: Arc::new(shared) })
    }

    /// Compiles a plugin, unless the cache has it, checks what it imports and exports, and asks it to describe itself.
    pub async fn load(&self, wasm: Bytes) -> Result<Plugin, PluginError> {
        if wasm.len() > COMPONENT_BYTES_MAX {
            return Err(PluginError::NotAPlugin(format!("it is larger than {COMPONENT_BYTES_MAX} bytes")));
        }
        let shared = self.shared.clone();
        let compiled = tokio::task::spawn_blocking(move || {
            let sha256 = format!("{:x}", Sha256::digest(&wasm));
            shared.compile(&wasm, &sha256).map(|component| (component, sha256))
        });
        let (component, sha256) = compiled.await.map_err(PluginError::host)??;
        Plugin::new(self.shared.clone(), &component, sha256).await
    }
}

impl Shared {
    fn compile(&self, wasm: &[u8], sha256: &str) -> Result<Component, PluginError> {
        if let Some(component) = self.cache.as_ref().and_then(|cache| cache.load(&self.engine, sha256)) {
            return Ok(component);
        }
        let component = Component::from_binary(&self.engine, wasm)
            .map_err(|why| PluginError::NotAPlugin(format!("{why:#}")))?;
        if let Some(cache) = &self.cache
            && let Err(error) = cache.store(&self.engine, sha256, &component)
        {
            tracing::warn!(%error, sha256, "a compiled plugin cannot be kept");
        }
        Ok(component)
    }
}

fn engine_config(options: &HostOptions) -> Config {
    let instances = options.instances_max;
    let mut pool = PoolingAllocationConfig::default();
    pool.total_component_instances(instances)
        .total_core_instances(instances.saturating_mul(4))
        .total_memories(instances)
        .total_tables(instances.saturating_mul(4))
        .total_stacks(instances)
        .max_core_instances_per_component(CORE_INSTANCES_MAX)
        .max_memories_per_component(MEMORIES_MAX)
        .max_tables_per_component(TABLES_MAX)
        .max_component_instance_size(INSTANCE_BYTES_MAX)
        .max_core_instance_size(INSTANCE_BYTES_MAX)
        .max_memory_size(options.limits.memory_bytes_max)
        .table_elements(options.limits.table_elements_max);
    let mut config = Config::new();
    config
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
        .epoch_interruption(true)
        .max_wasm_stack(STACK_BYTES_MAX)
        .async_stack_size(2 * STACK_BYTES_MAX);
    config
}
