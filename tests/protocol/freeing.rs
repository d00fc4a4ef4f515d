//! Freeing memory in the background, as INFO counts it.

use crate::SHARDS;
use crate::support::{Client, Server, wait_until};

#[test]
fn what_takes_long_is_freed_in_the_background() {
    for shards in SHARDS {
        let server = Server::subject(shards, &["--save", ""]);
        let mut client = server.client();
        let freed = |client: &mut Client| {
            let info = client.run("INFO memory").text();
            let number = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.parse::<u64>().ok());
            (number("lazyfree_pending_objects:").expect("it is there"), number("lazyfreed_objects:"))
        };
        let mut expected = 0;
        let mut expect = |client: &mut Client, what: &str, more: u64| {
            expected += more;
            wait_until(what, || freed(client) == (0, Some(expected)));
        };
        let add = |client: &mut Client, key: &str, members: usize| {
            let members: Vec<String> = (0..members).map(|member| format!("m{member}")).collect();
            let words: Vec<&str> = ["SADD", key].into_iter().chain(members.iter().map(String::as_str)).collect();
            client.call(&words);
        };
        (0..20).for_each(|key| add(&mut client, &format!("large{key}"), 300));
        add(&mut client, "small", 30);
        client.run("UNLINK small large1 large2");
        expect(&mut client, "UNLINK frees large values", 2);
        client.run("DEL large3");
        client.run("SET large4 string");
        client.run("PEXPIRE large5 -1");
        expect(&mut client, "others free at once", 0);
        for directive in ["user-del", "server-del", "expire", "user-flush"] {
            assert_eq!(client.run(&format!("CONFIG SET lazyfree-lazy-{directive} yes")).text(), "OK");
        }
        client.run("DEL large6");
        expect(&mut client, "DEL", 1);
        client.run("SET large7 string");
        expect(&mut client, "an overwritten value", 1);
        client.run("PEXPIRE large8 -1");
        client.run("PEXPIRE large9 1");
        expect(&mut client, "expired values", 2);
        let left = client.run("DBSIZE").integer() as u64;
        client.run("FLUSHALL");
        expect(&mut client, "FLUSHALL by the directive", left);
        client.run("MSET a 1 b 2 c 3");
        client.run("FLUSHALL SYNC");
        client.run("MSET a 1 b 2 c 3");
        client.run("FLUSHDB ASYNC");
        expect(&mut client, "FLUSHDB ASYNC", 3);
        client.run("CONFIG RESETSTAT");
        assert_eq!(freed(&mut client), (0, Some(0)));
    }
}
