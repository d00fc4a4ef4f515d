//! What is measured on the running server: idle clients cost little memory and no CPU, and one client's behaviour does
//! not hurt another. Numbers are printed; bounds are wide, because test machines are slow and busy.
//!
//! The tests of this file run one at a time, and alone under nextest (see `.config/nextest.toml`).

#[path = "../support/mod.rs"]
mod support;

use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::thread::sleep;
use std::time::{Duration, Instant};
use support::process::{cpu_ns, raise_open_files, resident_bytes};
use support::{Client, Server, encode, poll, wait_until};

/// Only one test measures at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// How long replies to one client took.
#[derive(Default)]
struct Latencies(Vec<Duration>);

impl Latencies {
    /// Asks once every `pause` until `done`.
    fn measure(server: &Server, pause: Duration, done: &AtomicBool) -> Self {
        let mut client = server.client();
        let mut seen = Vec::new();
        while !done.load(Ordering::Relaxed) {
            let start = Instant::now();
            client.run("SET probe 1");
            seen.push(start.elapsed());
            sleep(pause);
        }
        seen.sort();
        Self(seen)
    }

    fn percentile(&self, percent: usize) -> Duration {
        self.0.get((self.0.len() * percent / 100).min(self.0.len().saturating_sub(1))).copied().unwrap_or_default()
    }

    fn shown(&self) -> String {
        let (median, high, most) = (self.percentile(50), self.percentile(99), self.percentile(100));
        format!("{} requests, median {median:?}, 99 % {high:?}, longest {most:?}", self.0.len())
    }
}

/// Runs `load` while another client is measured.
fn beside<R>(server: &Server, load: impl FnOnce() -> R) -> (R, Latencies) {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let probe = scope.spawn(|| Latencies::measure(server, Duration::from_millis(2), &done));
        let result = load();
        done.store(true, Ordering::Relaxed);
        (result, probe.join().expect("the probe reaches the server"))
    })
}

#[test]
fn an_idle_server_uses_no_cpu() {
    let _alone = alone();
    for shards in [1, 4] {
        let server = Server::subject(shards, &[]);
        let mut clients: Vec<Client> = (0..50).map(|_| server.client()).collect();
        for client in &mut clients {
            client.run("PING");
        }
        let mut least = f64::MAX;
        for _ in 0..3 {
            sleep(Duration::from_millis(300));
            let (before, start) = (cpu_ns(server.pid()), Instant::now());
            sleep(Duration::from_secs(2));
            let used = (cpu_ns(server.pid()) - before) as f64;
            least = least.min(used / start.elapsed().as_nanos() as f64);
            if least < 0.01 {
                break;
            }
        }
        println!("{} idle: {:.2} % of a core", server.name(), least * 100.0);
        assert!(least < 0.01 * shards as f64, "{shards} idle shards use {:.2} % of a core", least * 100.0);
    }
}

/// Resident bytes that each of `count` idle connections costs.
fn bytes_per_idle_connection(server: &Server, count: usize) -> f64 {
    let mut first = server.client();
    first.run("PING");
    let before = resident_bytes(server.pid());
    let mut open = Vec::with_capacity(count);
    while open.len() < count {
        let client = poll(Duration::from_secs(20), || Client::try_connect(server.port).ok());
        let mut client = client.unwrap_or_else(|| panic!("connection {} is not taken", open.len()));
        if open.len() % 100 == 99 {
            client.run("PING");
        }
        open.push(client);
    }
    wait_until("all connections are there", || {
        let info = first.run("INFO clients").text();
        info.contains(&format!("connected_clients:{}", count + 1))
    });
    // Every connection has been used once, as a pool's connections are.
    for client in &mut open {
        client.run("GET nothing");
    }
    // Redis gives buffers back after a while.
    sleep(Duration::from_secs(3));
    resident_bytes(server.pid()).saturating_sub(before) as f64 / count as f64
}

#[test]
fn ten_thousand_idle_connections_cost_little_memory() {
    let _alone = alone();
    let files = raise_open_files(25_000);
    let count = 10_000.min((files as usize).saturating_sub(500) / 2);
    let maxclients = (count + 100).to_string();
    let redis = bytes_per_idle_connection(&Server::redis(&["--maxclients", &maxclients]), count);
    for shards in [1, 4] {
        let server = Server::subject(shards, &["--maxclients", &maxclients]);
        let ours = bytes_per_idle_connection(&server, count);
        println!("{count} idle connections: {} {ours:.0} bytes each, redis-server {redis:.0}", server.name());
        assert!(
            ours <= (redis * 1.25).max(8192.0),
            "an idle connection costs {ours:.0} bytes, with redis-server {redis:.0}"
        );
    }
}

#[test]
fn a_storm_of_connections_does_not_hurt_connected_clients() {
    const PER_SECOND: u32 = 2000;
    let _alone = alone();
    raise_open_files(10_000);
    for shards in [1, 4] {
        let server = Server::subject(shards, &[]);
        let storm = || {
            let start = Instant::now();
            let mut made = 0;
            while start.elapsed() < Duration::from_secs(3) {
                if f64::from(made) > start.elapsed().as_secs_f64() * f64::from(PER_SECOND) {
                    sleep(Duration::from_micros(200));
                    continue;
                }
                let mut client =
                    poll(Duration::from_secs(10), || Client::try_connect(server.port).ok()).expect("it accepts");
                if made % 4 == 0 {
                    assert_eq!(client.run("PING").text(), "PONG");
                }
                made += 1;
            }
            f64::from(made) / start.elapsed().as_secs_f64()
        };
        let (rate, latencies) = beside(&server, storm);
        println!("{}: {rate:.0} connections/s; beside them {}", server.name(), latencies.shown());
        assert!(latencies.percentile(99) < Duration::from_millis(200), "{}", latencies.shown());
        wait_until("the storm leaves nothing behind", || {
            server.client().run("INFO clients").text().contains("connected_clients:1\r\n")
        });
    }
}

#[test]
fn a_client_that_never_reads_does_not_hurt_others() {
    let _alone = alone();
    for shards in [1, 4] {
        let server = Server::subject(shards, &["--client-output-buffer-limit", "normal", "16mb", "0", "0"]);
        assert_eq!(server.client().call(&["SET", "k", &"v".repeat(100_000)]).text(), "OK");
        let before = resident_bytes(server.pid());
        let deaf = || {
            let mut peak = 0;
            for _ in 0..5 {
                let mut client = server.client();
                let requests = encode(&["GET", "k"]).repeat(50);
                let gone = poll(Duration::from_secs(20), || {
                    peak = peak.max(resident_bytes(server.pid()));
                    client.try_send(&requests).err()
                });
                assert!(gone.is_some(), "a client that never reads is not closed");
                let _ = client.tcp().shutdown(Shutdown::Both);
            }
            peak
        };
        let (peak, latencies) = beside(&server, deaf);
        let grown = peak.saturating_sub(before) >> 20;
        println!("{}: memory grew by {grown} MiB; beside it {}", server.name(), latencies.shown());
        assert!(latencies.percentile(99) < Duration::from_millis(200), "{}", latencies.shown());
        assert!(grown < 200, "memory grew by {grown} MiB with a limit of 16 MB");
    }
}

/// A turn used to run all that one client had sent, megabytes of requests, before anybody else was answered.
#[test]
fn requests_without_end_do_not_starve_others() {
    let _alone = alone();
    for shards in [1, 4] {
        let server = Server::subject(shards, &["--client-output-buffer-limit", "normal", "256mb", "0", "0"]);
        assert_eq!(server.client().call(&["SET", "k", &"v".repeat(1000)]).text(), "OK");
        let requests = b"GET k\r\n".repeat(10_000);
        let flood = || {
            let start = Instant::now();
            while start.elapsed() < Duration::from_secs(2) {
                let mut client = server.client();
                while start.elapsed() < Duration::from_secs(2) && client.try_send(&requests).is_ok() {}
            }
        };
        let ((), latencies) = beside(&server, flood);
        println!("{}: beside requests without end {}", server.name(), latencies.shown());
        assert!(latencies.percentile(50) < Duration::from_millis(250), "{}", latencies.shown());
    }
}

#[test]
fn a_long_pipeline_does_not_starve_others() {
    let _alone = alone();
    for shards in [1, 4] {
        let server = Server::subject(shards, &[]);
        let pipeline: Vec<u8> = (0..20_000).flat_map(|n| encode(&["SET", &format!("k{}", n % 1000), "v"])).collect();
        let greedy = || {
            let mut client = server.client();
            let start = Instant::now();
            let mut batches = 0;
            while start.elapsed() < Duration::from_secs(2) {
                client.send(&pipeline);
                for _ in 0..20_000 {
                    assert_eq!(client.read().bytes(), b"OK");
                }
                batches += 1;
            }
            batches
        };
        let (batches, latencies) = beside(&server, greedy);
        println!("{}: {batches} pipelines of 20000; beside them {}", server.name(), latencies.shown());
        assert!(latencies.percentile(99) < Duration::from_millis(500), "{}", latencies.shown());
    }
}

/// How long `commands` pipelined commands of each of four clients take behind a transaction that has both shards locked and
/// sets as many keys, and the longest wait for a PING beside them.
fn behind_a_transaction(server: &Server, commands: usize) -> (Duration, Duration) {
    // The keys lie on different shards of two.
    let key = |number: usize| ["a", "c"][number % 2];
    let (start, done) = (Instant::now(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let pings = scope.spawn(|| {
            let mut clients: Vec<Client> = (0..4).map(|_| server.client()).collect();
            let mut longest = Duration::ZERO;
            while !done.load(Ordering::Relaxed) {
                for client in &mut clients {
                    let start = Instant::now();
                    client.run("PING");
                    longest = longest.max(start.elapsed());
                }
                sleep(Duration::from_millis(1));
            }
            longest
        });
        let transaction = scope.spawn(move || {
            let mut client = server.client();
            let steps = (0..commands / 4).flat_map(|number| encode(&["SET", key(number), "v"]));
            client.send(&[encode(&["MULTI"]), encode(&["DBSIZE"]), steps.collect(), encode(&["EXEC"])].concat());
            (0..commands / 4 + 2).for_each(|_| drop(client.read()));
            assert!(matches!(client.read(), support::Reply::Array(replies) if replies.len() == commands / 4 + 1));
        });
        let writers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(move || {
                    let mut client = server.client();
                    let sets: Vec<u8> = (0..commands).flat_map(|number| encode(&["SET", key(number), "w"])).collect();
                    client.send(&sets);
                    (0..commands).for_each(|_| assert_eq!(client.read().bytes(), b"OK"));
                })
            })
            .collect();
        writers.into_iter().chain([transaction]).for_each(|thread| thread.join().expect("all are answered"));
        done.store(true, Ordering::Relaxed);
        (start.elapsed(), pings.join().expect("the server answers"))
    })
}

/// Each command that met locks looked at all that were parked: 240,000 commands behind one EXEC kept everybody waiting for
/// 4.4 s.
#[test]
fn commands_behind_a_transaction_cost_nobody_else_anything() {
    let _alone = alone();
    let server = Server::subject(2, &[]);
    behind_a_transaction(&server, 1000);
    let parked = || {
        let stats = server.client().show("INFO stats");
        let (_, parked) = stats.split_once("total_commands_parked:").expect("INFO counts them");
        parked.chars().take_while(char::is_ascii_digit).collect::<String>().parse::<u64>().expect("a number")
    };
    let before = parked();
    let (few, many) = (behind_a_transaction(&server, 10_000), behind_a_transaction(&server, 40_000));
    println!("{}: of 10,000 {few:?}, of 40,000 {many:?}, {} parked", server.name(), parked() - before);
    assert!(parked() - before > 10_000, "most of them met no locks");
    assert!(many.0 < 8 * few.0, "four times as many took {:?} instead of {:?}", many.0, few.0);
    assert!(many.1 < Duration::from_millis(200), "a PING took {:?}", many.1);
}

/// Connections that were opened and never spoke do not keep the server from stopping, or from serving.
/// How long it takes a client to track so many prefixes, in one command and in one after another.
fn track(server: &Server, count: usize) -> [Duration; 2] {
    let prefixes: Vec<String> = (0..count).map(|number| format!("prefix {number}:")).collect();
    let request = |prefixes: &[String]| {
        let mut words = vec!["CLIENT", "TRACKING", "ON", "BCAST"];
        prefixes.iter().for_each(|prefix| words.extend(["PREFIX", prefix]));
        encode(&words)
    };
    let together = request(&prefixes);
    let apart: Vec<u8> = prefixes.chunks(1).flat_map(request).collect();
    [(together, 1), (apart, count)].map(|(bytes, replies)| {
        let mut client = server.client().with_protocol(3);
        let started = Instant::now();
        client.send(&bytes);
        (0..replies).for_each(|_| assert_eq!(client.read().text(), "OK"));
        started.elapsed()
    })
}

#[test]
fn prefixes_are_compared_with_their_neighbours_only() {
    let _alone = alone();
    let server = Server::subject(2, &[]);
    track(&server, 1_000);
    let [few, many] = [5_000, 20_000].map(|count| track(&server, count));
    println!("5,000 prefixes: {few:?}; 20,000: {many:?}");
    for (few, many) in few.into_iter().zip(many) {
        assert!(many < 5 * few.max(Duration::from_millis(5)), "{many:?} for 20,000, {few:?} for 5,000");
    }
}

/// How long EXISTS of so many keys takes.
fn exists(server: &Server, count: usize) -> Duration {
    let keys: Vec<String> = (0..count).map(|number| format!("key:{number}")).collect();
    let mut words = vec!["EXISTS"];
    words.extend(keys.iter().map(String::as_str));
    let (bytes, mut client) = (encode(&words), server.client());
    let started = Instant::now();
    client.send(&bytes);
    assert_eq!(client.read().integer(), 0);
    started.elapsed()
}

#[test]
fn arguments_cost_no_more_the_more_there_are() {
    let _alone = alone();
    for threads in [1, 2] {
        let server = Server::subject(threads, &[]);
        exists(&server, 10_000);
        let [few, many] = [500_000, 2_000_000].map(|count| exists(&server, count));
        println!("{threads} threads: {few:?} for 500,000 keys, {many:?} for 2,000,000");
        assert!(many < 5 * few.max(Duration::from_millis(50)), "{many:?} for 2,000,000 keys, {few:?} for 500,000");
    }
}

#[test]
fn silent_connections_do_no_harm() {
    let _alone = alone();
    for shards in [1, 4] {
        let mut server = Server::subject(shards, &[]);
        let silent: Vec<TcpStream> =
            (0..500).filter_map(|_| TcpStream::connect(("127.0.0.1", server.port)).ok()).collect();
        assert_eq!(silent.len(), 500);
        assert_eq!(server.client().run("PING").text(), "PONG");
        let start = Instant::now();
        assert_eq!(server.stop(libc::SIGTERM), Some(0), "it does not stop in order; its log:\n{}", server.log());
        assert!(start.elapsed() < Duration::from_secs(10), "stopping took {:?}", start.elapsed());
    }
}
