//! What libFuzzer drives: the target named by `STRATA_FUZZ_TARGET`. Built and called by `../../run`.
//!
//! The same program answers three questions, so that nothing else must be built: the names of all targets (`list`), a
//! target's committed inputs as files (`unpack`), and files as committed inputs (`pack`).

#![no_main]

use std::path::Path;
use std::process::exit;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use strata_fuzz::{Target, corpus, target, targets};

static TARGET: OnceLock<Target> = OnceLock::new();

fuzz_target!(
    init: {
        let name = std::env::var("STRATA_FUZZ_TARGET").unwrap_or_default();
        match name.as_str() {
            "list" => {
                for target in targets() {
                    println!("{}", target.name);
                }
                exit(0);
            }
            "unpack" | "pack" => exit(convert(&name)),
            name => {
                let chosen = target(name).unwrap_or_else(|| {
                    eprintln!("no such target: '{name}'");
                    exit(2);
                });
                TARGET.get_or_init(|| chosen);
            }
        }
    },
    |input: &[u8]| {
        let target = TARGET.get().expect("the target was chosen before the first input");
        (target.run)(input);
    }
);

/// `STRATA_FUZZ_INPUTS` holds a folder for each target.
fn convert(how: &str) -> i32 {
    let Some(inputs) = std::env::var_os("STRATA_FUZZ_INPUTS") else {
        eprintln!("STRATA_FUZZ_INPUTS is not set");
        return 2;
    };
    let inputs = Path::new(&inputs);
    for target in targets() {
        let of_target = inputs.join(target.name);
        let done = match how {
            "pack" if !of_target.is_dir() => continue,
            "pack" => corpus::pack(&of_target, &corpus::folder(), target.name),
            _ => corpus::unpack(&corpus::folder(), target.name, &of_target).map(drop),
        };
        if let Err(error) = done {
            eprintln!("{}: {error}", target.name);
            return 1;
        }
    }
    0
}
