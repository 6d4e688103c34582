//! Listeners, request dispatch and one file per API key.
