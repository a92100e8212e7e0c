//! `vswitchd`: the switch daemon.
//!
//! Stands for ovs-vswitchd(8): same options, sockets and texts. The whole daemon is one event
//! loop ([`switch`]) around pure cores, plus plain threads that answer upcalls and keep the
//! datapath's cache in step ([`upcall_thread`], [`revalidator`]).

mod bridge;
mod command;
mod coverage;
mod database;
mod event;
mod expedite;
mod netdev;
mod openflow_loop;
mod openflow_net;
mod ports;
mod revalidator;
mod selection;
mod shared;
mod switch;
mod threads;
mod upcall_thread;

use std::process::ExitCode;
use std::sync::Arc;

use daemon::detach::Startup;
use daemon::getopt;
use daemon::options::{DaemonOptions, Taken};
use daemon::signals::Termination;
use daemon::stream::{Active, OVSDB_PORT};
use daemon::unixctl::{Commands, Server};
use daemon::{dirs, version, vlog};
use dpif::ebpf::{EbpfConfig, EbpfDpif};
use ovsdb::replica::Replica;
use tokio::sync::mpsc;

use crate::database::Database;
use crate::netdev::Netlink;
use crate::openflow_net::Network;
use crate::switch::{Sources, Switch};

/// Link events that wait for the event loop.
const LINK_EVENTS: usize = 1024;

fn main() -> ExitCode {
    let program = dirs::program_name();
    match run(&program) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let text = explain(&error);
            eprintln!("{program}: {text}");
            // The terminal has it; the log file may not.
            vlog::console_off();
            tracing::error!("{text}");
            ExitCode::FAILURE
        }
    }
}

/// The error and its causes, without causes that a text before already names.
fn explain(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

fn run(program: &str) -> anyhow::Result<()> {
    let mut options = DaemonOptions::new(program);
    let parsed = getopt::parse(&DaemonOptions::with(&[]), getopt::command_line())?;
    for (option, value) in &parsed.options {
        match options.take(*option, value.as_deref())? {
            Taken::Yes => {}
            Taken::Help => {
                print!("{}", usage(&options));
                return Ok(());
            }
            Taken::Version => {
                print!("{}", version::text(program));
                return Ok(());
            }
            Taken::No => anyhow::bail!("option '{}' is not supported", option.display()),
        }
    }
    let remote = match parsed.arguments.as_slice() {
        [] => format!("unix:{}", dirs::rundir().join("db.sock").display()),
        [remote] => remote.clone(),
        _ => anyhow::bail!("at most one non-option argument accepted; use --help for usage"),
    };
    let remote = Active::parse(&remote, OVSDB_PORT)?;

    // One thread until here and in it: `start` forks.
    let startup = options.start()?;
    // Sockets and the event loop on one thread: an answer changes no thread on its way.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(serve(&options, remote, startup))
}

/// Opens everything and runs the event loop.
async fn serve(options: &DaemonOptions, remote: Active, startup: Startup) -> anyhow::Result<()> {
    let termination = Termination::new()?;
    let mut commands = Commands::new(&options.program);
    command::register(&mut commands);
    let (_server, unixctl) = match options.unixctl_path() {
        Some(path) => {
            let (server, requests) = Server::listen(&path, commands)?;
            (Some(server), requests)
        }
        None => (None, mpsc::channel(1).1),
    };
    let (link_sender, links) = mpsc::channel(LINK_EVENTS);
    let netlink = Netlink::open(link_sender)?;
    let replica = Replica::new(selection::selection()?);
    let database = Database::new(remote, replica);
    let dpif = Arc::new(EbpfDpif::open(&EbpfConfig::new(&dirs::rundir()))?);
    let (network, openflow) = Network::new();
    let sources = Sources {
        links,
        unixctl,
        openflow,
        termination,
    };
    Switch::new(dpif, netlink, database, network)?
        .run(sources, startup)
        .await
}

fn usage(options: &DaemonOptions) -> String {
    let program = &options.program;
    format!(
        "{program}: the switch daemon
usage: {program} [OPTIONS] [DATABASE]
where DATABASE is a socket on which the database server is listening
      (default: \"unix:{}\").

Active DATABASE connection methods:
  tcp:HOST:PORT           PORT at remote HOST
  unix:FILE               Unix domain socket named FILE
{}",
        dirs::rundir().join("db.sock").display(),
        options.usage()
    )
}
