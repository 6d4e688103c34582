//! The tier as a broker uses it, over a store that fails, half-happens and repeats.

mod archiving;
mod cold_reads;
mod faults;
mod faulty;
mod host;
mod removal;
mod s3;
