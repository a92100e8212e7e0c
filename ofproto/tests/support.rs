//! The parts of `docs/support.md` on OpenFlow: fields, actions and messages. Each state is what
//! the parsers, the decoder and the checks of flow-mods answer, not what a list says.

use std::time::Instant;

use bytes::Bytes;
use ofproto::action_check::check_flow_mod;
use ofproto::conn::ConnKind;
use ofproto::ofproto::{Effect, Ofproto};
use ofproto::snapshot::FailMode;
use openflow::codec::{self, Dialect};
use openflow::field::{Access, Field, Maskable};
use openflow::message::{ErrorMessage, FlowModCommand};
use openflow::text::Names;
use openflow::text::flow::parse_flow_mod;
use openflow::{Message, OfError, Version};
use packet::EthAddr;
use tests::support::{check_part, table};

fn state(supported: bool) -> String {
    (if supported { "supported" } else { "refused" }).to_owned()
}

#[test]
fn fields() {
    let mut rows: Vec<Vec<String>> = Field::all()
        .iter()
        .filter(|info| !info.is_variable_len())
        .map(|info| {
            let names: Vec<&str> = info.wire.iter().map(|wire| wire.name).collect();
            let supported = info.is_supported();
            // The tools know every field that a message can carry.
            assert_eq!(
                Field::from_name(info.name).is_ok(),
                supported || !names.is_empty(),
                "{}",
                info.name
            );
            let mask = match info.maskable {
                Maskable::Exact => "exact",
                Maskable::Any => "any mask",
            };
            let access = match info.access {
                Access::ReadOnly => "match only",
                Access::ReadWrite => "match and set",
            };
            vec![
                info.name.to_owned(),
                state(supported),
                info.bits.to_string(),
                mask.to_owned(),
                access.to_owned(),
                names.join(", "),
            ]
        })
        .collect();
    for name in ["tun_metadata0", "tun_metadata63"] {
        let field = Field::from_name(name).unwrap();
        assert!(!field.info().is_supported());
    }
    let metadata = [
        "tun_metadata0 to tun_metadata63",
        "refused",
        "992",
        "any mask",
    ];
    let more = ["match and set", "NXM_NX_TUN_METADATA0 to 63"];
    rows.push(
        metadata
            .iter()
            .chain(&more)
            .map(|s| (*s).to_owned())
            .collect(),
    );
    let head = ["Field", "State", "Bits", "Mask", "Use", "Names on the wire"];
    check_part("fields", &table(&head, rows)).unwrap();
}

/// Each name of ovs-actions(7) in a flow.
const ACTIONS: &[(&str, &str)] = &[
    (
        "bundle",
        "actions=bundle(eth_src,0,active_backup,ofport,members:1,2)",
    ),
    (
        "bundle_load",
        "actions=bundle_load(eth_src,0,active_backup,ofport,reg0[],members:1,2)",
    ),
    (
        "check_pkt_larger",
        "actions=check_pkt_larger(1500)->reg0[0]",
    ),
    ("clear_actions", "actions=clear_actions"),
    ("clone", "actions=clone(output:1)"),
    ("conjunction", "actions=conjunction(1,1/2)"),
    ("controller", "actions=controller"),
    (
        "controller (reason, max_len, id)",
        "actions=controller(reason=action,max_len=64,id=1)",
    ),
    ("controller (userdata)", "actions=controller(userdata=00)"),
    ("controller (pause)", "actions=controller(pause)"),
    ("controller (meter_id)", "actions=controller(meter_id=1)"),
    ("ct", "ip,actions=ct(commit)"),
    ("ct_clear", "actions=ct_clear"),
    ("dec_mpls_ttl", "mpls,actions=dec_mpls_ttl"),
    ("dec_nsh_ttl", "actions=dec_nsh_ttl"),
    ("dec_ttl", "ip,actions=dec_ttl"),
    ("decap", "actions=decap"),
    ("delete_field", "actions=delete_field:tun_metadata0"),
    ("drop", "actions=drop"),
    ("encap", "actions=encap(ethernet)"),
    ("enqueue", "actions=enqueue(1,2)"),
    ("exit", "actions=exit"),
    ("fin_timeout", "tcp,actions=fin_timeout(idle_timeout=1)"),
    ("goto_table", "actions=goto_table:1"),
    ("group", "actions=group:1"),
    ("learn", "actions=learn(table=1)"),
    ("load", "actions=load:1->reg0[]"),
    ("meter", "actions=meter:1"),
    ("mod_dl_dst", "actions=mod_dl_dst:00:00:00:00:00:01"),
    ("mod_dl_src", "actions=mod_dl_src:00:00:00:00:00:01"),
    ("mod_nw_dst", "ip,actions=mod_nw_dst:10.0.0.1"),
    ("mod_nw_ecn", "ip,actions=mod_nw_ecn:1"),
    ("mod_nw_src", "ip,actions=mod_nw_src:10.0.0.1"),
    ("mod_nw_tos", "ip,actions=mod_nw_tos:4"),
    ("mod_nw_ttl", "ip,actions=mod_nw_ttl:4"),
    ("mod_tp_dst", "tcp,actions=mod_tp_dst:80"),
    ("mod_tp_src", "tcp,actions=mod_tp_src:80"),
    (
        "mod_vlan_pcp, set_vlan_pcp",
        "dl_vlan=1,actions=mod_vlan_pcp:1",
    ),
    (
        "mod_vlan_vid, set_vlan_vid",
        "dl_vlan=1,actions=mod_vlan_vid:1",
    ),
    ("move", "actions=move:reg0[]->reg1[]"),
    (
        "multipath",
        "actions=multipath(eth_src,0,modulo_n,1,0,reg0[])",
    ),
    ("nat", "ip,actions=nat"),
    ("note", "actions=note:01"),
    (
        "output, PORT, in_port, normal, flood, all, local",
        "actions=normal,flood,all,local,in_port,output:1",
    ),
    ("output:FIELD", "actions=output:reg0[0..15]"),
    ("output(port,max_len)", "actions=output(port=1,max_len=64)"),
    ("pop", "actions=pop:reg0[]"),
    ("pop_mpls", "mpls,actions=pop_mpls:0x0800"),
    ("pop_queue", "actions=pop_queue"),
    ("pop_vlan, strip_vlan", "dl_vlan=1,actions=pop_vlan"),
    ("push", "actions=push:reg0[]"),
    ("push_mpls", "ip,actions=push_mpls:0x8847"),
    ("push_vlan", "actions=push_vlan:0x8100"),
    ("resubmit", "actions=resubmit(,1)"),
    ("resubmit(...,ct)", "actions=resubmit(,1,ct)"),
    ("sample", "actions=sample(probability=1)"),
    ("set_field", "actions=set_field:1->reg0"),
    ("set_mpls_label", "mpls,actions=set_mpls_label:1"),
    ("set_mpls_tc", "mpls,actions=set_mpls_tc:1"),
    ("set_mpls_ttl", "mpls,actions=set_mpls_ttl:1"),
    ("set_queue", "actions=set_queue:1"),
    ("set_tunnel", "actions=set_tunnel:1"),
    ("set_tunnel64", "actions=set_tunnel64:1"),
    ("write_actions", "actions=write_actions(output:1)"),
    ("write_metadata", "actions=write_metadata:1"),
];

/// Why a flow is refused, if it is.
fn refusal(flow: &str) -> Option<String> {
    let names = Names::none();
    let mut parsed = match parse_flow_mod(flow, FlowModCommand::Add, &names) {
        Ok(parsed) => parsed.value,
        Err(error) => return Some(error.kind.to_string()),
    };
    parsed.table_id = Some(parsed.table_id.unwrap_or(0));
    let checked = check_flow_mod(&parsed, Version::Of13);
    checked.err().map(|error| error.name().to_owned())
}

#[test]
fn actions() {
    let rows = ACTIONS.iter().map(|(name, flow)| {
        let refusal = refusal(flow);
        vec![
            (*name).to_owned(),
            state(refusal.is_none()),
            refusal.unwrap_or_default(),
        ]
    });
    let text = table(&["Action", "State", "Answer"], rows);
    check_part("actions", &text).unwrap();
}

/// How a message says what it is, after its type.
#[derive(Clone, Copy)]
enum Kind {
    Plain,
    Multipart(u16),
    Nicira(u32),
    NiciraStats(u32),
    Onf(u32),
}

use Kind::{Multipart, Nicira, NiciraStats, Onf, Plain};

/// What controllers send in 1.0 and 1.3 and in Open vSwitch's extensions: wire version, type.
const MESSAGES: &[(&str, u8, u8, Kind)] = &[
    ("1.0, 1.3 OFPT_HELLO", 4, 0, Plain),
    ("1.0, 1.3 OFPT_ECHO_REQUEST", 4, 2, Plain),
    ("1.0, 1.3 OFPT_FEATURES_REQUEST", 4, 5, Plain),
    ("1.0, 1.3 OFPT_GET_CONFIG_REQUEST", 4, 7, Plain),
    ("1.0, 1.3 OFPT_SET_CONFIG", 4, 9, Plain),
    ("1.0, 1.3 OFPT_PACKET_OUT", 4, 13, Plain),
    ("1.0, 1.3 OFPT_FLOW_MOD", 4, 14, Plain),
    ("1.0, 1.3 OFPT_PORT_MOD", 4, 16, Plain),
    ("1.0, 1.3 OFPT_BARRIER_REQUEST", 4, 20, Plain),
    ("1.0, 1.3 OFPT_QUEUE_GET_CONFIG_REQUEST", 4, 22, Plain),
    ("1.3 OFPT_GROUP_MOD", 4, 15, Plain),
    ("1.3 OFPT_TABLE_MOD", 4, 17, Plain),
    ("1.3 OFPT_ROLE_REQUEST", 4, 24, Plain),
    ("1.3 OFPT_GET_ASYNC_REQUEST", 4, 26, Plain),
    ("1.3 OFPT_SET_ASYNC", 4, 28, Plain),
    ("1.3 OFPT_METER_MOD", 4, 29, Plain),
    ("1.0, 1.3 OFPMP_DESC", 4, 18, Multipart(0)),
    ("1.0, 1.3 OFPMP_FLOW", 4, 18, Multipart(1)),
    ("1.0, 1.3 OFPMP_AGGREGATE", 4, 18, Multipart(2)),
    ("1.0, 1.3 OFPMP_TABLE", 4, 18, Multipart(3)),
    ("1.0, 1.3 OFPMP_PORT_STATS", 4, 18, Multipart(4)),
    ("1.0, 1.3 OFPMP_QUEUE", 4, 18, Multipart(5)),
    ("1.3 OFPMP_GROUP", 4, 18, Multipart(6)),
    ("1.3 OFPMP_GROUP_DESC", 4, 18, Multipart(7)),
    ("1.3 OFPMP_GROUP_FEATURES", 4, 18, Multipart(8)),
    ("1.3 OFPMP_METER", 4, 18, Multipart(9)),
    ("1.3 OFPMP_METER_CONFIG", 4, 18, Multipart(10)),
    ("1.3 OFPMP_METER_FEATURES", 4, 18, Multipart(11)),
    ("1.3 OFPMP_TABLE_FEATURES (asking)", 4, 18, Multipart(12)),
    ("1.0, 1.3 OFPMP_PORT_DESC", 4, 18, Multipart(13)),
    ("1.0 NXST_FLOW", 1, 16, NiciraStats(0)),
    ("1.0 NXST_AGGREGATE", 1, 16, NiciraStats(1)),
    ("1.0 NXST_FLOW_MONITOR", 1, 16, NiciraStats(2)),
    ("NXST_IPFIX_BRIDGE", 1, 16, NiciraStats(3)),
    ("NXST_IPFIX_FLOW", 1, 16, NiciraStats(4)),
    ("NXT_ROLE_REQUEST", 1, 4, Nicira(10)),
    ("NXT_SET_FLOW_FORMAT", 1, 4, Nicira(12)),
    ("NXT_FLOW_MOD", 1, 4, Nicira(13)),
    ("NXT_FLOW_MOD_TABLE_ID", 1, 4, Nicira(15)),
    ("NXT_SET_PACKET_IN_FORMAT", 1, 4, Nicira(16)),
    ("NXT_FLOW_AGE", 1, 4, Nicira(18)),
    ("NXT_SET_ASYNC_CONFIG", 1, 4, Nicira(19)),
    ("NXT_SET_CONTROLLER_ID", 1, 4, Nicira(20)),
    ("NXT_FLOW_MONITOR_CANCEL", 1, 4, Nicira(21)),
    ("NXT_TLV_TABLE_MOD", 1, 4, Nicira(24)),
    ("NXT_TLV_TABLE_REQUEST", 1, 4, Nicira(25)),
    ("NXT_SET_ASYNC_CONFIG2", 1, 4, Nicira(27)),
    ("NXT_RESUME", 1, 4, Nicira(28)),
    ("NXT_CT_FLUSH_ZONE", 1, 4, Nicira(29)),
    ("NXT_CT_FLUSH", 1, 4, Nicira(32)),
    ("ONFT_FLOW_MONITOR_CANCEL", 4, 4, Onf(1870)),
    ("ONFT_BUNDLE_CONTROL", 4, 4, Onf(2300)),
    ("ONFT_BUNDLE_ADD_MESSAGE", 4, 4, Onf(2301)),
];

/// A message whose body is zero but for what says what it is.
fn message(version: u8, kind: u8, what: Kind, body: usize) -> Vec<u8> {
    let mut bytes = vec![version, kind, 0, 0, 0, 0, 0, 1];
    match what {
        Plain => {}
        Multipart(kind) => {
            bytes.extend(kind.to_be_bytes());
            bytes.extend([0; 6]);
        }
        Nicira(subtype) => {
            bytes.extend(0x2320u32.to_be_bytes());
            bytes.extend(subtype.to_be_bytes());
        }
        NiciraStats(subtype) => {
            bytes.extend([0xff, 0xff, 0, 0]);
            bytes.extend(0x2320u32.to_be_bytes());
            bytes.extend(subtype.to_be_bytes());
            bytes.extend([0; 4]);
        }
        Onf(subtype) => {
            bytes.extend(0x4f4e_4600u32.to_be_bytes());
            bytes.extend(subtype.to_be_bytes());
        }
    }
    bytes.resize(bytes.len() + body, 0);
    let len = u16::try_from(bytes.len()).expect("short").to_be_bytes();
    bytes[2..4].copy_from_slice(&len);
    bytes
}

/// The error that a message of this kind gets whatever its body is.
fn answer(version: u8, kind: u8, what: Kind) -> Option<OfError> {
    let version_ = Version::from_wire(version).expect("a version");
    let bytes = message(version, kind, what, 0);
    match codec::decode(&bytes, &Dialect::from(version_)) {
        Ok(decoded) => match decoded.message {
            Message::Refused(refused) => Some(refused.error),
            _ => None,
        },
        Err(error) => match error.error() {
            error @ (OfError::BrcBadType
            | OfError::BrcBadStat
            | OfError::BrcBadVendor
            | OfError::BrcBadSubtype) => Some(error),
            // A body is missing: the kind is known.
            _ => None,
        },
    }
}

/// The error that a bridge answers a message of 1.3 with.
fn answer_of_bridge(message: Message) -> OfError {
    let now = Instant::now();
    let mut ofproto = Ofproto::new(1);
    let mac = EthAddr([2, 0, 0, 0, 0, 1]);
    let bridge = ofproto.bridge_add("br0", 1, mac, FailMode::Secure, now);
    let bridge = bridge.expect("a bridge");
    let conn = ofproto.conn_open(bridge, ConnKind::Service, Version::Of13, now);
    let conn = conn.expect("a connection");
    ofproto.handle_message(conn, 1, message, &Bytes::new(), now);
    match ofproto.poll_effect() {
        Some(Effect::Send {
            message: Message::Error(ErrorMessage::Known { error, .. }),
            ..
        }) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn messages() {
    let mut rows: Vec<Vec<String>> = MESSAGES
        .iter()
        .map(|(name, version, kind, what)| {
            let error = answer(*version, *kind, *what);
            let text = error.map(|error| error.name().to_owned());
            vec![
                (*name).to_owned(),
                state(error.is_none()),
                text.unwrap_or_default(),
            ]
        })
        .collect();
    let mut bytes = message(4, 18, Multipart(12), 64);
    // The length of the only table in it.
    bytes[16..18].copy_from_slice(&64u16.to_be_bytes());
    let decoded = codec::decode(&bytes, &Dialect::from(Version::Of13)).expect("well-formed");
    let refusal = answer_of_bridge(decoded.message);
    rows.push(vec![
        "1.3 OFPMP_TABLE_FEATURES (changing)".to_owned(),
        state(false),
        refusal.name().to_owned(),
    ]);
    let text = table(&["Message", "State", "Answer"], rows);
    check_part("messages", &text).unwrap();
}
