//! Random bundles of flow-mods and group-mods given to the stock switch and to ours: both must
//! refuse the same ones with the same error, and hold the same flows and groups afterwards.
//!
//! Runs as `stock_switch` does, and is skipped as that is. `SLUICE_STOCK_OPS` sets how many
//! bundles are tried.

use std::time::Instant;

use bytes::Bytes;
use ofproto::conn::{ConnId, ConnKind};
use ofproto::ofproto::{Effect, Ofproto};
use ofproto::snapshot::FailMode;
use openflow::message::{
    BundleAdd, BundleControl, BundleControlKind, BundleFlags, ErrorMessage, FlowStatsRequest,
    GROUP_ALL,
};
use openflow::text::{Names, flow, flow_print, group, message_bytes};
use openflow::{EthAddr, Message, OfError, Version, codec};
use tests::StockSwitch;

const VERSION: Version = Version::Of15;
const FLAGS: BundleFlags = BundleFlags(3);

struct Ours {
    ofproto: Ofproto,
    conn: ConnId,
    now: Instant,
}

impl Ours {
    fn new() -> Ours {
        let now = Instant::now();
        let mut ofproto = Ofproto::new(5);
        let bridge = ofproto
            .bridge_add("br0", 1, EthAddr::ZERO, FailMode::Secure, now)
            .unwrap();
        let kind = ConnKind::Service;
        let conn = ofproto.conn_open(bridge, kind, VERSION, now).unwrap();
        Ours { ofproto, conn, now }
    }

    fn send(&mut self, message: Message) -> Vec<Message> {
        let raw = codec::encode(&message, VERSION, 1).unwrap();
        // As it comes over the wire.
        let message = codec::decode(&raw, &VERSION.into()).unwrap().message;
        self.ofproto
            .handle_message(self.conn, 1, message, &raw.into(), self.now);
        let now = self.now;
        let effects = std::iter::from_fn(|| self.ofproto.poll_effect());
        let sent = effects.filter_map(|effect| match effect {
            Effect::Send { message, .. } => Some(message),
            // The flows of these tests fit into one message.
            Effect::SendFlows { xid, mut reply, .. } => {
                let bytes = reply.next_message(VERSION.into(), xid, now)?.unwrap();
                Some(codec::decode(&bytes, &VERSION.into()).unwrap().message)
            }
            _ => None,
        });
        sent.collect()
    }

    fn control(&mut self, kind: BundleControlKind) -> Option<OfError> {
        let told = self.send(Message::BundleControl(BundleControl {
            bundle_id: 0,
            kind,
            flags: FLAGS,
        }));
        first_error(&told)
    }

    /// Does as the tool does: adds the messages, and commits when none was refused.
    fn bundle(&mut self, lines: &[String]) -> Option<OfError> {
        assert_eq!(self.control(BundleControlKind::OpenRequest), None);
        let mut refused = None;
        for line in lines {
            let message = match line.split_once(' ').unwrap() {
                ("flow", rest) => Message::FlowMod(
                    flow::parse_flow_mod_line(rest, &Names::none())
                        .unwrap()
                        .value,
                ),
                (_, rest) => Message::GroupMod(group::parse_line(rest, &Names::none()).unwrap()),
            };
            let told = self.send(Message::BundleAdd(BundleAdd {
                bundle_id: 0,
                flags: FLAGS,
                message: Box::new(message),
                raw: Bytes::new(),
            }));
            refused = refused.or(first_error(&told));
        }
        if refused.is_some() {
            assert_eq!(self.control(BundleControlKind::DiscardRequest), None);
            return refused;
        }
        self.control(BundleControlKind::CommitRequest)
    }

    fn dump(&mut self) -> Vec<String> {
        let told = self.send(Message::FlowStatsRequest(FlowStatsRequest::all()));
        let [Message::FlowStatsReply(reply)] = told.as_slice() else {
            panic!("{told:?}");
        };
        let mut lines = Vec::new();
        for flow in &reply.flows {
            let mut line = String::new();
            flow_print::write_flow_stats(&mut line, flow, VERSION, &Names::none(), false);
            lines.push(line);
        }
        let request = Message::GroupDescRequest {
            group_id: GROUP_ALL,
        };
        let told = self.send(request);
        let bytes = codec::encode(&told[0], VERSION, 1).unwrap();
        let text = message_bytes::print(&bytes, &Names::none(), 1);
        lines.extend(text.lines().skip(1).map(str::to_owned));
        lines.sort();
        lines
    }
}

fn first_error(told: &[Message]) -> Option<OfError> {
    told.iter().find_map(|message| match message {
        Message::Error(ErrorMessage::Known { error, .. }) => Some(*error),
        _ => None,
    })
}

struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % n
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len() as u64) as usize]
    }
}

fn line(r: &mut Random) -> String {
    match r.below(3) {
        0 => group_line(r),
        _ => flow_line(r),
    }
}

fn flow_line(r: &mut Random) -> String {
    let fields = r.pick(&["in_port=1", "in_port=2", "tcp", "udp", "arp", "ip"]);
    let priority = r.below(3);
    let table = match r.below(40) {
        0 => 254,
        n => n % 3,
    };
    // In a bundle the stock switch does not look at the group of a modification that modifies
    // nothing, where it does outside.
    let other = r.pick(&["1", "2", "drop", "goto_table:5"]);
    let action = r.pick(&[
        "1",
        "2",
        "drop",
        "group:1",
        "group:2",
        "group:3",
        "goto_table:5",
    ]);
    match r.below(10) {
        0..=4 => format!("flow add table={table},priority={priority},{fields},actions={action}"),
        5 => format!(
            "flow add check_overlap,table={table},priority={priority},{fields},actions={action}"
        ),
        6 => format!("flow modify table={},{fields},actions={other}", table % 3),
        7 => format!(
            "flow modify_strict table={},priority={priority},{fields},actions={other}",
            table % 3
        ),
        8 => format!("flow delete table={},{fields}", table % 3),
        _ => format!(
            "flow delete_strict table={},priority={priority},{fields}",
            table % 3
        ),
    }
}

/// Groups lead to higher numbers only: the stock switch takes loops, ours refuses them.
fn group_line(r: &mut Random) -> String {
    let id = 1 + r.below(3);
    let action = match r.below(4) {
        0 => format!("group:{}", id + 1),
        n => format!("output:{n}"),
    };
    let bucket = format!("bucket=bucket_id={},actions={action}", r.below(3));
    let at = r.pick(&["first", "last", "0", "1"]);
    match r.below(10) {
        0..=4 => format!("group add group_id={id},type=all,{bucket}"),
        5 => format!("group modify group_id={id},type=select,{bucket}"),
        6 => format!("group add_or_mod group_id={id},type=indirect,{bucket}"),
        7 => format!("group insert_bucket group_id={id},command_bucket_id={at},{bucket}"),
        8 => format!("group remove_bucket group_id={id},command_bucket_id={at}"),
        _ if r.below(4) == 0 => "group delete".to_owned(),
        _ => format!("group delete group_id={id}"),
    }
}

#[test]
fn bundles_agree_with_the_stock_switch() {
    let Some(stock) = StockSwitch::start("bundles_agree_with_the_stock_switch").unwrap() else {
        return;
    };
    let add = "add-br br0 -- set bridge br0 fail-mode=secure datapath_type=dummy \
               protocols=OpenFlow15";
    stock.vsctl(add).unwrap();
    let file = stock.path("bundle");
    let file = file.to_str().unwrap();
    let run = |args: &[&str]| {
        let all = [&["-O", "OpenFlow15", "-vconsole:off"][..], args].concat();
        stock.output("ovs-ofctl", &all).unwrap()
    };
    let bundles = std::env::var("SLUICE_STOCK_OPS").ok();
    let bundles: usize = bundles.and_then(|n| n.parse().ok()).unwrap_or(60);
    let mut random = Random(0x0b0e_d1e5);
    let mut ours = Ours::new();
    let (mut refused, mut compared) = (0, 0);
    for _ in 0..bundles {
        let mut lines: Vec<String> = (0..1 + random.below(6))
            .map(|_| line(&mut random))
            .collect();
        // ovs-vswitchd 3.1 ends when a deletion of groups is undone: none comes before what may
        // be refused.
        let last = lines.pop();
        lines.retain(|line| !line.starts_with("group delete"));
        lines.extend(last);
        std::fs::write(file, lines.join("\n") + "\n").unwrap();
        let output = run(&["bundle", "br0", file]);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        let theirs = (!output.status.success()).then(|| {
            let error = stderr.split_once("Error ").map(|(_, rest)| rest);
            let name = error.and_then(|e| e.split_whitespace().next());
            name.unwrap_or_else(|| panic!("{lines:#?}: {stderr}"))
                .to_owned()
        });
        let answer = ours.bundle(&lines).map(|error| error.name().to_owned());
        assert_eq!(answer, theirs, "{lines:#?} {stderr}");
        refused += usize::from(answer.is_some());
        let mut dump = Vec::new();
        for args in [
            &["--no-stats", "dump-flows", "br0"][..],
            &["dump-groups", "br0"],
        ] {
            let output = run(args);
            assert!(output.status.success(), "after {lines:#?}: {output:?}");
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let lines = text.lines().filter(|line| !line.starts_with("OFPST"));
            dump.extend(lines.map(str::to_owned));
        }
        dump.sort();
        compared += dump.len();
        assert_eq!(ours.dump(), dump, "after {lines:#?}");
    }
    println!("{bundles} bundles, {refused} refused alike, {compared} lines compared");
    assert!(refused < bundles * 9 / 10 && compared > bundles);
}
