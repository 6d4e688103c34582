//! Fuzz targets: one for every decoder of bytes that come from outside, or from a disk that may lie.
//!
//! ```text
//! corpus/NAME.txt --unpack--> inputs --libFuzzer (src/bin/fuzz.rs)--> Target::run --> panics where a promise is broken
//!                                └── tests/corpus.rs: the same inputs, and a bounded number of mutations of each
//! ```
//!
//! What a target checks beyond "no panic" is written at it: bounded memory, and that what was decoded can be encoded and
//! decoded again to the same.

mod batches;
mod coordinators;
pub mod corpus;
mod frames;
mod memory;
mod messages;
mod metadata;
mod mutate;

pub use mutate::Mutations;

/// One decoder under test.
#[derive(Clone, Copy)]
pub struct Target {
    /// A message's name in Kafka's definitions, or of the part: `FetchRequest`, `decompress-zstd`.
    pub name: &'static str,
    /// Panics where any promise is broken.
    pub run: fn(&[u8]),
}

/// Every target, in a fixed order.
pub fn targets() -> Vec<Target> {
    [messages::targets(), frames::targets(), batches::targets(), metadata::targets(), coordinators::targets()]
        .concat()
}

/// The target of this name.
pub fn target(name: &str) -> Option<Target> {
    targets().into_iter().find(|target| target.name == name)
}
