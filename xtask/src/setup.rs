//! Installs what a fresh Debian or Ubuntu machine lacks, says what it does, and does nothing on a
//! machine that has everything.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use tests::process::find_program;

use crate::{ebpf, step};

/// A program that the demonstration or the tests run, and the package that brings it.
struct Need {
    program: &'static str,
    package: &'static str,
}

const DEMO: &[Need] = &[
    Need {
        program: "ip",
        package: "iproute2",
    },
    Need {
        program: "ping",
        package: "iputils-ping",
    },
];

const TESTS: &[Need] = &[
    Need {
        program: "ethtool",
        package: "ethtool",
    },
    // The stock tools and daemons that the tests compare with.
    Need {
        program: "ovs-vsctl",
        package: "openvswitch-switch",
    },
    Need {
        program: "ovs-testcontroller",
        package: "openvswitch-testcontroller",
    },
    Need {
        program: "python3",
        package: "python3",
    },
];

/// The OpenFlow controller framework that the tests run as a controller: the last release line
/// that has a manager program, and an older one that still brings the example applications.
const OS_KEN: &str = "os-ken==2.11.2";
const OS_KEN_APPS: &str = "os-ken==1.4.1";
/// Those that the tests run: a learning switch of each version.
const OS_KEN_SWITCHES: &[&str] = &[
    "simple_switch.py",
    "simple_switch_12.py",
    "simple_switch_13.py",
    "simple_switch_14.py",
    "simple_switch_15.py",
];
/// The other controller that the tests run, in the line that is still released.
const FAUCET: (&str, &str) = ("c65faucet", "1.0.106");
/// Clients of the database in Python: of the Open vSwitch release that is compared with, and the
/// library of that time which OpenStack uses. The former is pure Python where no compiler is.
const DATABASE_CLIENTS: &[(&str, &str)] = &[("ovs", "3.1.7"), ("ovsdbapp", "2.3.0")];
/// Where all of them go.
const VENV: &str = "target/venv";

/// Version of the checker of licences and advisories; runs with the pinned toolchain.
const CARGO_DENY: &str = "0.20.2";

pub fn toolchain() -> Result<()> {
    ebpf::setup_toolchain()
}

pub fn for_demo() -> Result<()> {
    toolchain()?;
    packages(DEMO)?;
    bpffs()
}

pub fn everything() -> Result<()> {
    for_demo()?;
    packages(TESTS)?;
    controller_framework()?;
    faucet()?;
    database_clients()?;
    if find_program("cargo-deny").is_none() && !in_cargo_home("cargo-deny") {
        crate::cargo(
            &["install", "cargo-deny", "--version", CARGO_DENY, "--locked"],
            // Not into the workspace's target directory: its profile is another.
            &[("CARGO_TARGET_DIR", "target/tools")],
        )?;
    }
    Ok(())
}

/// Names of the suites in `tests/`: every `[[test]]` of its manifest.
pub fn test_suites() -> Result<Vec<String>> {
    let manifest = std::fs::read_to_string("tests/Cargo.toml").context("tests/Cargo.toml")?;
    let suites: Vec<String> = manifest
        .split("[[test]]")
        .skip(1)
        .filter_map(|s| {
            s.split("name = \"")
                .nth(1)?
                .split('"')
                .next()
                .map(str::to_owned)
        })
        .collect();
    ensure!(!suites.is_empty(), "tests/Cargo.toml names no test suite");
    Ok(suites)
}

fn in_cargo_home(program: &str) -> bool {
    std::env::var_os("CARGO_HOME")
        .map(Into::into)
        .or_else(|| std::env::home_dir().map(|h| h.join(".cargo")))
        .is_some_and(|home: std::path::PathBuf| home.join("bin").join(program).is_file())
}

fn packages(needs: &[Need]) -> Result<()> {
    let missing: Vec<&str> = needs
        .iter()
        .filter(|n| find_program(n.program).is_none())
        .map(|n| n.package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    install(&missing)
}

/// Installs Debian packages without letting them start daemons of their own.
pub fn install(names: &[&str]) -> Result<()> {
    if find_program("apt-get").is_none() {
        bail!(
            "this machine lacks {} and has no apt-get: install them by hand",
            names.join(", ")
        );
    }
    ensure!(
        nix::unistd::geteuid().is_root(),
        "installing {} needs root: run this as root once, or install them by hand",
        names.join(", ")
    );
    step(&format!("apt-get install {}", names.join(" ")));
    let policy = NoServices::new()?;
    apt(&["update", "-qq"])?;
    let mut args = vec!["install", "-y", "-qq", "--no-install-recommends"];
    args.extend(names);
    apt(&args)?;
    drop(policy);
    Ok(())
}

fn apt(args: &[&str]) -> Result<()> {
    let status = Command::new("apt-get")
        .args(args)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdout(std::process::Stdio::null())
        .status()
        .context("cannot run apt-get")?;
    ensure!(
        status.success(),
        "apt-get {} failed ({status})",
        args.join(" ")
    );
    Ok(())
}

/// While it lives, packages that are installed do not start their services: the stock switch must
/// not come up beside the one that is tested.
struct NoServices {
    made: bool,
}

const POLICY: &str = "/usr/sbin/policy-rc.d";

impl NoServices {
    fn new() -> Result<NoServices> {
        if Path::new(POLICY).exists() {
            return Ok(NoServices { made: false });
        }
        std::fs::write(POLICY, "#!/bin/sh\nexit 101\n").context(POLICY)?;
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(POLICY, mode).context(POLICY)?;
        Ok(NoServices { made: true })
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if self.made {
            let _ = std::fs::remove_file(POLICY);
        }
    }
}

fn controller_framework() -> Result<()> {
    let there = |name: &&str| Path::new(VENV).join(name).exists();
    if OS_KEN_SWITCHES.iter().all(there) {
        return Ok(());
    }
    step(&format!(
        "pip install {OS_KEN}, and the applications of {OS_KEN_APPS}, into {VENV}"
    ));
    venv()?;
    pip(&["install", OS_KEN])?;
    pip(&[
        "install",
        "--no-deps",
        "--target",
        &format!("{VENV}/apps"),
        OS_KEN_APPS,
    ])?;
    // Away from a directory called like the framework, which would hide the framework.
    for name in OS_KEN_SWITCHES {
        let brought = format!("{VENV}/apps/os_ken/app/{name}");
        std::fs::copy(&brought, Path::new(VENV).join(name))
            .with_context(|| format!("{OS_KEN_APPS} brought no {brought}"))?;
    }
    Ok(())
}

fn faucet() -> Result<()> {
    if have(&[FAUCET]) {
        return Ok(());
    }
    let wanted = format!("{}=={}", FAUCET.0, FAUCET.1);
    step(&format!("pip install {wanted} into {VENV}"));
    venv()?;
    // A module of it is in C.
    if pip(&["install", &wanted]).is_err() {
        install(&["gcc", "python3-dev"])?;
        pip(&["install", &wanted])?;
    }
    Ok(())
}

/// After the controller framework, which would bring another release of one of them.
fn database_clients() -> Result<()> {
    if have(DATABASE_CLIENTS) {
        return Ok(());
    }
    let wanted: Vec<String> = DATABASE_CLIENTS
        .iter()
        .map(|(name, version)| format!("{name}=={version}"))
        .collect();
    step(&format!("pip install {} into {VENV}", wanted.join(" ")));
    venv()?;
    let mut args = vec!["install"];
    args.extend(wanted.iter().map(String::as_str));
    pip(&args)
}

/// Whether the Python packages are there in these versions.
fn have(packages: &[(&str, &str)]) -> bool {
    let checks: Vec<String> = packages
        .iter()
        .map(|(name, version)| format!("assert version('{name}') == '{version}'"))
        .collect();
    let script = format!(
        "from importlib.metadata import version; {}",
        checks.join("; ")
    );
    Command::new(format!("{VENV}/bin/python"))
        .args(["-c", &script])
        .stderr(std::process::Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn venv() -> Result<()> {
    let make = || Command::new("python3").args(["-m", "venv", VENV]).status();
    if !make().is_ok_and(|s| s.success()) {
        install(&["python3-venv"])?;
        ensure!(make()?.success(), "python3 -m venv {VENV} failed");
    }
    Ok(())
}

fn pip(args: &[&str]) -> Result<()> {
    let status = Command::new(format!("{VENV}/bin/pip"))
        .args(["--quiet", "--disable-pip-version-check"])
        .args(args)
        .status()
        .context("cannot run pip")?;
    ensure!(status.success(), "pip {} failed ({status})", args.join(" "));
    Ok(())
}

/// Mounts the BPF file system where it is missing: pinned maps live there.
fn bpffs() -> Result<()> {
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
    if mounts.lines().any(|l| l.contains(" /sys/fs/bpf bpf ")) || !nix::unistd::geteuid().is_root()
    {
        return Ok(());
    }
    step("mount -t bpf bpf /sys/fs/bpf");
    nix::mount::mount(
        Some("bpf"),
        "/sys/fs/bpf",
        Some("bpf"),
        nix::mount::MsFlags::empty(),
        None::<&str>,
    )
    .context("cannot mount the BPF file system on /sys/fs/bpf")
}
