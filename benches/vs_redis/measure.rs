//! Runs the cases on both servers and reads what the clients and `/proc` tell.

use crate::load::{self, Outcome};
use crate::plan::{self, Case, KEYS, LIST_LEN, Load, Options, Place};
use crate::support::process::{cpu_ns, raise_open_files, resident_bytes};
use crate::support::server::has_program;
use crate::support::{Client, Server, encode};
use std::process::Command;

/// The machine the numbers come from.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Its processor.
    pub processor: String,
    /// Its CPUs.
    pub cpus: usize,
    /// The CPU the servers are pinned to.
    pub server_cpu: usize,
    /// The CPU the client is pinned to.
    pub client_cpu: usize,
    /// The kernel.
    pub kernel: String,
    /// What redis-server says of itself.
    pub redis: String,
}

impl Machine {
    /// Looks at the machine; what is missing for a measurement, if anything.
    pub fn check() -> Result<Self, String> {
        for program in ["redis-server", "redis-benchmark", "taskset"] {
            if !has_program(program) {
                return Err(format!("{program} is needed and cannot be started"));
            }
        }
        let usable = core_affinity::get_core_ids().unwrap_or_default();
        let [server, client, ..] = &usable[..] else {
            return Err("two CPUs are needed: one for the server, one for the client".into());
        };
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let of_cpu = |line: &str| line.strip_prefix("model name")?.split_once(": ").map(|(_, name)| name.to_string());
        let output = Command::new("redis-server").arg("--version").output().map_err(|error| error.to_string())?;
        Ok(Self {
            processor: read("/proc/cpuinfo").lines().find_map(of_cpu).unwrap_or_default(),
            cpus: usable.len(),
            server_cpu: server.id,
            client_cpu: client.id,
            kernel: read("/proc/sys/kernel/osrelease").trim().into(),
            redis: String::from_utf8_lossy(&output.stdout).trim().into(),
        })
    }
}

/// What one run of a load showed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sample {
    /// Requests a second.
    pub rate: f64,
    /// Latency of the median request, in milliseconds.
    pub p50_ms: f64,
    /// Of the slowest in a hundred.
    pub p99_ms: f64,
    /// Of the slowest in a thousand.
    pub p999_ms: f64,
    /// Microseconds of CPU the server used for a request.
    pub cpu_us: f64,
}

/// The result of one case: the medians of both servers.
#[derive(Clone, Debug)]
pub enum Measured {
    /// A load.
    Load { name: String, crimson: Sample, redis: Sample },
    /// Two loads on Crimson: one whose keys are on all shards, one with keys of one tag.
    Shards { name: String, any_keys: Sample, one_tag: Sample },
    /// Resident bytes a key.
    Memory { name: String, crimson: f64, redis: f64 },
}

/// Measures everything that `options` asks for; `tell` is told how far it is.
pub fn run(options: &Options, machine: &Machine, tell: &mut dyn FnMut(&str)) -> Vec<Measured> {
    let cases = plan::cases(options);
    // Servers take over the limit, which a thousand subscribers need as well.
    raise_open_files(8192);
    let mut measured = Vec::new();
    let mut place = None;
    let mut servers: Option<[Server; 2]> = None;
    for (index, case) in cases.iter().enumerate() {
        if place != Some(case.place) {
            servers = None;
            place = Some(case.place);
        }
        let [crimson, redis] = servers.get_or_insert_with(|| start(options, machine, case.place));
        let mut samples = [Vec::new(), Vec::new()];
        for _ in 0..options.rounds() {
            let beside = case.beside();
            let pair = match &beside {
                Some(beside) => [(&*crimson, case), (&*crimson, beside)],
                None => [(&*crimson, case), (&*redis, case)],
            };
            for ((server, case), samples) in pair.into_iter().zip(&mut samples) {
                samples.push(load(server, machine, case));
            }
        }
        tell(&format!("[{}/{}] {}", index + 1, cases.len(), case.name()));
        let (name, [one, other]) = (case.name(), samples.map(median));
        measured.push(match case.beside() {
            Some(_) => Measured::Shards { name, any_keys: one, one_tag: other },
            None => Measured::Load { name, crimson: one, redis: other },
        });
    }
    drop(servers);
    for &value_bytes in plan::memory_value_bytes(options) {
        let keys = plan::memory_keys(options);
        let name = format!("memory per key, 16-byte keys, {value_bytes}-byte values, {keys} keys");
        tell(&name);
        let [crimson, redis] =
            start(options, machine, Place::OwnCore).map(|server| bytes_per_key(&server, keys, value_bytes));
        measured.push(Measured::Memory { name, crimson, redis });
    }
    measured
}

fn start(options: &Options, machine: &Machine, place: Place) -> [Server; 2] {
    let redis_arguments = ["--save", "", "--loglevel", "warning"];
    let redis = |cpu| Server::start_on(cpu, "redis-server", "redis-server", &redis_arguments);
    match place {
        Place::OwnCore => {
            let (cpu, text) = (Some(machine.server_cpu), machine.server_cpu.to_string());
            let arguments = ["--threads", "1", "--cpus", &text, "--loglevel", "warning"];
            [Server::start_on(cpu, "crimson", &options.crimson, &arguments), redis(cpu)]
        }
        Place::Shared(shards) => {
            let shards = shards.to_string();
            let arguments = ["--threads", &shards, "--loglevel", "warning"];
            [Server::start("crimson", &options.crimson, &arguments), redis(None)]
        }
    }
}

/// Puts in place what a case needs: the keys GET reads, the list LRANGE reads.
fn prepare(server: &Server, case: &Case) {
    let mut client = server.client();
    client.run("FLUSHALL");
    let value = "x".repeat(case.value_bytes);
    match case.test {
        "GET" => fill(&mut client, KEYS, |key| format!("key:{key:012}"), &value),
        "LRANGE_100" => {
            for _ in 0..LIST_LEN {
                client.call(&["RPUSH", "mylist", &value]);
            }
        }
        _ => {}
    }
}

/// Sets many keys, a batch of requests at a time.
fn fill(client: &mut Client, keys: usize, key: impl Fn(usize) -> String, value: &str) {
    const BATCH: usize = 1000;
    for start in (0..keys).step_by(BATCH) {
        let end = (start + BATCH).min(keys);
        let batch: Vec<u8> = (start..end).flat_map(|number| encode(&["SET", &key(number), value])).collect();
        client.send(&batch);
        for _ in start..end {
            assert_eq!(client.read().bytes(), b"OK", "a key could not be set");
        }
    }
}

fn load(server: &Server, machine: &Machine, case: &Case) -> Sample {
    prepare(server, case);
    match &case.load {
        Load::Benchmark(command) => redis_benchmark(server, machine, case, command),
        _ => own_load(server, machine, case),
    }
}

fn redis_benchmark(server: &Server, machine: &Machine, case: &Case, words: &[String]) -> Sample {
    let mut command = match case.place {
        Place::OwnCore => {
            let mut taskset = Command::new("taskset");
            taskset.args(["-c", &machine.client_cpu.to_string(), "redis-benchmark"]);
            taskset
        }
        Place::Shared(_) => Command::new("redis-benchmark"),
    };
    let number = |number: usize| number.to_string();
    command
        .args(["-p", &number(server.port.into()), "-n", &number(case.requests), "-c", &number(case.connections)])
        .args(["-P", &number(case.pipeline), "-r", &number(KEYS)])
        .args(words);
    let before = cpu_ns(server.pid());
    let output = command.output().expect("redis-benchmark was there a moment ago");
    let cpu_us = (cpu_ns(server.pid()) - before) as f64 / 1e3 / case.requests as f64;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let sample = parse(&text).filter(|_| output.status.success());
    let sample = sample.unwrap_or_else(|| {
        panic!("redis-benchmark fails on {}:\n{text}\n{}", server.name(), String::from_utf8_lossy(&output.stderr))
    });
    Sample { cpu_us, ..sample }
}

/// A load of this program's own, from a thread that is pinned where redis-benchmark would be.
fn own_load(server: &Server, machine: &Machine, case: &Case) -> Sample {
    let run = || {
        if case.place == Place::OwnCore {
            assert!(core_affinity::set_for_current(core_affinity::CoreId { id: machine.client_cpu }), "pinned");
        }
        let prepared = load::prepare(server.port, case);
        let before = cpu_ns(server.pid());
        let outcome = prepared.run();
        (outcome, cpu_ns(server.pid()) - before)
    };
    let ended = std::thread::scope(|scope| scope.spawn(run).join());
    let (outcome, cpu_ns) = ended.unwrap_or_else(|_| panic!("{} fails on {}", case.name(), server.name()));
    let Outcome { requests, elapsed, mut latencies_ns } = outcome;
    latencies_ns.sort_unstable();
    let at_ms = |share: f64| latencies_ns[((latencies_ns.len() - 1) as f64 * share) as usize] as f64 / 1e6;
    Sample {
        rate: requests as f64 / elapsed.as_secs_f64(),
        p50_ms: at_ms(0.5),
        p99_ms: at_ms(0.99),
        p999_ms: at_ms(0.999),
        cpu_us: cpu_ns as f64 / 1e3 / requests as f64,
    }
}

/// Reads the report of redis-benchmark.
pub fn parse(text: &str) -> Option<Sample> {
    let lines = || text.split(['\n', '\r']).map(str::trim);
    let number = |text: &str| text.split_whitespace().next()?.parse::<f64>().ok();
    let rate = lines().find_map(|line| number(line.strip_prefix("throughput summary:")?))?;
    let percentiles = lines().skip_while(|line| !line.starts_with("Latency by percentile"));
    let percentiles: Vec<(f64, f64)> = percentiles
        .skip(1)
        .map_while(|line| {
            let (percent, rest) = line.split_once("% <= ")?;
            Some((percent.parse().ok()?, number(rest)?))
        })
        .collect();
    let at = |wanted: f64| percentiles.iter().find(|(percent, _)| *percent >= wanted).map(|(_, latency)| *latency);
    Some(Sample { rate, p50_ms: at(50.0)?, p99_ms: at(99.0)?, p999_ms: at(99.9)?, cpu_us: 0.0 })
}

fn median(samples: Vec<Sample>) -> Sample {
    let of = |field: fn(&Sample) -> f64| {
        let mut values: Vec<f64> = samples.iter().map(field).collect();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        if values.len() % 2 == 1 { values[middle] } else { f64::midpoint(values[middle - 1], values[middle]) }
    };
    Sample {
        rate: of(|s| s.rate),
        p50_ms: of(|s| s.p50_ms),
        p99_ms: of(|s| s.p99_ms),
        p999_ms: of(|s| s.p999_ms),
        cpu_us: of(|s| s.cpu_us),
    }
}

fn bytes_per_key(server: &Server, keys: usize, value_bytes: usize) -> f64 {
    let mut client = server.client();
    client.run("PING");
    let before = resident_bytes(server.pid());
    fill(&mut client, keys, |key| format!("key:{key:012}"), &"x".repeat(value_bytes));
    assert_eq!(client.run("DBSIZE").integer(), keys as i64);
    resident_bytes(server.pid()).saturating_sub(before) as f64 / keys as f64
}
