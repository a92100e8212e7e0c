//! Measures this database server and the stock one side by side: the same bounded load over a
//! unix socket, the servers taking turns, figures as ratios. `cargo xtask bench-db` runs it.
//!
//! The load generator is one thread that holds all clients; each client has one transaction under
//! way. Server and load have a CPU each where there are two. Requests are made and answers looked
//! at as text, because a slow client would be measured instead of the server.

mod load;
mod report;
mod server;

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use load::{Case, Kind};
use server::{Program, Running};

/// What is measured, in the order of the table.
const CASES: &[Case] = &[
    Case::new(Kind::Mix, 1, 0),
    Case::new(Kind::Mix, 16, 0),
    Case::new(Kind::Mix, 100, 0),
    Case::new(Kind::Relaxed, 1, 0),
    Case::new(Kind::Relaxed, 16, 0),
    Case::new(Kind::Relaxed, 100, 0),
    Case::new(Kind::Ephemeral, 1, 0),
    Case::new(Kind::Ephemeral, 16, 0),
    Case::new(Kind::Ephemeral, 100, 0),
    Case::new(Kind::Select, 16, 0),
    Case::new(Kind::Mutate, 16, 1),
    Case::new(Kind::Mutate, 16, 100),
    Case::new(Kind::Mutate, 16, 1000),
];

const USAGE: &str = "\
usage: beside [--stock PROGRAM] [--ours PROGRAM] [--runs N] [--seconds N] [--rows N]
              [--only TEXT] [--nice N]
  --stock PROGRAM  the server to compare with (ovsdb-server)
  --ours PROGRAM   this project's server (db-server beside this program's directory)
  --runs N         turns of each server; the median counts (3)
  --seconds N      length of one load, may have a fraction (2)
  --rows N         rows in the file for start-up and memory (100000)
  --only TEXT      only the cases whose name contains TEXT
  --nice N         run servers and load at this nice value";

struct Options {
    stock: PathBuf,
    ours: PathBuf,
    runs: usize,
    seconds: f64,
    rows: usize,
    only: String,
}

fn main() -> Result<()> {
    let options = parse()?;
    let scratch = tempfile::tempdir().context("scratch directory")?;
    let programs = [
        Program::new("stock", &options.stock)?,
        Program::new("ours", &options.ours)?,
    ];
    server::pin_self();
    let mut table = report::Table::default();
    for case in CASES {
        if !case.name().contains(&options.only) {
            continue;
        }
        for _ in 0..options.runs {
            for (n, program) in programs.iter().enumerate() {
                let file = scratch.path().join("load.db");
                server::write_empty(&file)?;
                let running = Running::start(program, &file, scratch.path())?;
                let figures = load::run(case, &running, options.seconds)
                    .with_context(|| format!("{} with {}", case.name(), program.name))?;
                table.add(&case.name(), n, &figures);
            }
        }
        table.print_last();
    }
    if "start-up".contains(&options.only) {
        let file = scratch.path().join("large.db");
        server::write_large(&file, options.rows)?;
        for _ in 0..options.runs {
            for (n, program) in programs.iter().enumerate() {
                let running = Running::start(program, &file, scratch.path())?;
                let figures = [
                    ("start-up ms", running.start_up.as_secs_f64() * 1e3),
                    ("start-up cpu ms", running.cpu_ns()? as f64 / 1e6),
                    ("RSS MiB", running.rss_kib()? as f64 / 1024.0),
                ];
                table.add(&format!("start-up {} rows", options.rows), n, &figures);
            }
        }
        table.print_last();
    }
    Ok(())
}

fn parse() -> Result<Options> {
    let mut ours = std::env::current_exe()?;
    ours.pop();
    ours.pop();
    ours.push("db-server");
    let mut options = Options {
        stock: "ovsdb-server".into(),
        ours,
        runs: 3,
        seconds: 2.0,
        rows: 100_000,
        only: String::new(),
    };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        if arg == "--help" {
            println!("{USAGE}");
            std::process::exit(0);
        }
        let value = args.next().with_context(|| format!("{arg}: no value"))?;
        match arg.as_str() {
            "--stock" => options.stock = value.into(),
            "--ours" => options.ours = value.into(),
            "--runs" => options.runs = value.parse().context("--runs")?,
            "--seconds" => options.seconds = value.parse().context("--seconds")?,
            "--rows" => options.rows = value.parse().context("--rows")?,
            "--only" => options.only = value,
            "--nice" => server::renice(value.parse().context("--nice")?)?,
            _ => bail!("{arg}: unknown\n{USAGE}"),
        }
    }
    Ok(options)
}
