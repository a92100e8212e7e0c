//! The packet during translation: as the tables see it, as it is after the datapath actions so
//! far, and which bits of its key have influenced anything.
//!
//! Invariant: everything that translation has done so far is the same for every packet that
//! equals this one under `mask`. It holds because
//!
//! - a bit of the original key is looked at only through [`Working::read`] and its relatives,
//!   which put it into the mask;
//! - `written` bits have values that were made from constants and from bits read before, so reading
//!   them again adds nothing;
//! - bits that are neither read nor written are never looked at: a Set action is emitted for
//!   written bits unless the packet is *known* to have the value already.
//!
//! A classifier may prove the same miss by different bits for different packets, so what a lookup
//! has un-wildcarded is in the mask but not among what is known: that would make the actions, not
//! only the mask, depend on which proof was found first.
//!
//! A meter with a band that re-marks is the one action whose result depends on more than the packet:
//! what the DSCP is behind it, the datapath alone knows. The tables go on seeing the one before it;
//! a write behind it is always emitted, and where the packet is to be as it was before the meter
//! again (behind a patch port, a bucket), so is the DSCP from there.
//!
//! So a field that is overwritten stays out of the mask, and a megaflow for `mod_dl_dst,output`
//! takes any destination. Source: the commit step is that of OVS `lib/odp-util.c`,
//! `commit_odp_actions`, which un-wildcards what it sets.

use packet::action::SetField;
use packet::key::{
    FRAG_LATER, IP_PROTO_ICMP, IP_PROTO_ICMPV6, IP_PROTO_SCTP, IP_PROTO_TCP, IP_PROTO_UDP,
};
use packet::{Action, FlowKey, FlowMask};
use std::mem::offset_of;

use openflow::Field;
use openflow::field::Prereq;

use super::vlan::{Originals, Tags};
use crate::flow::{Flow, Mask};
use crate::meter::ViewedMeter;

const ND_SOLICIT: u128 = 135;
const ND_ADVERT: u128 = 136;
/// Bits of the DSCP in the type of service or traffic class.
const DSCP: u8 = 0xfc;

/// See the module documentation.
pub struct Working {
    /// The packet's tags as they came; its other fields are in `view.flow` where not written.
    originals: Originals,
    original: FlowKey,
    /// Bits of the original key that matter; its VLAN part is in `originals`.
    mask: Mask,
    pub view: View,
    /// Bits of the original key that are in the mask for every packet that gets here this way.
    known: Mask,
    /// The packet as it is now, behind the actions in `actions`.
    base: FlowKey,
    /// Bits of `base` that actions have set.
    base_set: Mask,
    base_tags: Tags,
    base_priority: Option<u32>,
    /// The last meter that may have changed the DSCP, counted from 1; 0: none. Those bits of the
    /// DSCP in `base` that are not in `base_set` are as it left them.
    base_remarked: u32,
    pub actions: Vec<Action>,
}

/// What the tables see; saved and restored around what must not last.
#[derive(Clone)]
pub struct View {
    /// Kept up to date with `tags`.
    pub flow: Flow,
    /// Bits of `flow.key` that are no longer the packet's; tags are in `tags`.
    written: Mask,
    tags: Tags,
    /// `None`: as the packet came.
    pub priority: Option<u32>,
    /// As `base_remarked`, for bits of the DSCP that are not written.
    remarked: u32,
}

impl Working {
    pub fn new(flow: Flow) -> Working {
        let mut mask = Mask::empty();
        mask.0.key.in_port = u32::MAX;
        mask.0.key.recirc_id = u32::MAX;
        mask.0.key.eth_type = [0xff; 2];
        if flow.key.is_ipv4() || flow.key.is_ipv6() {
            mask.0.key.ip_frag = 0xff;
        }
        Working {
            originals: Originals::new(&flow.key),
            original: flow.key,
            known: mask,
            mask,
            view: View {
                flow,
                written: Mask::empty(),
                tags: Tags::default(),
                priority: None,
                remarked: 0,
            },
            base: flow.key,
            base_set: Mask::empty(),
            base_tags: Tags::default(),
            base_priority: None,
            base_remarked: 0,
            actions: Vec::new(),
        }
    }

    /// The megaflow's mask.
    ///
    /// Words that are zero for every packet of this Ethernet type are left out: the type is in the
    /// mask, so they cannot differ.
    pub fn megaflow_mask(&self) -> FlowMask {
        let mut mask = FlowMask(self.mask.0.key);
        self.originals.add_to(&mut mask.0);
        let key = &self.original;
        if !key.is_ipv6() && !key.is_arp() {
            let words = mask.0.words_mut();
            words
                .iter_mut()
                .skip(packet::key::NARROW_WORDS)
                .for_each(|w| *w = 0);
        }
        mask.0.pad0 = [0; 2];
        mask.0.pad1 = [0; 2];
        add_prerequisites(key, &mut mask.0);
        mask
    }

    /// Notes that the bits `bits` of the current flow influence the result.
    pub fn read(&mut self, bits: &Mask) {
        self.note(bits, true);
    }

    /// As [`Working::read`], for what a classifier looked at.
    pub fn looked_up(&mut self, bits: &Mask) {
        self.note(bits, false);
    }

    fn note(&mut self, bits: &Mask, known: bool) {
        let mut fresh = *bits;
        let written = self.view.written.words();
        for (word, written) in std::iter::zip(fresh.words_mut(), written) {
            *word &= !written;
        }
        // Tags are accounted for apart, by where they come from.
        clear_tags(&mut fresh.0.key);
        self.mask.widen(&fresh);
        if known {
            self.known.widen(&fresh);
        }
        let k = &bits.0.key;
        for (depth, tci, tpid) in [
            (0, k.vlan0_tci(), k.vlan0_tpid),
            (1, k.vlan1_tci(), k.vlan1_tpid),
        ] {
            let tpid = u16::from_be_bytes(tpid);
            self.originals
                .read(&self.view.tags, depth, tci, tpid, known);
        }
    }

    /// The bits `bits` of a field; the caller has checked that the packet has the field.
    pub fn get(&mut self, field: Field, bits: u128) -> u128 {
        let mut mask = Mask::empty();
        mask.unwildcard(field, bits);
        self.read(&mask);
        self.view.flow.get(field) & bits
    }

    /// True when the packet has what a field with this prerequisite needs.
    pub fn has(&mut self, prereq: Prereq) -> bool {
        // Ethernet type and fragment flags are in every mask.
        let key = &self.view.flow.key;
        let (ipv4, ipv6) = (key.is_ipv4(), key.is_ipv6());
        let arp = key.is_arp();
        let first = key.ip_frag & FRAG_LATER == 0;
        let mut proto = |wanted: u8| {
            first && (ipv4 || ipv6) && self.get(Field::IpProto, 0xff) == u128::from(wanted)
        };
        match prereq {
            Prereq::None | Prereq::Ethernet => true,
            Prereq::VlanVid => self.has_tag(),
            Prereq::Ipv4 => ipv4,
            Prereq::Ipv6 => ipv6,
            Prereq::Ip => ipv4 || ipv6,
            Prereq::Arp => arp,
            Prereq::Tcp => proto(IP_PROTO_TCP),
            Prereq::Udp => proto(IP_PROTO_UDP),
            Prereq::Sctp => proto(IP_PROTO_SCTP),
            Prereq::Icmpv4 => ipv4 && proto(IP_PROTO_ICMP),
            Prereq::Icmpv6 => ipv6 && proto(IP_PROTO_ICMPV6),
            Prereq::Nd => self.nd_type().is_some(),
            Prereq::NdSolicit => self.nd_type() == Some(ND_SOLICIT),
            Prereq::NdAdvert => self.nd_type() == Some(ND_ADVERT),
            // Nothing carries these yet.
            Prereq::InPort | Prereq::Pbb | Prereq::Mpls | Prereq::Nsh | Prereq::Ct => false,
        }
    }

    fn nd_type(&mut self) -> Option<u128> {
        if !self.has(Prereq::Icmpv6) {
            return None;
        }
        let kind = self.get(Field::Icmpv6Type, 0xff);
        let is_nd =
            matches!(kind, ND_SOLICIT | ND_ADVERT) && self.get(Field::Icmpv6Code, 0xff) == 0;
        is_nd.then_some(kind)
    }

    /// Writes the bits `bits` of a field. A field that the packet does not have is left alone,
    /// and false returned.
    pub fn set(&mut self, field: Field, value: u128, bits: u128) -> bool {
        match field {
            Field::VlanTci => self.set_tci(value as u16, bits as u16),
            Field::VlanVid if !self.has_tag() => return false,
            Field::VlanVid => self.set_tci(value as u16, bits as u16 & 0x1fff),
            Field::DlVlan => self.set_in_tag(value as u16, bits as u16 & 0xfff),
            Field::VlanPcp if !self.has_tag() => return false,
            Field::VlanPcp | Field::DlVlanPcp => {
                self.set_in_tag((value as u16) << 13, (bits as u16) << 13);
            }
            _ => {
                if !self.has(field.info().prereq) {
                    return false;
                }
                let bits = match field {
                    Field::NwTos => bits & 0xfc,
                    _ => bits,
                };
                let old = self.view.flow.get(field);
                let new = old & !bits | value & bits;
                self.view.flow.set(field, new);
                self.view.written.unwildcard(field, bits);
            }
        }
        true
    }

    /// Starts over in another bridge: pipeline state is cleared, the packet stays as it is.
    pub fn enter_bridge(&mut self, in_port: packet::OfPort) {
        self.view.flow = Flow::new(self.view.flow.key, in_port);
    }

    /// True when the packet has a VLAN tag.
    pub fn has_tag(&mut self) -> bool {
        self.originals.has_tag(&self.view.tags)
    }

    /// The outermost tag's bits under `bits`; 0 without a tag.
    pub fn tci(&mut self, bits: u16) -> u16 {
        if !self.has_tag() {
            return 0;
        }
        self.get(Field::VlanTci, u128::from(bits)) as u16
    }

    pub fn push_tag(&mut self, tpid: u16, tci: u16) {
        self.view.tags.push(tpid, tci);
        self.show_tags();
    }

    pub fn pop_tag(&mut self) {
        if self.has_tag() {
            self.view.tags.pop();
            self.show_tags();
        }
    }

    /// Number of tags that actions have pushed and not popped.
    pub fn pushed_tags(&self) -> usize {
        self.view.tags.pushed()
    }

    /// Sets bits of the outermost tag, making one where there is none.
    pub fn set_in_tag(&mut self, tci: u16, bits: u16) {
        if !self.has_tag() {
            self.view.tags.push_loose(packet::key::ETH_TYPE_VLAN);
        }
        self.originals.set(&mut self.view.tags, tci, bits);
        self.show_tags();
    }

    /// Sets bits of the tag control word, of which one says whether there is a tag.
    fn set_tci(&mut self, tci: u16, bits: u16) {
        const PRESENT: u16 = packet::key::VLAN_PRESENT;
        let has_tag = self.has_tag();
        let stays = match bits & PRESENT {
            0 => has_tag,
            _ => tci & PRESENT != 0,
        };
        match (has_tag, stays) {
            (true, false) => self.pop_tag(),
            (false, false) => {
                self.view.tags.set_loose(tci, bits);
                self.show_tags();
            }
            (_, true) => self.set_in_tag(tci, bits & !PRESENT),
        }
    }

    /// Sends the packet through a meter.
    pub fn meter(&mut self, meter: ViewedMeter) {
        let remarks = meter.remarks && ip(&self.view.flow.key);
        if remarks {
            self.commit();
        }
        self.actions.push(Action::Meter(meter.number));
        if remarks {
            self.base_remarked += 1;
            self.view.remarked = self.base_remarked;
            self.base_set.0.key.ip_tos &= !DSCP;
            self.view.written.0.key.ip_tos &= !DSCP;
        }
    }

    /// The packet of `base` went through a meter that the one that the tables see did not.
    fn is_remarked_in_vain(&self) -> bool {
        self.base_remarked != self.view.remarked
    }

    fn show_tags(&mut self) {
        self.originals
            .show(&self.view.tags, &mut self.view.flow.key);
    }

    /// Emits the actions that make the packet what the tables see.
    /// Source: OVS `lib/odp-util.c`, `commit_odp_actions`, for the order.
    pub fn commit(&mut self) {
        // Floods commit once per port, and mostly nothing was ever set.
        let untouched = self.view.written == Mask::empty()
            && self.base_set == Mask::empty()
            && !self.is_remarked_in_vain();
        for place in PLACES.iter().filter(|_| !untouched) {
            self.commit_field(place);
        }
        self.originals
            .commit(&mut self.base_tags, &self.view.tags, &mut self.actions);
        if self.base_priority != self.view.priority {
            // Back to "as it came" is not known to the datapath; nothing but queues sets it, and
            // packets come without.
            let value = self.view.priority.unwrap_or(0).to_ne_bytes();
            let [a, b, c, d] = value;
            self.actions.push(Action::Set {
                field: SetField::SkbPriority,
                value: [a, b, c, d, 0, 0],
                mask: [0xff, 0xff, 0xff, 0xff, 0, 0],
            });
            self.base_priority = self.view.priority;
        }
        self.commit_field(&PKT_MARK);
    }

    fn commit_field(&mut self, place: &Place) {
        if !(place.applies)(&self.view.flow.key) {
            return;
        }
        let (mut value, mut bits) = ([0u8; 6], [0u8; 6]);
        let mut differs = false;
        let remarked = match place.field {
            SetField::IpTos if self.base_remarked != 0 => DSCP & !self.base_set.0.key.ip_tos,
            _ => 0,
        };
        let in_vain = match self.is_remarked_in_vain() {
            true => remarked,
            false => 0,
        };
        for i in 0..place.len {
            let at = place.at + i;
            let now = byte(&self.view.flow, at);
            let base = byte_of(&self.base, at);
            let written = byte(&self.view.written.0, at);
            let set = byte(&self.base_set.0, at) | in_vain;
            // What was set and is to be as it came again needs the value that it came with.
            or_byte(&mut self.mask.0, at, set & !written);
            or_byte(&mut self.known.0, at, set & !written);
            let known = (set | byte(&self.known.0, at)) & !remarked;
            let wanted = set | written;
            differs |= wanted & ((base ^ now) | !known) != 0;
            if let (Some(v), Some(b)) = (value.get_mut(i), bits.get_mut(i)) {
                (*v, *b) = (now & wanted, wanted);
            }
        }
        if !differs {
            return;
        }
        for (i, b) in bits.iter().enumerate().take(place.len) {
            let at = place.at + i;
            let now = byte(&self.view.flow, at);
            let base = byte_of(&self.base, at);
            store_byte(&mut self.base, at, base & !b | now & b);
            or_byte(&mut self.base_set.0, at, *b);
        }
        if place.field == SetField::ArpOp {
            // Two bytes on the wire, of which the key has the second.
            let rest = !bits[0];
            or_byte(&mut self.mask.0, place.at, rest);
            or_byte(&mut self.known.0, place.at, rest);
            or_byte(&mut self.base_set.0, place.at, rest);
            let op = byte(&self.view.flow, place.at);
            (value, bits) = ([0, op, 0, 0, 0, 0], [0xff, 0xff, 0, 0, 0, 0]);
        }
        self.actions.push(Action::Set {
            field: place.field,
            value,
            mask: bits,
        });
    }
}

/// Bytes of the key that an action can set.
struct Place {
    field: SetField,
    at: usize,
    len: usize,
    /// Do packets with this key have the field? Asked about written fields only, whose
    /// prerequisites were checked then.
    applies: fn(&FlowKey) -> bool,
}

const fn place(field: SetField, at: usize, len: usize, applies: fn(&FlowKey) -> bool) -> Place {
    Place {
        field,
        at,
        len,
        applies,
    }
}

fn always(_: &FlowKey) -> bool {
    true
}

fn ip(k: &FlowKey) -> bool {
    k.is_ipv4() || k.is_ipv6()
}

fn ports(k: &FlowKey) -> bool {
    ip(k) && matches!(k.ip_proto, IP_PROTO_TCP | IP_PROTO_UDP | IP_PROTO_SCTP)
}

fn icmp(k: &FlowKey) -> bool {
    k.is_ipv4() && k.ip_proto == IP_PROTO_ICMP || k.is_ipv6() && k.ip_proto == IP_PROTO_ICMPV6
}

const IPV6_SRC: usize = offset_of!(FlowKey, ipv6_src);
const IPV6_DST: usize = offset_of!(FlowKey, ipv6_dst);
const ND_TARGET: usize = offset_of!(FlowKey, nd_target);

const PLACES: &[Place] = &[
    place(SetField::EthSrc, offset_of!(FlowKey, eth_src), 6, always),
    place(SetField::EthDst, offset_of!(FlowKey, eth_dst), 6, always),
    place(
        SetField::Ipv4Src,
        offset_of!(FlowKey, ipv4_src),
        4,
        FlowKey::is_ipv4,
    ),
    place(
        SetField::Ipv4Dst,
        offset_of!(FlowKey, ipv4_dst),
        4,
        FlowKey::is_ipv4,
    ),
    place(SetField::Ipv6Src0, IPV6_SRC, 4, FlowKey::is_ipv6),
    place(SetField::Ipv6Src1, IPV6_SRC + 4, 4, FlowKey::is_ipv6),
    place(SetField::Ipv6Src2, IPV6_SRC + 8, 4, FlowKey::is_ipv6),
    place(SetField::Ipv6Src3, IPV6_SRC + 12, 4, FlowKey::is_ipv6),
    place(SetField::Ipv6Dst0, IPV6_DST, 4, FlowKey::is_ipv6),
    place(SetField::Ipv6Dst1, IPV6_DST + 4, 4, FlowKey::is_ipv6),
    place(SetField::Ipv6Dst2, IPV6_DST + 8, 4, FlowKey::is_ipv6),
    place(SetField::Ipv6Dst3, IPV6_DST + 12, 4, FlowKey::is_ipv6),
    place(
        SetField::Ipv6Label,
        offset_of!(FlowKey, ipv6_label),
        4,
        FlowKey::is_ipv6,
    ),
    place(SetField::IpTos, offset_of!(FlowKey, ip_tos), 1, ip),
    place(SetField::IpTtl, offset_of!(FlowKey, ip_ttl), 1, ip),
    place(
        SetField::ArpSpa,
        offset_of!(FlowKey, ipv4_src),
        4,
        FlowKey::is_arp,
    ),
    place(
        SetField::ArpTpa,
        offset_of!(FlowKey, ipv4_dst),
        4,
        FlowKey::is_arp,
    ),
    place(
        SetField::ArpOp,
        offset_of!(FlowKey, ip_proto),
        1,
        FlowKey::is_arp,
    ),
    place(
        SetField::ArpSha,
        offset_of!(FlowKey, arp_sha),
        6,
        FlowKey::is_arp,
    ),
    place(
        SetField::ArpTha,
        offset_of!(FlowKey, arp_tha),
        6,
        FlowKey::is_arp,
    ),
    place(SetField::NdTarget0, ND_TARGET, 4, FlowKey::is_ipv6),
    place(SetField::NdTarget1, ND_TARGET + 4, 4, FlowKey::is_ipv6),
    place(SetField::NdTarget2, ND_TARGET + 8, 4, FlowKey::is_ipv6),
    place(SetField::NdTarget3, ND_TARGET + 12, 4, FlowKey::is_ipv6),
    place(
        SetField::NdSll,
        offset_of!(FlowKey, arp_sha),
        6,
        FlowKey::is_ipv6,
    ),
    place(
        SetField::NdTll,
        offset_of!(FlowKey, arp_tha),
        6,
        FlowKey::is_ipv6,
    ),
    place(SetField::TpSrc, offset_of!(FlowKey, tp_src), 2, ports),
    place(SetField::TpDst, offset_of!(FlowKey, tp_dst), 2, ports),
    // The key has type and code in the second byte of two.
    place(SetField::IcmpType, offset_of!(FlowKey, tp_src) + 1, 1, icmp),
    place(SetField::IcmpCode, offset_of!(FlowKey, tp_dst) + 1, 1, icmp),
];

const PKT_MARK: Place = place(SetField::PktMark, offset_of!(FlowKey, pkt_mark), 4, always);

fn byte(flow: &Flow, at: usize) -> u8 {
    flow.bytes().get(at).copied().unwrap_or(0)
}

fn or_byte(flow: &mut Flow, at: usize, bits: u8) {
    if let Some(b) = flow.bytes_mut().get_mut(at) {
        *b |= bits;
    }
}

fn byte_of(key: &FlowKey, at: usize) -> u8 {
    let word = key.words().get(at / 8).copied().unwrap_or(0);
    word.to_ne_bytes().get(at % 8).copied().unwrap_or(0)
}

fn store_byte(key: &mut FlowKey, at: usize, value: u8) {
    if let Some(word) = key.words_mut().get_mut(at / 8) {
        let mut bytes = word.to_ne_bytes();
        if let Some(b) = bytes.get_mut(at % 8) {
            *b = value;
        }
        *word = u64::from_ne_bytes(bytes);
    }
}

/// Un-wildcards what says which header masked bits are of. A classifier can prove a miss by a
/// port alone; a megaflow that matches a port of no particular protocol would be sound, but could
/// not be shown or told to another datapath.
fn add_prerequisites(key: &FlowKey, mask: &mut FlowKey) {
    let any = |bytes: &[u8]| bytes.iter().any(|b| *b != 0);
    let ip = key.is_ipv4() || key.is_ipv6();
    let nd = any(&mask.nd_target) || any(&mask.arp_sha) || any(&mask.arp_tha);
    if nd && key.is_ipv6() {
        mask.tp_src = [0xff; 2];
        mask.tp_dst = [0xff; 2];
    }
    if ip && (any(&mask.tp_src) || any(&mask.tp_dst) || any(&mask.tcp_flags)) {
        mask.ip_proto = 0xff;
    }
}

fn clear_tags(key: &mut FlowKey) {
    key.vlan0_tci = [0; 2];
    key.vlan0_tpid = [0; 2];
    key.vlan1_tci = [0; 2];
    key.vlan1_tpid = [0; 2];
}
