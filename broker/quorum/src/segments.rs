//! The folder of the metadata log: Kafka's segment files, written and flushed in order, recovered after a crash.
//!
//! Only one write is ever unflushed, the last one, and only it may be damaged by a crash: what follows the last good batch is cut
//! off when the folder is opened. Damage in front of a good batch is no crash's doing; it is reported, and nothing is cut.
//!
//! This is not `strata-log`'s `Log`, which serves a partition's clients (producers, timestamps, retention). Raft needs less, and
//! one thing more: to learn about every batch when it opens. See docs/decisions.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use strata_protocol::records::{Batch, BatchHeader};
use strata_types::Offset;

use crate::OpenError;
use crate::disk::sync_parent;

/// A segment that has reached this size is followed by a new one.
pub(crate) const SEGMENT_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// The largest file that is taken for a segment of ours: full but for a byte, and one more batch of the largest size.
const FILE_BYTES_MAX: u64 = SEGMENT_BYTES_MAX + i32::MAX as u64;

const SUFFIX: &str = ".log";

/// The segment files of one folder.
#[derive(Debug)]
pub(crate) struct Segments {
    dir: PathBuf,
    /// In the order of their offsets; the last one is written to.
    segments: Vec<Segment>,
}

#[derive(Debug)]
struct Segment {
    path: PathBuf,
    base_offset: Offset,
    bytes: u64,
    /// Where each batch starts: its base offset and its place in the file.
    batches: Vec<(Offset, u64)>,
}

impl Segments {
    /// Opens the folder and answers every batch in it, with what a crash left at the end cut off.
    pub(crate) fn open(dir: &Path) -> Result<(Self, Vec<Batch>), OpenError> {
        let mut found = Vec::new();
        for item in fs::read_dir(dir).map_err(OpenError::io(dir))? {
            let path = item.map_err(OpenError::io(dir))?.path();
            if let Some(base_offset) = base_offset_of(&path) {
                found.push((base_offset, path));
            }
        }
        found.sort();
        let mut segments = Self { dir: dir.to_owned(), segments: Vec::with_capacity(found.len()) };
        let mut batches = Vec::new();
        let count = found.len();
        for (index, (base_offset, path)) in found.into_iter().enumerate() {
            let is_last = index + 1 == count;
            segments.load(path, base_offset, is_last, &mut batches)?;
        }
        Ok((segments, batches))
    }

    /// Writes a batch behind the others and makes it durable.
    pub(crate) fn append(&mut self, base_offset: Offset, batch: &[u8]) -> io::Result<()> {
        let active = match self.segments.last() {
            Some(last) if last.bytes < SEGMENT_BYTES_MAX => self.segments.len() - 1,
            _ => self.start(base_offset)?,
        };
        let active = &mut self.segments[active];
        let file = OpenOptions::new().write(true).open(&active.path)?;
        file.write_all_at(batch, active.bytes)?;
        file.sync_data()?;
        active.batches.push((base_offset, active.bytes));
        active.bytes += batch.len() as u64;
        Ok(())
    }

    /// Removes every batch from this offset on.
    pub(crate) fn truncate(&mut self, from: Offset) -> io::Result<()> {
        while self.segments.last().is_some_and(|last| last.base_offset >= from) {
            let Some(last) = self.segments.pop() else { break };
            fs::remove_file(&last.path)?;
            sync_parent(&last.path)?;
        }
        let Some(last) = self.segments.last_mut() else { return Ok(()) };
        let keep = last.batches.partition_point(|&(offset, _)| offset < from);
        if let Some(&(_, position)) = last.batches.get(keep) {
            let file = OpenOptions::new().write(true).open(&last.path)?;
            file.set_len(position)?;
            file.sync_all()?;
            last.batches.truncate(keep);
            last.bytes = position;
        }
        Ok(())
    }

    /// Removes the segments all of whose batches are below this offset.
    pub(crate) fn remove_before(&mut self, offset: Offset) -> io::Result<()> {
        while let [first, second, ..] = &self.segments[..]
            && second.base_offset <= offset
        {
            fs::remove_file(&first.path)?;
            self.segments.remove(0);
        }
        if let [only] = &self.segments[..]
            && only.bytes >= SEGMENT_BYTES_MAX
            && only.batches.last().is_some_and(|&(last, _)| last < offset)
        {
            // Its successor begins at `offset`, so that the folder never forgets where the log stands.
            self.start(offset)?;
            let first = self.segments.remove(0);
            fs::remove_file(&first.path)?;
        }
        sync_parent(&self.dir.join(SUFFIX))
    }

    fn start(&mut self, base_offset: Offset) -> io::Result<usize> {
        let path = self.dir.join(format!("{:020}{SUFFIX}", base_offset.0));
        File::create(&path)?.sync_all()?;
        sync_parent(&path)?;
        self.segments.push(Segment { path, base_offset, bytes: 0, batches: Vec::new() });
        Ok(self.segments.len() - 1)
    }

    fn load(
        &mut self,
        path: PathBuf,
        base_offset: Offset,
        is_last: bool,
        batches: &mut Vec<Batch>,
    ) -> Result<(), OpenError> {
        let length = fs::metadata(&path).map_err(OpenError::io(&path))?.len();
        if length > FILE_BYTES_MAX {
            return Err(OpenError::corrupt(&path, "the file is far too long"));
        }
        let content = Bytes::from(fs::read(&path).map_err(OpenError::io(&path))?);
        let mut segment = Segment { path, base_offset, bytes: 0, batches: Vec::new() };
        let mut expected = base_offset;
        while (segment.bytes as usize) < content.len() {
            let rest = content.slice(segment.bytes as usize..);
            let batch = match good_batch(&rest) {
                Some(batch) if batch.base_offset() == expected => batch,
                _ => break,
            };
            segment.batches.push((expected, segment.bytes));
            segment.bytes += batch.bytes().len() as u64;
            expected = batch.next_offset();
            batches.push(batch);
        }
        if (segment.bytes as usize) < content.len() {
            let rest = &content.slice(segment.bytes as usize..);
            if !is_last || has_good_batch_behind(rest) {
                let what = format!(
                    "the batch at position {} is damaged; restore the file from a backup",
                    segment.bytes
                );
                return Err(OpenError::corrupt(&segment.path, what));
            }
            tracing::warn!(
                path = %segment.path.display(), position = segment.bytes, bytes = rest.len(),
                "cutting off an unfinished write"
            );
            let cut = || {
                let file = OpenOptions::new().write(true).open(&segment.path)?;
                file.set_len(segment.bytes)?;
                file.sync_all()
            };
            cut().map_err(OpenError::io(&segment.path))?;
        }
        self.segments.push(segment);
        Ok(())
    }
}

fn base_offset_of(path: &Path) -> Option<Offset> {
    let digits = path.file_name()?.to_str()?.strip_suffix(SUFFIX)?;
    digits.parse().ok().filter(|&offset| offset >= 0).map(Offset)
}

fn good_batch(content: &Bytes) -> Option<Batch> {
    let header = BatchHeader::parse(content).ok()?;
    if header.batch_bytes > content.len() {
        return None;
    }
    Batch::try_from_bytes(content.slice(..header.batch_bytes)).ok().filter(Batch::is_crc_valid)
}

/// Whether a damaged batch is followed by a good one, as far as its length still tells where that would be.
fn has_good_batch_behind(damaged: &Bytes) -> bool {
    match BatchHeader::parse(damaged) {
        Ok(header) if header.batch_bytes < damaged.len() => {
            good_batch(&damaged.slice(header.batch_bytes..)).is_some()
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use strata_types::LeaderEpoch;

    use super::*;
    use crate::batch::builder;

    fn batch(base_offset: i64) -> Bytes {
        let mut builder = builder(Offset(base_offset), LeaderEpoch(1), false);
        builder.push_next(0, None, Some(b"value"), &[]).expect("small");
        builder.build().expect("small")
    }

    fn folder_of(count: i64) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().expect("a folder");
        let (mut segments, batches) = Segments::open(dir.path()).expect("fresh");
        assert!(batches.is_empty());
        for offset in 0..count {
            segments.append(Offset(offset), &batch(offset)).expect("writable");
        }
        let file = dir.path().join("00000000000000000000.log");
        (dir, file)
    }

    fn offsets(dir: &Path) -> Vec<i64> {
        let (_, batches) = Segments::open(dir).expect("recovers");
        batches.iter().map(|batch| batch.base_offset().0).collect()
    }

    #[test]
    fn every_cut_leaves_the_whole_batches_before_it() {
        let (dir, file) = folder_of(3);
        let whole = fs::read(&file).expect("readable");
        let one = whole.len() / 3;
        for length in (0..=whole.len()).rev() {
            fs::write(&file, &whole[..length]).expect("writable");
            assert_eq!(offsets(dir.path()).len(), length / one, "cut at {length}");
            assert_eq!(fs::metadata(&file).expect("there").len() as usize, length / one * one);
        }
    }

    #[test]
    fn what_a_torn_write_left_is_cut_off_and_written_over() {
        for garbage in [vec![0; 200], vec![0xff; 200], batch(2)[..40].to_vec()] {
            let (dir, file) = folder_of(2);
            let mut content = fs::read(&file).expect("readable");
            content.extend_from_slice(&garbage);
            fs::write(&file, content).expect("writable");
            let (mut segments, batches) = Segments::open(dir.path()).expect("recovers");
            assert_eq!(batches.len(), 2);
            segments.append(Offset(2), &batch(2)).expect("writable");
            assert_eq!(offsets(dir.path()), [0, 1, 2]);
        }
    }

    #[test]
    fn damage_before_a_good_batch_is_reported_and_nothing_is_cut() {
        let (dir, file) = folder_of(3);
        let mut content = fs::read(&file).expect("readable");
        content[70] ^= 1;
        fs::write(&file, &content).expect("writable");
        assert!(matches!(Segments::open(dir.path()), Err(OpenError::Corrupt { .. })));
        assert_eq!(fs::read(&file).expect("readable"), content);
    }

    #[test]
    fn truncating_keeps_what_is_below() {
        let (dir, _) = folder_of(4);
        let (mut segments, _) = Segments::open(dir.path()).expect("recovers");
        segments.truncate(Offset(2)).expect("writable");
        assert_eq!(offsets(dir.path()), [0, 1]);
        segments.append(Offset(2), &batch(2)).expect("writable");
        assert_eq!(offsets(dir.path()), [0, 1, 2]);
        segments.truncate(Offset(0)).expect("writable");
        assert!(offsets(dir.path()).is_empty());
    }

    #[test]
    fn segments_below_an_offset_go_and_the_log_goes_on() {
        let dir = tempfile::tempdir().expect("a folder");
        let (mut segments, _) = Segments::open(dir.path()).expect("fresh");
        for offset in 0..3 {
            segments.append(Offset(offset), &batch(offset)).expect("writable");
            if let Some(last) = segments.segments.last_mut() {
                last.bytes = last.bytes.max(SEGMENT_BYTES_MAX);
            }
        }
        segments.remove_before(Offset(2)).expect("writable");
        assert_eq!(offsets(dir.path()), [2]);
        segments.remove_before(Offset(3)).expect("writable");
        assert!(offsets(dir.path()).is_empty());
        segments.append(Offset(3), &batch(3)).expect("writable");
        assert_eq!(offsets(dir.path()), [3]);
    }
}
