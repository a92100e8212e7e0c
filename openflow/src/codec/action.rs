//! Action lists of 1.0 and 1.3: the standard actions here, Nicira's in [`super::nx_action`].
//!
//! ```text
//! |  type(2)  |  length(2), a multiple of 8, header included  |  body ...
//! ```
//!
//! Encoding translates between versions as Open vSwitch does, so that a flow that came over one
//! version shows over another: `mod_dl_src` of 1.0 is a set-field in 1.3, and so on. What a
//! version cannot express is left out and reported, see [`Encoder`].
//!
//! Source: OpenFlow 1.0.0, 5.2.4; OpenFlow 1.3.5, 7.2.5.

use packet::{EthAddr, OfPort};

use super::nx_action;
use super::nxm;
use crate::action::{Action, CONTROLLER_MAX_LEN_ALL};
use crate::error::OfError;
use crate::field::{Field, Prereq, low_bits};
use crate::flow_match::{Match, VLAN_CFI};
use crate::version::Version;
use crate::wire::{DecodeError, NICIRA, Reader, Writer, bad};

const OFPAT10_OUTPUT: u16 = 0;
const OFPAT10_SET_VLAN_VID: u16 = 1;
const OFPAT10_SET_VLAN_PCP: u16 = 2;
const OFPAT10_STRIP_VLAN: u16 = 3;
const OFPAT10_SET_DL_SRC: u16 = 4;
const OFPAT10_SET_DL_DST: u16 = 5;
const OFPAT10_SET_NW_SRC: u16 = 6;
const OFPAT10_SET_NW_DST: u16 = 7;
const OFPAT10_SET_NW_TOS: u16 = 8;
const OFPAT10_SET_TP_SRC: u16 = 9;
const OFPAT10_SET_TP_DST: u16 = 10;
const OFPAT10_ENQUEUE: u16 = 11;

const OFPAT_OUTPUT: u16 = 0;
const OFPAT_PUSH_VLAN: u16 = 17;
const OFPAT_POP_VLAN: u16 = 18;
const OFPAT_SET_QUEUE: u16 = 21;
const OFPAT_GROUP: u16 = 22;
const OFPAT_SET_NW_TTL: u16 = 23;
const OFPAT_DEC_NW_TTL: u16 = 24;
const OFPAT_SET_FIELD: u16 = 25;
const OFPAT_EXPERIMENTER: u16 = 0xffff;

/// The standard actions of 1.3 that the switch carries out.
pub(crate) const STANDARD_ACTIONS: &[u16] = &[
    OFPAT_OUTPUT,
    OFPAT_PUSH_VLAN,
    OFPAT_POP_VLAN,
    OFPAT_SET_QUEUE,
    OFPAT_SET_NW_TTL,
    OFPAT_DEC_NW_TTL,
    OFPAT_SET_FIELD,
];

const TPID_8021Q: u16 = 0x8100;
const TPID_8021AD: u16 = 0x88a8;

const ACTION_HEADER_LEN: usize = 4;

/// Reads actions up to the end of `r`.
///
/// Errors: `OFPBAC_*` as OpenFlow 1.3.5, 7.5.4.3 wants them.
pub(crate) fn decode_list(r: &mut Reader, version: Version) -> Result<Vec<Action>, DecodeError> {
    let mut actions = Vec::with_capacity(r.remaining().div_ceil(16).min(8));
    while !r.is_empty() {
        let mut header = Reader::new(r.rest(), OfError::BacBadLen);
        let kind = header.u16()?;
        let len = usize::from(header.u16()?);
        if len < 8 || len % 8 != 0 {
            return bad("action length", OfError::BacBadLen);
        }
        let mut body = r.sub(len, OfError::BacBadLen)?;
        body.skip(ACTION_HEADER_LEN)?;
        actions.push(decode_one(kind, &mut body, version)?);
        body.done()?;
    }
    Ok(actions)
}

fn decode_one(kind: u16, r: &mut Reader, version: Version) -> Result<Action, DecodeError> {
    if kind == OFPAT_EXPERIMENTER {
        return match r.u32()? {
            NICIRA => nx_action::decode(r),
            _ => bad("experimenter action", OfError::BacBadVendor),
        };
    }
    match version {
        Version::Of10 => decode_10(kind, r),
        _ => decode_13(kind, r),
    }
}

fn decode_10(kind: u16, r: &mut Reader) -> Result<Action, DecodeError> {
    let action = match kind {
        OFPAT10_OUTPUT => {
            let port = OfPort::from_u16(r.u16()?);
            output(port, r.u16()?)
        }
        OFPAT10_SET_VLAN_VID => {
            let vid = r.u16()?;
            r.skip(2)?;
            if vid > 0xfff {
                return bad("VLAN id", OfError::BacBadArgument);
            }
            Action::SetVlanVid(vid)
        }
        OFPAT10_SET_VLAN_PCP => {
            let pcp = r.u8()?;
            r.skip(3)?;
            if pcp > 7 {
                return bad("VLAN priority", OfError::BacBadArgument);
            }
            Action::SetVlanPcp(pcp)
        }
        OFPAT10_STRIP_VLAN => {
            r.skip(4)?;
            Action::StripVlan
        }
        OFPAT10_SET_DL_SRC | OFPAT10_SET_DL_DST => {
            let addr = EthAddr(r.array()?);
            r.skip(6)?;
            match kind {
                OFPAT10_SET_DL_SRC => Action::SetEthSrc(addr),
                _ => Action::SetEthDst(addr),
            }
        }
        OFPAT10_SET_NW_SRC => Action::SetIpv4Src(r.u32()?),
        OFPAT10_SET_NW_DST => Action::SetIpv4Dst(r.u32()?),
        OFPAT10_SET_NW_TOS => {
            let tos = r.u8()?;
            r.skip(3)?;
            if tos & 3 != 0 {
                return bad("TOS with ECN bits", OfError::BacBadArgument);
            }
            Action::SetNwTos(tos)
        }
        OFPAT10_SET_TP_SRC | OFPAT10_SET_TP_DST => {
            let port = r.u16()?;
            r.skip(2)?;
            match kind {
                OFPAT10_SET_TP_SRC => Action::SetTpSrc(port),
                _ => Action::SetTpDst(port),
            }
        }
        OFPAT10_ENQUEUE => {
            let port = OfPort::from_u16(r.u16()?);
            r.skip(6)?;
            let queue = r.u32()?;
            if port.0 >= 0xffff_ff00 && port != OfPort::IN_PORT && port != OfPort::LOCAL {
                return bad("port of a queue", OfError::BacBadOutPort);
            }
            Action::Enqueue { port, queue }
        }
        _ => return bad("action type", OfError::BacBadType),
    };
    Ok(action)
}

fn decode_13(kind: u16, r: &mut Reader) -> Result<Action, DecodeError> {
    let action = match kind {
        OFPAT_OUTPUT => {
            let port = port_32(r.u32()?)?;
            let max_len = r.u16()?;
            r.skip(6)?;
            output(port, max_len)
        }
        OFPAT_PUSH_VLAN => {
            let tpid = r.u16()?;
            r.skip(2)?;
            if tpid != TPID_8021Q && tpid != TPID_8021AD {
                return bad("TPID", OfError::BacBadArgument);
            }
            Action::PushVlan(tpid)
        }
        OFPAT_POP_VLAN => {
            r.skip(4)?;
            Action::StripVlan
        }
        OFPAT_SET_QUEUE => Action::SetQueue(r.u32()?),
        OFPAT_GROUP => Action::Group(r.u32()?),
        OFPAT_SET_NW_TTL => {
            let ttl = r.u8()?;
            r.skip(3)?;
            Action::SetIpTtl(ttl)
        }
        OFPAT_DEC_NW_TTL => {
            r.skip(4)?;
            Action::DecTtl(vec![0])
        }
        OFPAT_SET_FIELD => {
            let mut entry = Reader::new(r.rest(), OfError::BacBadSetLen);
            let (info, value, mask) = nxm::decode_set_field(&mut entry)?;
            if mask.is_some() {
                return bad("mask in set-field", OfError::BacBadSetMask);
            }
            r.skip(r.remaining() - entry.remaining())?;
            if r.remaining() >= 8 {
                return bad("set-field length", OfError::BacBadSetLen);
            }
            r.zeros(r.remaining(), OfError::BacBadSetArgument)?;
            Action::SetField {
                field: info.field,
                value,
                mask: set_field_mask(info.field),
            }
        }
        _ => return bad("action type", OfError::BacBadType),
    };
    Ok(action)
}

/// All bits that a set-field can set: `vlan_vid` has the "tag present" bit besides its 12.
pub(crate) fn set_field_mask(field: Field) -> u128 {
    match field {
        Field::VlanVid => 0x1fff,
        Field::NwTos => 0xfc,
        _ => field.info().full_mask(),
    }
}

fn output(port: OfPort, max_len: u16) -> Action {
    let max_len = if port == OfPort::CONTROLLER {
        max_len
    } else {
        0
    };
    Action::Output { port, max_len }
}

/// A port of the 32-bit space; numbers that 16 bits cannot express are no ports.
pub(crate) fn port_32(n: u32) -> Result<OfPort, DecodeError> {
    match OfPort(n).to_u16() {
        Some(_) => Ok(OfPort(n)),
        None => bad("port number", OfError::BacBadOutPort),
    }
}

/// Writes action lists, with what must be known of the packet to translate between versions.
pub(crate) struct Encoder {
    version: Version,
    /// Does the packet surely have a VLAN tag?
    has_vlan: bool,
    ip_proto: Option<u128>,
    /// The first action that could not be expressed, if any.
    pub left_out: Option<&'static str>,
}

impl Encoder {
    /// For the actions of a flow with this match.
    pub fn new(version: Version, m: &Match) -> Encoder {
        Encoder {
            version,
            has_vlan: m.meets(Prereq::VlanVid),
            ip_proto: m.get_exact(Field::IpProto),
            left_out: None,
        }
    }

    pub fn leave_out(&mut self, what: &'static str) {
        self.left_out.get_or_insert(what);
    }

    /// Writes actions; instructions in the list are written only where a version has them as
    /// actions.
    pub fn list(&mut self, w: &mut Writer, actions: &[Action]) {
        let mut rest = actions;
        while let Some((action, tail)) = rest.split_first() {
            match (self.version, action) {
                // Before other actions, readers of 1.0 take it for an instruction out of order.
                (Version::Of10, Action::WriteMetadata { value, mask }) if !tail.is_empty() => {
                    let (value, mask) = (u128::from(*value), u128::from(*mask));
                    nx_action::encode_load(self, w, Field::Metadata, value, mask);
                }
                (Version::Of10, _) => self.one_10(w, action),
                (_, _) => self.one_13(w, action),
            }
            rest = tail;
        }
    }

    fn one_10(&mut self, w: &mut Writer, action: &Action) {
        match action {
            Action::Output { port, max_len } => {
                let Some(n) = port.to_u16() else {
                    return self.leave_out("output");
                };
                body(w, OFPAT10_OUTPUT, |w| {
                    w.u16(n);
                    w.u16(*max_len);
                });
            }
            Action::SetVlanVid(vid) => body(w, OFPAT10_SET_VLAN_VID, |w| w.u16(*vid)),
            Action::SetVlanPcp(pcp) => body(w, OFPAT10_SET_VLAN_PCP, |w| w.u8(*pcp)),
            Action::StripVlan => body(w, OFPAT10_STRIP_VLAN, |_| ()),
            Action::SetEthSrc(a) => eth_10(w, OFPAT10_SET_DL_SRC, *a),
            Action::SetEthDst(a) => eth_10(w, OFPAT10_SET_DL_DST, *a),
            Action::SetIpv4Src(a) => body(w, OFPAT10_SET_NW_SRC, |w| w.u32(*a)),
            Action::SetIpv4Dst(a) => body(w, OFPAT10_SET_NW_DST, |w| w.u32(*a)),
            Action::SetNwTos(tos) => body(w, OFPAT10_SET_NW_TOS, |w| w.u8(*tos)),
            Action::SetTpSrc(p) => body(w, OFPAT10_SET_TP_SRC, |w| w.u16(*p)),
            Action::SetTpDst(p) => body(w, OFPAT10_SET_TP_DST, |w| w.u16(*p)),
            Action::Enqueue { port, queue } => {
                let Some(n) = port.to_u16() else {
                    return self.leave_out("enqueue");
                };
                body(w, OFPAT10_ENQUEUE, |w| {
                    w.u16(n);
                    w.zeros(6);
                    w.u32(*queue);
                });
            }
            Action::SetField { field, value, mask } => {
                self.set_field_10(w, *field, *value, *mask);
            }
            Action::SetIpEcn(ecn) => {
                nx_action::encode_load(self, w, Field::IpEcn, u128::from(*ecn), 3);
            }
            Action::SetIpTtl(ttl) => {
                nx_action::encode_load(self, w, Field::IpTtl, u128::from(*ttl), 0xff);
            }
            Action::GotoTable(table) => {
                let action = Action::Resubmit {
                    in_port: None,
                    table: Some(*table),
                };
                nx_action::encode(self, w, &action);
            }
            _ => nx_action::encode(self, w, action),
        }
    }

    /// 1.0 has an action for some whole fields; the others are loaded as registers are.
    fn set_field_10(&mut self, w: &mut Writer, field: Field, value: u128, mask: u128) {
        if mask == set_field_mask(field) {
            match field {
                Field::VlanTci if value & u128::from(VLAN_CFI) == 0 => {
                    return self.one_10(w, &Action::StripVlan);
                }
                Field::VlanTci => {
                    self.one_10(w, &Action::SetVlanVid(value as u16 & 0xfff));
                    return self.one_10(w, &Action::SetVlanPcp((value >> 13) as u8 & 7));
                }
                Field::VlanVid | Field::DlVlan => {
                    return self.one_10(w, &Action::SetVlanVid(value as u16 & 0xfff));
                }
                Field::VlanPcp | Field::DlVlanPcp => {
                    return self.one_10(w, &Action::SetVlanPcp(value as u8 & 7));
                }
                Field::EthSrc | Field::EthDst => {
                    let addr = EthAddr::from_u64(value as u64);
                    let kind = if field == Field::EthSrc {
                        OFPAT10_SET_DL_SRC
                    } else {
                        OFPAT10_SET_DL_DST
                    };
                    return eth_10(w, kind, addr);
                }
                Field::Ipv4Src => return self.one_10(w, &Action::SetIpv4Src(value as u32)),
                Field::Ipv4Dst => return self.one_10(w, &Action::SetIpv4Dst(value as u32)),
                Field::NwTos => return self.one_10(w, &Action::SetNwTos(value as u8)),
                Field::IpDscp => return self.one_10(w, &Action::SetNwTos((value as u8) << 2)),
                Field::TcpSrc | Field::UdpSrc | Field::SctpSrc => {
                    return self.one_10(w, &Action::SetTpSrc(value as u16));
                }
                Field::TcpDst | Field::UdpDst | Field::SctpDst => {
                    return self.one_10(w, &Action::SetTpDst(value as u16));
                }
                _ => {}
            }
        }
        nx_action::encode_load(self, w, field, value, mask);
    }

    fn one_13(&mut self, w: &mut Writer, action: &Action) {
        match action {
            Action::Output { port, max_len } => body(w, OFPAT_OUTPUT, |w| {
                w.u32(port.0);
                w.u16(*max_len);
                w.zeros(6);
            }),
            Action::PushVlan(tpid) => {
                body(w, OFPAT_PUSH_VLAN, |w| w.u16(*tpid));
                self.has_vlan = true;
            }
            Action::StripVlan => {
                body(w, OFPAT_POP_VLAN, |_| ());
                self.has_vlan = false;
            }
            Action::SetVlanVid(vid) => {
                self.push_vlan_if_needed(w);
                self.set_field_13(w, Field::VlanVid, u128::from(*vid | VLAN_CFI));
            }
            Action::SetVlanPcp(pcp) => {
                self.push_vlan_if_needed(w);
                self.set_field_13(w, Field::VlanPcp, u128::from(*pcp));
            }
            Action::SetEthSrc(a) => self.set_field_13(w, Field::EthSrc, a.to_u64().into()),
            Action::SetEthDst(a) => self.set_field_13(w, Field::EthDst, a.to_u64().into()),
            Action::SetIpv4Src(a) => self.set_field_13(w, Field::Ipv4Src, (*a).into()),
            Action::SetIpv4Dst(a) => self.set_field_13(w, Field::Ipv4Dst, (*a).into()),
            Action::SetNwTos(tos) => self.set_field_13(w, Field::IpDscp, u128::from(tos >> 2)),
            Action::SetIpEcn(ecn) => self.set_field_13(w, Field::IpEcn, (*ecn).into()),
            Action::SetTpSrc(port) => {
                self.set_port_13(w, [Field::TcpSrc, Field::UdpSrc, Field::SctpSrc], *port);
            }
            Action::SetTpDst(port) => {
                self.set_port_13(w, [Field::TcpDst, Field::UdpDst, Field::SctpDst], *port);
            }
            Action::SetIpTtl(ttl) => body(w, OFPAT_SET_NW_TTL, |w| w.u8(*ttl)),
            Action::DecTtl(ids) if ids.as_slice() == [0] => body(w, OFPAT_DEC_NW_TTL, |_| ()),
            Action::SetQueue(queue) => body(w, OFPAT_SET_QUEUE, |w| w.u32(*queue)),
            Action::Group(group) => body(w, OFPAT_GROUP, |w| w.u32(*group)),
            Action::Enqueue { port, queue } => {
                self.one_13(w, &Action::SetQueue(*queue));
                self.one_13(w, &Action::output(*port));
                self.one_13(w, &Action::PopQueue);
            }
            Action::SetField { field, value, mask } if *mask == set_field_mask(*field) => {
                match field {
                    Field::DlVlan => self.one_13(w, &Action::SetVlanVid(*value as u16 & 0xfff)),
                    Field::DlVlanPcp => self.one_13(w, &Action::SetVlanPcp(*value as u8 & 7)),
                    _ => self.set_field_13(w, *field, *value),
                }
            }
            Action::SetField { field, value, mask } => {
                nx_action::encode_load(self, w, *field, *value, *mask);
            }
            _ if action.is_instruction() => self.leave_out("instruction in an action list"),
            _ => nx_action::encode(self, w, action),
        }
    }

    /// Setting VLAN fields in 1.0 adds a missing tag; in 1.1 and later that is an action.
    fn push_vlan_if_needed(&mut self, w: &mut Writer) {
        if !self.has_vlan {
            self.one_13(w, &Action::PushVlan(TPID_8021Q));
        }
    }

    fn set_port_13(&mut self, w: &mut Writer, fields: [Field; 3], port: u16) {
        let [tcp, udp, sctp] = fields;
        let field = match self.ip_proto {
            Some(6) => tcp,
            Some(17) => udp,
            Some(132) => sctp,
            _ => return self.leave_out("transport port without a protocol"),
        };
        self.set_field_13(w, field, port.into());
    }

    fn set_field_13(&mut self, w: &mut Writer, field: Field, value: u128) {
        if !nxm::has_wire_id(field) {
            return self.leave_out("set_field");
        }
        let start = w.len();
        w.u16(OFPAT_SET_FIELD);
        w.u16(0);
        nxm::encode_entry(w, field, value, None, self.version);
        w.pad8(start);
        w.patch_len(start + 2, start);
    }
}

/// Writes an action with this body, padded to a multiple of 8.
pub(crate) fn body(w: &mut Writer, kind: u16, write: impl FnOnce(&mut Writer)) {
    let start = w.len();
    w.u16(kind);
    w.u16(0);
    write(w);
    w.pad8(start);
    w.patch_len(start + 2, start);
}

fn eth_10(w: &mut Writer, kind: u16, addr: EthAddr) {
    body(w, kind, |w| w.bytes(&addr.0));
}

/// May the action stand in the action set?
pub(crate) fn fits_action_set(action: &Action) -> bool {
    matches!(
        action,
        Action::Output { .. }
            | Action::SetQueue(_)
            | Action::Group(_)
            | Action::SetVlanVid(_)
            | Action::SetVlanPcp(_)
            | Action::StripVlan
            | Action::PushVlan(_)
            | Action::SetEthSrc(_)
            | Action::SetEthDst(_)
            | Action::SetIpv4Src(_)
            | Action::SetIpv4Dst(_)
            | Action::SetNwTos(_)
            | Action::SetIpEcn(_)
            | Action::SetIpTtl(_)
            | Action::SetTpSrc(_)
            | Action::SetTpDst(_)
            | Action::DecTtl(_)
            | Action::SetField { .. }
            | Action::RegLoad { .. }
            | Action::RegMove { .. }
    )
}

/// The whole packet, for `controller` without a length.
const _: () = assert!(CONTROLLER_MAX_LEN_ALL as u128 == low_bits(16));

#[cfg(test)]
mod tests {
    use super::*;
    use crate::action::Subfield;

    /// What a peer of version `to` is shown of actions of a flow with this match.
    fn translate(m: &Match, actions: &[Action], to: Version) -> Vec<Action> {
        let mut w = Writer::default();
        let mut e = Encoder::new(to, m);
        e.list(&mut w, actions);
        assert_eq!(e.left_out, None);
        decode_list(&mut Reader::new(&w.buf, OfError::BacBadLen), to).unwrap()
    }

    fn set(field: Field, value: u128) -> Action {
        Action::SetField {
            field,
            value,
            mask: set_field_mask(field),
        }
    }

    #[test]
    fn actions_of_1_0_as_1_3_has_them() {
        let vlan = [Action::SetVlanVid(7), Action::SetVlanPcp(2)];
        let fields = [set(Field::VlanVid, 0x1007), set(Field::VlanPcp, 2)];
        // Only the first needs to push, and none when the match has a tag already.
        let tagged = Match::new().with(Field::DlVlan, 5);
        assert_eq!(translate(&tagged, &vlan, Version::Of13), fields);
        let [vid, pcp] = fields;
        let pushed = [Action::PushVlan(TPID_8021Q), vid, pcp];
        assert_eq!(translate(&Match::new(), &vlan, Version::Of13), pushed);

        let udp = Match::new()
            .with(Field::EthType, 0x800)
            .with(Field::IpProto, 17);
        let sets = [
            Action::SetTpDst(53),
            Action::SetNwTos(32),
            Action::SetIpv4Src(1),
        ];
        let fields = [
            set(Field::UdpDst, 53),
            set(Field::IpDscp, 8),
            set(Field::Ipv4Src, 1),
        ];
        assert_eq!(translate(&udp, &sets, Version::Of13), fields);

        let enqueue = [Action::Enqueue {
            port: OfPort(1),
            queue: 2,
        }];
        let three = [
            Action::SetQueue(2),
            Action::output(OfPort(1)),
            Action::PopQueue,
        ];
        assert_eq!(translate(&Match::new(), &enqueue, Version::Of13), three);
    }

    #[test]
    fn set_field_as_1_0_has_it() {
        let fields = [
            set(Field::VlanVid, 0x1007),
            set(Field::EthDst, 5),
            set(Field::TcpSrc, 80),
            set(Field::Reg1, 6),
        ];
        let load = Action::RegLoad {
            dst: Subfield::whole(Field::Reg1),
            value: 6,
        };
        let eth = Action::SetEthDst(EthAddr([0, 0, 0, 0, 0, 5]));
        let sets = [Action::SetVlanVid(7), eth, Action::SetTpSrc(80), load];
        assert_eq!(translate(&Match::new(), &fields, Version::Of10), sets);
        // Loads take 64 bits at once, and only the bits under the mask.
        let wide = [Action::SetField {
            field: Field::Xxreg0,
            value: 5,
            mask: u128::MAX >> 4,
        }];
        let subfield = |offset, bits| Subfield {
            field: Field::Xxreg0,
            offset,
            bits,
        };
        let loads = [
            Action::RegLoad {
                dst: subfield(0, 64),
                value: 5,
            },
            Action::RegLoad {
                dst: subfield(64, 60),
                value: 0,
            },
        ];
        assert_eq!(translate(&Match::new(), &wide, Version::Of10), loads);
    }

    #[test]
    fn what_1_0_lacks_is_named() {
        for (action, what) in [
            (Action::PushVlan(TPID_8021Q), "push_vlan"),
            (Action::Meter(1), "meter"),
            (Action::ClearActions, "clear_actions"),
        ] {
            let mut w = Writer::default();
            let mut e = Encoder::new(Version::Of10, &Match::new());
            e.list(&mut w, &[action]);
            assert_eq!(e.left_out, Some(what));
            assert!(w.buf.is_empty());
        }
    }
}
