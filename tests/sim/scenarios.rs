//! Stories of a switch: what hosts, controllers and operators do, one thing after another.

use dpif::Dpif;
use ofproto::conn::ConnKind;
use ofproto::port::VlanConf;
use ofproto::revalidate::Revalidator;
use ofproto::snapshot::FailMode;
use openflow::message::{Message, NO_BUFFER, PacketInReason, PacketOut};
use openflow::{Action, EthAddr, OfPort, Version};

use crate::rig::{Rig, key};

fn eth(port: u32, src: u8, dst: u8) -> String {
    format!(
        "in_port({port}),eth(src=02:00:00:00:00:{src:02x},dst=02:00:00:00:00:{dst:02x}),\
         eth_type(0x88b5)"
    )
}

#[test]
fn a_fresh_bridge_is_a_learning_switch() {
    let mut rig = Rig::new();
    let br0 = rig.bridge("br0", FailMode::Standalone);
    for n in 1..=3 {
        rig.port(br0, n, VlanConf::trunk_all());
    }
    rig.give(&eth(1, 1, 2));
    assert_eq!(rig.ports_reached(), [2, 3], "not known where 2 is");
    rig.give(&eth(2, 2, 1));
    assert_eq!(rig.ports_reached(), [1]);
    rig.give(&eth(1, 1, 2));
    rig.sweep();
    rig.give(&eth(1, 1, 2));
    rig.give(&eth(1, 1, 2));
    let reached: Vec<usize> = [2, 3].iter().map(|p| rig.taken(*p).len()).collect();
    assert_eq!(reached[0], 3);
    // Host 2 moves; its first packet tells.
    rig.give(&eth(3, 2, 1));
    rig.ports_reached();
    rig.sweep();
    rig.give(&eth(1, 1, 2));
    assert_eq!(rig.ports_reached(), [3]);
    // Silence: everything is forgotten.
    rig.wait(301);
    assert!(rig.megaflows().is_empty());
    rig.give(&eth(1, 1, 2));
    assert_eq!(rig.ports_reached(), [2, 3]);
}

#[test]
fn traffic_keeps_stations_and_rules_alive() {
    let mut rig = Rig::new();
    let br0 = rig.bridge("br0", FailMode::Secure);
    for n in 1..=2 {
        rig.port(br0, n, VlanConf::trunk_all());
    }
    rig.flows(
        br0,
        "idle_timeout=5,in_port=1,actions=normal
         idle_timeout=5,in_port=2,actions=normal",
    );
    rig.give(&eth(2, 2, 1));
    assert_eq!(rig.ports_reached(), [1]);
    for _ in 0..200 {
        rig.give(&eth(1, 1, 2));
        rig.wait(2);
    }
    assert!(rig.taken(2).len() == 200, "the cache answers all along");
    let macs = rig.ofproto.macs(br0).expect("the bridge is there");
    assert_eq!(macs.lookup(0, EthAddr([2, 0, 0, 0, 0, 1])), Some(OfPort(1)));
    assert_eq!(macs.lookup(0, EthAddr([2, 0, 0, 0, 0, 2])), None);
    let tables = rig.ofproto.tables(br0).expect("the bridge is there");
    assert_eq!(tables.len(), 1, "the rule without traffic is gone");
    rig.give(&eth(2, 2, 1));
    assert_eq!(rig.ports_reached(), [] as [u32; 0]);
}

#[test]
fn a_barrier_reply_means_what_it_says() {
    let mut rig = Rig::new();
    let br0 = rig.bridge("br0", FailMode::Secure);
    for n in 1..=3 {
        rig.port(br0, n, VlanConf::trunk_all());
    }
    rig.flows(br0, "actions=2");
    rig.give(&eth(1, 1, 2));
    assert_eq!(rig.ports_reached(), [2]);
    // `flows` ends with a barrier; no sweep is due.
    rig.flows(br0, "actions=3");
    rig.give(&eth(1, 1, 2));
    assert_eq!(rig.ports_reached(), [3]);
    rig.flows(br0, "delete");
    rig.give(&eth(1, 1, 2));
    assert_eq!(rig.ports_reached(), [] as [u32; 0]);
}

#[test]
fn a_controller_sees_misses_and_sends_packets() {
    let mut rig = Rig::new();
    let br0 = rig.bridge("br0", FailMode::Secure);
    for n in 1..=2 {
        rig.port(br0, n, VlanConf::trunk_all());
    }
    let controller = rig.connect(br0, ConnKind::Controller, Version::Of13);
    rig.settle();
    rig.sent.clear();
    rig.give(&eth(1, 1, 2));
    assert!(rig.sent.is_empty(), "1.3 wants a table-miss entry");
    rig.flows(br0, "priority=0,actions=set_field:7->reg1,controller:65535");
    rig.give(&eth(1, 1, 2));
    let Some((to, Message::PacketIn(p))) = rig.sent.pop() else {
        panic!("{:?}", rig.sent);
    };
    assert_eq!((to, p.reason), (controller, PacketInReason::NoMatch));
    assert_eq!(p.data.len(), 14);
    assert_eq!(p.metadata.in_port(), Some(OfPort(1)));
    assert_eq!(p.metadata.get_exact(openflow::Field::Reg1), Some(7));

    let out = PacketOut {
        buffer_id: NO_BUFFER,
        in_port: OfPort::CONTROLLER,
        metadata: openflow::Match::new().with(openflow::Field::Reg1, 3),
        actions: vec![Action::SetVlanVid(5), Action::output(OfPort(2))],
        data: p.data.clone(),
    };
    rig.message(controller, Message::PacketOut(out));
    let taken = rig.taken(2);
    assert_eq!(taken.len(), 1);
    assert!(taken[0].contains("vlan(vid=5,pcp=0)"), "{taken:?}");

    // Every packet goes up; the cache only says so.
    rig.give(&eth(1, 1, 2));
    rig.give(&eth(1, 1, 2));
    assert_eq!(rig.sent.len(), 2);
    assert_eq!(rig.megaflows().len(), 1);
}

#[test]
fn packets_cross_patches_and_come_back_as_they_were() {
    let mut rig = Rig::new();
    let (a, b) = (
        rig.bridge("a", FailMode::Secure),
        rig.bridge("b", FailMode::Secure),
    );
    for n in 1..=2 {
        rig.port(a, n, VlanConf::trunk_all());
    }
    rig.port(b, 3, VlanConf::access(20));
    rig.port(b, 4, VlanConf::access(30));
    rig.patch((a, 10), (b, 10));
    rig.flows(a, "actions=mod_vlan_vid:20,output:10,strip_vlan,output:2");
    rig.flows(b, "actions=normal");
    rig.give(&eth(1, 1, 2));
    assert_eq!(rig.taken(3).len(), 1);
    assert!(rig.taken(4).is_empty());
    let out = rig.taken(2);
    assert!(!out[0].contains("vlan"), "{out:?}");
    // The patch ports count, also what the cache did.
    for _ in 0..4 {
        rig.give(&eth(1, 1, 2));
    }
    rig.sweep();
    let snapshot = rig.ofproto.publish();
    let count = |bridge, port: u32| {
        let bridge = snapshot.bridge(bridge).expect("the bridge is there");
        bridge.port(OfPort(port)).expect("the port").counters.get()
    };
    assert_eq!(count(a, 10).tx_packets, 5);
    assert_eq!(count(b, 10).rx_packets, 5);
}

#[test]
fn a_new_process_keeps_the_cache() {
    let mut rig = Rig::new();
    let br0 = rig.bridge("br0", FailMode::Secure);
    for n in 1..=3 {
        rig.port(br0, n, VlanConf::trunk_all());
    }
    rig.flows(
        br0,
        "in_port=1,actions=2\nin_port=2,dl_src=02:00:00:00:00:02,actions=1",
    );
    rig.give(&eth(1, 1, 2));
    rig.give(&eth(2, 2, 1));
    let before = rig.megaflows();
    let missed = rig.sim.stats().expect("statistics").missed;
    rig.revalidator = Revalidator::new();
    rig.give(&eth(1, 1, 2));
    let counts = rig.sweep();
    assert_eq!((counts.adopted, counts.kept), (2, 2));
    assert_eq!(rig.megaflows(), before);
    rig.give(&eth(1, 1, 2));
    assert_eq!(rig.sim.stats().expect("statistics").missed, missed);
    rig.flows(br0, "in_port=1,actions=3");
    rig.ports_reached();
    rig.give(&eth(1, 1, 2));
    assert_eq!(rig.ports_reached(), [3]);
}

#[test]
fn keys_and_frames_agree() {
    let k = key(&eth(1, 1, 2));
    let packet = dpif::Packet {
        data: dpif::compose::compose(&k),
        ..dpif::Packet::default()
    };
    assert_eq!(dpif::sim::key_of(k.in_port(), &packet), Some(k));
}
