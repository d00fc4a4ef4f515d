//! The search for an order of all operations in which a single-threaded server gives just the answers that were given.
//! An operation that was answered before another one was sent comes before it.

use crate::model::Model;
use crate::world::Operation;
use std::collections::HashSet;

/// Whether there is such an order.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    Explained,
    Impossible,
}

/// Looks for an order that explains the histories of all clients.
pub fn explain(histories: &[Vec<Operation>]) -> Verdict {
    let mut seen = HashSet::new();
    let mut states = vec![(vec![0; histories.len()], Model::default())];
    while let Some((done, model)) = states.pop() {
        if done.iter().zip(histories).all(|(done, history)| *done == history.len()) {
            return Verdict::Explained;
        }
        // The first answer to any operation that is still to come: what was sent later comes later.
        let open = || histories.iter().zip(&done).filter_map(|(history, done)| history.get(*done));
        let first = open().map(|operation| operation.answered).min().expect("some operation is open");
        for (client, history) in histories.iter().enumerate() {
            let Some(operation) = history.get(done[client]).filter(|operation| operation.sent <= first) else {
                continue;
            };
            let mut model = model.clone();
            if model.run(client, &operation.request).as_bytes() == operation.answer {
                let mut done = done.clone();
                done[client] += 1;
                if seen.insert((done.clone(), model.clone())) {
                    states.push((done, model));
                }
            }
        }
    }
    Verdict::Impossible
}

/// The histories for a person to read, by the time of the answers.
pub fn show(histories: &[Vec<Operation>]) -> String {
    let mut lines: Vec<(u64, String)> = Vec::new();
    for (client, history) in histories.iter().enumerate() {
        for operation in history {
            let request: Vec<String> = operation.request.iter().map(|command| command.join(" ")).collect();
            let answer = String::from_utf8_lossy(&operation.answer).replace("\r\n", " ");
            let times = format!("{:>5}-{:<5}", operation.sent, operation.answered);
            lines.push((operation.answered, format!("{times} client {client}: {} => {answer}", request.join("; "))));
        }
    }
    lines.sort();
    lines.into_iter().map(|(_, line)| line + "\n").collect()
}
