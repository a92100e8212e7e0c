//! The userspace handle on a datapath.
//!
//! [`Dpif`] is the whole interface between the switch and what forwards packets. Two datapaths
//! implement it: `ebpf` (the kernel programs of `datapath-bpf`, by aya) and `sim` (in memory, the
//! same keys and action lists, for tests and for checking the eBPF program packet by packet).
//! One datapath serves every bridge of the host; patch ports and OpenFlow ports exist only in
//! `ofproto`.
//!
//! Methods take `&self`: handler threads, the revalidator and the main thread share the handle.

pub mod compose;
pub mod ebpf;
pub mod edit;
pub mod sim;

use std::time::Duration;

pub use packet::meter::MeterBand;
use packet::meter::{MAX_BANDS, MeterCounters, MeterEntry, MeterUnit};
use packet::{Action, DpMeter, DpPort, DropReason, FlowKey, FlowMask, IfIndex};

/// A datapath.
pub trait Dpif: Send + Sync {
    /// Attaches a port; idempotent for a port that is there under the same name and kind.
    ///
    /// Gives the number that `want` asks for when it is free, else the lowest free one. A network
    /// device that is missing or already attached elsewhere is an error.
    fn port_add(&self, spec: &PortSpec, want: Option<DpPort>) -> Result<PortInfo, Error>;
    /// Detaches a port; removes the device where `port_add` made it.
    fn port_del(&self, port: DpPort) -> Result<(), Error>;
    /// Every port, by number; after a restart this is what the previous daemon left.
    fn port_list(&self) -> Result<Vec<PortInfo>, Error>;
    /// Permits or forbids receiving from and sending to a port (OpenFlow port configuration).
    fn port_set_config(&self, port: DpPort, config: PortConfig) -> Result<(), Error>;
    /// Packets, bytes and drops that the datapath itself counted on a port.
    fn port_stats(&self, port: DpPort) -> Result<PortStats, Error>;

    /// Executes operations in order; one result for each.
    fn operate(&self, ops: &[DpOp]) -> Vec<Result<(), Error>>;
    /// Every megaflow with its statistics.
    fn flow_dump(&self) -> Result<Vec<FlowEntry>, Error>;
    /// Deletes every megaflow and exact entry.
    fn flow_flush(&self) -> Result<(), Error>;

    /// Makes a meter, or gives one that is there a new configuration; what it has counted starts
    /// at zero.
    fn meter_set(&self, meter: DpMeter, config: &MeterConfig) -> Result<(), Error>;
    /// Removes a meter; packets of flows that still name it are let through.
    fn meter_del(&self, meter: DpMeter) -> Result<(), Error>;
    fn meter_stats(&self, meter: DpMeter) -> Result<MeterCounters, Error>;

    /// Waits at most `timeout` for upcalls on ring `ring` (0..`upcall_rings()`) and appends up to
    /// `max` of them to `out`; returns how many. Each ring has one reader.
    fn recv(
        &self,
        ring: usize,
        timeout: Duration,
        max: usize,
        out: &mut Vec<Upcall>,
    ) -> Result<usize, Error>;
    fn upcall_rings(&self) -> usize;

    fn stats(&self) -> Result<DpStats, Error>;
    /// Counter of every drop reason that is not zero.
    fn drops(&self) -> Result<Vec<(DropReason, u64)>, Error>;
    fn limits(&self) -> Limits;
    /// Removes the datapath from the system: programs, maps, devices it made.
    fn destroy(&self) -> Result<(), Error>;
}

/// What to attach.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PortSpec {
    /// Network device name, 1 to 15 bytes.
    pub name: String,
    pub kind: PortKind,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PortKind {
    /// A network device that exists already.
    System,
    /// A device that the datapath makes for the host's own stack: internal ports and LOCAL.
    Internal,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PortInfo {
    pub port: DpPort,
    pub name: String,
    pub kind: PortKind,
    pub ifindex: IfIndex,
}

/// Both true for a port in normal use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PortConfig {
    pub receive: bool,
    pub transmit: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct PortStats {
    pub rx_packets: u64,
    pub rx_bytes: u64,
    pub tx_packets: u64,
    pub tx_bytes: u64,
    pub rx_dropped: u64,
    pub tx_dropped: u64,
}

/// A meter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MeterConfig {
    pub unit: MeterUnit,
    /// At most [`MAX_BANDS`]; a meter without any counts only.
    pub bands: Vec<MeterBand>,
}

impl MeterConfig {
    /// The meter with full buckets.
    pub fn entry(&self) -> Result<MeterEntry, Error> {
        MeterEntry::new(self.unit, &self.bands).ok_or(Error::Full {
            what: "bands of a meter",
            limit: MAX_BANDS,
        })
    }
}

/// One operation on the flow table or one packet to run.
#[derive(Clone, PartialEq, Debug)]
pub enum DpOp {
    /// Installs a megaflow. `key` is masked by the datapath; `mask` always has `in_port` and
    /// `recirc_id` whole. With `replace` an entry with equal mask and masked key gets the new
    /// actions at once, keeping its statistics; without, it is [`Error::Exists`].
    FlowPut {
        key: FlowKey,
        mask: FlowMask,
        actions: Vec<Action>,
        replace: bool,
    },
    /// Deletes a megaflow; exact entries made from it stop matching before this returns.
    FlowDel { key: FlowKey, mask: FlowMask },
    /// Runs `actions` on a packet as if it had come in on `in_port`.
    Execute {
        packet: Packet,
        in_port: DpPort,
        actions: Vec<Action>,
    },
}

/// A packet with what the kernel knows about its unfinished work.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Packet {
    /// The frame from its Ethernet header on, VLAN tags in place.
    pub data: Vec<u8>,
    pub gso: Option<Gso>,
    /// The transport checksum is still to be computed (`CHECKSUM_PARTIAL`): offsets from the start
    /// of `data` where summing starts and where the result goes.
    pub csum_partial: Option<CsumPartial>,
    pub mark: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CsumPartial {
    pub start: u16,
    pub offset: u16,
}

/// Segmentation that is left to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Gso {
    pub kind: GsoKind,
    /// Payload bytes of each segment.
    pub size: u16,
    pub segs: u16,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GsoKind {
    TcpV4,
    TcpV6,
    UdpL4,
}

/// A packet that the datapath sent to userspace.
#[derive(Clone, PartialEq, Debug)]
pub struct Upcall {
    pub kind: UpcallKind,
    pub key: FlowKey,
    pub packet: Packet,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UpcallKind {
    /// No megaflow matched.
    Miss,
    /// The flow's action is [`Action::SlowPath`].
    Action(packet::action::SlowReason),
}

/// One megaflow of a dump.
#[derive(Clone, PartialEq, Debug)]
pub struct FlowEntry {
    /// Already masked.
    pub key: FlowKey,
    pub mask: FlowMask,
    pub actions: Vec<Action>,
    pub stats: FlowStats,
}

#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct FlowStats {
    pub packets: u64,
    pub bytes: u64,
    /// Time since the flow last carried a packet; `None` when it never did.
    pub idle: Option<Duration>,
    /// OR of the TCP flags of its packets.
    pub tcp_flags: u16,
}

#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct DpStats {
    /// Packets answered by the exact-match cache.
    pub exact_hit: u64,
    /// Packets answered by a megaflow, the exact-match cache not counted.
    pub megaflow_hit: u64,
    pub missed: u64,
    /// Misses that could not be sent to userspace.
    pub lost: u64,
    /// Masks visited, over all megaflow lookups.
    pub mask_hit: u64,
    pub flows: u64,
    pub masks: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Megaflows that fit.
    pub flows: usize,
    /// Exact entries that fit.
    pub exact: usize,
    pub ports: usize,
    /// Longest action list, in actions.
    pub actions: usize,
    /// Meters; their numbers are 1 to this.
    pub meters: usize,
}

/// What went wrong; the text goes to the person who typed the command.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the flow exists already")]
    Exists,
    #[error("no such flow")]
    NoSuchFlow,
    #[error("no datapath meter {0}")]
    NoSuchMeter(u32),
    #[error("no datapath port {0}")]
    NoSuchPort(u32),
    #[error("could not open network device {name} ({reason})")]
    Device { name: String, reason: String },
    #[error("the datapath is full: {what} (limit {limit})")]
    Full { what: &'static str, limit: usize },
    #[error("{0}")]
    Unsupported(String),
    #[error("{what}: {source}")]
    System {
        what: String,
        #[source]
        source: std::io::Error,
    },
    #[error("{0}")]
    Datapath(String),
}
