//! Checks that crates depend only on the crates that the map in ARCHITECTURE.md lets them see.

use anyhow::{Context, Result, bail};

/// Crate, and the project's crates that it may name under `[dependencies]`.
const MAY_DEPEND_ON: &[(&str, &[&str])] = &[
    ("packet", &[]),
    ("openflow", &["packet"]),
    ("ovsdb", &[]),
    ("daemon", &[]),
    ("datapath-bpf", &["packet"]),
    ("dpif", &["packet"]),
    ("ofproto", &["packet", "openflow", "dpif"]),
    (
        "vswitchd",
        &["packet", "openflow", "ovsdb", "daemon", "dpif", "ofproto"],
    ),
    ("db-server", &["ovsdb", "daemon"]),
    ("vsctl", &["ovsdb", "daemon"]),
    ("dbctl", &["ovsdb", "daemon", "db-server"]),
    ("ofctl", &["packet", "openflow", "daemon"]),
    ("appctl", &["daemon"]),
];

pub fn check() -> Result<()> {
    let ours: Vec<&str> = MAY_DEPEND_ON.iter().map(|(name, _)| *name).collect();
    let mut wrong = Vec::new();
    for (name, allowed) in MAY_DEPEND_ON {
        let path = format!("{name}/Cargo.toml");
        let text = std::fs::read_to_string(&path).with_context(|| path.clone())?;
        let mut in_dependencies = false;
        for line in text.lines() {
            let line = line.trim();
            if line.starts_with('[') {
                in_dependencies = line.starts_with("[dependencies");
                if let Some(rest) = line.strip_prefix("[dependencies.") {
                    let dep = rest.trim_end_matches(']');
                    if ours.contains(&dep) && !allowed.contains(&dep) {
                        wrong.push(format!("{name} must not depend on {dep}"));
                    }
                }
                continue;
            }
            let dep = line.split(['=', '.', ' ']).next().unwrap_or_default();
            if in_dependencies && ours.contains(&dep) && !allowed.contains(&dep) {
                wrong.push(format!("{name} must not depend on {dep}"));
            }
        }
    }
    if !wrong.is_empty() {
        bail!("crate arrows point the wrong way: {}", wrong.join("; "));
    }
    Ok(())
}
