//! The network: listeners, connections, frames in, answers out.
//!
//! ```text
//!             ┌ connection (one task) ────────────────────────────────────────────────────┐
//! accept ──▶  │ frame ─▶ dispatch ─▶ first poll, in order ─▶ queue ─▶ await ─▶ write      │ ─▶ socket
//!             │   └──────── stops reading while too much is in flight or unsent ◀──┘      │
//!             └───────────────────────────────────────────────────────────────────────────┘
//! ```

mod causes;
mod connection;
mod frame;
mod handshake;
mod limits;
mod listener;
mod transport;
mod writer;

pub(crate) use causes::Causes;
pub(crate) use connection::next_number;
pub(crate) use limits::Limits;
pub(crate) use listener::{Bound, serve};
