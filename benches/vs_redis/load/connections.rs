//! Connections of a load to one server: written to and read from by one thread, which epoll tells who has something.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

/// How long a server may say nothing before the load gives up.
const SILENCE: Duration = Duration::from_secs(30);

/// Bytes read at once.
const READ_BYTES: usize = 256 * 1024;

/// Open connections, known by their place in the order in which they were opened.
pub struct Connections {
    streams: Vec<TcpStream>,
    epoll: OwnedFd,
    events: Vec<libc::epoll_event>,
    buffer: Vec<u8>,
}

#[allow(unsafe_code, reason = "there is no safe binding for epoll")]
impl Connections {
    /// Opens `count` connections to a port of this machine.
    pub fn open(port: u16, count: usize) -> Self {
        // SAFETY: no memory is involved.
        let epoll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        assert!(epoll >= 0, "epoll_create1: {}", std::io::Error::last_os_error());
        // SAFETY: it has just been made and belongs to nobody else.
        let epoll = unsafe { OwnedFd::from_raw_fd(epoll) };
        let streams: Vec<TcpStream> = (0..count).map(|_| connect(port)).collect();
        for (place, stream) in streams.iter().enumerate() {
            let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: place as u64 };
            // SAFETY: the pointer is to a live event, both descriptors are open.
            let done =
                unsafe { libc::epoll_ctl(epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, stream.as_raw_fd(), &raw mut event) };
            assert_eq!(done, 0, "epoll_ctl: {}", std::io::Error::last_os_error());
        }
        let events = vec![libc::epoll_event { events: 0, u64: 0 }; count.max(1)];
        Self { streams, epoll, events, buffer: vec![0; READ_BYTES] }
    }

    /// Waits until there is something to read; puts into `ready` on which connections.
    pub fn wait(&mut self, ready: &mut Vec<usize>) {
        let (room, patience) = (self.events.len() as i32, SILENCE.as_millis() as i32);
        // SAFETY: the pointer is to `room` live events.
        let count = unsafe { libc::epoll_wait(self.epoll.as_raw_fd(), self.events.as_mut_ptr(), room, patience) };
        let interrupted = count < 0 && std::io::Error::last_os_error().kind() == std::io::ErrorKind::Interrupted;
        assert!(count > 0 || interrupted, "the server says nothing for {SILENCE:?}");
        ready.clear();
        ready.extend(self.events[..count.max(0) as usize].iter().map(|event| event.u64 as usize));
    }

    /// What has come on a connection that [`Self::wait`] has named.
    pub fn read(&mut self, place: usize) -> &[u8] {
        let got = self.streams[place].read(&mut self.buffer).unwrap_or_else(|error| panic!("cannot read: {error}"));
        assert!(got > 0, "the server has closed a connection");
        &self.buffer[..got]
    }

    /// Sends all of `bytes`.
    pub fn send(&mut self, place: usize, bytes: &[u8]) {
        self.streams[place].write_all(bytes).unwrap_or_else(|error| panic!("cannot write: {error}"));
    }
}

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap_or_else(|error| panic!("cannot connect: {error}"));
    stream.set_nodelay(true).expect("a connected socket takes the option");
    stream.set_read_timeout(Some(SILENCE)).expect("a timeout above zero");
    stream.set_write_timeout(Some(SILENCE)).expect("a timeout above zero");
    stream
}
