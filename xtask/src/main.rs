//! `cargo xtask`: everything that a developer does that is longer than one cargo command.

mod demo;
mod ebpf;
mod fuzz;
mod setup;
mod support;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Developer commands of Sluice")]
struct Cli {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Show a switch at work: hosts in namespaces, VLANs, an OpenFlow rule, the kernel cache
    Demo {
        /// Leave it running at the end
        #[arg(long)]
        keep: bool,
        /// Remove what `--keep` left
        #[arg(long, conflicts_with = "keep")]
        clean: bool,
    },
    /// Install what the machine lacks, then run every check and every test, as CI does
    Test {
        /// Run only this step (fmt, clippy, deny, tidy, unit, datapath, sim, e2e, interop, ...)
        #[arg(long)]
        only: Option<String>,
    },
    /// Measure beside the peers: builds in release and runs a benchmark harness with `ours` set
    Bench {
        /// Directory of the harness, which holds its program `bench`
        harness: PathBuf,
        /// Arguments for `bench`, such as: run --switch tc-redirect,linux-bridge,ours --workload crr
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        args: Vec<String>,
    },
    /// Measure the database server beside the stock one: throughput, latency, monitors, start-up
    BenchDb {
        /// Arguments for the load, such as: --nice -15 --runs 3 --only mix (--help lists them)
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Measure flows beside the stock switch and tool: adding, showing, deleting; memory
    BenchFlows {
        /// Arguments for the load, such as: --runs 3 --flows 10000 (--help lists them)
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Build the eBPF programs
    BuildEbpf,
    /// Run a fuzz target (json_stream, log_reader, operations; of_message, of_parts,
    /// of_reassembly, of_stream, of_text), or all
    Fuzz {
        target: String,
        #[arg(default_value_t = 60)]
        seconds: u64,
    },
    /// Write the tables of docs/support.md from the code
    Support,
    /// Install what the machine lacks for building the eBPF programs and for the tests
    Setup,
}

fn main() -> Result<()> {
    // Paths below are relative to the workspace.
    std::env::set_current_dir(workspace()).context("cannot enter the workspace")?;
    match Cli::parse().command {
        Task::Demo { clean: true, .. } => demo::clean(),
        Task::Demo { keep, .. } => {
            setup::for_demo()?;
            demo::run_all(keep)
        }
        Task::Test { only } => test(only.as_deref()),
        Task::Bench { harness, args } => bench(&harness, &args),
        Task::BenchDb { args } => bench_db(&args),
        Task::BenchFlows { args } => bench_flows(&args),
        Task::BuildEbpf => {
            setup::toolchain()?;
            ebpf::build()
        }
        Task::Fuzz { target, seconds } => fuzz::run(&target, seconds),
        Task::Support => {
            setup::for_demo()?;
            support::write()
        }
        Task::Setup => setup::everything(),
    }
}

/// The workspace's directory.
fn workspace() -> PathBuf {
    let mut dir = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    dir.pop();
    dir
}

/// Runs a cargo command in the workspace, showing it.
fn cargo(args: &[&str], env: &[(&str, &str)]) -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(args).envs(env.iter().copied());
    step(&format!("cargo {}", args.join(" ")));
    let status = command.status().context("cannot run cargo")?;
    if !status.success() {
        bail!("cargo {} failed ({status})", args.join(" "));
    }
    Ok(())
}

/// Says what is done next.
fn step(what: &str) {
    println!("\n==> {what}");
}

/// The steps of `cargo xtask test`, in order. What fails soonest comes first.
fn test(only: Option<&str>) -> Result<()> {
    let strict = [("SLUICE_REQUIRE_ROOT", "1")];
    let mut ran = 0;
    let mut wants = |name: &str| {
        let yes = only.is_none_or(|o| o == name);
        ran += usize::from(yes);
        yes
    };
    if wants("setup") || only.is_some() {
        setup::everything()?;
    }
    if wants("fmt") {
        cargo(&["fmt", "--all", "--check"], &[])?;
    }
    if wants("tidy") {
        step("crate arrows");
        tidy::check()?;
    }
    if wants("deny") {
        deny()?;
    }
    if wants("clippy") {
        cargo(
            &[
                "clippy",
                "--workspace",
                "--all-targets",
                "--",
                "-D",
                "warnings",
            ],
            &[],
        )?;
    }
    if wants("unit") {
        cargo(&["build", "--workspace", "--bins"], &[])?;
        cargo(&["test", "--workspace", "--exclude", "tests"], &strict)?;
    }
    for suite in setup::test_suites()? {
        if wants(&suite) {
            cargo(&["build", "--workspace", "--bins"], &[])?;
            // Namespaces have fixed names, so the cases of a suite take turns.
            let args = [
                "test",
                "--package",
                "tests",
                "--test",
                &suite,
                "--",
                "--test-threads=1",
            ];
            cargo(&args, &strict)?;
        }
    }
    if ran == 0 {
        bail!("no step is called {:?}", only.unwrap_or_default());
    }
    println!("\nall steps passed");
    Ok(())
}

/// Runs the harness; its driver for this switch takes the programs from the environment.
fn bench(harness: &Path, args: &[String]) -> Result<()> {
    cargo(&["build", "--release", "--workspace", "--bins"], &[])?;
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    let programs = target
        .join("release")
        .canonicalize()
        .context("target/release")?;
    let status = Command::new(harness.join("bench"))
        .args(args)
        .env("OURS_VSWITCHD", programs.join("vswitchd"))
        .env("OURS_DB_SERVER", programs.join("db-server"))
        .env("OURS_VSCTL", programs.join("vsctl"))
        .status()
        .with_context(|| format!("cannot run {}/bench", harness.display()))?;
    if !status.success() {
        bail!("bench failed ({status})");
    }
    Ok(())
}

/// Builds the database server and the load for it in release, and runs them.
fn bench_db(args: &[String]) -> Result<()> {
    cargo(&["build", "--release", "-p", "db-server", "--bins"], &[])?;
    let mut run = vec![
        "run",
        "--release",
        "-p",
        "db-server",
        "--example",
        "beside",
        "--",
    ];
    run.extend(args.iter().map(String::as_str));
    cargo(&run, &[])
}

/// Builds the switch and its tools and the load for them in release, and runs them.
fn bench_flows(args: &[String]) -> Result<()> {
    let mut build = vec!["build", "--release", "--bins"];
    for package in ["vswitchd", "db-server", "vsctl", "ofctl", "appctl"] {
        build.extend(["-p", package]);
    }
    cargo(&build, &[])?;
    let mut run = vec![
        "run",
        "--release",
        "-p",
        "tests",
        "--example",
        "flows",
        "--",
    ];
    run.extend(args.iter().map(String::as_str));
    cargo(&run, &[])
}

/// Licences, sources and duplicate versions; advisories where their database can be had.
fn deny() -> Result<()> {
    cargo(&["deny", "check", "bans", "licenses", "sources"], &[])?;
    step("cargo deny check advisories");
    let out = Command::new("cargo")
        .args(["deny", "check", "advisories"])
        .output()
        .context("cannot run cargo deny")?;
    let text = String::from_utf8_lossy(&out.stderr);
    if out.status.success() {
        println!("no advisories");
    } else if text.contains("failed to fetch advisory database")
        || text.contains("failed to load advisory database")
    {
        println!("SKIPPED: the advisory database cannot be reached from this machine");
    } else {
        bail!("cargo deny check advisories failed:\n{text}");
    }
    Ok(())
}
