//! The commands that show how things look on the wire, and those that read captures, beside the
//! stock tool.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

/// What a command said; of what it logged, the text without time and number.
#[derive(PartialEq, Eq, Debug)]
struct Said {
    status: Option<i32>,
    stdout: String,
    stderr: String,
}

/// Both tools, ours through a link of the stock one's name.
struct Tools {
    dir: tempfile::TempDir,
}

impl Tools {
    /// `None` where Open vSwitch is not installed.
    fn new(test: &str) -> Option<Tools> {
        if Command::new("ovs-ofctl").arg("--version").output().is_err() {
            let required = std::env::var("SLUICE_REQUIRE_ROOT").is_ok_and(|v| v == "1");
            assert!(!required, "ovs-ofctl is not installed");
            println!("skipped {test}: ovs-ofctl is not installed");
            return None;
        }
        let dir = tempfile::tempdir().expect("temporary directory");
        let link = dir.path().join("ovs-ofctl");
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_ofctl"), link).expect("link");
        Some(Tools { dir })
    }

    fn run(&self, program: &str, args: &[&str], input: &[u8]) -> Said {
        let mut child = Command::new(program)
            .args(args)
            .current_dir(self.dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect(program);
        // Who ends early does not read on.
        let _ = child.stdin.take().expect("piped").write_all(input);
        let out = child.wait_with_output().expect(program);
        let stderr = String::from_utf8_lossy(&out.stderr).into_owned();
        let text = |line: &str| match line.split('|').collect::<Vec<_>>()[..] {
            [_, _, module, level, text] => format!("{module}|{level}|{text}"),
            _ => line.to_owned(),
        };
        Said {
            status: out.status.code(),
            stdout: String::from_utf8_lossy(&out.stdout).into_owned(),
            stderr: stderr.lines().map(|l| text(l) + "\n").collect(),
        }
    }

    fn ours(&self, args: &[&str], input: &[u8]) -> Said {
        let link = self.dir.path().join("ovs-ofctl");
        self.run(&link.to_string_lossy(), args, input)
    }

    /// Asserts that both print the same; the stock tool logs what is wrong with bytes, too.
    fn compare_output(&self, args: &[&str], input: &[u8]) {
        let stock = self.run("ovs-ofctl", args, input);
        let ours = self.ours(args, input);
        let shown = String::from_utf8_lossy(input);
        assert_eq!(ours.stdout, stock.stdout, "{args:?} {shown}");
        assert_eq!(ours.status, stock.status, "{args:?} {shown}");
    }

    /// Asserts that both say the same; where a text is wrong is said by ours only.
    fn compare_but_for_columns(&self, args: &[&str]) {
        let stock = self.run("ovs-ofctl", args, b"");
        let mut ours = self.ours(args, b"");
        if let Some((text, _)) = ours.stderr.rsplit_once(" (column ") {
            ours.stderr = format!("{text}\n");
        }
        assert_eq!(ours, stock, "{args:?}");
    }

    /// Asserts that both say the same.
    fn compare(&self, args: &[&str], input: &[u8]) {
        let stock = self.run("ovs-ofctl", args, input);
        let shown = String::from_utf8_lossy(input);
        assert_eq!(self.ours(args, input), stock, "{args:?} {shown}");
    }
}

#[test]
fn errors_and_hellos() {
    let Some(tools) = Tools::new("errors_and_hellos") else {
        return;
    };
    for name in [
        "OFPBRC_BAD_TYPE",
        "OFPFMFC_OVERLAP",
        "NXBRC_NXM_INVALID",
        "OFPBIC_DUP_INST",
        "OFPBFC_TIMEOUT",
        "OFPMOFC_BAD_FLAGS",
        "NXTTMFC_BAD_COMMAND",
        "OFPGMFC_CHAINED_GROUP",
        "OFPBAC_BAD_SET_MASK",
        "ofpbrc_bad_type",
        "foo",
        "",
    ] {
        tools.compare(&["print-error", name], b"");
        for request in [
            "010e000c0000000011223344",
            "0410 0008 0000 0005",
            "060e000c0000000011223344",
            "010e000d0000000011223344",
            "010e",
            "zz",
            "010e000c000000001122334",
        ] {
            tools.compare(&["encode-error-reply", name, request], b"");
        }
    }
    // Of a version that nobody knows.
    let request = "070e000c0000000011223344";
    tools.compare(&["encode-error-reply", "OFPBRC_BAD_TYPE", request], b"");
    tools.compare(&["ofp-print", "-"], b"01 00 00 08 00 00 00 01\nmore\n");
    for bitmap in ["0x12", "2", "0x7e", "0x80", "0xff", "010", "16", "0x3e"] {
        tools.compare(&["encode-hello", bitmap], b"");
    }
    // The stock tool aborts; this one says why not.
    for bitmap in ["0", "1", "x"] {
        assert_eq!(tools.ours(&["encode-hello", bitmap], b"").status, Some(1));
    }
    for text in ["a=b,c(d=e),f:g,h", "", "a(b(c),d)->e f", "x=(1,2),y"] {
        tools.compare(&["parse-key-value", text, "again=1"], b"");
    }
}

#[test]
fn usage() {
    let Some(tools) = Tools::new("usage") else {
        return;
    };
    for args in [
        &["parse-nxm", "x"][..],
        &["parse-oxm"],
        &["parse-oxm", "OpenFlow10"],
        &["parse-oxm", "foo"],
        &["parse-actions", "foo"],
        &["parse-actions", "openflow10"],
        &["parse-instructions"],
        &["print-error"],
        &["encode-error-reply", "x"],
        &["encode-hello"],
        &["parse-key-value"],
        &["parse-packet", "x"],
        &["parse-pcap"],
        &["ofp-parse-pcap"],
        &["parse-pcap", "/nonexistent"],
        &["ofp-parse-pcap", "/nonexistent"],
        &["ofp-print", "zz"],
        &["ofp-print", "010000080000000"],
        &["ofp-print", "01000008.00000001"],
        &["ofp-print", "-"],
        &["parse-pcap", "/dev/null"],
        &["ofp-parse-pcap", "/dev/null"],
    ] {
        tools.compare(args, b"");
    }
}

#[test]
fn groups() {
    let Some(tools) = Tools::new("groups") else {
        return;
    };
    for group in [
        "group_id=1,type=all,bucket=output:1",
        "group_id=1,type=all",
        "group_id=1,type=select,bucket=weight:5,output:1,bucket=actions=output:2",
        "group_id=1,type=select,selection_method=hash,fields(ip_src),bucket=output:1",
        "group_id=1,type=select,selection_method=dp_hash,bucket=weight:1,output:1",
        "group_id=1,type=ff,bucket=watch_port:1,output:1",
        "group_id=1,type=indirect,bucket=bucket_id:5,output:1",
        "group_id=1,type=all,bucket=push_mpls:0x8847",
        "group_id=1,type=all,bucket=output:1,bucket=drop",
        "group_id=1",
        "type=all",
        "",
        "foo",
        "delete",
        "add group_id=1,type=all",
        "group_id=1,type=all,bucket=weight:5,output:1",
        "group_id=1,type=foo",
        "group_id=1,type=all,bucket=copy_field(src=reg0,dst=reg1)",
        "group_id=1,type=all,bucket=write_actions(output:1)",
    ] {
        for options in [
            &[][..],
            &["-O", "OpenFlow11"],
            &["-m", "-O", "OpenFlow13"],
            &["-O", "OpenFlow10,OpenFlow15"],
            &["-F", "nxm"],
        ] {
            tools.compare_but_for_columns(&[options, &["parse-group", group]].concat());
        }
    }
}

/// What is wrong with connections to flush; the arguments come first.
#[test]
fn connections_to_flush() {
    let Some(tools) = Tools::new("connections_to_flush") else {
        return;
    };
    let target = "unix:/nonexistent";
    for args in [
        &[][..],
        &["zone=x"],
        &["zone="],
        &["ct_nw_src=1"],
        &["ct_nw_src"],
        &["ct_tp_src=1"],
        &["ct_nw_proto=300"],
        &["icmp_type=1"],
        &["ct_nw_proto=6,icmp_type=1"],
        &["ct_nw_proto=1,icmp_type=1"],
        &["foo=1"],
        &["zone=1", "zone=2"],
        &["zone=1", "ct_nw_proto=6", "ct_nw_src=1.1.1.1"],
        &["ct_nw_src=1.1.1.1,ct_ipv6_src=::1"],
        &["ct_nw_src=1.1.1.1", "ct_ipv6_src=::1"],
        &["ct_nw_src=1.1.1.1,ct_nw_src=1.1.1.2"],
        &["ct_ipv6_src=1"],
        &["ct_nw_proto=6,ct_tp_src=70000"],
        &["ct_nw_proto=1,icmp_id=70000"],
        &["zone=1", "x", "y", "z"],
    ] {
        tools.compare(&[&["ct-flush", target], args].concat(), b"");
    }
    for zone in ["5", "0x5", "70000", "x", "-1"] {
        tools.compare(&["ct-flush-zone", target, zone], b"");
    }
    // The stock tool cuts or ignores these.
    for args in [
        &["zone=70000"][..],
        &["zone=5,ct_nw_proto=6"],
        &["ct_nw_proto=6", "", "ct_nw_src=1.1.1.1"],
        &["ct_nw_proto=1,ct_tp_src=8"],
    ] {
        let said = tools.ours(&[&["ct-flush", target], args].concat(), b"");
        assert_eq!(said.status, Some(1));
        assert!(!said.stderr.contains("connecting"), "{said:?}");
    }
}

/// Lists whose every difference shows: what is not canonical, and what is wrong.
#[test]
fn actions_and_instructions() {
    let Some(tools) = Tools::new("actions_and_instructions") else {
        return;
    };
    let of10: &[u8] = b"# outputs\n\
        0000 0008 0001 0000\n\
        0000 0008 fffd 0080 # to the controller\n\
        \n0000 0008 0002 0000\n\n\
        00000008.0001.0000 0003 0008 00000000\n\
        0001 0008 000a 1234\n\
        0002 0008 07 ffffff\n\
        0004 0010 0123456789ab 000000000001\n\
        000b 0010 0001 000000000000 00000005\n\
        0000000800\n\
        0001 0008 100a 0000\n\
        0001 000a 000a 0000 0000\n\
        0063 0008 00000000\n\
        0000 0010 0001 0000\n";
    tools.compare_output(&["parse-actions", "OpenFlow10"], of10);
    tools.compare_output(&["parse-instructions", "OpenFlow10"], of10);
    tools.compare_output(
        &["parse-actions", "OpenFlow10"],
        b"00000008 00010000\nxyz\n",
    );
    let of13: &[u8] = b"0000 0010 00000001 0000 000000000000\n\
        0000 0010 00000001 0000 000000000001\n\
        0012 0008 00000000\n\
        0011 0008 8100 0000\n\
        0016 0008 00000005\n\
        0019 0010 80000a02 0800 000000000000\n\
        0000 0010 000ffff0 0000 000000000000\n";
    tools.compare_output(&["parse-actions", "OpenFlow13"], of13);
    let instructions: &[u8] = b"0001 0008 01 000000\n\
        1,0001 0008 01 000000\n\
        0,0001 0008 01 000000\n\
        0004 0018 00000000 0000 0010 00000001 0000 000000000000\n\
        0004 0018 00000000 0000 0010 00000001 0000 000000000001\n\
        0005 0008 00000000\n\
        0005 0008 00000000 0005 0008 00000000\n\
        0002 0018 00000000 fedcba9800000000 ffffffff00000000\n\
        0004 0008 01 000000\n\
        0001 0010 01 000000 0000000000000000\n\
        0063 0008 01 000000\n\
        0006 0008 00000005\n";
    tools.compare_output(&["parse-instructions", "OpenFlow13"], instructions);
}

#[test]
fn entries_of_matches() {
    let Some(tools) = Tools::new("entries_of_matches") else {
        return;
    };
    let series: &[u8] = b"# comment\n\n\
        NXM_OF_IN_PORT(0001) # port\n   # more\n<any>\n\
        NXM_OF_ETH_TYPE(0800), NXM_OF_IP_SRC_W(c0a80000/ffff0000)\n\
        NXM_NX_REG0(00000005)\n\
        OXM_OF_ETH_TYPE(0800),OXM_OF_IPV4_SRC(01020304)\n\
        OXM_OF_VLAN_VID(1003) , OXM_OF_VLAN_PCP(03)\n\
        NXM_OF_VLAN_TCI_W(1000/1000)\n\
        NXM_OF_VLAN_TCI(0000)\n\
        OXM_OF_METADATA(0000000000000005)\n\
        NXM_OF_ETH_DST_W(01.02.03 000000 / ffffff000000)\n\
        NXM_OF_ETH_TYPE(86dd) NXM_NX_IPV6_LABEL(00012345)\n\
        NXM_OF_IN_PORT(0001) NXM_OF_IN_PORT(0002)\n\
        00000002(0001)\n\
        00007f02(0001)\n\
        NXM_OF_ETH_TYPE(0806) NXM_OF_ARP_OP(0001) NXM_NX_ARP_SHA(002320abcdef)\n";
    for args in [
        &["parse-nxm"][..],
        &["parse-nx-match"],
        &["--strict", "parse-nxm"],
        &["-m", "parse-nxm"],
        &["parse-oxm", "OpenFlow13"],
        &["--strict", "parse-oxm", "openflow12"],
        &["parse-oxm", "OpenFlow15"],
        &["-m", "parse-oxm", "OpenFlow13"],
    ] {
        tools.compare_output(args, series);
    }
    for line in [
        "NXM_NX_COOKIE(0000000000000001)",
        "NXM_NX_COOKIE_W(0000000000000001/00000000000000ff)",
        "foo(01)",
        "NXM_OF_IN_PORT",
        "NXM_OF_IN_PORT(01)",
        "NXM_OF_IN_PORT(0001",
        "NXM_OF_ETH_DST_W(010203040506 010203040506)",
        "NXM_OF_ETH_DST_W(010203040506)",
        "0x00000002(0001)",
    ] {
        tools.compare(&["parse-nxm"], line.as_bytes());
        tools.compare(&["--strict", "parse-nxm"], line.as_bytes());
    }
    tools.compare(&["--strict", "parse-nxm"], b"NXM_OF_TCP_SRC(0001)\n");
}

#[test]
fn fixed_matches() {
    let Some(tools) = Tools::new("fixed_matches") else {
        return;
    };
    for (tci, mask) in [
        ("0000", "0000"),
        ("1123", "1fff"),
        ("f0f0", "ffff"),
        ("0000", "ffff"),
        ("0000", "1fff"),
        ("1000", "1000"),
        ("f000", "f000"),
        ("0064", "0fff"),
    ] {
        tools.compare(&["check-vlan", tci, mask], b"");
    }
    let series: &[u8] = b"# comment\n\n\
        003820fe fffe xxxxxxxxxxxx xxxxxxxxxxxx xxxx xx 00 xxxx xx xx 0000 xxxxxxxx xxxxxxxx xxxx xxxx\n\
        003820fd xxxx xxxxxxxxxxxx xxxxxxxxxxxx 0009 xx 00 xxxx xx xx 0000 xxxxxxxx xxxxxxxx xxxx xxxx\n\
        003820fd 0000 000000000000 000000000000 ffff 05 00 0000 00 00 0000 00000000 00000000 0000 0000\n\
        002020ef 0001 000000000000 000000000000 0000 07 11 0800 fe 06 2233 c0a80001 c0a80002 0050 0051\n\
        00000000 0001 010203040506 0708090a0b0c 0005 07 11 0800 ff 06 2233 c0a80001 c0a80002 0050 0051\n\
        00000000 0001 010203040506 0708090a0b0c 0005 07 11 0806 ff 06 2233 c0a80001 c0a80002 0050 0051\n\
        00000000 0001 010203040506 0708090a0b0c 0005 07 11 0800 ff 01 2233 c0a80001 c0a80002 0050 0051\n\
        00000000 0001 010203040506 0708090a0b0c 0005 07 11 05ff ff 01 2233 c0a80001 c0a80002 0050 0051\n\
        ffffffff 0001 010203040506 0708090a0b0c 0005 07 11 0800 ff 06 2233 c0a80001 c0a80002 0050 0051\n\
        00000000 0001 010203040506 0708090a0b0c ffff 07 00 0800 fc 06 0000 c0a80001 c0a80002 0050 0051\n\
        00000810 0001 010203040506 0708090a0b0c 0005 07 00 0800 fc 11 0000 c0a80001 c0a80002 0050 0051\n";
    tools.compare_output(&["parse-ofp10-match"], series);
    tools.compare(&["parse-ofp10-match"], b"00\n");
    tools.compare(&["parse-ofp10-match"], b"z\n");
    let any = "000000000000ffffffffffff 000000000000ffffffffffff 0000 00 00";
    let end = "0000 0000 00000000 00 000000 0000000000000000ffffffffffffffff";
    let free = "00000000ffffffff";
    let series = format!(
        "0000 0058 00000000 000003ff {any} 0000 00 00 {free} {free} {end}\n\
         0000 0058 00000001 000003fe {any} 0000 00 00 {free} {free} {end}\n\
         0000 0058 00000001 000003f7 {any} 0800 00 00 c0a80000 0000ffff {free} {end}\n\
         0000 0058 00000000 000003d7 {any} 0800 00 06 {free} {free} {end}\n"
    );
    tools.compare(&["parse-ofp11-match"], series.as_bytes());
    tools.compare(&["parse-ofp11-match"], b"00\n");
    tools.compare(&["parse-ofp11-match"], b"x\n");
}

const ETH: &str = "505400000001505400000002";

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<char> = hex.chars().filter(|c| !c.is_whitespace()).collect();
    let pair = |p: &[char]| u8::from_str_radix(&p.iter().collect::<String>(), 16).expect("hex");
    digits.chunks(2).map(pair).collect()
}

fn frames() -> Vec<Vec<u8>> {
    let tcp =
        "0800 4500002800010000400600000a0000010a000002 0001000200000000000000005002000000000000";
    let zeros = "00".repeat(13);
    [
        format!("{ETH}{tcp}"),
        format!("{ETH}81006005{tcp}"),
        format!("{ETH}0806 0001080006040001 5054000000020a000001 0000000000000a000002"),
        format!(
            "{ETH}86dd 6000000000143a40 fe80{zeros}01 ff02{zeros}02 8700000000000000 fe80{zeros}05"
        ),
        format!("{ETH}0800 4500001c00010000401100000a0000010a000002 0035003500080000"),
        "010203".to_owned(),
        format!("{ETH}1234"),
    ]
    .iter()
    .map(|f| bytes(f))
    .collect()
}

/// A capture of frames with their times in seconds and microseconds.
fn capture(frames: &[(u32, u32, Vec<u8>)], big_endian: bool, magic: u32, link: u32) -> Vec<u8> {
    let word = |n: u32| match big_endian {
        true => n.to_be_bytes(),
        false => n.to_le_bytes(),
    };
    let version = match big_endian {
        true => [0, 2, 0, 4],
        false => [2, 0, 4, 0],
    };
    let mut out = [
        word(magic),
        version,
        word(0),
        word(0),
        word(65535),
        word(link),
    ]
    .concat();
    for (seconds, micros, frame) in frames {
        let len = frame.len() as u32;
        out.extend([word(*seconds), word(*micros), word(len), word(len)].concat());
        out.extend(frame);
    }
    out
}

#[test]
fn captures() {
    let Some(tools) = Tools::new("captures") else {
        return;
    };
    const MICRO: u32 = 0xa1b2_c3d4;
    let all: Vec<_> = frames().into_iter().map(|f| (1, 2, f)).collect();
    let little = capture(&all, false, MICRO, 1);
    let files = [
        ("little", little.clone()),
        ("big", capture(&all, true, MICRO, 1)),
        ("nano", capture(&all, false, 0xa1b2_3c4d, 1)),
        ("link", capture(&all, false, MICRO, 101)),
        ("magic", capture(&all, false, 0x1234_5678, 1)),
        ("cut", little[..little.len() - 5].to_vec()),
        ("head", little[..20].to_vec()),
        ("later", little[..24 + 16 + 54 + 8].to_vec()),
        ("none", little[..24].to_vec()),
    ];
    for (name, content) in &files {
        fs::write(tools.dir.path().join(name), content).expect("write");
        tools.compare(&["parse-pcap", name], b"");
        tools.compare(&["ofp-parse-pcap", name], b"");
    }
    tools.compare(&["parse-pcap", "little", "none", "cut"], b"");
    for frame in frames() {
        tools.compare(&["parse-packet"], &frame);
    }
    tools.compare(&["parse-packet"], b"");
}

/// A segment from 10.0.0.1:`src` to 10.0.0.2:`dst`, or the other way.
fn segment(back: bool, src: u16, dst: u16, seq: u32, flags: u8, data: &[u8]) -> Vec<u8> {
    let len = 40 + data.len() as u16;
    let (a, b) = match back {
        true => ("0a000002", "0a000001"),
        false => ("0a000001", "0a000002"),
    };
    let head = format!(
        "{ETH}0800 4500{len:04x}0001000040060000{a}{b}{src:04x}{dst:04x}{seq:08x}0000000050{flags:02x}03e800000000"
    );
    [bytes(&head), data.to_vec()].concat()
}

#[test]
fn openflow_in_captures() {
    let Some(tools) = Tools::new("openflow_in_captures") else {
        return;
    };
    let hello = bytes("0100000800000001");
    let echoes = bytes("010200080000000a010200080000000b");
    let packets = [
        (1, 0, segment(false, 5000, 6633, 100, 2, b"")),
        (1, 5, segment(true, 6633, 5000, 900, 0x12, b"")),
        (2, 0, segment(false, 5000, 6633, 101, 0x18, &hello)),
        (2, 500_000, segment(true, 6633, 5000, 901, 0x18, &hello)),
        // Two messages in two segments, cut elsewhere.
        (3, 0, segment(false, 5000, 6633, 109, 0x18, &echoes[..11])),
        (3, 1, segment(false, 5000, 6633, 120, 0x18, &echoes[11..])),
        // Another port, and a connection whose beginning is not there.
        (4, 0, segment(false, 5000, 80, 1, 0x18, &hello)),
        (86_405, 0, segment(false, 5001, 6653, 101, 0x18, &hello)),
        // Too early, then again.
        (86_406, 1, segment(false, 5001, 6653, 117, 0x18, &hello)),
        (86_406, 2, segment(false, 5001, 6653, 109, 0x18, &hello)),
        (86_407, 0, segment(false, 5001, 6653, 117, 0x11, b"")),
    ];
    let file = tools.dir.path().join("of.pcap");
    fs::write(file, capture(&packets, false, 0xa1b2_c3d4, 1)).expect("write");
    for args in [
        &["ofp-parse-pcap", "of.pcap"][..],
        &["--timestamp", "ofp-parse-pcap", "of.pcap"],
        &["ofp-parse-pcap", "of.pcap", "80"],
        &["-mm", "ofp-parse-pcap", "of.pcap", "80", "6653"],
    ] {
        tools.compare(args, b"");
    }
}
