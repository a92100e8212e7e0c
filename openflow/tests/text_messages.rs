//! Messages as text against what Open vSwitch's own tool printed, and with broken messages.

use openflow::OfPort;
use openflow::text::{message_bytes, packet_print, ports::Names};
use packet::extract::{Meta, extract};
use packet::{FlowKey, FlowMask};
use proptest::prelude::*;

const MESSAGES: &str = include_str!("data/text/messages.txt");

struct Case {
    name: &'static str,
    verbosity: u8,
    bytes: Vec<u8>,
    want: &'static str,
}

fn cases() -> Vec<Case> {
    let parts = MESSAGES.split("## ").skip(1);
    parts
        .map(|part| {
            let (head, rest) = part.split_once('\n').expect("a line with the name");
            let (hex, want) = rest.split_once('\n').expect("a line with the bytes");
            let (name, verbosity) = match head.split_once(' ') {
                Some((name, verbosity)) => (name, verbosity.parse().expect("a number")),
                // What `ofp-print` has when it is not told.
                None => (head, 2),
            };
            Case {
                name,
                verbosity,
                bytes: bytes(hex),
                want,
            }
        })
        .collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len() / 2)
        .map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).expect("hexadecimal"))
        .collect()
}

#[test]
fn messages_as_open_vswitch_prints_them() {
    for case in cases() {
        let got = message_bytes::print(&case.bytes, &Names::none(), case.verbosity);
        assert_eq!(got, case.want, "{}", case.name);
    }
}

#[test]
fn every_cut_prints_something() {
    for case in cases() {
        for len in 0..case.bytes.len() {
            let text = message_bytes::print(&case.bytes[..len], &Names::none(), 3);
            assert!(text.ends_with('\n'), "{} {len}", case.name);
        }
    }
}

/// `Flow:` and `Megaflow:` lines of ofproto/trace.
#[test]
fn a_packet_as_flow_and_megaflow() {
    // 802.1Q tag 5, priority 3; IPv4, UDP from port 80 to 53.
    let frame = bytes(
        "5054000000075054000000058100600508004500001c00000000401100000102030405060708\
         0050003500080000",
    );
    let mut key = FlowKey::zero();
    extract(&&frame[..], &Meta::default(), &mut key).expect("long enough");
    let names = Names::none();
    let mut flow = String::new();
    packet_print::write_flow(&mut flow, &key, Some(OfPort(1)), &names);
    assert_eq!(
        flow,
        "udp,in_port=1,dl_vlan=5,dl_vlan_pcp=3,vlan_tci1=0x0000,dl_src=50:54:00:00:00:05,\
         dl_dst=50:54:00:00:00:07,nw_src=1.2.3.4,nw_dst=5.6.7.8,nw_tos=0,nw_ecn=0,nw_ttl=64,\
         nw_frag=no,tp_src=80,tp_dst=53"
    );
    let mut mask = FlowMask::empty();
    mask.0.in_port = u32::MAX;
    mask.0.eth_type = [0xff; 2];
    mask.0.vlan0_tci = [0x1f, 0xff];
    mask.0.ip_frag = 3;
    let mut megaflow = String::new();
    packet_print::write_megaflow(&mut megaflow, &key, &mask, Some(OfPort(1)), &names);
    assert_eq!(
        megaflow,
        "recirc_id=0,eth,ip,in_port=1,dl_vlan=5,nw_frag=no"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn no_message_panics(
        case in prop::sample::select(cases().into_iter().map(|c| c.bytes).collect::<Vec<_>>()),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..5),
    ) {
        let mut bytes = case;
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let text = message_bytes::print(&bytes, &Names::none(), 3);
        prop_assert!(text.ends_with('\n'));
    }
}
