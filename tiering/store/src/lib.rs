//! The object store, its cache and the tier index.
