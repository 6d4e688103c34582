//! Compiled plugins on disk, so that a plugin is compiled once for a machine: `<sha256 of the plugin>-<engine>.cwasm`.
//!
//! A file is the digest of the artefact, and the artefact. The folder is the server's own: whoever can write to it can run
//! code as the server, as with the binary itself. The digest is there for bits that flip and writes that were cut.
#![allow(unsafe_code, reason = "native code from a file is trusted, see `Cache::load`")]

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::io;
use std::path::PathBuf;

use sha2::{Digest, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

const DIGEST_BYTES: usize = 32;

pub(crate) struct Cache {
    folder: PathBuf,
}

impl Cache {
    /// Makes the folder, for its owner only.
    pub(crate) fn open(folder: PathBuf) -> io::Result<Self> {
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&folder)?;
        Ok(Cache { folder })
    }

    /// None: it is not there, or not whole.
    pub(crate) fn load(&self, engine: &Engine, sha256: &str) -> Option<Component> {
        let file = std::fs::read(self.path(engine, sha256)).ok()?;
        let (digest, artefact) = file.split_at_checked(DIGEST_BYTES)?;
        if Sha256::digest(artefact).as_slice() != digest {
            return None;
        }
        // SAFETY: the artefact is what `store` got from this engine's compiler: only the server writes to the folder, the
        // digest shows that the file is whole, and wasmtime itself refuses another version's or another config's.
        unsafe { Component::deserialize(engine, artefact) }.ok()
    }

    /// Written aside and renamed: a reader sees all of it or nothing.
    pub(crate) fn store(&self, engine: &Engine, sha256: &str, component: &Component) -> io::Result<()> {
        let artefact = component.serialize().map_err(io::Error::other)?;
        let path = self.path(engine, sha256);
        let aside = path.with_extension(format!("{}.tmp", std::process::id()));
        let mut file = Sha256::digest(&artefact).to_vec();
        file.extend_from_slice(&artefact);
        std::fs::write(&aside, file)?;
        std::fs::rename(aside, path)
    }

    fn path(&self, engine: &Engine, sha256: &str) -> PathBuf {
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        self.folder.join(format!("{sha256}-{:016x}.cwasm", hasher.finish()))
    }
}
