//! What clients remember of what they have asked and were answered, and what may be there after a failure because of that.

use std::collections::{BTreeMap, BTreeSet};

/// The time of what has not happened.
pub const NEVER: i64 = i64::MAX;

/// Something that a client has written into a key.
#[derive(Clone, Debug)]
pub struct Write {
    /// `None`: it was removed.
    pub value: Option<String>,
    /// How long it lives.
    pub lives_ms: Option<i64>,
    /// Steps of the run.
    pub sent: i64,
    pub sent_ms: i64,
    /// [`NEVER`]: nobody knows whether it has been done.
    pub done: i64,
    pub done_ms: i64,
    /// It is known that it was not done.
    pub void: bool,
}

/// A number that only grows.
#[derive(Default, Debug)]
pub struct Counter {
    base: i64,
    /// How often somebody has asked for it to grow.
    pub asked: i64,
    /// When that was acknowledged.
    pub grown_ms: Vec<i64>,
    /// What was read, and when.
    pub seen: Vec<(i64, i64)>,
}

/// An element that moves between lists.
#[derive(Debug)]
pub struct Element {
    /// When it was first known that it is there.
    pub pushed_ms: i64,
    /// When it was known to be gone.
    pub popped_ms: i64,
}

/// All that clients remember.
#[derive(Default, Debug)]
pub struct Memory {
    pub registers: BTreeMap<String, Vec<Write>>,
    pub counters: BTreeMap<String, Counter>,
    pub elements: BTreeMap<String, Element>,
    /// Elements that a power failure has left in two lists: of a move between shards one half was gone. They are not judged.
    pub doubled: BTreeSet<String>,
    /// Answers to pops that have not come.
    pub lost_pops: usize,
    /// By list and client, what the client has appended to it, in order; `true`: it was acknowledged.
    pub queues: BTreeMap<(String, usize), Vec<(String, bool)>>,
}

/// What a server holds.
#[derive(Default, Debug)]
pub struct Found {
    /// When it was asked, and answered.
    pub asked: i64,
    pub now: i64,
    pub strings: BTreeMap<String, Option<String>>,
    pub lists: BTreeMap<String, Vec<String>>,
}

impl Memory {
    /// Somebody has read a value.
    pub fn seen(&mut self, key: &str, value: &str, tick: i64, now: i64) {
        if let Some(counter) = self.counters.get_mut(key) {
            return counter.seen.push((value.parse().expect("a number"), now));
        }
        let writes = self.registers.entry(key.into()).or_default();
        let write =
            writes.iter_mut().find(|write| write.value.as_deref() == Some(value)).expect("somebody has written it");
        (write.done, write.done_ms) = (write.done.min(tick), write.done_ms.min(now));
    }

    /// Whether what is there is explained by what was acknowledged up to `safe_ms` and what else was asked.
    /// `exact`: all that was acknowledged is safe.
    pub fn judge(&self, found: &Found, safe_ms: i64, exact: bool) -> Result<(), String> {
        for (key, writes) in &self.registers {
            judge_register(writes, found.strings[key].as_deref(), (found.asked, found.now), safe_ms)
                .map_err(|reason| format!("{key} is {:?}: {reason}; {writes:#?}", found.strings[key]))?;
        }
        for pair in 0..2 {
            let [a, b] = ["a", "b"].map(|half| &found.strings[&format!("{half}{pair}")]);
            if a != b {
                return Err(format!("half a transaction: a{pair} is {a:?}, b{pair} is {b:?}"));
            }
        }
        let number = |key: &str| found.strings[key].as_deref().map_or(0, |text| text.parse::<i64>().expect("a number"));
        if number("x") != number("y") {
            return Err(format!("half a transaction: x is {}, y is {}", number("x"), number("y")));
        }
        for (key, counter) in &self.counters {
            let grown = counter.grown_ms.iter().filter(|ms| **ms <= safe_ms).count() as i64;
            let seen = counter.seen.iter().filter(|seen| seen.1 <= safe_ms).map(|seen| seen.0).max().unwrap_or(0);
            let (least, most) = (seen.max(counter.base + grown), counter.base + counter.asked);
            if !(least..=most).contains(&number(key)) {
                return Err(format!("{key} is {}, not between {least} and {most}", number(key)));
            }
        }
        self.judge_queues(found)?;
        if exact { self.judge_elements(found) } else { Ok(()) }
    }

    /// What one client has appended to one list is there in order, and all of it up to some point.
    fn judge_queues(&self, found: &Found) -> Result<(), String> {
        for ((list, client), sent) in &self.queues {
            let own: Vec<&String> =
                found.lists[list].iter().filter(|text| sent.iter().any(|(element, _)| element == *text)).collect();
            let places: Vec<usize> = own
                .iter()
                .map(|text| sent.iter().position(|(element, _)| element == *text).expect("it is one of them"))
                .collect();
            if !places.is_sorted_by(|a, b| a < b) {
                return Err(format!("{list} has the elements of client {client} in another order: {own:?}"));
            }
            let last = places.last().map_or(0, |last| last + 1);
            let gone = (0..last).find(|place| sent[*place].1 && !places.contains(place));
            if let Some(gone) = gone {
                return Err(format!("{list} has lost {} and kept later ones: {own:?}", sent[gone].0));
            }
        }
        Ok(())
    }

    fn judge_elements(&self, found: &Found) -> Result<(), String> {
        let there: Vec<&String> = moved(found).filter(|name| !self.doubled.contains(*name)).collect();
        let distinct: BTreeSet<&String> = there.iter().copied().collect();
        if distinct.len() < there.len() {
            return Err(format!("an element is there twice: {:?}", found.lists));
        }
        let risen = self.elements.iter().find(|(name, element)| element.popped_ms < NEVER && distinct.contains(name));
        if let Some((name, _)) = risen {
            return Err(format!("{name} was popped and is there again"));
        }
        let gone = self.elements.iter().filter(|(name, element)| {
            element.pushed_ms < NEVER && element.popped_ms == NEVER && !distinct.contains(name)
        });
        let gone: Vec<&String> = gone.map(|(name, _)| name).filter(|name| !self.doubled.contains(*name)).collect();
        if gone.len() > self.lost_pops {
            return Err(format!("elements are gone: {gone:?}, with {} pops unanswered", self.lost_pops));
        }
        Ok(())
    }

    /// All queues' last elements that were acknowledged are there.
    pub fn judge_ends(&self, found: &Found) -> Result<(), String> {
        for ((list, client), sent) in &self.queues {
            let lost =
                sent.iter().find(|(element, acknowledged)| *acknowledged && !found.lists[list].contains(element));
            if let Some((element, _)) = lost {
                return Err(format!("{list} has lost {element} of client {client}"));
            }
        }
        Ok(())
    }

    /// What is there is what everybody knows from now on.
    pub fn accept(&mut self, found: &Found, tick: i64) {
        for (key, writes) in &mut self.registers {
            let value = &found.strings[key];
            let kept = writes.iter().rfind(|write| !write.void && write.value == *value).cloned();
            let removed = Write {
                value: None,
                lives_ms: None,
                sent: tick,
                sent_ms: found.now,
                done: tick,
                done_ms: found.now,
                void: false,
            };
            let kept = kept.filter(|_| value.is_some()).unwrap_or(removed);
            *writes = vec![Write { done: kept.done.min(tick), done_ms: kept.done_ms.min(found.now), ..kept }];
        }
        for (key, counter) in &mut self.counters {
            let base = found.strings[key].as_deref().map_or(0, |text| text.parse().expect("a number"));
            *counter = Counter { base, ..Counter::default() };
        }
        let there: BTreeSet<&String> = found.lists.values().flatten().collect();
        self.elements.retain(|name, element| element.popped_ms < NEVER || there.contains(name));
        for (name, element) in &mut self.elements {
            element.pushed_ms = element.pushed_ms.min(found.now);
            if there.contains(name) {
                element.popped_ms = NEVER;
            }
        }
        let mut seen = BTreeSet::new();
        self.doubled.extend(moved(found).filter(|name| !seen.insert(*name)).cloned());
        self.lost_pops = 0;
        for ((list, _), sent) in &mut self.queues {
            sent.retain(|(element, _)| found.lists[list].contains(element));
            sent.iter_mut().for_each(|(_, acknowledged)| *acknowledged = true);
        }
    }
}

/// What is in the lists between which elements move.
fn moved(found: &Found) -> impl Iterator<Item = &String> {
    found.lists.iter().filter(|(list, _)| list.starts_with('l')).flat_map(|(_, elements)| elements)
}

fn judge_register(
    writes: &[Write],
    value: Option<&str>,
    (asked, now): (i64, i64),
    safe_ms: i64,
) -> Result<(), &'static str> {
    let explains = |write: &&Write| match value {
        Some(value) => write.value.as_deref() == Some(value),
        None => write.value.is_none() || write.lives_ms.is_some_and(|lives| write.sent_ms + lives <= now),
    };
    let mut candidates = writes.iter().filter(|write| !write.void).filter(explains).peekable();
    if candidates.peek().is_none() && (value.is_some() || !writes.is_empty()) {
        // Nothing at all was there in the beginning.
        let safe = writes.iter().any(|write| write.done_ms <= safe_ms && write.done < NEVER && !write.void);
        return if value.is_none() && !safe { Ok(()) } else { Err("nobody has made it so") };
    }
    if value.is_none() && !writes.iter().any(|write| write.done_ms <= safe_ms && write.done < NEVER && !write.void) {
        return Ok(());
    }
    let mut reason = "it was overwritten, or removed";
    for candidate in candidates {
        let over = |lives: i64| candidate.done_ms < NEVER && candidate.done_ms + lives <= asked;
        if value.is_some() && candidate.lives_ms.is_some_and(over) {
            reason = "its time was over";
            continue;
        }
        let newer = |write: &&Write| !write.void && write.done < NEVER && write.done_ms <= safe_ms;
        if !writes.iter().filter(newer).any(|write| write.sent > candidate.done) {
            return Ok(());
        }
    }
    Err(reason)
}
