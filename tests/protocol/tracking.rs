//! CLIENT TRACKING: every way to read a key is noted, every way to change one is told, in order and only once. What is
//! written here also holds for `redis-server`, unless it says otherwise.

use crate::SHARDS;
use crate::support::{Client, Reply, Server, encode, wait_until};

/// The servers that must behave so.
fn servers() -> Vec<Server> {
    let mut servers: Vec<Server> = SHARDS.into_iter().map(|shards| Server::subject(shards, &[])).collect();
    servers.push(Server::redis(&[]));
    servers
}

fn bulk(text: &str) -> Reply {
    Reply::Bulk(text.into())
}

fn stale(keys: &[&str]) -> Reply {
    Reply::Push(vec![bulk("invalidate"), Reply::Array(keys.iter().map(|key| bulk(key)).collect())])
}

fn all_stale() -> Reply {
    Reply::Push(vec![bulk("invalidate"), Reply::Null])
}

fn tracker(server: &Server, options: &str) -> Client {
    let mut client = server.client().with_protocol(3);
    assert_eq!(client.run(&format!("CLIENT TRACKING ON {options}")), Reply::Simple(b"OK".to_vec()));
    client
}

/// Whether nothing waits for the client.
#[track_caller]
fn assert_quiet(client: &mut Client) {
    assert_eq!(client.run("ECHO quiet"), bulk("quiet"));
}

/// The next `count` invalidations of single keys, in any order.
fn stale_keys(client: &mut Client, count: usize) -> Vec<String> {
    let key = |reply: Reply| match &reply.elements()[1] {
        Reply::Array(keys) => keys[0].text(),
        other => panic!("not a key: {other}"),
    };
    let mut keys: Vec<String> = (0..count).map(|_| key(client.read())).collect();
    keys.sort();
    keys
}

#[test]
fn every_way_to_read_is_noted() {
    for server in servers() {
        let (mut reader, mut writer) = (tracker(&server, ""), server.client());
        writer.run("SADD s1 a b");
        writer.run("SADD s2 b c");
        let keys = ["a", "b", "c", "d"];
        for key in keys {
            reader.run(&format!("GET {key}"));
        }
        keys.into_iter().for_each(|key| drop(writer.run(&format!("SET {key} 1"))));
        assert_eq!(stale_keys(&mut reader, 4), keys);
        // A change that nobody has read since is told no more.
        writer.run("SET a 2");
        assert_quiet(&mut reader);
        reader.run("MGET a b c d");
        writer.run("MSET a 1 b 1 c 1 d 1");
        assert_eq!(stale_keys(&mut reader, 4), keys);
        reader.run("SUNION s1 s2");
        writer.run("SMOVE s1 s2 a");
        assert_eq!(stale_keys(&mut reader, 2), ["s1", "s2"]);
        for command in ["MULTI", "GET a", "GET b", "SMEMBERS s1", "SET c 3", "EXEC"] {
            reader.run(command);
        }
        writer.run("DEL a b c s1");
        assert_eq!(stale_keys(&mut reader, 3), ["a", "b", "s1"]);
        // Commands that write do not make their client a reader.
        reader.run("INCR n");
        writer.run("INCR n");
        assert_quiet(&mut reader);
    }
}

#[test]
fn every_way_to_change_is_told() {
    let changes = [
        "SET k 1",
        "APPEND k 1",
        "SETRANGE k 0 x",
        "GETDEL k",
        "MSET k 1 other 2",
        "INCR k",
        "EXPIRE k 100",
        "PERSIST k",
        "RENAME k other",
        "RENAME other k",
        "COPY other2 k REPLACE",
        "MOVE k 1",
        "RPUSH k a b",
        "LMOVE k l LEFT LEFT",
        "LPOP k",
        "LMOVE l k LEFT LEFT",
        "DEL k",
        "SADD k a b",
        "SMOVE k s a",
        "SPOP k",
        "SUNIONSTORE k s",
        "UNLINK k",
        "HSET k f 1",
        "HINCRBY k f 1",
        "HDEL k f",
    ];
    for server in servers() {
        let (mut reader, mut writer) = (tracker(&server, ""), server.client());
        writer.run("SET other2 5");
        for change in changes {
            reader.run("EXISTS k");
            let reply = writer.run(change);
            assert!(!reply.is_error(), "{change}: {reply}");
            assert_eq!(reader.read(), stale(&["k"]), "{change} on {}", server.name());
        }
        reader.run("GET k");
        writer.run("SET k 1 PX 30");
        assert_eq!(reader.read(), stale(&["k"]));
        reader.run("GET k");
        // In the background: nobody looks at it.
        assert_eq!(reader.read(), stale(&["k"]));
    }
}

#[test]
fn own_changes_are_told_behind_their_replies() {
    for server in servers() {
        let mut client = tracker(&server, "");
        for key in ["a", "b", "c", "d", "e"] {
            client.run(&format!("GET {key}"));
            assert_eq!(client.run(&format!("SET {key} 1")), Reply::Simple(b"OK".to_vec()));
            assert_eq!(client.read(), stale(&[key]));
        }
        client.run("MGET a b");
        assert_eq!(client.run("DEL a b"), Reply::Integer(2));
        assert_eq!(stale_keys(&mut client, 2), ["a", "b"]);
        client.run("GET c");
        for command in ["MULTI", "SET c 2"] {
            client.run(command);
        }
        assert!(matches!(client.run("EXEC"), Reply::Array(_)));
        assert_eq!(client.read(), stale(&["c"]));
        client.run("CLIENT TRACKING OFF");
        let (mut client, mut other) = (tracker(&server, "NOLOOP"), server.client());
        client.run("GET a");
        client.run("SET a 1");
        assert_quiet(&mut client);
        client.run("GET a");
        other.run("SET a 1");
        assert_eq!(client.read(), stale(&["a"]));
    }
}

#[test]
fn flushes_are_told_once() {
    for server in servers() {
        let (mut readers, mut writer) = ([tracker(&server, ""), tracker(&server, "BCAST PREFIX x")], server.client());
        readers[0].run("MGET a b c d");
        for flush in ["FLUSHALL", "FLUSHDB", "FLUSHALL ASYNC"] {
            writer.run(flush);
            for reader in &mut readers {
                assert_eq!(reader.read(), all_stale(), "{flush} on {}", server.name());
                assert_quiet(reader);
            }
        }
        assert_eq!(readers[0].run("FLUSHALL"), Reply::Simple(b"OK".to_vec()));
        assert_eq!(readers[0].read(), all_stale());
    }
}

/// What a transaction reads or writes behind a flush is not told or forgotten with what was there before.
#[test]
fn a_flush_has_its_place_in_a_transaction() {
    for server in servers() {
        let (mut reader, mut writer) = (tracker(&server, ""), server.client());
        reader.run("MGET a b");
        ["MULTI", "FLUSHALL", "SET a 1", "EXEC"].into_iter().for_each(|command| drop(writer.run(command)));
        assert_eq!(reader.read(), all_stale(), "on {}", server.name());
        assert_quiet(&mut reader);
        ["MULTI", "FLUSHALL", "GET a", "EXEC"].into_iter().for_each(|command| drop(reader.run(command)));
        assert_eq!(reader.read(), all_stale(), "on {}", server.name());
        writer.run("SET a 2");
        assert_eq!(reader.read(), stale(&["a"]), "on {}", server.name());
    }
}

#[test]
fn prefixes_are_told_of_all_their_keys() {
    for server in servers() {
        let (mut client, mut writer) = (tracker(&server, "BCAST PREFIX k PREFIX {j}"), server.client());
        for key in ["k1", "k2", "k3", "k4"] {
            writer.run(&format!("SET {key} 1"));
            assert_eq!(client.read(), stale(&[key]));
        }
        writer.run("MSET {j}1 1 {j}0 1 {j}1 2");
        assert_eq!(client.read(), stale(&["{j}0", "{j}1"]));
        writer.run("SET x 1");
        assert_quiet(&mut client);
        client.run("SET k1 1");
        assert_eq!(client.read(), stale(&["k1"]));
        client.run("CLIENT TRACKING OFF");
        writer.run("SET k1 1");
        assert_quiet(&mut client);
        let mut client = tracker(&server, "BCAST NOLOOP");
        client.run("SET k1 1");
        assert_quiet(&mut client);
        writer.run("SET anything 1");
        assert_eq!(client.read(), stale(&["anything"]));
    }
}

#[test]
fn caching_is_chosen_for_the_next_command() {
    for server in servers() {
        let (mut client, mut writer) = (tracker(&server, "OPTIN"), server.client());
        client.run("GET a");
        writer.run("SET a 1");
        assert_quiet(&mut client);
        for between in ["CLIENT ID", "MULTI"] {
            client.run("CLIENT CACHING YES");
            client.run(between);
            client.run("GET a");
            if between == "MULTI" {
                client.run("GET b");
                client.run("EXEC");
            }
            client.run("GET c");
            writer.run("MSET a 1 c 1");
            assert_eq!(client.read(), stale(&["a"]), "{between} on {}", server.name());
            assert_quiet(&mut client);
        }
        client.run("CLIENT TRACKING OFF");
        client.run("CLIENT TRACKING ON OPTOUT");
        client.run("CLIENT CACHING NO");
        client.run("GET a");
        client.run("GET c");
        writer.run("MSET a 1 c 1");
        assert_eq!(client.read(), stale(&["c"]));
        assert_quiet(&mut client);
    }
}

#[test]
fn another_client_hears_instead() {
    for server in servers() {
        let (mut listener, mut writer) = (server.client(), server.client());
        let id = listener.run("CLIENT ID").integer();
        let mut old = server.client();
        assert_eq!(old.run(&format!("CLIENT TRACKING ON REDIRECT {id}")), Reply::Simple(b"OK".to_vec()));
        assert_eq!(old.run("CLIENT GETREDIR"), Reply::Integer(id));
        let mut new = tracker(&server, &format!("BCAST PREFIX p REDIRECT {id}"));
        listener.run("SUBSCRIBE __redis__:invalidate");
        let message = |value| Reply::Array(vec![bulk("message"), bulk("__redis__:invalidate"), value]);
        old.run("GET a");
        writer.run("SET a 1");
        assert_eq!(listener.read(), message(Reply::Array(vec![bulk("a")])));
        writer.run("SET p1 1");
        assert_eq!(listener.read(), message(Reply::Array(vec![bulk("p1")])));
        writer.run("FLUSHALL");
        let mut nulls = [listener.read(), listener.read()];
        nulls.sort();
        // It is the null of the client that tracks.
        assert_eq!(nulls, [message(Reply::NullBulk), message(Reply::Null)]);
        assert_quiet(&mut new);
        assert!(writer.run(&format!("CLIENT LIST ID {id}")).text().contains(" flags=P "));
        drop(listener);
        wait_until("the listener is gone", || writer.run(&format!("CLIENT LIST ID {id}")).text().is_empty());
        writer.run("SET p1 1");
        assert_eq!(new.read(), Reply::Push(vec![bulk("tracking-redir-broken"), Reply::Integer(id)]));
        let info = new.run("CLIENT INFO").text();
        assert!(info.contains(" flags=tRB ") && info.contains(&format!(" redir={id} ")), "{info}");
        assert!(new.run("CLIENT TRACKINGINFO").to_string().contains("broken_redirect"));
        old.run("GET a");
        writer.run("SET a 1");
        wait_until("it is known", || old.run("CLIENT TRACKINGINFO").to_string().contains("broken_redirect"));
    }
}

/// A client that waits in a blocking command hears at once what is stale, and that another one hears of it no more.
#[test]
fn a_client_that_waits_is_told() {
    for server in servers() {
        let (mut listener, mut writer) = (server.client(), server.client());
        let id = listener.run("CLIENT ID").integer();
        let mut direct = tracker(&server, "BCAST PREFIX p");
        let mut redirecting = tracker(&server, &format!("BCAST PREFIX p REDIRECT {id}"));
        drop(listener);
        wait_until("the listener is gone", || writer.run(&format!("CLIENT LIST ID {id}")).text().is_empty());
        [&mut direct, &mut redirecting].into_iter().for_each(|client| client.send(&encode(&["BLPOP", "l", "0"])));
        wait_until("both wait", || info(&mut writer, "blocked_clients") == 2);
        writer.run("SET p1 1");
        assert_eq!(direct.read(), stale(&["p1"]), "on {}", server.name());
        let broken = Reply::Push(vec![bulk("tracking-redir-broken"), Reply::Integer(id)]);
        assert_eq!(redirecting.read(), broken, "on {}", server.name());
        writer.run("RPUSH l a b");
        [direct, redirecting].iter_mut().for_each(|client| assert_eq!(client.read().elements()[0], bulk("l")));
    }
}

#[test]
fn options_have_to_fit() {
    let switch = |what, mode: &str| {
        format!(
            "ERR You can't switch {what} mode{mode} before disabling tracking for this client, and then re-enabling it with \
             a different mode."
        )
    };
    for server in servers() {
        let mut client = server.client();
        let mut refuse = |command: &str, text: &str| {
            assert_eq!(client.run(command), Reply::Error(text.into()), "{command} on {}", server.name());
        };
        let missing = "ERR The client ID you want redirect to does not exist";
        refuse("CLIENT TRACKING maybe", "ERR syntax error");
        refuse("CLIENT TRACKING on what", "ERR syntax error");
        refuse("CLIENT TRACKING on what redirect 999", "ERR syntax error");
        refuse("CLIENT TRACKING on redirect 999 what", missing);
        refuse("CLIENT TRACKING on redirect 0", missing);
        refuse("CLIENT TRACKING off redirect 999 bcast", missing);
        refuse("CLIENT TRACKING on redirect x", "ERR value is not an integer or out of range");
        refuse("CLIENT TRACKING on prefix a", "ERR PREFIX option requires BCAST mode to be enabled");
        refuse("CLIENT TRACKING on bcast optin", "ERR OPTIN and OPTOUT are not compatible with BCAST");
        refuse("CLIENT TRACKING on optin optout", "ERR You can't specify both OPTIN mode and OPTOUT mode");
        let overlap = "ERR Prefix 'ab' overlaps with another provided prefix 'a'. Prefixes for a single client must not \
                       overlap.";
        refuse("CLIENT TRACKING on bcast prefix ab prefix a", overlap);
        let off = "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode \
                   enabled";
        refuse("CLIENT CACHING yes", off);
        client.run("CLIENT TRACKING ON BCAST PREFIX foo");
        let mut refuse = |command: &str, text: &str| {
            assert_eq!(client.run(command), Reply::Error(text.into()), "{command} on {}", server.name());
        };
        let overlap =
            "ERR Prefix 'f' overlaps with an existing prefix 'foo'. Prefixes for a single client must not overlap.";
        refuse("CLIENT TRACKING on bcast prefix f", overlap);
        refuse("CLIENT TRACKING on", &switch("BCAST", " on/off"));
        client.run("CLIENT TRACKING ON BCAST PREFIX bar NOLOOP");
        let info = client.run("CLIENT TRACKINGINFO").to_string();
        for word in ["on", "bcast", "noloop", "bar", "foo"] {
            assert!(info.contains(&format!("\"{word}\"")), "{info}");
        }
        client.run("CLIENT TRACKING OFF");
        client.run("CLIENT TRACKING ON OPTIN");
        let mut refuse = |command: &str, text: &str| {
            assert_eq!(client.run(command), Reply::Error(text.into()), "{command} on {}", server.name());
        };
        refuse("CLIENT TRACKING on optout", &switch("OPTIN/OPTOUT", ""));
        refuse("CLIENT CACHING no", "ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.");
        refuse("CLIENT CACHING maybe", "ERR syntax error");
        client.run("RESET");
        assert_eq!(client.run("CLIENT GETREDIR"), Reply::Integer(-1));
    }
}

/// The value of a field of INFO.
fn info(client: &mut Client, field: &str) -> u64 {
    let text = client.run("INFO everything").text();
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':').map(str::to_string));
    line.unwrap_or_else(|| panic!("no {field} in {text}")).trim().parse().expect("a number")
}

#[test]
fn the_tables_are_counted_and_bounded() {
    for server in servers() {
        let (mut reader, mut other) = (tracker(&server, ""), tracker(&server, ""));
        let _prefixes = tracker(&server, "BCAST PREFIX a PREFIX b");
        let mut client = server.client();
        reader.run("MGET a b c d e f g h");
        other.run("MGET a b");
        for (field, number) in [
            ("tracking_clients", 3),
            ("tracking_total_keys", 8),
            ("tracking_total_items", 10),
            ("tracking_total_prefixes", 2),
        ] {
            wait_until(field, || info(&mut client, field) == number);
        }
        client.run("CONFIG SET tracking-table-max-keys 4");
        wait_until("keys are forgotten", || {
            reader.send(b"*2\r\n$3\r\nGET\r\n$1\r\nz\r\n");
            while matches!(reader.read(), Reply::Push(_)) {}
            info(&mut client, "tracking_total_keys") <= 4
        });
    }
}

/// Redis forgets clients that have gone only when the key changes.
#[test]
fn clients_that_have_gone_are_forgotten() {
    for shards in SHARDS {
        let server = Server::subject(shards, &[]);
        let mut client = server.client();
        for _ in 0..20 {
            tracker(&server, "").run("MGET a b c d e f g h");
            tracker(&server, "BCAST PREFIX a");
        }
        for field in ["tracking_clients", "tracking_total_keys", "tracking_total_items", "tracking_total_prefixes"] {
            wait_until(field, || info(&mut client, field) == 0);
        }
    }
}
