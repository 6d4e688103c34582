//! Generates the message types from `schemas/*.txt` (notation: `schemas/README.md`) into `OUT_DIR/messages.rs`.
//!
//! ```text
//! schemas/*.txt --parse--> model::{Api, Message, Field} --emit--> messages.rs
//! ```

#![allow(unreachable_pub)] // a build script is a crate that nobody uses

#[path = "build/emit.rs"]
mod emit;
#[path = "build/errors.rs"]
mod errors;
#[path = "build/model.rs"]
mod model;
#[path = "build/parse.rs"]
mod parse;
#[path = "build/rust.rs"]
mod rust;

use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() {
    println!("cargo::rerun-if-changed=schemas");
    println!("cargo::rerun-if-changed=build");
    if let Err(problem) = generate() {
        println!("cargo::error={problem}");
    }
}

fn generate() -> Result<(), String> {
    let mut schemas = model::Schemas::default();
    for path in schema_files().map_err(|e| format!("schemas: {e}"))? {
        let text = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        parse::file(&text, &mut schemas).map_err(|e| format!("{}:{e}", path.display()))?;
    }
    schemas.apis.sort_by_key(|api| api.key);
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set: this runs under cargo only")?);
    let write =
        |name: &str, text: String| fs::write(out.join(name), text).map_err(|e| format!("{name}: {e}"));
    write("messages.rs", emit::messages(&schemas)?)?;
    write("api_key.rs", emit::api_key(&schemas))
}

fn schema_files() -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(Path::new("schemas"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "txt") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}
