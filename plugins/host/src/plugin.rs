//! A loaded plugin: what it is, and how instances of it are made.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use wasmtime::Store;
use wasmtime::component::{Component, InstancePre};

use crate::bindings::sink_connector::SinkConnectorPre;
use crate::bindings::source_connector::SourceConnectorPre;
use crate::bindings::topology::TopologyPre;
use crate::bindings::topology::strata::plugin::types;
use crate::bindings::transform::TransformPre;
use crate::connect::{SinkInstance, SourceInstance, SourcePosition, TransformInstance};
use crate::host::Shared;
use crate::imports::Data;
use crate::instance::{Answer, Instance, new_store, returned, within_limits};
use crate::state::NoState;
use crate::topology::TopologyInstance;
use crate::{Grants, PluginError};

/// A plugin's config; its keys are the descriptor's.
pub type Config = BTreeMap<String, String>;

/// What a plugin is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum World {
    Topology,
    SourceConnector,
    SinkConnector,
    Transform,
}

/// A plugin's word about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Descriptor {
    pub name: String,
    pub version: String,
    pub description: String,
    pub config: Vec<ConfigKey>,
}

/// One key of a plugin's config.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConfigKey {
    pub name: String,
    pub kind: ConfigKind,
    pub default: Option<String>,
    pub required: bool,
    pub doc: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConfigKind {
    String,
    Int,
    Boolean,
    List,
    Password,
}

/// A compiled plugin. A cheap handle.
#[derive(Clone)]
pub struct Plugin {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    pre: Pre,
    descriptor: Descriptor,
    imports: Vec<String>,
    sha256: String,
}

/// Instances with everything resolved but their memory.
enum Pre {
    Topology(TopologyPre<Data>),
    Source(SourceConnectorPre<Data>),
    Sink(SinkConnectorPre<Data>),
    Transform(TransformPre<Data>),
}

const HTTP: &str = "strata:plugin/http";
/// The import names that the host can answer, up to their version.
const KNOWN_IMPORTS: [&str; 4] = [HTTP, "strata:plugin/log", "strata:plugin/state", "strata:plugin/types"];
/// WASI's, which toolchains' runtimes import whether they use them or not: with an empty context behind them.
const KNOWN_WASI: [&str; 6] = ["cli", "clocks", "filesystem", "io", "random", "sockets"];

impl Plugin {
    pub(crate) async fn new(
        shared: Arc<Shared>,
        component: &Component,
        sha256: String,
    ) -> Result<Self, PluginError> {
        let component_type = component.component_type();
        let imports: Vec<_> =
            component_type.imports(&shared.engine).map(|(name, _)| name.to_owned()).collect();
        if let Some(import) = imports.iter().find(|import| !is_known(import)) {
            return Err(PluginError::NotGranted { import: import.clone() });
        }
        let exports: Vec<_> =
            component_type.exports(&shared.engine).map(|(name, _)| name.to_owned()).collect();
        let not_a_plugin = |why: wasmtime::Error| PluginError::NotAPlugin(format!("{why:#}"));
        let pre = shared.linker.instantiate_pre(component).map_err(not_a_plugin)?;
        let pre = Pre::of(pre, &exports)?;
        let descriptor = pre.describe(&shared, &sha256).await?;
        Ok(Plugin { inner: Arc::new(Inner { shared, pre, descriptor, imports, sha256 }) })
    }

    pub fn world(&self) -> World {
        match self.inner.pre {
            Pre::Topology(_) => World::Topology,
            Pre::Source(_) => World::SourceConnector,
            Pre::Sink(_) => World::SinkConnector,
            Pre::Transform(_) => World::Transform,
        }
    }

    pub fn descriptor(&self) -> &Descriptor {
        &self.inner.descriptor
    }

    /// Interfaces that the plugin imports, with their versions.
    pub fn imports(&self) -> &[String] {
        &self.inner.imports
    }

    /// Of the component's bytes, in hexadecimal.
    pub fn sha256(&self) -> &str {
        &self.inner.sha256
    }

    /// A topology, started with `config`.
    pub async fn topology(&self, grants: &Grants, config: &Config) -> Result<TopologyInstance, PluginError> {
        let Pre::Topology(pre) = &self.inner.pre else { return Err(self.is_no(World::Topology)) };
        let exports = async |store: &mut Store<Data>| pre.instantiate_async(store).await;
        TopologyInstance::start(self.instantiate(grants, exports).await?, pairs(config)).await
    }

    /// A source, started with `config`, that goes on from all `positions` stored for its connector.
    pub async fn source(
        &self,
        grants: &Grants,
        config: &Config,
        positions: &[SourcePosition],
    ) -> Result<SourceInstance, PluginError> {
        let Pre::Source(pre) = &self.inner.pre else { return Err(self.is_no(World::SourceConnector)) };
        let exports = async |store: &mut Store<Data>| pre.instantiate_async(store).await;
        SourceInstance::start(self.instantiate(grants, exports).await?, pairs(config), positions).await
    }

    /// The configs of at most `tasks_max` tasks that share a source's work.
    pub async fn split(
        &self,
        grants: &Grants,
        config: &Config,
        tasks_max: u32,
    ) -> Result<Vec<Config>, PluginError> {
        let Pre::Source(pre) = &self.inner.pre else { return Err(self.is_no(World::SourceConnector)) };
        let exports = async |store: &mut Store<Data>| pre.instantiate_async(store).await;
        let mut instance = self.instantiate(grants, exports).await?;
        let config = pairs(config);
        let split = instance.call(async |exports, store| {
            exports.strata_plugin_source().call_split(store, &config, tasks_max).await
        });
        let configs = split.await?.map_err(returned)?;
        if configs.len() > tasks_max as usize {
            return Err(PluginError::Malformed(format!(
                "{} task configs where {tasks_max} were asked for",
                configs.len()
            )));
        }
        Ok(configs.into_iter().map(|config| config.into_iter().collect()).collect())
    }

    /// A sink, started with `config`.
    pub async fn sink(&self, grants: &Grants, config: &Config) -> Result<SinkInstance, PluginError> {
        let Pre::Sink(pre) = &self.inner.pre else { return Err(self.is_no(World::SinkConnector)) };
        let exports = async |store: &mut Store<Data>| pre.instantiate_async(store).await;
        SinkInstance::start(self.instantiate(grants, exports).await?, pairs(config)).await
    }

    /// A transform, started with `config`.
    pub async fn transform(
        &self,
        grants: &Grants,
        config: &Config,
    ) -> Result<TransformInstance, PluginError> {
        let Pre::Transform(pre) = &self.inner.pre else { return Err(self.is_no(World::Transform)) };
        let exports = async |store: &mut Store<Data>| pre.instantiate_async(store).await;
        TransformInstance::start(self.instantiate(grants, exports).await?, pairs(config)).await
    }

    async fn instantiate<E>(
        &self,
        grants: &Grants,
        exports: impl AsyncFnOnce(&mut Store<Data>) -> Answer<E>,
    ) -> Result<Instance<E>, PluginError> {
        if grants.http.is_none()
            && let Some(import) = self.inner.imports.iter().find(|import| interface(import) == HTTP)
        {
            return Err(PluginError::NotGranted { import: import.clone() });
        }
        let shared = &self.inner.shared;
        let mut store = new_store(shared, self.inner.descriptor.name.as_str().into(), grants);
        let exports = within_limits(shared, &mut store, Arc::default(), Arc::new(NoState), exports).await?;
        Ok(Instance::new(shared.clone(), store, exports))
    }

    fn is_no(&self, wanted: World) -> PluginError {
        PluginError::WrongWorld { wanted: wanted.name(), found: self.world().name() }
    }
}

impl Pre {
    /// By the one interface of ours that the component exports.
    fn of(pre: InstancePre<Data>, exports: &[String]) -> Result<Self, PluginError> {
        let exports_of = |wanted: &str| exports.iter().any(|export| interface(export) == wanted);
        let pre = if exports_of("strata:plugin/processor") {
            TopologyPre::new(pre).map(Pre::Topology)
        } else if exports_of("strata:plugin/source") {
            SourceConnectorPre::new(pre).map(Pre::Source)
        } else if exports_of("strata:plugin/sink") {
            SinkConnectorPre::new(pre).map(Pre::Sink)
        } else if exports_of("strata:plugin/transformer") {
            TransformPre::new(pre).map(Pre::Transform)
        } else {
            let found = if exports.is_empty() { "nothing".into() } else { exports.join(", ") };
            return Err(PluginError::NotAPlugin(format!(
                "it exports {found}, and none of the worlds of strata:plugin"
            )));
        };
        pre.map_err(|why| PluginError::NotAPlugin(format!("{why:#}")))
    }

    /// In an instance of its own, with nothing granted.
    async fn describe(&self, shared: &Shared, sha256: &str) -> Result<Descriptor, PluginError> {
        let mut store = new_store(shared, sha256.into(), &Grants::default());
        let call = async |store: &mut Store<Data>| match self {
            Pre::Topology(pre) => {
                let exports = pre.instantiate_async(&mut *store).await?;
                exports.strata_plugin_processor().call_describe(store).await
            }
            Pre::Source(pre) => {
                let exports = pre.instantiate_async(&mut *store).await?;
                exports.strata_plugin_source().call_describe(store).await
            }
            Pre::Sink(pre) => {
                let exports = pre.instantiate_async(&mut *store).await?;
                exports.strata_plugin_sink().call_describe(store).await
            }
            Pre::Transform(pre) => {
                let exports = pre.instantiate_async(&mut *store).await?;
                exports.strata_plugin_transformer().call_describe(store).await
            }
        };
        let described = within_limits(shared, &mut store, Arc::default(), Arc::new(NoState), call).await?;
        if described.name.is_empty() || described.name.chars().any(char::is_control) {
            return Err(PluginError::Malformed("its name is empty, or has control characters".into()));
        }
        Ok(described.into())
    }
}

impl World {
    /// As in the WIT package.
    pub fn name(self) -> &'static str {
        match self {
            World::Topology => "topology",
            World::SourceConnector => "source-connector",
            World::SinkConnector => "sink-connector",
            World::Transform => "transform",
        }
    }
}

impl fmt::Display for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Plugin({} {}, {})", self.descriptor().name, self.descriptor().version, self.world())
    }
}

impl From<types::Descriptor> for Descriptor {
    fn from(descriptor: types::Descriptor) -> Self {
        let types::Descriptor { name, version, description, config } = descriptor;
        Descriptor { name, version, description, config: config.into_iter().map(Into::into).collect() }
    }
}

impl From<types::ConfigKey> for ConfigKey {
    fn from(key: types::ConfigKey) -> Self {
        let types::ConfigKey { name, kind, default, required, doc } = key;
        let kind = match kind {
            types::ConfigKind::String => ConfigKind::String,
            types::ConfigKind::Int => ConfigKind::Int,
            types::ConfigKind::Boolean => ConfigKind::Boolean,
            types::ConfigKind::List => ConfigKind::List,
            types::ConfigKind::Password => ConfigKind::Password,
        };
        ConfigKey { name, kind, default, required, doc }
    }
}

fn pairs(config: &Config) -> Vec<(String, String)> {
    config.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// `strata:plugin/http@0.1.0` without its version.
fn interface(name: &str) -> &str {
    name.split_once('@').map_or(name, |(interface, _)| interface)
}

fn is_known(import: &str) -> bool {
    let interface = interface(import);
    let wasi = interface.strip_prefix("wasi:").and_then(|rest| rest.split_once('/'));
    KNOWN_IMPORTS.contains(&interface) || wasi.is_some_and(|(package, _)| KNOWN_WASI.contains(&package))
}
