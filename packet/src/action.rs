//! Datapath actions: the enum that userspace works with and the fixed 16-byte record that a
//! kernel flow slot holds. The two convert one-to-one.
//!
//! The datapath knows few actions; everything that OpenFlow has beyond them is resolved by
//! translation (`ofproto::xlate`), or sent to userspace packet by packet with
//! [`Action::SlowPath`].

use crate::addr::{DpMeter, DpPort};
use crate::drop_reason::DropReason;

/// One datapath action.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Action {
    /// Sends a copy of the packet, as it is at this point, to a port. Never suppressed: output to
    /// the ingress port is the translator's decision.
    Output(DpPort),
    /// Pushes a VLAN tag outside all others. `tci` has PCP and VID; the CFI bit is ignored.
    PushVlan { tpid: u16, tci: u16 },
    /// Removes the outermost VLAN tag.
    PopVlan,
    /// Writes `value` under `mask` (1 = write) into a header field, keeping checksums right.
    Set {
        field: SetField,
        value: [u8; 6],
        mask: [u8; 6],
    },
    /// Drops or re-marks the packet when it exceeds a rate of the meter; a meter that is not there
    /// lets everything through.
    Meter(DpMeter),
    /// Sends the packet to userspace, which translates it anew and carries out everything,
    /// including side effects such as packet-in. Always the last action of its list, and only
    /// meters stand before it.
    SlowPath(SlowReason),
    /// Counts the packet as dropped. Always the last action of its list.
    Drop(DropReason),
}

/// Why packets of a flow are handled in userspace one by one.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum SlowReason {
    /// An `OFPP_CONTROLLER` output.
    Controller = 1,
    /// The action list is larger than the datapath runs.
    TooManyActions = 2,
    /// An action that the datapath lacks.
    Unsupported = 3,
}

macro_rules! set_fields {
    ($($(#[$doc:meta])* $variant:ident = $n:literal, $len:literal;)*) => {
        /// A header field, or a 4-byte part of a 16-byte one, that [`Action::Set`] can write.
        #[repr(u8)]
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum SetField { $($(#[$doc])* $variant = $n,)* }

        impl SetField {
            pub const ALL: &'static [SetField] = &[$(SetField::$variant,)*];

            /// Bytes of `value` and `mask` that count, from the first.
            pub const fn len_bytes(self) -> usize {
                match self { $(SetField::$variant => $len,)* }
            }

            pub const fn from_u8(n: u8) -> Option<SetField> {
                match n { $($n => Some(SetField::$variant),)* _ => None }
            }
        }
    };
}

set_fields! {
    EthDst = 1, 6;
    EthSrc = 2, 6;
    Ipv4Src = 3, 4;
    Ipv4Dst = 4, 4;
    /// IPv4 type of service or IPv6 traffic class: DSCP and ECN.
    IpTos = 5, 1;
    /// IPv4 time to live or IPv6 hop limit.
    IpTtl = 6, 1;
    /// TCP, UDP or SCTP source port.
    TpSrc = 7, 2;
    /// TCP, UDP or SCTP destination port.
    TpDst = 8, 2;
    /// ICMP or ICMPv6 type.
    IcmpType = 9, 1;
    /// ICMP or ICMPv6 code.
    IcmpCode = 10, 1;
    /// The low 20 bits of a 4-byte value.
    Ipv6Label = 11, 4;
    /// Bytes 0..4 of the address, and so on.
    Ipv6Src0 = 12, 4;
    Ipv6Src1 = 13, 4;
    Ipv6Src2 = 14, 4;
    Ipv6Src3 = 15, 4;
    Ipv6Dst0 = 16, 4;
    Ipv6Dst1 = 17, 4;
    Ipv6Dst2 = 18, 4;
    Ipv6Dst3 = 19, 4;
    ArpOp = 20, 2;
    ArpSpa = 21, 4;
    ArpTpa = 22, 4;
    ArpSha = 23, 6;
    ArpTha = 24, 6;
    NdTarget0 = 25, 4;
    NdTarget1 = 26, 4;
    NdTarget2 = 27, 4;
    NdTarget3 = 28, 4;
    /// Source link-layer address option of a neighbour solicitation.
    NdSll = 29, 6;
    /// Target link-layer address option of a neighbour advertisement.
    NdTll = 30, 6;
    /// The packet's mark (`skb->mark`), host order in 4 bytes.
    PktMark = 31, 4;
    /// The packet's queue priority (`skb->priority`), host order in 4 bytes.
    SkbPriority = 32, 4;
}

/// An [`Action`] as a kernel flow slot holds it.
///
/// | kind | `arg8` | `arg16` | `value` | `mask` |
/// | --- | --- | --- | --- | --- |
/// | [`kind::OUTPUT`] | | | port, 4 bytes host order | |
/// | [`kind::PUSH_VLAN`] | | TPID, host order | TCI, 2 bytes network order | |
/// | [`kind::POP_VLAN`] | | | | |
/// | [`kind::SET`] | [`SetField`] | | value | mask |
/// | [`kind::SLOW_PATH`] | [`SlowReason`] | | | |
/// | [`kind::DROP`] | | [`DropReason`] | | |
/// | [`kind::NEXT`] | | | block that the list goes on in, 4 bytes host order | |
/// | [`kind::OUTPUTS`] | count | port 0 | ports 1 to 3 | ports 4 to 6 |
/// | [`kind::METER`] | | | meter, 4 bytes host order | |
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct ActionRecord {
    pub kind: u8,
    pub arg8: u8,
    pub arg16: u16,
    pub value: [u8; 6],
    pub mask: [u8; 6],
}

const _: () = assert!(size_of::<ActionRecord>() == 16);

/// Ports in a record of [`kind::OUTPUTS`].
pub const OUTPUTS_MAX: usize = 7;

/// Values of [`ActionRecord::kind`].
pub mod kind {
    pub const END: u8 = 0;
    pub const OUTPUT: u8 = 1;
    pub const PUSH_VLAN: u8 = 2;
    pub const POP_VLAN: u8 = 3;
    pub const SET: u8 = 4;
    pub const SLOW_PATH: u8 = 5;
    pub const DROP: u8 = 6;
    /// Only between blocks: a list too long for one block goes on in another.
    pub const NEXT: u8 = 7;
    /// Several outputs in a row, to at most [`super::OUTPUTS_MAX`] ports, each a host-order `u16`.
    pub const OUTPUTS: u8 = 8;
    pub const METER: u8 = 9;
}

impl SlowReason {
    pub const fn from_u8(n: u8) -> Option<SlowReason> {
        match n {
            1 => Some(SlowReason::Controller),
            2 => Some(SlowReason::TooManyActions),
            3 => Some(SlowReason::Unsupported),
            _ => None,
        }
    }
}

impl From<Action> for ActionRecord {
    fn from(action: Action) -> ActionRecord {
        let mut r = ActionRecord::default();
        match action {
            Action::Output(port) => {
                r.kind = kind::OUTPUT;
                r.set_u32(port.0);
            }
            Action::PushVlan { tpid, tci } => {
                r.kind = kind::PUSH_VLAN;
                r.arg16 = tpid;
                let b = tci.to_be_bytes();
                r.value = [b[0], b[1], 0, 0, 0, 0];
            }
            Action::PopVlan => r.kind = kind::POP_VLAN,
            Action::Set { field, value, mask } => {
                r.kind = kind::SET;
                r.arg8 = field as u8;
                r.value = value;
                r.mask = mask;
            }
            Action::Meter(meter) => {
                r.kind = kind::METER;
                r.set_u32(meter.0);
            }
            Action::SlowPath(reason) => {
                r.kind = kind::SLOW_PATH;
                r.arg8 = reason as u8;
            }
            Action::Drop(reason) => {
                r.kind = kind::DROP;
                r.arg16 = reason as u32 as u16;
            }
        }
        r
    }
}

impl ActionRecord {
    /// The first four bytes of `value` as a host-order number.
    pub fn u32(&self) -> u32 {
        let v = self.value;
        u32::from_ne_bytes([v[0], v[1], v[2], v[3]])
    }

    pub fn set_u32(&mut self, n: u32) {
        let b = n.to_ne_bytes();
        self.value = [b[0], b[1], b[2], b[3], 0, 0];
    }

    /// A record of [`kind::OUTPUTS`]; ports beyond [`OUTPUTS_MAX`] are left out.
    pub fn outputs(ports: &[u16]) -> ActionRecord {
        let mut bytes = [0; 2 * OUTPUTS_MAX];
        for (slot, port) in bytes.chunks_exact_mut(2).zip(ports) {
            slot.copy_from_slice(&port.to_ne_bytes());
        }
        let [a0, a1, v0, v1, v2, v3, v4, v5, mask @ ..] = bytes;
        ActionRecord {
            kind: kind::OUTPUTS,
            arg8: ports.len().min(OUTPUTS_MAX) as u8,
            arg16: u16::from_ne_bytes([a0, a1]),
            value: [v0, v1, v2, v3, v4, v5],
            mask,
        }
    }

    /// The ports of a record of [`kind::OUTPUTS`]; `arg8` says how many of them count.
    #[inline(always)]
    pub fn ports(&self) -> [u16; OUTPUTS_MAX] {
        let (v, m) = (self.value, self.mask);
        [
            self.arg16,
            u16::from_ne_bytes([v[0], v[1]]),
            u16::from_ne_bytes([v[2], v[3]]),
            u16::from_ne_bytes([v[4], v[5]]),
            u16::from_ne_bytes([m[0], m[1]]),
            u16::from_ne_bytes([m[2], m[3]]),
            u16::from_ne_bytes([m[4], m[5]]),
        ]
    }

    /// The action; `None` for [`kind::END`], [`kind::NEXT`], [`kind::OUTPUTS`] and records that no
    /// version wrote.
    pub fn decode(&self) -> Option<Action> {
        Some(match self.kind {
            kind::OUTPUT => Action::Output(DpPort(self.u32())),
            kind::PUSH_VLAN => Action::PushVlan {
                tpid: self.arg16,
                tci: u16::from_be_bytes([self.value[0], self.value[1]]),
            },
            kind::POP_VLAN => Action::PopVlan,
            kind::SET => Action::Set {
                field: SetField::from_u8(self.arg8)?,
                value: self.value,
                mask: self.mask,
            },
            kind::METER => Action::Meter(DpMeter(self.u32())),
            kind::SLOW_PATH => Action::SlowPath(SlowReason::from_u8(self.arg8)?),
            kind::DROP => Action::Drop(DropReason::from_u32(self.arg16 as u32)?),
            _ => return None,
        })
    }
}
