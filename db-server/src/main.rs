//! The database server: stands for ovsdb-server, also when it is started under that name.

use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command as Program, ExitCode, ExitStatus};
use std::sync::mpsc;

use anyhow::Context as _;
use daemon::signals::Termination;
use daemon::unixctl;
use db_server::event_loop::EventLoop;
use db_server::files::File;
use db_server::options::{self, Command, Options};
use db_server::server::Server;
use db_server::uuids::Uuids;
use db_server::{control, files};
use tokio::sync::oneshot;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let program = daemon::dirs::program_name();
    let options = match options::parse(&program, daemon::getopt::command_line()) {
        Ok(Command::Run(options)) => options,
        Ok(Command::Print(text)) => {
            print!("{text}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("{program}: {error}");
            return ExitCode::FAILURE;
        }
    };
    match run(*options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{program}: {error:#}");
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: Options) -> anyhow::Result<()> {
    let startup = options.daemon.start()?;
    let mut uuids = Uuids::new().context("/dev/urandom")?;
    let mut file_uuids = Uuids::new().context("/dev/urandom")?;
    let server = Server::new(Box::new(move || uuids.next_uuid()), options.column_diff);
    let mut files: Vec<File> = Vec::new();
    for path in &options.files {
        // To open its lock file a second time would give up the lock.
        let real = std::fs::canonicalize(path);
        if real.is_ok_and(|real| files.iter().any(|file| file.path == real)) {
            anyhow::bail!("ovsdb error: {}: already open", path.display());
        }
        files.push(files::open(path, &mut || file_uuids.next_uuid())?);
    }
    // One thread for sockets, JSON and transactions: handing each small message to another one
    // costs more than the work on it. The writer of the files has its own.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start")?;
    runtime.block_on(async {
        let termination = Termination::new()?;
        let mut event_loop = EventLoop::new(server, files, options.settings).await?;
        event_loop.serve_web(options.web).await?;
        let commands = control::commands(&options.daemon.program);
        let control = match options.daemon.unixctl_path() {
            Some(path) => Some(unixctl::Server::listen(&path, commands)?),
            None => None,
        };
        let _running = startup.complete()?;
        tracing::info!("{} {}", options.daemon.program, daemon::version::VERSION);
        let (stop, stopped) = oneshot::channel();
        let Some(command) = options.run else {
            event_loop.run(control, termination, stopped).await;
            drop(stop);
            return anyhow::Ok(());
        };
        let outcome = run_beside(&command, stop)?;
        event_loop.run(control, termination, stopped).await;
        // Nothing when a signal or a command was earlier.
        match outcome.try_recv() {
            Ok(Ok(status)) if !status.success() => {
                anyhow::bail!("{command}: child exited, {}", describe(status))
            }
            Ok(Err(error)) => Err(error).context(command),
            _ => Ok(()),
        }
    })?;
    // Connections that are still there need not be waited for.
    runtime.shutdown_background();
    Ok(())
}

/// Starts a shell command; `stop` is told when it ends.
fn run_beside(
    command: &str,
    stop: oneshot::Sender<()>,
) -> anyhow::Result<mpsc::Receiver<std::io::Result<ExitStatus>>> {
    let mut child: Child = Program::new("/bin/sh")
        .args(["-c", command])
        .spawn()
        .context(command.to_owned())?;
    let (sender, outcome) = mpsc::channel();
    std::thread::Builder::new()
        .name("run".to_owned())
        .spawn(move || {
            let _ = sender.send(child.wait());
            let _ = stop.send(());
        })
        .context("cannot start")?;
    Ok(outcome)
}

/// How a process ended, in ovsdb-server's words.
fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => match nix::sys::signal::Signal::try_from(signal) {
            Ok(signal) => format!("killed ({signal})"),
            Err(_) => format!("killed (signal {signal})"),
        },
        (None, None) => status.to_string(),
    }
}
