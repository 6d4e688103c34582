//! State stores and their changelogs.
