//! What the programs say about themselves.

/// Sluice's own version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The Open vSwitch version whose behaviour the programs offer. Scripts compare versions that
/// they read from `--version` and from `Open_vSwitch.ovs_version` with those of Open vSwitch.
pub const OVS_VERSION: &str = "3.1.0";

/// The text of `--version` and of the unixctl command `version`.
///
/// The first line has the shape `PROGRAM (Open vSwitch) X.Y.Z`, which scripts take apart; the
/// second says what really runs.
pub fn text(program: &str) -> String {
    format!("{program} (Open vSwitch) {OVS_VERSION}\nSluice {VERSION}\n")
}
