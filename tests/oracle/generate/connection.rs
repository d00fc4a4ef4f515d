//! Commands on the connection and on the server, as far as their replies can be foretold. What acts beyond the
//! connection (CLIENT KILL, CLIENT PAUSE, SHUTDOWN ...) has tests of its own.

use super::{Command, Family, Gen, cmd};

/// A command on the connection or the server.
pub fn command(g: &mut Gen) -> Command {
    match g.below(40) {
        0 => cmd!["PING"],
        1 => cmd!["PING", g.value()],
        2 => cmd!["ECHO", g.value()],
        3 | 4 => cmd!["SELECT", g.database()],
        5 | 6 => hello(g),
        7..=14 => client(g),
        15..=18 => getkeys(g, "GETKEYS"),
        19 | 20 => getkeys(g, "GETKEYSANDFLAGS"),
        21 => command_info(g),
        22 => cmd!["COMMAND", g.pick(&["NOSUCH", "GETKEYS", "", "LIST", "COUNT"]), g.pick(&["", "a"])],
        23 | 24 => unknown(g),
        25 => cmd![g.pick(&["CLIENT", "OBJECT", "COMMAND", "CONFIG"]), g.pick(&["NOSUCH", "", "GE T", "%s%n"])],
        26 => cmd![
            "CONFIG",
            g.word("GET"),
            g.pick(&["databases", "DATABASES", "nosuchdirective", "maxclient[s]", "hash-max-listpack-[ev]*"])
        ],
        27 => cmd!["CONFIG", g.word("GET"), "databases", "nosuchdirective", "data*"],
        28 => cmd!["CONFIG", g.word("SET"), g.pick(&["nosuchdirective", "port2", ""]), "1"],
        29 => cmd!["CONFIG", g.word("SET"), "maxclients"],
        30 => cmd!["DEBUG", "NOSUCH"],
        31 => cmd!["TIME"],
        32 => cmd!["DBSIZE"],
        33 => cmd!["SET", g.key(Family::Strings), g.value()],
        34 => cmd!["GET", g.key(Family::Strings)],
        _ => cmd!["CLIENT", g.word("GETNAME")],
    }
}

fn hello(g: &mut Gen) -> Command {
    let mut command = cmd!["HELLO"];
    if g.chance(90) {
        command.push(g.pick(&["2", "3", "3", "1", "4", "abc", "", "-1", "99999999999999999999"]).into());
    }
    if g.chance(20) {
        command.extend([g.word("SETNAME"), name(g)]);
    }
    if g.chance(15) {
        command.extend([g.word("AUTH"), "default".into(), "anything".into()]);
    }
    // Since 7.2 a name is set only when the rest is right too, so nothing wrong may stand behind one.
    if command.len() == 2 && g.chance(10) {
        command.push(g.pick(&["SETNAME", "AUTH", "NOSUCH"]).into());
    }
    command
}

fn name(g: &mut Gen) -> Vec<u8> {
    g.pick(&["alice", "bob", "", "two words", "new\nline", "tab\t", "{curly}", "\u{ff}"]).into()
}

fn client(g: &mut Gen) -> Command {
    match g.below(22) {
        0 | 1 => cmd!["CLIENT", g.word("SETNAME"), name(g)],
        2 => cmd!["CLIENT", g.word("GETNAME")],
        3 => cmd!["CLIENT", g.word("ID")],
        4 => cmd!["CLIENT", g.word("INFO")],
        5 => cmd!["CLIENT", g.word("LIST")],
        6 => cmd!["CLIENT", "LIST", "TYPE", g.pick(&["normal", "master", "replica", "pubsub", "nosuch", ""])],
        7 => cmd!["CLIENT", "LIST", "ID", g.pick(&["999999", "0", "-1", "abc"])],
        8 => cmd!["CLIENT", "LIST", g.pick(&["NOSUCH", "TYPE", "ID"])],
        9 => cmd!["CLIENT", g.word("KILL"), g.pick(&["1.2.3.4:5", "nosuch", ""])],
        10 => cmd!["CLIENT", "KILL", "ID", g.pick(&["999999", "0", "-1", "abc", "9223372036854775807"])],
        11 => cmd!["CLIENT", "KILL", "ADDR", "1.2.3.4:5", "SKIPME", g.pick(&["yes", "no", "maybe"])],
        12 => cmd!["CLIENT", "KILL", "TYPE", g.pick(&["master", "replica", "slave", "nosuch"])],
        13 => cmd!["CLIENT", "KILL", g.pick(&["USER", "LADDR"]), g.pick(&["nosuchuser", "1.2.3.4:5"])],
        14 => cmd!["CLIENT", g.word("PAUSE"), g.pick(&["abc", "-1", "", "9223372036854775808"])],
        15 => cmd!["CLIENT", "PAUSE", "0", "NOSUCH"],
        16 => cmd!["CLIENT", g.word("UNPAUSE")],
        17 => cmd!["CLIENT", g.word("REPLY"), g.pick(&["ON", "on", "NOSUCH"])],
        18 => cmd!["CLIENT", g.word("NO-EVICT"), g.pick(&["ON", "OFF", "NOSUCH"])],
        19 => cmd!["CLIENT", g.word("UNBLOCK"), g.pick(&["999999", "abc", "-1"])],
        20 => cmd!["CLIENT", "UNBLOCK", "999999", g.pick(&["TIMEOUT", "ERROR", "NOSUCH"])],
        _ => cmd!["CLIENT", g.pick(&["SETNAME", "GETNAME", "KILL", "PAUSE", "ID", "NO-EVICT"]), "a", "b", "c", "d"],
    }
}

/// GETKEYS of a random command, sound or damaged.
fn getkeys(g: &mut Gen, subcommand: &str) -> Command {
    let family = g.pick(&[Family::Strings, Family::Lists, Family::Sets, Family::Hashes, Family::Keys]);
    let inner = if g.chance(90) { g.command(family) } else { unknown(g) };
    [cmd!["COMMAND", g.word(subcommand)], inner].concat()
}

fn command_info(g: &mut Gen) -> Command {
    cmd!["COMMAND", g.word("INFO"), g.pick(&["get", "nosuch", "GET", "mget", "lmpop", "sintercard", ""])]
}

fn unknown(g: &mut Gen) -> Command {
    let mut command = cmd![g.pick(&["NOSUCH", "", "\0", "foo bar", "GET\r\n", "%s%s%n", "set'"])];
    if g.chance(20) {
        command[0] = "n".repeat(200).into();
    }
    for _ in 0..g.below(6) {
        command.push(if g.chance(20) { "y".repeat(g.pick(&[100, 130])).into() } else { g.value() });
    }
    command
}
