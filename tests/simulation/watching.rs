//! Those who watch, on several cores whose mail is late: a monitor that stays sees every command that is sent when it knows
//! to be one, once, in the order of each client, and no core works for monitors that have left. The slow log, told to take
//! everything, has every command once.

use super::world::{World, each_seed, timeless};
use crimson::config::Config;
use crimson::stdx::random::Random;
use std::collections::HashMap;

const WRITERS: usize = 4;
const KEYS: usize = 6;

/// A command with a number of its own; some concern several shards, some are transactions.
fn command(random: &mut Random, number: usize) -> Vec<Vec<String>> {
    let value = format!("n{number}.");
    let key = |random: &mut Random| format!("k{}", random.below(KEYS));
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_string()).collect::<Vec<_>>();
    match random.below(5) {
        0 => vec![words(&["MSET", &key(random), &value, &key(random), "x", &key(random), "x"])],
        1 => vec![words(&["MULTI"]), words(&["SET", &key(random), &value]), words(&["EXEC"])],
        2 => {
            let set = words(&["SET", &key(random), &value]);
            vec![words(&["MULTI"]), set, words(&["SET", &key(random), "x"]), words(&["DBSIZE"]), words(&["EXEC"])]
        }
        3 => vec![words(&["ECHO", &value])],
        _ => vec![words(&["SET", &key(random), &value])],
    }
}

/// The number of a command that a line or an entry shows.
fn number(text: &str) -> Option<usize> {
    let rest = text.split_once("n").filter(|(_, rest)| rest.starts_with(|c: char| c.is_ascii_digit()))?.1;
    rest.split_once('.')?.0.parse().ok()
}

#[derive(Default)]
struct Monitor {
    client: usize,
    text: String,
    /// What it must see.
    due: Vec<usize>,
    leaving: bool,
}

impl Monitor {
    fn is_confirmed(&self) -> bool {
        self.text.starts_with("+OK\r\n")
    }

    /// The numbers it has seen, in order.
    fn seen(&self) -> Vec<usize> {
        self.text.lines().filter_map(number).collect()
    }
}

struct Scene {
    world: World,
    random: Random,
    monitors: Vec<Monitor>,
    /// Who has sent which number.
    sender: HashMap<usize, usize>,
    /// The number that a writer waits for the answer to, and which monitors must see it.
    open: HashMap<usize, (usize, Vec<usize>)>,
    sent: usize,
}

impl Scene {
    fn step(&mut self) {
        self.world.step();
        for monitor in &mut self.monitors {
            monitor.text.push_str(&self.world.take_received(monitor.client));
        }
        match self.random.below(40) {
            0 if self.monitors.iter().filter(|monitor| !monitor.leaving).count() < 3 => {
                let client = self.world.connect();
                self.world.send(client, &["MONITOR"]);
                self.monitors.push(Monitor { client, ..Monitor::default() });
            }
            1 if !self.monitors.is_empty() => self.leave(),
            _ => self.write(),
        }
    }

    /// A monitor leaves, one way or the other, perhaps before it knows to be one.
    fn leave(&mut self) {
        let index = self.random.below(self.monitors.len());
        if std::mem::replace(&mut self.monitors[index].leaving, true) {
            return;
        }
        let client = self.monitors[index].client;
        match self.random.below(3) {
            0 => self.world.send(client, &["RESET"]),
            1 => self.world.send(client, &["QUIT"]),
            _ => self.world.leave(client),
        }
    }

    /// A writer that has its answer sends the next command.
    fn write(&mut self) {
        let writer = self.random.below(WRITERS);
        let received = self.world.take_received(writer);
        if !received.is_empty()
            && let Some((number, seen_by)) = self.open.remove(&writer)
        {
            seen_by.into_iter().for_each(|index| self.monitors[index].due.push(number));
        }
        if self.open.contains_key(&writer) {
            return;
        }
        let seen_by = self.monitors.iter().enumerate();
        let seen_by = seen_by.filter(|(_, monitor)| monitor.is_confirmed() && !monitor.leaving);
        let seen_by = seen_by.map(|(index, _)| index).collect();
        for words in command(&mut self.random, self.sent) {
            self.world.send(writer, &words);
        }
        self.open.insert(writer, (self.sent, seen_by));
        self.sender.insert(self.sent, writer);
        self.sent += 1;
    }

    fn judge(&mut self) {
        for monitor in &self.monitors {
            let seen = monitor.seen();
            let mut last = HashMap::new();
            for number in &seen {
                let before = last.insert(self.sender[number], *number);
                assert!(before.is_none_or(|before| before < *number), "{number} comes behind {before:?}");
            }
            // One that leaves loses what is on its way.
            let missing: Vec<&usize> = monitor.due.iter().filter(|number| !seen.contains(number)).collect();
            assert!(monitor.leaving || missing.is_empty(), "{missing:?} were not seen by {}", monitor.client);
        }
    }
}

#[test]
fn monitors_see_everything_while_they_are_there() {
    let (mut due, mut monitors) = (0, 0);
    each_seed(200, |seed| {
        let mut random = Random::new(seed ^ 0x51DE);
        let shards = 1 + random.below(4);
        let config = Config { slowlog_log_slower_than: 0, slowlog_max_len: 1_000_000, ..timeless(Config::default()) };
        let mut world = World::configured(config, shards, seed, 1_700_000_000_000);
        for _ in 0..WRITERS {
            world.connect();
        }
        let (monitors_of_run, sender, open) = Default::default();
        let mut scene = Scene { world, random, monitors: monitors_of_run, sender, open, sent: 0 };
        (0..400).for_each(|_| scene.step());
        scene.world.run();
        for monitor in &mut scene.monitors {
            monitor.text.push_str(&scene.world.take_received(monitor.client));
        }
        scene.judge();
        let staying = scene.monitors.iter().filter(|monitor| !monitor.leaving);
        due += staying.map(|monitor| monitor.due.len()).sum::<usize>();
        monitors += scene.monitors.len();
        for index in 0..scene.monitors.len() {
            scene.world.leave(scene.monitors[index].client);
        }
        scene.world.run();
        assert!(scene.world.engines().all(|engine| !engine.is_monitored()), "a core works for monitors that have left");
        let log = scene.world.engine(0).node().slow_log.latest(usize::MAX, 1_000_000);
        let text = |command: &[Vec<u8>]| String::from_utf8_lossy(&command.join(&b' ')).into_owned();
        let mut logged: Vec<usize> = log.iter().filter_map(|command| number(&text(&command.arguments))).collect();
        logged.sort_unstable();
        assert_eq!(logged, (0..scene.sent).collect::<Vec<_>>(), "every command is logged once");
    });
    let one_seed = std::env::var_os("SIMULATION_SEED").is_some();
    assert!(
        one_seed || due > 1000 && monitors > 500,
        "{due} lines were due to {monitors} monitors: the runs show nothing"
    );
}
