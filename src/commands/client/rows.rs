//! The rows of CLIENT, and the lines of its help.

use super::{kill, list, tracking, unblock};
use crate::commands::Row;
use crate::spec::{Categories, Flags, Group};

/// What a client may do to itself.
const OWN: Flags = Flags::NOSCRIPT.union(Flags::LOADING).union(Flags::STALE);

/// What it may do to others.
const ADMIN: Flags = OWN.union(Flags::ADMIN);

const TO_ALL_NODES: &[&str] = &["request_policy:all_nodes", "response_policy:all_succeeded"];

/// CLIENT.
pub const ROWS: &[Row] = &[Row::container("client", Group::Connection, SUBCOMMANDS)
    .summary("Commands on connections.")
    .syntax("CLIENT")
    .since("2.4.0")
    .complexity("Depends on subcommand.")];

const SUBCOMMANDS: &[Row] = &[
    Row::session("client|caching", 3, Group::Connection, tracking::caching)
        .summary("Chooses whether the keys of the next command are tracked.")
        .syntax("CLIENT CACHING <YES | NO>")
        .since("6.0.0")
        .flags(OWN)
        .categories(Categories::CONNECTION),
    Row::session("client|getredir", 2, Group::Connection, tracking::getredir)
        .summary("Returns the id of the connection that hears what this one tracks.")
        .syntax("CLIENT GETREDIR")
        .since("6.0.0")
        .flags(OWN)
        .categories(Categories::CONNECTION),
    Row::session("client|getname", 2, Group::Connection, super::getname)
        .summary("Returns the connection's name.")
        .syntax("CLIENT GETNAME")
        .since("2.6.9")
        .flags(OWN)
        .categories(Categories::CONNECTION),
    Row::session("client|help", 2, Group::Connection, super::help)
        .summary("Lists the subcommands.")
        .syntax("CLIENT HELP")
        .since("5.0.0")
        .flags(Flags::LOADING.union(Flags::STALE))
        .categories(Categories::CONNECTION),
    Row::session("client|id", 2, Group::Connection, super::id)
        .summary("Returns the connection's id.")
        .syntax("CLIENT ID")
        .since("5.0.0")
        .flags(OWN)
        .categories(Categories::CONNECTION),
    Row::session("client|info", 2, Group::Connection, super::info)
        .summary("Describes this connection.")
        .syntax("CLIENT INFO")
        .since("6.2.0")
        .flags(OWN)
        .categories(Categories::CONNECTION)
        .tips(&["nondeterministic_output"]),
    Row::session("client|kill", -3, Group::Connection, kill::kill)
        .summary("Closes connections.")
        .syntax(
            "CLIENT KILL <ip:port | <[ID client-id] | [TYPE <NORMAL | MASTER | SLAVE | REPLICA | PUBSUB>] | [USER \
             username] | [ADDR ip:port] | [LADDR ip:port] | [SKIPME <YES | NO>] | [MAXAGE maxage] [[ID client-id] | \
             [TYPE <NORMAL | MASTER | SLAVE | REPLICA | PUBSUB>] | [USER username] | [ADDR ip:port] | [LADDR ip:port] \
             | [SKIPME <YES | NO>] | [MAXAGE maxage] ...]>>",
        )
        .since("2.4.0")
        .complexity("O(N) where N is the number of connections")
        .flags(ADMIN)
        .categories(Categories::CONNECTION),
    Row::session("client|list", -2, Group::Connection, list::list)
        .summary("Describes all connections, or some of them.")
        .syntax("CLIENT LIST [TYPE <NORMAL | MASTER | REPLICA | PUBSUB>] [ID client-id [client-id ...]]")
        .since("2.4.0")
        .complexity("O(N) where N is the number of connections")
        .flags(ADMIN)
        .categories(Categories::CONNECTION)
        .tips(&["nondeterministic_output"]),
    Row::session("client|no-evict", 3, Group::Connection, super::no_evict)
        .summary("Spares this connection when connections are closed to save memory.")
        .syntax("CLIENT NO-EVICT <ON | OFF>")
        .since("7.0.0")
        .flags(ADMIN)
        .categories(Categories::CONNECTION),
    Row::session("client|no-touch", 3, Group::Connection, super::no_touch)
        .summary("Chooses whether this connection's commands set the access times of keys.")
        .syntax("CLIENT NO-TOUCH <ON | OFF>")
        .since("7.2.0")
        .flags(OWN)
        .categories(Categories::CONNECTION),
    Row::session("client|pause", -3, Group::Connection, super::pause)
        .summary("Holds back commands of all clients for a time.")
        .syntax("CLIENT PAUSE timeout [WRITE | ALL]")
        .since("3.0.0")
        .flags(ADMIN)
        .categories(Categories::CONNECTION),
    Row::session("client|reply", 3, Group::Connection, super::reply)
        .summary("Chooses whether the server answers this connection's commands.")
        .syntax("CLIENT REPLY <ON | OFF | SKIP>")
        .since("3.2.0")
        .flags(OWN)
        .categories(Categories::CONNECTION),
    Row::session("client|setinfo", 4, Group::Connection, super::setinfo)
        .summary("Tells the name or the version of the client's library.")
        .syntax("CLIENT SETINFO <LIB-NAME libname | LIB-VER libver>")
        .since("7.2.0")
        .flags(OWN)
        .categories(Categories::CONNECTION)
        .tips(TO_ALL_NODES),
    Row::session("client|setname", 3, Group::Connection, super::setname)
        .summary("Names this connection.")
        .syntax("CLIENT SETNAME connection-name")
        .since("2.6.9")
        .flags(OWN)
        .categories(Categories::CONNECTION)
        .tips(TO_ALL_NODES),
    Row::session("client|tracking", -3, Group::Connection, tracking::tracking)
        .summary("Chooses whether this connection hears of changes to the keys it reads.")
        .syntax(
            "CLIENT TRACKING <ON | OFF> [REDIRECT client-id] [PREFIX prefix [PREFIX prefix ...]] [BCAST] [OPTIN] [OPTOUT] \
             [NOLOOP]",
        )
        .since("6.0.0")
        .flags(OWN)
        .categories(Categories::CONNECTION),
    Row::session("client|trackinginfo", 2, Group::Connection, tracking::trackinginfo)
        .summary("Tells what this connection tracks.")
        .syntax("CLIENT TRACKINGINFO")
        .since("6.2.0")
        .flags(OWN)
        .categories(Categories::CONNECTION),
    Row::session("client|unblock", -3, Group::Connection, unblock::unblock)
        .summary("Ends another connection's wait in a blocking command.")
        .syntax("CLIENT UNBLOCK client-id [TIMEOUT | ERROR]")
        .since("5.0.0")
        .complexity("O(log N) where N is the number of connections")
        .flags(ADMIN)
        .categories(Categories::CONNECTION),
    Row::session("client|unpause", 2, Group::Connection, super::unpause)
        .summary("Lets the clients go on that CLIENT PAUSE holds back.")
        .syntax("CLIENT UNPAUSE")
        .since("6.2.0")
        .complexity("O(N) where N is the number of paused connections")
        .flags(ADMIN)
        .categories(Categories::CONNECTION),
];

/// CLIENT HELP.
pub const HELP: &[&str] = &[
    "CACHING (YES|NO)",
    "    Tracks the keys of the next command, or does not (see TRACKING).",
    "GETREDIR",
    "    Tells which connection hears what this one tracks.",
    "GETNAME",
    "    Tells the name of this connection.",
    "ID",
    "    Tells the id of this connection.",
    "INFO",
    "    Describes this connection in one line.",
    "KILL <ip:port>",
    "    Closes the connection that comes from this address.",
    "KILL <option> <value> [<option> <value> [...]]",
    "    Closes all connections that fit every option:",
    "    * ADDR (<ip:port>|<unixsocket>:0)",
    "      It comes from this address.",
    "    * ID <client-id>",
    "      It has this id.",
    "    * LADDR (<ip:port>|<unixsocket>:0)",
    "      It was made to this address of the server.",
    "    * MAXAGE <seconds>",
    "      It is at least this old.",
    "    * SKIPME (YES|NO)",
    "      Whether this connection is spared; it is unless told otherwise.",
    "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
    "      It is of this type.",
    "    * USER <username>",
    "      It is logged in as this user.",
    "LIST [option ...]",
    "    Describes connections, one in a line. Options:",
    "    * ID <client-id> [<client-id> ...]",
    "      Those with these ids.",
    "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
    "      Those of this type.",
    "NO-EVICT (ON|OFF)",
    "    Spares this connection when memory is short, or no longer.",
    "NO-TOUCH (ON|OFF)",
    "    Leaves access times of keys alone, or no longer.",
    "PAUSE <timeout> [WRITE|ALL]",
    "    Holds back all commands, or those that write, for <timeout> milliseconds.",
    "REPLY (ON|OFF|SKIP)",
    "    Answers this connection's commands, none of them, or not the next one.",
    "SETINFO (LIB-NAME|LIB-VER) <value>",
    "    Notes the name or the version of the client's library.",
    "SETNAME <name>",
    "    Names this connection.",
    "TRACKING (ON|OFF) [REDIRECT <id>] [BCAST] [PREFIX <prefix> [...]]",
    "         [OPTIN] [OPTOUT] [NOLOOP]",
    "    Tells this connection when keys change that it has read, or no longer.",
    "TRACKINGINFO",
    "    Tells what this connection tracks.",
    "UNBLOCK <client-id> [TIMEOUT|ERROR]",
    "    Ends the wait of a blocked client, as if its time were over or with an error.",
    "UNPAUSE",
    "    Ends a pause.",
];
