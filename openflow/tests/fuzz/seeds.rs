//! What the fuzz targets of the codec start from: the recorded bytes and texts of `tests/data`.
//!
//! Both the tests and `cargo xtask fuzz` read this.

use std::fs;
use std::path::Path;

/// The targets of `targets.rs`.
pub const TARGETS: [&str; 5] = [
    "of_message",
    "of_parts",
    "of_reassembly",
    "of_stream",
    "of_text",
];

/// Recorded messages, or lists of them.
const MESSAGES: [&str; 5] = [
    "codec.txt",
    "codec_rejects.txt",
    "group_rejects.txt",
    "groups.txt",
    "versions.txt",
];

/// Where `openflow::text` reads a line; the first byte of a text input is the place in this list.
pub const READERS: [&str; 12] = [
    "flow-mod",
    "stats-request",
    "packet-out",
    "actions",
    "group",
    "group-to-remove",
    "meter",
    "flow-monitor",
    "nx-match",
    "tlv-map",
    "datapath-key",
    "tcp-flags",
];

/// Lines that no recording has.
const LINES: [(&str, &str); 17] = [
    (
        "flow-mod",
        "modify_strict table=1,priority=7,cookie=5/6,importance=3,in_port=LOCAL,send_flow_rem,check_overlap,no_byte_counts,actions=controller(reason=no_match,max_len=5,id=3,userdata=01.02,pause)",
    ),
    (
        "stats-request",
        "table=3,cookie=0x5/0xf,out_port=3,out_group=7,ipv6,nd_target=fe80::/10",
    ),
    (
        "packet-out",
        "in_port=controller packet=505400000001505400000002080045000014 actions=set_field:7->metadata,table",
    ),
    (
        "actions",
        "learn(table=1,hard_timeout=3,NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],load:NXM_OF_IN_PORT[]->NXM_NX_REG0[0..15],output:reg1[3..7])",
    ),
    (
        "actions",
        "ct(commit,zone=NXM_NX_REG0[0..15],table=3,nat(src=10.0.0.1-10.0.0.9:5-6,random),exec(load:5->NXM_NX_CT_MARK[])),clone(bundle(symmetric_l4,5,hrw,ofport,members:1,2)),multipath(eth_src,50,modulo_n,1,0,NXM_NX_REG0[])",
    ),
    (
        "actions",
        "encap(nsh(md_type=2,tlv(0x1000,10,0x12345678))),decap(packet_type(ns=0,type=0)),sample(probability=5,collector_set_id=1,sampling_port=3),write_actions(group:5,push_mpls:0x8847),goto_table:7",
    ),
    (
        "group",
        "modify group_id=5,type=select,selection_method=hash,selection_param=3,fields(ip_src=255.255.0.0,tcp_src),bucket=bucket_id:3,weight:7,watch_port:LOCAL,actions=1,2,bucket=watch_group=6,drop",
    ),
    (
        "group",
        "insert_bucket group_id=5,command_bucket_id=first,bucket=bucket_id:9,actions=strip_vlan",
    ),
    ("group-to-remove", "group_id=5,command_bucket_id=3"),
    (
        "meter",
        "meter=3,pktps,burst,stats,bands=type=drop,rate=5,burst_size=7,type=dscp_remark,rate=3,burst_size=2,prec_level=1",
    ),
    (
        "flow-monitor",
        "!initial,!own,table=3,out_port=4,in_port=5,tcp",
    ),
    (
        "nx-match",
        "NXM_OF_IN_PORT(0001), NXM_OF_ETH_TYPE(0800), NXM_OF_IP_SRC_W(c0a80000/ffff0000)",
    ),
    (
        "nx-match",
        "OXM_OF_IPV6_FLABEL_W(0000000f/0000000f) NXM_NX_TUN_METADATA0(01020304)",
    ),
    (
        "tlv-map",
        "{class=0xffff,type=0,len=4}->tun_metadata0,{class=0xffff,type=1,len=124}->tun_metadata63",
    ),
    (
        "datapath-key",
        "recirc_id(0),in_port(1),eth(src=50:54:00:00:00:05/ff:ff:00:00:00:00),eth_type(0x0800),ipv4(src=1.2.3.4/255.0.0.0,proto=6,frag=no),tcp(src=1,dst=2/0xff),tcp_flags(+syn-ack)",
    ),
    (
        "datapath-key",
        "in_port(2),eth_type(0x8100),vlan(vid=5,pcp=3),encap(eth_type(0x86dd),ipv6(src=::1,label=0x5,frag=later),icmpv6(type=135,code=0),nd(target=::2,sll=00:01:02:03:04:05))",
    ),
    ("tcp-flags", "+fin-syn|rst"),
];

/// The inputs that `target` starts from; `data` is `openflow/tests/data`.
pub fn seeds(target: &str, data: &Path) -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    match target {
        "of_message" | "of_reassembly" => {
            for message in messages(data) {
                seeds.push([&[0][..], &message].concat());
            }
        }
        // A stream begins with a hello; the version is that of the message.
        "of_stream" => {
            for message in messages(data) {
                let version = message.first().copied().unwrap_or(1);
                let hello = [version, 0, 0, 8, 0, 0, 0, 1];
                let next = [version, 2, 0, 9, 0, 0, 0, 2, 7];
                seeds.push([&[5][..], &hello, &message, &next].concat());
            }
        }
        "of_parts" => {
            for (version, kind, bytes) in parts(data) {
                seeds.push([&[version, kind][..], &bytes].concat());
            }
        }
        "of_text" => {
            for (reader, line) in lines(data) {
                seeds.push([&[reader][..], line.as_bytes()].concat());
            }
        }
        _ => {}
    }
    seeds.sort();
    seeds.dedup();
    seeds
}

/// Every recorded message, in a fixed order.
pub fn messages(data: &Path) -> Vec<Vec<u8>> {
    let mut files: Vec<String> = MESSAGES.map(|name| read(data, name)).into();
    files.push(read(data, "text/messages.txt"));
    let words = files.iter().flat_map(|file| file.lines());
    words
        .filter_map(|line| from_hex(line.split(' ').next_back().unwrap_or_default()))
        .filter(|bytes| bytes.len() >= 8)
        .collect()
}

/// Matches and instructions of the recorded flows: wire number of the version, 0 for a match, 1
/// for NXM or OXM entries alone and 2 for instructions, and the bytes.
fn parts(data: &Path) -> Vec<(u8, u8, Vec<u8>)> {
    let mut parts = Vec::new();
    for line in read(data, "stock_vectors.txt").lines() {
        let Some(answer) = line.strip_prefix('\t') else {
            continue;
        };
        let words: Vec<&str> = answer.splitn(5, ' ').collect();
        let [number, kind, fields, instructions, _] = words[..] else {
            continue;
        };
        let Ok(number) = number.parse::<u8>() else {
            continue;
        };
        let version = number - 9;
        let kind = u8::from(kind == "nxm");
        parts.extend(from_hex(fields).map(|bytes| (version, kind, bytes)));
        parts.extend(from_hex(instructions).map(|bytes| (version, 2, bytes)));
    }
    parts
}

fn lines(data: &Path) -> Vec<(u8, String)> {
    let reader = |name: &str| {
        let at = READERS.iter().position(|r| *r == name);
        u8::try_from(at.expect("a reader")).expect("few readers")
    };
    let mut lines: Vec<(u8, String)> = LINES
        .iter()
        .map(|(name, line)| (reader(name), (*line).to_owned()))
        .collect();
    for file in ["text/flows.txt", "text/refused.txt", "stock_vectors.txt"] {
        for line in read(data, file).lines() {
            if !line.starts_with(['\t', '#']) {
                lines.push((reader("flow-mod"), line.to_owned()));
            }
        }
    }
    lines
}

fn read(data: &Path, name: &str) -> String {
    let path = data.join(name);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes().chunks(2);
    digits
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}
