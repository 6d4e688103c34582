//! The metadata quorum: the Raft library's adapter.
