//! `strata plugin`: what a component is, before it is trusted with anything.

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, Subcommand};
use serde::Serialize;
use strata_plugin_host::{Host, HostOptions};

use crate::output::{Output, Row};

#[derive(Debug, Subcommand)]
pub enum Plugin {
    /// Show a component's world, settings and imports
    Inspect(Inspect),
}

#[derive(Debug, Args)]
pub struct Inspect {
    /// A WebAssembly component.
    file: PathBuf,
}

#[derive(Serialize)]
struct Fact {
    what: &'static str,
    value: String,
}

impl Row for Fact {
    const COLUMNS: &'static [&'static str] = &["what", "value"];
    fn cells(&self) -> Vec<String> {
        vec![self.what.to_owned(), self.value.clone()]
    }
}

impl Plugin {
    pub async fn run(self, output: Output) -> anyhow::Result<()> {
        let Self::Inspect(inspect) = self;
        let wasm = std::fs::read(&inspect.file).with_context(|| inspect.file.display().to_string())?;
        let plugin = Host::new(HostOptions::default())?.load(wasm.into()).await?;
        let descriptor = plugin.descriptor();
        let fact = |what, value: &str| Fact { what, value: value.to_owned() };
        let mut facts = vec![
            fact("name", &descriptor.name),
            fact("version", &descriptor.version),
            fact("world", &plugin.world().to_string()),
            fact("description", &descriptor.description),
            fact("sha256", plugin.sha256()),
        ];
        for key in &descriptor.config {
            let needed = match (&key.default, key.required) {
                (Some(default), _) => format!("default {default}"),
                (None, true) => "required".to_owned(),
                (None, false) => "optional".to_owned(),
            };
            facts.push(fact("setting", &format!("{} ({needed}): {}", key.name, key.doc)));
        }
        facts.extend(plugin.imports().iter().map(|import| fact("import", import)));
        output.rows(&facts)
    }
}
