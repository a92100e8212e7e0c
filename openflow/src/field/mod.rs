//! The table of match fields.
//!
//! One row of [`table`] describes a field: names, width, what may be masked and written, its
//! prerequisite, text format and wire identifiers. The text parser and printer, the codec, the
//! actions and the documentation read it; adding a field is one row.
//!
//! Values and masks are `u128`, right-aligned: the low [`FieldInfo::bits`] bits count.
//!
//! Fields that the pipeline does not carry yet are rows marked [`Support::NotYet`]: text and
//! codec know them, the switch refuses them. `tun_metadata0` to `tun_metadata63` are 992 bits
//! wide and of variable length on the wire; of their values, 128 bits can be held, and longer
//! ones are refused.
//!
//! Source: ovs-fields(7); OpenFlow 1.3.5, 7.2.3.7; `nicira-ext.h` for the NXM numbers.

mod table;

use std::collections::HashMap;
use std::sync::LazyLock;

use thiserror::Error;

pub use table::Field;
use table::INFO;

/// What of a field a mask may leave out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Maskable {
    /// All bits or none.
    Exact,
    /// Any set of bits.
    Any,
}

/// May actions write the field?
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    ReadOnly,
    ReadWrite,
}

/// What a match must say before it may mention the field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Prereq {
    None,
    /// An Ethernet packet; always true until other packet types exist.
    Ethernet,
    /// A VLAN tag is present.
    VlanVid,
    /// The input port.
    InPort,
    /// Provider backbone bridging.
    Pbb,
    Mpls,
    Ipv4,
    Ipv6,
    /// IPv4 or IPv6.
    Ip,
    Arp,
    Nsh,
    Tcp,
    Udp,
    Sctp,
    Icmpv4,
    Icmpv6,
    /// Neighbor solicitation or advertisement.
    Nd,
    NdSolicit,
    NdAdvert,
    /// Tracked by connection tracking.
    Ct,
}

/// How a value is written in text (ovs-fields(7), "Format").
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    Decimal,
    Hex,
    Eth,
    Ipv4,
    Ipv6,
    /// Port in the 16-bit space of OpenFlow 1.0.
    OfPort16,
    /// Port in the 32-bit space of OpenFlow 1.1 and later.
    OfPort,
    Frag,
    TcpFlags,
    TunFlags,
    CtState,
    PacketType,
}

/// Does the pipeline carry the field?
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Support {
    Supported,
    /// Text and codec have it, the switch refuses it.
    NotYet,
}

/// One NXM or OXM identifier of a field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WireId {
    /// For example `NXM_OF_ETH_DST`.
    pub name: &'static str,
    pub class: u16,
    /// Experimenter id, for class 0xffff; else 0.
    pub experimenter: u32,
    /// 7-bit field number.
    pub number: u8,
    /// First OpenFlow version (wire number) that has the identifier; 0 for NXM.
    pub since: u8,
}

impl WireId {
    /// True for classes 0x0000 and 0x0001 and for extensions that every version takes.
    pub const fn is_nxm(&self) -> bool {
        self.since == 0
    }
}

/// A row of the field table.
#[derive(Debug)]
pub struct FieldInfo {
    pub field: Field,
    /// Name in ovs-fields(7).
    pub name: &'static str,
    /// Other names that text may use.
    pub aliases: &'static [&'static str],
    /// Number of bits that may be nonzero.
    pub bits: u16,
    /// Length of a value on the wire.
    pub bytes: u8,
    pub maskable: Maskable,
    pub access: Access,
    pub prereq: Prereq,
    pub format: Format,
    pub support: Support,
    /// In order of preference: NXM first, then OXM by version.
    pub wire: &'static [WireId],
}

impl FieldInfo {
    /// The low `bits` bits.
    pub const fn full_mask(&self) -> u128 {
        low_bits(self.bits)
    }

    pub const fn is_supported(&self) -> bool {
        matches!(self.support, Support::Supported)
    }

    /// Is the value as long as it must be, and no longer, on the wire?
    pub const fn is_variable_len(&self) -> bool {
        self.bytes > 16
    }

    pub const fn is_settable(&self) -> bool {
        matches!(self.access, Access::ReadWrite)
    }
}

/// A mask of the low `bits` bits; all 128 for more.
pub const fn low_bits(bits: u16) -> u128 {
    if bits >= 128 {
        u128::MAX
    } else {
        (1 << bits) - 1
    }
}

/// Why a name is no usable field.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum Error {
    #[error("{0}: unknown field")]
    Unknown(String),
    #[error("{0}: field is not supported")]
    NotSupported(String),
}

impl Field {
    pub const fn info(self) -> &'static FieldInfo {
        &INFO[self as usize]
    }

    pub const fn name(self) -> &'static str {
        self.info().name
    }

    pub const fn bits(self) -> u16 {
        self.info().bits
    }

    /// All rows, in table order.
    pub const fn all() -> &'static [FieldInfo] {
        INFO
    }

    /// Finds a field by its name, an alias, or an NXM or OXM name.
    ///
    /// Fields that neither a message can carry nor an action can set are not supported.
    pub fn from_name(name: &str) -> Result<Field, Error> {
        // Flow files name a few fields in each line.
        static NAMES: LazyLock<HashMap<&str, &FieldInfo>> = LazyLock::new(|| {
            let mut names = HashMap::new();
            for info in INFO {
                let aliases = info.aliases.iter().copied();
                let wire = info.wire.iter().map(|w| w.name);
                for name in std::iter::once(info.name).chain(aliases).chain(wire) {
                    names.entry(name).or_insert(info);
                }
            }
            names
        });
        match NAMES.get(name) {
            Some(info) if info.is_supported() || !info.wire.is_empty() => Ok(info.field),
            Some(_) => Err(Error::NotSupported(name.to_owned())),
            None => Err(Error::Unknown(name.to_owned())),
        }
    }

    /// `Reg0` to `Reg15` by number.
    pub fn reg(n: u8) -> Option<Field> {
        Field::run(Field::Reg0, n, 16)
    }

    /// The register's number, when `self` is `Reg0` to `Reg15`.
    pub fn reg_index(self) -> Option<u8> {
        self.index_in_run(Field::Reg0, 16)
    }

    /// `Xreg0` to `Xreg7` by number.
    pub fn xreg(n: u8) -> Option<Field> {
        Field::run(Field::Xreg0, n, 8)
    }

    /// `Xxreg0` to `Xxreg3` by number.
    pub fn xxreg(n: u8) -> Option<Field> {
        Field::run(Field::Xxreg0, n, 4)
    }

    /// `TunMetadata0` to `TunMetadata63` by number.
    pub fn tun_metadata(n: u8) -> Option<Field> {
        Field::run(Field::TunMetadata0, n, 64)
    }

    /// For `Xreg` and `Xxreg`: the first 32-bit register that it overlaps and how many. The
    /// first register holds the most significant bits.
    pub fn overlapped_regs(self) -> Option<(u8, u8)> {
        if let Some(n) = self.index_in_run(Field::Xreg0, 8) {
            Some((n * 2, 2))
        } else {
            self.index_in_run(Field::Xxreg0, 4).map(|n| (n * 4, 4))
        }
    }

    fn run(first: Field, n: u8, count: u8) -> Option<Field> {
        if n >= count {
            return None;
        }
        INFO.get(first as usize + usize::from(n)).map(|i| i.field)
    }

    fn index_in_run(self, first: Field, count: u8) -> Option<u8> {
        let n = (self as u8).checked_sub(first as u8)?;
        (n < count).then_some(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_consistent() {
        for (n, info) in Field::all().iter().enumerate() {
            assert_eq!(info.field as usize, n);
            assert!(info.bits > 0 && u32::from(info.bits) <= u32::from(info.bytes) * 8);
            assert!(
                matches!(info.bytes, 1 | 2 | 3 | 4 | 6 | 8 | 16 | 124),
                "{}",
                info.name
            );
            for w in info.wire {
                assert!(w.number < 128);
            }
        }
    }

    #[test]
    fn names_are_unique() {
        let mut seen = std::collections::BTreeSet::new();
        for info in Field::all() {
            let wires = info.wire.iter().map(|w| w.name);
            for name in info.aliases.iter().copied().chain([info.name]).chain(wires) {
                assert!(seen.insert(name), "{name} twice");
            }
        }
    }

    #[test]
    fn lookup() {
        assert_eq!(Field::from_name("dl_src"), Ok(Field::EthSrc));
        assert_eq!(Field::from_name("NXM_NX_REG3"), Ok(Field::Reg3));
        assert_eq!(Field::from_name("tun_metadata63"), Ok(Field::TunMetadata63));
        assert_eq!(
            Field::from_name("tun_ttl"),
            Err(Error::NotSupported("tun_ttl".to_owned()))
        );
        assert!(matches!(
            Field::from_name("tun_metadata64"),
            Err(Error::Unknown(_))
        ));
        assert_eq!(Field::reg(15), Some(Field::Reg15));
        assert_eq!(Field::reg(16), None);
        assert_eq!(Field::Xreg7.overlapped_regs(), Some((14, 2)));
        assert_eq!(Field::Xxreg3.overlapped_regs(), Some((12, 4)));
        assert_eq!(Field::PktMark.overlapped_regs(), None);
    }
}
