//! Action lists of all versions: the simple actions here, those with many parts in
//! [`super::nx_action`] and [`super::learn`].
//!
//! ```text
//! |  type(2)  |  length(2), a multiple of 8, header included  |  body ...
//! |  0xffff(2)  |  length(2)  |  experimenter(4)  |  subtype(2)  |  body ...
//! ```
//!
//! [`Form`] says which number is which action in which version. Encoding translates between
//! versions as Open vSwitch does, so that a flow that came over one version shows over another:
//! `mod_dl_src` of 1.0 is a set-field in 1.3, and so on. What a version cannot express is left
//! out and reported, see [`Encoder`].
//!
//! Source: OpenFlow 1.0.0, 5.2.4; OpenFlow 1.1.0 to 1.5.1, 7.2.5; Open vSwitch
//! `lib/ofp-actions.c`.

use packet::{EthAddr, OfPort};

use super::nxm;
use super::{learn, nx_action};
use crate::action::order::{self, Outer};
use crate::action::table::Space;
use crate::action::{Action, CONTROLLER_MAX_LEN_ALL, Form, Subfield};
use crate::error::OfError;
use crate::field::{Field, FieldInfo, Prereq, low_bits};
use crate::flow_match::{Match, VLAN_CFI};
use crate::version::Version;
use crate::wire::{DecodeError, NICIRA, ONF, Reader, Writer, bad};

const OFPAT_EXPERIMENTER: u16 = 0xffff;

const TPID_8021Q: u16 = 0x8100;
const TPID_8021AD: u16 = 0x88a8;
const ETH_MPLS: u16 = 0x8847;
const ETH_MPLS_MULTICAST: u16 = 0x8848;
const ETH_PBB: u16 = 0x88e7;
/// Least length of a truncated packet: an Ethernet header.
pub(crate) const MIN_TRUNC_LEN: u32 = 14;

const ACTION_HEADER_LEN: usize = 4;
const EXTENSION_HEADER_LEN: usize = 10;

/// Reads the actions of a packet-out, a bucket or an instruction, up to the end of `r`.
///
/// Errors: `OFPBAC_*` as OpenFlow 1.3.5, 7.5.4.3 wants them.
pub(crate) fn decode_list(r: &mut Reader, version: Version) -> Result<Vec<Action>, DecodeError> {
    decode_nested(r, version, Outer::Actions, 0)
}

/// Reads the actions of a flow of 1.0, up to the end of `r`: those that are instructions in later
/// versions come last.
pub(crate) fn decode_flow_10(r: &mut Reader) -> Result<Vec<Action>, DecodeError> {
    decode_nested(r, Version::Of10, Outer::Flow, 0)
}

/// Reads actions in the order and place that `outer` wants, inside `depth` other actions.
pub(super) fn decode_nested(
    r: &mut Reader,
    version: Version,
    outer: Outer,
    depth: usize,
) -> Result<Vec<Action>, DecodeError> {
    if depth > order::MAX_DEPTH {
        return bad("depth of actions in actions", OfError::BacTooMany);
    }
    let mut actions = Vec::with_capacity(r.remaining().div_ceil(16).min(8));
    while !r.is_empty() {
        let mut header = Reader::new(r.rest(), OfError::BacBadLen);
        let kind = header.u16()?;
        let len = usize::from(header.u16()?);
        if len < 8 || len % 8 != 0 {
            return bad("action length", OfError::BacBadLen);
        }
        let mut r = r.sub(len, OfError::BacBadLen)?;
        r.skip(ACTION_HEADER_LEN)?;
        let (form, header_len) = form(kind, &mut r, version)?;
        let mut body = Body { r, header_len };
        let action = match decode_one(form, &mut body)? {
            Some(action) => action,
            None => decode_complex(form, &mut body, version, depth)?,
        };
        actions.push(action);
        body.r.done()?;
    }
    if let Err(misplaced) = order::check(&actions, version, outer) {
        return bad("place of an action", misplaced.error());
    }
    Ok(actions)
}

/// Reads the rest of the header.
fn form(kind: u16, r: &mut Reader, version: Version) -> Result<(Form, usize), DecodeError> {
    if kind != OFPAT_EXPERIMENTER {
        return match Form::from_number(Space::Standard, kind, version) {
            Some(form) => Ok((form, ACTION_HEADER_LEN)),
            None => bad("action type", OfError::BacBadType),
        };
    }
    let space = match r.u32()? {
        NICIRA => Space::Nicira,
        ONF => Space::Onf,
        _ => return bad("experimenter action", OfError::BacBadVendor),
    };
    match Form::from_number(space, r.u16()?, version) {
        Some(form) => Ok((form, EXTENSION_HEADER_LEN)),
        None => bad("experimenter action type", OfError::BacBadVendorType),
    }
}

/// What follows an action's header.
pub(super) struct Body<'a> {
    pub r: Reader<'a>,
    /// Of the header before it.
    header_len: usize,
}

impl Body<'_> {
    /// The one argument, of `n` bytes and so aligned, with the padding around it.
    fn arg(&mut self, n: usize) -> Result<u64, DecodeError> {
        let at = self.header_len.next_multiple_of(n);
        self.r.skip(at - self.header_len)?;
        let value = self.r.uint(n)?;
        self.pad(at + n)?;
        Ok(value as u64)
    }

    /// No argument at all.
    fn none(&mut self) -> Result<(), DecodeError> {
        self.pad(self.header_len)
    }

    fn pad(&mut self, at: usize) -> Result<(), DecodeError> {
        self.r.skip(at.next_multiple_of(8) - at)
    }
}

fn decode_complex(
    form: Form,
    body: &mut Body,
    version: Version,
    depth: usize,
) -> Result<Action, DecodeError> {
    match form {
        Form::Learn | Form::Learn2 => learn::decode(form, &mut body.r),
        _ => nx_action::decode(form, &mut body.r, version, depth),
    }
}

/// The actions without parts; `None` for the others.
fn decode_one(form: Form, b: &mut Body) -> Result<Option<Action>, DecodeError> {
    let action = match form {
        Form::Output10 => {
            let port = OfPort::from_u16(b.r.u16()?);
            let max_len = b.r.u16()?;
            Action::Output { port, max_len }
        }
        Form::Output11 => {
            let port = port_32(b.r.u32()?)?;
            let max_len = b.r.u16()?;
            b.r.skip(6)?;
            Action::Output { port, max_len }
        }
        Form::Enqueue => {
            let port = OfPort::from_u16(b.r.u16()?);
            b.r.skip(6)?;
            let queue = b.r.u32()?;
            if port.0 >= 0xffff_ff00 && port != OfPort::IN_PORT && port != OfPort::LOCAL {
                return bad("port of a queue", OfError::BacBadOutPort);
            }
            Action::Enqueue { port, queue }
        }
        Form::SetQueue => Action::SetQueue(b.arg(4)? as u32),
        Form::PopQueue => {
            b.none()?;
            Action::PopQueue
        }
        Form::Group => Action::Group(b.arg(4)? as u32),
        Form::Meter => Action::Meter(b.arg(4)? as u32),
        Form::SetVlanVid10 => Action::SetVlanVid(vlan_vid(b)?),
        Form::SetVlanVid11 => Action::SetVlanVidIfTagged(vlan_vid(b)?),
        Form::SetVlanPcp10 => Action::SetVlanPcp(at_most(b.arg(1)? as u8, 7, "VLAN priority")?),
        Form::SetVlanPcp11 => {
            Action::SetVlanPcpIfTagged(at_most(b.arg(1)? as u8, 7, "VLAN priority")?)
        }
        Form::StripVlan | Form::PopVlan => {
            b.none()?;
            Action::StripVlan
        }
        Form::PushVlan => match b.arg(2)? as u16 {
            tpid @ (TPID_8021Q | TPID_8021AD) => Action::PushVlan(tpid),
            _ => return bad("TPID", OfError::BacBadArgument),
        },
        Form::PushMpls => match b.arg(2)? as u16 {
            kind @ (ETH_MPLS | ETH_MPLS_MULTICAST) => Action::PushMpls(kind),
            _ => return bad("Ethernet type of MPLS", OfError::BacBadArgument),
        },
        Form::PopMpls => Action::PopMpls(b.arg(2)? as u16),
        Form::SetMplsLabel => match b.arg(4)? as u32 {
            label if u128::from(label) <= low_bits(20) => Action::SetMplsLabel(label),
            _ => return bad("MPLS label", OfError::BacBadArgument),
        },
        Form::SetMplsTc => Action::SetMplsTc(at_most(b.arg(1)? as u8, 7, "MPLS traffic class")?),
        Form::SetMplsTtl => Action::SetMplsTtl(b.arg(1)? as u8),
        Form::DecMplsTtl => {
            b.none()?;
            Action::DecMplsTtl
        }
        Form::CopyTtlOut => {
            b.none()?;
            Action::CopyTtlOut
        }
        Form::CopyTtlIn => {
            b.none()?;
            Action::CopyTtlIn
        }
        Form::PushPbb => match b.arg(2)? as u16 {
            ETH_PBB => Action::PushPbb(ETH_PBB),
            _ => return bad("Ethernet type of PBB", OfError::BacBadArgument),
        },
        Form::PopPbb => {
            b.none()?;
            Action::PopPbb
        }
        Form::SetEthSrc => Action::SetEthSrc(eth(b)?),
        Form::SetEthDst => Action::SetEthDst(eth(b)?),
        Form::SetIpv4Src => Action::SetIpv4Src(b.arg(4)? as u32),
        Form::SetIpv4Dst => Action::SetIpv4Dst(b.arg(4)? as u32),
        Form::SetNwTos => match b.arg(1)? as u8 {
            tos if tos & 3 == 0 => Action::SetNwTos(tos),
            _ => return bad("TOS with ECN bits", OfError::BacBadArgument),
        },
        Form::SetIpEcn => Action::SetIpEcn(at_most(b.arg(1)? as u8, 3, "ECN")?),
        Form::SetIpTtl => Action::SetIpTtl(b.arg(1)? as u8),
        Form::DecTtl => {
            b.none()?;
            Action::DecTtl(vec![0])
        }
        Form::DecNshTtl => {
            b.none()?;
            Action::DecNshTtl
        }
        Form::SetTpSrc => Action::SetTpSrc(b.arg(2)? as u16),
        Form::SetTpDst => Action::SetTpDst(b.arg(2)? as u16),
        Form::SetTunnel => Action::SetTunnel {
            id: b.arg(4)?,
            wide: false,
        },
        Form::SetTunnel64 => Action::SetTunnel {
            id: b.arg(8)?,
            wide: true,
        },
        Form::SetField12 => set_field(b, false)?,
        Form::SetField15 => set_field(b, true)?,
        Form::CtClear => {
            b.none()?;
            Action::CtClear
        }
        Form::Exit => {
            b.none()?;
            Action::Exit
        }
        _ => return Ok(None),
    };
    Ok(Some(action))
}

fn at_most(n: u8, max: u8, what: &'static str) -> Result<u8, DecodeError> {
    if n <= max {
        Ok(n)
    } else {
        bad(what, OfError::BacBadArgument)
    }
}

fn vlan_vid(b: &mut Body) -> Result<u16, DecodeError> {
    match b.arg(2)? as u16 {
        vid if vid <= 0xfff => Ok(vid),
        _ => bad("VLAN id", OfError::BacBadArgument),
    }
}

fn eth(b: &mut Body) -> Result<EthAddr, DecodeError> {
    let addr = EthAddr(b.r.array()?);
    b.r.skip(6)?;
    Ok(addr)
}

/// From 1.5 on, a mask may say which bits are set.
fn set_field(b: &mut Body, may_mask: bool) -> Result<Action, DecodeError> {
    let mut entry = Reader::new(b.r.rest(), OfError::BacBadSetLen);
    let (info, value, mask) = nxm::decode_set_field(&mut entry)?;
    if mask.is_some() && !may_mask {
        return bad("mask in set-field", OfError::BacBadSetMask);
    }
    // OpenFlow 1.3.5, 7.2.5: the input port cannot be set; a VLAN id is set in a tag only.
    let present = u128::from(VLAN_CFI);
    let sets_presence = value & mask.unwrap_or(u128::MAX) & present != 0;
    if info.field == Field::InPort || info.field == Field::VlanVid && !sets_presence {
        return bad(info.name, OfError::BacBadSetArgument);
    }
    b.r.skip(b.r.remaining() - entry.remaining())?;
    if b.r.remaining() >= 8 {
        return bad("set-field length", OfError::BacBadSetLen);
    }
    b.r.zeros(b.r.remaining(), OfError::BacBadSetArgument)?;
    Ok(Action::SetField {
        field: info.field,
        value,
        mask: mask_to_hold(info, mask),
    })
}

/// The bits that a set-field with this mask, or with none, can set.
pub(super) fn mask_to_hold(info: &FieldInfo, mask: Option<u128>) -> u128 {
    let full = set_field_mask(info.field);
    mask.map_or(full, |m| m & full)
}

/// All bits that a set-field can set: `vlan_vid` has the "tag present" bit besides its 12.
pub(crate) fn set_field_mask(field: Field) -> u128 {
    match field {
        Field::VlanVid => 0x1fff,
        Field::NwTos => 0xfc,
        _ => field.info().full_mask(),
    }
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
    pub(super) version: Version,
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
            match action {
                // Before other actions, readers of 1.0 take it for an instruction out of order.
                Action::WriteMetadata { value, mask }
                    if self.version == Version::Of10 && !tail.is_empty() =>
                {
                    self.load(w, Field::Metadata, (*value).into(), (*mask).into());
                }
                _ => self.one(w, action),
            }
            rest = tail;
        }
    }

    /// Writes an action in `form`, padded to a multiple of 8; reports it when the version does
    /// not have it.
    pub(super) fn form(&mut self, w: &mut Writer, form: Form, write: impl FnOnce(&mut Writer)) {
        let Some(place) = form.action_place(self.version) else {
            return self.leave_out(form.name());
        };
        let start = w.len();
        let vendor = match place.space {
            Space::Nicira => Some(NICIRA),
            Space::Onf => Some(ONF),
            Space::Standard | Space::Instruction => None,
        };
        match vendor {
            None => {
                w.u16(place.number);
                w.u16(0);
            }
            Some(vendor) => {
                w.u16(OFPAT_EXPERIMENTER);
                w.u16(0);
                w.u32(vendor);
                w.u16(place.number);
            }
        }
        write(w);
        w.pad8(start);
        w.patch_len(start + 2, start);
    }

    /// Writes an action with one argument of `n` bytes.
    fn arg(&mut self, w: &mut Writer, form: Form, value: u64, n: usize) {
        let start = w.len();
        self.form(w, form, |w| {
            let len = w.len() - start;
            w.zeros(len.next_multiple_of(n) - len);
            w.uint(value.into(), n);
        });
    }

    fn none(&mut self, w: &mut Writer, form: Form) {
        self.form(w, form, |_| ());
    }

    fn one(&mut self, w: &mut Writer, action: &Action) {
        let v = self.version;
        match action {
            Action::Output { port, max_len } if v == Version::Of10 => match port.to_u16() {
                Some(n) => self.form(w, Form::Output10, |w| {
                    w.u16(n);
                    w.u16(*max_len);
                }),
                None => self.leave_out("output"),
            },
            Action::Output { port, max_len } => self.output(w, *port, *max_len),
            Action::Enqueue { port, queue } if v == Version::Of10 => match port.to_u16() {
                Some(n) => self.form(w, Form::Enqueue, |w| {
                    w.u16(n);
                    w.zeros(6);
                    w.u32(*queue);
                }),
                None => self.leave_out("enqueue"),
            },
            Action::Enqueue { port, queue } => {
                self.one(w, &Action::SetQueue(*queue));
                self.output(w, *port, CONTROLLER_MAX_LEN_ALL);
                self.one(w, &Action::PopQueue);
            }
            Action::SetQueue(queue) => self.arg(w, Form::SetQueue, (*queue).into(), 4),
            Action::Group(group) => self.arg(w, Form::Group, (*group).into(), 4),
            Action::Meter(id) => self.arg(w, Form::Meter, (*id).into(), 4),

            Action::SetVlanVid(vid) => {
                self.push_vlan_if_needed(w);
                self.vlan_vid(w, *vid);
            }
            Action::SetVlanVidIfTagged(vid) => self.vlan_vid(w, *vid),
            Action::SetVlanPcp(pcp) => {
                self.push_vlan_if_needed(w);
                self.vlan_pcp(w, *pcp);
            }
            Action::SetVlanPcpIfTagged(pcp) => self.vlan_pcp(w, *pcp),
            Action::StripVlan => {
                self.none(
                    w,
                    if v == Version::Of10 {
                        Form::StripVlan
                    } else {
                        Form::PopVlan
                    },
                );
                self.has_vlan = false;
            }
            Action::PushVlan(tpid) => {
                self.arg(w, Form::PushVlan, (*tpid).into(), 2);
                self.has_vlan = true;
            }
            Action::PushMpls(kind) => self.arg(w, Form::PushMpls, (*kind).into(), 2),
            Action::PopMpls(kind) => self.arg(w, Form::PopMpls, (*kind).into(), 2),
            Action::SetMplsLabel(label) => {
                let n = u64::from(*label);
                self.set_or(w, Form::SetMplsLabel, 4, Field::MplsLabel, n, n);
            }
            Action::SetMplsTc(tc) => {
                let n = u64::from(*tc);
                self.set_or(w, Form::SetMplsTc, 1, Field::MplsTc, n, n);
            }
            Action::SetMplsTtl(ttl) => self.arg(w, Form::SetMplsTtl, (*ttl).into(), 1),
            Action::PushPbb(kind) => self.arg(w, Form::PushPbb, (*kind).into(), 2),

            Action::SetEthSrc(a) => self.eth(w, Form::SetEthSrc, Field::EthSrc, *a),
            Action::SetEthDst(a) => self.eth(w, Form::SetEthDst, Field::EthDst, *a),
            Action::SetIpv4Src(a) => {
                let a = u64::from(*a);
                self.set_or(w, Form::SetIpv4Src, 4, Field::Ipv4Src, a, a);
            }
            Action::SetIpv4Dst(a) => {
                let a = u64::from(*a);
                self.set_or(w, Form::SetIpv4Dst, 4, Field::Ipv4Dst, a, a);
            }
            Action::SetNwTos(tos) => {
                let tos = u64::from(*tos);
                self.set_or(w, Form::SetNwTos, 1, Field::IpDscp, tos, tos >> 2);
            }
            Action::SetIpEcn(ecn) if v == Version::Of10 => {
                self.load(w, Field::IpEcn, (*ecn).into(), 3);
            }
            Action::SetIpEcn(ecn) => {
                let ecn = u64::from(*ecn);
                self.set_or(w, Form::SetIpEcn, 1, Field::IpEcn, ecn, ecn);
            }
            Action::SetIpTtl(ttl) if v == Version::Of10 => {
                self.load(w, Field::IpTtl, (*ttl).into(), 0xff);
            }
            Action::SetIpTtl(ttl) => self.arg(w, Form::SetIpTtl, (*ttl).into(), 1),
            Action::SetTpSrc(port) => {
                let fields = [Field::TcpSrc, Field::UdpSrc, Field::SctpSrc];
                self.port(w, Form::SetTpSrc, fields, *port);
            }
            Action::SetTpDst(port) => {
                let fields = [Field::TcpDst, Field::UdpDst, Field::SctpDst];
                self.port(w, Form::SetTpDst, fields, *port);
            }
            Action::SetTunnel { id, wide } => {
                if v >= Version::Of12 {
                    self.set_field(w, Field::TunId, (*id).into(), None);
                } else if *wide || u32::try_from(*id).is_err() {
                    self.arg(w, Form::SetTunnel64, *id, 8);
                } else {
                    self.arg(w, Form::SetTunnel, *id, 4);
                }
            }
            Action::SetField { field, value, mask } => self.set_some(w, *field, *value, *mask),
            Action::RegLoad { dst, value } => self.reg_load(w, *dst, *value),

            Action::GotoTable(table) if v == Version::Of10 => {
                let action = Action::Resubmit {
                    in_port: None,
                    table: Some(*table),
                    with_ct: false,
                };
                self.one(w, &action);
            }
            Action::WriteMetadata { .. } if v > Version::Of10 => self.leave_out("write_metadata"),
            Action::DecTtl(_)
            | Action::PopQueue
            | Action::DecMplsTtl
            | Action::CopyTtlOut
            | Action::CopyTtlIn
            | Action::PopPbb
            | Action::DecNshTtl
            | Action::CtClear
            | Action::Exit
                if action.form() != Form::DecTtlIds =>
            {
                self.none(w, action.form());
            }
            Action::Learn(learn) => learn::encode(self, w, learn),
            _ => nx_action::encode(self, w, action),
        }
    }

    /// The form of 1.1 and later.
    fn output(&mut self, w: &mut Writer, port: OfPort, max_len: u16) {
        self.form(w, Form::Output11, |w| {
            w.u32(port.0);
            w.u16(max_len);
            w.zeros(6);
        });
    }

    /// Setting VLAN fields in 1.0 adds a missing tag; in 1.1 and later that is an action.
    fn push_vlan_if_needed(&mut self, w: &mut Writer) {
        if !self.has_vlan && self.version > Version::Of10 {
            self.one(w, &Action::PushVlan(TPID_8021Q));
        }
    }

    fn vlan_vid(&mut self, w: &mut Writer, vid: u16) {
        match self.version {
            Version::Of10 => self.arg(w, Form::SetVlanVid10, vid.into(), 2),
            Version::Of11 => self.arg(w, Form::SetVlanVid11, vid.into(), 2),
            _ => self.set_field(w, Field::VlanVid, u128::from(vid | VLAN_CFI), None),
        }
    }

    fn vlan_pcp(&mut self, w: &mut Writer, pcp: u8) {
        match self.version {
            Version::Of10 => self.arg(w, Form::SetVlanPcp10, pcp.into(), 1),
            Version::Of11 => self.arg(w, Form::SetVlanPcp11, pcp.into(), 1),
            _ => self.set_field(w, Field::VlanPcp, u128::from(pcp), None),
        }
    }

    /// The action of 1.0 and 1.1 with `old`, or a set-field to `new`.
    fn set_or(&mut self, w: &mut Writer, form: Form, n: usize, field: Field, old: u64, new: u64) {
        if self.version < Version::Of12 {
            self.arg(w, form, old, n);
        } else {
            self.set_field(w, field, new.into(), None);
        }
    }

    fn eth(&mut self, w: &mut Writer, form: Form, field: Field, addr: EthAddr) {
        if self.version < Version::Of12 {
            self.form(w, form, |w| w.bytes(&addr.0));
        } else {
            self.set_field(w, field, addr.to_u64().into(), None);
        }
    }

    /// A field of the flow's protocol; without one, the old action, which all versions have.
    fn port(&mut self, w: &mut Writer, form: Form, fields: [Field; 3], port: u16) {
        let [tcp, udp, sctp] = fields;
        let field = match self.ip_proto {
            Some(6) => Some(tcp),
            Some(17) => Some(udp),
            Some(132) => Some(sctp),
            _ => None,
        };
        match field {
            Some(field) if self.version >= Version::Of12 => {
                self.set_field(w, field, port.into(), None);
            }
            _ => self.arg(w, form, port.into(), 2),
        }
    }

    fn set_some(&mut self, w: &mut Writer, field: Field, value: u128, mask: u128) {
        let whole = mask == set_field_mask(field);
        match field {
            // These two have no number on the wire.
            Field::DlVlan if whole => self.one(w, &Action::SetVlanVid(value as u16 & 0xfff)),
            Field::DlVlanPcp if whole => self.one(w, &Action::SetVlanPcp(value as u8 & 7)),
            _ if self.version >= Version::Of15 => {
                self.set_field(w, field, value, (!whole).then_some(mask));
            }
            _ if !whole => self.load(w, field, value, mask),
            _ if self.version >= Version::Of12 => self.set_field(w, field, value, None),
            _ => self.set_whole_10_11(w, field, value),
        }
    }

    /// 1.0 and 1.1 have an action for some fields; the others are loaded as registers are.
    fn set_whole_10_11(&mut self, w: &mut Writer, field: Field, value: u128) {
        let action = match field {
            Field::VlanTci if value & u128::from(VLAN_CFI) == 0 => Action::StripVlan,
            Field::VlanTci => {
                self.push_vlan_if_needed(w);
                self.vlan_vid(w, value as u16 & 0xfff);
                return self.vlan_pcp(w, (value >> 13) as u8 & 7);
            }
            Field::VlanVid => return self.vlan_vid(w, value as u16 & 0xfff),
            Field::VlanPcp => return self.vlan_pcp(w, value as u8 & 7),
            Field::EthSrc => Action::SetEthSrc(EthAddr::from_u64(value as u64)),
            Field::EthDst => Action::SetEthDst(EthAddr::from_u64(value as u64)),
            Field::Ipv4Src => Action::SetIpv4Src(value as u32),
            Field::Ipv4Dst => Action::SetIpv4Dst(value as u32),
            Field::NwTos => Action::SetNwTos(value as u8),
            Field::IpDscp => Action::SetNwTos((value as u8) << 2),
            Field::IpEcn => Action::SetIpEcn(value as u8 & 3),
            Field::TcpSrc | Field::UdpSrc => Action::SetTpSrc(value as u16),
            Field::TcpDst | Field::UdpDst => Action::SetTpDst(value as u16),
            _ => return self.load(w, field, value, set_field_mask(field)),
        };
        self.one(w, &action);
    }

    /// A set-field of 1.2 and later.
    fn set_field(&mut self, w: &mut Writer, field: Field, value: u128, mask: Option<u128>) {
        if !nxm::has_wire_id(field) {
            return self.leave_out("set_field");
        }
        let version = self.version;
        let form = if version >= Version::Of15 {
            Form::SetField15
        } else {
            Form::SetField12
        };
        self.form(w, form, |w| {
            nxm::encode_entry(w, field, value, mask, version);
        });
    }

    fn reg_load(&mut self, w: &mut Writer, dst: Subfield, value: u64) {
        let (value, mask) = (dst.insert(0, value.into()), dst.mask());
        if self.version >= Version::Of15 {
            let mask = (mask != set_field_mask(dst.field)).then_some(mask);
            self.set_field(w, dst.field, value, mask);
        } else {
            self.load(w, dst.field, value, mask);
        }
    }

    /// Sets the bits in `mask`: as loads, each run of bits at most 64 at once, from the least
    /// significant; or at once where loads cannot name the field.
    fn load(&mut self, w: &mut Writer, field: Field, value: u128, mask: u128) {
        if self.version >= Version::Of15 {
            return self.set_field(w, field, value, Some(mask));
        }
        if !nxm::has_wire_id(field) {
            return self.leave_out("load");
        }
        if !nxm::has_short_id(field) || field.info().is_variable_len() {
            let mask = (mask != set_field_mask(field)).then_some(mask);
            return self.form(w, Form::RegLoad2, |w| {
                nxm::encode_entry(w, field, value, mask, nx_action::FIELD_IDS);
            });
        }
        let mut todo = mask;
        while todo != 0 {
            let offset = todo.trailing_zeros();
            let run = (todo >> offset).trailing_ones().min(64);
            let dst = Subfield {
                field,
                offset: offset as u16,
                bits: run as u16,
            };
            let value = dst.extract(value) as u64;
            self.form(w, Form::RegLoad, |w| {
                w.u16(nx_action::ofs_nbits(dst));
                nxm::encode_field_id(w, field, nx_action::FIELD_IDS);
                w.u64(value);
            });
            todo &= !dst.mask();
        }
    }
}

/// The numbers that `version` has for the standard actions that the switch carries out.
pub(crate) fn standard_actions(version: Version) -> Vec<u16> {
    const CARRIED_OUT: [Form; 8] = [
        Form::Output11,
        Form::Group,
        Form::PushVlan,
        Form::PopVlan,
        Form::SetQueue,
        Form::SetIpTtl,
        Form::DecTtl,
        Form::SetField12,
    ];
    let places = CARRIED_OUT.iter().filter_map(|f| f.action_place(version));
    places.map(|p| p.number).collect()
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
            Action::Output {
                port: OfPort(1),
                max_len: u16::MAX,
            },
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
