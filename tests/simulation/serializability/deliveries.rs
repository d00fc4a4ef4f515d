//! What subscribers must have heard: every message that was published while they were subscribed, once, those of one
//! publisher in their order, and nothing else; and the counts of receivers.

use super::super::reply::Reply;
use super::play::{NEVER, Operation, Past};
use std::collections::BTreeMap;

/// A client's subscription. Within the inner bounds it gets every message, outside of the outer ones none.
struct Subscription {
    client: usize,
    name: String,
    asked: u64,
    confirmed: u64,
    end_asked: u64,
    end_confirmed: u64,
}

struct Publication<'a> {
    channel: &'a str,
    payload: &'a str,
    publisher: usize,
    sent: u64,
    answered: u64,
    /// How many were told to have received it; `None`: nobody was told.
    receivers: Option<i64>,
}

/// The commands that an operation has run, with their replies; none where a transaction was given up or nobody knows.
fn commands(operation: &Operation) -> Vec<(&[String], Option<&Reply>)> {
    let plain = || operation.request.iter().enumerate();
    match (&operation.request[0][0] == "MULTI", operation.replies.last()) {
        (false, _) => plain().map(|(index, command)| (&command[..], operation.replies.get(index))).collect(),
        (true, None) if operation.request.last().is_some_and(|last| last[0] == "EXEC") => {
            operation.request[1..operation.request.len() - 1].iter().map(|command| (&command[..], None)).collect()
        }
        (true, Some(Reply::Array(replies))) => {
            operation.request[1..].iter().zip(replies).map(|(command, reply)| (&command[..], Some(reply))).collect()
        }
        _ => Vec::new(),
    }
}

fn subscriptions(client: usize, past: &Past) -> Vec<Subscription> {
    let left = past.left.unwrap_or(NEVER);
    let mut found: Vec<Subscription> = Vec::new();
    for operation in &past.operations {
        for (command, _) in commands(operation) {
            let open = found.iter_mut().find(|one| command.get(1) == Some(&one.name) && one.end_confirmed == NEVER);
            match (command[0].as_str(), open) {
                ("SUBSCRIBE" | "PSUBSCRIBE", None) => found.push(Subscription {
                    client,
                    name: command[1].clone(),
                    asked: operation.sent,
                    confirmed: operation.answered,
                    end_asked: NEVER,
                    end_confirmed: NEVER,
                }),
                ("UNSUBSCRIBE", Some(open)) => {
                    (open.end_asked, open.end_confirmed) = (operation.sent, operation.answered);
                }
                _ => {}
            }
        }
    }
    for open in &mut found {
        (open.end_asked, open.end_confirmed) = (open.end_asked.min(left), open.end_confirmed.min(left));
    }
    found
}

fn publications(publisher: usize, past: &Past) -> Vec<Publication<'_>> {
    let mut found = Vec::new();
    for operation in &past.operations {
        for (command, reply) in commands(operation) {
            if command[0] == "PUBLISH" {
                let (channel, payload) = (command[1].as_str(), command[2].as_str());
                let Operation { sent, answered, .. } = *operation;
                let receivers = reply.map(Reply::integer);
                found.push(Publication { channel, payload, publisher, sent, answered, receivers });
            }
        }
    }
    found
}

impl Subscription {
    fn concerns(&self, publication: &Publication<'_>) -> bool {
        self.name == publication.channel || self.name == "c*"
    }

    /// Whether it must have heard that.
    fn must_hear(&self, publication: &Publication<'_>) -> bool {
        self.concerns(publication) && self.confirmed <= publication.sent && publication.answered < self.end_asked
    }

    /// Whether it may have heard that.
    fn may_hear(&self, publication: &Publication<'_>) -> bool {
        self.concerns(publication) && self.asked < publication.answered && publication.sent < self.end_confirmed
    }
}

/// Whether all have heard what they must.
pub fn judge(pasts: &[Past]) -> Result<(), String> {
    let each = || pasts.iter().enumerate();
    let subscriptions: Vec<Subscription> = each().flat_map(|(client, past)| subscriptions(client, past)).collect();
    let publications: Vec<Publication<'_>> = each().flat_map(|(client, past)| publications(client, past)).collect();
    for publication in &publications {
        let Publication { payload, receivers, .. } = publication;
        let mut heard = 0;
        let mut lost_max = 0;
        for (client, past) in each() {
            let own = || subscriptions.iter().filter(|one| one.client == client);
            for name in ["c*", publication.channel] {
                let times = past.heard.iter().filter(|one| one.payload == *payload && one.name == name).count();
                let of_name = || own().filter(|one| one.name == name);
                let least = of_name().any(|one| one.must_hear(publication)).into();
                let most = of_name().any(|one| one.may_hear(publication)).into();
                if times < least || times > most {
                    return Err(format!("client {client} has heard {payload} {times} times by {name}"));
                }
                heard += times;
                // What was on its way to a client that left is counted and not heard.
                lost_max += usize::from(past.left.is_some()) * (most - times);
            }
        }
        let count = receivers.unwrap_or(heard as i64);
        if count < heard as i64 || count > (heard + lost_max) as i64 {
            return Err(format!("{payload} has been heard {heard} times, but its count is {count}"));
        }
    }
    for (client, past) in each() {
        in_order(client, past, &publications)?;
    }
    Ok(())
}

/// Whether a client has heard the messages of each publisher in their order by each of its subscriptions.
fn in_order(client: usize, past: &Past, publications: &[Publication<'_>]) -> Result<(), String> {
    let mut last: BTreeMap<(usize, &str), usize> = BTreeMap::new();
    for heard in &past.heard {
        let Some(number) = publications.iter().position(|one| one.payload == heard.payload) else {
            return Err(format!("client {client} has heard {}, which nobody has published", heard.payload));
        };
        if last.insert((publications[number].publisher, &heard.name), number).is_some_and(|last| last >= number) {
            return Err(format!("client {client} has heard {} out of order", heard.payload));
        }
    }
    Ok(())
}

/// Whoever hears a message sees what its publisher has done before: that comes before what the listener sends from then on.
pub fn order_by_hearing(pasts: &mut [Past]) {
    let mut first_heard: BTreeMap<String, u64> = BTreeMap::new();
    for heard in pasts.iter().flat_map(|past| &past.heard) {
        let first = first_heard.entry(heard.payload.clone()).or_insert(heard.at);
        *first = heard.at.min(*first);
    }
    for past in pasts {
        let mut heard = NEVER;
        for operation in past.operations.iter_mut().rev() {
            let payloads =
                operation.request.iter().filter(|command| command[0] == "PUBLISH").map(|command| &command[2]);
            heard = payloads.filter_map(|payload| first_heard.get(payload)).copied().fold(heard, u64::min);
            if operation.is_answered() {
                operation.answered = operation.answered.min(heard);
            }
        }
    }
}
