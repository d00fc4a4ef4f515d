//! Every row of the command table equals the facts of Redis: name, arity, flags, categories, key specs, tips and what
//! the documentation says.
//!
//! The facts stand in `tests/data/redis-commands.json`, a slim copy (without argument trees and modules) of a file made
//! from the command definitions of Redis and Valkey. To make it anew from that file:
//!
//! ```text
//! REDIS_COMMANDS_JSON=/path/to/redis-commands.json cargo test --test commands -- --ignored regenerate
//! ```

use crimson::commands::table;
use crimson::spec::{BeginSearch, FindKeys, Group, KeySpec, RequestPolicy, ResponsePolicy, Spec};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Facts that are kept of each command.
const KEPT: [&str; 10] = [
    "acl_categories",
    "arity",
    "complexity",
    "deprecated_since",
    "flags",
    "group",
    "key_specs",
    "since",
    "syntax",
    "tips",
];

/// Groups whose commands Crimson has or will have; the others belong to modules and to Sentinel.
const GROUPS: [&str; 16] = [
    "bitmap",
    "cluster",
    "connection",
    "generic",
    "geo",
    "hash",
    "hyperloglog",
    "list",
    "pubsub",
    "scripting",
    "server",
    "set",
    "sorted-set",
    "stream",
    "string",
    "transactions",
];

fn data_file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/redis-commands.json")
}

fn read(path: &Path) -> Map<String, Value> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).expect("an object of commands")
}

/// The facts as this file keeps them.
fn slim(full: &Map<String, Value>) -> Map<String, Value> {
    let wanted = |facts: &Value| {
        let group = facts["group"].as_str().unwrap_or_default().replace('_', "-");
        facts.get("module").is_none() && GROUPS.contains(&&group[..])
    };
    let keep = |facts: &Value| -> Value {
        KEPT.iter()
            .filter_map(|name| Some(((*name).to_string(), facts.get(*name)?.clone())))
            .collect::<Map<_, _>>()
            .into()
    };
    full.iter().filter(|(_, facts)| wanted(facts)).map(|(name, facts)| (name.clone(), keep(facts))).collect()
}

/// A command a line, so that a change is easy to see.
fn printed(facts: &Map<String, Value>) -> String {
    let lines: Vec<String> = facts.iter().map(|(name, facts)| format!("{}:{facts}", json!(name))).collect();
    format!("{{\n{}\n}}\n", lines.join(",\n"))
}

#[test]
#[ignore = "writes the file of facts"]
fn regenerate() {
    let source = std::env::var("REDIS_COMMANDS_JSON").expect("REDIS_COMMANDS_JSON names the full file");
    std::fs::write(data_file(), printed(&slim(&read(Path::new(&source))))).expect("the file can be written");
}

#[test]
fn the_slim_copy_is_up_to_date() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/redis-commands.json");
    if source.exists() {
        assert_eq!(read(&data_file()), slim(&read(&source)), "run the ignored test `regenerate`");
    }
}

/// Words of a flag set, in lower case.
fn words(names: impl Iterator<Item = &'static str>) -> BTreeSet<String> {
    names.map(str::to_ascii_lowercase).collect()
}

/// Words of a JSON array, in lower case.
fn listed(facts: &Value, name: &str) -> BTreeSet<String> {
    let words = facts[name].as_array().into_iter().flatten();
    words.map(|word| word.as_str().expect("a word").to_ascii_lowercase()).collect()
}

fn key_spec(spec: &KeySpec) -> Value {
    let begin = match spec.begin {
        BeginSearch::Index(pos) => json!({"index": {"pos": pos}}),
        BeginSearch::Keyword(keyword, startfrom) => json!({"keyword": {"keyword": keyword, "startfrom": startfrom}}),
        BeginSearch::Unknown => json!({"unknown": null}),
    };
    let find = match spec.find {
        FindKeys::Range { last_key, step, limit } => {
            json!({"range": {"lastkey": last_key, "step": step, "limit": limit}})
        }
        FindKeys::KeyNum { index, first, step } => {
            json!({"keynum": {"keynumidx": index, "firstkey": first, "step": step}})
        }
        FindKeys::Unknown => json!({"unknown": null}),
    };
    let flags: Vec<String> = words(spec.flags.iter_names().map(|(name, _)| name)).into_iter().collect();
    json!({"flags": flags, "begin_search": begin, "find_keys": find})
}

/// The key specs of the facts, their flags sorted and in lower case.
fn key_specs(facts: &Value) -> Vec<Value> {
    let sorted = |spec: &Value| {
        let mut spec = spec.clone();
        spec["flags"] = json!(listed(&spec, "flags"));
        spec
    };
    facts["key_specs"].as_array().into_iter().flatten().map(sorted).collect()
}

fn tips(spec: &Spec) -> BTreeSet<String> {
    let mut tips: BTreeSet<String> = spec.tips.iter().map(|tip| tip.to_ascii_lowercase()).collect();
    let request = match spec.request {
        RequestPolicy::Default => None,
        RequestPolicy::AllShards => Some("request_policy:all_shards"),
        RequestPolicy::MultiShard => Some("request_policy:multi_shard"),
        RequestPolicy::Special => Some("request_policy:special"),
    };
    let response = match spec.response {
        ResponsePolicy::Default => None,
        ResponsePolicy::AllSucceeded => Some("response_policy:all_succeeded"),
        ResponsePolicy::AggMin => Some("response_policy:agg_min"),
        ResponsePolicy::AggSum => Some("response_policy:agg_sum"),
        ResponsePolicy::Special => Some("response_policy:special"),
    };
    tips.extend(request.into_iter().chain(response).map(String::from));
    tips
}

fn group(group: Group) -> String {
    match group {
        Group::SortedSet => "sorted-set".into(),
        other => format!("{other:?}").to_ascii_lowercase(),
    }
}

/// Everything in which a row departs from the facts.
fn departures(spec: &Spec, facts: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut check = |what: &str, ours: String, theirs: String| {
        if ours != theirs {
            wrong.push(format!("{}: {what}\n    row:   {ours}\n    redis: {theirs}", spec.name));
        }
    };
    let show = |words: &BTreeSet<String>| words.iter().map(String::as_str).collect::<Vec<_>>().join(" ");
    let text = |name: &str| facts[name].as_str().unwrap_or_default().to_string();
    check("arity", spec.arity.to_string(), facts["arity"].to_string());
    check("flags", show(&words(spec.flags.iter_names().map(|(name, _)| name))), show(&listed(facts, "flags")));
    let categories = spec.all_categories();
    check(
        "acl_categories",
        show(&words(categories.iter_names().map(|(name, _)| name))),
        show(&listed(facts, "acl_categories")),
    );
    check("tips", show(&tips(spec)), show(&listed(facts, "tips")));
    let ours: Vec<Value> = spec.keys.iter().map(key_spec).collect();
    check("key_specs", json!(ours).to_string(), json!(key_specs(facts)).to_string());
    check("group", group(spec.group), text("group").replace('_', "-"));
    check("since", spec.since.into(), text("since"));
    check("syntax", spec.syntax.into(), text("syntax"));
    check("deprecated", spec.deprecated.map_or("", |(since, _)| since).into(), text("deprecated_since"));
    wrong
}

#[test]
fn rows_equal_the_facts_of_redis() {
    let facts = read(&data_file());
    let mut wrong = Vec::new();
    for entry in table().entries() {
        let spec = &entry.row.spec;
        match facts.get(&spec.name.replace('|', " ")) {
            Some(facts) => wrong.extend(departures(spec, facts)),
            None => wrong.push(format!("{}: Redis has no such command", spec.name)),
        }
    }
    assert!(wrong.is_empty(), "{} departures:\n\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn names_are_unique() {
    let mut seen = BTreeSet::new();
    for entry in table().entries() {
        assert!(seen.insert(entry.row.spec.name), "{} stands twice in the table", entry.row.spec.name);
    }
}

#[test]
fn commands_on_keys_declare_them() {
    for entry in table().entries() {
        let spec = &entry.row.spec;
        let specs = spec.keys.iter();
        let step = |spec: &KeySpec| match spec.find {
            FindKeys::Range { step, .. } | FindKeys::KeyNum { step, .. } => step,
            FindKeys::Unknown => 1,
        };
        assert!(specs.clone().all(|keys| step(keys) >= 1), "{}: keys stand at a distance of at least 1", spec.name);
        assert!(spec.arity != 0, "{}: a command has at least its name", spec.name);
    }
}
