//! The parts of `docs/support.md` on OpenFlow: fields, actions and messages. Each state is what
//! the parsers, the decoder and the checks of flow-mods answer, not what a list says.

use std::time::Instant;

use ofproto::action_check::{Known, check_flow_mod};
use ofproto::conn::ConnKind;
use ofproto::group::Groups;
use ofproto::meter::{Meters, Numbers};
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
    // The group and the meter that the flows name.
    let now = std::time::Instant::now();
    let (mut groups, mut meters) = (Groups::default(), Meters::default());
    let group_mod = openflow::text::group::parse(
        "group_id=1,type=all,bucket=output:1",
        openflow::message::GroupCommand::Add,
        &names,
    );
    groups.group_mod(&group_mod.unwrap(), now).unwrap();
    let meter_mod = openflow::text::meter::parse(
        "meter=1,kbps,bands=type=drop,rate=1",
        openflow::message::MeterCommand::Add,
    );
    let mut numbers = Numbers::default();
    meters
        .meter_mod(&meter_mod.unwrap(), &mut numbers, now)
        .unwrap();
    let known = Known {
        groups: &groups,
        meters: &meters,
    };
    let checked = check_flow_mod(&parsed, Version::Of13, known);
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

/// The error by which a bridge says that it does not serve messages of this kind.
///
/// The body is of zeros, as long as the decoder wants it.
fn answer(kind: codec::Kind, version: Version) -> Option<OfError> {
    let header = codec::encode_empty(kind, version).expect("the version has it");
    let decoded = (0..=MOST_OF_A_BODY).find_map(|more| {
        let mut bytes = header.clone();
        bytes.resize(header.len() + more, 0);
        let len = u16::try_from(bytes.len()).expect("short");
        bytes[2..4].copy_from_slice(&len.to_be_bytes());
        codec::decode(&bytes, &Dialect::from(version)).ok()
    });
    // A body of zeros says nothing, but the kind is known.
    let message = decoded?.message;
    let now = Instant::now();
    let mut ofproto = Ofproto::new(1);
    let bridge = ofproto
        .bridge_add("br0", 1, EthAddr::ZERO, FailMode::Secure, now)
        .expect("the first one");
    let conn = ofproto
        .conn_open(bridge, ConnKind::Service, version, now)
        .expect("the bridge is there");
    ofproto.handle_message(conn, 1, message, &header.into(), now);
    std::iter::from_fn(|| ofproto.poll_effect()).find_map(|effect| match effect {
        Effect::Send {
            message:
                Message::Error(ErrorMessage::Known {
                    error:
                        error @ (OfError::BrcBadType
                        | OfError::BrcBadStat
                        | OfError::BrcBadVendor
                        | OfError::BrcBadSubtype
                        | OfError::NxstNotConfigured),
                    ..
                }),
            ..
        } => Some(error),
        _ => None,
    })
}

/// Bytes after which a decoder has all that it needs.
const MOST_OF_A_BODY: usize = 128;

/// `1.0 to 1.3`
fn version_range(versions: &[Version]) -> String {
    let name = |v: Option<&Version>| v.map_or(String::new(), |v| format!("1.{}", v.wire() - 1));
    match versions {
        [only] => name(Some(only)),
        many => format!("{} to {}", name(many.first()), name(many.last())),
    }
}

#[test]
fn messages() {
    let mut rows = Vec::new();
    for kind in codec::Kind::all().filter(|k| k.way() != codec::Way::Reply) {
        let all = Version::ALL.iter().copied();
        let versions: Vec<Version> = all.filter(|v| kind.is_in(*v)).collect();
        let mut answers = versions.iter().map(|v| answer(kind, *v));
        let error = answers.next().expect("a version has it");
        assert!(answers.all(|a| a == error), "{}", kind.name());
        rows.push(vec![
            kind.name().to_owned(),
            version_range(&versions),
            state(error.is_none()),
            error.map_or(String::new(), |error| error.name().to_owned()),
        ]);
    }
    let text = table(&["Message", "OpenFlow", "State", "Answer"], rows);
    check_part("messages", &text).unwrap();
}
