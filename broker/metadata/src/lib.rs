//! Metadata records, the immutable image and the controller's state machine: sans-IO.
