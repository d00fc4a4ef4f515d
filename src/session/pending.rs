//! Replies in order: a client's replies leave in the order of its requests, whatever order the shards answer in.
//!
//! Requests are numbered. The number at the head is the one whose reply may go to the output; a reply that comes before
//! its turn is held. All held replies of a session lie in one buffer, which is emptied when the last of them has left.

use crate::resp::Output;
use std::collections::VecDeque;

enum Slot {
    Waiting,
    Held { start: usize, end: usize, pins: Vec<crate::resp::reply::Pin> },
}

/// Requests of one session whose replies have not reached its output.
#[derive(Default)]
pub struct Pending {
    inner: Option<Box<Inner>>,
}

#[derive(Default)]
struct Inner {
    head: u32,
    slots: VecDeque<Slot>,
    /// How many of the slots are waiting.
    waiting: usize,
    held: Vec<u8>,
    /// Bytes of values pinned in held replies.
    pinned: usize,
}

impl Pending {
    /// Whether every reply so far has reached the output.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.inner.as_ref().is_none_or(|inner| inner.slots.is_empty())
    }

    /// How many replies have not.
    pub fn len(&self) -> usize {
        self.inner.as_ref().map_or(0, |inner| inner.slots.len())
    }

    /// How many replies are not there yet; the others wait for those.
    pub fn waiting(&self) -> usize {
        self.inner.as_ref().map_or(0, |inner| inner.waiting)
    }

    /// Bytes of replies that wait for their turn.
    pub fn held_bytes(&self) -> usize {
        self.inner.as_ref().map_or(0, |inner| inner.held.len() + inner.pinned)
    }

    /// Bytes that all this takes.
    pub fn memory_bytes(&self) -> usize {
        let of = |inner: &Inner| inner.held.capacity() + inner.pinned + inner.slots.capacity() * size_of::<Slot>();
        self.inner.as_deref().map_or(0, of)
    }

    /// Registers a request that is answered later; its number.
    pub fn expect(&mut self) -> u32 {
        let inner = self.inner.get_or_insert_default();
        inner.slots.push_back(Slot::Waiting);
        inner.waiting += 1;
        inner.head.wrapping_add(inner.slots.len() as u32 - 1)
    }

    /// Takes the reply to request `number`: into `output` when its turn has come, with all held replies that follow.
    pub fn complete(&mut self, number: u32, reply: &[u8], pins: Vec<crate::resp::reply::Pin>, output: &mut Output) {
        let Some(inner) = self.inner.as_mut() else { return };
        let index = number.wrapping_sub(inner.head) as usize;
        if index == 0 {
            append(output, reply, pins);
            inner.slots.pop_front();
            inner.waiting -= 1;
            inner.head = inner.head.wrapping_add(1);
            inner.release(output);
        } else if let Some(slot) = inner.slots.get_mut(index) {
            let start = inner.held.len();
            inner.held.extend_from_slice(reply);
            inner.pinned += pins.iter().map(|pin| pin.value.len()).sum::<usize>();
            inner.waiting -= 1;
            *slot = Slot::Held { start, end: inner.held.len(), pins };
        }
    }
}

impl Inner {
    fn release(&mut self, output: &mut Output) {
        while let Some(Slot::Held { .. }) = self.slots.front() {
            let Some(Slot::Held { start, end, pins }) = self.slots.pop_front() else { unreachable!("just seen") };
            append(output, &self.held[start..end], pins);
            self.head = self.head.wrapping_add(1);
        }
        if self.slots.is_empty() {
            self.held.clear();
            self.pinned = 0;
            self.held.shrink_to(64 * 1024);
        }
    }
}

fn append(output: &mut Output, reply: &[u8], pins: Vec<crate::resp::reply::Pin>) {
    let base = output.bytes.len();
    output.bytes.extend_from_slice(reply);
    output.pins.extend(pins.into_iter().map(|pin| crate::resp::reply::Pin { at: base + pin.at, ..pin }));
}
