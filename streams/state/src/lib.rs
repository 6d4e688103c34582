//! State stores of one task, on disk, with the place in the changelog up to which they are complete.
//!
//! ```text
//!  put_many ─▶ dirty (memory) ─ commit(changelog offsets) ─▶ redb: one table per store, one for the offsets
//!  get_many ─▶ dirty, else redb
//! ```
//!
//! What `commit` writes is one transaction: values and changelog offsets change together or not at all. After a crash
//! the stores are those of the last commit, and the changelog's records from [`TaskState::checkpoint`] on bring them up
//! to date. Changelogs themselves are topics: the runtime writes and reads them.

mod error;
mod task;

pub use error::StateError;
pub use task::{DIRTY_BYTES_MAX, TaskState};
