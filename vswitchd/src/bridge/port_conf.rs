//! From database settings and network devices to the switch's own descriptions of ports.

use std::sync::Arc;

use ofproto::port::{PortConf, PortRow, PortSpeeds, VlanConf, VlanMode};
use openflow::message::{PortConfig, PortFeatures};
use packet::{EthAddr, OfPort};
use uuid::Uuid;

use super::desired::{self, Port};
use crate::netdev::ethtool::{Medium, Speed};
use crate::netdev::{Details, Link};

/// The row that NORMAL forwarding sees.
pub fn port_row(port: &Port, number: OfPort) -> PortRow {
    let (mode, tag) = match port.vlan {
        desired::VlanMode::Access(tag) => (VlanMode::Access, tag),
        desired::VlanMode::Trunk => (VlanMode::Trunk, 0),
        desired::VlanMode::NativeTagged(tag) => (VlanMode::NativeTagged, tag),
        desired::VlanMode::NativeUntagged(tag) => (VlanMode::NativeUntagged, tag),
    };
    PortRow {
        name: port.name.as_str().into(),
        ports: vec![number],
        vlan: VlanConf {
            mode,
            tag,
            trunks: port
                .trunks
                .as_ref()
                .map(|trunks| Arc::new(trunks.iter().copied().collect())),
            priority_tags: port.priority_tags,
        },
        protected: port.protected,
    }
}

/// Takes over what is known of the device behind a port.
pub fn describe_device(conf: &mut PortConf, link: &Link, details: &Details) {
    conf.hw_addr = link.mac;
    conf.link_up = link.carrier;
    conf.mtu = u16::try_from(link.mtu).unwrap_or(u16::MAX);
    conf.config = if link.admin_up {
        conf.config.minus(PortConfig::PORT_DOWN)
    } else {
        conf.config.union(PortConfig::PORT_DOWN)
    };
    conf.speeds = speeds(&details.speed);
}

/// A patch port has no device; its address follows from its row.
pub fn describe_patch(conf: &mut PortConf, interface: Uuid) {
    conf.hw_addr = stable_mac(interface);
    conf.link_up = true;
}

/// A locally administered unicast address from a row's UUID.
pub fn stable_mac(uuid: Uuid) -> EthAddr {
    let mut mac = [0u8; 6];
    for (to, from) in mac.iter_mut().zip(uuid.as_bytes()) {
        *to = *from;
    }
    mac[0] = (mac[0] & 0xfc) | 0x02;
    EthAddr(mac)
}

/// Source: OVS `lib/netdev-linux.c`, `netdev_linux_read_features`; bit numbers of
/// `include/uapi/linux/ethtool.h`.
fn speeds(speed: &Speed) -> PortSpeeds {
    let full = speed.full_duplex != Some(false);
    let megabits = speed.bits_per_second.unwrap_or(0) / 1_000_000;
    let mut current = match (megabits, full) {
        (10, false) => PortFeatures::TEN_MB_HD,
        (10, true) => PortFeatures::TEN_MB_FD,
        (100, false) => PortFeatures::HUNDRED_MB_HD,
        (100, true) => PortFeatures::HUNDRED_MB_FD,
        (1_000, false) => PortFeatures::ONE_GB_HD,
        (1_000, true) => PortFeatures::ONE_GB_FD,
        (10_000, true) => PortFeatures::TEN_GB_FD,
        (40_000, true) => PortFeatures::FORTY_GB_FD,
        (100_000, true) => PortFeatures::HUNDRED_GB_FD,
        (1_000_000, true) => PortFeatures::ONE_TB_FD,
        (0, _) => PortFeatures::empty(),
        _ => PortFeatures::OTHER,
    };
    if speed.bits_per_second.is_some() {
        current = match speed.medium {
            Medium::Copper => current | PortFeatures::COPPER,
            Medium::Fiber => current | PortFeatures::FIBER,
            Medium::Other => current,
        };
    }
    if speed.autonegotiates {
        current = current | PortFeatures::AUTONEG;
    }
    let supported = features(speed.supported);
    PortSpeeds {
        current,
        advertised: features(speed.advertised),
        supported,
        peer: PortFeatures::empty(),
        current_kbps: u32::try_from(megabits.saturating_mul(1_000)).unwrap_or(u32::MAX),
        max_kbps: supported.max_speed_kbps(),
    }
}

/// `SUPPORTED_*` and `ADVERTISED_*` bits as OpenFlow features.
fn features(bits: u32) -> PortFeatures {
    const MAP: [(u32, PortFeatures); 12] = [
        (1 << 0, PortFeatures::TEN_MB_HD),
        (1 << 1, PortFeatures::TEN_MB_FD),
        (1 << 2, PortFeatures::HUNDRED_MB_HD),
        (1 << 3, PortFeatures::HUNDRED_MB_FD),
        (1 << 4, PortFeatures::ONE_GB_HD),
        (1 << 5, PortFeatures::ONE_GB_FD),
        (1 << 12, PortFeatures::TEN_GB_FD),
        (1 << 7, PortFeatures::COPPER),
        (1 << 10, PortFeatures::FIBER),
        (1 << 6, PortFeatures::AUTONEG),
        (1 << 13, PortFeatures::PAUSE),
        (1 << 14, PortFeatures::PAUSE_ASYM),
    ];
    MAP.iter()
        .filter(|(bit, _)| bits & bit != 0)
        .fold(PortFeatures::empty(), |all, (_, feature)| all | *feature)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_addresses_are_local_unicast_and_stable() {
        let uuid = Uuid::from_bytes([0xff; 16]);
        let mac = stable_mac(uuid);
        assert!(!mac.is_multicast());
        assert_eq!(mac.0[0] & 2, 2);
        assert_eq!(mac, stable_mac(uuid));
    }

    #[test]
    fn a_veth_is_ten_gigabit_copper() {
        let speed = Speed {
            bits_per_second: Some(10_000_000_000),
            full_duplex: Some(true),
            medium: Medium::Copper,
            ..Speed::default()
        };
        assert_eq!(
            speeds(&speed).current,
            PortFeatures::TEN_GB_FD | PortFeatures::COPPER
        );
    }
}
