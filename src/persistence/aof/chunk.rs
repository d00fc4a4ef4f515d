//! A piece of a log's file in memory, before it is known to be on disk: batches one behind the other. Where one is cut at the
//! end of a block, a batch goes on in the next.
//!
//! A chunk with blocks lies in memory as in the file: what begins a block there begins one here. So whole blocks can be
//! written from where they are, past the kernel's page cache.

use super::batch::Sealer;

/// A piece of a file.
pub(super) struct Chunk {
    /// Filler, and the bytes.
    buffer: Vec<u8>,
    filler: usize,
    block: usize,
    /// Where in its block it begins.
    begins: usize,
    /// The number of the last batch that ends in it.
    sequence: u64,
    /// The same up to the last end of a block.
    sequence_of_blocks: u64,
}

impl Chunk {
    /// An empty one for a place in a file, with room for so many bytes. `buffer` is not needed any more.
    pub fn new(mut buffer: Vec<u8>, offset: u64, block: usize, capacity: usize) -> Self {
        buffer.clear();
        buffer.reserve(capacity + block);
        let begins = (offset % block as u64) as usize;
        let filler = (begins + block - buffer.as_ptr() as usize % block) % block;
        buffer.resize(filler, 0);
        Self { buffer, filler, block, begins, sequence: 0, sequence_of_blocks: 0 }
    }

    /// How many bytes there are.
    pub fn len(&self) -> usize {
        self.buffer.len() - self.filler
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[self.filler..]
    }

    /// Bytes of memory for it.
    pub fn held_bytes(&self) -> usize {
        self.buffer.capacity()
    }

    /// The number of the last batch that ends in it; 0: none does.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Whether it has blocks of this size, and byte `index` lies in memory as in the file.
    pub fn has_blocks(&self, block: usize, index: usize) -> bool {
        let place = self.bytes().as_ptr() as usize + index;
        self.block == block && place % block == (self.begins + index) % block
    }

    /// Appends records as a batch, and empties `records`.
    pub fn seal(&mut self, records: &mut Vec<u8>, sealer: &mut Sealer, unix_ms: u64) {
        let start = self.buffer.len();
        self.buffer.append(records);
        sealer.seal(&mut self.buffer, start, unix_ms);
        let end = self.len();
        match end.checked_sub(self.behind_blocks()) {
            Some(blocks) if blocks == end => self.sequence_of_blocks = sealer.sequence(),
            Some(blocks) if start - self.filler <= blocks => self.sequence_of_blocks = self.sequence,
            _ => {}
        }
        self.sequence = sealer.sequence();
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
            next.sequence = std::mem::replace(&mut self.sequence, self.sequence_of_blocks);
        }
    }

    /// Its buffer, for something else.
    pub fn into_buffer(self) -> Vec<u8> {
        self.buffer
    }
}
