//! A topology's graph, its validation and its split into sub-topologies: sans-IO.
