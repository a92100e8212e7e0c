//! The stock ovsdb-tool and this one, side by side on equal files; see `stock/tool.txt`.

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use common::{OURS, Shown, command, difference, finish, normalize, split, stock_is_there};

const LINES: &str = include_str!("stock/tool.txt");

fn run(program: &str, dir: &Path, words: &[String]) -> Shown {
    finish(
        command(program, "ovsdb-tool", dir, words).spawn().unwrap(),
        dir,
    )
}

fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_type().unwrap().is_file())
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, std::fs::read(entry.path()).unwrap())
        })
        .filter(|(name, _)| !name.ends_with("~lock~"))
        .collect()
}

/// What a database file says, whatever its UUIDs, its dates and the order of members.
fn meaning(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes).into_owned();
    text.lines()
        .filter(|line| !line.starts_with("OVSDB JSON "))
        .map(
            |line| match serde_json::from_str::<serde_json::Value>(line) {
                Ok(json) => sorted(&json),
                Err(_) => normalize(line),
            },
        )
        .collect()
}

/// JSON with UUIDs masked and members and elements in order.
fn sorted(json: &serde_json::Value) -> String {
    match json {
        serde_json::Value::Object(members) => {
            let mut parts: Vec<String> = members
                .iter()
                .map(|(name, value)| match name.as_str() {
                    "_date" => "_date".to_owned(),
                    name => format!("{}:{}", normalize(name), sorted(value)),
                })
                .collect();
            parts.sort();
            format!("{{{}}}", parts.join(","))
        }
        serde_json::Value::Array(items) => {
            let mut parts: Vec<String> = items.iter().map(sorted).collect();
            parts.sort();
            format!("[{}]", parts.join(","))
        }
        other => normalize(&other.to_string()),
    }
}

#[test]
fn side_by_side() {
    if !stock_is_there() {
        return;
    }
    let (theirs, ours) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stock/files");
    for dir in [&theirs, &ours] {
        for entry in std::fs::read_dir(&data).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), dir.path().join(entry.file_name())).unwrap();
        }
    }
    let (mut count, mut different) = (0, Vec::new());
    for line in LINES
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
    {
        if let Some(shell) = line.strip_prefix("! ") {
            for dir in [&theirs, &ours] {
                let status = Command::new("sh")
                    .args(["-ec", shell])
                    .current_dir(dir.path())
                    .status()
                    .unwrap();
                assert!(status.success(), "{shell}");
            }
            continue;
        }
        let (line, own_words) = match line.strip_prefix("~ ") {
            Some(line) => (line, true),
            None => (line, false),
        };
        let words = split(line.trim());
        let expected = run("ovsdb-tool", theirs.path(), &words);
        let got = run(OURS, ours.path(), &words);
        count += 1;
        let mut complaints = difference(&got, &expected, own_words);
        let (have, want) = (files(ours.path()), files(theirs.path()));
        let names = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
        if names(&have) != names(&want) {
            complaints.push(format!(
                "files {:?}\n  stock {:?}",
                names(&have),
                names(&want)
            ));
        }
        for (name, contents) in &have {
            let Some(wanted) = want.get(name) else {
                std::fs::remove_file(ours.path().join(name)).unwrap();
                continue;
            };
            if contents == wanted {
                continue;
            }
            let (mine, stock) = (meaning(contents), meaning(wanted));
            if mine != stock {
                complaints.push(format!("file {name}\n  {mine:?}\n  stock {stock:?}"));
            }
            // In turn, so that each reads what the other wrote; after a difference from the stock.
            let (from, to) = if complaints.is_empty() && count % 2 == 0 {
                (ours.path(), theirs.path())
            } else {
                (theirs.path(), ours.path())
            };
            std::fs::copy(from.join(name), to.join(name)).unwrap();
        }
        if !complaints.is_empty() {
            different.push(format!(
                "$ ovsdb-tool {line}\n  {}",
                complaints.join("\n  ")
            ));
        }
    }
    eprintln!("{count} command lines");
    assert!(count >= 100);
    assert!(
        different.is_empty(),
        "{} of {count} differ:\n{}",
        different.len(),
        different.join("\n")
    );
}
