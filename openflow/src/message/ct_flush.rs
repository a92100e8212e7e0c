//! Flushing of tracked connections.

/// `NXT_CT_FLUSH`: which connections are to be forgotten.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct CtFlush {
    /// `None` with a tuple is zone 0; without, all zones.
    pub zone: Option<u16>,
    pub ip_proto: u8,
    pub orig: CtTuple,
    pub reply: CtTuple,
}

/// One direction of a connection; what is 0 is any.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct CtTuple {
    /// An IPv4 address is mapped into IPv6.
    pub src: u128,
    pub dst: u128,
    /// Protocols other than ICMP.
    pub src_port: u16,
    pub dst_port: u16,
    /// ICMP and ICMPv6.
    pub icmp_id: u16,
    pub icmp_type: u8,
    pub icmp_code: u8,
}

impl CtFlush {
    /// Do ICMP's fields stand in the place of ports?
    pub fn is_icmp(&self) -> bool {
        const ICMP: u8 = 1;
        const ICMPV6: u8 = 58;
        matches!(self.ip_proto, ICMP | ICMPV6)
    }
}
