//! What a bridge knows of its ports.
//!
//! An OpenFlow port ([`PortConf`]) is one network device or one end of a patch. The database's
//! `Port` row ([`PortRow`]) carries the VLAN settings that NORMAL forwarding uses, for one device
//! or several.
//!
//! Source: OpenFlow 1.3.5, 7.2.1; ovs-vswitchd.conf.db(5), table Port.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use openflow::message::{PortConfig, PortDesc, PortFeatures, PortState};
use packet::{DpPort, EthAddr, OfPort};

use crate::snapshot::BridgeId;

/// An OpenFlow port of a bridge.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PortConf {
    pub of_port: OfPort,
    pub name: Arc<str>,
    pub hw_addr: EthAddr,
    pub link: PortLink,
    /// What controllers want of the port (`OFPT_PORT_MOD`).
    pub config: PortConfig,
    /// The link's state, which `OFPPS_LINK_DOWN` shows.
    pub link_up: bool,
    pub speeds: PortSpeeds,
    /// Maximum frame length without the Ethernet header.
    pub mtu: u16,
    /// The `Port` row that the port belongs to; `None` keeps it out of NORMAL forwarding.
    pub row: Option<RowId>,
    /// What went through a patch port; a datapath port has its counters in the datapath.
    pub counters: Arc<PatchCounters>,
}

/// Packets and bytes of a patch port. Handler threads and the revalidator count here.
#[derive(Default, Debug)]
pub struct PatchCounters {
    rx_packets: AtomicU64,
    rx_bytes: AtomicU64,
    tx_packets: AtomicU64,
    tx_bytes: AtomicU64,
}

impl PatchCounters {
    pub fn received(&self, packets: u64, bytes: u64) {
        self.rx_packets.fetch_add(packets, Ordering::Relaxed);
        self.rx_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub fn sent(&self, packets: u64, bytes: u64) {
        self.tx_packets.fetch_add(packets, Ordering::Relaxed);
        self.tx_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub fn get(&self) -> dpif::PortStats {
        dpif::PortStats {
            rx_packets: self.rx_packets.load(Ordering::Relaxed),
            rx_bytes: self.rx_bytes.load(Ordering::Relaxed),
            tx_packets: self.tx_packets.load(Ordering::Relaxed),
            tx_bytes: self.tx_bytes.load(Ordering::Relaxed),
            ..dpif::PortStats::default()
        }
    }
}

/// What was counted does not make one port differ from another.
impl PartialEq for PatchCounters {
    fn eq(&self, _: &PatchCounters) -> bool {
        true
    }
}

impl Eq for PatchCounters {}

impl PortConf {
    /// A new port with nothing set.
    pub fn new(of_port: OfPort, name: &str, link: PortLink) -> PortConf {
        PortConf {
            of_port,
            name: name.into(),
            hw_addr: EthAddr::default(),
            link,
            config: PortConfig::default(),
            link_up: true,
            speeds: PortSpeeds::default(),
            mtu: 1500,
            row: None,
            counters: Arc::default(),
        }
    }

    pub fn dp_port(&self) -> Option<DpPort> {
        match self.link {
            PortLink::Datapath(port) => Some(port),
            PortLink::Patch(_) => None,
        }
    }

    /// True when all bits of `config` are set for the port.
    pub fn has(&self, config: PortConfig) -> bool {
        self.config.contains(config)
    }

    /// True when packets may leave through the port.
    pub fn may_send(&self) -> bool {
        !self.has(PortConfig::PORT_DOWN) && !self.has(PortConfig::NO_FWD)
    }

    /// True when something can be reached through the port, as far as that can be told here.
    pub fn is_live(&self) -> bool {
        self.link_up && !self.has(PortConfig::PORT_DOWN)
    }

    /// True when packets that came in through the port are looked at.
    pub fn may_receive(&self) -> bool {
        !self.has(PortConfig::PORT_DOWN) && !self.has(PortConfig::NO_RECV)
    }
}

/// What is at the other side of an OpenFlow port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PortLink {
    Datapath(DpPort),
    /// A patch port; `None` while the peer does not exist, then packets to it are dropped.
    Patch(Option<PatchPeer>),
}

/// The other end of a patch: packets sent out of one end come in at the other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PatchPeer {
    pub bridge: BridgeId,
    pub port: OfPort,
}

/// What the device can do and does; all empty or zero when not known.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct PortSpeeds {
    pub current: PortFeatures,
    pub advertised: PortFeatures,
    pub supported: PortFeatures,
    pub peer: PortFeatures,
    pub current_kbps: u32,
    pub max_kbps: u32,
}

/// The port as OpenFlow describes it.
pub fn port_desc(port: &PortConf) -> PortDesc {
    let mut state = PortState::empty();
    if !port.link_up {
        state = state | PortState::LINK_DOWN;
    }
    if port.is_live() {
        state = state | PortState::LIVE;
    }
    PortDesc {
        port: port.of_port,
        hw_addr: port.hw_addr,
        name: port.name.to_string(),
        config: port.config,
        state,
        curr: port.speeds.current,
        advertised: port.speeds.advertised,
        supported: port.speeds.supported,
        peer: port.speeds.peer,
        curr_speed_kbps: port.speeds.current_kbps,
        max_speed_kbps: port.speeds.max_kbps,
        other: Vec::new(),
    }
}

/// Names a [`PortRow`] within its bridge.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RowId(pub u32);

/// A `Port` row: one or more OpenFlow ports that NORMAL treats as one, and their VLANs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PortRow {
    pub name: Arc<str>,
    /// Members, in order.
    pub ports: Vec<OfPort>,
    pub vlan: VlanConf,
    /// Other rows marked so never get packets from this one (`Port.protected`).
    pub protected: bool,
}

/// VLAN settings of a `Port` row.
///
/// Source: ovs-vswitchd.conf.db(5), Port, "VLAN Configuration".
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VlanConf {
    pub mode: VlanMode,
    /// The access VLAN, or a trunk's native VLAN; 0 where neither is set.
    pub tag: u16,
    /// VLANs that a trunk carries; `None` is all.
    pub trunks: Option<Arc<VlanSet>>,
    /// `other_config:priority-tags`.
    pub priority_tags: PriorityTags,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VlanMode {
    Access,
    Trunk,
    NativeTagged,
    NativeUntagged,
}

/// When untagged packets get a tag with VLAN id 0.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum PriorityTags {
    #[default]
    Never,
    IfNonzero,
    Always,
}

impl VlanConf {
    /// A port with no VLAN setting: a trunk of all VLANs.
    pub fn trunk_all() -> VlanConf {
        VlanConf {
            mode: VlanMode::Trunk,
            tag: 0,
            trunks: None,
            priority_tags: PriorityTags::Never,
        }
    }

    pub fn access(tag: u16) -> VlanConf {
        VlanConf {
            mode: VlanMode::Access,
            tag,
            ..VlanConf::trunk_all()
        }
    }

    /// True when the port carries packets of VLAN `vid` (0 for none).
    pub fn carries(&self, vid: u16) -> bool {
        match self.mode {
            VlanMode::Access => vid == self.tag,
            VlanMode::Trunk => self.trunks.as_ref().is_none_or(|t| t.contains(vid)),
            VlanMode::NativeTagged | VlanMode::NativeUntagged => {
                // Without a tag a packet would be taken for one of the native VLAN.
                let is_confused = vid == 0 && self.tag != 0;
                vid == self.tag
                    || !is_confused && self.trunks.as_ref().is_none_or(|t| t.contains(vid))
            }
        }
    }
}

/// A set of VLAN ids 0 to 4095.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VlanSet([u64; 64]);

impl VlanSet {
    pub fn contains(&self, vid: u16) -> bool {
        self.0
            .get(usize::from(vid / 64))
            .is_some_and(|w| w >> (vid % 64) & 1 != 0)
    }

    pub fn insert(&mut self, vid: u16) {
        if let Some(w) = self.0.get_mut(usize::from(vid / 64)) {
            *w |= 1 << (vid % 64);
        }
    }
}

impl Default for VlanSet {
    fn default() -> Self {
        VlanSet([0; 64])
    }
}

impl FromIterator<u16> for VlanSet {
    fn from_iter<I: IntoIterator<Item = u16>>(vids: I) -> Self {
        let mut set = VlanSet::default();
        for vid in vids {
            set.insert(vid);
        }
        set
    }
}
