//! Address and number newtypes that every layer uses.
//!
//! A switch has three number spaces for ports; mixing them up is a classic bug, so each has its
//! own type: [`OfPort`] (OpenFlow, per bridge), [`DpPort`] (datapath, host-wide) and [`IfIndex`]
//! (the kernel's network device).

use core::fmt;

/// OpenFlow port number of a bridge, in the 32-bit OpenFlow 1.1+ space.
///
/// Source: OpenFlow 1.3.5, 7.2.1; the 16-bit numbers of OpenFlow 1.0 map 0xff00..=0xffff to
/// 0xffffff00..=0xffffffff.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct OfPort(pub u32);

impl OfPort {
    /// Largest number a physical or logical port may have (OpenFlow 1.0 compatible).
    pub const MAX: OfPort = OfPort(0xfeff);
    /// Absent from the tables: "no port", only in userspace.
    pub const UNSET: OfPort = OfPort(0xffff_fff7);
    pub const IN_PORT: OfPort = OfPort(0xffff_fff8);
    pub const TABLE: OfPort = OfPort(0xffff_fff9);
    pub const NORMAL: OfPort = OfPort(0xffff_fffa);
    pub const FLOOD: OfPort = OfPort(0xffff_fffb);
    pub const ALL: OfPort = OfPort(0xffff_fffc);
    pub const CONTROLLER: OfPort = OfPort(0xffff_fffd);
    pub const LOCAL: OfPort = OfPort(0xffff_fffe);
    pub const ANY: OfPort = OfPort(0xffff_ffff);

    /// From the 16-bit space of OpenFlow 1.0 and NXM.
    pub const fn from_u16(n: u16) -> OfPort {
        if n >= 0xff00 {
            OfPort(0xffff_0000 | n as u32)
        } else {
            OfPort(n as u32)
        }
    }

    /// To the 16-bit space; `None` for numbers it cannot express.
    pub const fn to_u16(self) -> Option<u16> {
        if self.0 < 0xff00 || self.0 >= 0xffff_ff00 {
            Some(self.0 as u16)
        } else {
            None
        }
    }
}

/// Datapath port number: dense, host-wide, stable while the port exists. 0 is never a port.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct DpPort(pub u32);

impl DpPort {
    pub const NONE: DpPort = DpPort(0);
}

/// Number of a meter in the datapath. 0 is never a meter.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct DpMeter(pub u32);

/// Kernel interface index.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct IfIndex(pub u32);

/// 48-bit Ethernet address in transmission order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(transparent)]
pub struct EthAddr(pub [u8; 6]);

impl EthAddr {
    pub const ZERO: EthAddr = EthAddr([0; 6]);
    pub const BROADCAST: EthAddr = EthAddr([0xff; 6]);

    pub const fn is_multicast(self) -> bool {
        self.0[0] & 1 != 0
    }

    pub const fn is_broadcast(self) -> bool {
        let b = self.0;
        b[0] == 0xff && b[1] == 0xff && b[2] == 0xff && b[3] == 0xff && b[4] == 0xff && b[5] == 0xff
    }

    pub const fn is_zero(self) -> bool {
        self.to_u64() == 0
    }

    /// 01:80:c2:00:00:0x: reserved for link protocols, never forwarded by NORMAL
    /// (IEEE 802.1D, table 7-10).
    pub const fn is_reserved(self) -> bool {
        self.to_u64() & 0xffff_ffff_fff0 == 0x0180_c200_0000
    }

    pub const fn to_u64(self) -> u64 {
        let b = self.0;
        u64::from_be_bytes([0, 0, b[0], b[1], b[2], b[3], b[4], b[5]])
    }

    pub const fn from_u64(v: u64) -> EthAddr {
        let b = v.to_be_bytes();
        EthAddr([b[2], b[3], b[4], b[5], b[6], b[7]])
    }
}

impl fmt::Display for EthAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let b = self.0;
        write!(
            f,
            "{:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}",
            b[0], b[1], b[2], b[3], b[4], b[5]
        )
    }
}

impl fmt::Debug for EthAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
