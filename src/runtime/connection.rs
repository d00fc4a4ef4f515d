//! One socket: what it is sending and how it ends. A connection is given up in steps: it is shut down, its operations
//! complete, and only then are its descriptor and its place free, so that no completion can reach a stranger.
#![allow(unsafe_code)]

use super::ring::Ring;
use crate::limits::BUFFERS_PER_TURN_MAX;
use crate::resp::Output;
use std::os::fd::{AsRawFd, OwnedFd};

/// Most pieces of one vectored send.
const PIECES_MAX: usize = 64;

/// One client's socket.
pub struct Connection {
    /// The socket.
    pub socket: OwnedFd,
    /// The turn in which it was served last, and how many buffers of it were.
    served: (u64, u32),
    /// Whether a receive operation is under way.
    pub receiving: bool,
    /// Whether a send operation is under way.
    pub sends: bool,
    /// Whether what is to be sent waits for the log; it counts as a send under way.
    held: bool,
    /// Whether it is being given up.
    pub closing: bool,
    output: Output,
    /// Bytes of `output` that are not sent, pinned values included.
    unsent: usize,
    /// The piece of `output` that is sent next: 2 n is the bytes before pin n, 2 n + 1 the value of pin n.
    piece: usize,
    /// How many bytes of that piece are sent.
    offset: usize,
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
            served: (0, 0),
            receiving: false,
            sends: false,
            held: false,
            closing: false,
            output: Output::default(),
            unsent: 0,
            piece: 0,
            offset: 0,
            message: None,
        }
    }

    /// Whether it has had its share of this turn; else another buffer of it is served. Once it has, it stays so until the
    /// next turn: what one client sends keeps its order.
    pub fn has_had_its_turn(&mut self, turn: u64) -> bool {
        if self.served.0 != turn {
            self.served = (turn, 0);
        }
        self.served.1 += 1;
        self.served.1 > BUFFERS_PER_TURN_MAX
    }

    /// Begins to send `output`. No send may be under way.
    pub fn send(&mut self, output: Output, ring: &mut Ring, index: u32) {
        self.hold(output);
        self.release(ring, index);
    }

    /// Takes `output` to be sent at [`Connection::release`]. No send may be under way.
    pub fn hold(&mut self, output: Output) {
        debug_assert!(!self.sends && self.output.is_empty());
        self.unsent = output.len();
        (self.piece, self.offset) = (0, 0);
        self.output = output;
        (self.sends, self.held) = (true, true);
    }

    /// Begins to send what is held.
    pub fn release(&mut self, ring: &mut Ring, index: u32) {
        if std::mem::take(&mut self.held) {
            self.send_rest(ring, index);
        }
    }

    fn send_rest(&mut self, ring: &mut Ring, index: u32) {
        self.sends = true;
        let socket = self.socket.as_raw_fd();
        if self.output.pins.is_empty() {
            // SAFETY: `output` is left alone while `sends` is set; the heap buffer does not move with `self`.
            unsafe { ring.send(socket, index, &self.output.bytes[self.offset..]) };
            return;
        }
        let message = self.message.get_or_insert_with(|| Box::new(Message::empty()));
        message.fill(&self.output, self.piece, self.offset);
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
            self.advance(result as usize);
            if self.unsent > 0 && !self.closing {
                self.send_rest(ring, index);
                return None;
            }
        }
        self.message = None;
        self.unsent = 0;
        let output = std::mem::take(&mut self.output);
        Some(output.bytes)
    }

    /// Moves on by `count` sent bytes.
    fn advance(&mut self, count: usize) {
        self.unsent -= count;
        self.offset += count;
        while let Some(len) = piece(&self.output, self.piece).map(<[u8]>::len)
            && self.offset >= len
        {
            self.offset -= len;
            self.piece += 1;
        }
    }

    /// Bytes that are to be sent or on their way.
    pub fn unsent_bytes(&self) -> usize {
        self.unsent
    }

    /// Gives the connection up.
    pub fn shut_down(&mut self) {
        // What is held is never sent, and nothing will tell of it.
        if std::mem::take(&mut self.held) {
            (self.sends, self.unsent) = (false, 0);
            self.output = Output::default();
        }
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

    /// Names the pieces of `output` from `first` on, without the `offset` bytes of it that are sent; as many as fit.
    fn fill(&mut self, output: &Output, first: usize, mut offset: usize) {
        let mut count = 0;
        for index in first.. {
            let Some(piece) = piece(output, index) else { break };
            if count == PIECES_MAX {
                break;
            }
            let rest = &piece[offset..];
            offset = 0;
            if !rest.is_empty() {
                self.pieces[count] = libc::iovec { iov_base: rest.as_ptr().cast_mut().cast(), iov_len: rest.len() };
                count += 1;
            }
        }
        self.header.msg_iov = self.pieces.as_mut_ptr();
        self.header.msg_iovlen = count;
    }
}

/// Piece `index` of `output`, in the order in which they are sent.
fn piece(output: &Output, index: usize) -> Option<&[u8]> {
    let pin = index / 2;
    if index % 2 == 1 {
        return output.pins.get(pin).map(|pin| &pin.value[..]);
    }
    let start = if pin == 0 { 0 } else { output.pins.get(pin - 1)?.at };
    let end = output.pins.get(pin).map_or(output.bytes.len(), |pin| pin.at);
    (pin <= output.pins.len()).then(|| &output.bytes[start..end])
}
