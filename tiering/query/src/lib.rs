//! SQL over a topic's hot and cold records as one table.
