//! Moves that wait, from one shard to another: the shard of the source cannot run them, so the client's core tries them
//! again. What comes to such a client meanwhile: CLIENT UNBLOCK, a pause, its own timeout.

use super::blocking::{Scene, bulks};
use super::reply::Reply;
use super::world::each_seed;
use crimson::engine::Engine;
use crimson::stdx::random::Random;

/// Whether a client's move is being tried again.
fn is_trying(scene: &mut Scene, client: usize) -> bool {
    let (core, key) = (scene.world.clients[client].core, scene.world.clients[client].key);
    let session = scene.world.engine(core).session_mut(key).expect("it is connected");
    session.blocked.as_deref().is_some_and(|blocked| blocked.trying)
}

fn nothing_is_left(scene: &Scene) {
    assert_eq!(scene.world.engines().map(Engine::waiting_registrations).sum::<usize>(), 0);
    assert!(scene.world.engines().all(|engine| engine.next_deadline().is_none()));
}

/// How a client's move has ended that another declared to be over while it was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Unblocked,
    Served,
    /// It was not tried, because one shard has both keys, or nobody looked at the right moment.
    Untried,
}

/// A client is unblocked, or gets its element, and what the other was told is true. Who waits behind it is not forgotten.
fn unblocked_or_served(seed: u64) -> End {
    let mut random = Random::new(seed);
    let mut scene = Scene::new(2 + random.below(6), seed);
    let (mover, second, producer) = (scene.world.connect(), scene.world.connect(), scene.world.connect());
    let other = match random.below(2) {
        0 => scene.world.connect_to(scene.world.clients[mover].core),
        _ => scene.world.connect(),
    };
    let (from, to) = (format!("from{}", random.below(50)), format!("to{}", random.below(50)));
    scene.send(mover, &["BLMOVE", &from, &to, "LEFT", "RIGHT", "0"]);
    scene.settle();
    scene.send(second, &["BLPOP", &from, "0"]);
    scene.settle();
    scene.send(producer, &["RPUSH", &from, "e"]);
    while !is_trying(&mut scene, mover) {
        if !scene.is_waiting(mover) {
            return End::Untried;
        }
        scene.world.step();
    }
    let id = scene.world.clients[mover].id.to_string();
    let (how, ended) = match random.below(2) {
        0 => ("TIMEOUT", Reply::NullArray),
        _ => ("ERROR", Reply::Error(b"UNBLOCKED client unblocked via CLIENT UNBLOCK".to_vec())),
    };
    scene.send(other, &["CLIENT", "UNBLOCK", &id, how]);
    scene.settle();
    let unblocked = scene.take_reply(other).expect("it is answered").1;
    let reply = scene.take_reply(mover).expect("its wait is over").1;
    let moved = bulks(&scene.ask(other, &["LRANGE", &to, "0", "-1"]));
    let end = if unblocked == Reply::Integer(1) {
        assert_eq!((reply, moved), (ended, Vec::new()), "it was declared unblocked");
        let (_, second) = scene.take_reply(second).expect("the element is for the next one");
        assert_eq!(bulks(&second), [from, "e".into()]);
        End::Unblocked
    } else {
        assert_eq!((unblocked, bulks(&reply), moved), (Reply::Integer(0), vec!["e".into()], vec!["e".into()]));
        assert!(scene.is_waiting(second));
        scene.ask(producer, &["RPUSH", &from, "f"]);
        End::Served
    };
    scene.settle();
    nothing_is_left(&scene);
    end
}

#[test]
fn who_is_told_to_be_unblocked_gets_nothing() {
    let mut ends = Vec::new();
    each_seed(600, |seed| ends.push(unblocked_or_served(seed)));
    for end in [End::Unblocked, End::Served] {
        let count = ends.iter().filter(|one| **one == end).count();
        assert!(count > 20 || ends.len() < 600, "{end:?}: {count} of {}", ends.len());
    }
}

/// A pause holds back what feeds clients that wait on several shards, but neither their timeouts nor, where it is for writes
/// only, CLIENT UNBLOCK. What was held back comes when it is over, to whom waits then.
fn a_pause_beside_waits(seed: u64) {
    const PAUSE_MS: i64 = 50;
    let mut random = Random::new(seed);
    let mut scene = Scene::new(1 + random.below(8), seed);
    let [mover, popper, timed, victim, late, producer, other] = [(); 7].map(|()| scene.world.connect());
    scene.send(mover, &["BLMOVE", "k0", "k1", "LEFT", "LEFT", "0"]);
    scene.settle();
    scene.send(popper, &["BLPOP", "none", "k0", "k2", "0"]);
    scene.send(timed, &["BLMOVE", "k3", "k2", "LEFT", "LEFT", "0.02"]);
    scene.send(victim, &["BLPOP", "k4", "k5", "k6", "0"]);
    scene.settle();

    let writes_only = random.below(2) == 0;
    let (kind, length) = (["ALL", "WRITE"][usize::from(writes_only)], PAUSE_MS.to_string());
    scene.ask(other, &["CLIENT", "PAUSE", &length, kind]);
    let (paused, id) = (scene.world.now, scene.world.clients[victim].id.to_string());
    scene.send(producer, &["RPUSH", "k0", "a", "b"]);
    scene.send(late, &["BLPOP", "k7", "k8", "k9", "0.03"]);
    scene.send(other, &["CLIENT", "UNBLOCK", &id]);
    scene.settle();
    let unblocked = scene.take_reply(other).map(|(_, reply)| reply);
    assert_eq!(unblocked, writes_only.then_some(Reply::Integer(1)));
    assert_eq!(scene.is_waiting(victim), !writes_only);
    assert!([mover, popper, timed, late, producer].iter().all(|client| scene.is_waiting(*client)));

    scene.world.now = paused + 21;
    scene.settle();
    assert_eq!(scene.take_reply(timed).map(|(_, reply)| reply), Some(Reply::NullArray));
    scene.world.now = paused + PAUSE_MS - 1;
    scene.settle();
    assert!([mover, popper, late, producer].iter().all(|client| scene.is_waiting(*client)));

    // In their order; a command that was held back waits from now on.
    scene.world.now = paused + PAUSE_MS;
    scene.settle();
    let expected = [vec!["a".to_string()], vec!["k0".into(), "b".into()]];
    let served = [mover, popper].map(|client| scene.take_reply(client).map_or(Vec::new(), |(_, reply)| bulks(&reply)));
    assert_eq!(served, expected);
    assert_eq!(scene.take_reply(producer).map(|(_, reply)| reply), Some(Reply::Integer(2)));
    assert!(!scene.is_waiting(victim) && scene.is_waiting(late));
    scene.world.now += 30;
    scene.settle();
    assert!(scene.is_waiting(late));
    scene.world.now += 1;
    scene.settle();
    assert_eq!(scene.take_reply(late).map(|(_, reply)| reply), Some(Reply::NullArray));
    nothing_is_left(&scene);
}

#[test]
fn a_pause_holds_back_what_feeds_and_not_who_waits() {
    each_seed(300, a_pause_beside_waits);
}
