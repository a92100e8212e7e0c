//! The unixctl commands of the database server.
//!
//! Source: ovsdb-server(1), "Runtime Management Commands".

use std::fmt::Write as _;

use daemon::unixctl::{self, Commands};

use crate::event_loop::EventLoop;
use crate::remote::Spec;

/// The table of commands.
pub fn commands(program: &str) -> Commands {
    let mut commands = Commands::new(program);
    commands.event("exit", "", 0, 0);
    commands.event("memory/show", "", 0, 0);
    commands.event("ovsdb-server/list-dbs", "", 0, 0);
    commands.event("ovsdb-server/compact", "[db]", 0, 1);
    commands.event("ovsdb-server/reconnect", "", 0, 0);
    commands.event("ovsdb-server/add-remote", "REMOTE", 1, 1);
    commands.event("ovsdb-server/remove-remote", "REMOTE", 1, 1);
    commands.event("ovsdb-server/list-remotes", "", 0, 0);
    commands.event("ovsdb-server/get-db-storage-status", "DB", 1, 1);
    commands
}

/// Answers one command; `exit` is the event loop's own.
pub(crate) async fn handle(event_loop: &mut EventLoop, request: unixctl::Request) {
    let arg = request.args.first().cloned();
    let answer = match request.command.as_str() {
        "memory/show" => Ok(memory(event_loop)),
        "ovsdb-server/list-dbs" => Ok(lines(event_loop.server().database_names())),
        "ovsdb-server/compact" => compact(event_loop, arg.as_deref()),
        "ovsdb-server/reconnect" => {
            event_loop.reconnect();
            Ok(String::new())
        }
        "ovsdb-server/list-remotes" => Ok(lines(
            event_loop.specs().iter().map(|(text, _)| text.as_str()),
        )),
        "ovsdb-server/add-remote" => {
            let text = arg.unwrap_or_default();
            match Spec::parse(&text) {
                Ok(spec) => event_loop.add_remote(text, spec).await,
                Err(error) => Err(error),
            }
            .map(|()| String::new())
            .map_err(|error| format!("{error}\n"))
        }
        "ovsdb-server/remove-remote" => {
            if event_loop.remove_remote(&arg.unwrap_or_default()).await {
                Ok(String::new())
            } else {
                Err("no such remote\n".to_owned())
            }
        }
        "ovsdb-server/get-db-storage-status" => {
            let name = arg.unwrap_or_default();
            if event_loop.delivery().sizes().contains_key(name.as_str()) {
                Ok("status: ok\n".to_owned())
            } else {
                Err("failed to find the database\n".to_owned())
            }
        }
        other => Err(format!("\"{other}\" is not a valid command\n")),
    };
    request.reply(answer);
}

fn compact(event_loop: &mut EventLoop, database: Option<&str>) -> unixctl::Answer {
    if let Some(name) = database
        && !event_loop.delivery().sizes().contains_key(name)
    {
        return Err("no such database\n".to_owned());
    }
    let names: Vec<String> = event_loop
        .delivery()
        .sizes()
        .keys()
        .filter(|name| database.is_none_or(|wanted| *wanted == ***name))
        .map(|name| name.to_string())
        .collect();
    for name in names {
        if !event_loop.compact(&name) {
            return Err(format!(
                "{name}: transactions are being written, try again\n"
            ));
        }
    }
    Ok(String::new())
}

fn memory(event_loop: &EventLoop) -> String {
    let mut text = String::new();
    for (name, count) in event_loop.server().memory() {
        let _ = write!(text, "{name}:{count} ");
    }
    for (name, size) in event_loop.delivery().sizes() {
        let _ = write!(text, "{name}-file-bytes:{} ", size.now);
    }
    format!("{}\n", text.trim_end())
}

fn lines<'a>(items: impl Iterator<Item = &'a str>) -> String {
    items.map(|item| format!("{item}\n")).collect()
}
