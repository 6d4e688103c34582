//! Things that may not be written: unfinished work without a name, and paths of one person's machine.

use std::process::Command;

use strata_tidy::house;

/// Split so that this file does not find itself.
const FORBIDDEN: &[(&str, &str)] = &[
    (concat!("todo", "!("), "finish it, or name it in docs/PLAN.md"),
    (concat!("unimplemented", "!("), "finish it, or name it in docs/PLAN.md"),
    (concat!("FIX", "ME"), "mend it, or name it in docs/PLAN.md"),
    (concat!("/ro", "ot/"), "a path of one machine"),
    (concat!("/ho", "me/"), "a path of one machine"),
    (concat!("/wo", "rk/"), "a path of one machine"),
];

#[test]
fn nothing_unfinished_or_local_is_committed() {
    let mut found = Vec::new();
    for (word, why) in FORBIDDEN {
        let output = Command::new("git")
            .args(["grep", "--line-number", "--fixed-strings", "-I", word])
            .current_dir(house::root())
            .output()
            .expect("git runs");
        found
            .extend(String::from_utf8_lossy(&output.stdout).lines().map(|line| format!("{line}   <- {why}")));
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}
