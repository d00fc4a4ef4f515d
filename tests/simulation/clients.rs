//! The memory of clients on several cores: what is counted is what there is, and when it is too much, the largest clients
//! go, wherever they are, and no more of them than must.

use super::world::{World, each_seed};
use crimson::config::MemoryOrPercent;
use crimson::session::SessionFlags;
use crimson::stdx::random::Random;

struct Scene {
    world: World,
    random: Random,
}

impl Scene {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed ^ 0xC11E);
        let world = World::new(1 + random.below(5), seed);
        Self { world, random }
    }

    /// A client that queues or watches some commands, some kilobytes.
    fn grow(&mut self, client: usize) {
        if self.random.below(3) == 0 {
            let key = "w".repeat(self.random.below(40_000));
            self.world.send(client, &["WATCH", &key]);
        }
        self.world.send(client, &["MULTI"]);
        for _ in 0..1 + self.random.below(6) {
            let value = "v".repeat(self.random.below(60_000));
            self.world.send(client, &["SET", "k", &value]);
        }
    }

    fn add_clients(&mut self, count: usize) {
        for _ in 0..count {
            let client = self.world.connect();
            if self.random.below(6) == 0 {
                self.world.send(client, &["CLIENT", "NO-EVICT", "ON"]);
            }
            self.grow(client);
        }
    }

    /// Runs until nothing is on its way, and every cron has run twice since.
    fn rest(&mut self) {
        self.world.run();
        for _ in 0..4 {
            self.world.now += 200;
            (0..self.world.shards()).for_each(|core| self.world.turn(core));
        }
        self.world.run();
    }

    fn set_limit(&mut self, bytes: u64) {
        let change = |config: &mut crimson::config::Config| {
            config.maxmemory_clients = MemoryOrPercent::Bytes(bytes);
            Ok::<_, ()>(())
        };
        self.world.engine(0).node().clone().change_config(change).expect("it is possible");
    }

    /// What each client takes, and whether it may be evicted; `None` for one that has gone.
    fn sizes(&mut self) -> Vec<Option<(usize, bool)>> {
        let places: Vec<_> =
            self.world.clients.iter().map(|client| (!client.gone).then_some((client.core, client.key))).collect();
        let mut size = |(core, key)| {
            let session = self.world.engine(core).session_mut(key).expect("it is there");
            (session.memory_bytes(), !session.flags.contains(SessionFlags::NO_EVICT))
        };
        places.into_iter().map(|place| place.map(&mut size)).collect()
    }

    fn published(&mut self) -> u64 {
        self.world.engine(0).node().metrics.iter().map(|core| core.clients_bytes.get()).sum()
    }

    /// What is published is what there is.
    fn check_sum(&mut self) -> usize {
        let sum = self.sizes().iter().flatten().map(|(size, _)| size).sum::<usize>();
        assert_eq!(self.published(), sum as u64);
        sum
    }
}

#[test]
fn the_largest_go_wherever_they_are() {
    each_seed(300, |seed| {
        let mut scene = Scene::new(seed);
        let count = 2 + scene.random.below(14);
        scene.add_clients(count);
        scene.rest();
        let sum = scene.check_sum();
        let before = scene.sizes();
        let limit = (128 << 10) + scene.random.below(sum);
        scene.set_limit(limit as u64);
        scene.rest();
        let left = scene.check_sum();
        let after = scene.sizes();
        let of = |gone: bool| {
            let both = before.iter().zip(&after).filter(move |(_, after)| after.is_none() == gone);
            both.filter_map(|(before, _)| *before).filter(|(_, evictable)| *evictable).map(|(size, _)| size)
        };
        let (smallest_gone, largest_left) = (of(true).min().unwrap_or(usize::MAX), of(false).max().unwrap_or(0));
        // Those of other cores may be up to twice as large.
        let equal = largest_left < smallest_gone.saturating_mul(2).max(64 << 10);
        assert!(
            equal && (scene.world.shards() > 1 || largest_left <= smallest_gone),
            "{before:?} {after:?}, limit {limit}"
        );
        assert!(left <= limit || largest_left == 0, "{before:?} {after:?}, limit {limit}");
        let last_gone = if scene.world.shards() == 1 { of(true).min() } else { of(true).max() };
        assert!(last_gone.is_none_or(|size| left + size > limit), "{before:?} {after:?}, limit {limit}");
        let evicted: u64 = scene.world.engine(0).node().metrics.iter().map(|core| core.evicted_clients.get()).sum();
        assert_eq!(evicted as usize, of(true).count());
    });
}

#[test]
fn the_limit_holds_while_clients_come_grow_and_leave() {
    each_seed(150, |seed| {
        let mut scene = Scene::new(seed);
        let limit = 200_000 + scene.random.below(400_000);
        scene.set_limit(limit as u64);
        for _ in 0..6 {
            let count = 1 + scene.random.below(4);
            scene.add_clients(count);
            for client in 0..scene.world.clients.len() {
                match scene.random.below(8) {
                    _ if scene.world.clients[client].gone => {}
                    0 => scene.world.leave(client),
                    1 => scene.world.send(client, &["EXEC"]),
                    2 => scene.world.send(client, &["CLIENT", "NO-EVICT", "OFF"]),
                    3 => scene.grow(client),
                    _ => {}
                }
            }
            for _ in 0..scene.random.below(40) {
                scene.world.step();
            }
        }
        scene.rest();
        let left = scene.check_sum();
        let sizes = scene.sizes();
        assert!(left <= limit || sizes.iter().flatten().all(|(_, evictable)| !evictable), "{sizes:?}, limit {limit}");
    });
}
