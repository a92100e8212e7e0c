//! Do the actions of a flow make sense for the packets that it matches?
//!
//! What is wrong in every version of OpenFlow: a field that the packets need not have, connection
//! tracking of what is no IP packet, a port or a meter that there cannot be. What depends on the
//! version and on the switch is for the switch to check.
//!
//! Source: Open vSwitch `lib/ofp-actions.c`, the functions `check_*`; `lib/learn.c`,
//! `learn_check`.

use packet::OfPort;

use super::{Action, Ct, CtZone, Learn, LearnDst, LearnSrc, Nat, NatAddresses, Subfield};
use crate::error::OfError;
use crate::field::{Field, Prereq, low_bits};
use crate::flow_match::{Match, VLAN_CFI};
use crate::message::METER_MAX;

const IP_PROTO_TCP: u128 = 6;
const IP_PROTO_UDP: u128 = 17;
const FTP: u16 = 21;
const TFTP: u16 = 69;
const CT_INVALID: u128 = 0x10;
/// A packet type that says nothing of what follows.
const UNKNOWN_PACKET_TYPE: u128 = 0xf000_ffff;

/// Checks the actions of a flow that matches `m`.
///
/// Errors: `OFPBAC_MATCH_INCONSISTENT`, `OFPBAC_BAD_OUT_PORT`, `OFPMMFC_INVALID_METER`.
pub fn check(actions: &[Action], m: &Match) -> Result<(), OfError> {
    let mut known = m.clone();
    actions.iter().try_for_each(|a| one(a, &mut known))
}

/// Checks `action` and notes in `known` what it does to what is known of the packet.
fn one(action: &Action, known: &mut Match) -> Result<(), OfError> {
    let part = |part: Subfield, known: &Match| needs(part.field.info().prereq, known);
    match action {
        Action::SetField { field, value, .. } => {
            needs(field.info().prereq, known)?;
            match field {
                Field::VlanVid => needs(Prereq::VlanVid, known)?,
                Field::VlanTci => set_tag(known, value & u128::from(VLAN_CFI) != 0),
                _ => {}
            }
        }
        Action::Output {
            port: OfPort::ANY, ..
        } => return Err(OfError::BacBadOutPort),
        Action::Meter(id) if !(1..=METER_MAX).contains(id) => {
            return Err(OfError::MmfcInvalidMeter);
        }
        Action::RegLoad { dst, .. } | Action::StackPop(dst) => part(*dst, known)?,
        Action::StackPush(src) | Action::OutputReg { src, .. } => part(*src, known)?,
        Action::RegMove { src, dst } => {
            part(*src, known)?;
            part(*dst, known)?;
        }
        Action::Bundle(b) => b.dst.map_or(Ok(()), |dst| part(dst, known))?,
        Action::Multipath(m) => part(m.dst, known)?,
        Action::Resubmit { with_ct: true, .. } => needs(Prereq::Ct, known)?,
        Action::Learn(l) => learn(l, known)?,
        Action::Ct(c) => ct(c, known)?,
        Action::Nat(n) => nat(n, known)?,
        Action::Clone(actions) | Action::WriteActions(actions) => check(actions, known)?,

        Action::SetVlanVid(_)
        | Action::SetVlanPcp(_)
        | Action::SetVlanVidIfTagged(_)
        | Action::SetVlanPcpIfTagged(_)
        | Action::PushVlan(_) => set_tag(known, true),
        Action::StripVlan => set_tag(known, false),
        Action::PushMpls(kind) => {
            known.set_exact(Field::EthType, (*kind).into());
            known.set(Field::IpProto, 0, 0);
        }
        Action::PopMpls(kind) => known.set_exact(Field::EthType, (*kind).into()),
        Action::Encap(encap) => {
            known.set_exact(Field::PacketType, encap.packet_type.into());
            if encap.packet_type >> 16 == 1 {
                let kind = encap.packet_type & 0xffff;
                known.set_exact(Field::EthType, kind.into());
            }
            known.set(Field::IpProto, 0, 0);
        }
        Action::Decap(_) => {
            let inner = match (known.get(Field::PacketType), known.ether_type()) {
                (None, Some(kind)) => 1 << 16 | kind,
                _ => UNKNOWN_PACKET_TYPE,
            };
            known.set_exact(Field::PacketType, inner);
        }
        _ => {}
    }
    Ok(())
}

fn needs(prereq: Prereq, known: &Match) -> Result<(), OfError> {
    if known.meets(prereq) {
        Ok(())
    } else {
        Err(OfError::BacMatchInconsistent)
    }
}

fn set_tag(known: &mut Match, present: bool) {
    if present {
        known.set(Field::VlanTci, VLAN_CFI.into(), VLAN_CFI.into());
    } else {
        known.set(Field::VlanTci, 0, 0);
    }
}

fn ct(ct: &Ct, known: &Match) -> Result<(), OfError> {
    needs(Prereq::Ip, known)?;
    let proto = known.get_exact(Field::IpProto);
    let state = known.get(Field::CtState).map_or(0, |(v, _)| v);
    let wrong = ct.commit && state & CT_INVALID != 0
        || ct.alg == FTP && proto != Some(IP_PROTO_TCP)
        || ct.alg == TFTP && proto != Some(IP_PROTO_UDP);
    if wrong {
        return Err(OfError::BacMatchInconsistent);
    }
    match ct.zone {
        CtZone::Field(src) => needs(src.field.info().prereq, known),
        CtZone::Number(_) => check(&ct.actions, known),
    }
}

fn nat(nat: &Nat, known: &Match) -> Result<(), OfError> {
    needs(
        match nat.addresses {
            NatAddresses::None => Prereq::Ip,
            NatAddresses::V4(..) => Prereq::Ipv4,
            NatAddresses::V6(..) => Prereq::Ipv6,
        },
        known,
    )
}

/// The learned flow needs its prerequisites in its own match.
fn learn(learn: &Learn, known: &Match) -> Result<(), OfError> {
    let mut learned = Match::new();
    for spec in &learn.specs {
        if let LearnSrc::Field(src) = spec.src {
            needs(src.field.info().prereq, known)?;
        }
        match spec.dst {
            LearnDst::Match(dst) => {
                needs(dst.field.info().prereq, &learned)?;
                let value = match spec.src {
                    LearnSrc::Value(v) => v,
                    // Whatever the packet has there.
                    LearnSrc::Field(_) => 0,
                };
                let (old, old_mask) = learned.get(dst.field).unwrap_or((0, 0));
                let value = dst.insert(old, value & low_bits(dst.bits));
                learned.set(dst.field, value, old_mask | dst.mask());
            }
            LearnDst::Load(dst) => needs(dst.field.info().prereq, &learned)?,
            LearnDst::Output => {}
        }
    }
    Ok(())
}
