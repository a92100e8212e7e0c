//! What the whole-system tests and the demonstration share: network namespaces, hosts, a running
//! switch, and the traffic between them.
//!
//! Everything is made by the test that needs it and removed when its guard is dropped; processes
//! are ended by their id. Nothing here touches the machine's own network.

pub mod database;
pub mod host;
pub mod netns;
pub mod process;
pub mod stock_switch;
pub mod support;
pub mod switch;
pub mod traffic;

pub use host::Host;
pub use netns::NetNs;
pub use stock_switch::StockSwitch;
pub use switch::Switch;

/// True when the test may go on; otherwise says why it is skipped.
///
/// With `SLUICE_REQUIRE_ROOT=1` (CI) a missing precondition is a failure, not a skip.
pub fn require_root(test: &str) -> bool {
    if nix::unistd::geteuid().is_root() {
        return true;
    }
    skip(test, "it needs root for network namespaces and eBPF")
}

/// True when the stock program `name` is installed; see [`require_root`].
pub fn require_program(test: &str, name: &str) -> bool {
    if process::find_program(name).is_some() {
        return true;
    }
    skip(
        test,
        &format!("the program {name} is not installed (cargo xtask setup installs it)"),
    )
}

fn skip(test: &str, why: &str) -> bool {
    assert!(
        std::env::var_os("SLUICE_REQUIRE_ROOT").is_none(),
        "{test}: cannot run: {why}; SLUICE_REQUIRE_ROOT makes that a failure"
    );
    eprintln!("{test}: SKIPPED: {why}");
    false
}
