//! `cargo xtask support`: writes the tables of `docs/support.md` anew.
//!
//! The tests that compare the document with the code make the tables, each in the crate that
//! knows; this runs them with the environment variable that lets them write.

use anyhow::Result;
use tests::support::UPDATE;

use crate::{cargo, step};

const TESTS: &[&[&str]] = &[
    &["--package", "vswitchd", "the_document_is_true"],
    &["--package", "ofproto", "--test", "support"],
    &[
        "--package",
        "tests",
        "--test",
        "e2e",
        "the_document_names_every_command",
    ],
];

pub fn write() -> Result<()> {
    cargo(&["build", "--workspace", "--bins"], &[])?;
    for test in TESTS {
        let mut args = vec!["test"];
        args.extend(*test);
        // They write one file.
        args.extend(["--", "--test-threads=1"]);
        cargo(&args, &[(UPDATE, "1"), ("SLUICE_REQUIRE_ROOT", "1")])?;
    }
    step("docs/support.md is up to date");
    Ok(())
}
