//! What the switch tells controllers unasked, and who gets it: packet-ins, reasons, roles and
//! the asynchronous configuration.

use bytes::Bytes;

use crate::flow_match::Match;
use crate::version::Version;

/// Why a packet was sent to the controller.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum PacketInReason {
    /// No flow matched.
    NoMatch,
    /// An action said so.
    Action,
    /// The TTL ran out.
    InvalidTtl,
    /// An action in the action set said so; 1.4 and later, earlier peers are told `Action`.
    ActionSet,
    /// A group's bucket said so; 1.4 and later, earlier peers are told `Action`.
    Group,
    /// A packet-out said so; 1.4 and later, earlier peers are told `Action`.
    PacketOut,
}

impl PacketInReason {
    pub const fn wire(self) -> u8 {
        match self {
            PacketInReason::NoMatch => 0,
            PacketInReason::Action => 1,
            PacketInReason::InvalidTtl => 2,
            PacketInReason::ActionSet => 3,
            PacketInReason::Group => 4,
            PacketInReason::PacketOut => 5,
        }
    }

    pub const fn from_wire(n: u8) -> Option<PacketInReason> {
        match n {
            0 => Some(PacketInReason::NoMatch),
            1 => Some(PacketInReason::Action),
            2 => Some(PacketInReason::InvalidTtl),
            3 => Some(PacketInReason::ActionSet),
            4 => Some(PacketInReason::Group),
            5 => Some(PacketInReason::PacketOut),
            _ => None,
        }
    }
}

/// Why a flow was removed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FlowRemovedReason {
    IdleTimeout,
    HardTimeout,
    Delete,
    /// 1.1 and later; 1.0 peers are told `Delete`.
    GroupDelete,
    /// 1.4 and later; earlier peers are told `Delete`.
    MeterDelete,
    /// Evicted to make room, 1.4 and later; earlier peers are told `Delete`.
    Eviction,
}

impl FlowRemovedReason {
    pub const fn wire(self) -> u8 {
        match self {
            FlowRemovedReason::IdleTimeout => 0,
            FlowRemovedReason::HardTimeout => 1,
            FlowRemovedReason::Delete => 2,
            FlowRemovedReason::GroupDelete => 3,
            FlowRemovedReason::MeterDelete => 4,
            FlowRemovedReason::Eviction => 5,
        }
    }

    pub const fn from_wire(n: u8) -> Option<FlowRemovedReason> {
        match n {
            0 => Some(FlowRemovedReason::IdleTimeout),
            1 => Some(FlowRemovedReason::HardTimeout),
            2 => Some(FlowRemovedReason::Delete),
            3 => Some(FlowRemovedReason::GroupDelete),
            4 => Some(FlowRemovedReason::MeterDelete),
            5 => Some(FlowRemovedReason::Eviction),
            _ => None,
        }
    }
}

/// What happened to a port.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum PortReason {
    Add,
    Delete,
    Modify,
}

impl PortReason {
    pub const fn wire(self) -> u8 {
        match self {
            PortReason::Add => 0,
            PortReason::Delete => 1,
            PortReason::Modify => 2,
        }
    }

    pub const fn from_wire(n: u8) -> Option<PortReason> {
        match n {
            0 => Some(PortReason::Add),
            1 => Some(PortReason::Delete),
            2 => Some(PortReason::Modify),
            _ => None,
        }
    }
}

/// NXT_SET_PACKET_IN_FORMAT
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum PacketInFormat {
    /// `OFPT_PACKET_IN` of the connection's version.
    #[default]
    Standard,
    /// `NXT_PACKET_IN`
    Nxt,
    /// `NXT_PACKET_IN2`
    Nxt2,
}

/// `OFPT_PACKET_IN`, `NXT_PACKET_IN` and `NXT_PACKET_IN2`.
#[derive(Clone, PartialEq, Debug)]
pub struct PacketIn {
    pub reason: PacketInReason,
    /// Not in 1.0's own encoding: 0 there.
    pub table_id: u8,
    /// [`super::NO_BUFFER`] when the whole packet is in `data`.
    pub buffer_id: u32,
    /// Length of the packet; `data` may be shorter.
    pub total_len: u16,
    /// Of the flow that sent it, 1.3 and NXT; `u64::MAX` for none.
    pub cookie: u64,
    /// The input port and other metadata.
    pub metadata: Match,
    pub data: Bytes,
    /// What the action said; `NXT_PACKET_IN2` alone.
    pub userdata: Bytes,
    /// What the packet waits to go on with; `NXT_PACKET_IN2` and `NXT_RESUME`.
    pub continuation: Option<Box<super::Continuation>>,
}

/// A controller's role.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Role {
    /// In requests only: do not change.
    NoChange,
    /// `other` in Nicira's extension.
    Equal,
    Master,
    Slave,
}

/// A role request or reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RoleMessage {
    /// Nicira's extension has no `NoChange` and no generation id.
    pub flavor: super::Flavor,
    pub role: Role,
    /// What others are to know the controller by, 1.5; 0 for none.
    pub short_id: u16,
    /// Means something in requests for master and slave, and in replies.
    pub generation_id: Option<u64>,
}

/// Which asynchronous messages a controller gets: per message a bit per reason, for the roles
/// master and equal, and for slave.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct AsyncConfig {
    pub packet_in: AsyncMask,
    pub port_status: AsyncMask,
    pub flow_removed: AsyncMask,
    /// 1.4 and later, as the two below; bits `1 << reason` with the reasons of the messages.
    pub role_status: AsyncMask,
    pub table_status: AsyncMask,
    pub requestforward: AsyncMask,
    /// 1.5, as the one below: statistics that a flow's trigger brings about.
    pub flow_stats: AsyncMask,
    pub controller_status: AsyncMask,
}

/// A message that is sent unasked.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum AsyncKind {
    PacketIn,
    PortStatus,
    FlowRemoved,
    RoleStatus,
    TableStatus,
    RequestForward,
    FlowStats,
    ControllerStatus,
}

impl AsyncKind {
    pub const ALL: [AsyncKind; 8] = [
        AsyncKind::PacketIn,
        AsyncKind::PortStatus,
        AsyncKind::FlowRemoved,
        AsyncKind::RoleStatus,
        AsyncKind::TableStatus,
        AsyncKind::RequestForward,
        AsyncKind::FlowStats,
        AsyncKind::ControllerStatus,
    ];

    /// Can it be configured in `version`?
    ///
    /// Versions before 1.4 do it by Nicira's extension.
    pub fn is_in(self, version: Version) -> bool {
        let is_new = matches!(self, AsyncKind::FlowStats | AsyncKind::ControllerStatus);
        !is_new || version >= Version::Of15
    }

    /// The reasons that there are in `version`, as bits.
    pub fn reasons(self, version: Version) -> u32 {
        match self {
            AsyncKind::PacketIn if version < Version::Of14 => 0b111,
            AsyncKind::PacketIn => 0b11_1111,
            AsyncKind::PortStatus => 0b111,
            AsyncKind::FlowRemoved => 0b11_1111,
            AsyncKind::RoleStatus => 0b111,
            AsyncKind::TableStatus => 0b1_1000,
            AsyncKind::RequestForward => 0b11,
            AsyncKind::FlowStats => 0b11,
            AsyncKind::ControllerStatus => 0b111_1111,
        }
    }
}

/// One of the masks in an asynchronous configuration.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct AsyncProperty {
    pub kind: AsyncKind,
    /// For the role slave, or for master and equal.
    pub slave: bool,
    pub mask: u32,
}

/// Why a controller's role changed without its asking.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum RoleReason {
    /// Another controller became master.
    MasterRequest,
    Config,
    Experimenter,
}

impl RoleReason {
    pub const fn wire(self) -> u8 {
        self as u8
    }

    pub const fn from_wire(n: u8) -> Option<RoleReason> {
        match n {
            0 => Some(RoleReason::MasterRequest),
            1 => Some(RoleReason::Config),
            2 => Some(RoleReason::Experimenter),
            _ => None,
        }
    }
}

/// `OFPT_ROLE_STATUS`
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RoleStatus {
    pub role: Role,
    pub reason: RoleReason,
    pub generation_id: u64,
}

/// `OFPT_REQUESTFORWARD`: what another controller asked for, with its transaction id.
#[derive(Clone, PartialEq, Debug)]
pub struct RequestForward {
    pub xid: u32,
    /// A group-mod or meter-mod.
    pub request: Box<super::Message>,
}

/// Bits `1 << reason`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct AsyncMask {
    pub master: u32,
    pub slave: u32,
}

impl AsyncMask {
    /// Is a message with this reason (wire number) sent to a controller in `role`?
    pub fn wants(self, role: Role, reason: u8) -> bool {
        let mask = if role == Role::Slave {
            self.slave
        } else {
            self.master
        };
        mask.checked_shr(u32::from(reason))
            .is_some_and(|m| m & 1 != 0)
    }
}

impl AsyncConfig {
    /// What a controller gets that has not asked otherwise: a slave gets port status only, and
    /// packets with invalid TTL are not sent unless the switch configuration of 1.0 to 1.2 or
    /// an asynchronous configuration asks for them.
    ///
    /// Source: OpenFlow 1.3.5, 6.3.5; ovs-vswitchd of Open vSwitch 3.1.
    pub fn default_for(version: Version) -> AsyncConfig {
        // The reasons that the version has, and "group deleted" from 1.3 on.
        let (packet_in, flow_removed) = match version {
            Version::Of10 | Version::Of11 | Version::Of12 => (0b011, 0b111),
            Version::Of13 => (0b011, 0b1111),
            Version::Of14 | Version::Of15 => (0b11_1011, 0b11_1111),
        };
        AsyncConfig {
            packet_in: AsyncMask {
                master: packet_in,
                slave: 0,
            },
            port_status: AsyncMask {
                master: 0b111,
                slave: 0b111,
            },
            flow_removed: AsyncMask {
                master: flow_removed,
                slave: 0,
            },
            // Only on request.
            ..AsyncConfig::default()
        }
    }

    /// What a service connection (a `.mgmt` socket) gets unless it asks: nothing.
    pub fn none() -> AsyncConfig {
        AsyncConfig::default()
    }

    pub fn mask(&self, kind: AsyncKind) -> AsyncMask {
        match kind {
            AsyncKind::PacketIn => self.packet_in,
            AsyncKind::PortStatus => self.port_status,
            AsyncKind::FlowRemoved => self.flow_removed,
            AsyncKind::RoleStatus => self.role_status,
            AsyncKind::TableStatus => self.table_status,
            AsyncKind::RequestForward => self.requestforward,
            AsyncKind::FlowStats => self.flow_stats,
            AsyncKind::ControllerStatus => self.controller_status,
        }
    }

    /// Sets one mask.
    pub fn set(&mut self, property: AsyncProperty) {
        let mask = match property.kind {
            AsyncKind::PacketIn => &mut self.packet_in,
            AsyncKind::PortStatus => &mut self.port_status,
            AsyncKind::FlowRemoved => &mut self.flow_removed,
            AsyncKind::RoleStatus => &mut self.role_status,
            AsyncKind::TableStatus => &mut self.table_status,
            AsyncKind::RequestForward => &mut self.requestforward,
            AsyncKind::FlowStats => &mut self.flow_stats,
            AsyncKind::ControllerStatus => &mut self.controller_status,
        };
        match property.slave {
            true => mask.slave = property.mask,
            false => mask.master = property.mask,
        }
    }

    /// All masks that `version` has.
    pub fn properties(&self, version: Version) -> Vec<AsyncProperty> {
        let both = |kind| {
            let mask = self.mask(kind);
            [(true, mask.slave), (false, mask.master)].map(|(slave, mask)| AsyncProperty {
                kind,
                slave,
                mask,
            })
        };
        let kinds = AsyncKind::ALL
            .into_iter()
            .filter(|kind| kind.is_in(version));
        kinds.flat_map(both).collect()
    }
}
