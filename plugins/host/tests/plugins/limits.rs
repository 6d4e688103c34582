//! What a plugin must not be able to do to us, one by one. After each misdeed the instance is gone, and a new one works.

use std::time::{Duration, Instant};

use super::*;

/// Runs one misdeed; then the instance must be discarded, and a fresh one of the same plugin must work.
async fn punished(mode: &str, limits: Limits) -> PluginError {
    let plugin = load(MISBEHAVE, limits).await;
    let mut instance = misbehaving(&plugin, mode).await;
    let error = one_record(&mut instance).await.expect_err("a misdeed");
    assert!(error.discards_instance(), "{error}");
    assert_eq!(one_record(&mut instance).await, Err(PluginError::Discarded));
    let mut fresh = misbehaving(&plugin, "echo").await;
    assert_eq!(one_record(&mut fresh).await.expect("a good instance").len(), 1);
    error
}

#[tokio::test]
async fn a_trap_is_reported_as_what_it_is() {
    let error = punished("trap", Limits::default()).await;
    assert_eq!(error.to_string(), "the plugin trapped: wasm trap: wasm `unreachable` instruction executed");
}

#[tokio::test]
async fn a_panic_is_reported_with_its_words() {
    let error = punished("panic", Limits::default()).await;
    assert!(error.to_string().contains("on purpose"), "{error}");
}

#[tokio::test]
async fn a_trap_in_init_fails_the_start() {
    let plugin = load(MISBEHAVE, Limits::default()).await;
    let error =
        plugin.topology(&Grants::default(), &config(&[("mode", "trap-in-init")])).await.err().unwrap();
    assert!(matches!(error, PluginError::Trap { .. }), "{error}");
}

#[tokio::test]
async fn an_endless_loop_ends_at_its_deadline_and_does_not_stall_the_thread() {
    let neighbour = tokio::spawn(async {
        let mut turns = 0;
        loop {
            turns += 1;
            if turns == 5 {
                return turns;
            }
            tokio::task::yield_now().await;
        }
    });
    let started = Instant::now();
    let error = punished("loop", Limits { call_deadline_ms: 100, ..Limits::default() }).await;
    assert_eq!(error, PluginError::Deadline { limit_ms: 100 });
    // Compiling is in this as well; a loop that is not stopped never gets here.
    assert!(started.elapsed() < Duration::from_secs(20));
    assert_eq!(neighbour.await.unwrap(), 5);
}

#[tokio::test]
async fn a_wait_inside_the_host_ends_at_the_deadline_too() {
    let error = punished("sleep", Limits { call_deadline_ms: 100, ..Limits::default() }).await;
    assert_eq!(error, PluginError::Deadline { limit_ms: 100 });
}

#[tokio::test]
async fn endless_recursion_traps() {
    let error = punished("recursion", Limits::default()).await;
    assert!(
        matches!(&error, PluginError::Trap { reason } if reason.contains("call stack exhausted")),
        "{error}"
    );
}

#[tokio::test]
async fn a_memory_bomb_stops_at_the_limit() {
    let limits = Limits { memory_bytes_max: 8 << 20, ..Limits::default() };
    assert_eq!(punished("memory", limits).await, PluginError::MemoryLimit { limit_bytes: 8 << 20 });
}

#[tokio::test]
async fn a_flood_of_output_stops_at_the_limit() {
    let limits = Limits { memory_bytes_max: 256 << 20, output_bytes_max: 16 << 20, ..Limits::default() };
    assert_eq!(punished("output", limits).await, PluginError::OutputTooLarge { limit_bytes: 16 << 20 });
}

#[tokio::test]
async fn a_flood_of_logs_is_dropped_and_counted() {
    let plugin = load(MISBEHAVE, Limits::default()).await;
    let mut instance = misbehaving(&plugin, "logs").await;
    assert_eq!(one_record(&mut instance).await.expect("logging is no crime").len(), 1);
    assert_eq!(instance.usage().log_lines_dropped, 99);
    assert!(instance.usage().log_bytes <= Limits::default().log_bytes_max);
}

#[tokio::test]
async fn a_flood_of_host_calls_stops_at_the_limit() {
    let limits = Limits { host_calls_max: 50, ..Limits::default() };
    assert_eq!(punished("host-calls", limits).await, PluginError::HostCallLimit { limit: 50 });
}

#[tokio::test]
async fn a_call_that_its_caller_gives_up_is_the_instances_last() {
    let plugin = load(MISBEHAVE, Limits::default()).await;
    let mut instance = misbehaving(&plugin, "loop").await;
    let given_up = tokio::time::timeout(Duration::from_millis(30), one_record(&mut instance)).await;
    assert!(given_up.is_err());
    assert_eq!(one_record(&mut instance).await, Err(PluginError::Discarded));
}

#[tokio::test]
async fn an_import_that_is_not_granted_is_named() {
    let plugin = load(HTTP_SINK, Limits::default()).await;
    let error = plugin.sink(&Grants::default(), &config(&[("http.url", "http://x/")])).await.err().unwrap();
    assert_eq!(error, PluginError::NotGranted { import: "strata:plugin/http@0.1.0".into() });
}

#[tokio::test]
async fn an_import_that_nobody_knows_is_named() {
    // (component (import "evil:disk/raw" (instance)))
    let component = b"\0asm\x0d\0\x01\0\x07\x03\x01\x42\0\x0a\x12\x01\0\x0devil:disk/raw\x05\0";
    let host = Host::new(HostOptions { instances_max: 1, ..HostOptions::default() }).unwrap();
    let error = host.load(Bytes::from_static(component)).await.unwrap_err();
    assert_eq!(error, PluginError::NotGranted { import: "evil:disk/raw".into() });
}

#[tokio::test]
async fn what_is_no_plugin_is_refused() {
    let host = Host::new(HostOptions { instances_max: 1, ..HostOptions::default() }).unwrap();
    for bytes in [&b""[..], b"#!/bin/sh", b"\0asm\x01\0\0\0", b"\0asm\x0d\0\x01\0", &UPPERCASE[..1000]] {
        let error = host.load(Bytes::from_static(bytes)).await.unwrap_err();
        assert!(matches!(error, PluginError::NotAPlugin(_)), "{error}");
    }
}

#[tokio::test]
async fn instances_beyond_the_pool_are_an_error_and_a_dropped_one_makes_room() {
    let plugin = load(MISBEHAVE, Limits::default()).await;
    let mut instances = Vec::new();
    for _ in 0..4 {
        instances.push(misbehaving(&plugin, "echo").await);
    }
    let refused = plugin.topology(&Grants::default(), &config(&[("mode", "echo")])).await;
    assert!(refused.is_err());
    instances.pop();
    misbehaving(&plugin, "echo").await;
}

#[tokio::test]
async fn a_plugin_of_another_world_is_told_apart() {
    let plugin = load(GENERATOR, Limits::default()).await;
    let error = plugin.topology(&Grants::default(), &Config::new()).await.err().unwrap();
    assert_eq!(error.to_string(), "the plugin is a source-connector, not a topology");
}
