//! Finds what the eBPF programs are built with: a compiler that has the library's source, and
//! bpf-linker. `dpif/build.rs` and `cargo xtask setup` share this file.
//!
//! Fitting compilers, in order of preference: rustup's toolchains with the `rust-src` component,
//! newest LLVM first; the compiler of the system with its source (Debian: `rustc-web`,
//! `cargo-web`, `rust-web-src`). The linker reads bitcode of its own LLVM version or older ones,
//! so a compiler with a newer LLVM does not fit.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// LLVM's major version that bpf-linker is installed with, and Debian's package of it.
pub const LLVM_MAJOR: u32 = 22;
/// The compiler must know edition 2024 and what aya-ebpf uses.
const MIN_RUSTC_MINOR: u32 = 87;

/// A compiler, its cargo and the linker.
pub struct Toolchain {
    pub cargo: PathBuf,
    pub rustc: PathBuf,
    pub linker: PathBuf,
}

/// What is missing; the text says what to install.
pub struct Missing {
    pub compiler: bool,
    pub linker: bool,
}

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(
            f,
            "the eBPF programs cannot be built here; `cargo xtask setup` installs this:"
        )?;
        if self.compiler {
            writeln!(
                f,
                "  - a Rust compiler with its library source and LLVM {LLVM_MAJOR} or older: Debian's \
                 packages rustc-web, cargo-web and rust-web-src, or `rustup component add rust-src`"
            )?;
        }
        if self.linker {
            writeln!(
                f,
                "  - bpf-linker: Debian's package llvm-{LLVM_MAJOR}-dev, then LLVM_PREFIX=/usr/lib/llvm-{LLVM_MAJOR} \
                 cargo install bpf-linker --version 0.13.0 --no-default-features --features llvm-{LLVM_MAJOR}"
            )?;
        }
        write!(f, "AYA_BUILD_SKIP=1 builds everything else without them.")
    }
}

/// Finds a compiler and the linker.
pub fn find() -> Result<Toolchain, Missing> {
    match (compiler(), linker()) {
        (Some((cargo, rustc)), Some(linker)) => Ok(Toolchain {
            cargo,
            rustc,
            linker,
        }),
        (compiler, linker) => Err(Missing {
            compiler: compiler.is_none(),
            linker: linker.is_none(),
        }),
    }
}

/// bpf-linker on the path, or where `cargo install` puts it.
pub fn linker() -> Option<PathBuf> {
    let installed = cargo_home().map(|home| home.join("bin"));
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(installed)
        .map(|dir| dir.join("bpf-linker"))
        .find(|p| p.is_file())
}

fn cargo_home() -> Option<PathBuf> {
    let set = env::var_os("CARGO_HOME").map(PathBuf::from);
    set.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cargo")))
}

fn compiler() -> Option<(PathBuf, PathBuf)> {
    let rustup = env::var_os("RUSTUP_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".rustup")))
        .map(|home| home.join("toolchains"));
    let mut roots: Vec<PathBuf> = rustup
        .and_then(|dir| std::fs::read_dir(dir).ok())
        .map(|entries| entries.flatten().map(|e| e.path()).collect())
        .unwrap_or_default();
    roots.sort();
    roots.push(PathBuf::from("/usr"));
    roots.push(PathBuf::from("/usr/local"));
    let fit = roots.iter().filter_map(|root| Some((fits(root)?, root)));
    let best = fit.max_by_key(|(version, _)| *version)?.1;
    Some((best.join("bin/cargo"), best.join("bin/rustc")))
}

/// The (LLVM, rustc) version of a toolchain that can build the programs.
fn fits(root: &Path) -> Option<(u32, u32)> {
    let core = root.join("lib/rustlib/src/rust/library/core/src/lib.rs");
    if !core.is_file() || !root.join("bin/cargo").is_file() {
        return None;
    }
    let out = Command::new(root.join("bin/rustc"))
        .arg("-vV")
        .env_remove("RUSTUP_TOOLCHAIN")
        .output();
    let text = String::from_utf8(out.ok()?.stdout).ok()?;
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
    let minor = field("release: 1.")?.split('.').next()?.parse().ok()?;
    let llvm = field("LLVM version: ")?.split('.').next()?.parse().ok()?;
    (minor >= MIN_RUSTC_MINOR && llvm <= LLVM_MAJOR).then_some((llvm, minor))
}

/// The command that builds the programs, with nothing of the calling cargo's environment.
///
/// Output: `<target_dir>/bpfel-unknown-none/release/datapath`.
pub fn build_command(tools: &Toolchain, source: &Path, target_dir: &Path) -> Command {
    let mut cmd = Command::new(&tools.cargo);
    // What the calling cargo set for its own build must not reach this one; where crates are
    // fetched from is the user's and stays.
    for (name, _) in env::vars_os() {
        let Some(n) = name.to_str() else { continue };
        let keep = n == "CARGO_HOME"
            || [
                "CARGO_NET_",
                "CARGO_HTTP_",
                "CARGO_REGISTR",
                "CARGO_SOURCE_",
            ]
            .iter()
            .any(|p| n.starts_with(p));
        let foreign = n.starts_with("CARGO") || n.starts_with("RUST") || n.starts_with("DEP_");
        let script = [
            "TARGET",
            "HOST",
            "OUT_DIR",
            "PROFILE",
            "DEBUG",
            "OPT_LEVEL",
            "NUM_JOBS",
        ];
        if (foreign && !keep) || script.contains(&n) {
            cmd.env_remove(&name);
        }
    }
    let flags = [
        "-Cdebuginfo=2",
        "-Clink-arg=--btf",
        "-Ctarget-cpu=v3",
        &format!("-Clinker={}", tools.linker.display()),
    ]
    .join("\x1f");
    cmd.current_dir(source)
        .env("RUSTC", &tools.rustc)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", flags)
        .args(["build", "--release", "--locked", "--bin", "datapath"])
        .args(["--target", "bpfel-unknown-none", "-Z", "build-std=core"])
        .arg("--target-dir")
        .arg(target_dir);
    cmd
}
