//! Black-box tests of the strata binary: it is started as a user would start it, and spoken to over its sockets.
//!
//! ```text
//! test ── Broker::start ──▶ strata start --data-dir <temporary> --listeners PLAINTEXT://127.0.0.1:0
//!   │                            │ prints `ready on 127.0.0.1:PORT ...`
//!   └──── Wire::connect ────────▶│
//! ```
//!
//! The binary is `$STRATA_BIN`, or `strata` in the folder that cargo built the test into: run `cargo build` first, as
//! `cargo test -p strata-e2e` alone does not build it. Any server with the same command line will do, which is how the
//! tests themselves were proven on Apache Kafka.

mod broker;
mod usage;
mod wire;

pub use broker::{Broker, BrokerOptions, binary};
pub use usage::Usage;
pub use wire::{Answer, Wire, frame};
