//! The sandbox that runs WebAssembly plugins.
