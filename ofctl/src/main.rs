//! `ofctl`: OpenFlow from the command line.
//!
//! Stands for ovs-ofctl(8): same commands, flow syntax, texts and exit statuses. It is the
//! OpenFlow side of the switch seen from outside: [`connection`] speaks the protocol, the text
//! is `openflow::text`.

mod bits;
mod bundle;
mod command;
mod compare;
mod connection;
mod conntrack;
mod dump;
mod error;
mod flow_files;
mod flow_mods;
mod groups;
mod lookup;
mod meters;
mod monitor;
mod options;
mod output;
mod parse;
mod pcap;
mod protocol;
mod spool;
mod switch;
mod tables;
mod tlv;
mod usage;

use std::process::ExitCode;

use daemon::detach::Detach;
use daemon::{dirs, getopt, timeout, version};

use error::Error;
use options::Invocation;

fn main() -> ExitCode {
    let program = dirs::program_name();
    match run(&program) {
        Ok(status) => ExitCode::from(status),
        Err(Error::NoReader) => ExitCode::SUCCESS,
        Err(Error::Refused(text) | Error::RefusedLines(text)) => {
            eprint!("{text}");
            ExitCode::FAILURE
        }
        Err(error) => {
            if let Error::BundleRefused { shown, .. } = &error {
                eprint!("{shown}");
            }
            eprintln!("{program}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(program: &str) -> Result<u8, Error> {
    let (options, command, args) = match options::parse(program, getopt::command_line())? {
        Invocation::Help(options) => {
            output::print(&usage::text(&options))?;
            return Ok(0);
        }
        Invocation::Version => {
            output::print(&version::text(program))?;
            output::print("OpenFlow versions 0x1:0x4\n")?;
            return Ok(0);
        }
        Invocation::Run {
            options,
            command,
            args,
        } => (options, command, args),
    };
    let command = command::find(&options, &command, &args)?;
    timeout::arm(options.timeout);
    // Before the runtime: forking wants a single thread.
    let startup = if command.detaches {
        options.daemon.start()?
    } else {
        Detach::default().start()?
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| Error::Stream {
            what: "starting the event loop",
            source,
        })?;
    runtime.block_on(command::run(&options, command, &args, startup))
}
