//! The network ring: one io_uring per core for all its sockets. One system call a turn submits what the turn has to send
//! and reaps what has happened.
#![allow(unsafe_code)]

use super::buffers::{Buffers, GROUP};
use io_uring::{IoUring, cqueue, opcode, squeue, types};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

/// Entries of the submission queue; a turn that has more submits in between.
const SUBMISSIONS: u32 = 2048;

/// Entries of the completion queue. The kernel keeps what overflows, so this only has to be usually enough.
const COMPLETIONS: u32 = 8192;

/// Most bytes of one send: the kernel counts them in 31 bits.
const SEND_BYTES_MAX: usize = 1 << 30;

/// A send of at most this many bytes nearly always fits in the socket's buffer.
const SEND_INLINE_BYTES_MAX: usize = 64 * 1024;

/// What an operation was for; comes back with its completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    /// A connection came in at a listener.
    Accept(u32),
    /// Bytes came in on a connection.
    Receive(u32),
    /// Bytes went out on a connection.
    Send(u32),
    /// The log was written or synced.
    Log,
    /// The base of a rewrite was written or synced.
    Base,
    /// Another core wants this one to look at its mailbox.
    Wake,
    /// A timer's time is over.
    Timer,
}

impl Token {
    fn encode(self) -> u64 {
        let (kind, index) = match self {
            Self::Accept(index) => (0, index),
            Self::Receive(index) => (1, index),
            Self::Send(index) => (2, index),
            Self::Wake => (3, 0),
            Self::Log => (4, 0),
            Self::Base => (5, 0),
            Self::Timer => (6, 0),
        };
        kind << 32 | u64::from(index)
    }

    fn decode(data: u64) -> Self {
        let index = data as u32;
        match data >> 32 {
            0 => Self::Accept(index),
            1 => Self::Receive(index),
            2 => Self::Send(index),
            4 => Self::Log,
            5 => Self::Base,
            6 => Self::Timer,
            _ => Self::Wake,
        }
    }
}

/// Something has happened.
#[derive(Clone, Copy, Debug)]
pub struct Completion {
    /// What it was for.
    pub token: Token,
    /// Bytes or a descriptor; negative: an error number.
    pub result: i32,
    /// The buffer that holds what was received.
    pub buffer: Option<u16>,
    /// Whether the operation goes on by itself.
    pub more: bool,
}

/// The network ring of one core.
pub struct Ring {
    uring: IoUring,
    /// Sends pushed since the last reaping that are likely to complete while they are submitted.
    sends: usize,
    /// The time of the timer that was pushed last. The kernel reads it when that is submitted.
    timer: Box<types::Timespec>,
    /// Declared behind the ring, so that it is dropped after it.
    pub buffers: Buffers,
}

impl Ring {
    /// Sets up a ring; `event` is signalled on completions while [`Ring::signal_events`] is on.
    pub fn new(event: BorrowedFd<'_>) -> io::Result<Self> {
        let mut uring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_coop_taskrun()
            .setup_taskrun_flag()
            .setup_submit_all()
            .setup_cqsize(COMPLETIONS)
            .build(SUBMISSIONS)?;
        uring.submitter().register_eventfd(event.as_raw_fd())?;
        uring.completion().disable_eventfd();
        let buffers = Buffers::register(&uring.submitter())?;
        Ok(Self { uring, sends: 0, timer: Box::default(), buffers })
    }

    /// The ring's descriptor, by which other cores wake this one.
    pub fn descriptor(&self) -> RawFd {
        self.uring.as_raw_fd()
    }

    fn push(&mut self, entry: &squeue::Entry) {
        // SAFETY: the callers of the private constructors below guarantee what their operations refer to.
        while unsafe { self.uring.submission().push(entry) }.is_err() {
            // A full queue is submitted; an error here shows again, and is handled, at the end of the turn.
            let _ = self.uring.submit();
        }
    }

    /// Accepts connections until told otherwise.
    pub fn accept(&mut self, listener: RawFd, index: u32) {
        let entry = opcode::AcceptMulti::new(types::Fd(listener)).flags(libc::SOCK_CLOEXEC).build();
        self.push(&entry.user_data(Token::Accept(index).encode()));
    }

    /// Receives into the pool's buffers until the connection ends or the pool is empty.
    pub fn receive(&mut self, socket: RawFd, index: u32) {
        let entry = opcode::RecvMulti::new(types::Fd(socket), GROUP).build();
        self.push(&entry.user_data(Token::Receive(index).encode()));
    }

    /// Sends bytes. One completion tells how many.
    ///
    /// # Safety
    /// `bytes` must stay where it is, unchanged, until that completion.
    pub unsafe fn send(&mut self, socket: RawFd, index: u32, bytes: &[u8]) {
        let bytes = &bytes[..bytes.len().min(SEND_BYTES_MAX)];
        self.sends += usize::from(bytes.len() <= SEND_INLINE_BYTES_MAX);
        let entry = opcode::Send::new(types::Fd(socket), bytes.as_ptr(), bytes.len() as u32)
            .flags(libc::MSG_WAITALL | libc::MSG_NOSIGNAL)
            .build();
        self.push(&entry.user_data(Token::Send(index).encode()));
    }

    /// Sends several pieces. One completion tells how many bytes.
    ///
    /// # Safety
    /// `message`, the pieces it names and their bytes must stay where they are, unchanged, until that completion.
    pub unsafe fn send_message(&mut self, socket: RawFd, index: u32, message: &libc::msghdr) {
        let entry = opcode::SendMsg::new(types::Fd(socket), message)
            .flags((libc::MSG_WAITALL | libc::MSG_NOSIGNAL) as u32)
            .build();
        self.push(&entry.user_data(Token::Send(index).encode()));
    }

    /// Writes to a file; if `durable`, the completion comes when it is on disk. One completion tells how many bytes.
    ///
    /// # Safety
    /// `bytes` must stay where it is, unchanged, until that completion.
    pub unsafe fn write_file(&mut self, file: RawFd, offset: u64, bytes: &[u8], durable: bool, token: Token) {
        let flags = if durable { libc::RWF_DSYNC } else { 0 };
        let bytes = &bytes[..bytes.len().min(SEND_BYTES_MAX)];
        let entry = opcode::Write::new(types::Fd(file), bytes.as_ptr(), bytes.len() as u32)
            .offset(offset)
            .rw_flags(flags)
            .build();
        self.push(&entry.user_data(token.encode()));
    }

    /// Forces to disk what has been written to a file.
    pub fn sync_file(&mut self, file: RawFd, token: Token) {
        let entry = opcode::Fsync::new(types::Fd(file)).flags(types::FsyncFlags::DATASYNC).build();
        self.push(&entry.user_data(token.encode()));
    }

    /// Wakes the core that owns the ring `target`.
    pub fn wake(&mut self, target: RawFd) {
        let token = Token::Wake.encode();
        let entry = opcode::MsgRingData::new(types::Fd(target), 0, token, None).build();
        self.push(&entry.flags(squeue::Flags::SKIP_SUCCESS).user_data(token));
    }

    /// Has a completion come after this time, and submits what has been pushed.
    pub fn set_timer(&mut self, after: Duration) -> io::Result<()> {
        *self.timer = types::Timespec::from(after);
        let entry = opcode::Timeout::new(&raw const *self.timer).build();
        self.push(&entry.user_data(Token::Timer.encode()));
        tolerate(self.uring.submit())
    }

    /// Submits what has been pushed, and lets the kernel complete what is ready. Does not wait.
    pub fn turn(&mut self) -> io::Result<()> {
        let count = {
            let mut submission = self.uring.submission();
            submission.sync();
            submission.len() as u32
        };
        const GET_EVENTS: u32 = 1;
        // SAFETY: no signal mask is passed.
        let entered = unsafe { self.uring.submitter().enter::<libc::sigset_t>(count, 0, GET_EVENTS, None) };
        tolerate(entered)
    }

    /// Submits what has been pushed, and waits until something else has happened or `most` is over. A send nearly always
    /// completes while it is submitted, which is nothing to wake up for: those not yet reaped do not count.
    pub fn turn_and_wait(&mut self, most: Duration) -> io::Result<()> {
        let timeout = types::Timespec::from(most);
        let args = types::SubmitArgs::new().timespec(&timeout);
        tolerate(self.uring.submitter().submit_with_args(self.sends + 1, &args))
    }

    /// Whether there is something to submit, or something has happened that the next turn will bring.
    #[inline]
    pub fn has_work(&mut self) -> bool {
        let submission = self.uring.submission();
        let submits = submission.taskrun() || !submission.is_empty();
        drop(submission);
        submits || !self.uring.completion().is_empty()
    }

    /// Whether the kernel has something that the next turn will bring.
    #[inline]
    pub fn has_events(&mut self) -> bool {
        self.uring.submission().taskrun()
    }

    /// Whether more has happened than that sends are over.
    #[inline]
    pub fn has_news(&mut self) -> bool {
        self.uring.completion().len() > self.sends
    }

    /// Moves what has happened into `completions`.
    pub fn reap(&mut self, completions: &mut impl Extend<Completion>) {
        self.sends = 0;
        completions.extend(self.uring.completion().map(|entry| Completion {
            token: Token::decode(entry.user_data()),
            result: entry.result(),
            buffer: cqueue::buffer_select(entry.flags()),
            more: cqueue::more(entry.flags()),
        }));
    }

    /// Whether completions signal the event descriptor: only while the core is parked there.
    pub fn signal_events(&mut self, on: bool) {
        let completion = self.uring.completion();
        if on { completion.enable_eventfd() } else { completion.disable_eventfd() }
    }
}

/// A wait that ended by time or signal, or a kernel that is short of something for a moment, is no error of the ring.
fn tolerate(entered: io::Result<usize>) -> io::Result<()> {
    match entered {
        Ok(_) => Ok(()),
        Err(error) => match error.raw_os_error() {
            Some(libc::ETIME | libc::EINTR | libc::EAGAIN | libc::EBUSY) => Ok(()),
            _ => Err(error),
        },
    }
}
