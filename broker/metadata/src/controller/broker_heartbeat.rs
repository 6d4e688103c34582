//! BrokerHeartbeat (63), versions 0–2 (KIP-631): a broker says what it wants to be, and learns what it is.
//!
//! ```text
//!   fenced ── caught up, does not want to be fenced ──▶ unfenced ── wants to shut down ──▶ in controlled shutdown
//!     ▲                                                  │                                    │ leads nothing any more
//!     └────────────── wants to be fenced ────────────────┘                                    ▼
//!                                                                                 fenced, may shut down
//! ```
//!
//! Who misses heartbeats is fenced by whoever keeps the time, with a heartbeat in its name that wants fencing.

use strata_protocol::messages::{
    BrokerHeartbeatRequest, BrokerHeartbeatResponse, BrokerRegistrationChangeRecord,
};
use strata_types::{ErrorCode, NodeId};

use super::{Decision, election};
use crate::{Broker, Image, MetadataRecord};

const FENCE: i8 = 1;
const UNFENCE: i8 = -1;
const ENTER_SHUTDOWN: i8 = 1;

/// Takes a broker's heartbeat.
pub fn broker_heartbeat(
    image: &Image,
    request: &BrokerHeartbeatRequest,
) -> Decision<BrokerHeartbeatResponse> {
    let refuse = |code: ErrorCode| {
        (Vec::new(), BrokerHeartbeatResponse { error_code: code.code(), ..Default::default() })
    };
    let broker = match image.broker(request.broker_id) {
        None => return refuse(ErrorCode::BrokerIdNotRegistered),
        Some(broker) if broker.epoch != request.broker_epoch => return refuse(ErrorCode::StaleBrokerEpoch),
        Some(broker) => broker,
    };
    // Its registration stands at the offset that is its epoch.
    let is_caught_up = request.current_metadata_offset >= broker.epoch;
    let mut records = Vec::new();
    let mut is_fenced = broker.fenced;
    let mut should_shut_down = false;
    if broker.fenced {
        // Who has begun to shut down does not come back, except as a new incarnation.
        should_shut_down = request.want_shut_down || broker.in_controlled_shutdown;
        if is_caught_up && !request.want_fence && !should_shut_down {
            records.push(change(broker, UNFENCE, 0));
            records.extend(election::broker_back(image, broker.id));
            is_fenced = false;
        }
    } else if request.want_fence {
        records.extend(election::broker_gone(image, broker.id));
        records.push(change(broker, FENCE, 0));
        is_fenced = true;
    } else if broker.in_controlled_shutdown {
        should_shut_down = !leads_any(image, broker.id);
        if should_shut_down {
            records.push(change(broker, FENCE, 0));
            is_fenced = true;
        }
    } else if request.want_shut_down {
        records.extend(election::broker_gone(image, broker.id));
        records.push(change(broker, 0, ENTER_SHUTDOWN));
    }
    (records, BrokerHeartbeatResponse { is_caught_up, is_fenced, should_shut_down, ..Default::default() })
}

fn change(broker: &Broker, fenced: i8, in_controlled_shutdown: i8) -> MetadataRecord {
    BrokerRegistrationChangeRecord {
        broker_id: broker.id,
        broker_epoch: broker.epoch,
        fenced,
        in_controlled_shutdown,
        ..Default::default()
    }
    .into()
}

fn leads_any(image: &Image, broker: NodeId) -> bool {
    image.topics().any(|topic| topic.partitions.iter().any(|partition| partition.leader == Some(broker)))
}
