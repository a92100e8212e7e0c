//! The database server: stands for ovsdb-server, also when it is started under that name.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::Context as _;
use daemon::signals::Termination;
use daemon::unixctl;
use db_server::event_loop::EventLoop;
use db_server::options::{self, Command, Options};
use db_server::server::Server;
use db_server::uuids::Uuids;
use db_server::{control, files};
use ovsdb::Uuid;

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
    let mut server = Server::new(Box::new(move || uuids.next_uuid()), options.column_diff);
    let mut logs = BTreeMap::new();
    let mut locks = Vec::new();
    for path in &options.files {
        let file = files::open(path, &mut Uuid::new_v4)?;
        if logs.contains_key(&file.name) {
            anyhow::bail!("{}: a second database named {}", path.display(), file.name);
        }
        server.add_database(file.db);
        logs.insert(file.name, file.log);
        locks.push(file.lock);
    }
    // One thread for sockets, JSON and transactions: handing each small message to another one
    // costs more than the work on it. The writer of the files has its own.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start")?;
    runtime.block_on(async {
        let termination = Termination::new()?;
        let mut event_loop =
            EventLoop::new(server, logs, options.remotes, options.tls_columns).await?;
        event_loop.serve_web(options.web).await?;
        let commands = control::commands(&options.daemon.program);
        let control = match options.daemon.unixctl_path() {
            Some(path) => Some(unixctl::Server::listen(&path, commands)?),
            None => None,
        };
        let _running = startup.complete()?;
        tracing::info!("{} {}", options.daemon.program, daemon::version::VERSION);
        event_loop.run(control, termination).await;
        anyhow::Ok(())
    })?;
    // Connections that are still there need not be waited for.
    runtime.shutdown_background();
    drop(locks);
    Ok(())
}
