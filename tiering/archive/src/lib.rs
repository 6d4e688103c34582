//! Records to Parquet and back, lossless: sans-IO.
