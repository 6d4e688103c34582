//! Files and functions that a person can hold in mind. The numbers are alarms: what trips one is split by subject,
//! or listed here with the reason why it is one thing.

use strata_tidy::{house, source};

const FILE_LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 80;

/// What is rightly longer, and why.
const EXCEPTIONS: &[(&str, &str)] = &[];

#[test]
fn files_and_functions_stay_readable() {
    let root = house::root();
    let mut long = Vec::new();
    for file in source::files(root) {
        let path = file.path.strip_prefix(root).expect("below the root").display().to_string();
        if EXCEPTIONS.iter().any(|(listed, _)| *listed == path) {
            continue;
        }
        let lines = file.text.lines().count();
        if lines > FILE_LINES_MAX {
            long.push(format!("{path}: {lines} lines"));
        }
        for function in file.functions().iter().filter(|function| function.lines > FUNCTION_LINES_MAX) {
            long.push(format!("{path}:{}: a function of {} lines", function.line, function.lines));
        }
    }
    assert!(
        long.is_empty(),
        "over {FILE_LINES_MAX} lines or {FUNCTION_LINES_MAX} for a function:\n{}",
        long.join("\n")
    );
}

#[test]
fn no_exception_outlives_its_reason() {
    let root = house::root();
    for (path, _) in EXCEPTIONS {
        assert!(root.join(path).exists(), "{path} is gone: take it off the list");
    }
}
