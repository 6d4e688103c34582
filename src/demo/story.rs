use std::fmt::{Debug, Display};
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// What the demo prints: numbered steps, their figures, and what to look at.
pub struct Story {
    began: Instant,
    steps: usize,
    bold: bool,
}

impl Story {
    pub fn new() -> Self {
        Self { began: Instant::now(), steps: 0, bold: io::stdout().is_terminal() }
    }

    /// A step begins.
    pub fn step(&mut self, title: &str) -> anyhow::Result<()> {
        self.steps += 1;
        let (on, off) = if self.bold { ("\x1b[1m", "\x1b[0m") } else { ("", "") };
        self.line(&format!("\n{on}{}. {title}{off}", self.steps))
    }

    /// A figure, or what to look at.
    pub fn fact(&self, fact: &str) -> anyhow::Result<()> {
        self.line(&format!("   {fact}"))
    }

    /// Prints the answer if it is right, and ends the demo if it is not.
    pub fn check<T: PartialEq + Debug + Display>(
        &self,
        what: &str,
        expected: T,
        found: T,
    ) -> anyhow::Result<()> {
        anyhow::ensure!(expected == found, "{what}: expected {expected}, found {found}");
        self.fact(&format!("✓ {what}: {found}"))
    }

    pub fn end(&self, word: &str) -> anyhow::Result<()> {
        self.line(&format!("\n{word} ({} in all)", seconds(self.began.elapsed())))
    }

    fn line(&self, line: &str) -> anyhow::Result<()> {
        let mut out = crate::output::stdout();
        writeln!(out, "{line}")?;
        Ok(out.flush()?)
    }
}

/// `1.2 s`
pub fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}
