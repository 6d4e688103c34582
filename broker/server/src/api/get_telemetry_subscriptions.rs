//! GetTelemetrySubscriptions (71): what a client shall push of its metrics, and how often (KIP-714).
//!
//! - A client without an id gets one. Asked again before its interval is over: THROTTLING_QUOTA_EXCEEDED.
//! - Values are asked for as sums since the client's start (no delta temporality), which is what /metrics shows.

use std::ops::RangeInclusive;
use std::time::Instant;

use strata_protocol::messages::{GetTelemetrySubscriptionsRequest, GetTelemetrySubscriptionsResponse};
use uuid::Uuid;

use crate::dispatch::{Context, Handler, Refusal};
use crate::telemetry::{COMPRESSIONS, Client, Subscription};

pub(crate) struct GetTelemetrySubscriptions;

impl Handler for GetTelemetrySubscriptions {
    type Request = GetTelemetrySubscriptionsRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=0;

    async fn handle(
        cx: Context,
        request: Self::Request,
    ) -> Result<GetTelemetrySubscriptionsResponse, Refusal> {
        let id = match request.client_instance_id.is_nil() {
            true => Uuid::new_v4(),
            false => request.client_instance_id,
        };
        let subscription = subscription_of(&cx, id);
        let now_ms = cx.broker.clock_ms(Instant::now());
        if let Err(code) = cx.broker.telemetry.ask(id, &subscription, now_ms) {
            let error_code = code.into();
            let throttle_time_ms = subscription.interval_ms;
            return Ok(GetTelemetrySubscriptionsResponse {
                error_code,
                throttle_time_ms,
                ..Default::default()
            });
        }
        Ok(GetTelemetrySubscriptionsResponse {
            client_instance_id: id,
            subscription_id: subscription.id,
            accepted_compression_types: COMPRESSIONS.iter().map(|compression| *compression as i8).collect(),
            push_interval_ms: subscription.interval_ms,
            telemetry_max_bytes: cx.broker.config.settings.telemetry_bytes_max.try_into().unwrap_or(i32::MAX),
            delta_temporality: false,
            requested_metrics: subscription.metrics,
            ..Default::default()
        })
    }
}

/// What the sender shall push.
pub(super) fn subscription_of(cx: &Context, id: Uuid) -> Subscription {
    let software = cx.peer.software.lock().clone();
    let (software_name, software_version) = software.unwrap_or_default();
    let client = Client {
        client_id: cx.client_id.as_deref().unwrap_or_default(),
        instance_id: &strata_types::TopicId(id).to_string(),
        software_name: &software_name,
        software_version: &software_version,
        address: cx.peer.address.ip(),
        port: cx.peer.address.port(),
    };
    Subscription::of(&cx.broker.image(), &client)
}
