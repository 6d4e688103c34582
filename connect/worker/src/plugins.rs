//! Finds the plugins that connectors name.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use bytes::Bytes;
use strata_plugin_host::{Host, Plugin, PluginError, World};
use tokio::sync::Mutex;

/// The plugins that come with the program, and those in some folders: `*.wasm`, and `*.wasm` one folder deeper. What is
/// not a plugin is told once and left out.
pub(crate) struct Plugins {
    host: Host,
    shipped: Vec<&'static [u8]>,
    folders: Vec<PathBuf>,
    /// A file is looked at again when it changes.
    found: Mutex<BTreeMap<Origin, Found>>,
}

/// Where a plugin comes from. Of two with one name, the file's is found first: users may replace what is shipped.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Origin {
    File(PathBuf),
    /// Its place in the list.
    Shipped(usize),
}

struct Found {
    modified: Option<SystemTime>,
    plugin: Result<Plugin, PluginError>,
}

impl Plugins {
    pub(crate) fn new(host: Host, shipped: Vec<&'static [u8]>, folders: Vec<PathBuf>) -> Self {
        Plugins { host, shipped, folders, found: Mutex::default() }
    }

    /// By name, or by the path of a file in one of the folders. The error is for whoever wrote the name.
    pub(crate) async fn find(&self, class: &str) -> Result<Plugin, String> {
        self.refresh().await;
        let found = self.found.lock().await;
        if class.ends_with(".wasm") {
            return self.by_path(&found, class);
        }
        let mut named = found.values().filter_map(|found| found.plugin.as_ref().ok());
        let plugin = named.find(|plugin| plugin.descriptor().name == class).cloned();
        plugin.ok_or_else(|| {
            let names = found.values().filter_map(|found| found.plugin.as_ref().ok());
            let names: Vec<_> = names.map(|plugin| plugin.descriptor().name.as_str()).collect();
            format!("Failed to find any plugin named {class}; available are: {}", names.join(", "))
        })
    }

    /// All source and sink connectors, by name.
    pub(crate) async fn connectors(&self) -> Vec<Plugin> {
        self.refresh().await;
        let found = self.found.lock().await;
        let plugins = found.values().filter_map(|found| found.plugin.as_ref().ok());
        let connectors =
            plugins.filter(|plugin| matches!(plugin.world(), World::SourceConnector | World::SinkConnector));
        let mut connectors: Vec<_> = connectors.cloned().collect();
        connectors.sort_by(|one, other| one.descriptor().name.cmp(&other.descriptor().name));
        connectors
    }

    /// Whoever may write a config must not be able to probe the disk: only the folders' own files.
    fn by_path(&self, found: &BTreeMap<Origin, Found>, class: &str) -> Result<Plugin, String> {
        let path = Path::new(class);
        let candidates =
            self.folders.iter().map(|folder| folder.join(path)).filter_map(|path| path.canonicalize().ok());
        for candidate in candidates {
            match found.get(&Origin::File(candidate)).map(|found| &found.plugin) {
                Some(Ok(plugin)) => return Ok(plugin.clone()),
                Some(Err(why)) => return Err(format!("{class}: {why}")),
                None => {}
            }
        }
        Err(format!("{class} is not in one of the worker's plugin folders"))
    }

    async fn refresh(&self) {
        let mut found = self.found.lock().await;
        let folders = self.folders.clone();
        let files = tokio::task::spawn_blocking(move || wasm_files(&folders)).await.unwrap_or_default();
        found.retain(|origin, _| match origin {
            Origin::File(path) => files.contains_key(path),
            Origin::Shipped(_) => true,
        });
        for (index, wasm) in self.shipped.iter().enumerate() {
            if let Entry::Vacant(vacant) = found.entry(Origin::Shipped(index)) {
                let plugin = self.host.load(Bytes::from_static(wasm)).await;
                vacant.insert(Found { modified: None, plugin });
            }
        }
        for (path, modified) in files {
            let origin = Origin::File(path.clone());
            if found.get(&origin).is_some_and(|found| found.modified == modified) {
                continue;
            }
            let plugin = match tokio::fs::read(&path).await {
                Ok(bytes) => self.host.load(bytes.into()).await,
                Err(why) => Err(PluginError::Host(why.to_string())),
            };
            if let Err(error) = &plugin {
                tracing::warn!(file = %path.display(), %error, "not usable as a plugin");
            }
            found.insert(origin, Found { modified, plugin });
        }
    }
}

fn wasm_files(folders: &[PathBuf]) -> BTreeMap<PathBuf, Option<SystemTime>> {
    let mut files = BTreeMap::new();
    for folder in folders {
        for entry in entries(folder) {
            if entry.is_dir() {
                files.extend(entries(&entry).filter_map(wasm_file));
            } else {
                files.extend(wasm_file(entry));
            }
        }
    }
    files
}

fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    std::fs::read_dir(folder).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()))
}

fn wasm_file(path: PathBuf) -> Option<(PathBuf, Option<SystemTime>)> {
    let path = path.canonicalize().ok()?;
    let is_wasm = path.is_file() && path.extension().is_some_and(|extension| extension == "wasm");
    let modified = std::fs::metadata(&path).and_then(|metadata| metadata.modified()).ok();
    is_wasm.then_some((path, modified))
}
