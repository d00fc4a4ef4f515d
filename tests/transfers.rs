//! Many clients move money between accounts on four shards, in three ways, while others count it: every total that is ever
//! read must be right. `TRANSFER_SECONDS` says for how long; a few seconds unless told.

#[path = "support/mod.rs"]
mod support;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use support::{Client, Server};

const ACCOUNTS: u64 = 24;
const MOVERS: u64 = 40;
const COUNTERS: u64 = 10;
const TOTAL: i64 = 100 * ACCOUNTS as i64;

fn duration() -> Duration {
    let seconds = std::env::var("TRANSFER_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(3))
}

/// Small, but different for each client.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// Runs movers and counters side by side for a while; each is called again and again. How often they were.
fn side_by_side(
    server: &Server,
    mover: impl Fn(&mut Client, &mut Dice) + Sync,
    counter: impl Fn(&mut Client) + Sync,
) -> (u64, u64) {
    let (done, moves, counts) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for number in 0..MOVERS {
            let (done, moves, mover) = (&done, &moves, &mover);
            scope.spawn(move || {
                let (mut client, mut dice) = (server.client(), Dice(number + 1));
                while !done.load(Ordering::Relaxed) {
                    mover(&mut client, &mut dice);
                    moves.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for _ in 0..COUNTERS {
            let (done, counts, counter) = (&done, &counts, &counter);
            scope.spawn(move || {
                let mut client = server.client();
                while !done.load(Ordering::Relaxed) {
                    counter(&mut client);
                    counts.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        std::thread::sleep(duration());
        done.store(true, Ordering::Relaxed);
    });
    let seen = (moves.into_inner(), counts.into_inner());
    println!("{} moves, {} counts", seen.0, seen.1);
    assert!(seen.0 > 0 && seen.1 > 0);
    seen
}

fn account(number: u64) -> String {
    format!("account:{number}")
}

fn two(dice: &mut Dice) -> (String, String) {
    let from = dice.below(ACCOUNTS);
    let to = (from + 1 + dice.below(ACCOUNTS - 1)) % ACCOUNTS;
    (account(from), account(to))
}

fn number(client: &mut Client, key: &str) -> i64 {
    client.call(&["GET", key]).text().parse().expect("accounts hold numbers")
}

#[test]
fn watched_transactions_lose_no_money() {
    let server = Server::subject(4, &[]);
    let mut client = server.client();
    (0..ACCOUNTS).for_each(|number| drop(client.call(&["SET", &account(number), "100"])));
    let all: Vec<String> = std::iter::once("MGET".into()).chain((0..ACCOUNTS).map(account)).collect();
    let total = |client: &mut Client| -> i64 {
        client.call(&all).elements().iter().map(|value| value.text().parse::<i64>().expect("a number")).sum()
    };
    let transfer = |client: &mut Client, dice: &mut Dice| {
        let (from, to) = two(dice);
        assert_eq!(client.call(&["WATCH", &from, &to]).text(), "OK");
        let (a, b) = (number(client, &from), number(client, &to));
        let amount = dice.below(50) as i64;
        client.run("MULTI");
        client.call(&["SET", &from, &(a - amount).to_string()]);
        client.call(&["SET", &to, &(b + amount).to_string()]);
        let outcome = client.run("EXEC");
        assert!(outcome.is_null() || outcome.elements().len() == 2, "{outcome}");
    };
    side_by_side(&server, transfer, |client| assert_eq!(total(client), TOTAL));
    assert_eq!(total(&mut client), TOTAL);
}

#[test]
fn pairs_are_written_and_read_whole() {
    let server = Server::subject(4, &[]);
    let mut client = server.client();
    let pair = |number: u64| (format!("left:{number}"), format!("right:{number}"));
    for number in 0..ACCOUNTS {
        let (left, right) = pair(number);
        client.call(&["MSET", &left, "0", &right, "1000"]);
    }
    let write = |client: &mut Client, dice: &mut Dice| {
        let ((left, right), amount) = (pair(dice.below(ACCOUNTS)), dice.below(1000));
        let reply = client.call(&["MSET", &left, &amount.to_string(), &right, &(1000 - amount).to_string()]);
        assert_eq!(reply.text(), "OK");
    };
    side_by_side(&server, write, |client| {
        for number in 0..ACCOUNTS {
            let (left, right) = pair(number);
            let reply = client.call(&["MGET", &left, &right]);
            let sum: u64 = reply.elements().iter().map(|value| value.text().parse::<u64>().expect("a number")).sum();
            assert_eq!(sum, 1000, "{left} and {right}");
        }
    });
}

#[test]
fn moved_elements_are_in_one_place() {
    let server = Server::subject(4, &[]);
    let mut client = server.client();
    for number in 0..ACCOUNTS {
        for coin in 0..10 {
            client.call(&["SADD", &format!("purse:{number}"), &format!("{number}:{coin}")]);
            client.call(&["RPUSH", &format!("stack:{number}"), &format!("{number}:{coin}")]);
        }
    }
    let transfer = |client: &mut Client, dice: &mut Dice| {
        let (from, to) = (dice.below(ACCOUNTS).to_string(), dice.below(ACCOUNTS).to_string());
        let coin = format!("{}:{}", dice.below(ACCOUNTS), dice.below(10));
        let moved = client.call(&["SMOVE", &format!("purse:{from}"), &format!("purse:{to}"), &coin]);
        assert!((0..=1).contains(&moved.integer()));
        client.call(&["LMOVE", &format!("stack:{from}"), &format!("stack:{to}"), "LEFT", "RIGHT"]);
    };
    let count = |client: &mut Client| {
        client.run("MULTI");
        for number in 0..ACCOUNTS {
            client.call(&["SCARD", &format!("purse:{number}")]);
            client.call(&["LLEN", &format!("stack:{number}")]);
        }
        let counted: i64 = client.run("EXEC").elements().iter().map(support::Reply::integer).sum();
        assert_eq!(counted, 2 * 10 * ACCOUNTS as i64);
    };
    side_by_side(&server, transfer, count);
    count(&mut client);
}
