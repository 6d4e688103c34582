//! PushTelemetry (72): a client's metrics, in OTLP (KIP-714).
//!
//! - Too early: THROTTLING_QUOTA_EXCEEDED. Under a subscription that is not its own any more: UNKNOWN_SUBSCRIPTION_ID.
//! - A push is decompressed to a multiple of its own size and of `telemetry.max.bytes` at most: a bomb is INVALID_RECORD.

use std::ops::RangeInclusive;
use std::time::Instant;

use bytes::Bytes;
use strata_protocol::messages::{PushTelemetryRequest, PushTelemetryResponse};
use strata_protocol::records::{Compression, DecompressLimit};
use strata_types::ErrorCode;

use super::get_telemetry_subscriptions::subscription_of;
use crate::dispatch::{Context, Handler, Refusal};
use crate::telemetry::{COMPRESSIONS, GROWTH_MAX, POINTS_MAX, Point, Pushed, RATIO_MAX, points};

pub(crate) struct PushTelemetry;

impl Handler for PushTelemetry {
    type Request = PushTelemetryRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=0;

    async fn handle(cx: Context, request: Self::Request) -> Result<PushTelemetryResponse, Refusal> {
        let error_code = push(&cx, request).await.err().unwrap_or(ErrorCode::None).into();
        Ok(PushTelemetryResponse { error_code, ..Default::default() })
    }
}

async fn push(cx: &Context, request: PushTelemetryRequest) -> Result<(), ErrorCode> {
    let (id, telemetry) = (request.client_instance_id, &cx.broker.telemetry);
    let now_ms = cx.broker.clock_ms(Instant::now());
    let wanted = subscription_of(cx, id);
    telemetry.admit(id, &wanted, request.subscription_id, request.terminating, now_ms)?;
    let bytes_max = cx.broker.config.settings.telemetry_bytes_max;
    let compression = u8::try_from(request.compression_type).ok().and_then(Compression::from_id);
    let accepted =
        |compression: &Compression| *compression == Compression::None || COMPRESSIONS.contains(compression);
    let read = match compression.filter(accepted) {
        None => Err(ErrorCode::UnsupportedCompressionType),
        Some(_) if request.metrics.len() > bytes_max => Err(ErrorCode::TelemetryTooLarge),
        Some(compression) => {
            let metrics = request.metrics;
            // Off the threads that serve requests: it may take a while to find out that it is too much.
            let read = tokio::task::spawn_blocking(move || read(compression, &metrics, bytes_max));
            read.await.unwrap_or(Err(ErrorCode::UnknownServerError))
        }
    };
    match read {
        Ok(_) if request.terminating => telemetry.forget(id),
        Ok(points) if points.is_empty() => {}
        Ok(points) => {
            let client_id = cx.client_id.as_deref().unwrap_or_default().to_owned();
            telemetry.keep(Pushed { client_id, instance_id: id, points }, now_ms);
        }
        Err(code) => {
            telemetry.refused(id);
            return Err(code);
        }
    }
    Ok(())
}

fn read(compression: Compression, metrics: &Bytes, bytes_max: usize) -> Result<Vec<Point>, ErrorCode> {
    if metrics.is_empty() {
        return Ok(Vec::new());
    }
    let limit = metrics.len().saturating_mul(RATIO_MAX).min(bytes_max.saturating_mul(GROWTH_MAX));
    let plain =
        compression.decompress(metrics, DecompressLimit(limit)).map_err(|_| ErrorCode::InvalidRecord)?;
    points(&plain, POINTS_MAX).map_err(|_| ErrorCode::InvalidRecord)
}
