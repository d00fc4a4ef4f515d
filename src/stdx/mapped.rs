//! A file in memory: what is written there the kernel has at once, without a system call, and keeps when the process dies.
#![allow(unsafe_code)]

use memmap2::{MmapOptions, MmapRaw};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::ptr;
use std::sync::atomic::{Ordering, fence};

/// A file that is mapped into memory as a whole. Its blocks are there beforehand: a write to memory cannot say that the
/// disk is full.
#[derive(Debug)]
pub struct MappedFile(MmapRaw);

impl MappedFile {
    /// Makes an empty file so many bytes long, and maps it. An error where the file system has no way to set blocks aside.
    pub fn reserve(file: &File, len: usize) -> io::Result<Self> {
        write_in_place(file);
        // SAFETY: no pointer is passed, and the descriptor is open.
        if unsafe { libc::fallocate(file.as_raw_fd(), 0, 0, len as libc::off_t) } != 0 {
            return Err(io::Error::last_os_error());
        }
        MmapOptions::new().len(len).map_raw(file).map(Self)
    }

    /// How many bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes `bytes` from `at` on, before whatever is written later.
    ///
    /// # Panics
    /// If they do not fit.
    pub fn put(&mut self, at: usize, bytes: &[u8]) {
        assert!(at.checked_add(bytes.len()).is_some_and(|end| end <= self.len()), "bytes fit into the file");
        // SAFETY: the range lies in the mapping, which is writable, and nobody has a reference into it.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), self.0.as_mut_ptr().add(at), bytes.len()) };
        fence(Ordering::Release);
    }
}

/// On btrfs every write takes new blocks, except in files that say otherwise while they are empty.
fn write_in_place(file: &File) {
    const NO_COPY_ON_WRITE: libc::c_long = 0x0080_0000;
    // SAFETY: a structure of plain numbers.
    let mut system: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: the descriptor is open, and the structure is the caller's.
    let known = unsafe { libc::fstatfs(file.as_raw_fd(), &raw mut system) } == 0;
    if known && system.f_type == libc::BTRFS_SUPER_MAGIC {
        let flags = NO_COPY_ON_WRITE;
        // SAFETY: the call reads one number. Where it fails, a full disk may end the process: nothing is lost by it.
        unsafe { libc::ioctl(file.as_raw_fd(), libc::FS_IOC_SETFLAGS, &raw const flags) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_there_is_in_the_file() {
        let path = std::env::temp_dir().join(format!("crimson-mapped-{}", std::process::id()));
        let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
        let mut mapped = MappedFile::reserve(&file, 8192).unwrap();
        assert_eq!((mapped.len(), mapped.is_empty()), (8192, false));
        mapped.put(4090, b"over the edge");
        let bytes = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!((bytes.len(), &bytes[4090..4103]), (8192, &b"over the edge"[..]));
        assert!(std::panic::catch_unwind(move || mapped.put(8190, b"abc")).is_err());
    }
}
