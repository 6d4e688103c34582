//! Style that matters, held by a test: the edges between crates, what sans-IO crates may use, and the size of
//! files and functions. The checks are the tests of this crate; this library only reads the workspace.

pub mod house;
pub mod source;
