//! Where files live: run, log, database, configuration and data directories.
//!
//! Each default can be overridden by the environment variable that Open vSwitch uses for it
//! (ovs-vswitchd(8), "ENVIRONMENT"; OVS `lib/dirs.c.in`).

use std::path::{Path, PathBuf};

fn from_env(variable: &str, default: &str) -> PathBuf {
    match std::env::var_os(variable) {
        Some(value) if !value.is_empty() => PathBuf::from(value),
        _ => PathBuf::from(default),
    }
}

/// Sockets and pidfiles: `OVS_RUNDIR`, else `/var/run/openvswitch`.
pub fn rundir() -> PathBuf {
    from_env("OVS_RUNDIR", "/var/run/openvswitch")
}

/// Log files: `OVS_LOGDIR`, else `/var/log/openvswitch`.
pub fn logdir() -> PathBuf {
    from_env("OVS_LOGDIR", "/var/log/openvswitch")
}

/// System configuration: `OVS_SYSCONFDIR`, else `/etc`. Files are in its `openvswitch` directory.
pub fn sysconfdir() -> PathBuf {
    from_env("OVS_SYSCONFDIR", "/etc")
}

/// Databases: `OVS_DBDIR`, else `<OVS_SYSCONFDIR>/openvswitch` when that is set, else
/// `/etc/openvswitch`.
pub fn dbdir() -> PathBuf {
    match std::env::var_os("OVS_DBDIR") {
        Some(value) if !value.is_empty() => PathBuf::from(value),
        _ => sysconfdir().join("openvswitch"),
    }
}

/// Architecture-independent data, such as schemas: `OVS_PKGDATADIR`, else
/// `/usr/share/openvswitch`.
pub fn pkgdatadir() -> PathBuf {
    from_env("OVS_PKGDATADIR", "/usr/share/openvswitch")
}

/// `path` itself when absolute, else `path` in `directory`.
pub fn absolute_in(directory: &Path, path: impl AsRef<Path>) -> PathBuf {
    // `join` with an absolute path yields that path.
    directory.join(path)
}

/// The name by which this program was started, without directories: `ovs-vswitchd` when
/// `vswitchd` runs through a link of that name. It names the pidfile, the control socket, the
/// log file and the messages.
pub fn program_name() -> String {
    std::env::args_os()
        .next()
        .and_then(|argv0| {
            Path::new(&argv0)
                .file_name()
                .map(|name| name.to_string_lossy().into_owned())
        })
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "sluice".to_owned())
}
