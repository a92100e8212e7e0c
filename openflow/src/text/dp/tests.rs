//! Against lines that Open vSwitch 3.1 printed.

use packet::action::SetField;

use super::*;

/// Lines of `dpctl/dump-flows` of Open vSwitch 3.1, with `eth()` as the kernel datapath has it.
const KEYS: &[&str] = &[
    "recirc_id(0),in_port(1),eth(src=50:54:00:00:00:05),eth_type(0x0800),ipv4(proto=6,tos=0x6/0xfc,ttl=64,frag=no),tcp(dst=22),tcp_flags(+syn)",
    "recirc_id(0),in_port(1),eth(),eth_type(0x8100),vlan(vid=5,pcp=3/0x0),encap(eth_type(0x0800),ipv4(frag=no))",
    "recirc_id(0),in_port(1),eth(),eth_type(0x8100),vlan(vid=5,pcp=3),encap(eth_type(0x0806))",
    "recirc_id(0),in_port(1),eth(),eth_type(0x0806),arp(sip=1.2.3.4,op=1,sha=00:01:02:03:04:05)",
    "recirc_id(0),in_port(1),eth(),eth_type(0x0806),arp(sip=1.2.3.4,tip=2.3.4.5/255.255.0.0,op=1,sha=00:01:02:03:04:05)",
    "recirc_id(0),in_port(1),eth(),eth_type(0x86dd),ipv6(src=fe80::1/ffff::,label=0x7,proto=6,frag=no),tcp(src=80,dst=22)",
    "recirc_id(0),in_port(1),eth(),eth_type(0x86dd),ipv6(proto=58,frag=no),icmpv6(type=135,code=0),nd(target=fe80::5,sll=00:01:02:03:04:05)",
    "recirc_id(0),in_port(1),eth(),eth_type(0x0800),ipv4(proto=1,frag=no),icmp(type=8,code=0)",
    "recirc_id(0),in_port(1),eth(),eth_type(0x0800),ipv4(frag=later)",
    "recirc_id(0),in_port(1),eth(),eth_type(0x0800),ipv4(proto=132,frag=no),sctp(src=16)",
    "recirc_id(0),in_port(1),eth(src=50:54:00:00:00:05,dst=50:54:00:00:00:07),eth_type(0/0xffff)",
    "recirc_id(0),in_port(1),eth(),eth_type(0x8100),vlan(vid=5,pcp=3),encap(eth_type(0x88a8),vlan(vid=7,pcp=1),encap(eth_type(0x1234)))",
    "recirc_id(0),in_port(1),eth(),eth_type(0x0800),ipv4(dst=1.168.3.4/255.0.255.255,frag=no)",
    "recirc_id(0),in_port(1),eth(),eth_type(0x0800),ipv4(proto=17,frag=no),udp(src=16/0xf0)",
    "recirc_id(0x1f),in_port(2),eth(dst=01:00:00:00:00:00/01:00:00:00:00:00),eth_type(0x88cc)",
    "skb_mark(0x7/0xf),recirc_id(0),in_port(2),eth(),eth_type(0x0800),ipv4(frag=first)",
];

#[test]
fn keys_read_and_print_the_same() {
    for text in KEYS {
        let (key, mask) = parse_key(text, &NoNames).unwrap();
        let mut s = String::new();
        format_key(&mut s, &key, &mask, &NoNames, false);
        // An Ethernet type of zero is exact either way.
        assert_eq!(s, text.replace("eth_type(0/0xffff)", "eth_type(0)"));
    }
}

#[test]
fn more_shows_what_is_wild() {
    let text = "in_port(1),eth_type(0x0806),arp(sip=1.2.3.4)";
    let (key, mask) = parse_key(text, &NoNames).unwrap();
    let mut s = String::new();
    format_key(&mut s, &key, &mask, &NoNames, true);
    assert_eq!(
        s,
        "skb_mark(0/0),recirc_id(0),in_port(1),eth(src=00:00:00:00:00:00/00:00:00:00:00:00,dst=00:00:00:00:00:00/00:00:00:00:00:00),eth_type(0x0806),arp(sip=1.2.3.4,tip=0.0.0.0/0.0.0.0,op=0/0,sha=00:00:00:00:00:00/00:00:00:00:00:00,tha=00:00:00:00:00:00/00:00:00:00:00:00)"
    );
}

#[test]
fn actions_of_one_header_print_as_one() {
    let (key, _) = parse_key(
        "in_port(1),eth_type(0x0800),ipv4(proto=17,frag=no)",
        &NoNames,
    )
    .unwrap();
    let set = |field, v: &[u8]| {
        let (mut value, mut mask) = ([0; 6], [0; 6]);
        value[..v.len()].copy_from_slice(v);
        mask[..v.len()].fill(0xff);
        Action::Set { field, value, mask }
    };
    let actions = [
        set(SetField::EthSrc, &[0, 1, 2, 3, 4, 5]),
        set(SetField::Ipv4Dst, &[9, 9, 9, 9]),
        set(SetField::IpTtl, &[5]),
        set(SetField::TpDst, &[0, 9]),
        set(SetField::PktMark, &7u32.to_ne_bytes()),
        Action::PushVlan {
            tpid: 0x88a8,
            tci: 0x6005,
        },
        Action::Output(DpPort(2)),
        Action::PopVlan,
        Action::Output(DpPort(100)),
    ];
    let mut s = String::new();
    format_actions(&mut s, &actions, &key, &NoNames);
    assert_eq!(
        s,
        "set(eth(src=00:01:02:03:04:05)),set(ipv4(dst=9.9.9.9,ttl=5)),set(udp(dst=9)),set(skb_mark(0x7)),push_vlan(tpid=0x88a8,vid=5,pcp=3),2,pop_vlan,100"
    );
}

#[test]
fn a_flow_with_its_statistics() {
    let (key, mask) = parse_key("in_port(1),eth_type(0x0800),ipv4(frag=no)", &NoNames).unwrap();
    let stats = Stats {
        packets: 3,
        bytes: 294,
        used: Some(Duration::from_millis(1204)),
        tcp_flags: 0x13,
    };
    assert_eq!(
        format_flow(&key, &mask, &stats, &[], &NoNames, false),
        "recirc_id(0),in_port(1),eth(),eth_type(0x0800),ipv4(frag=no), packets:3, bytes:294, used:1.204s, flags:SF., actions:drop"
    );
}

#[test]
fn errors_name_word_and_column() {
    for (text, want) in [
        (
            "in_port(1),foo(2)",
            "foo: unknown datapath flow attribute (column 12)",
        ),
        (
            "ct_state(0x21/0x21)",
            "ct_state: this datapath has no such flow attribute (column 1)",
        ),
        ("eth(scr=1)", "scr: unknown field of eth (column 5)"),
        ("in_port(x)", "x: bad value in in_port (column 9)"),
        ("ipv4(ttl=256)", "256: bad value in ipv4 (column 10)"),
    ] {
        assert_eq!(parse_key(text, &NoNames).unwrap_err().to_string(), want);
    }
}

#[test]
fn tcp_flags_in_each_form() {
    assert_eq!(parse::parse_tcp_flags("+syn-ack"), Some((2, 0x12)));
    assert_eq!(parse::parse_tcp_flags("syn|ack"), Some((0x12, 0xfff)));
    assert_eq!(parse::parse_tcp_flags("0x12/0x3f"), Some((0x12, 0x3f)));
    for bad in ["", "+", "+foo", "+syn+syn", "0x1000", "syn|", "+syn,"] {
        assert_eq!(parse::parse_tcp_flags(bad), None, "{bad}");
    }
}
