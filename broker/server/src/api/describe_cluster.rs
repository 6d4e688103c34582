//! DescribeCluster (60): the cluster's id, controller and brokers (KIP-700).
//!
//! - v1: `endpoint_type` says whether brokers (1) or controllers (2) are meant (KIP-919); this listener serves brokers.
//! - v2: fenced brokers may be asked for (KIP-1073).

use std::ops::RangeInclusive;

use strata_protocol::Str;
use strata_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use strata_protocol::messages::{DescribeClusterRequest, DescribeClusterResponse};
use strata_types::ErrorCode;

use super::{OPERATIONS_UNASKED, message};
use crate::dispatch::{Context, Handler, Refusal};

pub(crate) struct DescribeCluster;

const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

impl Handler for DescribeCluster {
    type Request = DescribeClusterRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=2;

    async fn handle(cx: Context, request: Self::Request) -> Result<DescribeClusterResponse, Refusal> {
        if request.endpoint_type != BROKERS {
            let code = match request.endpoint_type {
                CONTROLLERS => ErrorCode::MismatchedEndpointType,
                _ => ErrorCode::UnsupportedEndpointType,
            };
            let error_message = message("this listener serves brokers' clients: endpoint type 1");
            return Ok(DescribeClusterResponse {
                error_code: code.into(),
                error_message,
                ..Default::default()
            });
        }
        let broker = &cx.broker;
        let image = broker.image();
        let shown = image.brokers().filter(|known| !known.fenced || request.include_fenced_brokers);
        let brokers = shown.filter_map(|known| {
            let (host, port) = broker.endpoint(known, &cx.peer.listener)?;
            Some(DescribeClusterBroker {
                broker_id: known.id,
                host,
                port,
                rack: known.rack.clone(),
                is_fenced: known.fenced,
                ..Default::default()
            })
        });
        Ok(DescribeClusterResponse {
            cluster_id: Str::clone(&broker.cluster_id),
            controller_id: broker.quorum.leader().unwrap_or(-1),
            brokers: brokers.collect(),
            error_message: None,
            cluster_authorized_operations: match request.include_cluster_authorized_operations {
                true => cx.cluster_operations(),
                false => OPERATIONS_UNASKED,
            },
            ..Default::default()
        })
    }
}
