//! A piece of a log's file in memory, before it is known to be on disk: batches one behind the other. Where one is cut at the
//! end of a block, a batch goes on in the next.
//!
//! A chunk with blocks lies in memory as in the file: what begins a block there begins one here. So whole blocks can be
//! written from where they are, past the kernel's page cache.

use super::batch::Sealer;

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
    buffer: Vec<u8>,
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
    pub fn new(mut buffer: Vec<u8>, offset: u64, block: usize, capacity: usize, position: u64) -> Self {
        buffer.clear();
        buffer.reserve(capacity + block);
        let begins = (offset % block as u64) as usize;
        let filler = (begins + block - buffer.as_ptr() as usize % block) % block;
        buffer.resize(filler, 0);
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
        self.buffer.resize(len + room, 0);
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

    /// Appends records as a batch, and empties `records`. Without records it is a mark. `position` is theirs.
    pub fn seal(&mut self, records: &mut Vec<u8>, sealer: &mut Sealer, unix_ms: u64, position: u64) {
        let start = self.buffer.len();
        self.buffer.append(records);
        if !sealer.seal(&mut self.buffer, start, unix_ms) {
            sealer.mark(&mut self.buffer, unix_ms);
        }
        let sealed = BatchEnd { sequence: sealer.sequence(), position };
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

    /// Ends where a block does: the rest begins `next`.
    pub fn cut(&mut self, next: &mut Self) {
        let rest = self.behind_blocks();
        if rest > 0 {
            let end = self.buffer.len() - rest;
            next.buffer.extend_from_slice(&self.buffer[end..]);
            self.buffer.truncate(end);
            next.end = std::mem::replace(&mut self.end, self.end_of_blocks);
            next.end_of_blocks = self.end;
        }
    }

    /// Its buffer, for something else.
    pub fn into_buffer(self) -> Vec<u8> {
        self.buffer
    }
}
