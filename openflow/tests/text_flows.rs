//! Flow syntax against what Open vSwitch's own tools printed, and with mutated text.

use std::time::Duration;

use openflow::message::{FlowMod, FlowModCommand, FlowStats};
use openflow::text::ports::Names;
use openflow::text::{dp, flow, flow_print};
use openflow::{Field, Match, OfPort, Version};
use proptest::prelude::*;

const FLOWS: &str = include_str!("data/text/flows.txt");
const REFUSED: &str = include_str!("data/text/refused.txt");

/// The pairs of input and answer in a data file.
fn cases(data: &'static str) -> Vec<(&'static str, &'static str)> {
    let lines: Vec<&str> = data.lines().filter(|l| !l.starts_with('#')).collect();
    let pairs = lines.chunks_exact(2);
    assert!(pairs.remainder().is_empty());
    pairs
        .map(|c| {
            (
                c[0],
                c[1].strip_prefix('\t').expect("answers start with a tab"),
            )
        })
        .collect()
}

fn answer(text: &str) -> String {
    let names = Names::none();
    match flow::parse_flow_mod(text, FlowModCommand::Add, &names) {
        Ok(parsed) => {
            let mut s = String::new();
            flow_print::write_flow_mod(&mut s, &parsed.value, Version::Of13, &names);
            s
        }
        Err(e) => format!("error: {}", e.kind),
    }
}

#[test]
fn flows_as_open_vswitch_has_them() {
    for (text, want) in cases(FLOWS) {
        assert_eq!(answer(text), want, "{text}");
    }
}

#[test]
fn refusals_have_a_name() {
    for (text, want) in cases(REFUSED) {
        assert_eq!(answer(text), want, "{text}");
    }
}

fn stats(fm: &FlowMod) -> FlowStats {
    FlowStats {
        fields: fm.fields.clone(),
        cookie: fm.new_cookie,
        table_id: fm.table_id.unwrap_or(0),
        priority: fm.priority,
        idle_timeout: fm.idle_timeout,
        hard_timeout: fm.hard_timeout,
        importance: fm.importance,
        duration: Duration::from_millis(1500),
        idle_age: Some(1),
        hard_age: Some(7),
        packet_count: 1,
        byte_count: 2,
        flags: fm.flags,
        actions: fm.actions.clone(),
    }
}

/// As `ovs-ofctl packet-out` of Open vSwitch takes and refuses them.
#[test]
fn packet_outs_take_pipeline_fields() {
    let parse = |field: &str| {
        let text =
            format!("in_port=1 {field} packet=505400000007505400000005080600 actions=output:2");
        flow::parse_packet_out(&text, &Names::none()).map_err(|e| e.kind.to_string())
    };
    let packet = parse("reg1=5,metadata=0x7").expect("pipeline fields");
    let want = Match::new().with(Field::Reg1, 5).with(Field::Metadata, 7);
    assert_eq!(packet.metadata, want);
    assert_eq!(
        parse("eth_type=0x800"),
        Err("eth_type is not a valid pipeline field for PACKET_OUT".to_owned())
    );
    let short = flow::parse_packet_out("in_port=1,packet=5054,actions=1", &Names::none());
    assert_eq!(
        short.map_err(|e| e.to_string()),
        Err("packet: Packet data too short for Ethernet (column 18)".to_owned())
    );
}

#[test]
fn what_dump_flows_prints_can_be_read_again() {
    let mut names = Names::none();
    names.add_port(OfPort(1), "p1");
    names.add_port(OfPort(2), "br-int");
    for (text, _) in cases(FLOWS) {
        let Ok(parsed) = flow::parse_flow_mod(text, FlowModCommand::Add, &names) else {
            continue;
        };
        let first = stats(&parsed.value);
        let mut printed = String::new();
        flow_print::write_flow_stats(&mut printed, &first, Version::Of13, &names, true);
        let again = flow::parse_flow_mod(&printed, FlowModCommand::Add, &names)
            .unwrap_or_else(|e| panic!("{printed}: {e}"))
            .value;
        assert_eq!(again.fields, first.fields, "{text}: {printed}");
        assert_eq!(again.actions, first.actions, "{text}: {printed}");
        assert_eq!(stats(&again), first, "{text}: {printed}");
    }
}

#[test]
fn errors_name_the_column() {
    let names = Names::none();
    for (text, column) in [
        ("tcp,foo=1,actions=drop", 5),
        ("tcp, tp_src=99999 actions=drop", 13),
        ("tcp actions=output:1,frob", 22),
        ("tcp actions=write_actions(1,frob:2)", 29),
        ("in_port=1", 10),
        ("actions=load:5->NXM_NX_REG0[0..40]", 17),
        ("actions=drop,1", 9),
    ] {
        let e = flow::parse_flow_mod(text, FlowModCommand::Add, &names).unwrap_err();
        assert_eq!(e.column(), column, "{text}: {e}");
    }
}

/// A known text with a few characters replaced, removed or doubled.
fn mutated() -> impl Strategy<Value = String> {
    let texts: Vec<&str> = cases(FLOWS).into_iter().map(|(text, _)| text).collect();
    let edit = (any::<prop::sample::Index>(), 0..4, any::<char>());
    let texts = prop::sample::select(texts);
    (texts, prop::collection::vec(edit, 0..6)).prop_map(|(text, edits)| {
        let mut chars: Vec<char> = text.chars().collect();
        for (at, kind, c) in edits {
            if chars.is_empty() {
                break;
            }
            let at = at.index(chars.len());
            match kind {
                0 => chars[at] = c,
                1 => {
                    chars.remove(at);
                }
                2 => {
                    let piece: Vec<char> = chars[at..].to_vec();
                    chars.extend(piece);
                }
                _ => chars.truncate(at),
            }
        }
        chars.into_iter().collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn no_text_panics_and_printing_is_stable(text in mutated()) {
        let mut names = Names::none();
        names.add_port(OfPort(1), "p1");
        let _ = flow::parse_flow_mod_line(&text, &names);
        let _ = flow::parse_stats_request(&text, &names);
        let _ = flow::parse_packet_out(&text, &names);
        let _ = dp::parse_key(&text, &dp::NoNames);
        if let Ok(parsed) = flow::parse_flow_mod(&text, FlowModCommand::Add, &names) {
            let mut once = String::new();
            let first = stats(&parsed.value);
            flow_print::write_flow_stats(&mut once, &first, Version::Of13, &names, true);
            let again = flow::parse_flow_mod(&once, FlowModCommand::Add, &names);
            prop_assert!(again.is_ok(), "{text:?} {once:?} {again:?}");
            let mut twice = String::new();
            let second = stats(&again.expect("checked").value);
            flow_print::write_flow_stats(&mut twice, &second, Version::Of13, &names, true);
            prop_assert_eq!(once, twice);
        }
    }

    #[test]
    fn no_datapath_text_panics(text in "[a-z_0-9(),=/:.+|-]{0,60}") {
        if let Ok((key, mask)) = dp::parse_key(&text, &dp::NoNames) {
            let mut s = String::new();
            dp::format_key(&mut s, &key, &mask, &dp::NoNames, true);
            prop_assert!(dp::parse_key(&s, &dp::NoNames).is_ok(), "{}", s);
        }
    }
}
