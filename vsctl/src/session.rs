//! One run from connecting to leaving: run the commands on what the replica holds, send the
//! transaction, do it again when something changed in between, print, and wait for the daemon.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use ovsdb::Uuid;
use ovsdb::replica::{Event, Outcome, Replica, Request};
use thiserror::Error;

use crate::command::Command;
use crate::context::{Context, Output};
use crate::link::{self, Link};
use crate::options::Options;
use crate::run::{self, Attempt, run_all};

#[derive(Debug, Error)]
pub enum Error {
    #[error(transparent)]
    Link(#[from] link::Error),
    #[error(transparent)]
    Run(#[from] run::Error),
    #[error("transaction error: {0}")]
    Transaction(String),
    #[error("database not locked")]
    NotLocked,
    /// The messages are on the terminal already.
    #[error("")]
    PortsFailed,
}

/// What one attempt made.
struct Made {
    outputs: Vec<Output>,
    /// `None` when nothing is to be changed.
    request: Option<Request>,
    ifaces: BTreeSet<Uuid>,
    /// Errors of all interfaces before, where the change may be to blame for errors of others.
    errors_before: Option<BTreeMap<Uuid, String>>,
}

/// Runs `commands` to the end.
pub async fn run(
    link: &mut Link,
    options: &Options,
    commands: &[Command],
    comment: &str,
) -> Result<(), Error> {
    loop {
        while !link.session.is_synced() {
            link.next().await?;
        }
        let seqno = link.session.replica().seqno();
        let Some(made) = attempt(link.session.replica(), options, commands, comment)? else {
            await_change(link, seqno).await?;
            continue;
        };
        let Some(request) = made.request else {
            print(options, &made.outputs, &BTreeMap::new());
            return Ok(());
        };
        match transact(link, request).await? {
            Outcome::Committed {
                inserted,
                incremented,
            } => {
                print(options, &made.outputs, &inserted);
                if let Some(next_cfg) = incremented {
                    link.retry = true;
                    await_reload(link, next_cfg).await?;
                    let replica = link.session.replica();
                    let mut ifaces = made.ifaces;
                    if let Some(before) = made.errors_before {
                        ifaces.extend(new_errors(replica, &before, &inserted));
                    }
                    check_ifaces(replica, &ifaces, &inserted)?;
                }
                return Ok(());
            }
            Outcome::Aborted => {
                print(options, &made.outputs, &BTreeMap::new());
                return Ok(());
            }
            // The commands are run again on what is there then.
            Outcome::TryAgain | Outcome::Unknown => await_change(link, seqno).await?,
            Outcome::NotLocked => return Err(Error::NotLocked),
            Outcome::Error(error) => {
                let text = Outcome::error_text(&error);
                tracing::warn!(target: "ovsdb_idl", "transaction error: {text}");
                return Err(Error::Transaction(text));
            }
        }
    }
}

/// Runs the commands on `replica`; `None` when they have to wait for a change.
fn attempt(
    replica: &Replica,
    options: &Options,
    commands: &[Command],
    comment: &str,
) -> Result<Option<Made>, run::Error> {
    let mut ctx = Context::new(replica);
    ctx.txn.comment(comment);
    let outputs = match run_all(&mut ctx, commands)? {
        Attempt::NotYet => return Ok(None),
        Attempt::Done(outputs) => outputs,
    };
    // A dry run changes nothing that the daemon could take up.
    if options.wait && !options.dry_run {
        ctx.txn.increment("Open_vSwitch", ctx.ovs, "next_cfg");
    }
    if options.dry_run {
        ctx.txn.abort_at_end();
    }
    let ifaces = ctx.touched_ifaces();
    let errors_before = ctx.touches_more().then(|| errors(replica));
    Ok(Some(Made {
        outputs,
        request: ctx.txn.build(),
        ifaces,
        errors_before,
    }))
}

/// Waits until the replica has moved on from `seqno`.
async fn await_change(link: &mut Link, seqno: u64) -> Result<(), Error> {
    while !link.session.is_synced() || link.session.replica().seqno() == seqno {
        link.next().await?;
    }
    Ok(())
}

async fn transact(link: &mut Link, request: Request) -> Result<Outcome, Error> {
    let number = link.session.transact(request);
    loop {
        match link.next().await? {
            Event::Transacted { id, outcome } if id == number => return Ok(outcome),
            _ => {}
        }
    }
}

/// Waits until the daemon has taken up configuration `next_cfg`.
async fn await_reload(link: &mut Link, next_cfg: i64) -> Result<(), Error> {
    loop {
        let replica = link.session.replica();
        let reached = replica
            .rows("Open_vSwitch")
            .any(|row| row.integer("cur_cfg").is_some_and(|cur| cur >= next_cfg));
        if reached && link.session.is_synced() {
            return Ok(());
        }
        link.next().await?;
    }
}

/// The error of each interface that has one.
fn errors(replica: &Replica) -> BTreeMap<Uuid, String> {
    replica
        .rows("Interface")
        .filter_map(|row| Some((row.uuid(), row.string("error")?.to_owned())))
        .collect()
}

/// Interfaces whose error is not what it was `before`, other than those of this run.
fn new_errors(
    replica: &Replica,
    before: &BTreeMap<Uuid, String>,
    inserted: &BTreeMap<Uuid, Uuid>,
) -> Vec<Uuid> {
    errors(replica)
        .into_iter()
        .filter(|(row, error)| before.get(row) != Some(error))
        .map(|(row, _)| row)
        .filter(|row| !inserted.values().any(|inserted| inserted == row))
        .collect()
}

/// Says why interfaces that this run added or changed do not work.
///
/// Only an interface that was added makes the run fail, as in ovs-vsctl: scripts set columns of
/// interfaces whose devices come later.
fn check_ifaces(
    replica: &Replica,
    ifaces: &BTreeSet<Uuid>,
    inserted: &BTreeMap<Uuid, Uuid>,
) -> Result<(), Error> {
    let program = daemon::dirs::program_name();
    let mut failed = false;
    for iface in ifaces {
        let real = inserted.get(iface);
        let Some(row) = replica.row("Interface", *real.unwrap_or(iface)) else {
            continue;
        };
        let name = row.string("name").unwrap_or("");
        let without_port = matches!(row.integer("ofport"), None | Some(-1));
        match row.string("error").filter(|error| !error.is_empty()) {
            Some(error) => {
                eprintln!("{program}: Error detected while setting up '{name}': {error}.");
            }
            None if real.is_some() && without_port => eprintln!(
                "{program}: Error detected while setting up '{name}'.  See ovs-vswitchd log for \
                 details."
            ),
            None => continue,
        }
        // A port that works but for some setting is no failure.
        failed |= real.is_some() && without_port;
    }
    if failed {
        return Err(Error::PortsFailed);
    }
    Ok(())
}

fn print(options: &Options, outputs: &[Output], inserted: &BTreeMap<Uuid, Uuid>) {
    let mut text = String::new();
    let mut first_table = true;
    for output in outputs {
        if let Some(table) = &output.table {
            text.push_str(&table.print(&options.style, first_table));
            first_table = false;
            continue;
        }
        let created = output.created.map(|row| {
            let real = inserted.get(&row).copied().unwrap_or(row);
            format!("{}\n", real.hyphenated())
        });
        let body = created.as_ref().unwrap_or(&output.text);
        if options.oneline {
            let body = body.strip_suffix('\n').unwrap_or(body);
            text.push_str(&body.replace('\\', "\\\\").replace('\n', "\\n"));
            text.push('\n');
        } else {
            text.push_str(body);
        }
    }
    // A reader that went away does not undo what was done.
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes());
    let _ = stdout.flush();
}
