//! The cases of `data/flow_mods.txt`; the file says how to read it.

mod common;

use std::time::Duration;

use common::{Switch, command};
use openflow::Version;

const CASES: &str = include_str!("data/flow_mods.txt");

#[test]
fn cases() {
    let mut lines = CASES.lines().enumerate().peekable();
    let mut switch = Switch::new();
    let mut cases = 0;
    while let Some((n, line)) = lines.next() {
        let place = format!("line {}: {line}", n + 1);
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        // What follows belongs to this line.
        let mut follow = |prefix: &str| {
            let mut out = Vec::new();
            while let Some((_, l)) = lines.next_if(|(_, l)| l.starts_with(prefix)) {
                out.push(l[prefix.len()..].trim_start().to_owned());
            }
            out
        };
        match word {
            "" | "#" => {}
            "case" => {
                switch = Switch::new();
                cases += 1;
            }
            "10" | "13" => {
                let version = if word == "10" {
                    Version::Of10
                } else {
                    Version::Of13
                };
                let (name, text) = rest.split_once(' ').unwrap_or((rest, ""));
                let command = command(name).expect(&place);
                let result = switch.flow_mod(command, text, version);
                let error = result.as_ref().err().map(|e| e.name().to_owned());
                assert_eq!(error, follow("error ").pop(), "{place}");
                assert_eq!(result.unwrap_or_default(), follow("removed "), "{place}");
            }
            "pass" => {
                let time = Duration::from_secs_f64(rest.parse().expect(&place));
                let removed = switch.pass(time);
                assert_eq!(removed, follow("removed "), "{place}");
            }
            "dump" => {
                let dump = switch.dump(rest, false);
                let dump: Vec<_> = dump.iter().map(|l| l.trim_start()).collect();
                assert_eq!(dump, follow(" "), "{place}");
            }
            _ => panic!("{place}"),
        }
    }
    println!("{cases} cases");
}

/// A full table makes room when it is told to: flows with a timeout go, of the largest group the
/// least important, of these the one that would expire first.
#[test]
fn eviction() {
    use ofproto::table::TableConf;
    use openflow::{Field, OfError, Subfield};

    let mut switch = Switch::new();
    switch.tables.set_conf(
        0,
        TableConf {
            max_rules: 4,
            groups: vec![Subfield::whole(Field::InPort)],
            ..TableConf::default()
        },
    );
    let add = |switch: &mut Switch, text: &str| {
        switch.flow_mod(command("add").unwrap(), text, Version::Of14)
    };
    for text in [
        "in_port=1,tcp,actions=1",
        "in_port=1,udp,importance=2,idle_timeout=5,actions=1",
        "in_port=1,arp,importance=1,idle_timeout=60,actions=1",
        "in_port=2,ip,idle_timeout=1,actions=1",
    ] {
        assert_eq!(add(&mut switch, text), Ok(Vec::new()));
    }
    let full = "in_port=3,actions=1";
    assert_eq!(add(&mut switch, full), Err(OfError::FmfcTableFull));
    assert!(!switch.tables.evicts(0));
    switch.tables.set_evicts(0, true);
    // The largest group has the permanent flow, too; importance counts before time.
    let removed = add(&mut switch, full).unwrap();
    assert_eq!(removed.len(), 1);
    assert!(
        removed[0].starts_with("Eviction") && removed[0].contains("arp"),
        "{removed:?}"
    );
    // Replacing a flow needs no room.
    assert_eq!(add(&mut switch, full), Ok(Vec::new()));
    let removed = add(&mut switch, "in_port=4,actions=1").unwrap();
    assert!(removed[0].contains("udp"), "{removed:?}");
    let removed = add(&mut switch, "in_port=5,actions=1").unwrap();
    assert!(removed[0].contains("in_port=2"), "{removed:?}");
    // Only permanent flows are left.
    assert_eq!(
        add(&mut switch, "in_port=6,actions=1"),
        Err(OfError::FmfcTableFull)
    );
    assert_eq!(switch.tables.table_len(0), 4);
}
