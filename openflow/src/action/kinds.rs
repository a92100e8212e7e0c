//! Actions with many parts.
//!
//! Source: ovs-actions(7); Open vSwitch `lib/ofp-actions.c`, the comments on the structures.

use packet::OfPort;

use super::{Action, CONTROLLER_MAX_LEN_ALL, Subfield};
use crate::field::low_bits;
use crate::message::PacketInReason;

/// Sends the packet to one controller.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Controller {
    pub max_len: u16,
    pub controller_id: u16,
    pub reason: PacketInReason,
    /// Comes back in the packet-in.
    pub userdata: Vec<u8>,
    /// Wait for the controller to resume.
    pub pause: bool,
    pub meter_id: Option<u32>,
}

impl Default for Controller {
    fn default() -> Controller {
        Controller {
            max_len: CONTROLLER_MAX_LEN_ALL,
            controller_id: 0,
            reason: PacketInReason::Action,
            userdata: Vec::new(),
            pause: false,
            meter_id: None,
        }
    }
}

/// A number with a name: what is hashed, or how a member is chosen.
macro_rules! choices {
    ($(#[$doc:meta])* $id:ident { $($variant:ident = $number:literal $name:literal),* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum $id { $($variant = $number),* }

        impl $id {
            pub const ALL: &[$id] = &[$($id::$variant),*];

            pub const fn wire(self) -> u16 {
                self as u16
            }

            pub fn from_wire(n: u16) -> Option<$id> {
                $id::ALL.iter().copied().find(|x| x.wire() == n)
            }

            pub const fn name(self) -> &'static str {
                match self { $($id::$variant => $name),* }
            }

            /// In any case.
            pub fn from_name(name: &str) -> Option<$id> {
                $id::ALL.iter().copied().find(|x| x.name().eq_ignore_ascii_case(name))
            }
        }
    };
}

choices! {
    /// `enum nx_hash_fields`: what of a packet is hashed.
    HashFields {
        EthSrc = 0 "eth_src",
        SymmetricL4 = 1 "symmetric_l4",
        SymmetricL3L4 = 2 "symmetric_l3l4",
        SymmetricL3L4Udp = 3 "symmetric_l3l4+udp",
        NwSrc = 4 "nw_src",
        NwDst = 5 "nw_dst",
        SymmetricL3 = 6 "symmetric_l3"
    }
}

choices! {
    /// `enum nx_bd_algorithm`: how a bundle chooses.
    BundleAlgorithm {
        ActiveBackup = 0 "active_backup",
        Hrw = 1 "hrw"
    }
}

choices! {
    /// `enum nx_mp_algorithm`: how a path is chosen.
    MultipathAlgorithm {
        ModuloN = 0 "modulo_n",
        HashThreshold = 1 "hash_threshold",
        Hrw = 2 "hrw",
        IterHash = 3 "iter_hash"
    }
}

/// Chooses one of some ports.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Bundle {
    pub fields: HashFields,
    pub basis: u16,
    pub algorithm: BundleAlgorithm,
    pub members: Vec<OfPort>,
    /// Where the port's number goes; without it the packet goes to the port.
    pub dst: Option<Subfield>,
}

/// Most ports of a bundle.
pub const MAX_MEMBERS: usize = 2048;

/// Chooses one of some paths.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Multipath {
    pub fields: HashFields,
    pub basis: u16,
    pub algorithm: MultipathAlgorithm,
    /// Number of paths minus 1.
    pub max_link: u16,
    /// Of the algorithm.
    pub arg: u32,
    pub dst: Subfield,
}

/// Sends some packets to collectors of IPFIX.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Sample {
    /// Of 65535 packets; not 0.
    pub probability: u16,
    pub collector_set_id: u32,
    pub obs_domain_id: u32,
    pub obs_point_id: u32,
    /// [`OfPort::ANY`] when none is named.
    pub sampling_port: OfPort,
    pub direction: SampleDirection,
}

/// Where a packet is sampled.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub enum SampleDirection {
    #[default]
    Default = 0,
    Ingress = 1,
    Egress = 2,
}

/// Where the zone of a [`Ct`] comes from.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum CtZone {
    Number(u16),
    Field(Subfield),
}

/// Sends the packet through connection tracking.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Ct {
    pub commit: bool,
    pub force: bool,
    pub zone: CtZone,
    /// Where a copy goes on.
    pub table: Option<u8>,
    /// Port number of the protocol whose data connections are expected; 0 for none.
    pub alg: u16,
    /// [`Action::Nat`], and what sets `ct_mark` and `ct_label`.
    pub actions: Vec<Action>,
}

/// Translates addresses, inside [`Ct`].
#[derive(Clone, PartialEq, Eq, Hash, Default, Debug)]
pub struct Nat {
    /// `None`: as the connection has it.
    pub kind: Option<NatKind>,
    pub persistent: bool,
    pub hash: bool,
    pub random: bool,
    pub addresses: NatAddresses,
    /// First and perhaps last; never 0.
    pub ports: Option<(u16, Option<u16>)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum NatKind {
    Src,
    Dst,
}

/// First and perhaps last address of a range.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub enum NatAddresses {
    #[default]
    None,
    V4(u32, Option<u32>),
    V6(u128, Option<u128>),
}

/// Adds or modifies a flow.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Learn {
    pub idle_timeout: u16,
    pub hard_timeout: u16,
    pub priority: u16,
    pub cookie: u64,
    pub table_id: u8,
    pub fin_idle_timeout: u16,
    pub fin_hard_timeout: u16,
    pub send_flow_rem: bool,
    /// The learned flows go with the flow that has the action.
    pub delete_learned: bool,
    /// Most flows with this cookie in the table; 0 for any number.
    pub limit: u32,
    /// Is set to 1 when the flow was learned, to 0 when the limit forbade it.
    pub result_dst: Option<Subfield>,
    pub specs: Vec<LearnSpec>,
}

/// One part of a learned flow: `bits` bits go from `src` to `dst`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct LearnSpec {
    pub src: LearnSrc,
    pub dst: LearnDst,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum LearnSrc {
    /// Bits of the packet.
    Field(Subfield),
    /// A number; as many bits as the destination has.
    Value(u128),
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum LearnDst {
    /// The flow matches on it.
    Match(Subfield),
    /// The flow's actions load it.
    Load(Subfield),
    /// The flow outputs to it.
    Output,
}

impl LearnSpec {
    /// Number of bits that are copied.
    pub fn bits(&self) -> u16 {
        match (self.src, self.dst) {
            (LearnSrc::Field(src), _) => src.bits,
            (_, LearnDst::Match(dst) | LearnDst::Load(dst)) => dst.bits,
            (LearnSrc::Value(_), LearnDst::Output) => 0,
        }
    }

    /// Can a wire say it?
    pub(crate) fn is_valid(&self) -> bool {
        match (self.src, self.dst) {
            (LearnSrc::Field(_), LearnDst::Output) => true,
            (LearnSrc::Value(_), LearnDst::Output) => false,
            (LearnSrc::Field(src), LearnDst::Match(dst) | LearnDst::Load(dst)) => {
                src.bits == dst.bits
            }
            (LearnSrc::Value(v), LearnDst::Match(dst) | LearnDst::Load(dst)) => {
                v & !low_bits(dst.bits) == 0
            }
        }
    }
}

/// Adds a header.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Encap {
    /// Of the result: [`PACKET_TYPE_ETHERNET`], [`PACKET_TYPE_NSH`] or [`PACKET_TYPE_MPLS`].
    pub packet_type: u32,
    /// Of the header in bytes; 0 when not said.
    pub header_len: u16,
    pub props: Vec<EncapProp>,
}

pub const PACKET_TYPE_ETHERNET: u32 = 0;
pub const PACKET_TYPE_NSH: u32 = 0x1_894f;
pub const PACKET_TYPE_MPLS: u32 = 0x1_8847;
pub const PACKET_TYPE_MPLS_MULTICAST: u32 = 0x1_8848;
/// In [`Action::Decap`]: what the removed header says of the next one.
pub const PACKET_TYPE_NEXT: u32 = 0xfffe;

/// A property of the new header.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum EncapProp {
    NshMdType(u8),
    NshTlv { class: u16, kind: u8, data: Vec<u8> },
}
