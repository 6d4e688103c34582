//! The controller: requests in, records and responses out.
