//! One socket: what it is sending and how it ends. A connection is given up in steps: it is shut down, its operations
//! complete, and only then are its descriptor and its place free, so that no completion can reach a stranger.
#![allow(unsafe_code)]

use super::ring::Ring;
use crate::resp::Output;
use std::os::fd::{AsRawFd, OwnedFd};

/// Most pieces of one vectored send.
const PIECES_MAX: usize = 64;

/// One client's socket.
pub struct Connection {
    /// The socket.
    pub socket: OwnedFd,
    /// Whether a receive operation is under way.
    pub receiving: bool,
    /// Whether a send operation is under way.
    pub sends: bool,
    /// Whether it is being given up.
    pub closing: bool,
    /// Close it when everything is sent.
    pub last_words: bool,
    output: Output,
    /// How many bytes of `output`, pinned values included, are sent.
    sent: usize,
    message: Option<Box<Message>>,
}

/// The kernel reads this while a vectored send is under way.
struct Message {
    header: libc::msghdr,
    pieces: [libc::iovec; PIECES_MAX],
}

impl Connection {
    /// A connection that neither receives nor sends yet.
    pub fn new(socket: OwnedFd) -> Self {
        Self {
            socket,
            receiving: false,
            sends: false,
            closing: false,
            last_words: false,
            output: Output::default(),
            sent: 0,
            message: None,
        }
    }

    /// Begins to send `output`. No send may be under way.
    pub fn send(&mut self, output: Output, ring: &mut Ring, index: u32) {
        debug_assert!(!self.sends && self.output.is_empty());
        self.output = output;
        self.sent = 0;
        self.send_rest(ring, index);
    }

    fn send_rest(&mut self, ring: &mut Ring, index: u32) {
        self.sends = true;
        let socket = self.socket.as_raw_fd();
        if self.output.pins.is_empty() {
            // SAFETY: `output` is left alone while `sends` is set; the heap buffer does not move with `self`.
            unsafe { ring.send(socket, index, &self.output.bytes[self.sent..]) };
            return;
        }
        let message = self.message.get_or_insert_with(|| Box::new(Message::empty()));
        message.fill(&self.output, self.sent);
        // SAFETY: `message` is boxed, and it and `output` are left alone while `sends` is set.
        unsafe { ring.send_message(socket, index, &message.header) };
    }

    /// Takes the result of a send: `None` while more of it is on its way, else the buffer that is free again. An error
    /// gives the connection up.
    pub fn sent(&mut self, result: i32, ring: &mut Ring, index: u32) -> Option<Vec<u8>> {
        self.sends = false;
        if result < 0 {
            self.shut_down();
        } else {
            self.sent += result as usize;
            if self.sent < self.output.len() && !self.closing {
                self.send_rest(ring, index);
                return None;
            }
        }
        self.message = None;
        self.sent = 0;
        let output = std::mem::take(&mut self.output);
        Some(output.bytes)
    }

    /// Bytes that are to be sent or on their way.
    pub fn unsent_bytes(&self) -> usize {
        self.output.len() - self.sent
    }

    /// Gives the connection up.
    pub fn shut_down(&mut self) {
        if !self.closing {
            self.closing = true;
            super::socket::shutdown(&self.socket);
        }
    }

    /// Whether nothing of it is under way any more.
    pub fn is_over(&self) -> bool {
        self.closing && !self.receiving && !self.sends
    }
}

impl Message {
    fn empty() -> Self {
        // SAFETY: a message header of zeroes is valid: no name, no pieces, no control data.
        let header = unsafe { std::mem::zeroed() };
        let nothing = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
        Self { header, pieces: [nothing; PIECES_MAX] }
    }

    /// Names the pieces of `output` behind its first `skip` bytes, as many as fit.
    fn fill(&mut self, output: &Output, mut skip: usize) {
        let mut count = 0;
        let mut add = |piece: &[u8]| {
            if skip >= piece.len() {
                skip -= piece.len();
            } else if count < PIECES_MAX {
                let rest = &piece[skip..];
                self.pieces[count] = libc::iovec { iov_base: rest.as_ptr().cast_mut().cast(), iov_len: rest.len() };
                count += 1;
                skip = 0;
            }
        };
        let mut start = 0;
        for pin in &output.pins {
            add(&output.bytes[start..pin.at]);
            add(&pin.value);
            start = pin.at;
        }
        add(&output.bytes[start..]);
        self.header.msg_iov = self.pieces.as_mut_ptr();
        self.header.msg_iovlen = count;
    }
}
