//! The smallest daemon: every convention and one command of its own. Tests run stock tools
//! against it.
//!
//! `--fail` makes it fail before it is ready, `--crash` kill itself then; the command `crash`
//! does so later.

use std::process::ExitCode;

use daemon::getopt::{self, Opt, Value};
use daemon::options::{DaemonOptions, Taken};
use daemon::signals::Termination;
use daemon::unixctl::{Commands, Server};
use daemon::{dirs, version};

const OWN: &[Opt] = &[
    Opt::new("fail", None, Value::None),
    Opt::new("crash", None, Value::None),
];

fn main() -> ExitCode {
    let program = dirs::program_name();
    match run(&program) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{program}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(program: &str) -> Result<(), Box<dyn std::error::Error>> {
    let mut options = DaemonOptions::new(program);
    let mut fail = false;
    let mut crash = false;
    let parsed = getopt::parse(&DaemonOptions::with(OWN), getopt::command_line())?;
    for (option, value) in parsed.options {
        match options.take(option, value.as_deref())? {
            Taken::Yes => {}
            Taken::Help => {
                print!("{}", options.usage());
                return Ok(());
            }
            Taken::Version => {
                print!("{}", version::text(program));
                return Ok(());
            }
            Taken::No if option.long == "fail" => fail = true,
            Taken::No => crash = true,
        }
    }
    let startup = options.start()?;
    if fail {
        return Err("asked to fail".into());
    }
    if crash {
        std::process::abort();
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut termination = Termination::new()?;
        let mut commands = Commands::new(program);
        commands.event("exit", "", 0, 0);
        commands.event("crash", "", 0, 0);
        let path = options.unixctl_path().ok_or("unixctl is off")?;
        let (_server, mut requests) = Server::listen(&path, commands)?;
        let _running = startup.complete()?;
        tokio::select! {
            signal = termination.recv() => tracing::info!("{signal}: leaving"),
            Some(request) = requests.recv() => {
                if request.command == "crash" {
                    std::process::abort();
                }
                request.reply_written(Ok(String::new())).await;
            }
        }
        Ok(())
    })
}
