//! What has happened in runs, counted by what clients were answered.

use super::super::reply::Reply;
use super::play::{Operation, Past};
use super::program::blocks;
use std::collections::{BTreeMap, BTreeSet};

/// How often things have happened.
#[derive(Default)]
pub struct Tally(BTreeMap<&'static str, usize>);

impl Tally {
    /// How often each has happened.
    pub fn counts(&self) -> BTreeMap<&'static str, usize> {
        const ALL: [&str; 12] = [
            "EXEC runs",
            "EXEC is refused",
            "a wait is served",
            "a move that waits is served",
            "a wait ends",
            "a wait is ended with an error",
            "CLIENT UNBLOCK unblocks",
            "a blocking command in a transaction",
            "PUBLISH in a transaction reaches somebody",
            "a message is heard",
            "a client leaves without an answer",
            "a key has a time to live",
        ];
        ALL.into_iter().map(|what| (what, self.0.get(what).copied().unwrap_or_default())).collect()
    }

    /// Adds a run.
    pub fn add(&mut self, pasts: &[Past]) {
        let pushes = pasts.iter().flat_map(|past| &past.operations).filter(|one| one.request[0][0].ends_with("PUSH"));
        let pushed: BTreeMap<&str, u64> =
            pushes.flat_map(|one| one.request[0][2..].iter().map(|element| (element.as_str(), one.sent))).collect();
        for past in pasts {
            self.count("a message is heard", past.heard.len());
            for operation in &past.operations {
                self.add_operation(operation, &pushed);
            }
        }
    }

    fn count(&mut self, what: &'static str, times: usize) {
        *self.0.entry(what).or_default() += times;
    }

    fn add_operation(&mut self, operation: &Operation, pushed: &BTreeMap<&str, u64>) {
        let Some(reply) = operation.replies.last().filter(|_| operation.is_answered()) else {
            return self.count("a client leaves without an answer", 1);
        };
        let command = &operation.request[0];
        let name = command[0].as_str();
        if blocks(&operation.request) {
            // An element that was sent later than the command: it has waited for that.
            let waited =
                texts(reply).iter().any(|text| pushed.get(text.as_str()).is_some_and(|sent| *sent > operation.sent));
            self.count("a wait is served", waited.into());
            self.count("a move that waits is served", (waited && matches!(name, "BLMOVE" | "BRPOPLPUSH")).into());
            self.count("a wait ends", reply.is_null().into());
            self.count("a wait is ended with an error", reply.is_error().into());
        }
        self.count("CLIENT UNBLOCK unblocks", (name == "CLIENT" && *reply == Reply::Integer(1)).into());
        self.count("a key has a time to live", (name == "PEXPIRE" || command.iter().any(|word| word == "PX")).into());
        if let (true, Reply::Array(replies)) = (name == "MULTI", reply) {
            self.count("EXEC runs", 1);
            for (command, reply) in operation.request[1..].iter().zip(replies) {
                self.count("a blocking command in a transaction", command[0].starts_with('B').into());
                let reached = command[0] == "PUBLISH" && reply.integer() > 0;
                self.count("PUBLISH in a transaction reaches somebody", reached.into());
            }
        }
        self.count("EXEC is refused", (name == "MULTI" && reply.is_null()).into());
    }
}

/// Every string in a reply.
fn texts(reply: &Reply) -> BTreeSet<String> {
    match reply {
        Reply::Bulk(_) => [reply.text()].into(),
        Reply::Array(elements) => elements.iter().flat_map(texts).collect(),
        _ => BTreeSet::new(),
    }
}
