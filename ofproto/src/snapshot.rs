//! `Snapshot`: the whole switch at one version, never changed once published.
//!
//! The main thread publishes a snapshot after each batch of changes; handler threads, the
//! revalidator, packet-outs and `ofproto/trace` translate packets against one. A snapshot shares
//! everything that did not change with the one before it, so publishing costs what changed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ahash::HashMap;
use packet::{DpPort, EthAddr, OfPort};

use crate::classifier::Classifier;
use crate::flow::{Flow, Mask};
use crate::group::Groups;
use crate::mac_learning::MacView;
use crate::meter::MeterView;
use crate::port::{PortConf, PortRow, RowId};
use crate::rule::Rule;

/// Tables that packets can be sent to: 0 to 253, as in Open vSwitch.
pub const N_TABLES: usize = 254;

/// Names a bridge for as long as it exists; never used again within a process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct BridgeId(pub u32);

/// All bridges at one version.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Counts published snapshots.
    pub version: u64,
    pub bridges: BTreeMap<BridgeId, Arc<Bridge>>,
    /// The OpenFlow port that each datapath port is.
    pub dp_ports: Arc<HashMap<DpPort, (BridgeId, OfPort)>>,
}

/// One bridge of a snapshot.
#[derive(Clone, Debug)]
pub struct Bridge {
    pub id: BridgeId,
    pub name: Arc<str>,
    pub datapath_id: u64,
    pub hw_addr: EthAddr,
    pub fail_mode: FailMode,
    pub ports: Arc<Ports>,
    pub tables: Tables,
    pub groups: Groups,
    pub meters: MeterView,
    /// Some controller wants packets that no rule matches (OpenFlow 1.0 to 1.2 do).
    pub packet_in_on_miss: bool,
    /// Some controller is connected.
    pub controller_connected: bool,
    /// Where stations were seen, for NORMAL.
    pub macs: MacView,
    /// Send packets for reserved multicast addresses (01:80:c2:00:00:0x) on as any other.
    pub forward_bpdu: bool,
}

/// What a bridge does while no controller is connected.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum FailMode {
    /// Forward as an ordinary learning switch.
    #[default]
    Standalone,
    /// Keep to the flow tables.
    Secure,
}

/// A bridge's ports by number, and its `Port` rows.
#[derive(Clone, Debug, Default)]
pub struct Ports {
    pub by_number: BTreeMap<OfPort, Arc<PortConf>>,
    pub rows: BTreeMap<RowId, Arc<PortRow>>,
}

/// The flow tables of a bridge.
#[derive(Clone, Debug)]
pub struct Tables {
    /// Up to the last one that has had rules; one without is `None`.
    tables: Vec<Option<Arc<Classifier<Rule>>>>,
    /// Shared by all snapshots.
    counters: Arc<[TableCounters]>,
}

/// How often packets were looked up in a table.
#[derive(Default, Debug)]
struct TableCounters {
    lookups: AtomicU64,
    matched: AtomicU64,
}

impl Snapshot {
    pub fn bridge(&self, id: BridgeId) -> Option<&Bridge> {
        self.bridges.get(&id).map(|b| &**b)
    }

    pub fn bridge_by_name(&self, name: &str) -> Option<&Bridge> {
        self.bridges
            .values()
            .find(|b| &*b.name == name)
            .map(|b| &**b)
    }

    /// The bridge and OpenFlow port that a datapath port belongs to.
    pub fn port_of(&self, dp_port: DpPort) -> Option<(&Bridge, &PortConf)> {
        let (bridge, port) = self.dp_ports.get(&dp_port)?;
        let bridge = self.bridge(*bridge)?;
        Some((bridge, bridge.port(*port)?))
    }
}

impl Bridge {
    pub fn port(&self, port: OfPort) -> Option<&PortConf> {
        self.ports.by_number.get(&port).map(|p| &**p)
    }

    pub fn port_by_name(&self, name: &str) -> Option<&PortConf> {
        self.ports
            .by_number
            .values()
            .find(|p| &*p.name == name)
            .map(|p| &**p)
    }

    /// The `Port` row that a port belongs to.
    pub fn row_of(&self, port: OfPort) -> Option<(RowId, &PortRow)> {
        let id = self.port(port)?.row?;
        Some((id, self.ports.rows.get(&id)?))
    }
}

impl Default for Tables {
    fn default() -> Self {
        Tables {
            tables: Vec::new(),
            counters: (0..N_TABLES).map(|_| TableCounters::default()).collect(),
        }
    }
}

impl Tables {
    /// The rule of table `table_id` that `flow` gets; see [`Classifier::lookup`].
    pub fn lookup(&self, table_id: u8, flow: &Flow, mask: &mut Mask) -> Option<&Arc<Rule>> {
        self.get(table_id)?.lookup(flow, mask)
    }

    /// A table that has rules.
    pub fn get(&self, table_id: u8) -> Option<&Classifier<Rule>> {
        self.tables.get(usize::from(table_id))?.as_deref()
    }

    /// Counts `packets` that were looked up in a table, whether they found a rule or not.
    pub fn credit(&self, table_id: u8, packets: u64, matched: bool) {
        if let Some(counters) = self.counters.get(usize::from(table_id)) {
            counters.lookups.fetch_add(packets, Ordering::Relaxed);
            if matched {
                counters.matched.fetch_add(packets, Ordering::Relaxed);
            }
        }
    }

    /// Packets that were looked up in a table, and those of them that found a rule.
    pub fn counters(&self, table_id: u8) -> (u64, u64) {
        let counters = self.counters.get(usize::from(table_id));
        counters.map_or((0, 0), |c| {
            let load = |n: &AtomicU64| n.load(Ordering::Relaxed);
            (load(&c.lookups), load(&c.matched))
        })
    }

    /// The tables that have other contents in `other`.
    pub fn changed<'a>(&'a self, other: &'a Tables) -> impl Iterator<Item = u8> + 'a {
        let n = self.tables.len().max(other.tables.len());
        let slot = |tables: &'a Tables, id: usize| tables.tables.get(id).and_then(Option::as_ref);
        let ids = (0..n).filter(move |id| match (slot(self, *id), slot(other, *id)) {
            (Some(a), Some(b)) => !Arc::ptr_eq(a, b),
            (None, None) => false,
            _ => true,
        });
        ids.filter_map(|id| u8::try_from(id).ok())
    }

    /// Puts a table's new contents in.
    pub fn set(&mut self, table_id: u8, classifier: Arc<Classifier<Rule>>) {
        let index = usize::from(table_id);
        if index >= N_TABLES {
            return;
        }
        if self.tables.len() <= index {
            self.tables.resize(index + 1, None);
        }
        if let Some(slot) = self.tables.get_mut(index) {
            *slot = (!classifier.is_empty()).then_some(classifier);
        }
    }
}
