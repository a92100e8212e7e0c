//! The unixctl commands of the database server.
//!
//! Source: ovsdb-server(1), "Runtime Management Commands"; texts as ovsdb-server 3.1 gives them,
//! also where an error comes as a plain answer.

use std::fmt::Write as _;
use std::time::Duration;

use daemon::unixctl::{self, Answer, Commands};

use crate::event_loop::{EventLoop, parse_active};
use crate::remote::Spec;
use crate::replication;

/// The commands that need the event loop: name, usage, least and most arguments.
const COMMANDS: &[(&str, &str, usize, usize)] = &[
    ("exit", "", 0, 0),
    ("memory/show", "", 0, 0),
    ("ovsdb-server/add-db", "DB", 1, 1),
    ("ovsdb-server/add-remote", "REMOTE", 1, 1),
    ("ovsdb-server/compact", "[DB]", 0, 1),
    ("ovsdb-server/connect-active-ovsdb-server", "", 0, 0),
    ("ovsdb-server/disconnect-active-ovsdb-server", "", 0, 0),
    ("ovsdb-server/get-active-ovsdb-server", "", 0, 0),
    ("ovsdb-server/get-db-storage-status", "DB", 1, 1),
    ("ovsdb-server/get-sync-exclude-tables", "", 0, 0),
    ("ovsdb-server/list-dbs", "", 0, 0),
    ("ovsdb-server/list-remotes", "", 0, 0),
    ("ovsdb-server/memory-trim-on-compaction", "on|off", 1, 1),
    ("ovsdb-server/reconnect", "", 0, 0),
    ("ovsdb-server/remove-db", "DB", 1, 1),
    ("ovsdb-server/remove-remote", "REMOTE", 1, 1),
    ("ovsdb-server/set-active-ovsdb-server", "SERVER", 1, 1),
    (
        "ovsdb-server/set-active-ovsdb-server-probe-interval",
        "MSECS",
        1,
        1,
    ),
    (
        "ovsdb-server/set-sync-exclude-tables",
        "DB:TABLE[,DB:TABLE]...",
        0,
        1,
    ),
    ("ovsdb-server/sync-status", "", 0, 0),
];

/// Commands of ovsdb-server that this one does not carry out.
const REFUSED: &[(&str, &str)] = &[
    ("cluster/change-election-timer", NO_CLUSTER),
    ("cluster/cid", NO_CLUSTER),
    ("cluster/failure-test", NO_CLUSTER),
    ("cluster/kick", NO_CLUSTER),
    ("cluster/leave", NO_CLUSTER),
    ("cluster/set-backlog-threshold", NO_CLUSTER),
    ("cluster/sid", NO_CLUSTER),
    ("cluster/status", NO_CLUSTER),
    (
        "ovsdb-server/disable-monitor-cond",
        "monitor_cond cannot be turned off",
    ),
    ("ovsdb-server/perf-counters-clear", NO_COUNTERS),
    ("ovsdb-server/perf-counters-show", NO_COUNTERS),
    ("ovsdb-server/tlog-list", NO_TLOG),
    ("ovsdb-server/tlog-set", NO_TLOG),
];

const NO_CLUSTER: &str = "this build has no clusters";
const NO_COUNTERS: &str = "there are no performance counters";
const NO_TLOG: &str = "operations on tables are not logged";

/// The table of commands.
pub fn commands(program: &str) -> Commands {
    let mut commands = Commands::new(program);
    for (name, usage, least, most) in COMMANDS {
        commands.event(name, usage, *least, *most);
    }
    for (name, why) in REFUSED {
        commands.refuse(name, why);
    }
    commands
}

/// Answers one command; `exit` is the event loop's own.
pub(crate) async fn handle(event_loop: &mut EventLoop, request: unixctl::Request) {
    let arg = request.args.first().cloned().unwrap_or_default();
    let nothing = || Ok(String::new());
    let answer = match request.command.as_str() {
        "memory/show" => Ok(memory(event_loop)),
        "ovsdb-server/list-dbs" => Ok(lines(event_loop.server().database_names())),
        "ovsdb-server/add-db" => event_loop.add_database(&arg).await.and_then(|()| nothing()),
        "ovsdb-server/remove-db" => return event_loop.remove_database(&arg, request).await,
        "ovsdb-server/compact" => {
            let name = request.args.first().cloned();
            return event_loop.compact(name.as_deref(), request);
        }
        "ovsdb-server/memory-trim-on-compaction" => match arg.as_str() {
            "on" | "off" => {
                event_loop.set_trim_memory(arg == "on");
                nothing()
            }
            _ => Err("invalid argument".to_owned()),
        },
        "ovsdb-server/reconnect" => {
            event_loop.reconnect();
            nothing()
        }
        "ovsdb-server/list-remotes" => {
            let mut remotes: Vec<&str> = event_loop
                .specs()
                .iter()
                .map(|(text, _)| text.as_str())
                .collect();
            remotes.sort_unstable();
            Ok(lines(remotes.into_iter()))
        }
        "ovsdb-server/add-remote" => match Spec::parse(&arg) {
            Ok(spec) => event_loop.add_remote(arg, spec).await,
            Err(error) => Err(error),
        }
        .map(|()| String::new())
        .map_err(|error| error.to_string()),
        "ovsdb-server/remove-remote" => match event_loop.remove_remote(&arg).await {
            true => nothing(),
            false => Err("no such remote".to_owned()),
        },
        "ovsdb-server/get-db-storage-status" => storage_status(event_loop, &arg),
        _ => replication_command(event_loop, &request.command, &arg),
    };
    request.reply(match answer {
        Err(error) if !error.ends_with('\n') => Err(format!("{error}\n")),
        answer => answer,
    });
}

/// The commands of "Active-Backup Commands".
fn replication_command(event_loop: &mut EventLoop, command: &str, arg: &str) -> Answer {
    match command {
        "ovsdb-server/set-active-ovsdb-server" => {
            event_loop.replication().active = Some(parse_active(arg)?);
            event_loop.restart_replication();
            Ok(String::new())
        }
        "ovsdb-server/get-active-ovsdb-server" => {
            let active = event_loop.replication().active.as_ref();
            Ok(active.map_or(String::new(), |(text, _)| format!("{text}\n")))
        }
        "ovsdb-server/connect-active-ovsdb-server" => Ok(match event_loop.connect_active() {
            true => String::new(),
            false => "Unable to connect: active server is not specified.\n".to_owned(),
        }),
        "ovsdb-server/disconnect-active-ovsdb-server" => {
            event_loop.disconnect_active();
            Ok(String::new())
        }
        "ovsdb-server/set-active-ovsdb-server-probe-interval" => match arg.parse::<u64>() {
            Ok(millis) => {
                event_loop.replication().probe = Duration::from_millis(millis);
                event_loop.restart_replication();
                Ok(String::new())
            }
            Err(_) => Ok("Invalid probe interval, integer value expected\n".to_owned()),
        },
        "ovsdb-server/set-sync-exclude-tables" => {
            event_loop.replication().excluded =
                replication::parse_excluded(arg).map_err(|error| error.to_string())?;
            event_loop.restart_replication();
            Ok(String::new())
        }
        "ovsdb-server/get-sync-exclude-tables" => {
            let text = replication::show_excluded(&event_loop.replication().excluded);
            Ok(if text.is_empty() {
                text
            } else {
                format!("{text}\n")
            })
        }
        "ovsdb-server/sync-status" => Ok(event_loop.sync_status()),
        other => Err(format!("\"{other}\" is not a valid command")),
    }
}

fn storage_status(event_loop: &EventLoop, name: &str) -> Answer {
    if event_loop.server().database(name).is_none() {
        return Err("Failed to find the database.".to_owned());
    }
    let file = event_loop.delivery().files().get(name);
    Ok(match file.and_then(|file| file.error()) {
        Some(error) => format!(
            "status: {error}; transactions are refused (when the cause is gone, \
             ovsdb-server/compact writes a whole new file)\n"
        ),
        None => "status: ok\n".to_owned(),
    })
}

/// Counts under ovsdb-server's names, in its form.
fn memory(event_loop: &EventLoop) -> String {
    let server = event_loop.server();
    let (mut atoms, mut cells, mut weak) = (0usize, 0usize, 0usize);
    let databases = server
        .database_names()
        .filter_map(|name| server.database(name));
    for table in databases.flat_map(|db| db.tables()) {
        for (_, row) in table.rows() {
            cells = cells.saturating_add(table.columns.len());
            for (id, column) in table.columns.iter().enumerate() {
                let datum = row.get(id);
                let values = datum.values().len();
                atoms = atoms
                    .saturating_add(datum.keys().len())
                    .saturating_add(values);
                column.for_each_ref(datum, ovsdb::schema::RefKind::Weak, |_, _| {
                    weak = weak.saturating_add(1);
                });
            }
        }
    }
    let mut counts: Vec<(String, u64)> = vec![
        ("atoms".to_owned(), atoms as u64),
        ("cells".to_owned(), cells as u64),
        ("n-weak-refs".to_owned(), weak as u64),
    ];
    let own = server
        .memory()
        .into_iter()
        .filter(|(name, _)| *name != "rows");
    counts.extend(own.map(|(name, count)| (name.to_owned(), count as u64)));
    counts.extend(
        event_loop
            .delivery()
            .files()
            .iter()
            .map(|(name, file)| (format!("{name}-file-bytes"), file.size())),
    );
    counts.sort_unstable();
    let mut text = String::new();
    for (name, count) in counts {
        let _ = write!(text, "{name}:{count} ");
    }
    format!("{}\n", text.trim_end())
}

fn lines<'a>(items: impl Iterator<Item = &'a str>) -> String {
    items.map(|item| format!("{item}\n")).collect()
}
