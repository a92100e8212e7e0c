//! Groups and meters as a controller changes and asks for them.
//!
//! The answers are those that ovs-vswitchd 3.1 gave to the same requests.

use std::time::{Duration, Instant};

use bytes::Bytes;
use ofproto::conn::{ConnId, ConnKind};
use ofproto::meter::Change;
use ofproto::ofproto::{Effect, Ofproto};
use ofproto::snapshot::{BridgeId, FailMode};
use openflow::message::{
    ErrorMessage, FlowModCommand, GROUP_ALL, GroupCommand, METER_ALL, MeterCommand,
};
use openflow::text::{Names, flow, group, meter};
use openflow::{EthAddr, Message, OfError, Version};
use packet::DpMeter;
use packet::meter::{BandAction, MeterCounters};

struct Rig {
    ofproto: Ofproto,
    bridge: BridgeId,
    conn: ConnId,
    now: Instant,
}

impl Rig {
    fn new() -> Rig {
        let now = Instant::now();
        let mut ofproto = Ofproto::new(3);
        let bridge = ofproto
            .bridge_add("br0", 1, EthAddr::ZERO, FailMode::Secure, now)
            .unwrap();
        let conn = ofproto
            .conn_open(bridge, ConnKind::Controller, Version::Of13, now)
            .unwrap();
        Rig {
            ofproto,
            bridge,
            conn,
            now,
        }
    }

    fn effects(&mut self, message: Message) -> Vec<Effect> {
        self.ofproto
            .handle_message(self.conn, 7, message, &Bytes::new(), self.now);
        std::iter::from_fn(|| self.ofproto.poll_effect()).collect()
    }

    /// The messages that come back.
    fn ask(&mut self, message: Message) -> Vec<Message> {
        let effects = self.effects(message).into_iter();
        let sent = effects.filter_map(|effect| match effect {
            Effect::Send { message, .. } => Some(message),
            _ => None,
        });
        sent.collect()
    }

    /// The error that comes back, if any.
    fn error(&mut self, message: Message) -> Option<OfError> {
        match self.ask(message).first() {
            Some(Message::Error(ErrorMessage::Known { error, .. })) => Some(*error),
            _ => None,
        }
    }

    fn group(&mut self, command: GroupCommand, text: &str) -> Option<OfError> {
        let parsed = group::parse(text, command, &Names::none());
        self.error(Message::GroupMod(parsed.unwrap()))
    }

    fn meter(&mut self, command: MeterCommand, text: &str) -> Vec<Effect> {
        let parsed = meter::parse(text, command);
        self.effects(Message::MeterMod(parsed.unwrap()))
    }

    fn flow(&mut self, text: &str) -> Option<OfError> {
        let parsed = flow::parse_flow_mod(text, FlowModCommand::Add, &Names::none());
        let mut fm = parsed.unwrap().value;
        fm.table_id.get_or_insert(0);
        self.error(Message::FlowMod(fm))
    }

    fn flows(&self) -> usize {
        self.ofproto.tables(self.bridge).unwrap().len()
    }

    /// The bucket numbers of a group, in order.
    fn buckets(&mut self, group_id: u32) -> Vec<u32> {
        match self.ask(Message::GroupDescRequest { group_id }).remove(0) {
            Message::GroupDescReply(groups) => groups
                .iter()
                .flat_map(|g| &g.buckets)
                .map(|b| b.id)
                .collect(),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn groups_are_added_modified_and_deleted() {
    use GroupCommand::{Add, AddOrModify, Delete, Modify};
    let mut r = Rig::new();
    let one = "group_id=1,type=all,bucket=1,bucket=group:99";
    assert_eq!(r.group(Modify, one), Some(OfError::GmfcUnknownGroup));
    assert_eq!(r.group(Add, one), None);
    assert_eq!(r.group(Add, one), Some(OfError::GmfcGroupExists));
    assert_eq!(r.group(Modify, "group_id=1,type=select,bucket=2"), None);
    assert_eq!(r.group(AddOrModify, one), None);
    assert_eq!(r.group(AddOrModify, "group_id=2,type=all"), None);
    assert_eq!(
        r.group(Add, "group_id=all,type=all"),
        Some(OfError::GmfcInvalidGroup)
    );
    assert_eq!(r.group(Delete, "group_id=77"), None);
    assert_eq!(r.group(Delete, "group_id=1"), None);
    let stats = r.ask(Message::GroupStatsRequest {
        group_id: GROUP_ALL,
    });
    let [Message::GroupStatsReply(stats)] = &stats[..] else {
        panic!("{stats:?}");
    };
    assert_eq!(stats.iter().map(|s| s.group_id).collect::<Vec<_>>(), [2]);
    assert_eq!(r.group(Delete, ""), None);
    let none = r.ask(Message::GroupDescRequest {
        group_id: GROUP_ALL,
    });
    assert_eq!(none, [Message::GroupDescReply(Vec::new())]);
}

#[test]
fn loops_are_refused() {
    use GroupCommand::{Add, Modify};
    let mut r = Rig::new();
    let to = |from: u32, to: u32| format!("group_id={from},type=all,bucket=1,bucket=group:{to}");
    assert_eq!(r.group(Add, &to(1, 1)), Some(OfError::GmfcLoop));
    assert_eq!(r.group(Add, &to(1, 2)), None);
    assert_eq!(r.group(Add, &to(2, 3)), None);
    assert_eq!(r.group(Add, &to(3, 1)), Some(OfError::GmfcLoop));
    assert_eq!(r.group(Add, &to(3, 4)), None);
    assert_eq!(r.group(Modify, &to(3, 2)), Some(OfError::GmfcLoop));
    // Two ways to one group are no loop.
    assert_eq!(
        r.group(Add, "group_id=5,type=all,bucket=group:2,bucket=group:3"),
        None
    );
}

#[test]
fn buckets_are_inserted_and_removed() {
    use GroupCommand::{Add, InsertBucket, RemoveBucket};
    let mut r = Rig::new();
    let insert = |at: &str, id: u32| {
        format!("group_id=1,command_bucket_id={at},bucket=bucket_id:{id},actions=2")
    };
    let remove = |at: &str| format!("group_id=1,command_bucket_id={at}");
    assert_eq!(
        r.group(InsertBucket, &insert("last", 1)),
        Some(OfError::GmfcUnknownGroup)
    );
    assert_eq!(
        r.group(Add, "group_id=1,type=select,bucket=bucket_id:5,1"),
        None
    );
    assert_eq!(r.group(InsertBucket, &insert("5", 6)), None);
    assert_eq!(r.group(InsertBucket, &insert("first", 7)), None);
    assert_eq!(
        r.group(InsertBucket, &insert("last", 7)),
        Some(OfError::GmfcBucketExists)
    );
    assert_eq!(
        r.group(InsertBucket, &insert("99", 8)),
        Some(OfError::GmfcUnknownBucket)
    );
    assert_eq!(r.group(InsertBucket, &insert("5", 8)), None);
    assert_eq!(r.buckets(1), [7, 5, 8, 6]);
    assert_eq!(
        r.group(RemoveBucket, &remove("77")),
        Some(OfError::GmfcUnknownBucket)
    );
    assert_eq!(r.group(RemoveBucket, &remove("8")), None);
    assert_eq!(r.group(RemoveBucket, &remove("last")), None);
    assert_eq!(r.buckets(1), [7, 5]);
    assert_eq!(r.group(RemoveBucket, &remove("first")), None);
    assert_eq!(r.buckets(1), [5]);
    assert_eq!(r.group(RemoveBucket, "group_id=1"), None);
    assert_eq!(r.buckets(1), []);
    assert_eq!(r.group(RemoveBucket, &remove("first")), None);
}

#[test]
fn flows_go_with_their_group() {
    use GroupCommand::{Add, Delete};
    let mut r = Rig::new();
    assert_eq!(
        r.flow("in_port=1,actions=group:1"),
        Some(OfError::BacBadOutGroup)
    );
    assert_eq!(
        r.flow("in_port=1,actions=write_actions(group:1)"),
        Some(OfError::BacBadOutGroup)
    );
    assert_eq!(r.group(Add, "group_id=1,type=all,bucket=1"), None);
    assert_eq!(r.group(Add, "group_id=2,type=all,bucket=1"), None);
    for flow in [
        "in_port=1,send_flow_rem,actions=group:1",
        "in_port=2,actions=write_actions(group:1)",
        "in_port=3,actions=group:2,group:1,group:1",
        "in_port=4,actions=group:2",
        "in_port=5,actions=output:1",
        // Takes the place of the flow before it.
        "in_port=5,actions=group:2",
    ] {
        assert_eq!(r.flow(flow), None, "{flow}");
    }
    let stats = r.ask(Message::GroupStatsRequest {
        group_id: GROUP_ALL,
    });
    let [Message::GroupStatsReply(stats)] = &stats[..] else {
        panic!("{stats:?}");
    };
    let refs: Vec<_> = stats.iter().map(|s| (s.group_id, s.ref_count)).collect();
    assert_eq!(refs, [(1, 3), (2, 3)]);
    let parsed = group::parse("group_id=1", Delete, &Names::none()).unwrap();
    let told = r.ask(Message::GroupMod(parsed));
    let [Message::FlowRemoved(removed)] = &told[..] else {
        panic!("{told:?}");
    };
    assert_eq!(
        removed.reason,
        openflow::message::FlowRemovedReason::GroupDelete
    );
    assert_eq!(r.flows(), 2);
    assert_eq!(r.group(Delete, ""), None);
    assert_eq!(r.flows(), 0);
}

fn drop(rate: u32, burst: u32) -> dpif::MeterBand {
    let action = BandAction::Drop;
    dpif::MeterBand {
        rate,
        burst,
        action,
    }
}

#[test]
fn meters_are_the_datapaths() {
    use MeterCommand::{Add, Delete, Modify};
    let mut r = Rig::new();
    let one = "meter=9,kbps,bands=type=drop,rate=1000";
    let set = |meter, unit, rate, burst| {
        Effect::ChangeMeter(Change::Set(
            DpMeter(meter),
            dpif::MeterConfig {
                unit,
                bands: vec![drop(rate, burst)],
            },
        ))
    };
    use packet::meter::MeterUnit::{Kilobits, Packets};
    // Without a burst of its own, that of a second.
    assert_eq!(r.meter(Add, one), [set(1, Kilobits, 1000, 1000)]);
    let two = "meter=10,pktps,burst,stats,bands=type=drop,rate=50,burst_size=5";
    assert_eq!(r.meter(Add, two), [set(2, Packets, 50, 5)]);
    let modified = "meter=9,pktps,bands=type=drop,rate=3";
    assert_eq!(r.meter(Modify, modified), [set(1, Packets, 3, 3)]);
    assert_eq!(
        r.flow("in_port=1,actions=meter:8,1"),
        Some(OfError::MmfcInvalidMeter)
    );
    assert_eq!(r.flow("in_port=1,actions=meter:9,1"), None);
    assert_eq!(r.flow("in_port=2,actions=meter:10,1"), None);

    let effects = r.effects(Message::MeterStatsRequest {
        meter_id: METER_ALL,
    });
    let [Effect::ReadMeterStats { conn, xid, meters }] = &effects[..] else {
        panic!("{effects:?}");
    };
    assert_eq!(meters[..], [(9, Some(DpMeter(1))), (10, Some(DpMeter(2)))]);
    let mut counted = MeterCounters::default();
    for band in [None, Some(0), None, Some(0), None] {
        counted.count(100, band);
    }
    let later = r.now + Duration::from_millis(1500);
    let stats: Vec<_> = meters.iter().map(|(id, _)| (*id, counted)).collect();
    r.ofproto.handle_meter_stats(*conn, *xid, &stats, later);
    let Some(Effect::Send { message, .. }) = r.ofproto.poll_effect() else {
        panic!("no answer");
    };
    let Message::MeterStatsReply(stats) = message else {
        panic!("{message:?}");
    };
    assert_eq!((stats[0].meter_id, stats[0].flow_count), (9, 1));
    assert_eq!(stats[0].duration, Duration::from_millis(1500));
    assert_eq!((stats[0].input.packets, stats[0].bands[0].bytes), (5, 200));
    assert_eq!(stats[0].bands.len(), 1);

    let gone = r.meter(Delete, "meter=9");
    assert_eq!(gone[..], [Effect::ChangeMeter(Change::Delete(DpMeter(1)))]);
    assert_eq!(r.flows(), 1);
    // The number rests.
    assert_eq!(r.meter(Add, one), [set(3, Kilobits, 1000, 1000)]);
    assert_eq!(r.meter(Delete, "meter=all").len(), 2);
    assert_eq!(r.flows(), 0);
}

#[test]
fn bands_go_to_the_datapath_in_their_order() {
    use MeterCommand::Add;
    let mut r = Rig::new();
    let text = "meter=1,kbps,burst,bands=type=dscp_remark,rate=100,burst_size=7,prec_level=2,\
                type=drop,rate=300,burst_size=8";
    let effects = r.meter(Add, text);
    let [Effect::ChangeMeter(Change::Set(number, config))] = &effects[..] else {
        panic!("{effects:?}");
    };
    let remark = dpif::MeterBand {
        rate: 100,
        burst: 7,
        action: BandAction::Remark(2),
    };
    assert_eq!(config.bands, [remark, drop(300, 8)]);

    // Each band has a count of its own.
    let mut counted = MeterCounters::default();
    for band in [Some(1), Some(0), None, Some(1)] {
        counted.count(100, band);
    }
    assert_eq!(*number, DpMeter(1));
    let (conn, now) = (r.conn, r.now);
    r.ofproto.handle_meter_stats(conn, 1, &[(1, counted)], now);
    let Some(Effect::Send { message, .. }) = r.ofproto.poll_effect() else {
        panic!("no answer");
    };
    let Message::MeterStatsReply(stats) = message else {
        panic!("{message:?}");
    };
    assert_eq!(stats[0].input.packets, 4);
    let bands = stats[0].bands.iter().map(|b| (b.packets, b.bytes));
    assert_eq!(bands.collect::<Vec<_>>(), [(1, 100), (2, 200)]);

    // As many as there can be.
    let eight = "type=dscp_remark,rate=5,prec_level=1,".repeat(8);
    let effects = r.meter(Add, &format!("meter=2,pktps,bands={eight}"));
    let [Effect::ChangeMeter(Change::Set(_, config))] = &effects[..] else {
        panic!("{effects:?}");
    };
    assert_eq!(config.bands.len(), 8);
    let features = r.ask(Message::MeterFeaturesRequest);
    let [Message::MeterFeaturesReply(features)] = &features[..] else {
        panic!("{features:?}");
    };
    assert_eq!((features.max_bands, features.max_color), (8, 0));
    assert_eq!(features.band_types, 0b110);

    // Packets for userspace are counted by such a band, and go on as they came.
    let text = "meter=slowpath,pktps,bands=type=dscp_remark,rate=5,prec_level=2";
    let effects = r.meter(Add, text);
    let [Effect::ChangeMeter(Change::Set(_, config))] = &effects[..] else {
        panic!("{effects:?}");
    };
    assert_eq!(config.bands[0].action, BandAction::Remark(0));
}

#[test]
fn bad_meters() {
    use MeterCommand::{Add, Modify};
    let mut r = Rig::new();
    let mut error = |command, text: &str, change: fn(&mut openflow::message::MeterMod)| {
        let mut parsed = meter::parse(text, command).unwrap();
        change(&mut parsed);
        r.error(Message::MeterMod(parsed))
    };
    let one = "meter=1,kbps,bands=type=drop,rate=5";
    let none = |_: &mut _| ();
    assert_eq!(error(Modify, one, none), Some(OfError::MmfcUnknownMeter));
    assert_eq!(error(Add, one, none), None);
    assert_eq!(error(Add, one, none), Some(OfError::MmfcMeterExists));
    assert_eq!(
        error(Add, "meter=all,kbps,bands=type=drop,rate=5", none),
        Some(OfError::MmfcInvalidMeter)
    );
    let nine = "type=drop,rate=5,".repeat(9);
    assert_eq!(
        error(Add, &format!("meter=2,kbps,bands={nine}"), none),
        Some(OfError::MmfcOutOfBands)
    );
    for (want, change) in [
        (
            OfError::MmfcInvalidMeter,
            (|m| m.meter.meter_id = 0) as fn(&mut openflow::message::MeterMod),
        ),
        (OfError::MmfcInvalidMeter, |m| {
            m.meter.meter_id = 0xffff_0001
        }),
        (OfError::MmfcBadFlags, |m| m.meter.flags.0 = 0),
        (OfError::MmfcBadFlags, |m| m.meter.flags.0 = 8),
        (OfError::MmfcBadFlags, |m| m.meter.flags.0 = 0x101),
        (OfError::MmfcOutOfBands, |m| m.meter.bands.clear()),
        (OfError::MmfcBadRate, |m| m.meter.bands[0].rate = 0),
        (OfError::MmfcBadRate, |m| {
            let mut second = m.meter.bands[0].clone();
            second.rate = 0;
            m.meter.bands.push(second);
        }),
        (OfError::MmfcBadBand, |m| {
            m.meter.bands[0].action = openflow::message::BandAction::Experimenter {
                experimenter: 0x2320,
                data: Bytes::new(),
            }
        }),
    ] {
        let text = "meter=2,kbps,bands=type=drop,rate=5";
        assert_eq!(error(Add, text, change), Some(want), "{want}");
    }
    assert_eq!(
        r.error(Message::MeterConfigRequest { meter_id: 99 }),
        Some(OfError::MmfcUnknownMeter)
    );
    assert_eq!(
        r.error(Message::MeterStatsRequest { meter_id: 99 }),
        Some(OfError::MmfcUnknownMeter)
    );
}

/// A meter is an action of packet-outs in 1.5; in a bucket it is not carried out.
#[test]
fn meters_as_actions() {
    let mut r = Rig::new();
    let bucket = "group_id=1,type=all,bucket=meter:1,1,bucket=2";
    assert_eq!(
        r.group(GroupCommand::Add, bucket),
        Some(OfError::BacBadType)
    );
    let text = "in_port=CONTROLLER packet=0001020304050607080910111213 actions=meter:1,1";
    let request = flow::parse_packet_out(text, &Names::none()).unwrap();
    let request = Message::PacketOut(request);
    assert_eq!(r.error(request.clone()), Some(OfError::MmfcInvalidMeter));
    r.meter(MeterCommand::Add, "meter=1,kbps,bands=type=drop,rate=5");
    assert!(matches!(r.effects(request)[..], [Effect::PacketOut(_)]));
}
