//! `cargo xtask fuzz`: builds a fuzz target with the compiler's coverage counters and runs it.
//!
//! The counters are an LLVM pass that the stable compiler has too, so neither a nightly toolchain
//! nor `cargo fuzz` is needed; only libFuzzer, which `libfuzzer-sys` builds with the C++ compiler.

#[allow(dead_code, reason = "the tests use the rest")]
#[path = "../../openflow/tests/fuzz/seeds.rs"]
mod seeds;

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

/// What `cargo fuzz build --sanitizer none` gives to the compiler.
const FLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";

/// Runs one target, or `all` of them one after the other, each for `seconds`.
pub fn run(target: &str, seconds: u64) -> Result<()> {
    if target != "all" {
        return run_one(target, seconds);
    }
    for target in targets()? {
        run_one(&target, seconds)?;
    }
    Ok(())
}

/// Fuzzes `target` for `seconds`, from its seeds and what earlier runs found (`fuzz/corpus/`). An
/// input that fails is left in `fuzz/artifacts/`; it belongs into `tests/data/fuzz/` of
/// `db-server` or `openflow`, under a name that starts with the target's, with a sentence in the
/// `README.md` there.
fn run_one(target: &str, seconds: u64) -> Result<()> {
    let (corpus, artifacts) = (format!("corpus/{target}"), format!("artifacts/{target}/"));
    let seeds = seeds_of(target)?;
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

/// The directory with the seeds of `target`, below `fuzz`. Those of the codec of OpenFlow are
/// written there from what its tests have recorded.
fn seeds_of(target: &str) -> Result<String> {
    if seeds::TARGETS.contains(&target) {
        let name = format!("corpus/{target}-seeds");
        let directory = Path::new("fuzz").join(&name);
        std::fs::create_dir_all(&directory)?;
        for (n, seed) in seeds::seeds(target, Path::new("openflow/tests/data"))
            .iter()
            .enumerate()
        {
            std::fs::write(directory.join(n.to_string()), seed)?;
        }
        return Ok(name);
    }
    let name = format!("seeds/{target}");
    if !Path::new("fuzz").join(&name).is_dir() {
        let known = targets()?.join(", ");
        bail!("no fuzz target {target}: there are {known}, and all");
    }
    Ok(name)
}

/// All targets: those with seeds of their own, and those of OpenFlow.
fn targets() -> Result<Vec<String>> {
    let kept = std::fs::read_dir("fuzz/seeds")?
        .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()));
    let codec = seeds::TARGETS.into_iter().map(str::to_owned);
    let mut all: Vec<String> = kept.chain(codec).collect();
    all.sort();
    Ok(all)
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
