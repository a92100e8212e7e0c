//! The unixctl commands `vlog/set`, `vlog/list`, `vlog/list-pattern`, `vlog/reopen` and
//! `vlog/close`, as functions from arguments to text.
//!
//! Source: ovs-appctl(8), "LOGGING COMMANDS"; the layouts are the stock program's.

use std::fmt::Write as _;

use super::{Destination, state};

/// `vlog/set [SPEC]...`; without arguments, everything at DBG.
pub fn set(args: &[String]) -> Result<String, String> {
    if args.is_empty() {
        super::set_verbose();
    }
    for spec in args {
        super::set(spec).map_err(|error| error.to_string())?;
    }
    Ok(String::new())
}

/// `vlog/list`.
pub fn list(_: &[String]) -> Result<String, String> {
    let mut text = String::new();
    text.push_str("                 console    syslog    file\n");
    text.push_str("                 -------    ------    ------\n");
    if let Some(state) = state() {
        for (module, levels) in &state.lock().modules {
            let _ = writeln!(
                text,
                "{module:<16}  {:>4}       {:>4}       {:>4}",
                levels.console.name(),
                levels.syslog.name(),
                levels.file.name()
            );
        }
    }
    Ok(text)
}

/// `vlog/list-pattern`.
pub fn list_pattern(_: &[String]) -> Result<String, String> {
    let mut text = String::new();
    text.push_str("         prefix                            format\n");
    text.push_str("         ------                            ------\n");
    if let Some(state) = state() {
        let inner = state.lock();
        for destination in [Destination::Syslog, Destination::Console, Destination::File] {
            let prefix = match destination {
                Destination::Syslog => "<%B> %D{%h %e %T} %E %A:",
                _ => "none",
            };
            let _ = writeln!(
                text,
                "{:<9}{prefix:<34}{}",
                destination.name().to_uppercase(),
                inner.patterns.get(destination).as_str()
            );
        }
    }
    Ok(text)
}

/// `vlog/reopen`.
pub fn reopen(_: &[String]) -> Result<String, String> {
    super::reopen_log_file()
        .map(|()| String::new())
        .map_err(|error| error.to_string())
}

/// `vlog/close`.
pub fn close(_: &[String]) -> Result<String, String> {
    super::close_log_file();
    Ok(String::new())
}
