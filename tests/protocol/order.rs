//! Replies leave in the order of the requests, whatever shards the keys live on, and requests of one pipeline see what
//! the ones before them did.

use crate::support::{Client, Reply, Server, encode};
use crimson::stdx::random::Random;
use std::collections::HashMap;

const REQUESTS: usize = 3000;
const CLIENTS: usize = 4;

/// A client's own keys and what they must hold.
struct Model {
    prefix: String,
    values: HashMap<String, String>,
}

impl Model {
    fn key(&self, random: &mut Random) -> String {
        format!("{}:{}", self.prefix, random.below(200))
    }

    fn value(&self, key: &str) -> Reply {
        self.values.get(key).map_or(Reply::NullBulk, |value| Reply::Bulk(value.clone().into()))
    }

    /// A request and the reply that must come.
    fn request(&mut self, number: usize, random: &mut Random) -> (Vec<u8>, Reply) {
        let (key, other) = (self.key(random), self.key(random));
        let carried = format!("request {number}");
        match random.below(10) {
            0..=2 => {
                self.values.insert(key.clone(), carried.clone());
                (encode(&["SET", &key, &carried]), Reply::Simple(b"OK".to_vec()))
            }
            3..=5 => (encode(&["GET", &key]), self.value(&key)),
            6 => (encode(&["ECHO", &carried]), Reply::Bulk(carried.into())),
            7 => (encode(&["MGET", &key, &other]), Reply::Array(vec![self.value(&key), self.value(&other)])),
            8 => {
                self.values.insert(key.clone(), carried.clone());
                self.values.insert(other.clone(), carried.clone());
                (encode(&["MSET", &key, &carried, &other, &carried]), Reply::Simple(b"OK".to_vec()))
            }
            _ if self.values.contains_key(&key) && key != other => {
                let value = self.values.remove(&key).expect("just seen");
                self.values.insert(other.clone(), value);
                (encode(&["RENAME", &key, &other]), Reply::Simple(b"OK".to_vec()))
            }
            _ => {
                let gone = self.values.remove(&key).is_some();
                (encode(&["DEL", &key]), Reply::Integer(i64::from(gone)))
            }
        }
    }
}

fn one_client(server: &Server, index: usize, batch: usize, seed: u64) {
    let mut random = Random::new(seed + index as u64);
    let mut model = Model { prefix: format!("client{index}"), values: HashMap::new() };
    let mut client: Client = server.client();
    let mut number = 0;
    while number < REQUESTS {
        let mut expected = Vec::new();
        let mut bytes = Vec::new();
        for _ in 0..1 + random.below(batch) {
            let (request, reply) = model.request(number, &mut random);
            bytes.extend(request);
            expected.push((number, reply));
            number += 1;
        }
        client.send(&bytes);
        for (number, reply) in expected {
            assert_eq!(client.read(), reply, "request {number} of client {index}, seed {seed}");
        }
    }
}

#[test]
fn replies_keep_the_order_of_requests_across_shards() {
    for shards in [1, 2, 4] {
        let server = Server::subject(shards, &[]);
        for (batch, seed) in [(1, 1), (16, 2), (1000, 3)] {
            std::thread::scope(|scope| {
                let clients: Vec<_> = (0..CLIENTS)
                    .map(|index| {
                        scope.spawn({
                            let server = &server;
                            move || one_client(server, index, batch, seed)
                        })
                    })
                    .collect();
                for client in clients {
                    client.join().expect("the client saw what it should");
                }
            });
            server.client().run("FLUSHALL");
        }
    }
}

/// Counters on all shards that all clients increase: nothing is lost and nobody sees a number twice.
#[test]
fn increments_of_many_clients_are_not_lost() {
    const KEYS: usize = 20;
    const ROUNDS: usize = 200;
    for shards in [1, 4] {
        let server = Server::subject(shards, &[]);
        std::thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(|| {
                    let mut client = server.client();
                    let pipeline: Vec<u8> = (0..KEYS).flat_map(|key| encode(&["INCR", &format!("n{key}")])).collect();
                    let mut last = vec![0; KEYS];
                    for _ in 0..ROUNDS {
                        client.send(&pipeline);
                        for seen in &mut last {
                            let now = client.read().integer();
                            assert!(now > *seen, "a counter went from {seen} to {now}");
                            *seen = now;
                        }
                    }
                });
            }
        });
        let mut client = server.client();
        for key in 0..KEYS {
            assert_eq!(client.call(&["GET", &format!("n{key}")]).text(), (CLIENTS * ROUNDS).to_string());
        }
    }
}
