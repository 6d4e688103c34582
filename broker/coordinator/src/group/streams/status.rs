//! What a heartbeat's answer tells a member beside its tasks: why there are none yet, or what it should do.

use strata_protocol::Str;
use strata_protocol::messages::streams_group_heartbeat_response::Status;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i8)]
pub enum StatusCode {
    StaleTopology = 0,
    MissingSourceTopics = 1,
    IncorrectlyPartitionedTopics = 2,
    MissingInternalTopics = 3,
    ShutdownApplication = 4,
    AssignmentDelayed = 5,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) code: StatusCode,
    pub(super) detail: String,
}

impl Problem {
    pub(super) fn new(code: StatusCode, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into() }
    }

    pub(super) fn status(&self) -> Status {
        Status { status_code: self.code as i8, status_detail: Str::from(&self.detail), ..Default::default() }
    }
}
