//! Makes durable what a start finds in an increment, before anything says that it is.
//!
//! When a sync has failed, the kernel takes the bytes for written: they can be read as long as they are in its page
//! cache, later syncs succeed, and a power failure loses them. A process that lives writes them again; one that was killed
//! leaves that to the next start, which cannot see it. So a start writes over itself whatever the file does not say to be
//! durable, and only then syncs it.

use super::checkpoints::Place;
use super::reader::{Format, Reader, Step};
use crate::limits::AOF_AGAIN_BYTES;
use crate::persistence::storage::Storage;
use std::io;
use std::path::Path;

/// The good part of a file that may be in the page cache alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Doubt {
    /// All in front of this is durable, as batches behind it say.
    pub from: Place,
    /// The end of what is good.
    pub until: Place,
}

impl Doubt {
    /// In a file that has been read to its end.
    pub fn of(reader: &Reader) -> Self {
        let until = Place { sequence: reader.sequence(), offset: reader.good_up_to() };
        Self { from: reader.durable(), until }
    }

    /// How many bytes.
    pub fn bytes(&self) -> u64 {
        self.until.offset - self.from.offset
    }

    /// It is known from elsewhere that all is durable.
    pub fn settle(&mut self) {
        self.from = self.until;
    }
}

/// Writes the doubtful part of a file over itself, and makes the file durable.
pub fn make_durable(storage: &dyn Storage, path: &Path, format: Format, doubt: Doubt) -> io::Result<()> {
    if doubt.bytes() > 0 {
        write_again(storage, path, doubt)?;
        // What has gone from the cache after it was read for the first time has been read from the disk since, where it may
        // be something else. What is written now stays.
        let mut reader = Reader::behind(format, doubt.from);
        read(storage, path, &mut reader, doubt.until.offset)?;
        if Doubt::of(&reader).until != doubt.until {
            return Err(io::Error::other("it is not what it was when it was read first; start again"));
        }
    }
    storage.sync(path)
}

/// The same of a whole file of which nothing is known yet; whether there is any batch in it.
pub fn read_and_make_durable(storage: &dyn Storage, path: &Path, format: Format) -> io::Result<bool> {
    let mut reader = Reader::new(format);
    read(storage, path, &mut reader, u64::MAX)?;
    make_durable(storage, path, format, Doubt::of(&reader))?;
    Ok(reader.sequence() > 0)
}

fn write_again(storage: &dyn Storage, path: &Path, doubt: Doubt) -> io::Result<()> {
    let (mut piece, mut at) = (vec![0; AOF_AGAIN_BYTES], doubt.from.offset);
    while at < doubt.until.offset {
        let len = (doubt.until.offset - at).min(piece.len() as u64) as usize;
        let read = storage.read_at(path, at, &mut piece[..len])?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        storage.write_at(path, at, &piece[..read])?;
        at += read as u64;
    }
    Ok(())
}

/// Reads a file up to `until`, or to its end.
fn read(storage: &dyn Storage, path: &Path, reader: &mut Reader, until: u64) -> io::Result<()> {
    let mut piece = vec![0; AOF_AGAIN_BYTES];
    loop {
        match reader.step() {
            Step::Read(offset) => {
                let len = until.saturating_sub(offset).min(piece.len() as u64) as usize;
                let read = storage.read_at(path, offset, &mut piece[..len])?;
                reader.feed(&piece[..read]);
            }
            Step::Record(_) | Step::Batch(_) => {}
            Step::End(_) => return Ok(()),
        }
    }
}
