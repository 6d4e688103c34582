//! The committed corpus: `corpus/NAME.txt` has one input a line, in hexadecimal, so that a change can be read.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// How many inputs a target keeps, and how long one may be: the corpus is a start, not an archive.
pub const INPUTS_MAX: usize = 12;
pub const INPUT_BYTES_MAX: usize = 160;

/// Where the corpus is in the repository.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

/// A target's inputs; none where it has no file.
///
/// # Errors
/// The file cannot be read, or a line is not hexadecimal.
pub fn read(folder: &Path, target: &str) -> io::Result<Vec<Vec<u8>>> {
    let text = match fs::read_to_string(folder.join(target).with_extension("txt")) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    text.lines()
        .map(|line| {
            from_hex(line).ok_or_else(|| io::Error::other(format!("{target}: not hexadecimal: {line}")))
        })
        .collect()
}

/// Adds what is in `inputs`, a folder of libFuzzer's, to the target's file: those that are short enough, until it has
/// [`INPUTS_MAX`]. What is committed stays, as coverage does not see into the codecs that are C.
///
/// # Errors
/// A file or folder cannot be read or written.
pub fn pack(inputs: &Path, folder: &Path, target: &str) -> io::Result<()> {
    let mut kept = read(folder, target)?;
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(inputs)? {
        let bytes = fs::read(entry?.path())?;
        if bytes.len() <= INPUT_BYTES_MAX && !bytes.is_empty() && !kept.contains(&bytes) {
            found.insert((bytes.len(), bytes));
        }
    }
    let room = INPUTS_MAX.saturating_sub(kept.len());
    if room > 0 {
        // Spread over the lengths: the short ones alone never leave the first field.
        let step = found.len().div_ceil(room).max(1);
        kept.extend(found.into_iter().rev().step_by(step).map(|(_, bytes)| bytes));
    }
    let lines: Vec<String> = kept.iter().map(|bytes| to_hex(bytes)).collect();
    fs::create_dir_all(folder)?;
    fs::write(folder.join(target).with_extension("txt"), lines.join("\n") + "\n")
}

/// Writes a target's inputs into `inputs`, a folder as libFuzzer wants it.
///
/// # Errors
/// A file or folder cannot be read or written.
pub fn unpack(folder: &Path, target: &str, inputs: &Path) -> io::Result<usize> {
    fs::create_dir_all(inputs)?;
    let all = read(folder, target)?;
    for (number, bytes) in all.iter().enumerate() {
        fs::write(inputs.join(format!("{number:03}")), bytes)?;
    }
    Ok(all.len())
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(line: &str) -> Option<Vec<u8>> {
    if !line.len().is_multiple_of(2) || !line.is_ascii() {
        return None;
    }
    (0..line.len()).step_by(2).map(|at| u8::from_str_radix(&line[at..at + 2], 16).ok()).collect()
}
