//! Everything that a plugin should not do, for the sandbox's tests. `mode` picks the misdeed; it is done in `process`.

use std::hint::black_box;

use strata_plugin_sdk::{Config, Descriptor, Emit, Error, Graph, Record, Topology, log};

struct Misbehave;

impl Topology for Misbehave {
    fn describe() -> Descriptor {
        Descriptor::new("misbehave", env!("CARGO_PKG_VERSION"), "Misbehaves, for tests")
            .required(
                "mode",
                "echo, trap, panic, loop, recursion, memory, output, logs, host-calls, sleep, error, trap-in-init",
            )
            .optional("topic", "in", "Topic to read")
    }

    fn build(config: &Config, graph: &Graph) -> Result<(), Error> {
        let mode = config.required("mode")?.to_owned();
        match mode.as_str() {
            "trap-in-init" => core::arch::wasm32::unreachable(),
            _ => graph
                .stream([config.required("topic")?])
                .flat_map("misbehave", move |record, emit| misbehave(&mode, record, emit))
                .to("out"),
        }
        Ok(())
    }
}

fn misbehave(mode: &str, record: &Record<'_>, emit: &mut Emit<'_>) -> Result<(), Error> {
    match mode {
        "echo" => emit.forward(record),
        "trap" => core::arch::wasm32::unreachable(),
        "panic" => panic!("on purpose"),
        "loop" => loop {
            black_box(record);
        },
        "recursion" => {
            black_box(recurse(1));
            Ok(())
        }
        "memory" => {
            let mut hoard = Vec::new();
            loop {
                hoard.push(black_box(vec![1u8; 1 << 20]));
            }
        }
        "output" => {
            let value = vec![b'x'; 1 << 20];
            (0..32).try_for_each(|_| emit.emit(None, Some(&value)))
        }
        "logs" => {
            for _ in 0..100 {
                log::info("x".repeat(60 << 10));
                log::flush();
            }
            emit.forward(record)
        }
        "host-calls" => loop {
            log::info("again");
            log::flush();
        },
        "sleep" => {
            const HOUR_NS: u64 = 3_600_000_000_000;
            wasi::clocks::monotonic_clock::subscribe_duration(HOUR_NS).block();
            Ok(())
        }
        "error" => Err(Error::reject("this record is not to my taste")),
        mode => Err(Error::stop(format!("no such misdeed: {mode}"))),
    }
}

#[expect(unconditional_recursion, reason = "on purpose")]
#[inline(never)]
fn recurse(depth: u64) -> u64 {
    black_box(recurse(black_box(depth + 1)) + 1)
}

// A wait inside the host, where no fuel and no epoch reaches the guest. WASI is what toolchains' own runtimes import.
wit_bindgen::generate!({
    inline: "
        package strata:misbehave;

        world sleeper {
            import wasi:clocks/monotonic-clock@0.2.0;
        }

        package wasi:io@0.2.0 {
            interface poll {
                resource pollable {
                    block: func();
                }
            }
        }

        package wasi:clocks@0.2.0 {
            interface monotonic-clock {
                use wasi:io/poll@0.2.0.{pollable};
                subscribe-duration: func(nanoseconds: u64) -> pollable;
            }
        }
    ",
    generate_all,
});

strata_plugin_sdk::export_topology!(Misbehave);
