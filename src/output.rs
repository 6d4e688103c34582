//! What the client commands print: a table for people, JSON for scripts.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use clap::ValueEnum;
use serde::Serialize;

/// How a command prints its answer (`--output`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Default)]
pub enum Output {
    /// Aligned columns, for people.
    #[default]
    Table,
    /// One JSON document, for scripts.
    Json,
}

/// A row that can be printed either way.
pub trait Row: Serialize {
    const COLUMNS: &'static [&'static str];
    fn cells(&self) -> Vec<String>;
}

impl Output {
    /// Prints all rows: a JSON array, or a table with a header line.
    pub fn rows<R: Row>(self, rows: &[R]) -> anyhow::Result<()> {
        match self {
            Self::Json => self.document(&rows),
            Self::Table => Ok(write_table(R::COLUMNS, rows.iter().map(Row::cells).collect())?),
        }
    }

    /// Prints one line for people, or the document for scripts.
    pub fn done(self, line: &str, document: &impl Serialize) -> anyhow::Result<()> {
        match self {
            Self::Json => self.document(document),
            Self::Table => Ok(writeln!(stdout(), "{line}")?),
        }
    }

    fn document(self, document: &impl Serialize) -> anyhow::Result<()> {
        Ok(writeln!(stdout(), "{}", serde_json::to_string_pretty(document)?)?)
    }
}

/// Standard output. Everything that is printed goes through here, so that one who stops reading is noticed.
pub fn stdout() -> impl Write {
    Stdout(io::stdout().lock())
}

/// Whether whoever reads standard output has had enough: no failure of ours.
pub fn reader_is_gone() -> bool {
    READER_IS_GONE.load(Ordering::Relaxed)
}

static READER_IS_GONE: AtomicBool = AtomicBool::new(false);

struct Stdout(io::StdoutLock<'static>);

impl Stdout {
    fn noticing<T>(outcome: io::Result<T>) -> io::Result<T> {
        if outcome.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
            READER_IS_GONE.store(true, Ordering::Relaxed);
        }
        outcome
    }
}

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Self::noticing(self.0.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Self::noticing(self.0.flush())
    }
}

fn write_table(columns: &[&str], rows: Vec<Vec<String>>) -> io::Result<()> {
    let header: Vec<String> = columns.iter().map(|column| column.to_uppercase()).collect();
    let lines: Vec<Vec<String>> = std::iter::once(header).chain(rows).collect();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let mut out = stdout();
    for line in &lines {
        let padded: Vec<String> =
            line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        writeln!(out, "{}", padded.join("  ").trim_end())?;
    }
    Ok(())
}
