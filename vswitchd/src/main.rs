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
mod memory;
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
    let mut capacities = EbpfConfig::new(&dirs::rundir());
    let parsed = getopt::parse(&DaemonOptions::with(CAPACITIES), getopt::command_line())?;
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
            Taken::No => set_capacity(&mut capacities, option.long, value.as_deref())?,
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
    runtime.block_on(serve(&options, &capacities, remote, startup))
}

/// Options for how much fits into the datapath. A daemon that finds the datapath with other
/// capacities moves ports and flows over.
const CAPACITIES: &[getopt::Opt] = &[
    getopt::Opt::new("datapath-flows", None, getopt::Value::Required),
    getopt::Opt::new("datapath-exact-entries", None, getopt::Value::Required),
    getopt::Opt::new("datapath-ports", None, getopt::Value::Required),
];

/// Largest value of each: a million, and the 16-bit port numbers.
const MOST_ENTRIES: u32 = 1 << 20;
const MOST_PORTS: u32 = 0xffff;

fn set_capacity(config: &mut EbpfConfig, option: &str, value: Option<&str>) -> anyhow::Result<()> {
    let most = match option {
        "datapath-ports" => MOST_PORTS,
        _ => MOST_ENTRIES,
    };
    let text = value.unwrap_or_default();
    let number = text.parse().ok().filter(|n| (16..=most).contains(n));
    let Some(number) = number else {
        anyhow::bail!("--{option}={text}: give a number from 16 to {most}");
    };
    match option {
        "datapath-flows" => {
            config.flows = number;
            // Half of the flows with one block of actions each, as by default.
            config.blocks = number.saturating_add(number / 2);
        }
        "datapath-exact-entries" => config.exact_narrow = number.next_power_of_two(),
        "datapath-ports" => config.ports = number,
        _ => anyhow::bail!("option '--{option}' is not supported"),
    }
    Ok(())
}

/// Opens everything and runs the event loop.
async fn serve(
    options: &DaemonOptions,
    capacities: &EbpfConfig,
    remote: Active,
    startup: Startup,
) -> anyhow::Result<()> {
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
    let dpif = Arc::new(EbpfDpif::open(capacities)?);
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

Capacities of the datapath (memory of the kernel):
  --datapath-flows=N          cached flows (default: 65536)
  --datapath-exact-entries=N  exact-match entries on each CPU, rounded up to a
                              power of two (default: 32768)
  --datapath-ports=N          ports (default: 4096)

Active DATABASE connection methods:
  tcp:HOST:PORT           PORT at remote HOST
  unix:FILE               Unix domain socket named FILE
{}",
        dirs::rundir().join("db.sock").display(),
        options.usage()
    )
}
