//! Lines for the host's log. They are kept until the call ends, and cross to the host at once.

use std::cell::RefCell;
use std::fmt::Display;

use crate::bindings::topology::strata::plugin::log as host;
pub use host::Level;

/// What a call may keep; the rest is dropped, and its lines counted.
const KEPT_BYTES_MAX: usize = 64 * 1024;

#[derive(Default)]
struct Kept {
    lines: Vec<host::Line>,
    bytes: usize,
    dropped: usize,
}

thread_local! {
    static KEPT: RefCell<Kept> = RefCell::default();
}

pub fn error(message: impl Display) {
    keep(Level::Error, message.to_string());
}

pub fn warn(message: impl Display) {
    keep(Level::Warn, message.to_string());
}

pub fn info(message: impl Display) {
    keep(Level::Info, message.to_string());
}

pub fn debug(message: impl Display) {
    keep(Level::Debug, message.to_string());
}

/// Runs one call from the host: what it logs is sent when it ends, and also when it panics.
pub(crate) fn flushed<T>(call: impl FnOnce() -> T) -> T {
    install_panic_hook();
    let result = call();
    flush();
    result
}

/// Sends what is kept to the host.
pub fn flush() {
    let mut kept = KEPT.with(RefCell::take);
    if kept.dropped > 0 {
        kept.lines
            .push(host::Line { level: Level::Warn, message: format!("{} more lines dropped", kept.dropped) });
    }
    if !kept.lines.is_empty() {
        host::write(&kept.lines);
    }
}

fn keep(level: Level, message: String) {
    KEPT.with_borrow_mut(|kept| {
        if kept.bytes + message.len() > KEPT_BYTES_MAX {
            kept.dropped += 1;
        } else {
            kept.bytes += message.len();
            kept.lines.push(host::Line { level, message });
        }
    });
}

/// A panic becomes a trap without words; the host shows the last error line as its reason.
fn install_panic_hook() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        std::panic::set_hook(Box::new(|info| {
            error(info);
            flush();
        }));
    });
}
