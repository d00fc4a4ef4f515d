//! The seam to the disk: the few things that durability needs of a file system. [`RealStorage`] is the file system of the
//! machine, [`Directory`] an open directory of it; simulations bring one that loses, tears and reorders what was not
//! synced, and fails when told to.
//!
//! What is written is durable when `sync` has returned, a name when `sync_dir` of its directory has; nothing else is.
//!
//! A server works on the open directory of its log, which it has locked: wherever that is moved to, and whatever takes its
//! place, the server writes to the files under its own lock.

use crate::stdx::os;
use rustix::fs::{CWD, Dir, Mode, OFlags};
use rustix::io::retry_on_intr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file system, or a directory of one. Paths begin where the storage is; the empty path is the storage itself.
pub trait Storage {
    /// A path as messages show it.
    fn shown(&self, path: &Path) -> PathBuf;

    /// Makes a directory, if there is none.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;

    /// Makes an empty file, or empties the one there is.
    fn create(&self, path: &Path) -> io::Result<()>;

    /// Makes an empty file; an error if the name is taken.
    fn create_new(&self, path: &Path) -> io::Result<()>;

    /// Writes at the end of a file that exists. After an error any part of it may be there.
    fn append(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;

    /// Writes into a file that exists, from `offset` on. After an error any part of it may be there.
    fn write_at(&self, path: &Path, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Reads from `offset` on; how many bytes: fewer than `buffer` holds, and 0 only at the end of the file.
    fn read_at(&self, path: &Path, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// The length of a file.
    fn len(&self, path: &Path) -> io::Result<u64>;

    /// Cuts a file, or lengthens it with zeros.
    fn truncate(&self, path: &Path, len: u64) -> io::Result<()>;

    /// Makes durable what has been written to a file. After an error it may never become durable, even if a later sync
    /// succeeds, unless it is written again.
    fn sync(&self, path: &Path) -> io::Result<()>;

    /// Makes durable which names a directory has.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Gives a file another name, in place of the file that had it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// The names in a directory, in order; those that are no text are left out.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// The whole of a file of at most `max` bytes.
    fn read(&self, path: &Path, max: usize) -> io::Result<Vec<u8>> {
        let len = self.len(path)?;
        if len > max as u64 {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("the file is larger than {max} bytes")));
        }
        let mut bytes = vec![0; len as usize];
        let mut there = 0;
        while there < bytes.len() {
            match self.read_at(path, there as u64, &mut bytes[there..])? {
                0 => break,
                read => there += read,
            }
        }
        bytes.truncate(there);
        Ok(bytes)
    }

    /// Makes `bytes` the contents of the file `name`: whoever looks, and whenever the power fails, finds what was there
    /// before or all of this. Durable when it returns.
    fn replace(&self, dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
        let aside = dir.join(format!("temp-{name}"));
        self.create(&aside)?;
        self.append(&aside, bytes)?;
        self.sync(&aside)?;
        self.rename(&aside, &dir.join(name))?;
        self.sync_dir(dir)
    }
}

/// The file system of the machine, as the process sees it: relative paths begin in its working directory.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealStorage;

/// An open directory. It stays the same directory whatever becomes of its name.
#[derive(Clone, Debug)]
pub struct Directory {
    file: Arc<File>,
    /// Where it was when it was opened.
    path: PathBuf,
}

impl Directory {
    /// Opens the directory at `path`.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::open_at(CWD, path, path.into())
    }

    /// Opens a directory in this one.
    pub fn open_inside(&self, name: &str) -> io::Result<Self> {
        Self::open_at(self.file.as_fd(), Path::new(name), self.path.join(name))
    }

    fn open_at(at: BorrowedFd<'_>, path: &Path, shown: PathBuf) -> io::Result<Self> {
        let file = open_at(at, path, OFlags::RDONLY | OFlags::DIRECTORY)?;
        Ok(Self { file: Arc::new(file), path: shown })
    }

    /// Where it was when it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Locks it for as long as it or a copy of this value is open; `false` if another process has done so.
    pub fn lock(&self) -> io::Result<bool> {
        os::lock(&self.file)
    }

    /// Whether both are the same directory.
    pub fn is_same(&self, other: &Self) -> io::Result<bool> {
        let (own, other) = (self.file.metadata()?, other.file.metadata()?);
        Ok((own.dev(), own.ino()) == (other.dev(), other.ino()))
    }

    /// A file in it.
    pub fn file(&self, name: &str) -> FileIn {
        FileIn { dir: self.clone(), name: name.into(), shown: self.path.join(name) }
    }
}

/// A file in an open directory, by its name.
#[derive(Clone, Debug)]
pub struct FileIn {
    dir: Directory,
    name: PathBuf,
    shown: PathBuf,
}

impl PartialEq for FileIn {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.dir.file, &other.dir.file) && self.name == other.name
    }
}

impl FileIn {
    /// Its path as messages show it.
    pub fn shown(&self) -> &Path {
        &self.shown
    }

    /// Opens it to be read.
    pub fn open_to_read(&self) -> io::Result<File> {
        open_at(self.dir.at(), &self.name, OFlags::RDONLY)
    }

    /// Opens it to be written, or mapped into memory.
    pub fn open_to_write(&self) -> io::Result<File> {
        open_at(self.dir.at(), &self.name, OFlags::RDWR)
    }

    /// Makes it, or empties it, and opens it to be written, or mapped into memory.
    pub fn create(&self) -> io::Result<File> {
        open_at(self.dir.at(), &self.name, OFlags::RDWR | OFlags::CREATE | OFlags::TRUNC)
    }
}

/// Where paths begin.
trait Place {
    fn at(&self) -> BorrowedFd<'_>;
    fn show(&self, path: &Path) -> PathBuf;
}

impl Place for RealStorage {
    fn at(&self) -> BorrowedFd<'_> {
        CWD
    }

    fn show(&self, path: &Path) -> PathBuf {
        path.into()
    }
}

impl Place for Directory {
    fn at(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    fn show(&self, path: &Path) -> PathBuf {
        if path.as_os_str().is_empty() { self.path.clone() } else { self.path.join(path) }
    }
}

fn open_at(at: BorrowedFd<'_>, path: &Path, flags: OFlags) -> io::Result<File> {
    let permissions = Mode::from_raw_mode(0o666);
    let opened = retry_on_intr(|| rustix::fs::openat(at, path, flags | OFlags::CLOEXEC, permissions))?;
    Ok(File::from(opened))
}

/// Opens a directory; the empty path is the one at which paths begin.
fn open_dir_at(at: BorrowedFd<'_>, path: &Path) -> io::Result<File> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    open_at(at, path, OFlags::RDONLY | OFlags::DIRECTORY)
}

impl<P: Place> Storage for P {
    fn shown(&self, path: &Path) -> PathBuf {
        self.show(path)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        match rustix::fs::mkdirat(self.at(), dir, Mode::from_raw_mode(0o777)) {
            Err(rustix::io::Errno::EXIST) => open_dir_at(self.at(), dir).map(drop),
            result => Ok(result?),
        }
    }

    fn create(&self, path: &Path) -> io::Result<()> {
        open_at(self.at(), path, OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC).map(drop)
    }

    fn create_new(&self, path: &Path) -> io::Result<()> {
        open_at(self.at(), path, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL).map(drop)
    }

    fn append(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        io::Write::write_all(&mut open_at(self.at(), path, OFlags::WRONLY | OFlags::APPEND)?, bytes)
    }

    fn write_at(&self, path: &Path, offset: u64, bytes: &[u8]) -> io::Result<()> {
        open_at(self.at(), path, OFlags::WRONLY)?.write_all_at(bytes, offset)
    }

    fn read_at(&self, path: &Path, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let file = open_at(self.at(), path, OFlags::RDONLY)?;
        loop {
            match file.read_at(buffer, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        let status = rustix::fs::statat(self.at(), path, rustix::fs::AtFlags::empty())?;
        Ok(u64::try_from(status.st_size).unwrap_or(0))
    }

    fn truncate(&self, path: &Path, len: u64) -> io::Result<()> {
        open_at(self.at(), path, OFlags::WRONLY)?.set_len(len)
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        open_at(self.at(), path, OFlags::RDONLY)?.sync_all()
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        open_dir_at(self.at(), dir)?.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        Ok(rustix::fs::renameat(self.at(), from, self.at(), to)?)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(self.at(), path, rustix::fs::AtFlags::empty())?)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in Dir::new(open_dir_at(self.at(), dir)?)? {
            let entry = entry?;
            let name = entry.file_name().to_str().unwrap_or(".");
            if name != "." && name != ".." {
                names.push(name.to_owned());
            }
        }
        names.sort();
        Ok(names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn the_real_one_does_what_it_says() {
        let dir = std::env::temp_dir().join(format!("crimson-storage-{}", std::process::id()));
        let storage = RealStorage;
        storage.create_dir(&dir).unwrap();
        storage.create_dir(&dir).unwrap();
        let path = dir.join("a");
        assert!(storage.append(&path, b"x").is_err(), "a file that is not there is not made");
        storage.create_new(&path).unwrap();
        storage.create(&path).unwrap();
        assert_eq!(storage.create_new(&path).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        storage.append(&path, b"hello ").unwrap();
        storage.append(&path, b"world").unwrap();
        storage.write_at(&path, 0, b"H").unwrap();
        storage.sync(&path).unwrap();
        assert_eq!(storage.read(&path, 100).unwrap(), b"Hello world");
        assert!(storage.read(&path, 10).is_err());
        storage.truncate(&path, 5).unwrap();
        assert_eq!(storage.len(&path).unwrap(), 5);
        let mut buffer = [0; 10];
        assert_eq!(storage.read_at(&path, 3, &mut buffer).unwrap(), 2);
        assert_eq!(storage.read_at(&path, 5, &mut buffer).unwrap(), 0);
        storage.replace(&dir, "a", b"new").unwrap();
        storage.rename(&path, &dir.join("b")).unwrap();
        assert_eq!(storage.list(&dir).unwrap(), ["b"]);
        assert_eq!(storage.read(&dir.join("b"), 3).unwrap(), b"new");
        storage.remove(&dir.join("b")).unwrap();
        fs::remove_dir(&dir).unwrap();
    }

    #[test]
    fn an_open_directory_stays_the_same_wherever_it_is() {
        let root = std::env::temp_dir().join(format!("crimson-directory-{}", std::process::id()));
        let server = RealStorage.create_dir(&root).and_then(|()| Directory::open(&root)).unwrap();
        server.create_dir(Path::new("log")).unwrap();
        let log = server.open_inside("log").unwrap();
        assert!(log.lock().unwrap());
        fs::rename(root.join("log"), root.join("elsewhere")).unwrap();
        log.create_new(Path::new("a")).unwrap();
        log.replace(Path::new(""), "a", b"x").unwrap();
        assert_eq!(log.list(Path::new("")).unwrap(), ["a"]);
        assert_eq!(fs::read(root.join("elsewhere").join("a")).unwrap(), b"x");
        assert_eq!(log.shown(Path::new("a")), root.join("log").join("a"));
        // Another directory of the same name is another one, and free.
        server.create_dir(Path::new("log")).unwrap();
        let other = server.open_inside("log").unwrap();
        assert!(!log.is_same(&other).unwrap() && other.lock().unwrap());
        assert!(log.is_same(&server.open_inside("elsewhere").unwrap()).unwrap());
        fs::remove_dir_all(&root).unwrap();
        assert_eq!(log.create_new(Path::new("b")).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(!root.exists());
    }
}
