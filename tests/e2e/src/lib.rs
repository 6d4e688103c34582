//! Black-box tests of the strata binary.
