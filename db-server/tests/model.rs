//! Random transactions on random schemas against a slow, obvious reference.
//!
//! The reference is written from RFC 7047 on plain maps and shares no code with the server. For
//! each transaction the answers must agree, with their error strings; then all rows, the copies
//! that monitors of every version keep, what is derived from rows, and what is read back from the
//! records. Now and then a batch of records is lost, which takes its transactions back.
//!
//! `SLUICE_MODEL_SEQUENCES` says how many sequences (3000 unless told), `SLUICE_MODEL_SEED` which
//! is the first. The same sequences are put to a stock ovsdb-server where there is one:
//! `SLUICE_MODEL_STOCK` of them (200 unless told).

#[path = "model/mod.rs"]
mod model;
#[path = "model/stock.rs"]
mod stock;

use model::peer::Core;
use model::schemas;
use model::sequence::{self, Counts};
use model::source::Source;

/// Transactions of a sequence, at most.
const LENGTH: usize = 12;

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

#[test]
fn agrees_with_the_reference() {
    let first = number("SLUICE_MODEL_SEED", 0);
    let mut counts = Counts::default();
    for seed in first..first + number("SLUICE_MODEL_SEQUENCES", 3000) {
        let mut source = Source::seeded(seed);
        let schema = schemas::schema(&mut source, "d");
        let mut core = Core::new(&schema, seed, source.chance(70));
        let result = sequence::run(&mut source, &schema, &mut core, LENGTH, false, &mut counts);
        if let Err(error) = result {
            panic!(
                "SLUICE_MODEL_SEED={seed}: {error}\nschema {}",
                schema.to_json()
            );
        }
    }
    println!("{counts:?}");
    // The generator must not have gone blind.
    for error in [
        "syntax error",
        "constraint violation",
        "referential integrity violation",
        "duplicate uuid",
        "duplicate uuid-name",
        "unknown column",
        "unknown function",
        "unknown mutator",
        "domain error",
        "range error",
        "timed out",
        "aborted",
        "not owner",
    ] {
        let seen = counts.refused.get(error).copied().unwrap_or(0);
        assert!(seen > 0 || counts.sequences < 1000, "never: {error}");
    }
    assert!(counts.committed > counts.sequences);
}
