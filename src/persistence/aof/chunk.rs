//! A piece of a log's file in memory, before it is known to be on disk: batches one behind the other. Where one is cut at the
//! end of a block, a batch goes on in the next.
//!
//! A chunk with blocks lies in memory as in the file: what begins a block there begins one here. So whole blocks can be
//! written from where they are, past the kernel's page cache.

use crate::stdx::buffer::Buffer;

/// The last batch that ends somewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct BatchEnd {
    /// Its number; 0: none does.
    pub sequence: u64,
    /// The position of what was appended with it, as [`super::Writer::positions`] counts.
    pub position: u64,
}

/// A piece of a file.
pub(super) struct Chunk {
    /// Filler, and the bytes.
    buffer: Buffer,
    filler: usize,
    /// Zero bytes behind the others, which are written with them.
    room: usize,
    block: usize,
    /// Where in its block it begins.
    begins: usize,
    /// The last batch that ends in it.
    end: BatchEnd,
    /// The same up to the last end of a block.
    end_of_blocks: BatchEnd,
}

impl Chunk {
    /// An empty one for a place in a file, with room for so many bytes, behind what has this position. `buffer` is not
    /// needed any more.
    pub fn new(mut buffer: Buffer, offset: u64, block: usize, capacity: usize, position: u64) -> Self {
        buffer.truncate(0);
        buffer.reserve(capacity + 2 * block);
        let begins = (offset % block as u64) as usize;
        // There is room for the rest of the block that the last one may leave to it.
        let filler = (block - buffer.as_ptr() as usize % block) % block + begins;
        buffer.extend_with_zeros(filler);
        let end = BatchEnd { sequence: 0, position };
        Self { buffer, filler, room: 0, block, begins, end, end_of_blocks: end }
    }

    /// How many bytes there are.
    pub fn len(&self) -> usize {
        self.buffer.len() - self.filler - self.room
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[self.filler..][..self.len()]
    }

    /// The bytes with the room behind them.
    pub fn bytes_and_room(&self) -> &[u8] {
        &self.buffer[self.filler..]
    }

    /// Has so many zero bytes behind the others, none at first. Nothing may be appended while there are any.
    pub fn set_room(&mut self, room: usize) {
        let len = self.filler + self.len();
        self.buffer.truncate(len);
        self.buffer.extend_with_zeros(room);
        self.room = room;
    }

    /// Bytes of memory for it.
    pub fn held_bytes(&self) -> usize {
        self.buffer.capacity()
    }

    /// The last batch that ends in it.
    pub fn end(&self) -> BatchEnd {
        self.end
    }

    /// Whether it has blocks of this size, and byte `index` lies in memory as in the file.
    pub fn has_blocks(&self, block: usize, index: usize) -> bool {
        let place = self.bytes().as_ptr() as usize + index;
        self.block == block && place % block == (self.begins + index) % block
    }

    /// Appends a batch; `sealed` is its end.
    pub fn append(&mut self, batch: &[u8], sealed: BatchEnd) {
        let start = self.buffer.len();
        self.buffer.extend_from_slice(batch);
        let end = self.len();
        match end.checked_sub(self.behind_blocks()) {
            Some(blocks) if blocks == end => self.end_of_blocks = sealed,
            Some(blocks) if start - self.filler <= blocks => self.end_of_blocks = self.end,
            _ => {}
        }
        self.end = sealed;
    }

    /// Bytes behind the last end of a block.
    pub fn behind_blocks(&self) -> usize {
        (self.begins + self.len()) % self.block
    }

    /// Ends where a block does: the rest begins `next`, which follows it and has blocks of the same size.
    pub fn cut(&mut self, next: &mut Self) {
        let rest = self.behind_blocks();
        if rest == 0 {
            return;
        }
        debug_assert_eq!((next.begins, next.block), (rest, self.block), "the next chunk");
        let end = self.buffer.len() - rest;
        next.filler -= rest;
        next.begins = 0;
        next.buffer[next.filler..][..rest].copy_from_slice(&self.buffer[end..]);
        self.buffer.truncate(end);
        let last = std::mem::replace(&mut self.end, self.end_of_blocks);
        if next.end.sequence == 0 {
            next.end = last;
        }
        if next.end_of_blocks.sequence == 0 {
            next.end_of_blocks = if next.behind_blocks() < next.len() { last } else { self.end };
        }
    }

    /// Its buffer, for something else.
    pub fn into_buffer(self) -> Buffer {
        self.buffer
    }
}
