//! Actions and instructions, as one list that is the same in every OpenFlow version.
//!
//! The actions of OpenFlow 1.0 and of an Apply-Actions instruction stand in the list as they
//! are; the other instructions are variants too, in the order in which the switch carries them
//! out ([`Action::Meter`], actions, [`Action::ClearActions`], [`Action::WriteActions`],
//! [`Action::WriteMetadata`], [`Action::StatTrigger`], [`Action::GotoTable`]). A meter is an
//! action in OpenFlow 1.5. An empty list drops the packet.
//!
//! The codec and the text have all of them; which of them the switch carries out, says the
//! [`table`]. [`order`] says where which may stand, [`consistency`] for which packets; [`kinds`]
//! has those with many parts.
//!
//! Source: OpenFlow 1.3.5, 5.9, 5.10, 7.2.4 and 7.2.5; OpenFlow 1.5.1, 7.2.5 and 7.2.6;
//! ovs-actions(7).

pub mod consistency;
pub mod kinds;
pub mod order;
pub mod table;

use packet::{EthAddr, OfPort};

use crate::error::OfError;
use crate::field::{Field, low_bits};
use crate::version::Version;
pub use kinds::{
    Bundle, BundleAlgorithm, Controller, Ct, CtZone, Encap, EncapProp, HashFields, Learn, LearnDst,
    LearnSpec, LearnSrc, Multipath, MultipathAlgorithm, Nat, NatAddresses, NatKind, Sample,
    SampleDirection,
};
pub use table::Form;

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
    /// Output to a port; `max_len` counts for [`OfPort::CONTROLLER`] only.
    Output {
        port: OfPort,
        max_len: u16,
    },
    /// Send to one controller: `controller(...)` in text.
    Controller(Controller),
    /// Output to the port whose number `src` holds.
    OutputReg {
        src: Subfield,
        max_len: u16,
    },
    /// Output the first bytes.
    OutputTrunc {
        port: OfPort,
        max_len: u32,
    },
    Bundle(Bundle),
    Multipath(Multipath),
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
    /// Set the VLAN id of a packet that has a tag: `set_vlan_vid` of 1.1.
    SetVlanVidIfTagged(u16),
    SetVlanPcpIfTagged(u8),
    /// Remove the outermost VLAN tag, if there is one: `strip_vlan` of 1.0, `pop_vlan` of 1.1
    /// and later.
    StripVlan,
    /// Push a VLAN tag with this TPID.
    PushVlan(u16),

    /// Push an MPLS label with this Ethernet type.
    PushMpls(u16),
    /// Remove the outermost label; the packet then has this Ethernet type.
    PopMpls(u16),
    SetMplsLabel(u32),
    SetMplsTc(u8),
    SetMplsTtl(u8),
    DecMplsTtl,
    /// Copy the TTL from the next header outwards to the outermost, or inwards.
    CopyTtlOut,
    CopyTtlIn,
    /// Push a service tag of provider backbone bridging with this Ethernet type.
    PushPbb(u16),
    PopPbb,
    Encap(Encap),
    /// Remove the outermost header; the packet then has this packet type.
    Decap(u32),

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

    DecNshTtl,
    /// Set the tunnel ID; `wide` for `set_tunnel64`, which takes numbers of 64 bits.
    SetTunnel {
        id: u64,
        wide: bool,
    },

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
    /// Remove an option of a tunnel.
    DeleteField(Field),
    /// Is the packet longer? The answer goes to one bit.
    CheckPktLarger {
        len: u16,
        dst: Subfield,
    },

    /// Look up again; `None` keeps the current input port or table.
    Resubmit {
        in_port: Option<OfPort>,
        table: Option<u8>,
        /// With the addresses and ports of the connection.
        with_ct: bool,
    },
    /// Do these to a copy.
    Clone(Vec<Action>),
    Learn(Box<Learn>),
    /// This flow is in dimension `clause` of `n_clauses` of a conjunctive match.
    Conjunction {
        id: u32,
        /// From 0.
        clause: u8,
        n_clauses: u8,
    },
    /// The flow's timeouts become these on a TCP FIN or RST; 0 leaves one alone.
    FinTimeout {
        idle: u16,
        hard: u16,
    },
    Sample(Sample),
    Ct(Box<Ct>),
    /// Inside [`Action::Ct`] only.
    Nat(Nat),
    CtClear,
    /// Bytes without effect.
    Note(Vec<u8>),
    /// Stop, also the callers by resubmit.
    Exit,

    /// Apply a meter: an instruction until 1.4, an action in 1.5.
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
    /// Instruction of 1.5: tell the controller when the flow's statistics pass a threshold.
    StatTrigger {
        flags: u32,
        /// The fields of an `ofp_stats`.
        thresholds: Vec<u8>,
    },
    /// Instruction: go on in a later table.
    GotoTable(u8),
}

impl Action {
    /// `output` to a port that is not the controller.
    pub const fn output(port: OfPort) -> Action {
        Action::Output { port, max_len: 0 }
    }

    /// Does it have parts that are kept elsewhere in memory?
    pub const fn owns_memory(&self) -> bool {
        matches!(
            self,
            Action::Controller(_)
                | Action::Bundle(_)
                | Action::Encap(_)
                | Action::DecTtl(_)
                | Action::Clone(_)
                | Action::Learn(_)
                | Action::Ct(_)
                | Action::Note(_)
                | Action::WriteActions(_)
                | Action::StatTrigger { .. }
        )
    }

    /// Is it an instruction of 1.1 and later, other than Apply-Actions?
    pub const fn is_instruction(&self) -> bool {
        matches!(
            self,
            Action::Meter(_)
                | Action::ClearActions
                | Action::WriteActions(_)
                | Action::WriteMetadata { .. }
                | Action::StatTrigger { .. }
                | Action::GotoTable(_)
        )
    }

    /// Is it an instruction in this version? A meter is an action from 1.5 on.
    pub fn is_instruction_of(&self, version: Version) -> bool {
        match self {
            Action::Meter(_) => version < Version::Of15,
            _ => self.is_instruction(),
        }
    }

    /// Its row in the [`table`]; of several forms, the oldest that can say it.
    pub fn form(&self) -> Form {
        match self {
            Action::Output { .. } => Form::Output11,
            Action::Controller(c) if !c.userdata.is_empty() || c.pause || c.meter_id.is_some() => {
                Form::Controller2
            }
            Action::Controller(_) => Form::Controller,
            Action::OutputReg { .. } => Form::OutputReg,
            Action::OutputTrunc { .. } => Form::OutputTrunc,
            Action::Bundle(Bundle { dst: None, .. }) => Form::Bundle,
            Action::Bundle(_) => Form::BundleLoad,
            Action::Multipath(_) => Form::Multipath,
            Action::Enqueue { .. } => Form::Enqueue,
            Action::SetQueue(_) => Form::SetQueue,
            Action::PopQueue => Form::PopQueue,
            Action::Group(_) => Form::Group,
            Action::SetVlanVid(_) => Form::SetVlanVid10,
            Action::SetVlanPcp(_) => Form::SetVlanPcp10,
            Action::SetVlanVidIfTagged(_) => Form::SetVlanVid11,
            Action::SetVlanPcpIfTagged(_) => Form::SetVlanPcp11,
            Action::StripVlan => Form::PopVlan,
            Action::PushVlan(_) => Form::PushVlan,
            Action::PushMpls(_) => Form::PushMpls,
            Action::PopMpls(_) => Form::PopMpls,
            Action::SetMplsLabel(_) => Form::SetMplsLabel,
            Action::SetMplsTc(_) => Form::SetMplsTc,
            Action::SetMplsTtl(_) => Form::SetMplsTtl,
            Action::DecMplsTtl => Form::DecMplsTtl,
            Action::CopyTtlOut => Form::CopyTtlOut,
            Action::CopyTtlIn => Form::CopyTtlIn,
            Action::PushPbb(_) => Form::PushPbb,
            Action::PopPbb => Form::PopPbb,
            Action::Encap(_) => Form::Encap,
            Action::Decap(_) => Form::Decap,
            Action::SetEthSrc(_) => Form::SetEthSrc,
            Action::SetEthDst(_) => Form::SetEthDst,
            Action::SetIpv4Src(_) => Form::SetIpv4Src,
            Action::SetIpv4Dst(_) => Form::SetIpv4Dst,
            Action::SetNwTos(_) => Form::SetNwTos,
            Action::SetIpEcn(_) => Form::SetIpEcn,
            Action::SetIpTtl(_) => Form::SetIpTtl,
            Action::SetTpSrc(_) => Form::SetTpSrc,
            Action::SetTpDst(_) => Form::SetTpDst,
            Action::DecTtl(ids) if ids.as_slice() == [0] => Form::DecTtl,
            Action::DecTtl(_) => Form::DecTtlIds,
            Action::DecNshTtl => Form::DecNshTtl,
            Action::SetTunnel { wide: false, .. } => Form::SetTunnel,
            Action::SetTunnel { .. } => Form::SetTunnel64,
            Action::SetField { .. } => Form::SetField12,
            Action::RegLoad { .. } => Form::RegLoad,
            Action::RegMove { .. } => Form::RegMove,
            Action::StackPush(_) => Form::StackPush,
            Action::StackPop(_) => Form::StackPop,
            Action::DeleteField(_) => Form::DeleteField,
            Action::CheckPktLarger { .. } => Form::CheckPktLarger,
            Action::Resubmit { with_ct: false, .. } => Form::ResubmitTable,
            Action::Resubmit { .. } => Form::ResubmitTableCt,
            Action::Clone(_) => Form::Clone,
            Action::Learn(learn) if learn.limit != 0 || learn.result_dst.is_some() => Form::Learn2,
            Action::Learn(_) => Form::Learn,
            Action::Conjunction { .. } => Form::Conjunction,
            Action::FinTimeout { .. } => Form::FinTimeout,
            Action::Sample(s) if s.direction != SampleDirection::Default => Form::Sample3,
            Action::Sample(s) if s.sampling_port != OfPort::ANY => Form::Sample2,
            Action::Sample(_) => Form::Sample,
            Action::Ct(_) => Form::Ct,
            Action::Nat(_) => Form::Nat,
            Action::CtClear => Form::CtClear,
            Action::Note(_) => Form::Note,
            Action::Exit => Form::Exit,
            Action::Meter(_) => Form::Meter,
            Action::ClearActions => Form::ClearActions,
            Action::WriteActions(_) => Form::WriteActions,
            Action::WriteMetadata { .. } => Form::WriteMetadata,
            Action::StatTrigger { .. } => Form::StatTrigger,
            Action::GotoTable(_) => Form::GotoTable,
        }
    }

    /// Actions inside this one.
    pub fn nested(&self) -> &[Action] {
        match self {
            Action::Clone(actions) | Action::WriteActions(actions) => actions,
            Action::Ct(ct) => &ct.actions,
            _ => &[],
        }
    }

    /// Does it send the packet to `port` in the sense of a flow-mod's `out_port`?
    pub fn outputs_to(&self, port: OfPort) -> bool {
        match self {
            Action::Output { port: p, .. } | Action::Enqueue { port: p, .. } => *p == port,
            Action::Controller(_) => port == OfPort::CONTROLLER,
            _ => self.nested().iter().any(|a| a.outputs_to(port)),
        }
    }

    /// Does it send the packet to `group` in the sense of a flow-mod's `out_group`?
    pub fn outputs_to_group(&self, group: u32) -> bool {
        match self {
            Action::Group(g) => *g == group,
            _ => self.nested().iter().any(|a| a.outputs_to_group(group)),
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
