//! Publishers and subscribers on several cores whose mail is late: every count is exact, nothing is lost between a
//! confirmation and the end of a subscription, nothing comes outside of them, and the messages of a publisher keep their
//! order.

use super::reply::Reply;
use super::world::{World, each_seed};
use bytes::Bytes;
use crimson::session::SessionFlags;
use crimson::spec::ChannelKind;
use crimson::stdx::random::Random;
use std::collections::{HashMap, VecDeque};

const CHANNELS: [&str; 3] = ["a", "b", "ab"];
const PATTERNS: [&str; 3] = ["a*", "*b", "[ab]"];
/// The words of a kind of subscription, and the names that are used with it.
struct Kind {
    subscribe: &'static str,
    unsubscribe: &'static str,
    message: &'static str,
    names: [&'static str; 3],
}

const KINDS: [Kind; 3] = [
    Kind { subscribe: "subscribe", unsubscribe: "unsubscribe", message: "message", names: CHANNELS },
    Kind { subscribe: "psubscribe", unsubscribe: "punsubscribe", message: "pmessage", names: PATTERNS },
    Kind { subscribe: "ssubscribe", unsubscribe: "sunsubscribe", message: "smessage", names: CHANNELS },
];

/// The kind that has this word.
fn kind_of(word: &str, place: fn(&Kind) -> &'static str) -> Option<usize> {
    KINDS.iter().position(|kind| place(kind) == word)
}

/// When a subscription was confirmed, and when its end was asked for.
struct Interval {
    kind: usize,
    name: &'static str,
    from: usize,
    to: usize,
}

#[derive(Default)]
struct Subscriber {
    intervals: Vec<Interval>,
    /// What it knows itself to be subscribed to, by the order of what it has received.
    confirmed: Vec<(usize, String)>,
    /// How often it has received what for which subscription: kind, name, payload.
    received: HashMap<(usize, String, String), usize>,
    /// The last number it has received from each publisher.
    last: HashMap<(usize, String, String), usize>,
    /// Ends that it has asked for and that are not confirmed.
    ending: Vec<(usize, String)>,
    gone: bool,
}

struct Publication {
    publisher: usize,
    /// Whether it went to a shard channel.
    shard: bool,
    channel: &'static str,
    sent: usize,
    answered: usize,
    receivers: i64,
}

struct Scene {
    world: World,
    random: Random,
    step: usize,
    subscribers: HashMap<usize, Subscriber>,
    publications: Vec<Publication>,
    /// By client, its publications that are not answered.
    unanswered: HashMap<usize, VecDeque<usize>>,
}

impl Scene {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed ^ 0x5EED);
        let shards = 1 + random.below(8);
        let mut scene = Self {
            world: World::new(shards, seed),
            random,
            step: 0,
            subscribers: HashMap::new(),
            publications: Vec::new(),
            unanswered: HashMap::new(),
        };
        for _ in 0..3 {
            let publisher = scene.world.connect();
            scene.unanswered.insert(publisher, VecDeque::new());
        }
        for _ in 0..5 {
            let subscriber = scene.world.connect();
            scene.subscribers.insert(subscriber, Subscriber::default());
        }
        scene
    }

    /// Somebody does something.
    fn act(&mut self) {
        if self.random.below(2) == 0 {
            let publisher = self.random.below(3);
            self.publish(publisher);
            return;
        }
        let mut alive: Vec<usize> = self.subscribers.iter().filter(|(_, one)| !one.gone).map(|(key, _)| *key).collect();
        alive.sort_unstable();
        let subscriber = alive[self.random.below(alive.len())];
        if self.random.below(40) == 0 {
            self.leave(subscriber);
            let next = self.world.connect();
            self.subscribers.insert(next, Subscriber::default());
            return;
        }
        let (kind, which) = (self.random.below(3), self.random.below(3));
        let Kind { subscribe, unsubscribe, names, .. } = KINDS[kind];
        let name = names[which];
        if self.random.below(2) == 0 {
            let other = names[self.random.below(3)];
            self.world.send(subscriber, &[subscribe, name, other]);
        } else {
            self.world.send(subscriber, &[unsubscribe, name]);
            self.end(subscriber, |interval| interval.kind == kind && interval.name == name);
            self.subscribers.get_mut(&subscriber).expect("a subscriber").ending.push((kind, name.into()));
        }
    }

    fn publish(&mut self, publisher: usize) {
        let (channel, shard) = (CHANNELS[self.random.below(3)], self.random.below(4) == 0);
        let number = self.publications.len();
        let command = if shard { "SPUBLISH" } else { "PUBLISH" };
        self.world.send(publisher, &[command, channel, &number.to_string()]);
        let (sent, answered) = (self.step, usize::MAX);
        self.publications.push(Publication { publisher, shard, channel, sent, answered, receivers: 0 });
        self.unanswered.get_mut(&publisher).expect("a publisher").push_back(number);
    }

    /// From now on these subscriptions need not hear anything.
    fn end(&mut self, subscriber: usize, which: impl Fn(&Interval) -> bool) {
        let step = self.step;
        let open = self.subscribers.get_mut(&subscriber).expect("a subscriber").intervals.iter_mut();
        open.filter(|interval| interval.to == usize::MAX && which(interval)).for_each(|interval| interval.to = step);
    }

    fn leave(&mut self, subscriber: usize) {
        self.end(subscriber, |_| true);
        self.subscribers.get_mut(&subscriber).expect("a subscriber").gone = true;
        self.world.leave(subscriber);
    }

    /// Takes what clients have received.
    fn look(&mut self) {
        for index in 0..self.world.clients.len() {
            let bytes = std::mem::take(&mut self.world.clients[index].received);
            let mut at = 0;
            while at < bytes.len() {
                let (reply, len) = Reply::parse(&bytes[at..]).expect("whole replies");
                at += len;
                if self.subscribers.contains_key(&index) {
                    self.heard(index, &reply);
                } else {
                    let number = self.unanswered.get_mut(&index).and_then(VecDeque::pop_front).expect("an answer");
                    let publication = &mut self.publications[number];
                    (publication.answered, publication.receivers) = (self.step, reply.integer());
                }
            }
        }
    }

    fn heard(&mut self, index: usize, reply: &Reply) {
        let step = self.step;
        let subscriber = self.subscribers.get_mut(&index).expect("a subscriber");
        let words = reply.elements();
        let (word, name) = (words[0].text(), words[1].text());
        if let Some(kind) = kind_of(&word, |kind| kind.subscribe) {
            if !subscriber.confirmed.contains(&(kind, name.clone())) {
                subscriber.confirmed.push((kind, name.clone()));
            }
            let name = KINDS[kind].names.into_iter().find(|known| *known == name).expect("a known name");
            // Nothing is owed to a subscription whose end has been asked for before its beginning was confirmed.
            if !subscriber.ending.contains(&(kind, name.into())) {
                subscriber.intervals.push(Interval { kind, name, from: step, to: usize::MAX });
            }
            let count = |kinds: &[usize]| subscriber.confirmed.iter().filter(|(kind, _)| kinds.contains(kind)).count();
            let expected = if kind == 2 { count(&[2]) } else { count(&[0, 1]) };
            assert_eq!(words[2].integer(), expected as i64);
        } else if let Some(kind) = kind_of(&word, |kind| kind.unsubscribe) {
            subscriber.confirmed.retain(|confirmed| *confirmed != (kind, name.clone()));
            let ended = subscriber.ending.iter().position(|ending| *ending == (kind, name.clone()));
            subscriber.ending.remove(ended.expect("it has asked for that"));
        } else {
            let kind = kind_of(&word, |kind| kind.message).expect("a message");
            assert!(subscriber.confirmed.contains(&(kind, name.clone())), "{word} {name}");
            let payload = words[words.len() - 1].text();
            let number: usize = payload.parse().expect("the number of a publication");
            let publication = &self.publications[number];
            assert_eq!(words[words.len() - 2].text(), publication.channel);
            // Over all channels of one subscription; a later subscription may not make an earlier message come again.
            let last = subscriber.last.insert((kind, name.clone(), publication.publisher.to_string()), number);
            assert!(last.is_none_or(|last| last < number), "out of order");
            let last = subscriber.last.insert((9, String::new(), publication.publisher.to_string()), number);
            assert!(last.is_none_or(|last| last <= number), "out of order");
            *subscriber.received.entry((kind, name, payload)).or_default() += 1;
        }
    }

    fn run(&mut self, steps: usize) {
        for _ in 0..steps {
            self.step += 1;
            if self.random.below(3) == 0 {
                self.act();
            }
            self.world.step();
            self.look();
        }
        self.settle();
    }

    fn settle(&mut self) {
        self.step += 1;
        self.world.run();
        self.look();
        assert!(self.unanswered.values().all(VecDeque::is_empty));
        assert!(self.world.engines().all(|engine| !engine.awaits_replies()));
    }

    /// Everybody received what was owed, and the counts say what was received.
    fn judge(&self) {
        for (number, publication) in self.publications.iter().enumerate() {
            let payload = number.to_string();
            let mut receipts = 0;
            for subscriber in self.subscribers.values() {
                let own = subscriber.received.iter().filter(|((_, _, text), _)| *text == payload);
                receipts += own.map(|(_, times)| times).sum::<usize>();
                for interval in &subscriber.intervals {
                    let reached = reaches(interval.kind, interval.name, publication.shard, publication.channel);
                    if reached && interval.from < publication.sent && publication.answered < interval.to {
                        let place = (interval.kind, interval.name.to_string(), payload.clone());
                        assert_eq!(subscriber.received.get(&place), Some(&1), "{place:?} lost");
                    }
                }
            }
            assert_eq!(publication.receivers, receipts as i64, "count of {number}");
        }
    }

    /// Every core knows what all want: a publication from any of them reaches as many as there are.
    fn probe(&mut self) {
        for core in 0..self.world.shards() {
            let prober = self.world.connect_to(core);
            self.unanswered.insert(prober, VecDeque::new());
            for _ in 0..3 {
                self.publish(prober);
                self.settle();
                let Publication { shard, channel, receivers, .. } = *self.publications.last().expect("just published");
                let alive = self.subscribers.values().filter(|subscriber| !subscriber.gone);
                let wanted = |(kind, name): &&(usize, String)| reaches(*kind, name, shard, channel);
                let expected: usize = alive.map(|one| one.confirmed.iter().filter(wanted).count()).sum();
                assert_eq!(receivers, expected as i64, "{channel} from {core}");
            }
            self.world.leave(prober);
        }
    }

    /// At the end nobody wants anything, and every core knows it.
    fn part(&mut self) {
        let mut alive: Vec<usize> = self.subscribers.iter().filter(|(_, one)| !one.gone).map(|(key, _)| *key).collect();
        alive.sort_unstable();
        for subscriber in alive {
            if self.random.below(2) == 0 {
                self.leave(subscriber);
            } else {
                for Kind { unsubscribe, .. } in KINDS {
                    self.world.send(subscriber, &[unsubscribe]);
                }
                self.end(subscriber, |_| true);
            }
        }
        self.settle_end();
        for engine in self.world.engines() {
            assert_eq!(ChannelKind::ALL.map(|kind| engine.node().interest.len(kind)), [0; 3]);
        }
    }

    /// Confirmations of an end without names carry a null where there was nothing to end.
    fn settle_end(&mut self) {
        self.world.run();
        for client in 0..self.world.clients.len() {
            self.world.clients[client].received.clear();
            let (core, key, gone) =
                (self.world.clients[client].core, self.world.clients[client].key, self.world.clients[client].gone);
            if !gone {
                let session = self.world.engine(core).session_mut(key).expect("it is connected");
                assert!(!session.flags.contains(SessionFlags::SUBSCRIBED) && session.subscriptions.is_none());
            }
        }
    }
}

/// Whether a publication reaches a subscription.
fn reaches(kind: usize, name: &str, shard: bool, channel: &str) -> bool {
    match (kind, name) {
        (0, name) => !shard && name == channel,
        (2, name) => shard && name == channel,
        _ if shard => false,
        (_, "a*") => channel.starts_with('a'),
        (_, "*b") => channel.ends_with('b'),
        _ => channel.len() == 1,
    }
}

fn messages_arrive_exactly_where_they_should(seed: u64) {
    let mut scene = Scene::new(seed);
    scene.run(400);
    scene.judge();
    scene.probe();
    scene.run(150);
    scene.probe();
    scene.judge();
    scene.part();
}

/// The engine publishes for others too, such as notifications of what happens to keys; nobody waits for a count.
#[test]
fn a_core_publishes_by_itself() {
    let mut world = World::new(3, 0);
    let clients: Vec<usize> = (0..6).map(|_| world.connect()).collect();
    clients.iter().for_each(|&client| world.send(client, &["PSUBSCRIBE", "event*"]));
    world.run();
    world.clients.iter_mut().for_each(|client| client.received.clear());
    for core in 0..3 {
        world.engine(core).publish(ChannelKind::Channel, b"event", Bytes::from(format!("from {core}")));
        world.run();
    }
    for client in clients {
        let message = |core| format!("*4\r\n$8\r\npmessage\r\n$6\r\nevent*\r\n$5\r\nevent\r\n$6\r\nfrom {core}\r\n");
        assert_eq!(world.take_received(client), (0..3).map(message).collect::<String>());
    }
    assert!(world.engines().all(|engine| !engine.awaits_replies()));
}

/// Whoever publishes finds the subscriptions that were confirmed before, though the subscriber's core has told nobody: it
/// alone has had turns.
#[test]
fn a_publication_finds_the_subscriptions_that_came_first() {
    let kinds =
        [("SUBSCRIBE", "news", "PUBLISH"), ("PSUBSCRIBE", "n?ws", "PUBLISH"), ("SSUBSCRIBE", "news", "SPUBLISH")];
    for (seed, (subscribe, name, publish)) in kinds.into_iter().enumerate() {
        let mut world = World::new(3, seed as u64);
        let (subscriber, publisher) = (world.connect_to(0), world.connect_to(1));
        world.send(subscriber, &[subscribe, name]);
        (0..100).for_each(|_| world.turn(0));
        let confirmation = world.take_received(subscriber);
        assert!(confirmation.ends_with(":1\r\n"), "{subscribe}: {confirmation:?}");
        world.send(publisher, &[publish, "news", "text"]);
        world.run();
        assert_eq!(world.take_received(publisher), ":1\r\n", "{subscribe}");
        assert!(world.take_received(subscriber).ends_with("text\r\n"), "{subscribe}");
    }
}

#[test]
fn publications_are_exact_over_any_number_of_cores() {
    each_seed(300, messages_arrive_exactly_where_they_should);
}
