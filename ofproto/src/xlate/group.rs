//! Groups: which buckets a packet goes through.
//!
//! A select group scores its live buckets by a hash of the packet and of the bucket's number, so
//! that of packets with the same hash all go one way, buckets get shares by weight, and a bucket
//! that comes or goes moves only the packets that it takes or had (weighted rendezvous hashing).
//! Whatever is hashed is in the mask. `dp_hash`, the default, hashes addresses and ports of IP,
//! and Ethernet addresses of other packets, the same in both directions; `hash` hashes these too
//! unless it names fields.
//!
//! Source: OpenFlow 1.3.5, 5.6.1; OVS `ofproto/ofproto-dpif-xlate.c`, `pick_select_group`.

use std::sync::Arc;

use openflow::field::Prereq;
use openflow::message::{Bucket, GROUP_ANY, GroupType, Selection};
use openflow::{Field, OfPort};
use packet::DropReason;
use packet::key::FRAG_ANY;

use super::working::View;
use super::{Credit, Ctx, Error, MAX_DEPTH, MAX_NESTING, MAX_RESUBMITS};
use crate::group::Group;
use crate::trace::Node;

/// How far a bucket's life may depend on other groups.
const MAX_LIVENESS_DEPTH: u32 = 128;

impl Ctx<'_> {
    /// `OFPAT_GROUP`.
    pub(super) fn group(&mut self, id: u32) {
        let Some(group) = self.bridge.groups.get(id).map(Arc::clone) else {
            self.warn(&format!("output to nonexistent group {id}"));
            return self.not_sent(DropReason::NoSuchOutput);
        };
        let limit = match () {
            _ if self.depth >= MAX_DEPTH || self.nesting >= MAX_NESTING => Some(Error::TooDeep),
            _ if self.resubmits >= MAX_RESUBMITS => Some(Error::TooManyResubmits),
            _ => None,
        };
        if let Some(error) = limit {
            return self.fail(error);
        }
        self.resubmits += 1;
        self.depth += 1;
        self.nesting += 1;
        let bridge = self.bridge.id;
        match group.group_type {
            GroupType::All | GroupType::Indirect => {
                self.credit(Credit::Group(bridge, Arc::clone(&group), None));
                for n in 0..group.buckets.len() {
                    if self.may_go_on() && !self.exit {
                        self.bucket(&group, n);
                    }
                }
            }
            GroupType::Select | GroupType::FastFailover => {
                let chosen = match group.group_type {
                    GroupType::Select => self.select(&group),
                    _ => self.first_live(&group),
                };
                match chosen {
                    Some(n) => {
                        self.detail(&format!("using bucket {n}"));
                        self.credit(Credit::Group(bridge, Arc::clone(&group), Some(n)));
                        self.bucket(&group, n);
                    }
                    None => {
                        self.detail("no live bucket");
                        // Says that the group was asked, for when it changes.
                        self.credit(Credit::NoBucket(bridge));
                        self.not_sent(DropReason::Policy);
                    }
                }
            }
        }
        self.nesting -= 1;
        self.depth -= 1;
    }

    /// Does a bucket's actions; what the tables see is as before afterwards.
    fn bucket(&mut self, group: &Group, n: usize) {
        let Some(bucket) = group.buckets.get(n) else {
            return;
        };
        let before: View = self.w.view.clone();
        let number = bucket.bucket.id;
        self.within(|| Node::Bucket(number), |ctx| ctx.actions(&bucket.actions));
        self.finish_pause();
        self.w.view = before;
    }

    fn first_live(&self, group: &Group) -> Option<usize> {
        let mut buckets = group.buckets.iter();
        buckets.position(|b| self.is_live(&b.bucket, 0))
    }

    /// Everything that this looks at is in the snapshot, nothing in the packet.
    fn is_live(&self, bucket: &Bucket, depth: u32) -> bool {
        if !bucket.watches() {
            return true;
        }
        let port_lives = bucket.watch_port != OfPort::ANY
            && self
                .bridge
                .port(bucket.watch_port)
                .is_some_and(|port| port.is_live());
        port_lives || self.is_group_live(bucket.watch_group, depth)
    }

    fn is_group_live(&self, id: u32, depth: u32) -> bool {
        if id == GROUP_ANY || depth >= MAX_LIVENESS_DEPTH {
            return false;
        }
        let Some(group) = self.bridge.groups.get(id) else {
            return false;
        };
        let mut buckets = group.buckets.iter();
        buckets.any(|b| self.is_live(&b.bucket, depth + 1))
    }

    fn select(&mut self, group: &Group) -> Option<usize> {
        let candidates: Vec<(usize, u32, u16)> = group
            .buckets
            .iter()
            .enumerate()
            .filter(|(_, b)| b.bucket.weight > 0 && self.is_live(&b.bucket, 0))
            .map(|(n, b)| (n, b.bucket.id, b.bucket.weight))
            .collect();
        // With one choice the packet does not matter.
        if let [] | [_] = candidates.as_slice() {
            return candidates.first().map(|(n, _, _)| *n);
        }
        let hash = self.selection_hash(group.selection.as_ref());
        let score = |id: u32, weight: u16| {
            // Uniform in (0, 1]; the smallest of exponentially distributed numbers is each
            // bucket's with a chance in proportion to its rate.
            let uniform = ((mix(hash ^ u64::from(id)) >> 11) + 1) as f64 / (1u64 << 53) as f64;
            -uniform.ln() / f64::from(weight)
        };
        let scored = candidates
            .iter()
            .map(|(n, id, weight)| (*n, score(*id, *weight)));
        let best = scored.min_by(|(_, a), (_, b)| a.total_cmp(b))?;
        Some(best.0)
    }

    fn selection_hash(&mut self, selection: Option<&Selection>) -> u64 {
        let basis = selection.map_or(0, |s| s.param);
        match selection {
            Some(s) if !s.fields.is_empty() => {
                let mut hash = mix(basis);
                for (field, bits) in &s.fields {
                    if self.w.has(field.info().prereq) {
                        let value = self.w.get(*field, *bits);
                        hash = mix_wide(mix(hash ^ *field as u64), value);
                    }
                }
                hash
            }
            _ => self.symmetric_hash(basis),
        }
    }

    /// A hash that both directions of a conversation share.
    fn symmetric_hash(&mut self, basis: u64) -> u64 {
        let all = u128::MAX;
        let key = &self.w.view.flow.key;
        let is_fragment = key.ip_frag & FRAG_ANY != 0;
        let (source, destination) = match () {
            _ if key.is_ipv4() => (Field::Ipv4Src, Field::Ipv4Dst),
            _ if key.is_ipv6() => (Field::Ipv6Src, Field::Ipv6Dst),
            _ => {
                let addresses = self.pair(Field::EthSrc, Field::EthDst);
                return mix_wide(mix(basis), addresses);
            }
        };
        let mut hash = mix_wide(mix(basis), self.pair(source, destination));
        hash = mix_wide(hash, self.w.get(Field::IpProto, all & 0xff));
        // Fragments have no ports but the first, and go together.
        if !is_fragment {
            for (prereq, source, destination) in [
                (Prereq::Tcp, Field::TcpSrc, Field::TcpDst),
                (Prereq::Udp, Field::UdpSrc, Field::UdpDst),
                (Prereq::Sctp, Field::SctpSrc, Field::SctpDst),
            ] {
                if self.w.has(prereq) {
                    hash = mix_wide(hash, self.pair(source, destination));
                }
            }
        }
        hash
    }

    /// Two fields, whichever of them is the source.
    fn pair(&mut self, a: Field, b: Field) -> u128 {
        let mut hash = |field: Field| {
            let value = self.w.get(field, field.info().full_mask());
            u128::from(mix_wide(0, value))
        };
        // Sums of hashes, so that differences in one are not made up for by the other.
        hash(a) + hash(b)
    }
}

fn mix_wide(hash: u64, value: u128) -> u64 {
    mix(mix(hash ^ value as u64) ^ (value >> 64) as u64)
}

/// Spreads bits over all of the number, one to one (the finalizer of SplitMix64).
fn mix(n: u64) -> u64 {
    let n = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ n >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ n >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ n >> 31
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use packet::Action;

    use crate::port::PortConf;
    use crate::snapshot::BridgeId;
    use crate::testing::Switch;
    use crate::upcall::credit;
    use openflow::OfPort;

    fn switch(groups: &[&str]) -> (Switch, BridgeId) {
        let mut s = Switch::new();
        let bridge = s.bridge("br0");
        s.trunks(bridge, 4);
        groups.iter().for_each(|g| s.group(bridge, g));
        s.flows(bridge, "in_port=1,actions=group:1");
        (s, bridge)
    }

    fn tcp(src: u32, dst: u32) -> String {
        format!(
            "in_port(1),eth(src=02:00:00:00:00:01,dst=02:00:00:00:00:02),eth_type(0x0800),\
             ipv4(src=10.0.0.1,dst=10.0.0.2,proto=6,tos=0,ttl=64,frag=no),\
             tcp(src={src},dst={dst})"
        )
    }

    /// How many of a thousand connections leave by which actions.
    fn spread(s: &mut Switch) -> BTreeMap<Vec<Action>, usize> {
        let mut counts = BTreeMap::new();
        for src in 0..1000 {
            let x = s.send(&tcp(src, 80));
            *counts.entry(x.actions).or_default() += 1;
        }
        counts
    }

    #[test]
    fn select_spreads_by_weight_and_sticks() {
        let (mut s, bridge) = switch(&[
            "group_id=1,type=select,bucket=bucket_id:7,weight:3,actions=2,bucket=bucket_id:9,3",
        ]);
        let counts: Vec<usize> = spread(&mut s).into_values().collect();
        let [three, one] = counts[..] else {
            panic!("{counts:?}");
        };
        assert!((700..800).contains(&three), "{counts:?}");
        assert_eq!(three + one, 1000);
        // Another bucket takes its share of each of them, and nothing else moves.
        let before: Vec<_> = (0..1000).map(|n| s.send(&tcp(n, 80)).actions).collect();
        s.group(
            bridge,
            "insert_bucket group_id=1,command_bucket_id=first,bucket=bucket_id:5,4",
        );
        s.group(
            bridge,
            "add_or_mod group_id=1,type=select,bucket=bucket_id:7,weight:3,actions=2,\
             bucket=bucket_id:5,weight:4,actions=4,bucket=bucket_id:9,3",
        );
        let mut moved = 0;
        for (n, before) in (0..).zip(&before) {
            let now = s.send(&tcp(n, 80)).actions;
            if now != *before {
                assert_eq!(now, [Action::Output(packet::DpPort(4))]);
                moved += 1;
            }
        }
        assert!((430..570).contains(&moved), "{moved}");
    }

    #[test]
    fn both_directions_are_one_conversation() {
        let (mut s, _) = switch(&["group_id=1,type=select,bucket=2,bucket=3,bucket=4"]);
        for n in 0..50 {
            let back = tcp(80, n).replace("src=10.0.0.1,dst=10.0.0.2", "src=10.0.0.2,dst=10.0.0.1");
            assert_eq!(s.send(&tcp(n, 80)).actions, s.send(&back).actions);
        }
    }

    #[test]
    fn only_what_is_hashed_is_in_the_mask() {
        let (mut s, _) = switch(&[
            "group_id=1,type=select,selection_method=hash,fields(ip_src=255.255.255.0),\
             bucket=2,bucket=3",
        ]);
        s.check(
            &tcp(5, 80),
            "recirc_id(0),in_port(1),eth(),eth_type(0x0800),ipv4(src=10.0.0.1/255.255.255.0,\
             frag=no)",
            "3",
        );
        // One bucket is no choice.
        let (mut s, _) = switch(&["group_id=1,type=select,bucket=2,bucket=weight:0,3"]);
        let any = "recirc_id(0),in_port(1),eth(),eth_type(0x0800),ipv4(frag=no)";
        s.check(&tcp(5, 80), any, "2");
    }

    #[test]
    fn buckets_change_copies() {
        let (mut s, bridge) = switch(&[
            "group_id=2,type=indirect,bucket=set_field:02:00:00:00:00:0a->eth_dst,4",
            "group_id=1,type=all,bucket=2,set_field:02:00:00:00:00:09->eth_dst,bucket=3,\
             bucket=group:2",
        ]);
        s.flows(bridge, "in_port=1,actions=group:1,2");
        s.check(
            &tcp(1, 2),
            "recirc_id(0),in_port(1),eth(dst=02:00:00:00:00:02),eth_type(0x0800),ipv4(frag=no)",
            "set(eth(dst=02:00:00:00:00:09)),2,set(eth(dst=02:00:00:00:00:02)),3,\
             set(eth(dst=02:00:00:00:00:0a)),4,set(eth(dst=02:00:00:00:00:02)),2",
        );
    }

    fn set_link(s: &mut Switch, bridge: BridgeId, port: u32, up: bool) {
        let change = |p: &mut PortConf| p.link_up = up;
        s.ofproto.port_modify(bridge, OfPort(port), change).unwrap();
    }

    #[test]
    fn fast_failover_takes_the_first_that_lives() {
        let (mut s, bridge) = switch(&[
            "group_id=2,type=ff,bucket=watch_port:3,actions=3",
            "group_id=1,type=ff,bucket=watch_port:2,actions=2,bucket=watch_group:2,actions=group:2,\
             bucket=watch_port:4,actions=4",
        ]);
        let out = |n| [Action::Output(packet::DpPort(n))];
        assert_eq!(s.send(&tcp(1, 2)).actions, out(2));
        set_link(&mut s, bridge, 2, false);
        assert_eq!(s.send(&tcp(1, 2)).actions, out(3));
        set_link(&mut s, bridge, 3, false);
        assert_eq!(s.send(&tcp(1, 2)).actions, out(4));
        set_link(&mut s, bridge, 4, false);
        let x = s.send(&tcp(1, 2));
        assert_eq!(x.drop, Some(packet::DropReason::Policy));
        set_link(&mut s, bridge, 2, true);
        assert_eq!(s.send(&tcp(1, 2)).actions, out(2));
    }

    #[test]
    fn chains_end() {
        // Sixteen times all buckets of the next: more than any packet may have.
        let (mut s, bridge) = switch(&[]);
        for id in 1..=16 {
            let next = id + 1;
            let bucket = format!("bucket=group:{next}");
            s.group(bridge, &format!("group_id={id},type=all,{bucket},{bucket}"));
        }
        s.group(bridge, "group_id=17,type=all,bucket=2");
        let x = s.send(&tcp(1, 2));
        assert!(x.error.is_some());
        assert_eq!(x.drop, Some(packet::DropReason::Translation));
    }

    #[test]
    fn packets_are_counted() {
        let (mut s, bridge) =
            switch(&["group_id=1,type=ff,bucket=watch_port:9,2,bucket=watch_port:3,3"]);
        let x = s.send(&tcp(1, 2));
        let snapshot = s.snapshot();
        credit(&snapshot, &x.credits, 3, 300, s.now);
        let group = snapshot.bridge(bridge).unwrap().groups.get(1).unwrap();
        assert_eq!(group.counts().packets, 3);
        let buckets: Vec<u64> = group.bucket_counts().iter().map(|c| c.bytes).collect();
        assert_eq!(buckets, [0, 300]);
    }
}
