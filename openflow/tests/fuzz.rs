//! The fuzz targets on the recorded messages and texts, on what once failed (`data/fuzz/`, each
//! file with a sentence in `README.md`), and on a second of random changes to them.
//!
//! `cargo xtask fuzz TARGET [SECONDS]` runs a target under the fuzzer.

#[path = "fuzz/seeds.rs"]
mod seeds;
#[path = "fuzz/targets.rs"]
mod targets;

use std::path::Path;
use std::time::{Duration, Instant};

/// The seeds of a target and its regressions.
fn inputs(target: &str) -> Vec<Vec<u8>> {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let mut inputs = seeds::seeds(target, &data);
    for entry in std::fs::read_dir(data.join("fuzz")).expect("the regressions") {
        let path = entry.expect("a file").path();
        let name = path.file_name().expect("a name").to_string_lossy();
        if name.starts_with(target) {
            inputs.push(std::fs::read(&path).expect("a regression"));
        }
    }
    inputs
}

fn run(name: &str, target: fn(&[u8])) {
    assert!(seeds::TARGETS.contains(&name));
    let inputs = inputs(name);
    assert!(inputs.len() > 50, "few seeds for {name}");
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
        let mut input = inputs[next(inputs.len())].clone();
        for _ in 0..next(4) {
            let at = next(input.len() + 1);
            match next(4) {
                0 => input.insert(at, next(256) as u8),
                1 => input.truncate(at),
                2 => {
                    // The rest of another input.
                    let other = &inputs[next(inputs.len())];
                    input.truncate(at);
                    input.extend(other.get(at..).unwrap_or_default());
                }
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
fn of_message() {
    run("of_message", targets::of_message);
}

#[test]
fn of_parts() {
    run("of_parts", targets::of_parts);
}

#[test]
fn of_reassembly() {
    run("of_reassembly", targets::of_reassembly);
}

#[test]
fn of_stream() {
    run("of_stream", targets::of_stream);
}

#[test]
fn of_text() {
    run("of_text", targets::of_text);
}
