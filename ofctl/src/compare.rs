//! diff-flows and replace-flows: flow tables from files and switches, and what sets them apart.
//!
//! A flow is identified by table, priority and match; two such flows differ when their cookie,
//! timeouts or actions do. A file's flows are compared as the switch would show them: through
//! the encoding of the connection's version, where one is involved.

use std::collections::HashMap;
use std::fmt::Write;
use std::path::Path;

use openflow::codec::{Dialect, decode, encode};
use openflow::message::{FlowMod, FlowModCommand, FlowStatsRequest, Message, TABLE_ALL};
use openflow::text::matches::{self, Context};
use openflow::text::{Names, action_print, flow};
use openflow::{Action, Match, Version, VersionBitmap};

use crate::connection::Connection;
use crate::dump::{choose_flavor, collect};
use crate::error::Error;
use crate::flow_files::FlowFile;
use crate::flow_mods::{send_all, warn_of_normalization};
use crate::lookup;
use crate::options::Options;
use crate::output::print;

/// Exit status of diff-flows when there are differences.
pub const DIFFERENT: u8 = 2;

/// What identifies a flow.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Key {
    table: u8,
    priority: u16,
    fields: Match,
}

/// What two flows with one key can differ in.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Content {
    cookie: u64,
    idle_timeout: u16,
    hard_timeout: u16,
    actions: Vec<Action>,
}

/// A flow table, and the line of a file that each flow came from.
#[derive(Default)]
struct Table {
    flows: HashMap<Key, (Content, usize)>,
}

/// Where flows come from.
struct Source {
    table: Table,
    /// There when it is a switch.
    connection: Option<Connection>,
}

/// `diff-flows`: says whether there were differences.
pub async fn diff(options: &Options, args: &[String]) -> Result<bool, Error> {
    let [a, b] = args else { return Ok(false) };
    // The switch first: its version says how the other's flows are to be compared.
    let mut sides = Vec::new();
    let mut dialect = None;
    for name in [a, b] {
        if is_switch(name) {
            let source = from_switch(options, name, options.versions).await?;
            dialect = source.connection.as_ref().map(|c| c.dialect);
            sides.push(Some(source));
        } else {
            sides.push(None);
        }
    }
    let mut names = Names::none();
    for source in sides.iter_mut().flatten() {
        if let Some(connection) = &mut source.connection
            && options.accepts_names()
        {
            names = lookup::names(connection).await?;
        }
    }
    let mut tables = Vec::new();
    for (side, name) in sides.into_iter().zip([a, b]) {
        tables.push(match side {
            Some(source) => source.table,
            None => from_file(name, &names, dialect)?,
        });
    }
    let shown = if options.shows_names() {
        names
    } else {
        Names::none()
    };
    let version = dialect.map_or(Version::Of13, |d| d.version);
    let [left, right] = tables.as_slice() else {
        return Ok(false);
    };
    let mut out = String::new();
    for key in sorted_keys(left, right) {
        let (l, r) = (left.flows.get(key), right.flows.get(key));
        if l.map(|(c, _)| c) == r.map(|(c, _)| c) {
            continue;
        }
        for (sign, content) in [('-', l), ('+', r)] {
            if let Some((content, _)) = content {
                out.push(sign);
                write_flow(&mut out, key, content, version, &shown);
                out.push('\n');
            }
        }
    }
    print(&out)?;
    Ok(!out.is_empty())
}

/// A name with a colon is a switch, one that begins with `/` or `.` is a file, and others are
/// files if there is such a file.
fn is_switch(name: &str) -> bool {
    if name.starts_with(['/', '.']) {
        return false;
    }
    name.contains(':') || !Path::new(name).exists()
}

/// The keys of both, in an order that does not depend on how they are stored.
fn sorted_keys<'a>(a: &'a Table, b: &'a Table) -> Vec<&'a Key> {
    let only_b = b.flows.keys().filter(|k| !a.flows.contains_key(*k));
    let mut keys: Vec<&Key> = a.flows.keys().chain(only_b).collect();
    keys.sort_by_cached_key(|k| {
        let mut text = String::new();
        matches::write(&mut text, &k.fields, &Names::none());
        (k.table, std::cmp::Reverse(k.priority), text)
    });
    keys
}

fn write_flow(out: &mut String, key: &Key, content: &Content, version: Version, names: &Names) {
    if key.table != 0 {
        out.push_str("table=");
        names.write_table(out, key.table);
        out.push(' ');
    }
    let start = out.len();
    let context = Context {
        priority: Some(key.priority),
        ..Context::default()
    };
    matches::write_with(out, &key.fields, names, context);
    if out.len() > start {
        out.push(' ');
    }
    if content.cookie != 0 {
        let _ = write!(out, "cookie=0x{:x} ", content.cookie);
    }
    if content.idle_timeout != 0 {
        let _ = write!(out, "idle_timeout={} ", content.idle_timeout);
    }
    if content.hard_timeout != 0 {
        let _ = write!(out, "hard_timeout={} ", content.hard_timeout);
    }
    out.push_str("actions=");
    action_print::write(out, &content.actions, version, names);
}

async fn from_switch(
    options: &Options,
    target: &str,
    versions: VersionBitmap,
) -> Result<Source, Error> {
    let mut connection = Connection::open(target, versions).await?;
    let flavor = choose_flavor(&mut connection, options).await?;
    let request = FlowStatsRequest {
        flavor,
        ..FlowStatsRequest::all()
    };
    let mut table = Table::default();
    for flow in collect(&mut connection, request).await? {
        let key = Key {
            table: flow.table_id,
            priority: flow.priority,
            fields: flow.fields,
        };
        let content = Content {
            cookie: flow.cookie,
            idle_timeout: flow.idle_timeout,
            hard_timeout: flow.hard_timeout,
            actions: flow.actions,
        };
        table.flows.insert(key, (content, 0));
    }
    Ok(Source {
        table,
        connection: Some(connection),
    })
}

/// Reads a file; with `dialect`, its flows are what a connection of that dialect carries.
fn from_file(name: &str, names: &Names, dialect: Option<Dialect>) -> Result<Table, Error> {
    let mut file = FlowFile::open(name)?;
    let mut table = Table::default();
    while let Some((line, text)) = file.next_line()? {
        let parsed = flow::parse_flow_mod(&text, FlowModCommand::Add, names).map_err(|source| {
            Error::File {
                file: file.name().to_owned(),
                line,
                source,
            }
        })?;
        warn_of_normalization(&parsed);
        let mut fm = parsed.value;
        let number = fm.table_id.filter(|t| *t != TABLE_ALL).unwrap_or(0);
        if let Some(dialect) = dialect {
            fm = as_carried(fm, dialect).map_err(|source| Error::EncodeLine {
                file: file.name().to_owned(),
                line,
                source,
            })?;
        }
        let key = Key {
            table: number,
            priority: fm.priority,
            fields: fm.fields,
        };
        let content = Content {
            cookie: fm.new_cookie,
            idle_timeout: fm.idle_timeout,
            hard_timeout: fm.hard_timeout,
            actions: fm.actions,
        };
        table.flows.insert(key, (content, line));
    }
    Ok(table)
}

/// A flow-mod after a trip through its encoding.
fn as_carried(fm: FlowMod, dialect: Dialect) -> Result<FlowMod, openflow::codec::EncodeError> {
    let dialect = Dialect {
        flow_mod_table_id: true,
        ..dialect
    };
    let message = Message::FlowMod(fm);
    let bytes = encode(&message, dialect, 0)?;
    match (decode(&bytes, &dialect).map(|d| d.message), message) {
        (Ok(Message::FlowMod(carried)), _) => Ok(carried),
        // What cannot be read back is compared as it was written.
        (_, Message::FlowMod(fm)) => Ok(fm),
        _ => Ok(FlowMod::add()),
    }
}

/// `replace-flows`: makes the switch have the flows of a file, and no others.
pub async fn replace(options: &Options, args: &[String]) -> Result<(), Error> {
    let [target, name] = args else { return Ok(()) };
    let Source { table, connection } =
        from_switch(options, target, options.bundle_versions()).await?;
    let Some(mut connection) = connection else {
        return Ok(());
    };
    let names = if options.accepts_names() {
        lookup::names(&mut connection).await?
    } else {
        Names::none()
    };
    let wanted = from_file(name, &names, Some(connection.dialect))?;
    let mut changes = Vec::new();
    for key in sorted_keys(&table, &wanted) {
        let want = wanted.flows.get(key);
        let have = table.flows.get(key);
        match (have, want) {
            (Some(_), None) => changes.push((0, flow_mod(key, None))),
            (have, Some((content, line))) => {
                if options.readd || have.map(|(c, _)| c) != Some(content) {
                    changes.push((*line, flow_mod(key, Some(content))));
                }
            }
            (None, None) => {}
        }
    }
    // All deletions first, so that a full table has room for the additions.
    changes.sort_by_key(|(_, fm)| fm.command == FlowModCommand::Add);
    send_all(&mut connection, options, changes, name, &names).await
}

/// The flow-mod that adds a flow with `content`, or deletes the flow.
fn flow_mod(key: &Key, content: Option<&Content>) -> FlowMod {
    let fm = FlowMod {
        table_id: Some(key.table),
        priority: key.priority,
        fields: key.fields.clone(),
        ..FlowMod::add()
    };
    match content {
        Some(content) => FlowMod {
            new_cookie: content.cookie,
            modify_cookie: true,
            idle_timeout: content.idle_timeout,
            hard_timeout: content.hard_timeout,
            actions: content.actions.clone(),
            ..fm
        },
        None => FlowMod {
            command: FlowModCommand::DeleteStrict,
            ..fm
        },
    }
}
