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
