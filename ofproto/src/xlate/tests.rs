//! Flow tables and a packet, to the megaflow and its actions, as text.

use openflow::Action as OfAction;
use openflow::message::PacketInReason;
use packet::action::SlowReason;
use packet::{Action, DpMeter, DropReason, EthAddr, OfPort};

use super::{Effect, Error, Miss, Start, XlateIn, xlate};
use crate::flow::Flow;
use crate::port::{VlanConf, VlanMode};
use crate::testing::{MAX_ACTIONS, Switch, key};

const TCP: &str = "in_port(1),eth(src=02:00:00:00:00:01,dst=02:00:00:00:00:02),eth_type(0x0800),\
    ipv4(src=10.0.0.1,dst=10.0.0.2,proto=6,tos=0,ttl=64,frag=no),tcp(src=1234,dst=80)";

fn one_bridge(flows: &str) -> Switch {
    let mut s = Switch::new();
    let br = s.bridge("br0");
    s.trunks(br, 4);
    s.flows(br, flows);
    s
}

#[test]
fn an_output_needs_what_the_rule_matches() {
    let mut s = one_bridge("in_port=1,actions=2,3\npriority=40000,tcp,tp_dst=22,actions=drop");
    s.check(
        TCP,
        "recirc_id(0),in_port(1),eth(),eth_type(0x0800),ipv4(proto=6,frag=no),tcp(dst=80/0xffc0)",
        "2,3",
    );
}

#[test]
fn overwritten_fields_stay_wild() {
    let mut s = one_bridge("actions=mod_dl_dst:02:00:00:00:00:09,2,load:5->NXM_NX_REG0[],3");
    s.check(
        TCP,
        "recirc_id(0),in_port(1),eth(),eth_type(0x0800),ipv4(frag=no)",
        "set(eth(dst=02:00:00:00:00:09)),2,3",
    );
}

#[test]
fn ttl_is_read() {
    let mut s = one_bridge("ip,actions=dec_ttl,2");
    s.check(
        TCP,
        "recirc_id(0),in_port(1),eth(),eth_type(0x0800),ipv4(ttl=64,frag=no)",
        "set(ipv4(ttl=63)),2",
    );
    let expired = TCP.replace("ttl=64", "ttl=1");
    let x = s.send(&expired);
    assert_eq!(x.slow, Some(SlowReason::Controller));
    let [Effect::PacketIn(p)] = x.effects.as_slice() else {
        panic!("{:?}", x.effects)
    };
    assert_eq!(p.reason, PacketInReason::InvalidTtl);
    assert_eq!(x.actions, []);
}

#[test]
fn resubmits_share_registers_and_end_with_exit() {
    let mut s = one_bridge(
        "table=0,actions=load:7->NXM_NX_REG1[0..15],resubmit(,1),2
         table=1,reg1=7,actions=resubmit(3,2),exit,4
         table=2,in_port=3,actions=4",
    );
    s.check(
        TCP,
        "recirc_id(0),in_port(1),eth(),eth_type(0x0800),ipv4(frag=no)",
        "4",
    );
}

#[test]
fn what_was_changed_is_put_back() {
    let mut s = Switch::new();
    let (a, b) = (s.bridge("a"), s.bridge("b"));
    s.trunks(a, 2);
    s.port(b, 5, VlanConf::trunk_all());
    s.patch((a, 10), (b, 10));
    s.flows(a, "actions=10,2");
    s.flows(b, "in_port=10,actions=mod_nw_dst:1.2.3.4,mod_vlan_vid:9,5");
    s.check(
        TCP,
        "recirc_id(0),in_port(1),eth(),eth_type(0x0800),ipv4(dst=10.0.0.2,frag=no)",
        "set(ipv4(dst=1.2.3.4)),push_vlan(vid=9,pcp=0),5,set(ipv4(dst=10.0.0.2)),pop_vlan,2",
    );
}

/// What a meter makes of the DSCP, the datapath alone knows.
#[test]
fn a_meter_that_re_marks_finds_and_leaves_the_dscp_in_order() {
    const REMARK: &str = "meter=1,pktps,bands=type=dscp_remark,rate=5,prec_level=1";
    const WILD: &str = "recirc_id(0),in_port(1),eth(),eth_type(0x0800),ipv4(frag=no)";
    const AF11: &str = "recirc_id(0),in_port(1),eth(),eth_type(0x0800),ipv4(tos=0x28/0xfc,frag=no)";
    let packet = TCP.replace("tos=0", "tos=0x28");
    for (flow, megaflow, actions) in [
        // Set before it, it is there before it; the meter's is kept behind it.
        (
            "ip,actions=set_field:10->ip_dscp,resubmit(,1)\ntable=1,actions=meter:1,2,3",
            WILD,
            "set(ipv4(tos=0x28/0xfc)),meter(1),2,3",
        ),
        (
            "ip,ip_dscp=10,actions=set_field:12->ip_dscp,resubmit(,1)
             table=1,ip,actions=meter:1,mod_nw_dst:1.2.3.4,2",
            AF11,
            "set(ipv4(tos=0x30/0xfc)),meter(1),set(ipv4(dst=1.2.3.4)),2",
        ),
        // Set behind it, it is set whatever the meter did.
        (
            "ip,ip_dscp=10,actions=meter:1,set_field:10->ip_dscp,2",
            AF11,
            "meter(1),set(ipv4(tos=0x28/0xfc)),2",
        ),
        (
            "ip,actions=set_field:10->ip_dscp,resubmit(,1)
             table=1,ip,actions=meter:1,2,set_field:10->ip_dscp,3",
            WILD,
            "set(ipv4(tos=0x28/0xfc)),meter(1),2,set(ipv4(tos=0x28/0xfc)),3",
        ),
        // Without one that may re-mark, nothing of this.
        (
            "ip,ip_dscp=10,actions=meter:2,set_field:10->ip_dscp,2",
            AF11,
            "meter(2),2",
        ),
    ] {
        let mut s = one_bridge(flow);
        let bridge = s.ofproto.bridge_by_name("br0").unwrap();
        s.meter(bridge, REMARK);
        s.meter(bridge, "meter=2,pktps,bands=type=drop,rate=5");
        s.check(&packet, megaflow, actions);
    }
}

/// A meter that a packet comes to behind a packet-in does not limit that.
#[test]
fn meters_before_a_packet_in_are_the_datapath_s() {
    for (flows, meters) in [
        ("actions=meter:1,controller,2", 1),
        (
            "actions=controller,resubmit(,1)\ntable=1,actions=meter:1,2",
            0,
        ),
        (
            "actions=meter:1,controller,resubmit(,1)\ntable=1,actions=meter:1,controller,2",
            1,
        ),
    ] {
        let mut s = one_bridge(flows);
        let bridge = s.ofproto.bridge_by_name("br0").unwrap();
        s.meter(bridge, "meter=1,pktps,bands=type=drop,rate=5");
        let x = s.send(TCP);
        let mut want = vec![Action::Meter(DpMeter(1)); meters];
        want.push(Action::SlowPath(SlowReason::Controller));
        assert_eq!(x.megaflow_actions(), want, "{flows}");
    }
}

#[test]
fn what_was_re_marked_elsewhere_is_as_it_was_here() {
    let mut s = Switch::new();
    let (a, b) = (s.bridge("a"), s.bridge("b"));
    s.trunks(a, 2);
    s.port(b, 5, VlanConf::trunk_all());
    s.patch((a, 10), (b, 10));
    s.meter(
        b,
        "meter=1,pktps,bands=type=dscp_remark,rate=5,prec_level=1",
    );
    s.flows(
        a,
        "in_port=1,actions=10,2\nip,in_port=2,actions=set_field:12->ip_dscp,10,1",
    );
    s.flows(b, "actions=meter:1,5");
    let packet = TCP.replace("tos=0", "tos=0x28");
    s.check(
        &packet,
        "recirc_id(0),in_port(1),eth(),eth_type(0x0800),ipv4(tos=0x28/0xfc,frag=no)",
        "meter(1),5,set(ipv4(tos=0x28/0xfc)),2",
    );
    s.check(
        &packet.replace("in_port(1)", "in_port(2)"),
        "recirc_id(0),in_port(2),eth(),eth_type(0x0800),ipv4(frag=no)",
        "set(ipv4(tos=0x30/0xfc)),meter(1),5,set(ipv4(tos=0x30/0xfc)),1",
    );
    // What has no DSCP cannot have another.
    s.check(
        "in_port(1),eth(src=02:00:00:00:00:01,dst=02:00:00:00:00:02),eth_type(0x88b5)",
        "recirc_id(0),in_port(1),eth(),eth_type(0x88b5)",
        "meter(1),5,2",
    );
}

#[test]
fn misses_go_where_the_bridge_says() {
    let mut s = one_bridge("in_port=2,actions=3");
    let x = s.send(TCP);
    assert_eq!(x.drop, Some(DropReason::TableMiss));
    let mut s = one_bridge("actions=controller:65535");
    let x = s.send(TCP);
    assert_eq!(x.slow, Some(SlowReason::Controller));
    let [Effect::PacketIn(p)] = x.effects.as_slice() else {
        panic!("{:?}", x.effects)
    };
    // Not a table-miss entry: its priority is 32768.
    assert_eq!((p.miss, p.reason), (Miss::No, PacketInReason::Action));
    let mut s = one_bridge("priority=0,actions=controller:128");
    let x = s.send(TCP);
    let [Effect::PacketIn(p)] = x.effects.as_slice() else {
        panic!()
    };
    assert_eq!((p.miss, p.max_len), (Miss::Explicit, 128));
}

#[test]
fn the_input_port_is_spared() {
    let mut s = one_bridge("in_port=1,actions=1\nin_port=2,actions=in_port\nin_port=3,actions=all");
    assert_eq!(s.send(TCP).drop, Some(DropReason::InPort));
    let from = |n: &str| TCP.replace("in_port(1)", &format!("in_port({n})"));
    assert_eq!(s.send(&from("2")).actions.len(), 1);
    assert_eq!(s.send(&from("3")).actions.len(), 3);
    assert_eq!(s.send(&from("9")).drop, Some(DropReason::UnknownPort));
}

#[test]
fn long_pipelines_need_no_stack() {
    // Every table leads to the next one, and the last one back, 60 times.
    let mut flows = String::new();
    for t in 0..60 {
        flows += &format!(
            "table={t},actions=load:{t}->NXM_NX_REG1[],resubmit(,{})\n",
            t + 1
        );
    }
    for n in 0..60 {
        flows += &format!(
            "table=60,reg0={n},actions=load:{}->NXM_NX_REG0[],resubmit(,0)\n",
            n + 1
        );
    }
    flows += "table=60,reg0=60,actions=2";
    let mut s = one_bridge(&flows);
    assert_eq!(s.send(TCP).actions.len(), 1);
    // Nested as deep as is allowed.
    let mut flows = String::new();
    for t in 0..127 {
        flows += &format!(
            "table={t},actions=resubmit(,{}),load:1->NXM_NX_REG0[]\n",
            t + 1
        );
    }
    flows += "table=127,actions=2,resubmit(,128),load:1->NXM_NX_REG0[]";
    assert_eq!(one_bridge(&flows).send(TCP).error, Some(Error::TooDeep));
    let fits = flows.replace("resubmit(,128),", "");
    assert_eq!(one_bridge(&fits).send(TCP).error, None);
}

#[test]
fn endless_resubmits_are_given_up() {
    let mut s = one_bridge("actions=resubmit(,0)");
    let x = s.send(TCP);
    assert_eq!(
        (x.error, x.drop),
        (Some(Error::TooDeep), Some(DropReason::Translation))
    );
    let mut s = one_bridge("actions=resubmit(,1),resubmit(,1),resubmit(,1),resubmit(,1)
        table=1,actions=resubmit(,2),resubmit(,2),resubmit(,2),resubmit(,2),resubmit(,2),resubmit(,2),resubmit(,2),resubmit(,2)
        table=2,actions=resubmit(,3),resubmit(,3),resubmit(,3),resubmit(,3),resubmit(,3),resubmit(,3),resubmit(,3),resubmit(,3)
        table=3,actions=resubmit(,4),resubmit(,4),resubmit(,4),resubmit(,4),resubmit(,4),resubmit(,4),resubmit(,4),resubmit(,4)
        table=4,actions=resubmit(,5),resubmit(,5),resubmit(,5),resubmit(,5)
        table=5,actions=2");
    assert_eq!(s.send(TCP).error, Some(Error::TooManyResubmits));
}

#[test]
fn action_sets_run_at_the_end() {
    let mut s = one_bridge(
        "table=0,actions=write_actions(output:2,set_field:02:00:00:00:00:09->eth_dst),goto_table:1
         table=1,actions=output:4,write_actions(output:3)",
    );
    s.check(
        TCP,
        "recirc_id(0),in_port(1),eth(),eth_type(0x0800),ipv4(frag=no)",
        "4,set(eth(dst=02:00:00:00:00:09)),3",
    );
}

#[test]
fn masked_sets_and_moves() {
    let mut s = one_bridge(
        "tcp,actions=load:0x5->NXM_OF_ETH_DST[0..7],move:NXM_OF_TCP_SRC[]->NXM_OF_TCP_DST[],2",
    );
    s.check(
        TCP,
        "recirc_id(0),in_port(1),eth(),eth_type(0x0800),ipv4(proto=6,frag=no),tcp(src=1234)",
        "set(eth(dst=00:00:00:00:00:05/00:00:00:00:00:ff)),set(tcp(dst=1234)),2",
    );
    // A field that the packet lacks is not set.
    let mut s = one_bridge(
        "actions=set_field:5->tcp_dst,2"
            .replace("actions", "tcp,actions")
            .as_str(),
    );
    s.check(
        &TCP.replace("frag=no", "frag=later")
            .replace("src=1234,dst=80", "src=0,dst=0"),
        "recirc_id(0),in_port(1),eth(),eth_type(0x0800),ipv4(proto=6,frag=later)",
        "2",
    );
}

#[test]
fn the_stack_carries_values() {
    let mut s =
        one_bridge("actions=push:NXM_OF_ETH_SRC[],pop:NXM_OF_ETH_DST[],pop:NXM_NX_REG0[],2");
    s.check(
        TCP,
        "recirc_id(0),in_port(1),eth(src=02:00:00:00:00:01),eth_type(0x0800),ipv4(frag=no)",
        "set(eth(dst=02:00:00:00:00:01)),2",
    );
}

#[test]
fn normal_floods_learns_and_forwards() {
    let mut s = one_bridge("actions=normal");
    let megaflow = "recirc_id(0),in_port(1),eth(src=02:00:00:00:00:01,dst=02:00:00:00:00:02),\
                    eth_type(0x0800),ipv4(frag=no)";
    s.check(TCP, megaflow, "2,3,4");
    let x = s.send(TCP);
    let [Effect::Learn(station)] = x.effects.as_slice() else {
        panic!("{:?}", x.effects)
    };
    assert_eq!((station.port, station.vlan), (OfPort(1), 0));
    let (now, bridge) = (s.now, station.bridge);
    let b = EthAddr([2, 0, 0, 0, 0, 2]);
    assert!(s.ofproto.learn_mac(bridge, 0, b, OfPort(3), now));
    s.check(TCP, megaflow, "3");
    s.ofproto.learn_mac(bridge, 0, b, OfPort(1), now);
    assert_eq!(s.send(TCP).drop, Some(DropReason::InPort));
    let reserved = TCP.replace("dst=02:00:00:00:00:02", "dst=01:80:c2:00:00:03");
    let x = s.send(&reserved);
    assert_eq!(x.drop, Some(DropReason::ReservedAddress));
    assert!(x.effects.is_empty());
    let from_group = TCP.replace("src=02:00:00:00:00:01", "src=03:00:00:00:00:01");
    assert!(s.send(&from_group).effects.is_empty());
}

#[test]
fn normal_keeps_vlans_apart() {
    let mut s = Switch::new();
    let br = s.bridge("br0");
    let native = |mode| VlanConf {
        mode,
        ..VlanConf::access(10)
    };
    s.port(br, 1, VlanConf::access(10));
    s.port(br, 2, VlanConf::access(20));
    s.port(br, 3, VlanConf::trunk_all());
    s.port(br, 4, native(VlanMode::NativeUntagged));
    s.port(br, 5, native(VlanMode::NativeTagged));
    s.flows(br, "actions=normal");
    let actions = |s: &mut Switch, packet: &str| {
        let x = s.send(packet);
        crate::testing::actions_text(&x, &key(packet))
    };
    let tagged = |port: u32, vid: u16, pcp: u8| {
        format!(
            "in_port({port}),eth(src=02:00:00:00:00:01,dst=02:00:00:00:00:02),eth_type(0x8100),\
             vlan(vid={vid},pcp={pcp}),encap(eth_type(0x88b5))"
        )
    };
    assert_eq!(
        actions(&mut s, TCP),
        "push_vlan(vid=10,pcp=0),3,pop_vlan,4,push_vlan(vid=10,pcp=0),5"
    );
    assert_eq!(
        actions(&mut s, &tagged(3, 10, 3)),
        "pop_vlan,1,4,push_vlan(vid=10,pcp=3),5"
    );
    assert_eq!(
        actions(&mut s, &tagged(3, 20, 0)),
        "pop_vlan,2,push_vlan(vid=20,pcp=0),4,5"
    );
    assert_eq!(actions(&mut s, &tagged(1, 10, 0)), "drop(vlan-ingress)");
    assert_eq!(
        actions(&mut s, &tagged(1, 0, 5)),
        "pop_vlan,push_vlan(vid=10,pcp=5),3,pop_vlan,4,push_vlan(vid=10,pcp=5),5"
    );
}

#[test]
fn packet_outs_run_actions() {
    let mut s = one_bridge("in_port=controller,actions=3");
    let snapshot = s.snapshot();
    let bridge = snapshot.bridge_by_name("br0").unwrap().id;
    let run = |actions: &[OfAction]| {
        let input = XlateIn {
            bridge,
            flow: Flow::new(key(TCP), OfPort::CONTROLLER),
            start: Start::Actions(actions),
            max_actions: MAX_ACTIONS,
        };
        let x = xlate(&snapshot, &input);
        crate::testing::actions_text(&x, &key(TCP))
    };
    assert_eq!(run(&[OfAction::output(OfPort::TABLE)]), "3");
    assert_eq!(run(&[OfAction::output(OfPort::NORMAL)]), "1,2,3,4");
    assert_eq!(
        run(&[OfAction::output(OfPort(2)), OfAction::output(OfPort(77))]),
        "2"
    );
    assert_eq!(run(&[]), "drop(policy)");
}
