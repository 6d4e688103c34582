//! How far a command is, on standard error, where a person waits and looks: nothing is drawn unless that is a terminal.

use std::borrow::Cow;
use std::io::{self, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// Between two pictures of a spinner.
const TICK: Duration = Duration::from_millis(100);

/// A bar or a spinner, gone from the screen when it is dropped.
pub struct Progress(ProgressBar);

impl Progress {
    /// Counts up to `total` records.
    pub fn records(what: impl Into<Cow<'static, str>>, total: u64) -> Self {
        Self::bar(what, total, "{msg} [{bar:30}] {human_pos} of {human_len} records, {eta} left")
    }

    /// Counts up to `total` bytes.
    pub fn bytes(what: impl Into<Cow<'static, str>>, total: u64) -> Self {
        Self::bar(what, total, "{msg} [{bar:30}] {bytes} of {total_bytes}, {eta} left")
    }

    /// For what has no known length.
    pub fn spinner(what: impl Into<Cow<'static, str>>) -> Self {
        let spinner = ProgressBar::new_spinner().with_message(what);
        spinner.enable_steady_tick(TICK);
        Self(spinner)
    }

    /// Never draws: for where the answer itself is what one watches.
    pub fn hidden() -> Self {
        Self(ProgressBar::hidden())
    }

    fn bar(what: impl Into<Cow<'static, str>>, total: u64, template: &str) -> Self {
        // A template that cannot be read is no reason to fail: there is a default one.
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        Self(ProgressBar::new(total).with_style(style).with_message(what))
    }

    pub fn add(&self, more: u64) {
        self.0.inc(more);
    }

    /// A writer that takes the progress off the screen before it writes its first byte.
    pub fn until_output<W: Write>(self, out: W) -> impl Write {
        UntilOutput { out, progress: Some(self) }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

struct UntilOutput<W> {
    out: W,
    progress: Option<Progress>,
}

impl<W: Write> Write for UntilOutput<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.progress = None;
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_passes_unchanged_and_ends_the_progress() {
        let progress = Progress::spinner("waiting");
        let bar = progress.0.clone();
        let mut written = Vec::new();
        let mut out = progress.until_output(&mut written);
        assert!(!bar.is_finished());
        out.write_all(b"one").unwrap();
        assert!(bar.is_finished());
        out.write_all(b" two").unwrap();
        drop(out);
        assert_eq!(written, b"one two");
    }
}
