//! The table of fields and actions in the documentation says what the parser does.
//!
//! `UPDATE_DOCS=1 cargo test -p openflow --test support_table` writes it anew.

use std::collections::BTreeMap;

use openflow::Field;
use openflow::action::table::Form;
use openflow::field::Support;
use openflow::message::FlowModCommand;
use openflow::text::{ErrorKind, Names, flow};

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/openflow-support.md");

/// The lines between two marks of the document.
fn section<'a>(document: &'a str, name: &str) -> &'a str {
    let (_, rest) = document
        .split_once(&format!("<!-- begin {name} -->\n"))
        .expect("the section begins");
    let (section, _) = rest
        .split_once(&format!("<!-- end {name} -->"))
        .expect("the section ends");
    section
}

fn fields() -> String {
    let mut out = String::from("| Field | Also | State |\n| --- | --- | --- |\n");
    for info in Field::all() {
        if info.is_variable_len() {
            continue;
        }
        let aliases: Vec<String> = info.aliases.iter().map(|a| format!("`{a}`")).collect();
        let state = if info.is_supported() {
            "yes"
        } else {
            "not yet"
        };
        out.push_str(&format!(
            "| `{}` | {} | {state} |\n",
            info.name,
            aliases.join(", ")
        ));
    }
    out.push_str("| `tun_metadata0` to `tun_metadata63` |  | not yet |\n");
    out
}

/// Each name once; of a name with several forms, the first form counts.
fn names() -> BTreeMap<&'static str, bool> {
    let mut all = BTreeMap::from([("drop", true)]);
    for row in Form::all() {
        for name in row.names {
            let carried_out = row.support == Support::Supported;
            all.entry(*name).or_insert(carried_out);
        }
    }
    all
}

fn actions() -> String {
    let mut out = String::from("| Action | State |\n| --- | --- |\n");
    for (name, carried_out) in names() {
        let state = if carried_out { "yes" } else { "not yet" };
        out.push_str(&format!("| `{name}` | {state} |\n"));
    }
    out
}

#[test]
fn the_document_is_true() {
    let mut document = std::fs::read_to_string(DOCUMENT).expect("docs/openflow-support.md");
    for (name, text) in [("fields", fields()), ("actions", actions())] {
        let old = section(&document, name).to_owned();
        if old == text {
            continue;
        }
        assert!(
            std::env::var_os("UPDATE_DOCS").is_some(),
            "section {name} of {DOCUMENT} is old; run with UPDATE_DOCS=1"
        );
        let begin = format!("<!-- begin {name} -->\n");
        document = document.replace(&format!("{begin}{old}"), &format!("{begin}{text}"));
        std::fs::write(DOCUMENT, &document).expect("write the document");
    }
}

#[test]
fn every_action_is_understood() {
    let refusal = |name: &str| {
        let text = format!("actions={name}");
        let parsed = flow::parse_flow_mod(&text, FlowModCommand::Add, &Names::none());
        parsed.err().map(|e| e.kind)
    };
    for name in names().into_keys() {
        // What text writes as `output(port=...,max_len=...)`.
        let is_word = name != "output_trunc";
        let is_unknown = matches!(refusal(name), Some(ErrorKind::UnknownAction(_)));
        assert_eq!(is_unknown, !is_word, "{name}");
    }
    assert_eq!(
        refusal("frob"),
        Some(ErrorKind::UnknownAction("frob".to_owned()))
    );
}
