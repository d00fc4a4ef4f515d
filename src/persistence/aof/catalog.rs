//! The manifest as the process holds it that writes the log, with the directory in which it stands.
//!
//! Generations and files are the process's own: it never asks the disk for them again. Before it changes the manifest it
//! looks whether the one on disk is still what it has stored last. Where that is gone, older or another's, nothing is
//! changed, for the files on disk need not be the ones that the process knows.

use super::batch::{LogId, SegmentId};
use super::manifest::{Manifest, Origin};
use super::redis;
use crate::limits::AOF_MANIFEST_BYTES_MAX;
use crate::persistence::storage::Storage;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;

/// The directory of the log: paths of its storage begin there.
const HERE: &str = "";

/// A manifest, and where it is.
#[derive(Debug)]
pub struct Catalog<D> {
    storage: D,
    filename: String,
    manifest: Manifest,
    /// What may be on disk: what was seen or stored last, or, where that has failed, the one before. `None`: no manifest.
    on_disk: Vec<Option<Vec<u8>>>,
}

impl<D: Storage> Catalog<D> {
    /// Reads the manifest of the log in `storage`. Where there is none, the log is of so many shards and has no files. The
    /// error is what to tell the user, without the name of the file.
    pub fn load(storage: D, filename: &str, shards: u16) -> Result<Self, String> {
        let here = Path::new(HERE);
        let bytes = Manifest::read(&storage, here, filename).map_err(|error| crate::stdx::os::error_text(&error))?;
        let manifest = match &bytes {
            Some(bytes) => Manifest::parse(bytes)?.look_for_empty(&storage, here),
            None => Manifest::new(LogId::draw().map_err(|error| crate::stdx::os::error_text(&error))?, shards),
        };
        Ok(Self { storage, filename: filename.into(), manifest, on_disk: vec![bytes] })
    }

    /// The directory.
    pub fn storage(&self) -> &D {
        &self.storage
    }

    /// What the files are named after.
    pub fn filename(&self) -> &str {
        &self.filename
    }

    /// The manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Whether there is one on disk.
    pub fn is_there(&self) -> bool {
        self.on_disk.iter().any(Option::is_some)
    }

    /// Makes sure that the disk has what was stored last.
    pub fn check(&mut self) -> io::Result<()> {
        let seen = Manifest::read(&self.storage, Path::new(HERE), &self.filename)?;
        if !self.on_disk.contains(&seen) {
            let path = self.storage.shown(Path::new(&Manifest::name(&self.filename)));
            let state = if seen.is_some() { "is not the one that this server has stored" } else { "has gone" };
            return Err(io::Error::other(format!(
                "the manifest {} {state}, so nothing is changed there. Put it back, or switch the log off, move the directory \
                 away, and switch the log on again",
                path.display()
            )));
        }
        self.on_disk = vec![seen];
        Ok(())
    }

    /// Makes `next` the manifest, durably. After an error either may be on disk.
    pub fn store(&mut self, next: Manifest) -> io::Result<()> {
        self.check()?;
        self.replace(next.to_bytes())?;
        self.manifest = next;
        Ok(())
    }

    /// These batches are on disk, as far as their files are listed. The next manifest that is stored says so.
    pub fn note_durable(&mut self, batches: &BTreeMap<SegmentId, u64>) {
        self.manifest.note_durable(batches);
    }

    /// The log has ended with these batches on disk: stores a manifest that says so, if none does yet.
    pub fn end(&mut self, batches: &BTreeMap<SegmentId, u64>) -> io::Result<()> {
        self.note_durable(batches);
        let next = self.manifest.clone();
        if !batches.keys().any(|segment| next.lists(*segment)) || self.on_disk.contains(&Some(next.to_bytes())) {
            return Ok(());
        }
        self.store(next)
    }

    /// Says that files of a generation will be made. In the manifest of Redis that is a comment.
    pub fn begin(&mut self, generation: u64) -> io::Result<()> {
        self.check()?;
        let next = Manifest { begun: generation, ..self.manifest.clone() };
        let bytes = match (next.origin, self.on_disk.first()) {
            (Origin::Redis, Some(Some(text))) => redis::with_begun(text, generation),
            _ => next.to_bytes(),
        };
        self.replace(bytes)?;
        self.manifest = next;
        Ok(())
    }

    /// The same where the log is a single file of Redis in another directory and must stay so for now: the note is in what
    /// will become the manifest.
    pub fn begin_aside(&mut self, generation: u64) -> io::Result<()> {
        self.check()?;
        let (aside, note) = (self.aside(), Manifest { begun: generation, ..self.manifest.clone() });
        let path = Path::new(&aside);
        self.storage.create(path)?;
        self.storage.append(path, &note.to_bytes())?;
        self.storage.sync(path)?;
        self.storage.sync_dir(Path::new(HERE))
    }

    /// The generation that such a note is about; 0: there is none.
    pub fn begun_aside(&self) -> u64 {
        let note = self.storage.read(Path::new(&self.aside()), AOF_MANIFEST_BYTES_MAX).ok();
        note.and_then(|bytes| Manifest::parse(&bytes).ok()).map_or(0, |note| note.begun)
    }

    /// The name under which a manifest is written before it gets its own.
    pub fn aside(&self) -> String {
        format!("temp-{}", Manifest::name(&self.filename))
    }

    fn replace(&mut self, bytes: Vec<u8>) -> io::Result<()> {
        if bytes.len() > AOF_MANIFEST_BYTES_MAX {
            return Err(io::Error::other(format!(
                "its manifest would be larger than the {AOF_MANIFEST_BYTES_MAX} bytes that can be read again"
            )));
        }
        self.on_disk.push(Some(bytes.clone()));
        self.storage.replace(Path::new(HERE), &Manifest::name(&self.filename), &bytes)?;
        self.on_disk = vec![Some(bytes)];
        Ok(())
    }
}
