//! `appctl`: looks into and controls a running daemon over its unixctl socket.
//!
//! Stands for ovs-appctl(8): same options, texts and exit statuses (0; 1 when the daemon cannot
//! be reached or the command line is wrong; 2 when the daemon answers with an error). Started
//! under a name that ends in `dpctl` it stands for ovs-dpctl(8): its commands are the daemon's
//! `dpctl/` commands, since the daemon holds the datapath.

use std::path::PathBuf;
use std::process::ExitCode;

use daemon::getopt::{self, Opt, Value};
use daemon::unixctl::client::{self, Client};
use daemon::{dirs, timeout, version, vlog};

/// The daemon answered, with an error.
const EXIT_ERROR_ANSWER: u8 = 2;

const OPTIONS: &[Opt] = &[
    Opt::new("target", Some('t'), Value::Required),
    Opt::new("timeout", Some('T'), Value::Required),
    Opt::new("verbose", Some('v'), Value::Optional),
    Opt::new("help", Some('h'), Value::None),
    Opt::new("version", Some('V'), Value::None),
];

/// ovs-dpctl(8) has `-t` for the timeout, as it has no target.
const DPCTL_OPTIONS: &[Opt] = &[
    Opt::new("statistics", Some('s'), Value::None),
    Opt::new("more", Some('m'), Value::None),
    Opt::new("names", None, Value::None),
    Opt::new("no-names", None, Value::None),
    Opt::new("timeout", Some('t'), Value::Required),
    Opt::new("verbose", Some('v'), Value::Optional),
    Opt::new("help", Some('h'), Value::None),
    Opt::new("version", Some('V'), Value::None),
];

/// What the command line asks for.
struct Invocation {
    target: Option<String>,
    timeout: Option<u32>,
    command: String,
    args: Vec<String>,
}

fn main() -> ExitCode {
    let program = dirs::program_name();
    vlog::init(&program, vlog::Level::Warn);
    match run(&program) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{program}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(program: &str) -> anyhow::Result<ExitCode> {
    let dpctl = program.ends_with("dpctl");
    let Some(invocation) = parse(program, dpctl)? else {
        return Ok(ExitCode::SUCCESS);
    };
    timeout::arm(invocation.timeout);
    let (name, socket) = find_target(program, invocation.target.as_deref())?;
    let mut client = Client::connect(&socket)?;
    match client.transact(&invocation.command, &invocation.args)? {
        Ok(text) => {
            print(&text);
            Ok(ExitCode::SUCCESS)
        }
        Err(text) => {
            eprint!("{text}");
            eprintln!("{program}: {name}: server returned an error");
            Ok(ExitCode::from(EXIT_ERROR_ANSWER))
        }
    }
}

/// `None` when the help or the version was all that was asked for.
fn parse(program: &str, dpctl: bool) -> anyhow::Result<Option<Invocation>> {
    let command_line = getopt::command_line();
    let parsed = if dpctl {
        getopt::parse(DPCTL_OPTIONS, command_line)?
    } else {
        getopt::parse_leading(OPTIONS, command_line)?
    };
    let mut target = None;
    let mut limit = None;
    let mut passed_on = Vec::new();
    for (option, value) in parsed.options {
        match option.long {
            "target" => target = value,
            "timeout" => limit = Some(timeout::parse(&value.unwrap_or_default())?),
            "verbose" => match value {
                Some(spec) => vlog::set(&spec)?,
                None => vlog::set_verbose(),
            },
            "help" => {
                print(&usage(program, dpctl));
                return Ok(None);
            }
            "version" => {
                print(&version::text(program));
                return Ok(None);
            }
            _ => passed_on.push(option.display()),
        }
    }
    let mut arguments = parsed.arguments.into_iter();
    let Some(command) = arguments.next() else {
        anyhow::bail!("at least one non-option argument is required (use --help for help)");
    };
    let (command, args) = if dpctl {
        passed_on.extend(arguments);
        (format!("dpctl/{command}"), passed_on)
    } else {
        (command, arguments.collect())
    };
    Ok(Some(Invocation {
        target,
        timeout: limit,
        command,
        args,
    }))
}

/// The target's name for messages and its socket. Without a target it is the switch daemon,
/// under either of the names that it is started by.
fn find_target(program: &str, target: Option<&str>) -> Result<(String, PathBuf), client::Error> {
    if let Some(target) = target {
        return Ok((target.to_owned(), client::socket_of(target)?));
    }
    let names = if program.starts_with("ovs-") {
        ["ovs-vswitchd", "vswitchd"]
    } else {
        ["vswitchd", "ovs-vswitchd"]
    };
    let [first, second] = names;
    client::socket_of(first)
        .map(|socket| (first.to_owned(), socket))
        .or_else(|error| match client::socket_of(second) {
            Ok(socket) => Ok((second.to_owned(), socket)),
            Err(_) => Err(error),
        })
}

/// Prints, and leaves quietly when nobody reads any more.
fn print(text: &str) {
    use std::io::Write;
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes());
    let _ = stdout.flush();
}

fn usage(program: &str, dpctl: bool) -> String {
    if dpctl {
        return format!(
            "{program}: look into the datapath of a running switch daemon
usage: {program} [OPTIONS] COMMAND [ARG...]
Commands are the daemon's commands that start with dpctl/; \"list-commands\" of the
daemon names them.
Options:
  -s, --statistics        with \"show\": statistics of ports
  -m, --more              with \"dump-flows\": more output
  --names, --no-names     with \"dump-flows\": port names or numbers
  -t, --timeout=SECS      give up after SECS seconds
  -h, --help              display this help message
  -V, --version           display version information
"
        );
    }
    format!(
        "{program}: look into and control a running daemon
usage: {program} [TARGET] COMMAND [ARG...]
Targets:
  -t, --target=TARGET     name of a daemon with a pidfile, or path of its socket
                          (default: the switch daemon)
Common commands:
  list-commands           commands that the target knows
  version                 version of the target
  vlog/list               log levels of the target
  vlog/list-pattern       log patterns of the target
  vlog/set [SPEC]         set log levels; SPEC has a module, a destination
                          (console, syslog, file) and a level (off, emer, err,
                          warn, info, dbg), each optional
  vlog/reopen             close the log file and open it again
Other options:
  -T, --timeout=SECS      wait at most SECS seconds for an answer
  -h, --help              display this help message
  -V, --version           display version information
"
    )
}
