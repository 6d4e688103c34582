//! Requests to the hosts that the plugin's grant names.

use crate::bindings::source_connector::strata::plugin::http as host;

pub use host::{HttpError, Request, Response};

/// Sends the requests, several at a time, and answers in their order. Redirects are not followed.
pub fn send_many(requests: &[Request]) -> Vec<Result<Response, HttpError>> {
    host::send_many(requests)
}
