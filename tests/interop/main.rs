//! Stock Open vSwitch tools and controllers against our daemons.
//!
//! The cases take turns (`--test-threads=1`): namespaces have fixed names.

mod appctl;
mod controllers;
mod database;
mod driver;
mod faucet;
mod listening;
mod openflow;
mod os_ken;
mod resume;
mod versions;

use std::process::Command;

use anyhow::Result;
use tests::Switch;
use tests::process::output;

/// Runs a stock program with the switch's directories in its environment.
fn stock(s: &Switch, program: &str, args: &[&str]) -> Result<String> {
    output(stock_command(s, program).args(args))
}

fn stock_command(s: &Switch, program: &str) -> Command {
    s.stock(tests::process::find_program(program).unwrap_or_else(|| program.into()))
}

fn ready(test: &str, programs: &[&str]) -> bool {
    tests::require_root(test) && programs.iter().all(|p| tests::require_program(test, p))
}

/// Whether the only bridge's only controller is connected.
fn connected(s: &Switch) -> bool {
    s.vsctl(&["--bare", "--columns=is_connected", "list", "Controller"])
        .is_ok_and(|t| t.trim() == "true")
}
