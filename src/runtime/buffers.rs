//! The buffers that the kernel fills with what clients send: one pool per core, shared by all its connections, so that
//! an idle connection holds none.
#![allow(unsafe_code)]

use io_uring::{Submitter, types::BufRingEntry};
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

/// Bytes of one buffer: enough for a deep pipeline of small commands.
const BUFFER_BYTES: usize = 16 * 1024;

/// Buffers of one core; a power of two.
const BUFFERS: u16 = 256;

/// The group that receive operations name.
pub const GROUP: u16 = 0;

/// A ring of buffers lent to the kernel.
pub struct Buffers {
    /// The entries, a page-aligned map that the kernel reads.
    entries: NonNull<BufRingEntry>,
    memory: Box<[u8]>,
    tail: u16,
}

impl Buffers {
    /// Registers a pool with a ring. It must live as long as that ring.
    pub fn register(submitter: &Submitter<'_>) -> io::Result<Self> {
        // SAFETY: an anonymous map of a positive length, at an address that the kernel chooses.
        let map = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                ring_bytes(),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_ANONYMOUS | libc::MAP_PRIVATE,
                -1,
                0,
            )
        };
        if map == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let entries = NonNull::new(map.cast::<BufRingEntry>()).expect("a map does not start at 0");
        let memory = vec![0; BUFFER_BYTES * usize::from(BUFFERS)].into_boxed_slice();
        let mut buffers = Self { entries, memory, tail: 0 };
        // SAFETY: the map holds BUFFERS entries and is unmapped only after the ring is gone.
        unsafe { submitter.register_buf_ring_with_flags(map as u64, BUFFERS, GROUP, 0) }?;
        for id in 0..BUFFERS {
            buffers.give_back(id);
        }
        buffers.publish();
        Ok(buffers)
    }

    /// The first `len` bytes of buffer `id`, which the kernel has handed over.
    pub fn filled(&self, id: u16, len: usize) -> &[u8] {
        &self.memory[usize::from(id) * BUFFER_BYTES..][..len]
    }

    /// Lends buffer `id` to the kernel again, with the next [`Buffers::publish`].
    pub fn give_back(&mut self, id: u16) {
        let index = usize::from(self.tail & (BUFFERS - 1));
        let address = self.memory[usize::from(id) * BUFFER_BYTES..].as_ptr() as u64;
        // SAFETY: the index is inside the map, and the kernel does not read an entry beyond the published tail.
        let entry = unsafe { &mut *self.entries.as_ptr().add(index) };
        entry.set_addr(address);
        entry.set_len(BUFFER_BYTES as u32);
        entry.set_bid(id);
        self.tail = self.tail.wrapping_add(1);
    }

    /// Shows the kernel all buffers given back so far.
    pub fn publish(&mut self) {
        // SAFETY: the tail lies in the first entry of the map, aligned for 16 bits.
        let tail = unsafe { &*BufRingEntry::tail(self.entries.as_ptr()).cast::<AtomicU16>() };
        tail.store(self.tail, Ordering::Release);
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        // SAFETY: the map was made with this length; its ring is gone, for it is a field declared before this one.
        unsafe { libc::munmap(self.entries.as_ptr().cast(), ring_bytes()) };
    }
}

fn ring_bytes() -> usize {
    usize::from(BUFFERS) * size_of::<BufRingEntry>()
}
