//! A disk for simulations: what was not synced may be gone after a power failure, torn at any byte, or there in part and
//! out of order; names may be gone until their directory was synced; the disk fills up and fails when told to. All of it
//! from a seed.
#![allow(dead_code, reason = "each test binary uses its own part")]

use crimson::persistence::storage::Storage;
use crimson::stdx::random::Random;
use std::cell::{RefCell, RefMut};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// Bytes that a disk writes at once: all of them or none.
const SECTOR: usize = 512;

/// A disk with one directory, `/`, that is always there.
#[derive(Clone)]
pub struct Disk(Rc<RefCell<State>>);

/// An open directory of it: it stays the same wherever it is moved to.
#[derive(Clone, Copy)]
pub struct OpenDir<'a> {
    disk: &'a Disk,
    /// Which of those that were opened.
    number: usize,
}

struct State {
    random: Random,
    files: Vec<File>,
    /// Names as a program sees them; `None` is a directory.
    names: BTreeMap<PathBuf, Option<usize>>,
    durable_names: BTreeMap<PathBuf, Option<usize>>,
    /// Changes of names that no sync has made durable yet, in order, each with its directory.
    renamed: Vec<(PathBuf, NameChange)>,
    /// Where the directories are now that were opened; `None`: nowhere any more.
    open: Vec<Option<PathBuf>>,
    /// Bytes that may still be written.
    space: u64,
    /// Counts down; at 0 the next write or sync fails once.
    write_errors: Option<u64>,
    sync_errors: Option<u64>,
    /// Changes so far, and after how many the power fails.
    operations: u64,
    power: u64,
}

#[derive(Clone)]
struct NameChange {
    removed: Option<PathBuf>,
    added: Option<(PathBuf, Option<usize>)>,
}

#[derive(Default)]
struct File {
    /// As a program sees it.
    now: Vec<u8>,
    durable: Vec<u8>,
    /// What has changed since, in order.
    pending: Vec<Change>,
}

struct Change {
    what: What,
    /// A sync of it has failed: it can be read, but later syncs no longer know of it. Lengths are not forgotten: a journal
    /// has them.
    forgotten: bool,
}

enum What {
    Write { offset: usize, bytes: Vec<u8> },
    Length(usize),
}

impl What {
    /// Does it to `bytes`, as far as it lies in the ranges of it that `there` yields.
    fn apply(&self, file: &mut Vec<u8>, parts: impl Iterator<Item = std::ops::Range<usize>>) {
        match self {
            Self::Length(len) => file.resize(*len, 0),
            Self::Write { offset, bytes } => {
                for part in parts.filter(|part| !part.is_empty()) {
                    let end = offset + part.end;
                    file.resize(file.len().max(end), 0);
                    file[offset + part.start..end].copy_from_slice(&bytes[part]);
                }
            }
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Length(_) => 0,
            Self::Write { bytes, .. } => bytes.len(),
        }
    }

    fn apply_whole(&self, file: &mut Vec<u8>) {
        let len = self.len();
        self.apply(file, std::iter::once(0..len));
    }

    /// Whether a newer change decides about bytes that this one was about.
    fn is_touched_by(&self, newer: &Self) -> bool {
        match (self, newer) {
            (Self::Length(_), _) => true,
            (Self::Write { offset, bytes }, Self::Length(len)) => offset + bytes.len() > *len,
            (Self::Write { offset, bytes }, Self::Write { offset: from, bytes: new }) => {
                *offset < from + new.len() && *from < offset + bytes.len()
            }
        }
    }
}

/// The disk is full.
const ENOSPC: i32 = 28;

/// The disk cannot read or write.
const EIO: i32 = 5;

fn power_is_off() -> io::Error {
    io::Error::other("the power is off")
}

fn absent(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("{} is not there", path.display()))
}

impl Disk {
    /// An empty disk.
    pub fn new(seed: u64) -> Self {
        Self(Rc::new(RefCell::new(State {
            random: Random::new(seed),
            files: Vec::new(),
            names: BTreeMap::from([(PathBuf::from("/"), None)]),
            durable_names: BTreeMap::from([(PathBuf::from("/"), None)]),
            renamed: Vec::new(),
            open: Vec::new(),
            space: u64::MAX,
            write_errors: None,
            sync_errors: None,
            operations: 0,
            power: u64::MAX,
        })))
    }

    /// How many changes there have been; a sync is one too.
    pub fn operations(&self) -> u64 {
        self.0.borrow().operations
    }

    /// After so many further changes the power fails, in the midst of the next one. Nothing works then until
    /// [`Disk::restart`].
    pub fn fail_power_after(&self, operations: u64) {
        let mut state = self.0.borrow_mut();
        state.power = state.operations + operations;
    }

    /// So many bytes more fit on it. What fits of a write is written.
    pub fn set_space(&self, bytes: u64) {
        self.0.borrow_mut().space = bytes;
    }

    /// The write after `writes` further ones fails, half done.
    pub fn fail_write_after(&self, writes: u64) {
        self.0.borrow_mut().write_errors = Some(writes);
    }

    /// The sync after `syncs` further ones fails. What it should have made durable, no later sync will, unless it is
    /// written again.
    pub fn fail_sync_after(&self, syncs: u64) {
        self.0.borrow_mut().sync_errors = Some(syncs);
    }

    /// Whether a sync is still to fail.
    pub fn will_fail_a_sync(&self) -> bool {
        self.0.borrow().sync_errors.is_some()
    }

    /// Nothing fails any more that was told to, and there is space again.
    pub fn heal(&self) {
        let mut state = self.0.borrow_mut();
        (state.space, state.write_errors, state.sync_errors, state.power) = (u64::MAX, None, None, u64::MAX);
    }

    /// The power fails, if it has not yet, and comes back: only what is durable is sure to be there.
    pub fn restart(&self) {
        let state = &mut *self.0.borrow_mut();
        state.power = u64::MAX;
        for file in &mut state.files {
            for change in std::mem::take(&mut file.pending) {
                survive(&change.what, &mut file.durable, &mut state.random);
            }
            file.now.clone_from(&file.durable);
        }
        // A directory's changes reach the disk in order; how far is chance.
        let dirs: BTreeSet<PathBuf> = state.renamed.iter().map(|change| change.0.clone()).collect();
        for dir in dirs {
            let changes: Vec<NameChange> =
                state.renamed.iter().filter(|change| change.0 == dir).map(|change| change.1.clone()).collect();
            let kept = state.random.below(changes.len() + 1);
            changes[..kept].iter().for_each(|change| change.apply(&mut state.durable_names));
        }
        state.renamed.clear();
        let names = state.durable_names.clone();
        let reachable = |path: &Path| path.ancestors().skip(1).all(|dir| names.get(dir) == Some(&None));
        state.durable_names.retain(|path, _| reachable(path));
        state.names = state.durable_names.clone();
    }

    /// Writes to a file that is mapped into memory: it neither fails nor waits for the disk.
    pub fn put_mapped(&self, path: &Path, offset: usize, bytes: &[u8]) {
        let mut state = self.state();
        if let Ok(index) = state.index(path) {
            let what = What::Write { offset, bytes: bytes.to_vec() };
            let file = &mut state.files[index];
            what.apply_whole(&mut file.now);
            file.pending.push(Change { what, forgotten: false });
        }
    }

    /// Opens a directory.
    pub fn open(&self, path: &Path) -> io::Result<OpenDir<'_>> {
        self.list(path)?;
        let mut state = self.state();
        state.open.push(Some(path.into()));
        Ok(OpenDir { disk: self, number: state.open.len() - 1 })
    }

    /// Gives a directory another name, at once and for ever, as an administrator would.
    pub fn move_dir(&self, from: &Path, to: &Path) {
        let state = &mut *self.state();
        let moved = |path: &Path| path.strip_prefix(from).ok().map(|rest| join(to, rest));
        for names in [&mut state.names, &mut state.durable_names] {
            *names =
                std::mem::take(names).into_iter().map(|(path, file)| (moved(&path).unwrap_or(path), file)).collect();
        }
        for (dir, change) in &mut state.renamed {
            let added = change.added.as_mut().map(|added| &mut added.0);
            for path in [Some(dir), change.removed.as_mut(), added].into_iter().flatten() {
                *path = moved(path).unwrap_or_else(|| path.clone());
            }
        }
        for path in state.open.iter_mut().flatten() {
            *path = moved(path).unwrap_or_else(|| path.clone());
        }
    }

    /// Removes a directory and all in it, at once and for ever.
    pub fn remove_dir(&self, dir: &Path) {
        let state = &mut *self.state();
        state.names.retain(|path, _| !path.starts_with(dir));
        state.durable_names.retain(|path, _| !path.starts_with(dir));
        state.renamed.retain(|(of, _)| !of.starts_with(dir));
        state
            .open
            .iter_mut()
            .filter(|open| open.as_ref().is_some_and(|path| path.starts_with(dir)))
            .for_each(|open| *open = None);
    }

    /// Puts other bytes in the place of a file, at once and for ever: an older copy of it, say. `None` removes it.
    pub fn put(&self, path: &Path, bytes: Option<&[u8]>) {
        let state = &mut *self.state();
        let file = bytes.map(|bytes| {
            state.files.push(File { now: bytes.to_vec(), durable: bytes.to_vec(), pending: Vec::new() });
            state.files.len() - 1
        });
        let touches = |change: &NameChange| {
            change.removed.as_deref() == Some(path) || change.added.as_ref().is_some_and(|added| added.0 == path)
        };
        state.renamed.retain(|(_, change)| !touches(change));
        for names in [&mut state.names, &mut state.durable_names] {
            match file {
                Some(file) => _ = names.insert(path.into(), Some(file)),
                None => _ = names.remove(path),
            }
        }
    }

    fn state(&self) -> RefMut<'_, State> {
        self.0.borrow_mut()
    }
}

/// What a power failure leaves of a change that was not synced.
fn survive(what: &What, file: &mut Vec<u8>, random: &mut Random) {
    let len = what.len();
    match random.below(4) {
        0 => {}
        1 => what.apply_whole(file),
        2 => {
            let torn = random.below(len + 1);
            what.apply(file, std::iter::once(0..torn));
        }
        _ => {
            let sectors = (0..len).step_by(SECTOR).filter(|_| random.below(2) == 0).collect::<Vec<_>>();
            what.apply(file, sectors.into_iter().map(|start| start..len.min(start + SECTOR)));
        }
    }
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<PathBuf, Option<usize>>) {
        if let Some(removed) = &self.removed {
            names.remove(removed);
        }
        if let Some((path, file)) = &self.added {
            names.insert(path.clone(), *file);
        }
    }
}

impl State {
    /// Counts a change. The error says that the power fails in the midst of it; `true` if only just now.
    fn count(&mut self) -> Result<(), bool> {
        if self.operations > self.power {
            return Err(false);
        }
        self.operations += 1;
        if self.operations > self.power { Err(true) } else { Ok(()) }
    }

    fn powered(&self) -> io::Result<()> {
        if self.operations > self.power { Err(power_is_off()) } else { Ok(()) }
    }

    fn index(&self, path: &Path) -> io::Result<usize> {
        self.powered()?;
        self.names.get(path).copied().flatten().ok_or_else(|| absent(path))
    }

    fn rename(&mut self, change: NameChange) -> io::Result<()> {
        let path = change.added.as_ref().map(|added| &added.0).or(change.removed.as_ref()).expect("one of them");
        let dir = path.parent().expect("not the root").to_path_buf();
        if self.names.get(&dir) != Some(&None) {
            return Err(absent(&dir));
        }
        let cut = self.count();
        if cut != Err(false) {
            change.apply(&mut self.names);
            self.renamed.push((dir, change));
        }
        cut.map_err(|_| power_is_off())
    }

    fn change(&mut self, index: usize, mut what: What) -> io::Result<()> {
        let mut result = self.count().map_err(|just_now| (just_now, power_is_off()));
        if result.is_ok() && what.len() > 0 {
            if what.len() as u64 > self.space {
                result = Err((true, io::Error::from_raw_os_error(ENOSPC)));
            } else if due(&mut self.write_errors) {
                result = Err((true, io::Error::from_raw_os_error(EIO)));
            }
        }
        if let (Err((true, _)), What::Write { bytes, .. }) = (&result, &mut what) {
            let most = (bytes.len() as u64).min(self.space) as usize;
            bytes.truncate(self.random.below(most + 1));
        }
        if !matches!(result, Err((false, _))) {
            self.space -= what.len() as u64;
            let file = &mut self.files[index];
            what.apply_whole(&mut file.now);
            file.pending.push(Change { what, forgotten: false });
        }
        result.map_err(|error| error.1)
    }
}

/// Whether the error that counts down comes now.
fn due(countdown: &mut Option<u64>) -> bool {
    match countdown {
        Some(0) => countdown.take().is_some(),
        Some(left) => {
            *left -= 1;
            false
        }
        None => false,
    }
}

/// `rest` may be empty.
fn join(path: &Path, rest: &Path) -> PathBuf {
    if rest.as_os_str().is_empty() { path.into() } else { path.join(rest) }
}

impl OpenDir<'_> {
    fn path(&self, rest: &Path) -> io::Result<PathBuf> {
        let state = self.disk.0.borrow();
        let path = state.open[self.number].as_ref();
        path.map(|path| join(path, rest)).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Storage for OpenDir<'_> {
    fn shown(&self, path: &Path) -> PathBuf {
        self.path(path).unwrap_or_else(|_| path.into())
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.disk.create_dir(&self.path(dir)?)
    }

    fn create(&self, path: &Path) -> io::Result<()> {
        self.disk.create(&self.path(path)?)
    }

    fn create_new(&self, path: &Path) -> io::Result<()> {
        self.disk.create_new(&self.path(path)?)
    }

    fn append(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.disk.append(&self.path(path)?, bytes)
    }

    fn write_at(&self, path: &Path, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.disk.write_at(&self.path(path)?, offset, bytes)
    }

    fn read_at(&self, path: &Path, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.disk.read_at(&self.path(path)?, offset, buffer)
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        self.disk.len(&self.path(path)?)
    }

    fn truncate(&self, path: &Path, len: u64) -> io::Result<()> {
        self.disk.truncate(&self.path(path)?, len)
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        self.disk.sync(&self.path(path)?)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.disk.sync_dir(&self.path(dir)?)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(&self.path(from)?, &self.path(to)?)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(&self.path(path)?)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.disk.list(&self.path(dir)?)
    }
}

impl Storage for Disk {
    fn shown(&self, path: &Path) -> PathBuf {
        path.into()
    }

    fn create_new(&self, path: &Path) -> io::Result<()> {
        if self.state().index(path).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.create(path)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.powered()?;
        match state.names.get(dir) {
            Some(None) => Ok(()),
            Some(_) => Err(io::ErrorKind::AlreadyExists.into()),
            None => state.rename(NameChange { removed: None, added: Some((dir.into(), None)) }),
        }
    }

    fn create(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        if let Ok(index) = state.index(path) {
            return state.change(index, What::Length(0));
        }
        state.files.push(File::default());
        let added = Some((path.into(), Some(state.files.len() - 1)));
        state.rename(NameChange { removed: None, added })
    }

    fn append(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        let index = state.index(path)?;
        let offset = state.files[index].now.len();
        state.change(index, What::Write { offset, bytes: bytes.to_vec() })
    }

    fn write_at(&self, path: &Path, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        let index = state.index(path)?;
        state.change(index, What::Write { offset: offset as usize, bytes: bytes.to_vec() })
    }

    fn read_at(&self, path: &Path, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let state = self.state();
        let file = &state.files[state.index(path)?].now;
        let rest = &file[file.len().min(offset as usize)..];
        let len = rest.len().min(buffer.len());
        buffer[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        let state = self.state();
        Ok(state.files[state.index(path)?].now.len() as u64)
    }

    fn truncate(&self, path: &Path, len: u64) -> io::Result<()> {
        let mut state = self.state();
        let index = state.index(path)?;
        state.change(index, What::Length(len as usize))
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        let state = &mut *self.state();
        let index = state.index(path)?;
        state.count().map_err(|_| power_is_off())?;
        let file = &mut state.files[index];
        if due(&mut state.sync_errors) {
            file.pending.iter_mut().for_each(|change| change.forgotten |= matches!(change.what, What::Write { .. }));
            return Err(io::Error::from_raw_os_error(EIO));
        }
        let mut forgotten: Vec<Change> = Vec::new();
        for change in std::mem::take(&mut file.pending) {
            if change.forgotten {
                forgotten.push(change);
            } else {
                forgotten.retain(|old| !old.what.is_touched_by(&change.what));
                change.what.apply_whole(&mut file.durable);
            }
        }
        file.pending = forgotten;
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let state = &mut *self.state();
        state.powered()?;
        if state.names.get(dir) != Some(&None) {
            return Err(absent(dir));
        }
        state.count().map_err(|_| power_is_off())?;
        if due(&mut state.sync_errors) {
            return Err(io::Error::from_raw_os_error(EIO));
        }
        for (of, change) in &state.renamed {
            if of == dir {
                change.apply(&mut state.durable_names);
            }
        }
        state.renamed.retain(|change| change.0 != dir);
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        let index = state.index(from)?;
        assert_eq!(from.parent(), to.parent(), "files are renamed inside a directory");
        state.rename(NameChange { removed: Some(from.into()), added: Some((to.into(), Some(index))) })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.index(path)?;
        state.rename(NameChange { removed: Some(path.into()), added: None })
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.state();
        state.powered()?;
        if state.names.get(dir) != Some(&None) {
            return Err(absent(dir));
        }
        let inside = state.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(inside.filter_map(|path| path.file_name()?.to_str().map(String::from)).collect())
    }
}
