//! Passwords: every reply around them is that of `redis-server`, and a connection that has not logged in holds little.

use crate::SHARDS;
use crate::support::client::line;
use crate::support::{Client, Server, encode, poll, words};
use std::time::Duration;

const PASSWORD: &str = "correct horse";

/// What clients try, each on a connection of its own, while there is no password.
const WITHOUT_PASSWORD: &[&[&str]] = &[
    &["AUTH", "AUTH a", "AUTH default x", "AUTH DEFAULT x", "AUTH bob x", "AUTH a b c", "CONFIG GET requirepass"],
    &["HELLO 2 AUTH bob x", "HELLO 2 AUTH bob", "HELLO 5 AUTH bob x", "HELLO x AUTH default x", "PING"],
    &["MULTI", "AUTH bob x", "AUTH default x", "AUTH x", "EXEC"],
];

/// The same while there is one.
const WITH_PASSWORD: &[&[&str]] = &[
    &["PING", "GET", "NOSUCH", "GET a", "CLIENT NOSUCH", "CLIENT", "COMMAND", "DEBUG SLEEP 0", "QUIT"],
    &["AUTH", "AUTH a", "AUTH default a", "AUTH bob \"correct horse\"", "AUTH a b c", "AUTH \"\"", "PING"],
    &[
        "AUTH \"correct hors\"",
        "AUTH \"correct horse \"",
        "AUTH \"Correct horse\"",
        "AUTH \"correct horse\\x00\"",
        "PING",
    ],
    &["HELLO", "HELLO 2", "HELLO 3", "HELLO 4", "HELLO x", "HELLO 3 AUTH default a", "PING"],
    &["HELLO 3 SETNAME x", "HELLO 2 AUTH default x SETNAME x", "HELLO 2 AUTH bob x SETNAME x", "PING", "RESET"],
    &["RESET", "MULTI", "EXEC", "DISCARD", "WATCH a", "UNWATCH", "SUBSCRIBE a", "PUBLISH a b", "RESET x", "QUIT x"],
    &["AUTH \"correct horse\"", "PING", "AUTH wrong", "PING", "AUTH bob x", "GET a", "RESET", "PING", "RESET"],
    &["AUTH default \"correct horse\"", "MULTI", "AUTH wrong", "AUTH \"correct horse\"", "PING", "EXEC", "PING"],
    &["AUTH \"correct horse\"", "MULTI", "HELLO 2 AUTH default wrong", "EXEC", "MULTI", "RESET", "EXEC", "PING"],
    &["AUTH \"correct horse\"", "SUBSCRIBE a", "AUTH \"correct horse\"", "HELLO 3", "PING", "RESET", "PING", "AUTH x"],
    &["AUTH \"correct horse\"", "CONFIG GET requirepass", "CONFIG GET require*", "CLIENT SETNAME me", "CLIENT GETNAME"],
];

/// Runs every script on both servers and lists what is answered otherwise.
fn differences(oracle: &Server, subject: &Server, scripts: &[&[&str]]) -> Vec<String> {
    let mut wrong = Vec::new();
    for script in scripts {
        let (mut theirs, mut ours) = (oracle.client(), subject.client());
        for command in *script {
            let ask = |client: &mut Client| client.try_call(&words(command)).map(|(_, raw)| raw).unwrap_or_default();
            let (theirs, ours) = (ask(&mut theirs), ask(&mut ours));
            if theirs != ours {
                let (theirs, ours) = (theirs.escape_ascii(), ours.escape_ascii());
                wrong.push(format!(
                    "{}: {command} of {script:?}\n  redis:   {theirs}\n  crimson: {ours}",
                    subject.name()
                ));
            }
        }
    }
    wrong
}

/// A connection that has logged in.
fn logged_in(server: &Server, password: &str) -> Client {
    let mut client = server.client();
    assert_eq!(client.call(&["AUTH", password]).text(), "OK");
    client
}

#[test]
fn every_reply_is_that_of_redis() {
    let oracle = Server::redis(&[]);
    let mut wrong = Vec::new();
    for shards in SHARDS {
        let subject = Server::subject(shards, &[]);
        wrong.extend(differences(&oracle, &subject, WITHOUT_PASSWORD));
        let mut admins = [&oracle, &subject].map(Server::client);
        for admin in &mut admins {
            assert_eq!(admin.call(&["CONFIG", "SET", "requirepass", PASSWORD]).text(), "OK");
            assert_eq!(admin.run("PING").text(), "PONG", "who was there before stays logged in");
        }
        wrong.extend(differences(&oracle, &subject, WITH_PASSWORD));
        for admin in &mut admins {
            assert_eq!(admin.call(&["CONFIG", "SET", "requirepass", ""]).text(), "OK");
        }
        wrong.extend(differences(&oracle, &subject, WITHOUT_PASSWORD));
    }
    assert!(wrong.is_empty(), "{} replies differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn a_change_concerns_those_who_come_after_it() {
    for shards in SHARDS {
        let server = Server::subject(shards, &["--requirepass", "first"]);
        let mut early: Vec<Client> = (0..6).map(|_| logged_in(&server, "first")).collect();
        let mut strangers: Vec<Client> = (0..6).map(|_| server.client()).collect();
        assert_eq!(early[0].run("CONFIG SET requirepass second").text(), "OK");
        assert!(early.iter_mut().all(|client| client.run("PING").text() == "PONG"));
        for stranger in &mut strangers {
            assert_eq!(stranger.show("PING"), "(error) NOAUTH Authentication required.");
            assert_eq!(
                stranger.show("AUTH first"),
                "(error) WRONGPASS invalid username-password pair or user is disabled."
            );
        }
        assert_eq!(strangers[0].run("AUTH second").text(), "OK");
        // Without a password strangers may do everything, and are strangers again when there is one.
        assert_eq!(early[0].call(&["CONFIG", "SET", "requirepass", ""]).text(), "OK");
        assert!(strangers.iter_mut().all(|client| client.run("PING").text() == "PONG"));
        assert_eq!(early[0].run("CONFIG SET requirepass third").text(), "OK");
        assert_eq!(strangers[0].show("PING"), "PONG");
        assert!(strangers[1..].iter_mut().all(|client| client.run("PING").is_error()));
    }
}

/// A password holds for what stands behind it in the same packet, also for requests that a stranger may not send.
#[test]
fn a_pipeline_may_begin_with_the_password() {
    for shards in SHARDS {
        let server = Server::subject(shards, &["--requirepass", PASSWORD]);
        let mut client = server.client();
        let many: Vec<String> =
            ["MSET".to_string()].into_iter().chain((0..40).map(|n| format!("k{}", n / 2))).collect();
        let large = encode(&["SET", "large", &"x".repeat(100_000)]);
        client.send(
            &[encode(&["PING"]), encode(&["AUTH", PASSWORD]), encode(&many), large, encode(&["DBSIZE"])].concat(),
        );
        let replies: Vec<String> = (0..5).map(|_| client.read().to_string()).collect();
        assert_eq!(replies, ["(error) NOAUTH Authentication required.", "OK", "OK", "OK", "(integer) 21"]);
        // A password that is set is asked for at once.
        client.send(
            &[encode(&["CONFIG", "SET", "requirepass", "x"]), encode(&["AUTH", "x"]), encode(&["RESET"])].concat(),
        );
        client.send(&encode(&["PING"]));
        let replies: Vec<String> = (0..4).map(|_| client.read().to_string()).collect();
        assert_eq!(replies, ["OK", "OK", "RESET", "(error) NOAUTH Authentication required."]);
    }
}

#[test]
fn strangers_may_send_little() {
    let arguments = ["--requirepass", PASSWORD];
    let oracle = Server::redis(&arguments);
    let bulk = |len: usize| format!("*2\r\n$4\r\nECHO\r\n${len}\r\n{}\r\n", "x".repeat(len)).into_bytes();
    let inputs: [Vec<u8>; 6] = [
        encode(&["DEL"; 10]),
        b"*11\r\n".to_vec(),
        b"*1000000000\r\n".to_vec(),
        bulk(16384),
        b"*2\r\n$4\r\nECHO\r\n$16385\r\n".to_vec(),
        [encode(&["RESET"]), b"*11\r\n".to_vec()].concat(),
    ];
    for shards in SHARDS {
        let subject = Server::subject(shards, &arguments);
        for input in &inputs {
            let [theirs, ours] = [&oracle, &subject].map(|server| {
                let mut client = server.client();
                client.send(input);
                client.tcp().shutdown(std::net::Shutdown::Write).expect("connected");
                client.read_to_end()
            });
            assert!(!ours.is_empty());
            let (theirs, ours) = (theirs.escape_ascii().to_string(), ours.escape_ascii().to_string());
            assert_eq!(ours, theirs, "{}", line(&[input[..input.len().min(60)].to_vec()]));
        }
        // Limits end with the login.
        let mut client = logged_in(&subject, PASSWORD);
        client.send(&bulk(1 << 20));
        assert_eq!(client.read().bytes().len(), 1 << 20);
    }
}

/// What a stranger has sent and may not be run yet is bounded, too.
#[test]
fn strangers_have_no_room_to_wait_in() {
    for shards in SHARDS {
        let server = Server::subject(shards, &["--requirepass", PASSWORD]);
        let mut admin = logged_in(&server, PASSWORD);
        assert_eq!(admin.run("CLIENT PAUSE 1500").text(), "OK");
        let mut stranger = server.client();
        let piece = encode(&["HELLO", &"x".repeat(10_000)]);
        let refused = (0..2000).any(|_| stranger.try_send(&piece).is_err());
        assert!(refused, "20 MB were taken from a stranger");
        let mut friend = server.client();
        friend.send(&[encode(&["AUTH", PASSWORD]), encode(&["PING"])].concat());
        assert_eq!(friend.read().text(), "OK");
        assert_eq!(friend.read().text(), "PONG");
    }
}

/// Many strangers with requests that never end take little memory: the data would have to give way to them.
#[test]
fn strangers_hold_little() {
    // So many that what the allocator keeps for each core's thread, some megabytes for a while, is little beside.
    const STRANGERS: u64 = 1000;
    for shards in SHARDS {
        let server = Server::subject(shards, &["--requirepass", PASSWORD]);
        let mut admin = logged_in(&server, PASSWORD);
        let mut info = |field: &str| {
            let text = admin.run("INFO everything").text();
            let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')).expect("INFO has it");
            line.trim().parse::<u64>().expect("a number")
        };
        let before = info("used_memory");
        let argument = format!("$16384\r\n{}\r\n", "x".repeat(16384));
        // One that could be a password, and one that is more.
        let requests =
            [format!("*2\r\n$4\r\nAUTH\r\n{}", &argument[..16000]), format!("*10\r\n{}", argument.repeat(9))];
        let mut strangers: Vec<Client> = (0..STRANGERS).map(|_| server.client()).collect();
        for (number, stranger) in strangers.iter_mut().enumerate() {
            // It is closed while it is still sending.
            let _ = stranger.try_send(requests[number % 2].as_bytes());
        }
        // Those that are closed are gone when nothing of theirs is under way any more.
        let others = || (info("connected_clients") == STRANGERS / 2 + 1).then_some(());
        assert!(poll(Duration::from_secs(20), others).is_some());
        assert!(strangers.iter_mut().skip(1).step_by(2).all(Client::is_closed));
        let held = info("used_memory").saturating_sub(before) / STRANGERS;
        println!("{}: {held} bytes each", server.name());
        assert!(held < 40 * 1024, "{held} bytes each");
        strangers[0].send(&argument.as_bytes()[16000..]);
        assert!(strangers[0].read().is_error());
    }
}

/// A stranger that sends and does not read is closed before its replies take memory.
#[test]
fn strangers_that_do_not_read_are_closed() {
    for shards in SHARDS {
        let server = Server::subject(shards, &["--requirepass", PASSWORD]);
        let mut admin = logged_in(&server, PASSWORD);
        let mut deaf = server.client();
        let junk = b"x\n".repeat(8 * 1024);
        let refused = poll(Duration::from_secs(20), || deaf.try_send(&junk).is_err().then_some(()));
        assert!(refused.is_some(), "it is still answered");
        assert!(admin.run("CLIENT LIST").text().lines().count() <= 2);
        // The same client is served when it has logged in.
        let mut friend = logged_in(&server, PASSWORD);
        friend.send(&encode(&["NOSUCH"]).repeat(10_000));
        assert!((0..10_000).all(|_| friend.read().is_error()));
    }
}

/// Protected mode is for those who have set no password.
#[test]
fn with_a_password_protected_mode_lets_everybody_in() {
    let Some(outside) = outside_address() else { return };
    for shards in SHARDS {
        let server = Server::subject(shards, &["--bind", "*"]);
        let connect = || Client::try_connect_to((outside, server.port)).expect("it listens on every address");
        let denied = connect().read_to_end();
        assert!(denied.starts_with(b"-DENIED Redis is running in protected mode"), "{}", denied.escape_ascii());
        assert_eq!(server.client().run("CONFIG SET requirepass pw").text(), "OK");
        let mut client = connect();
        assert_eq!(client.show("PING"), "(error) NOAUTH Authentication required.");
        assert_eq!(client.run("AUTH pw").text(), "OK");
        assert_eq!(client.run("PING").text(), "PONG");
    }
}

/// An address of this machine that is not one of the loopback interface, if it has one: no packet is sent to find it.
fn outside_address() -> Option<std::net::IpAddr> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then_some(address)
}
