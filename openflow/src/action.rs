//! Actions and instructions, as one list that is the same in every OpenFlow version.
//!
//! The actions of OpenFlow 1.0 and of an Apply-Actions instruction stand in the list as they
//! are; the other instructions are variants too, in the order in which the switch carries them
//! out ([`Action::Meter`], actions, [`Action::ClearActions`], [`Action::WriteActions`],
//! [`Action::WriteMetadata`], [`Action::GotoTable`]). An empty list drops the packet.
//!
//! Actions that Open vSwitch has and this switch does not carry out yet are refused by the
//! decoder and by the text parser; they have no variant.
//!
//! Source: OpenFlow 1.3.5, 5.9, 5.10, 7.2.4 and 7.2.5; ovs-actions(7).

use packet::{EthAddr, OfPort};

use crate::error::OfError;
use crate::field::{Field, low_bits};
use crate::message::PacketInReason;

/// `max_len` that sends the whole packet to the controller and does not buffer it.
pub const CONTROLLER_MAX_LEN_ALL: u16 = 0xffff;

/// Some contiguous bits of a field.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Subfield {
    pub field: Field,
    /// First bit, counted from the least significant.
    pub offset: u16,
    /// Number of bits, at least 1.
    pub bits: u16,
}

impl Subfield {
    /// Checks that the bits lie inside the field.
    ///
    /// Errors: `OFPBAC_BAD_SET_LEN`.
    pub fn new(field: Field, offset: u16, bits: u16) -> Result<Subfield, OfError> {
        let fits = offset
            .checked_add(bits)
            .is_some_and(|end| end <= field.bits());
        if bits == 0 || !fits {
            return Err(OfError::BacBadSetLen);
        }
        Ok(Subfield {
            field,
            offset,
            bits,
        })
    }

    /// All bits of `field`.
    pub const fn whole(field: Field) -> Subfield {
        Subfield {
            field,
            offset: 0,
            bits: field.bits(),
        }
    }

    pub fn is_whole(self) -> bool {
        self == Subfield::whole(self.field)
    }

    /// The subfield's bits in the field.
    pub fn mask(self) -> u128 {
        low_bits(self.bits)
            .checked_shl(u32::from(self.offset))
            .unwrap_or(0)
    }

    /// The subfield's value in a value of the field.
    pub fn extract(self, field_value: u128) -> u128 {
        field_value.checked_shr(u32::from(self.offset)).unwrap_or(0) & low_bits(self.bits)
    }

    /// A value of the field with the subfield's bits replaced by `value`.
    pub fn insert(self, field_value: u128, value: u128) -> u128 {
        let value = value.checked_shl(u32::from(self.offset)).unwrap_or(0);
        field_value & !self.mask() | value & self.mask()
    }
}

/// An action or instruction.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Action {
    /// Output to a port; `max_len` counts for [`OfPort::CONTROLLER`] only and is 0 otherwise.
    Output {
        port: OfPort,
        max_len: u16,
    },
    /// Send to one controller, `NXAST_CONTROLLER`: `controller(...)` in text.
    Controller {
        max_len: u16,
        controller_id: u16,
        reason: PacketInReason,
    },
    /// Output to the port whose number `src` holds.
    OutputReg {
        src: Subfield,
        max_len: u16,
    },
    /// Output to a queue of a port.
    Enqueue {
        port: OfPort,
        queue: u32,
    },
    /// Queue for later outputs.
    SetQueue(u32),
    /// Back to the queue before [`Action::SetQueue`].
    PopQueue,
    /// Output to a group.
    Group(u32),

    /// Set the VLAN id; adds a tag when there is none.
    SetVlanVid(u16),
    /// Set the VLAN priority; adds a tag when there is none.
    SetVlanPcp(u8),
    /// Remove the outermost VLAN tag, if there is one: `strip_vlan` of 1.0, `pop_vlan` of 1.1
    /// and later.
    StripVlan,
    /// Push a VLAN tag with this TPID.
    PushVlan(u16),

    /// `mod_dl_src` of 1.0; the same as a `SetField`, shown differently.
    SetEthSrc(EthAddr),
    SetEthDst(EthAddr),
    /// `mod_nw_src`, host order.
    SetIpv4Src(u32),
    SetIpv4Dst(u32),
    /// `mod_nw_tos` with the ECN bits zero.
    SetNwTos(u8),
    /// `mod_nw_ecn`.
    SetIpEcn(u8),
    /// `mod_nw_ttl`.
    SetIpTtl(u8),
    /// `mod_tp_src`.
    SetTpSrc(u16),
    SetTpDst(u16),
    /// Decrement the IP TTL; the packet goes to these controllers when it is 1 or less. Plain
    /// `dec_ttl` is `[0]`.
    DecTtl(Vec<u16>),

    /// Set the bits of `field` under `mask`; `value` is zero outside `mask`.
    SetField {
        field: Field,
        value: u128,
        mask: u128,
    },
    /// The same on a subfield, `NXAST_REG_LOAD`: `load` in text.
    RegLoad {
        dst: Subfield,
        value: u64,
    },
    /// Copy a subfield to one of the same width.
    RegMove {
        src: Subfield,
        dst: Subfield,
    },
    StackPush(Subfield),
    StackPop(Subfield),

    /// Look up again; `None` keeps the current input port or table.
    Resubmit {
        in_port: Option<OfPort>,
        table: Option<u8>,
    },
    /// Bytes without effect.
    Note(Vec<u8>),
    /// Stop, also the callers by resubmit.
    Exit,

    /// Instruction: apply a meter first.
    Meter(u32),
    /// Instruction: empty the action set.
    ClearActions,
    /// Instruction: merge into the action set.
    WriteActions(Vec<Action>),
    /// Instruction: set the metadata bits under `mask`.
    WriteMetadata {
        value: u64,
        mask: u64,
    },
    /// Instruction: go on in a later table.
    GotoTable(u8),
}

impl Action {
    /// `output` to a port that is not the controller.
    pub const fn output(port: OfPort) -> Action {
        Action::Output { port, max_len: 0 }
    }

    /// Is it an instruction of 1.1 and later, other than Apply-Actions?
    pub const fn is_instruction(&self) -> bool {
        matches!(
            self,
            Action::Meter(_)
                | Action::ClearActions
                | Action::WriteActions(_)
                | Action::WriteMetadata { .. }
                | Action::GotoTable(_)
        )
    }

    /// Does it send the packet to `port` in the sense of a flow-mod's `out_port`?
    pub fn outputs_to(&self, port: OfPort) -> bool {
        match self {
            Action::Output { port: p, .. } | Action::Enqueue { port: p, .. } => *p == port,
            Action::Controller { .. } => port == OfPort::CONTROLLER,
            Action::WriteActions(actions) => actions.iter().any(|a| a.outputs_to(port)),
            _ => false,
        }
    }

    /// Does it send the packet to `group` in the sense of a flow-mod's `out_group`?
    pub fn outputs_to_group(&self, group: u32) -> bool {
        match self {
            Action::Group(g) => *g == group,
            Action::WriteActions(actions) => actions.iter().any(|a| a.outputs_to_group(group)),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subfields() {
        let s = Subfield::new(Field::Reg0, 8, 16).unwrap();
        assert_eq!(s.mask(), 0x00ff_ff00);
        assert_eq!(s.extract(0x1234_5678), 0x3456);
        assert_eq!(s.insert(0x1234_5678, 0xabcd), 0x12ab_cd78);
        assert_eq!(
            Subfield::new(Field::Reg0, 31, 2),
            Err(OfError::BacBadSetLen)
        );
        assert_eq!(Subfield::new(Field::Reg0, 0, 0), Err(OfError::BacBadSetLen));
        assert_eq!(Subfield::whole(Field::Xxreg0).mask(), u128::MAX);
    }
}
