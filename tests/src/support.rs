//! The table of what is supported, `docs/support.md`: each part is made by a test beside the code
//! that knows, and the same test fails when the document says something else.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

/// Set to write what the code says into the document: `cargo xtask support` does.
pub const UPDATE: &str = "SLUICE_UPDATE_SUPPORT";

/// Compares the part called `name` with `text`, or puts `text` there.
pub fn check_part(name: &str, text: &str) -> Result<()> {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "..", "docs", "support.md"]
        .iter()
        .collect();
    let document = std::fs::read_to_string(&path).context("docs/support.md")?;
    let (start, end) = (
        format!("<!-- {name}: made from the code -->\n"),
        format!("<!-- {name}: end -->\n"),
    );
    let (before, rest) = document
        .split_once(&start)
        .with_context(|| format!("docs/support.md has no part {name}"))?;
    let (now, after) = rest
        .split_once(&end)
        .with_context(|| format!("docs/support.md: part {name} has no end"))?;
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(&path, format!("{before}{start}{text}{end}{after}"))?;
        return Ok(());
    }
    ensure!(
        now == text,
        "part {name} of docs/support.md is not what the code says; run cargo xtask support"
    );
    Ok(())
}

/// A table in Markdown.
pub fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let mut text = line(
        &head
            .iter()
            .map(|cell| (*cell).to_owned())
            .collect::<Vec<_>>(),
    );
    text.push_str(&line(&vec!["---".to_owned(); head.len()]));
    for row in rows {
        let row: Vec<String> = row.iter().map(|cell| cell.replace('|', "\\|")).collect();
        text.push_str(&line(&row));
    }
    text
}
