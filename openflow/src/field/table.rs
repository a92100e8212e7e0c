//! The rows of the field table and the enum made from them.
//!
//! Columns: variant, name, aliases, bits/bytes, mask, access, prerequisite, format, support,
//! wire identifiers. The order is the order in which matches are put on the wire, so that
//! prerequisites come before what needs them (OpenFlow 1.3.5, 7.2.3.6).

use super::{Access, FieldInfo, Format, Maskable, Prereq, Support, WireId};

const ONF: u32 = 0x4f4e_4600;
const NICIRA: u32 = 0x0000_2320;
const NSH: u32 = 0x005a_d650;

macro_rules! fields {
    ($($id:ident = $name:literal [$($alias:literal),*], $bits:literal / $bytes:literal,
       $mask:ident, $access:ident, $prereq:ident, $format:ident, $support:ident,
       [$($wire:expr),*];)*) => {
        /// A match field; the variants are in wire order. See [`FieldInfo`] for its properties.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr(u8)]
        pub enum Field {
            $($id),*
        }

        pub(super) static INFO: &[FieldInfo] = &[$(FieldInfo {
            field: Field::$id,
            name: $name,
            aliases: &[$($alias),*],
            bits: $bits,
            bytes: $bytes,
            maskable: Maskable::$mask,
            access: Access::$access,
            prereq: Prereq::$prereq,
            format: Format::$format,
            support: Support::$support,
            wire: &[$($wire),*],
        }),*];
    };
}

const fn nxm(name: &'static str, class: u16, number: u8) -> WireId {
    WireId {
        name,
        class,
        experimenter: 0,
        number,
        since: 0,
    }
}

const fn oxm(name: &'static str, number: u8, since: u8) -> WireId {
    WireId {
        name,
        class: 0x8000,
        experimenter: 0,
        number,
        since,
    }
}

const fn pkt_reg(name: &'static str, number: u8) -> WireId {
    WireId {
        name,
        class: 0x8001,
        experimenter: 0,
        number,
        since: 4,
    }
}

const fn exp(name: &'static str, experimenter: u32, number: u8, since: u8) -> WireId {
    WireId {
        name,
        class: 0xffff,
        experimenter,
        number,
        since,
    }
}

const fn eric(name: &'static str, number: u8) -> WireId {
    WireId {
        name,
        class: 0x1000,
        experimenter: 0,
        number,
        since: 0,
    }
}

fields! {
    // Metadata about the packet.
    PacketType = "packet_type" [], 32/4, Exact, ReadOnly, None, PacketType, NotYet, [oxm("OXM_OF_PACKET_TYPE", 44, 6)];
    DpHash = "dp_hash" [], 32/4, Any, ReadOnly, None, Hex, NotYet, [exp("NXOXM_ET_DP_HASH", NICIRA, 0, 0), nxm("NXM_NX_DP_HASH", 1, 35)];
    RecircId = "recirc_id" [], 32/4, Exact, ReadOnly, None, Decimal, NotYet, [nxm("NXM_NX_RECIRC_ID", 1, 36)];
    ConjId = "conj_id" [], 32/4, Exact, ReadOnly, None, Decimal, NotYet, [nxm("NXM_NX_CONJ_ID", 1, 37)];
    InPort16 = "in_port" [], 16/2, Exact, ReadWrite, None, OfPort16, Supported, [nxm("NXM_OF_IN_PORT", 0, 0)];
    InPort = "in_port_oxm" [], 32/4, Exact, ReadWrite, None, OfPort, Supported, [oxm("OXM_OF_IN_PORT", 0, 3)];
    InPhyPort = "in_phy_port" [], 32/4, Exact, ReadOnly, InPort, OfPort, NotYet, [oxm("OXM_OF_IN_PHY_PORT", 1, 3)];
    SkbPriority = "skb_priority" [], 32/4, Exact, ReadOnly, None, Hex, NotYet, [];
    ActsetOutput = "actset_output" [], 32/4, Exact, ReadOnly, None, OfPort, NotYet, [exp("ONFOXM_ET_ACTSET_OUTPUT", ONF, 43, 4), oxm("OXM_OF_ACTSET_OUTPUT", 43, 6)];
    // Ethernet.
    EthSrc = "eth_src" ["dl_src"], 48/6, Any, ReadWrite, Ethernet, Eth, Supported, [nxm("NXM_OF_ETH_SRC", 0, 2), oxm("OXM_OF_ETH_SRC", 4, 3)];
    EthDst = "eth_dst" ["dl_dst"], 48/6, Any, ReadWrite, Ethernet, Eth, Supported, [nxm("NXM_OF_ETH_DST", 0, 1), oxm("OXM_OF_ETH_DST", 3, 3)];
    EthType = "eth_type" ["dl_type"], 16/2, Exact, ReadOnly, Ethernet, Hex, Supported, [nxm("NXM_OF_ETH_TYPE", 0, 3), oxm("OXM_OF_ETH_TYPE", 5, 3)];
    // 802.1Q. A match holds only `VlanTci`; the others are views of it.
    VlanTci = "vlan_tci" [], 16/2, Any, ReadWrite, Ethernet, Hex, Supported, [nxm("NXM_OF_VLAN_TCI", 0, 4)];
    DlVlan = "dl_vlan" [], 12/2, Exact, ReadWrite, Ethernet, Decimal, Supported, [];
    VlanVid = "vlan_vid" [], 12/2, Any, ReadWrite, Ethernet, Decimal, Supported, [oxm("OXM_OF_VLAN_VID", 6, 3)];
    DlVlanPcp = "dl_vlan_pcp" [], 3/1, Exact, ReadWrite, Ethernet, Decimal, Supported, [];
    VlanPcp = "vlan_pcp" [], 3/1, Exact, ReadWrite, VlanVid, Decimal, Supported, [oxm("OXM_OF_VLAN_PCP", 7, 3)];
    // Provider backbone bridging (of the specification; Open vSwitch has none).
    PbbIsid = "pbb_isid" [], 24/3, Any, ReadWrite, Pbb, Hex, NotYet, [oxm("OXM_OF_PBB_ISID", 37, 4)];
    PbbUca = "pbb_uca" [], 1/1, Exact, ReadWrite, Pbb, Decimal, NotYet, [oxm("OXM_OF_PBB_UCA", 41, 5)];
    // MPLS.
    MplsTc = "mpls_tc" [], 3/1, Exact, ReadWrite, Mpls, Decimal, NotYet, [oxm("OXM_OF_MPLS_TC", 35, 3)];
    MplsBos = "mpls_bos" [], 1/1, Exact, ReadOnly, Mpls, Decimal, NotYet, [oxm("OXM_OF_MPLS_BOS", 36, 4)];
    MplsTtl = "mpls_ttl" [], 8/1, Exact, ReadWrite, Mpls, Decimal, NotYet, [nxm("NXM_NX_MPLS_TTL", 1, 30)];
    MplsLabel = "mpls_label" [], 20/4, Exact, ReadWrite, Mpls, Decimal, NotYet, [oxm("OXM_OF_MPLS_LABEL", 34, 3)];
    // IP.
    Ipv4Src = "ip_src" ["nw_src", "ipv4_src"], 32/4, Any, ReadWrite, Ipv4, Ipv4, Supported, [nxm("NXM_OF_IP_SRC", 0, 7), oxm("OXM_OF_IPV4_SRC", 11, 3)];
    Ipv4Dst = "ip_dst" ["nw_dst", "ipv4_dst"], 32/4, Any, ReadWrite, Ipv4, Ipv4, Supported, [nxm("NXM_OF_IP_DST", 0, 8), oxm("OXM_OF_IPV4_DST", 12, 3)];
    Ipv6Src = "ipv6_src" [], 128/16, Any, ReadWrite, Ipv6, Ipv6, Supported, [nxm("NXM_NX_IPV6_SRC", 1, 19), oxm("OXM_OF_IPV6_SRC", 26, 3)];
    Ipv6Dst = "ipv6_dst" [], 128/16, Any, ReadWrite, Ipv6, Ipv6, Supported, [nxm("NXM_NX_IPV6_DST", 1, 20), oxm("OXM_OF_IPV6_DST", 27, 3)];
    IpFrag = "ip_frag" ["nw_frag"], 2/1, Any, ReadOnly, Ip, Frag, Supported, [nxm("NXM_NX_IP_FRAG", 1, 26)];
    NwTos = "nw_tos" [], 8/1, Exact, ReadWrite, Ip, Decimal, Supported, [nxm("NXM_OF_IP_TOS", 0, 5)];
    IpDscp = "ip_dscp" ["nw_tos_shifted"], 6/1, Exact, ReadWrite, Ip, Decimal, Supported, [oxm("OXM_OF_IP_DSCP", 8, 3)];
    IpEcn = "nw_ecn" ["ip_ecn"], 2/1, Exact, ReadWrite, Ip, Decimal, Supported, [nxm("NXM_NX_IP_ECN", 1, 28), oxm("OXM_OF_IP_ECN", 9, 3)];
    IpTtl = "nw_ttl" [], 8/1, Exact, ReadWrite, Ip, Decimal, Supported, [nxm("NXM_NX_IP_TTL", 1, 29)];
    Ipv6Label = "ipv6_label" [], 20/4, Any, ReadWrite, Ipv6, Hex, Supported, [nxm("NXM_NX_IPV6_LABEL", 1, 27), oxm("OXM_OF_IPV6_FLABEL", 28, 3)];
    Ipv6Exthdr = "ipv6_exthdr" [], 9/2, Any, ReadOnly, Ipv6, Hex, NotYet, [oxm("OXM_OF_IPV6_EXTHDR", 39, 4)];
    IpProto = "nw_proto" ["ip_proto"], 8/1, Exact, ReadOnly, Ip, Decimal, Supported, [nxm("NXM_OF_IP_PROTO", 0, 6), oxm("OXM_OF_IP_PROTO", 10, 3)];
    // Transport.
    TcpSrc = "tcp_src" ["tp_src"], 16/2, Any, ReadWrite, Tcp, Decimal, Supported, [nxm("NXM_OF_TCP_SRC", 0, 9), oxm("OXM_OF_TCP_SRC", 13, 3)];
    TcpDst = "tcp_dst" ["tp_dst"], 16/2, Any, ReadWrite, Tcp, Decimal, Supported, [nxm("NXM_OF_TCP_DST", 0, 10), oxm("OXM_OF_TCP_DST", 14, 3)];
    TcpFlags = "tcp_flags" [], 12/2, Any, ReadOnly, Tcp, TcpFlags, Supported, [nxm("NXM_NX_TCP_FLAGS", 1, 34), exp("ONFOXM_ET_TCP_FLAGS", ONF, 42, 4), oxm("OXM_OF_TCP_FLAGS", 42, 6)];
    UdpSrc = "udp_src" [], 16/2, Any, ReadWrite, Udp, Decimal, Supported, [nxm("NXM_OF_UDP_SRC", 0, 11), oxm("OXM_OF_UDP_SRC", 15, 3)];
    UdpDst = "udp_dst" [], 16/2, Any, ReadWrite, Udp, Decimal, Supported, [nxm("NXM_OF_UDP_DST", 0, 12), oxm("OXM_OF_UDP_DST", 16, 3)];
    SctpSrc = "sctp_src" [], 16/2, Any, ReadWrite, Sctp, Decimal, Supported, [oxm("OXM_OF_SCTP_SRC", 17, 3)];
    SctpDst = "sctp_dst" [], 16/2, Any, ReadWrite, Sctp, Decimal, Supported, [oxm("OXM_OF_SCTP_DST", 18, 3)];
    IcmpType = "icmp_type" [], 8/1, Exact, ReadWrite, Icmpv4, Decimal, Supported, [nxm("NXM_OF_ICMP_TYPE", 0, 13), oxm("OXM_OF_ICMPV4_TYPE", 19, 3)];
    IcmpCode = "icmp_code" [], 8/1, Exact, ReadWrite, Icmpv4, Decimal, Supported, [nxm("NXM_OF_ICMP_CODE", 0, 14), oxm("OXM_OF_ICMPV4_CODE", 20, 3)];
    Icmpv6Type = "icmpv6_type" [], 8/1, Exact, ReadWrite, Icmpv6, Decimal, Supported, [nxm("NXM_NX_ICMPV6_TYPE", 1, 21), oxm("OXM_OF_ICMPV6_TYPE", 29, 3)];
    Icmpv6Code = "icmpv6_code" [], 8/1, Exact, ReadWrite, Icmpv6, Decimal, Supported, [nxm("NXM_NX_ICMPV6_CODE", 1, 22), oxm("OXM_OF_ICMPV6_CODE", 30, 3)];
    NdReserved = "nd_reserved" [], 32/4, Exact, ReadWrite, Nd, Decimal, NotYet, [eric("ERICOXM_OF_ICMPV6_ND_RESERVED", 1)];
    NdTarget = "nd_target" [], 128/16, Any, ReadWrite, Nd, Ipv6, Supported, [nxm("NXM_NX_ND_TARGET", 1, 23), oxm("OXM_OF_IPV6_ND_TARGET", 31, 3)];
    NdOptionsType = "nd_options_type" [], 8/1, Exact, ReadWrite, Nd, Decimal, NotYet, [eric("ERICOXM_OF_ICMPV6_ND_OPTIONS_TYPE", 2)];
    NdSll = "nd_sll" [], 48/6, Any, ReadWrite, NdSolicit, Eth, Supported, [nxm("NXM_NX_ND_SLL", 1, 24), oxm("OXM_OF_IPV6_ND_SLL", 32, 3)];
    NdTll = "nd_tll" [], 48/6, Any, ReadWrite, NdAdvert, Eth, Supported, [nxm("NXM_NX_ND_TLL", 1, 25), oxm("OXM_OF_IPV6_ND_TLL", 33, 3)];
    // ARP.
    ArpOp = "arp_op" [], 16/2, Exact, ReadWrite, Arp, Decimal, Supported, [nxm("NXM_OF_ARP_OP", 0, 15), oxm("OXM_OF_ARP_OP", 21, 3)];
    ArpSpa = "arp_spa" [], 32/4, Any, ReadWrite, Arp, Ipv4, Supported, [nxm("NXM_OF_ARP_SPA", 0, 16), oxm("OXM_OF_ARP_SPA", 22, 3)];
    ArpTpa = "arp_tpa" [], 32/4, Any, ReadWrite, Arp, Ipv4, Supported, [nxm("NXM_OF_ARP_TPA", 0, 17), oxm("OXM_OF_ARP_TPA", 23, 3)];
    ArpSha = "arp_sha" [], 48/6, Any, ReadWrite, Arp, Eth, Supported, [nxm("NXM_NX_ARP_SHA", 1, 17), oxm("OXM_OF_ARP_SHA", 24, 3)];
    ArpTha = "arp_tha" [], 48/6, Any, ReadWrite, Arp, Eth, Supported, [nxm("NXM_NX_ARP_THA", 1, 18), oxm("OXM_OF_ARP_THA", 25, 3)];
    // Tunnels.
    TunId = "tun_id" ["tunnel_id"], 64/8, Any, ReadWrite, None, Hex, NotYet, [nxm("NXM_NX_TUN_ID", 1, 16), oxm("OXM_OF_TUNNEL_ID", 38, 4)];
    TunFlags = "tun_flags" [], 1/2, Any, ReadWrite, None, TunFlags, NotYet, [nxm("NXM_NX_TUN_FLAGS", 1, 104)];
    TunSrc = "tun_src" [], 32/4, Any, ReadWrite, None, Ipv4, NotYet, [nxm("NXM_NX_TUN_IPV4_SRC", 1, 31)];
    TunDst = "tun_dst" [], 32/4, Any, ReadWrite, None, Ipv4, NotYet, [nxm("NXM_NX_TUN_IPV4_DST", 1, 32)];
    TunIpv6Src = "tun_ipv6_src" [], 128/16, Any, ReadWrite, None, Ipv6, NotYet, [nxm("NXM_NX_TUN_IPV6_SRC", 1, 109)];
    TunIpv6Dst = "tun_ipv6_dst" [], 128/16, Any, ReadWrite, None, Ipv6, NotYet, [nxm("NXM_NX_TUN_IPV6_DST", 1, 110)];
    TunTtl = "tun_ttl" [], 8/1, Exact, ReadOnly, None, Decimal, NotYet, [];
    TunTos = "tun_tos" [], 8/1, Exact, ReadOnly, None, Decimal, NotYet, [];
    TunGbpId = "tun_gbp_id" [], 16/2, Any, ReadWrite, None, Decimal, NotYet, [nxm("NXM_NX_TUN_GBP_ID", 1, 38)];
    TunGbpFlags = "tun_gbp_flags" [], 8/1, Any, ReadWrite, None, Hex, NotYet, [nxm("NXM_NX_TUN_GBP_FLAGS", 1, 39)];
    // Options of Geneve tunnels: of variable length, as the switch's map of options says.
    TunMetadata0 = "tun_metadata0" [], 992/124, Any, ReadWrite, None, Hex, NotYet, [nxm("NXM_NX_TUN_METADATA0", 1, 40)];
    TunMetadata1 = "tun_metadata1" [], 992/124, Any, ReadWrite, None, Hex, NotYet, [nxm("NXM_NX_TUN_METADATA1", 1, 41)];
    TunMetadata2 = "tun_metadata2" [], 992/124, Any, ReadWrite, None, Hex, NotYet, [nxm("NXM_NX_TUN_METADATA2", 1, 42)];
    TunMetadata3 = "tun_metadata3" [], 992/124, Any, ReadWrite, None, Hex, NotYet, [nxm("NXM_NX_TUN_METADATA3", 1, 43)];
    TunMetadata4 = "tun_metadata4" [], 992/124, Any, ReadWrite, None, Hex, NotYet, [nxm("NXM_NX_TUN_METADATA4", 1, 44)];
    TunMetadata5 = "tun_metadata5" [], 992/124, Any, ReadWrite, None, Hex, NotYet, [nxm("NXM_NX_TUN_METADATA5", 1, 45)];
    TunMetadata6 = "tun_metadata6" [], 992/124, Any, ReadWrite, None, Hex, NotYet, [nxm("NXM_NX_TUN_METADATA6", 1, 46)];
    TunMetadata7 = "tun_metadata7" [], 992/124, Any, ReadWrite, None, Hex, NotYet, [nxm("NXM_NX_TUN_METADATA7", 1, 47)];
    TunMetadata8 = "tun_metadata8" [], 992/124, Any, ReadWrite, None, Hex, NotYet, [nxm("NXM_NX_TUN_METADATA8", 1, 48)];
    TunMetadata9 = "tun_metadata9" [], 992/124, Any, ReadWrite, None, Hex, NotYet, [nxm("NXM_NX_TUN_METADATA9", 1, 49)];
    TunMetadata10 = "tun_metadata10" [], 992/124, Any, ReadWrite, None, Hex, NotYet, [nxm("NXM_NX_TUN_METADATA10", 1, 50)];
    TunMetadata11 = "tun_metadata11" [], 992/124, Any, ReadWrite, None, Hex, NotYet, [nxm("NXM_NX_TUN_METADATA11", 1, 51)];
    TunMetadata12 = "tun_metadata12" [], 992/124, Any, ReadWrite, None, Hex, NotYet, [nxm("NXM_NX_TUN_METADATA12", 1, 52)];
    TunMetadata13 = "tun_metadata13" [], 992/124, Any, ReadWrite, None, Hex, NotYet, [nxm("NXM_NX_TUN_METADATA13", 1, 53)];
    TunMetadata14 = "tun_metadata14" [], 992/124, Any, ReadWrite, None, Hex, NotYet, [nxm("NXM_NX_TUN_METADATA14", 1, 54)];
    TunMetadata15 = "tun_metadata15" [], 992/124, Any, ReadWrite, None, Hex, NotYet, [nxm("NXM_NX_TUN_METADATA15", 1, 55)];
    TunMetadata16 = "tun_metadata16" [], 992/124, Any, ReadWrite, None, Hex, NotYet, [nxm("NXM_NX_TUN_METADATA16", 1, 56)];
    TunMetadata17 = "tun_metadata17" [], 992/124, Any, ReadWrite, None, Hex, NotYet, [nxm("NXM_NX_TUN_METADATA17", 1, 57)];
    TunMetadata18 = "tun_metadata18" [], 992/124, Any, ReadWrite, None, Hex, NotYet, [nxm("NXM_NX_TUN_METADATA18", 1, 58)];
    TunMetadata19 = "tun_metadata19" [], 992/124, Any, ReadWrite, None, Hex, NotYet, [nxm("NXM_NX_TUN_METADATA19", 1, 59)];
    TunMetadata20 = "tun_metadata20" [], 992/124, Any, ReadWrite, None, Hex, NotYet, [nxm("NXM_NX_TUN_METADATA20", 1, 60)];
    TunMetadata21 = "tun_metadata21" [], 992/124, Any, ReadWrite, None, Hex, NotYet, [nxm("NXM_NX_TUN_METADATA21", 1, 61)];
    TunMetadata22 = "tun_metadata22" [], 992/124, Any, ReadWrite, None, Hex, NotYet, [nxm("NXM_NX_TUN_METADATA22", 1, 62)];
    TunMetadata23 = "tun_metadata23" [], 992/124, Any, ReadWrite, None, Hex, NotYet, [nxm("NXM_NX_TUN_METADATA23", 1, 63)];
    TunMetadata24 = "tun_metadata24" [], 992/124, Any, ReadWrite, None, Hex, NotYet, [nxm("NXM_NX_TUN_METADATA24", 1, 64)];
    TunMetadata25 = "tun_metadata25" [], 992/124, Any, ReadWrite, None, Hex, NotYet, [nxm("NXM_NX_TUN_METADATA25", 1, 65)];
    TunMetadata26 = "tun_metadata26" [], 992/124, Any, ReadWrite, None, Hex, NotYet, [nxm("NXM_NX_TUN_METADATA26", 1, 66)];
    TunMetadata27 = "tun_metadata27" [], 992/124, Any, ReadWrite, None, Hex, NotYet, [nxm("NXM_NX_TUN_METADATA27", 1, 67)];
    TunMetadata28 = "tun_metadata28" [], 992/124, Any, ReadWrite, None, Hex, NotYet, [nxm("NXM_NX_TUN_METADATA28", 1, 68)];
    TunMetadata29 = "tun_metadata29" [], 992/124, Any, ReadWrite, None, Hex, NotYet, [nxm("NXM_NX_TUN_METADATA29", 1, 69)];
    TunMetadata30 = "tun_metadata30" [], 992/124, Any, ReadWrite, None, Hex, NotYet, [nxm("NXM_NX_TUN_METADATA30", 1, 70)];
    TunMetadata31 = "tun_metadata31" [], 992/124, Any, ReadWrite, None, Hex, NotYet, [nxm("NXM_NX_TUN_METADATA31", 1, 71)];
    TunMetadata32 = "tun_metadata32" [], 992/124, Any, ReadWrite, None, Hex, NotYet, [nxm("NXM_NX_TUN_METADATA32", 1, 72)];
    TunMetadata33 = "tun_metadata33" [], 992/124, Any, ReadWrite, None, Hex, NotYet, [nxm("NXM_NX_TUN_METADATA33", 1, 73)];
    TunMetadata34 = "tun_metadata34" [], 992/124, Any, ReadWrite, None, Hex, NotYet, [nxm("NXM_NX_TUN_METADATA34", 1, 74)];
    TunMetadata35 = "tun_metadata35" [], 992/124, Any, ReadWrite, None, Hex, NotYet, [nxm("NXM_NX_TUN_METADATA35", 1, 75)];
    TunMetadata36 = "tun_metadata36" [], 992/124, Any, ReadWrite, None, Hex, NotYet, [nxm("NXM_NX_TUN_METADATA36", 1, 76)];
    TunMetadata37 = "tun_metadata37" [], 992/124, Any, ReadWrite, None, Hex, NotYet, [nxm("NXM_NX_TUN_METADATA37", 1, 77)];
    TunMetadata38 = "tun_metadata38" [], 992/124, Any, ReadWrite, None, Hex, NotYet, [nxm("NXM_NX_TUN_METADATA38", 1, 78)];
    TunMetadata39 = "tun_metadata39" [], 992/124, Any, ReadWrite, None, Hex, NotYet, [nxm("NXM_NX_TUN_METADATA39", 1, 79)];
    TunMetadata40 = "tun_metadata40" [], 992/124, Any, ReadWrite, None, Hex, NotYet, [nxm("NXM_NX_TUN_METADATA40", 1, 80)];
    TunMetadata41 = "tun_metadata41" [], 992/124, Any, ReadWrite, None, Hex, NotYet, [nxm("NXM_NX_TUN_METADATA41", 1, 81)];
    TunMetadata42 = "tun_metadata42" [], 992/124, Any, ReadWrite, None, Hex, NotYet, [nxm("NXM_NX_TUN_METADATA42", 1, 82)];
    TunMetadata43 = "tun_metadata43" [], 992/124, Any, ReadWrite, None, Hex, NotYet, [nxm("NXM_NX_TUN_METADATA43", 1, 83)];
    TunMetadata44 = "tun_metadata44" [], 992/124, Any, ReadWrite, None, Hex, NotYet, [nxm("NXM_NX_TUN_METADATA44", 1, 84)];
    TunMetadata45 = "tun_metadata45" [], 992/124, Any, ReadWrite, None, Hex, NotYet, [nxm("NXM_NX_TUN_METADATA45", 1, 85)];
    TunMetadata46 = "tun_metadata46" [], 992/124, Any, ReadWrite, None, Hex, NotYet, [nxm("NXM_NX_TUN_METADATA46", 1, 86)];
    TunMetadata47 = "tun_metadata47" [], 992/124, Any, ReadWrite, None, Hex, NotYet, [nxm("NXM_NX_TUN_METADATA47", 1, 87)];
    TunMetadata48 = "tun_metadata48" [], 992/124, Any, ReadWrite, None, Hex, NotYet, [nxm("NXM_NX_TUN_METADATA48", 1, 88)];
    TunMetadata49 = "tun_metadata49" [], 992/124, Any, ReadWrite, None, Hex, NotYet, [nxm("NXM_NX_TUN_METADATA49", 1, 89)];
    TunMetadata50 = "tun_metadata50" [], 992/124, Any, ReadWrite, None, Hex, NotYet, [nxm("NXM_NX_TUN_METADATA50", 1, 90)];
    TunMetadata51 = "tun_metadata51" [], 992/124, Any, ReadWrite, None, Hex, NotYet, [nxm("NXM_NX_TUN_METADATA51", 1, 91)];
    TunMetadata52 = "tun_metadata52" [], 992/124, Any, ReadWrite, None, Hex, NotYet, [nxm("NXM_NX_TUN_METADATA52", 1, 92)];
    TunMetadata53 = "tun_metadata53" [], 992/124, Any, ReadWrite, None, Hex, NotYet, [nxm("NXM_NX_TUN_METADATA53", 1, 93)];
    TunMetadata54 = "tun_metadata54" [], 992/124, Any, ReadWrite, None, Hex, NotYet, [nxm("NXM_NX_TUN_METADATA54", 1, 94)];
    TunMetadata55 = "tun_metadata55" [], 992/124, Any, ReadWrite, None, Hex, NotYet, [nxm("NXM_NX_TUN_METADATA55", 1, 95)];
    TunMetadata56 = "tun_metadata56" [], 992/124, Any, ReadWrite, None, Hex, NotYet, [nxm("NXM_NX_TUN_METADATA56", 1, 96)];
    TunMetadata57 = "tun_metadata57" [], 992/124, Any, ReadWrite, None, Hex, NotYet, [nxm("NXM_NX_TUN_METADATA57", 1, 97)];
    TunMetadata58 = "tun_metadata58" [], 992/124, Any, ReadWrite, None, Hex, NotYet, [nxm("NXM_NX_TUN_METADATA58", 1, 98)];
    TunMetadata59 = "tun_metadata59" [], 992/124, Any, ReadWrite, None, Hex, NotYet, [nxm("NXM_NX_TUN_METADATA59", 1, 99)];
    TunMetadata60 = "tun_metadata60" [], 992/124, Any, ReadWrite, None, Hex, NotYet, [nxm("NXM_NX_TUN_METADATA60", 1, 100)];
    TunMetadata61 = "tun_metadata61" [], 992/124, Any, ReadWrite, None, Hex, NotYet, [nxm("NXM_NX_TUN_METADATA61", 1, 101)];
    TunMetadata62 = "tun_metadata62" [], 992/124, Any, ReadWrite, None, Hex, NotYet, [nxm("NXM_NX_TUN_METADATA62", 1, 102)];
    TunMetadata63 = "tun_metadata63" [], 992/124, Any, ReadWrite, None, Hex, NotYet, [nxm("NXM_NX_TUN_METADATA63", 1, 103)];
    // More of tunnels.
    TunErspanIdx = "tun_erspan_idx" [], 20/4, Any, ReadWrite, None, Hex, NotYet, [exp("NXOXM_ET_ERSPAN_IDX", NICIRA, 11, 0)];
    TunErspanVer = "tun_erspan_ver" [], 4/1, Any, ReadWrite, None, Decimal, NotYet, [exp("NXOXM_ET_ERSPAN_VER", NICIRA, 12, 0)];
    TunErspanDir = "tun_erspan_dir" [], 1/1, Any, ReadWrite, None, Decimal, NotYet, [exp("NXOXM_ET_ERSPAN_DIR", NICIRA, 13, 0)];
    TunErspanHwid = "tun_erspan_hwid" [], 6/1, Any, ReadWrite, None, Hex, NotYet, [exp("NXOXM_ET_ERSPAN_HWID", NICIRA, 14, 0)];
    TunGtpuFlags = "tun_gtpu_flags" ["gtpu_flags"], 8/1, Any, ReadOnly, None, Hex, NotYet, [exp("NXOXM_ET_GTPU_FLAGS", NICIRA, 15, 0)];
    TunGtpuMsgtype = "tun_gtpu_msgtype" ["gtpu_msgtype"], 8/1, Any, ReadOnly, None, Decimal, NotYet, [exp("NXOXM_ET_GTPU_MSGTYPE", NICIRA, 16, 0)];
    // Network service header.
    NshFlags = "nsh_flags" [], 8/1, Any, ReadWrite, Nsh, Decimal, NotYet, [exp("NXOXM_NSH_FLAGS", NSH, 1, 0)];
    NshTtl = "nsh_ttl" [], 6/1, Exact, ReadWrite, Nsh, Decimal, NotYet, [exp("NXOXM_NSH_TTL", NSH, 10, 0)];
    NshMdtype = "nsh_mdtype" [], 8/1, Exact, ReadOnly, Nsh, Decimal, NotYet, [exp("NXOXM_NSH_MDTYPE", NSH, 2, 0)];
    NshNp = "nsh_np" [], 8/1, Exact, ReadOnly, Nsh, Decimal, NotYet, [exp("NXOXM_NSH_NP", NSH, 3, 0)];
    NshSpi = "nsh_spi" ["nsp"], 24/4, Exact, ReadWrite, Nsh, Hex, NotYet, [exp("NXOXM_NSH_SPI", NSH, 4, 0)];
    NshSi = "nsh_si" ["nsi"], 8/1, Exact, ReadWrite, Nsh, Decimal, NotYet, [exp("NXOXM_NSH_SI", NSH, 5, 0)];
    NshC1 = "nsh_c1" ["nshc1"], 32/4, Any, ReadWrite, Nsh, Hex, NotYet, [exp("NXOXM_NSH_C1", NSH, 6, 0)];
    NshC2 = "nsh_c2" ["nshc2"], 32/4, Any, ReadWrite, Nsh, Hex, NotYet, [exp("NXOXM_NSH_C2", NSH, 7, 0)];
    NshC3 = "nsh_c3" ["nshc3"], 32/4, Any, ReadWrite, Nsh, Hex, NotYet, [exp("NXOXM_NSH_C3", NSH, 8, 0)];
    NshC4 = "nsh_c4" ["nshc4"], 32/4, Any, ReadWrite, Nsh, Hex, NotYet, [exp("NXOXM_NSH_C4", NSH, 9, 0)];
    // Registers. A match holds only `Reg0` to `Reg15`; `Xreg` and `Xxreg` are views of them.
    Reg0 = "reg0" [], 32/4, Any, ReadWrite, None, Hex, Supported, [nxm("NXM_NX_REG0", 1, 0)];
    Reg1 = "reg1" [], 32/4, Any, ReadWrite, None, Hex, Supported, [nxm("NXM_NX_REG1", 1, 1)];
    Reg2 = "reg2" [], 32/4, Any, ReadWrite, None, Hex, Supported, [nxm("NXM_NX_REG2", 1, 2)];
    Reg3 = "reg3" [], 32/4, Any, ReadWrite, None, Hex, Supported, [nxm("NXM_NX_REG3", 1, 3)];
    Reg4 = "reg4" [], 32/4, Any, ReadWrite, None, Hex, Supported, [nxm("NXM_NX_REG4", 1, 4)];
    Reg5 = "reg5" [], 32/4, Any, ReadWrite, None, Hex, Supported, [nxm("NXM_NX_REG5", 1, 5)];
    Reg6 = "reg6" [], 32/4, Any, ReadWrite, None, Hex, Supported, [nxm("NXM_NX_REG6", 1, 6)];
    Reg7 = "reg7" [], 32/4, Any, ReadWrite, None, Hex, Supported, [nxm("NXM_NX_REG7", 1, 7)];
    Reg8 = "reg8" [], 32/4, Any, ReadWrite, None, Hex, Supported, [nxm("NXM_NX_REG8", 1, 8)];
    Reg9 = "reg9" [], 32/4, Any, ReadWrite, None, Hex, Supported, [nxm("NXM_NX_REG9", 1, 9)];
    Reg10 = "reg10" [], 32/4, Any, ReadWrite, None, Hex, Supported, [nxm("NXM_NX_REG10", 1, 10)];
    Reg11 = "reg11" [], 32/4, Any, ReadWrite, None, Hex, Supported, [nxm("NXM_NX_REG11", 1, 11)];
    Reg12 = "reg12" [], 32/4, Any, ReadWrite, None, Hex, Supported, [nxm("NXM_NX_REG12", 1, 12)];
    Reg13 = "reg13" [], 32/4, Any, ReadWrite, None, Hex, Supported, [nxm("NXM_NX_REG13", 1, 13)];
    Reg14 = "reg14" [], 32/4, Any, ReadWrite, None, Hex, Supported, [nxm("NXM_NX_REG14", 1, 14)];
    Reg15 = "reg15" [], 32/4, Any, ReadWrite, None, Hex, Supported, [nxm("NXM_NX_REG15", 1, 15)];
    Xreg0 = "xreg0" [], 64/8, Any, ReadWrite, None, Hex, Supported, [pkt_reg("OXM_OF_PKT_REG0", 0)];
    Xreg1 = "xreg1" [], 64/8, Any, ReadWrite, None, Hex, Supported, [pkt_reg("OXM_OF_PKT_REG1", 1)];
    Xreg2 = "xreg2" [], 64/8, Any, ReadWrite, None, Hex, Supported, [pkt_reg("OXM_OF_PKT_REG2", 2)];
    Xreg3 = "xreg3" [], 64/8, Any, ReadWrite, None, Hex, Supported, [pkt_reg("OXM_OF_PKT_REG3", 3)];
    Xreg4 = "xreg4" [], 64/8, Any, ReadWrite, None, Hex, Supported, [pkt_reg("OXM_OF_PKT_REG4", 4)];
    Xreg5 = "xreg5" [], 64/8, Any, ReadWrite, None, Hex, Supported, [pkt_reg("OXM_OF_PKT_REG5", 5)];
    Xreg6 = "xreg6" [], 64/8, Any, ReadWrite, None, Hex, Supported, [pkt_reg("OXM_OF_PKT_REG6", 6)];
    Xreg7 = "xreg7" [], 64/8, Any, ReadWrite, None, Hex, Supported, [pkt_reg("OXM_OF_PKT_REG7", 7)];
    Xxreg0 = "xxreg0" [], 128/16, Any, ReadWrite, None, Hex, Supported, [nxm("NXM_NX_XXREG0", 1, 111)];
    Xxreg1 = "xxreg1" [], 128/16, Any, ReadWrite, None, Hex, Supported, [nxm("NXM_NX_XXREG1", 1, 112)];
    Xxreg2 = "xxreg2" [], 128/16, Any, ReadWrite, None, Hex, Supported, [nxm("NXM_NX_XXREG2", 1, 113)];
    Xxreg3 = "xxreg3" [], 128/16, Any, ReadWrite, None, Hex, Supported, [nxm("NXM_NX_XXREG3", 1, 114)];
    PktMark = "pkt_mark" [], 32/4, Any, ReadWrite, None, Hex, Supported, [nxm("NXM_NX_PKT_MARK", 1, 33)];
    // Connection tracking.
    CtState = "ct_state" [], 8/4, Any, ReadOnly, None, CtState, NotYet, [nxm("NXM_NX_CT_STATE", 1, 105)];
    CtZone = "ct_zone" [], 16/2, Exact, ReadOnly, None, Hex, NotYet, [nxm("NXM_NX_CT_ZONE", 1, 106)];
    CtMark = "ct_mark" [], 32/4, Any, ReadWrite, None, Hex, NotYet, [nxm("NXM_NX_CT_MARK", 1, 107)];
    CtLabel = "ct_label" [], 128/16, Any, ReadWrite, None, Hex, NotYet, [nxm("NXM_NX_CT_LABEL", 1, 108)];
    CtNwSrc = "ct_nw_src" [], 32/4, Any, ReadOnly, Ct, Ipv4, NotYet, [nxm("NXM_NX_CT_NW_SRC", 1, 120)];
    CtIpv6Src = "ct_ipv6_src" [], 128/16, Any, ReadOnly, Ct, Ipv6, NotYet, [nxm("NXM_NX_CT_IPV6_SRC", 1, 122)];
    CtNwDst = "ct_nw_dst" [], 32/4, Any, ReadOnly, Ct, Ipv4, NotYet, [nxm("NXM_NX_CT_NW_DST", 1, 121)];
    CtIpv6Dst = "ct_ipv6_dst" [], 128/16, Any, ReadOnly, Ct, Ipv6, NotYet, [nxm("NXM_NX_CT_IPV6_DST", 1, 123)];
    CtNwProto = "ct_nw_proto" [], 8/1, Exact, ReadOnly, Ct, Decimal, NotYet, [nxm("NXM_NX_CT_NW_PROTO", 1, 119)];
    CtTpSrc = "ct_tp_src" [], 16/2, Any, ReadOnly, Ct, Decimal, NotYet, [nxm("NXM_NX_CT_TP_SRC", 1, 124)];
    CtTpDst = "ct_tp_dst" [], 16/2, Any, ReadOnly, Ct, Decimal, NotYet, [nxm("NXM_NX_CT_TP_DST", 1, 125)];
    // OpenFlow 1.1+ metadata.
    Metadata = "metadata" [], 64/8, Any, ReadWrite, None, Hex, Supported, [oxm("OXM_OF_METADATA", 2, 3)];
}
