//! SQL over topics of a cluster that is made of memory, with an archive that is real.

mod cluster;
mod queries;
mod sources;
