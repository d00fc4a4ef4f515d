//! How clients leave: whoever has been told that a client is gone does not meet it again, on whatever core.

use crate::support::{Client, Server, encode, poll};
use std::io::Read;
use std::net::Shutdown;
use std::time::Duration;

const SHARDS: [usize; 3] = [1, 2, 4];

/// Clients that look at what is left, on all cores.
struct Witnesses {
    clients: Vec<Client>,
    asked: usize,
}

impl Witnesses {
    fn of(server: &Server) -> Self {
        Self { clients: (0..8).map(|_| server.client()).collect(), asked: 0 }
    }

    /// One of them finds no trace of a client that has left.
    fn find_nobody(&mut self, what: &str) {
        self.asked += 1;
        let present = format!("connected_clients:{}\r\n", self.clients.len());
        let (asked, count) = (self.asked, self.clients.len());
        let witness = &mut self.clients[asked % count];
        for command in ["PUBLISH news after", "SPUBLISH part after", "PUBSUB NUMPAT"] {
            assert_eq!(witness.run(command).integer(), 0, "{what}: {command}");
        }
        let (info, list) = (witness.run("INFO").text(), witness.run("CLIENT LIST").text());
        let lines = [
            &present[..],
            "pubsub_channels:0\r\n",
            "pubsub_patterns:0\r\n",
            "pubsubshard_channels:0\r\n",
            "tracking_clients:0\r\n",
        ];
        for line in lines {
            assert!(info.contains(line), "{what}: no {line:?} in {info}");
        }
        assert!(!list.contains(" name=leaver "), "{what}: {list}");
    }
}

/// A client that stands in every registry there is.
fn leaver(server: &Server) -> Client {
    let mut client = server.client().with_protocol(3);
    for command in
        ["CLIENT SETNAME leaver", "CLIENT TRACKING ON BCAST NOLOOP PREFIX watched", "SET watched 1", "WATCH watched"]
    {
        client.run(command);
    }
    for command in ["SUBSCRIBE news", "PSUBSCRIBE n*", "SSUBSCRIBE part"] {
        assert!(client.run(command).elements()[0].text().ends_with("subscribe"));
    }
    client
}

/// All that is left to read until the connection is closed; nothing of it was published after that was known.
fn read_to_the_end(client: &mut Client) {
    let rest = client.read_to_end();
    assert!(!rest.windows(5).any(|word| word == b"after"), "{}", rest.escape_ascii());
}

fn end_all(leave: impl Fn(&Server, &mut Client, &mut Witnesses), what: &str, flags: &[&str]) {
    for shards in SHARDS {
        let server = Server::subject(shards, flags);
        let mut witnesses = Witnesses::of(&server);
        for _ in 0..24 {
            let mut client = leaver(&server);
            leave(&server, &mut client, &mut witnesses);
            witnesses.find_nobody(&format!("{what}, {shards} shards"));
        }
    }
}

#[test]
fn a_client_that_has_quit_is_not_met_again() {
    let leave = |_: &Server, client: &mut Client, _: &mut Witnesses| {
        client.send(&encode(&["QUIT"]));
        assert_eq!(client.read().text(), "OK");
    };
    end_all(leave, "QUIT", &[]);
}

#[test]
fn a_client_that_was_killed_is_not_met_again() {
    let leave = |_: &Server, client: &mut Client, witnesses: &mut Witnesses| {
        let id = client.run("CLIENT ID").integer();
        let killer = &mut witnesses.clients[id as usize % 8];
        assert_eq!(killer.run(&format!("CLIENT KILL ID {id}")).integer(), 1);
    };
    end_all(leave, "CLIENT KILL", &[]);
    let leave = |_: &Server, client: &mut Client, witnesses: &mut Witnesses| {
        let id = client.run("CLIENT ID").integer();
        let killer = &mut witnesses.clients[id as usize % 8];
        killer.send(&encode(&["CLIENT", "KILL", "ID", &id.to_string()]));
        read_to_the_end(client);
        assert_eq!(killer.read().integer(), 1);
    };
    end_all(leave, "the end that a killed client reads", &[]);
    // Of its own accord, with a reply.
    let leave = |_: &Server, client: &mut Client, _: &mut Witnesses| {
        let id = client.run("CLIENT ID").integer();
        assert_eq!(client.run(&format!("CLIENT KILL ID {id} SKIPME NO")).integer(), 1);
    };
    end_all(leave, "CLIENT KILL of itself", &[]);
}

#[test]
fn a_killed_subscriber_hears_nothing_more() {
    for shards in SHARDS {
        let server = Server::subject(shards, &[]);
        let mut witnesses = Witnesses::of(&server);
        for _ in 0..24 {
            let mut client = leaver(&server);
            let id = client.run("CLIENT ID").integer();
            assert_eq!(witnesses.clients[0].run(&format!("CLIENT KILL ID {id}")).integer(), 1);
            witnesses.find_nobody("CLIENT KILL");
            read_to_the_end(&mut client);
        }
    }
}

#[test]
fn a_client_that_violates_the_protocol_is_not_met_again() {
    let leave = |_: &Server, client: &mut Client, _: &mut Witnesses| {
        client.send(b"*1\r\n!oops\r\n");
        assert!(client.read().to_string().contains("Protocol error"));
    };
    end_all(leave, "a protocol error", &[]);
}

#[test]
fn a_client_that_has_said_all_is_not_met_again() {
    let leave = |_: &Server, client: &mut Client, _: &mut Witnesses| {
        client.send(&encode(&["PING"]));
        client.tcp().shutdown(Shutdown::Write).expect("it is open");
        read_to_the_end(client);
    };
    end_all(leave, "the end of input", &[]);
}

#[test]
fn a_client_that_is_closed_for_a_limit_is_not_met_again() {
    let until_it_is_closed = |client: &mut Client| {
        let mut stream = client.tcp().try_clone().expect("a descriptor");
        let mut bytes = vec![0; 1 << 16];
        while stream.read(&mut bytes).is_ok_and(|count| count > 0) {}
    };
    let leave = |_: &Server, client: &mut Client, _: &mut Witnesses| {
        // It may be closed before all is sent.
        let request = format!("*2\r\n$4\r\nECHO\r\n${}\r\n{}", 2 << 20, "x".repeat(2 << 20));
        let _ = client.try_send(request.as_bytes());
        until_it_is_closed(client);
    };
    end_all(leave, "the query buffer limit", &["--client-query-buffer-limit", "1mb"]);
    let leave = |_: &Server, client: &mut Client, _: &mut Witnesses| {
        client.send(&encode(&["SRANDMEMBER", "big", "-1000000"]));
        until_it_is_closed(client);
    };
    let leave = |server: &Server, client: &mut Client, witnesses: &mut Witnesses| {
        witnesses.clients[0].run("SADD big some-member-of-a-set");
        leave(server, client, witnesses);
    };
    end_all(leave, "the output limit", &["--client-output-buffer-limit", "pubsub 1mb 0 0"]);
}

/// Connections whose last reply nobody reads are not listed, but they count against `maxclients`.
#[test]
fn connections_that_are_not_read_to_the_end_count_as_connections() {
    let server = Server::subject(2, &["--maxclients", "40", "--client-output-buffer-limit", "normal 0 0 0"]);
    let mut witness = server.client();
    witness.call(&["SET", "big", &"x".repeat(16 << 20)]);
    let stuck: Vec<Client> = (0..39)
        .map(|_| {
            let mut client = server.client();
            client.send(&[encode(&["GET", "big"]), encode(&["QUIT"])].concat());
            client
        })
        .collect();
    // It has been sent as much as fits.
    stuck.iter().for_each(|client| assert_eq!(client.tcp().peek(&mut [0]).expect("a reply"), 1));
    assert!(witness.run("INFO clients").text().contains("connected_clients:1\r\n"));
    let mut refused = server.client();
    assert!(refused.read().to_string().contains("max number of clients reached"));
    // CLIENT KILL gets rid of them, and does not count what is gone already.
    assert_eq!(witness.run("CLIENT KILL TYPE normal SKIPME yes").integer(), 0);
    let accepted = || (!server.client().run("PING").is_error()).then_some(());
    assert!(poll(Duration::from_secs(20), accepted).is_some());
    drop(stuck);
}
