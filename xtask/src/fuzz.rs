//! `cargo xtask fuzz`: builds a fuzz target with the compiler's coverage counters and runs it.
//!
//! The counters are an LLVM pass that the stable compiler has too, so neither a nightly toolchain
//! nor `cargo fuzz` is needed; only libFuzzer, which `libfuzzer-sys` builds with the C++ compiler.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

/// What `cargo fuzz build --sanitizer none` gives to the compiler.
const FLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";

/// Fuzzes `target` for `seconds`, from its seeds and what earlier runs found (`fuzz/corpus/`). An
/// input that fails is left in `fuzz/artifacts/`; it belongs into `db-server/tests/data/fuzz/`
/// under a name that starts with the target's, with a sentence in the `README.md` there.
pub fn run(target: &str, seconds: u64) -> Result<()> {
    let seeds = format!("seeds/{target}");
    if !Path::new("fuzz").join(&seeds).is_dir() {
        let known: Vec<String> = std::fs::read_dir("fuzz/seeds")?
            .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
            .collect();
        bail!("no fuzz target {target}: there are {}", known.join(", "));
    }
    let (corpus, artifacts) = (format!("corpus/{target}"), format!("artifacts/{target}/"));
    for directory in [&corpus, &artifacts] {
        std::fs::create_dir_all(Path::new("fuzz").join(directory))?;
    }
    super::step(&format!("fuzz {target} for {seconds} s"));
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    // With `--target` build scripts and procedural macros are not instrumented.
    let status = Command::new(cargo)
        .current_dir("fuzz")
        .env("RUSTFLAGS", FLAGS)
        .args([
            "run",
            "--release",
            "--target",
            &host()?,
            "--bin",
            target,
            "--",
        ])
        .args([&corpus, &seeds, &format!("-artifact_prefix={artifacts}")])
        .arg(format!("-max_total_time={seconds}"))
        .arg("-max_len=4096")
        .status()
        .context("cannot run cargo")?;
    if !status.success() {
        bail!("{target} failed ({status}); the input is in fuzz/{artifacts}");
    }
    Ok(())
}

/// The compiler's own target triple.
fn host() -> Result<String> {
    let output = Command::new("rustc")
        .arg("-vV")
        .output()
        .context("cannot run rustc")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("rustc -vV names no host")
}
