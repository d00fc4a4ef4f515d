//! The listening sockets. Each core has its own socket for each TCP address, and the kernel spreads connections over
//! them (SO_REUSEPORT). A second server could join in that way unnoticed, so an address is first bound without it. The
//! Unix socket belongs to the first core.

use super::BootError;
use crate::config::Config;
use crate::runtime::{Listener, ListenerKind};
use crate::stdx::os::{error_text, with_umask};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::fs;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tracing::warn;

/// Everything that is listened on.
pub struct Listening {
    /// The sockets of each core.
    pub cores: Vec<Vec<Listener>>,
    /// The addresses, for people.
    pub names: Vec<String>,
    /// The listeners, as INFO tells them.
    pub descriptions: Vec<String>,
    /// The file of the Unix socket.
    pub socket_path: Option<PathBuf>,
}

/// Opens all sockets that `config` asks for, for this many cores.
pub fn listen(config: &Config, cores: usize) -> Result<Listening, BootError> {
    let mut listening = Listening {
        cores: (0..cores).map(|_| Vec::new()).collect(),
        names: Vec::new(),
        descriptions: Vec::new(),
        socket_path: None,
    };
    if config.port != 0 && !config.bind.is_empty() {
        listen_tcp(config, &mut listening)?;
    }
    if !config.unixsocket.is_empty() {
        listen_unix(config, &mut listening)?;
    }
    if listening.names.is_empty() {
        return Err(BootError("Configured to not listen anywhere, exiting.".into()));
    }
    Ok(listening)
}

fn listen_tcp(config: &Config, listening: &mut Listening) -> Result<(), BootError> {
    let mut description = String::from("name=tcp");
    for address in &config.bind {
        description += &format!(",bind={address}");
        match open_address(address, config, listening.cores.len()) {
            Ok((name, sockets)) => {
                for (core, socket) in listening.cores.iter_mut().zip(sockets) {
                    core.push(Listener { socket: socket.into(), kind: ListenerKind::Tcp });
                }
                listening.names.push(name);
            }
            Err(failure) => {
                let text = unusable(address, config.port, &failure);
                if !failure.may_be_skipped(address.starts_with('-')) {
                    return Err(BootError(text));
                }
                warn!("Warning: {text}");
            }
        }
    }
    if listening.names.is_empty() {
        return Err(BootError(format!("Failed listening on port {} (TCP), aborting.", config.port)));
    }
    listening.descriptions.push(format!("{description},port={}", config.port));
    Ok(())
}

fn unusable(address: &str, port: u16, failure: &Failure) -> String {
    format!("Could not create server TCP listening socket {address}:{port}: {failure}")
}

/// Looks whether this machine has the addresses of `bind`, without listening on them; the error is that of a start. Also
/// what could not be bound only for now, or by this user: a port that is in use or needs a right.
pub fn examine(config: &Config) -> Result<Vec<String>, BootError> {
    let (mut there, mut hindered) = (0, Vec::new());
    if config.port == 0 || config.bind.is_empty() {
        return Ok(hindered);
    }
    for address in &config.bind {
        match examine_address(address, config.port) {
            Ok(hindrance) => {
                there += 1;
                hindered.extend(hindrance.map(|failure| unusable(address, config.port, &failure)));
            }
            Err(failure) if failure.may_be_skipped(address.starts_with('-')) => {}
            Err(failure) => return Err(BootError(unusable(address, config.port, &failure))),
        }
    }
    if there == 0 {
        return Err(BootError(format!("Failed listening on port {} (TCP), aborting.", config.port)));
    }
    Ok(hindered)
}

/// Whether an element of `bind` is an address of this machine; what is in the way of the port there.
fn examine_address(address: &str, port: u16) -> Result<Option<Failure>, Failure> {
    let resolved = resolve(address.trim_start_matches('-'), port);
    let mut address = resolved.map_err(|error| Failure { step: "getaddrinfo", error })?;
    let hindrance = open_tcp(address, 0, false).err();
    // Any port will do to know whether the address is there.
    address.set_port(0);
    open_tcp(address, 0, false).map(|_| hindrance)
}

/// A step of opening a socket that failed.
struct Failure {
    step: &'static str,
    error: io::Error,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.step, error_text(&self.error))
    }
}

impl Failure {
    /// Whether somebody else has the address.
    fn is_in_use(&self) -> bool {
        self.error.kind() == io::ErrorKind::AddrInUse
    }

    /// Whether the server may do without the address: an optional one that the machine does not have, or any of a
    /// family that it does not speak.
    fn may_be_skipped(&self, optional: bool) -> bool {
        match self.error.raw_os_error() {
            Some(libc::EADDRNOTAVAIL) => optional,
            Some(
                libc::ENOPROTOOPT
                | libc::EPROTONOSUPPORT
                | libc::ESOCKTNOSUPPORT
                | libc::EPFNOSUPPORT
                | libc::EAFNOSUPPORT,
            ) => true,
            _ => false,
        }
    }
}

/// How long an address that is taken is tried again.
const TAKEN_WAIT_MAX: Duration = Duration::from_millis(500);

/// A socket for each core at `address`, an element of `bind`, and the address as people write it.
fn open_address(address: &str, config: &Config, cores: usize) -> Result<(String, Vec<Socket>), Failure> {
    let address = resolve(address.trim_start_matches('-'), config.port)
        .map_err(|error| Failure { step: "getaddrinfo", error })?;
    probe(address)?;
    let sockets: Result<_, _> = (0..cores).map(|_| open_tcp(address, config.tcp_backlog, true)).collect();
    Ok((address.to_string(), sockets?))
}

/// Binds `address` for itself alone, to see that nobody else has it. The kernel takes a server's rings apart some
/// milliseconds after the server has died, and their sockets with them: whoever starts it again at once waits for that.
fn probe(address: SocketAddr) -> Result<(), Failure> {
    let started = Instant::now();
    loop {
        match open_tcp(address, 0, false) {
            Err(failure) if failure.is_in_use() && started.elapsed() < TAKEN_WAIT_MAX => {
                std::thread::sleep(Duration::from_millis(10));
            }
            other => return other.map(drop),
        }
    }
}

/// The address that `text` names: a number, `*`, `::*` or a host name.
fn resolve(text: &str, port: u16) -> io::Result<SocketAddr> {
    match text {
        "*" => return Ok((Ipv4Addr::UNSPECIFIED, port).into()),
        "::*" => return Ok((Ipv6Addr::UNSPECIFIED, port).into()),
        _ => {}
    }
    let six = text.contains(':');
    let found = (text, port).to_socket_addrs()?.find(|address| address.is_ipv6() == six);
    found.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "Name or service not known"))
}

fn open_tcp(address: SocketAddr, backlog: u32, shared: bool) -> Result<Socket, Failure> {
    let step = |step| move |error| Failure { step, error };
    let socket =
        Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP)).map_err(step("socket"))?;
    if address.is_ipv6() {
        socket.set_only_v6(true).map_err(step("setsockopt"))?;
    }
    socket.set_reuse_address(true).map_err(step("setsockopt SO_REUSEADDR"))?;
    if shared {
        socket.set_reuse_port(true).map_err(step("setsockopt SO_REUSEPORT"))?;
    }
    // Before it listens: connections inherit it when the kernel makes them, which may be before a core takes them.
    socket.set_tcp_nodelay(true).map_err(step("setsockopt TCP_NODELAY"))?;
    socket.bind(&address.into()).map_err(step("bind"))?;
    if shared {
        socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX)).map_err(step("listen"))?;
    }
    Ok(socket)
}

fn listen_unix(config: &Config, listening: &mut Listening) -> Result<(), BootError> {
    let path = Path::new(&config.unixsocket);
    let socket = open_unix(path, config)
        .map_err(|failure| BootError(format!("Failed opening Unix socket {}: {failure}", path.display())))?;
    let first = listening.cores.first_mut().expect("a server has a core");
    first.push(Listener { socket: socket.into(), kind: ListenerKind::Unix });
    listening.names.push(config.unixsocket.clone());
    listening.descriptions.push(format!("name=unix,bind={}", config.unixsocket));
    // Absolute, so that it is found again whatever becomes of the working directory.
    listening.socket_path = Some(std::path::absolute(path).unwrap_or_else(|_| path.into()));
    Ok(())
}

fn open_unix(path: &Path, config: &Config) -> Result<Socket, Failure> {
    let step = |step| move |error| Failure { step, error };
    remove_stale(path).map_err(step("bind"))?;
    let address = SockAddr::unix(path).map_err(step("bind"))?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(step("socket"))?;
    match config.unixsocketperm {
        0 => socket.bind(&address).map_err(step("bind"))?,
        mode => {
            // With the mask nobody gets in between bind and chmod who should not.
            with_umask(!mode & 0o777, || socket.bind(&address)).map_err(step("bind"))?;
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(step("chmod"))?;
        }
    }
    socket.listen(i32::try_from(config.tcp_backlog).unwrap_or(i32::MAX)).map_err(step("listen"))?;
    Ok(socket)
}

/// Removes the socket that a server has left at `path`, if nobody listens on it. Differs: Redis removes any file.
fn remove_stale(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(found) if !found.file_type().is_socket() => Err(io::Error::from_raw_os_error(libc::EEXIST)),
        Ok(_) => match UnixStream::connect(path) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
            Err(error) => Err(error),
            Ok(_) => Err(io::Error::from_raw_os_error(libc::EADDRINUSE)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn free_port() -> u16 {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
        socket.local_addr().expect("bound").port()
    }

    fn config(bind: &[&str], port: u16) -> Config {
        Config { bind: bind.iter().map(|&address| address.into()).collect(), port, ..Config::default() }
    }

    fn error(config: &Config) -> String {
        match listen(config, 2) {
            Ok(_) => panic!("it listens"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn every_core_has_a_socket_for_every_address() {
        let port = free_port();
        let listening = listen(&config(&["127.0.0.1", "-10.99.99.99", "127.0.0.2"], port), 3).expect("bound");
        assert_eq!(listening.cores.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2, 2]);
        assert_eq!(listening.names, [format!("127.0.0.1:{port}"), format!("127.0.0.2:{port}")]);
        let expected = format!("name=tcp,bind=127.0.0.1,bind=-10.99.99.99,bind=127.0.0.2,port={port}");
        assert_eq!(listening.descriptions, [expected]);
    }

    #[test]
    fn a_port_is_not_shared_with_another_server() {
        let port = free_port();
        let _first = listen(&config(&["127.0.0.1"], port), 2).expect("bound");
        let expected =
            format!("Could not create server TCP listening socket 127.0.0.1:{port}: bind: Address already in use");
        assert_eq!(error(&config(&["127.0.0.1"], port)), expected);
        assert!(error(&config(&["127.0.0.1", "127.0.0.1"], free_port())).contains("Address already in use"));
    }

    #[test]
    fn addresses_that_are_not_there_are_errors_unless_optional() {
        let port = free_port();
        assert!(error(&config(&["10.99.99.99"], port)).contains("Cannot assign requested address"));
        assert!(error(&config(&["-10.99.99.99"], port)).contains("Failed listening on port"));
        assert!(error(&config(&["no such host"], port)).contains("no such host"));
        assert_eq!(error(&config(&[], port)), "Configured to not listen anywhere, exiting.");
        assert_eq!(error(&config(&["127.0.0.1"], 0)), "Configured to not listen anywhere, exiting.");
    }

    #[test]
    fn addresses_are_examined_without_a_start() {
        let port = free_port();
        let examined = |bind: &[&str]| examine(&config(bind, port)).map_err(|error| error.to_string());
        assert_eq!(examined(&["127.0.0.1", "-10.99.99.99", "*"]), Ok(vec![]));
        for bind in [&["10.99.99.99"][..], &["-10.99.99.99"], &["127.0.0.1", "no such host"]] {
            assert_eq!(examined(bind).expect_err("it is not there"), error(&config(bind, port)));
        }
        let _first = listen(&config(&["127.0.0.1"], port), 1).expect("bound");
        let taken = error(&config(&["127.0.0.1"], port));
        assert_eq!(examined(&["127.0.0.1", "127.0.0.2"]), Ok(vec![taken]));
    }

    #[test]
    fn unix_sockets_have_their_permissions_and_replace_only_stale_ones() {
        let path = std::env::temp_dir().join(format!("crimson-listen-{}.sock", std::process::id()));
        let unixsocket = path.to_string_lossy().into_owned();
        let config = Config { port: 0, unixsocket, unixsocketperm: 0o640, ..Config::default() };
        let first = listen(&config, 2).expect("bound");
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o640);
        assert_eq!(first.cores.iter().map(Vec::len).collect::<Vec<_>>(), [1, 0]);
        assert!(error(&config).ends_with("bind: Address already in use"));
        drop(first);
        drop(listen(&config, 1).expect("the stale one is replaced"));
        fs::remove_file(&path).expect("there");
        fs::write(&path, "precious").expect("written");
        assert!(error(&config).ends_with("bind: File exists"));
        assert_eq!(fs::read_to_string(&path).expect("there"), "precious");
        fs::remove_file(&path).expect("there");
    }
}
