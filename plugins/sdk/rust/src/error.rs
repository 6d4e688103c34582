//! A plugin's word on what it could not do.

use std::fmt;

use crate::bindings::topology::strata::plugin::types;

/// What went wrong, and what the host shall do about it. A panic in place of an error discards the whole instance.
#[derive(Debug)]
pub struct Error {
    verdict: types::Verdict,
    message: String,
    record: Option<u32>,
}

impl Error {
    /// It will never work: the dead letter queue's, if there is one.
    pub fn reject(message: impl fmt::Display) -> Self {
        Error { verdict: types::Verdict::Reject, message: message.to_string(), record: None }
    }

    /// The same call may work later.
    pub fn retry(message: impl fmt::Display) -> Self {
        Error { verdict: types::Verdict::Retry, message: message.to_string(), record: None }
    }

    /// Stop the task.
    pub fn stop(message: impl fmt::Display) -> Self {
        Error { verdict: types::Verdict::Stop, message: message.to_string(), record: None }
    }

    /// Names the record by its index in the batch, unless one is named already.
    pub fn at(mut self, record: usize) -> Self {
        self.record = self.record.or(u32::try_from(record).ok());
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl From<Error> for types::Error {
    fn from(error: Error) -> Self {
        types::Error { verdict: error.verdict, message: error.message, record: error.record }
    }
}
