//! The fuzz targets on their seeds, on what once failed (`data/fuzz/`, each file with a sentence
//! in `README.md`), and on a second of random bytes and random changes to them.
//!
//! `cargo xtask fuzz TARGET [SECONDS]` runs a target under the fuzzer.

#[path = "fuzz/targets.rs"]
mod targets;

use std::path::Path;
use std::time::{Duration, Instant};

/// The seeds of a target and its regressions.
fn inputs(target: &str) -> Vec<Vec<u8>> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let seeds = here.join("../fuzz/seeds").join(target);
    let mut inputs = Vec::new();
    for entry in std::fs::read_dir(&seeds).expect("seeds") {
        inputs.push(std::fs::read(entry.unwrap().path()).unwrap());
    }
    for entry in std::fs::read_dir(here.join("tests/data/fuzz")).expect("the regressions") {
        let path = entry.unwrap().path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if name.starts_with(target) {
            inputs.push(std::fs::read(path).unwrap());
        }
    }
    inputs
}

fn run(name: &str, target: fn(&[u8])) {
    let inputs = inputs(name);
    assert!(!inputs.is_empty(), "no seeds for {name}");
    inputs.iter().for_each(|input| target(input));
    let mut state = 1u64;
    let mut next = move |n: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) as usize % n.max(1)
    };
    let end = Instant::now() + Duration::from_secs(1);
    let mut runs = 0;
    while Instant::now() < end {
        let mut input = if next(2) == 0 {
            (0..next(400)).map(|_| next(256) as u8).collect()
        } else {
            inputs[next(inputs.len())].clone()
        };
        for _ in 0..next(4) {
            let at = next(input.len() + 1);
            match next(3) {
                0 => input.insert(at, next(256) as u8),
                1 => input.truncate(at),
                _ => {
                    if let Some(byte) = input.get_mut(at) {
                        *byte = next(256) as u8;
                    }
                }
            }
        }
        target(&input);
        runs += 1;
    }
    println!("{name}: {} inputs kept, {runs} made up", inputs.len());
}

#[test]
fn json_stream() {
    run("json_stream", targets::json_stream);
}

#[test]
fn log_reader() {
    run("log_reader", targets::log_reader);
}

#[test]
fn operations() {
    run("operations", targets::operations);
}
