//! The search for an order of all operations in which a single-threaded server gives just the answers that were given.
//! An operation that was answered before another one was sent comes before it.
//!
//! One that blocks takes two steps, it begins to wait and it is served, both between its request and its answer. Those who
//! wait for the same key are served in the order in which they began. An operation that was not answered, because its
//! client has gone, may come at any time or not at all.

use super::super::reply::Reply;
use super::model::{Model, fits};
use super::play::{Operation, Past};
use super::program::{blocks, wait_of};
use std::collections::HashSet;

/// Whether there is such an order.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    Explained,
    Impossible,
    /// There are too many to try.
    Undecided,
}

/// States looked at before the search gives up.
const STATES_MAX: usize = 400_000;

/// How far the clients have come in an order.
#[derive(Clone, PartialEq, Eq, Hash)]
struct State {
    /// By client, how many of its operations are over.
    done: Vec<usize>,
    /// Clients that wait, in the order in which they began.
    waiting: Vec<usize>,
    model: Model,
}

struct Search<'a> {
    pasts: &'a [Past],
    seen: HashSet<State>,
    states: Vec<State>,
}

/// Looks for an order that explains all answers.
pub fn explain(pasts: &[Past]) -> Verdict {
    let start = State { done: vec![0; pasts.len()], waiting: Vec::new(), model: Model::default() };
    let mut search = Search { pasts, seen: HashSet::new(), states: vec![start] };
    while let Some(state) = search.states.pop() {
        if search.is_end(&state) {
            return Verdict::Explained;
        }
        if search.seen.len() > STATES_MAX {
            return Verdict::Undecided;
        }
        search.proceed(&state);
    }
    Verdict::Impossible
}

impl Search<'_> {
    fn next(&self, state: &State, client: usize) -> Option<&Operation> {
        self.pasts[client].operations.get(state.done[client])
    }

    fn is_end(&self, state: &State) -> bool {
        (0..self.pasts.len()).all(|client| self.next(state, client).is_none_or(|operation| !operation.is_answered()))
    }

    /// Adds all states that can follow.
    fn proceed(&mut self, state: &State) {
        let open = || (0..self.pasts.len()).filter_map(|client| self.next(state, client));
        // The first answer to any operation that is still to come: what was sent later comes later.
        let first = open().map(|operation| operation.answered).min().expect("some operation is open");
        let latest_ms = open().map(|operation| operation.answered_ms).min().expect("some operation is open");
        let mut found = Vec::new();
        for key in state.model.may_expire(latest_ms) {
            let mut next = state.clone();
            next.model.expire(&key);
            found.push(next);
        }
        for client in 0..self.pasts.len() {
            let Some(operation) = self.next(state, client) else { continue };
            if state.waiting.contains(&client) {
                self.end_wait(state, client, operation, &mut found);
            } else if operation.sent < first {
                let mut begun = state.clone();
                begun.model.set_time(operation.sent_ms, latest_ms);
                self.run(begun, client, operation, &mut found);
            }
        }
        for mut state in found {
            state.model.forget_latest();
            if self.seen.insert(state.clone()) {
                self.states.push(state);
            }
        }
    }

    fn run(&self, mut state: State, client: usize, operation: &Operation, found: &mut Vec<State>) {
        let command = &operation.request[0];
        if command[0] == "CLIENT" {
            return self.unblock(&state, client, operation, found);
        }
        if !blocks(&operation.request) {
            self.run_with_late_eyes(&state, client, operation, found);
            let replies = state.model.run(client, &operation.request);
            return found.extend(operation.fits(&replies).then(|| state.over(client)));
        }
        match state.model.take(command, None) {
            Some(reply) => found.extend(operation.fits(&[reply]).then(|| state.over(client))),
            None => {
                state.waiting.push(client);
                found.push(state);
            }
        }
    }

    /// A command split by key is one moment for all changes that clients make, but each shard looks at its own clock when
    /// it runs its part: it may find a key expired whose time was over only while it was under way.
    fn run_with_late_eyes(&self, state: &State, client: usize, operation: &Operation, found: &mut Vec<State>) {
        let [command] = &operation.request[..] else { return };
        if !operation.is_answered() || !matches!(&*command[0], "MGET" | "EXISTS" | "DEL") {
            return;
        }
        for key in state.model.may_expire(operation.answered_ms).iter().filter(|key| command[1..].contains(key)) {
            let mut seen = state.clone();
            seen.model.expire(key);
            if operation.fits(&seen.model.run(client, &operation.request)) {
                let after = if command[0] == "DEL" { seen } else { state.clone() };
                found.push(after.over(client));
            }
        }
    }

    /// A client that waits is served, or its wait ends.
    fn end_wait(&self, state: &State, client: usize, operation: &Operation, found: &mut Vec<State>) {
        let command = &operation.request[0];
        let wait = wait_of(command).expect("it waits");
        for key in wait.keys {
            let ahead = state.waiting.iter().take_while(|other| **other != client);
            let overtakes = ahead.filter_map(|&other| self.awaited(state, other)).any(|keys| keys.contains(key));
            let mut next = state.clone();
            if !overtakes
                && let Some(reply) = next.model.take(command, Some(key))
                && operation.fits(&[reply])
            {
                found.push(next.over(client));
            }
        }
        let overdue = wait.timeout_ms > 0 && operation.answered_ms > operation.sent_ms + wait.timeout_ms;
        if !operation.is_answered() || overdue && operation.fits(&[Reply::Null]) {
            found.push(state.clone().over(client));
        }
    }

    fn awaited(&self, state: &State, client: usize) -> Option<&[String]> {
        self.next(state, client).and_then(|operation| wait_of(&operation.request[0])).map(|wait| wait.keys)
    }

    /// CLIENT UNBLOCK.
    fn unblock(&self, state: &State, client: usize, operation: &Operation, found: &mut Vec<State>) {
        let command = &operation.request[0];
        let target: usize = command[2][1..].parse().expect("the number of a client");
        let (yes, no) = (operation.fits(&[Reply::Integer(1)]), operation.fits(&[Reply::Integer(0)]));
        if !state.waiting.contains(&target) {
            return found.extend(no.then(|| state.clone().over(client)));
        }
        let waits = self.next(state, target).expect("it waits");
        let end = match command[3].as_str() {
            "TIMEOUT" => Reply::Null,
            _ => Reply::Error(b"UNBLOCKED client unblocked via CLIENT UNBLOCK".to_vec()),
        };
        if yes && waits.fits(&[end]) {
            found.push(state.clone().over(client).over(target));
        }
    }
}

impl State {
    /// A client's operation is over.
    fn over(mut self, client: usize) -> Self {
        self.done[client] += 1;
        self.waiting.retain(|waiting| *waiting != client);
        self
    }
}

impl Operation {
    /// Whether these are its replies.
    fn fits(&self, replies: &[Reply]) -> bool {
        let same = || replies.iter().zip(&self.replies).all(|(expected, actual)| fits(expected, actual));
        !self.is_answered() || replies.len() == self.replies.len() && same()
    }
}

/// The pasts of all clients for a person to read, by the time of the answers.
pub fn show(pasts: &[Past]) -> String {
    let mut lines: Vec<(u64, String)> = Vec::new();
    for (client, past) in pasts.iter().enumerate() {
        for operation in &past.operations {
            let request: Vec<String> = operation.request.iter().map(|command| command.join(" ")).collect();
            let replies: Vec<String> =
                operation.replies.iter().map(|reply| reply.to_string().replace('\n', " ")).collect();
            let (Operation { sent, answered, .. }, request) = (operation, request.join("; "));
            let times =
                if operation.is_answered() { format!("{sent:>5}-{answered:<5}") } else { format!("{sent:>5}-     ") };
            let at = if operation.is_answered() { *answered } else { *sent };
            lines.push((at, format!("{times} client {client}: {request} => {}", replies.join("; "))));
        }
        for heard in &past.heard {
            let line = format!("      {:<5} client {client}: hears {} on {}", heard.at, heard.payload, heard.name);
            lines.push((heard.at, line));
        }
    }
    lines.sort();
    lines.into_iter().map(|(_, line)| line + "\n").collect()
}
