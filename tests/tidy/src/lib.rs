//! Style that matters, held by a test.
