//! The seam to the disk: the few things that durability needs of a file system. [`RealStorage`] is the standard library;
//! simulations bring one that loses, tears and reorders what was not synced, and fails when told to.
//!
//! What is written is durable when `sync` has returned, a name when `sync_dir` of its directory has; nothing else is.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// A file system.
pub trait Storage {
    /// Makes a directory, if there is none.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;

    /// Makes an empty file, or empties the one there is.
    fn create(&self, path: &Path) -> io::Result<()>;

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

/// The file system of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealStorage;

impl Storage for RealStorage {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        match fs::create_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => Ok(()),
            result => result,
        }
    }

    fn create(&self, path: &Path) -> io::Result<()> {
        File::create(path).map(drop)
    }

    fn append(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        io::Write::write_all(&mut OpenOptions::new().append(true).open(path)?, bytes)
    }

    fn write_at(&self, path: &Path, offset: u64, bytes: &[u8]) -> io::Result<()> {
        OpenOptions::new().write(true).open(path)?.write_all_at(bytes, offset)
    }

    fn read_at(&self, path: &Path, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let file = File::open(path)?;
        loop {
            match file.read_at(buffer, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        fs::metadata(path).map(|metadata| metadata.len())
    }

    fn truncate(&self, path: &Path, len: u64) -> io::Result<()> {
        OpenOptions::new().write(true).open(path)?.set_len(len)
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir)? {
            names.extend(entry?.file_name().into_string());
        }
        names.sort();
        Ok(names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_real_one_does_what_it_says() {
        let dir = std::env::temp_dir().join(format!("crimson-storage-{}", std::process::id()));
        let storage = RealStorage;
        storage.create_dir(&dir).unwrap();
        storage.create_dir(&dir).unwrap();
        let path = dir.join("a");
        assert!(storage.append(&path, b"x").is_err(), "a file that is not there is not made");
        storage.create(&path).unwrap();
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
}
