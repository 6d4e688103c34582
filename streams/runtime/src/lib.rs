//! Runs topologies: tasks, assignment, state and commits.
