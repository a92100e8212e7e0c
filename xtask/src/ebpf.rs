//! The toolchain of the eBPF programs: `setup_toolchain` finds or installs it, `build` uses it.
//!
//! The programs need the source of `core` and bpf-linker; see `dpif/build/toolchain.rs` for what
//! fits. Called by `cargo xtask setup` and `cargo xtask build-ebpf`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

#[path = "../../dpif/build/toolchain.rs"]
mod toolchain;

const BPF_LINKER_VERSION: &str = "0.13.0";

/// Installs what is missing for building the eBPF programs, and says what it does.
///
/// Installs Debian packages (as root, with apt-get) and bpf-linker (with cargo); anything else
/// that is missing is named in the error.
pub fn setup_toolchain() -> Result<()> {
    let Err(missing) = toolchain::find() else {
        println!("eBPF toolchain: complete");
        return Ok(());
    };
    let llvm = format!("llvm-{}", toolchain::LLVM_MAJOR);
    let llvm_dev = format!("{llvm}-dev");
    let mut packages = Vec::new();
    if missing.compiler {
        packages.extend(["rustc-web", "cargo-web", "rust-web-src"]);
    }
    if missing.linker
        && !Path::new("/usr/lib")
            .join(&llvm)
            .join("bin/llvm-config")
            .exists()
    {
        // The linker is linked against LLVM, which needs a C++ compiler and zlib and zstd.
        packages.extend([llvm_dev.as_str(), "g++", "zlib1g-dev", "libzstd-dev"]);
    }
    if !packages.is_empty() {
        crate::setup::install(&packages).with_context(|| missing.to_string())?;
    }
    if missing.linker {
        let features = ["--no-default-features", "--features", &llvm, "--locked"];
        let mut cmd = Command::new("cargo");
        cmd.args(["install", "bpf-linker", "--version", BPF_LINKER_VERSION])
            .args(features);
        cmd.env("LLVM_PREFIX", format!("/usr/lib/{llvm}"));
        // `cargo xtask` sets these for its own build.
        cmd.env_remove("CARGO_TARGET_DIR").env_remove("RUSTFLAGS");
        run(&mut cmd)?;
    }
    match toolchain::find() {
        Ok(_) => Ok(()),
        Err(missing) => bail!("{missing}"),
    }
}

/// Builds the eBPF object, shows what the compiler says, and prints where the object is.
///
/// `cargo build -p dpif` builds and embeds the same object by itself; this is for working on it.
pub fn build() -> Result<()> {
    let tools = toolchain::find().map_err(|missing| anyhow::anyhow!("{missing}"))?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("no parent directory")?;
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map(PathBuf::from)
        .unwrap_or_else(|| root.join("target"))
        .join("ebpf");
    run(&mut toolchain::build_command(
        &tools,
        &root.join("datapath-bpf"),
        &target,
    ))?;
    println!(
        "{}",
        target.join("bpfel-unknown-none/release/datapath").display()
    );
    Ok(())
}

fn run(cmd: &mut Command) -> Result<()> {
    println!("+ {cmd:?}");
    let status = cmd
        .status()
        .with_context(|| format!("could not start {cmd:?}"))?;
    ensure!(status.success(), "{cmd:?}: {status}");
    Ok(())
}
