//! The few system calls on sockets and event descriptors that have no safe wrapper elsewhere.
#![allow(unsafe_code)]

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

/// A new event descriptor, not blocking for writers.
pub fn eventfd() -> io::Result<OwnedFd> {
    // SAFETY: no pointer is passed.
    let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor has just been made and belongs to nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Adds one to an event descriptor.
pub fn signal(event: &OwnedFd) {
    let one = 1u64.to_ne_bytes();
    // SAFETY: the buffer is valid for its eight bytes.
    let written = unsafe { libc::write(event.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    debug_assert_eq!(written, 8, "an event counter does not overflow");
}

/// Takes a descriptor that the kernel has just returned.
pub fn adopt(fd: i32) -> OwnedFd {
    debug_assert!(fd >= 0);
    // SAFETY: an accept completion hands over its descriptor exactly once.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Ends both directions of a connection, so that whatever waits on it ends too.
pub fn shutdown(socket: &OwnedFd) {
    // SAFETY: no pointer is passed. An error means that the connection is gone already.
    unsafe { libc::shutdown(socket.as_raw_fd(), libc::SHUT_RDWR) };
}

/// Lets the close of a connection reset it: a client that is stuck in sending learns of it at once.
pub fn reset_on_close(socket: &OwnedFd) {
    // An error means that the connection is gone already.
    let _ = socket2::SockRef::from(socket).set_linger(Some(std::time::Duration::ZERO));
}

/// Sends what fits at once, for a last word to a connection that is not served.
pub fn send_now(socket: &OwnedFd, text: &[u8]) {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: the buffer is valid for its length.
    unsafe { libc::send(socket.as_raw_fd(), text.as_ptr().cast(), text.len(), flags) };
}

/// Keep-alive probes after `seconds` of silence, as Redis sets them; 0: none. Accepted sockets inherit it.
pub fn set_keepalive(socket: &impl AsFd, seconds: u32) -> io::Result<()> {
    let socket = socket2::SockRef::from(socket);
    if seconds == 0 {
        return socket.set_keepalive(false);
    }
    let interval = std::time::Duration::from_secs(u64::from((seconds / 3).max(1)));
    let idle = std::time::Duration::from_secs(u64::from(seconds));
    let keepalive = socket2::TcpKeepalive::new().with_time(idle).with_interval(interval).with_retries(3);
    socket.set_tcp_keepalive(&keepalive)
}

/// The seconds and nanoseconds since the epoch, as milliseconds.
pub fn now_ms() -> i64 {
    let mut time = MaybeUninit::<libc::timespec>::uninit();
    // SAFETY: the clock exists on every Linux and the pointer is valid.
    unsafe { libc::clock_gettime(libc::CLOCK_REALTIME, time.as_mut_ptr()) };
    // SAFETY: the call has filled it in.
    let time = unsafe { time.assume_init() };
    time.tv_sec * 1000 + time.tv_nsec / 1_000_000
}
