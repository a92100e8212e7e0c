//! The table of commands in the documentation says what the tool does.

use std::collections::BTreeMap;
use std::process::Command;

const DOCUMENT: &str = include_str!("../../docs/openflow-support.md");

/// Name and state of each row between the marks.
fn documented() -> BTreeMap<String, String> {
    let (_, rest) = DOCUMENT
        .split_once("<!-- begin commands -->")
        .expect("the section begins");
    let (section, _) = rest
        .split_once("<!-- end commands -->")
        .expect("the section ends");
    section
        .lines()
        .filter(|l| l.starts_with("| `"))
        .map(|l| {
            let mut cells = l.split('|').map(str::trim).skip(1);
            let name = cells.next().expect("a name").trim_matches('`').to_owned();
            (name, cells.next().expect("a state").to_owned())
        })
        .collect()
}

fn run(args: &[&str]) -> (String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_ofctl"))
        .args(args)
        .stdin(std::process::Stdio::null())
        .output()
        .expect("ofctl runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

#[test]
fn every_command_is_in_the_table() {
    let documented = documented();
    let (list, _) = run(&["list-commands"]);
    for line in list.lines().skip(1) {
        let name = line.split_whitespace().next().expect("a name");
        assert_eq!(
            documented.get(name).map(String::as_str),
            Some("yes"),
            "{name}"
        );
    }
}

#[test]
fn every_state_is_true() {
    for (name, state) in documented() {
        // Without arguments, so that nothing happens; these two need none.
        if name == "help" || name == "list-commands" {
            continue;
        }
        let (_, stderr) = run(&[&name]);
        let unsupported = stderr.contains("not supported yet by this version");
        assert!(!stderr.contains("unknown command"), "{name}: {stderr}");
        assert_eq!(unsupported, state == "not yet", "{name}: {stderr}");
    }
}
