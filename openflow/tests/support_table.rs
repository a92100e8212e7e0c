//! The table of fields and actions in the documentation says what the parser does.
//!
//! `UPDATE_DOCS=1 cargo test -p openflow --test support_table` writes it anew.

use openflow::Field;
use openflow::message::FlowModCommand;
use openflow::text::{ErrorKind, Names, action_parse, flow};

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

fn actions() -> String {
    let mut all: Vec<(&str, &str)> = action_parse::SUPPORTED
        .iter()
        .map(|name| (*name, "yes"))
        .chain(action_parse::NOT_SUPPORTED.iter().map(|n| (*n, "not yet")))
        .collect();
    all.sort();
    let mut out = String::from("| Action | State |\n| --- | --- |\n");
    for (name, state) in all {
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
fn the_lists_of_actions_are_true() {
    let refusal = |name: &str| {
        let text = format!("actions={name}");
        let parsed = flow::parse_flow_mod(&text, FlowModCommand::Add, &Names::none());
        parsed.err().map(|e| e.kind)
    };
    for name in action_parse::SUPPORTED {
        assert!(
            !matches!(
                refusal(name),
                Some(ErrorKind::UnknownAction(_) | ErrorKind::ActionNotSupported(_))
            ),
            "{name}"
        );
    }
    for name in action_parse::NOT_SUPPORTED {
        let kind = ErrorKind::ActionNotSupported(name.to_owned());
        assert_eq!(refusal(name), Some(kind));
    }
}
