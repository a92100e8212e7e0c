//! What the switch remembers of each OpenFlow connection, and what that connection gets unasked.
//!
//! Pure bookkeeping: roles and their generation, asynchronous configuration, formats that the
//! controller chose. Reading and writing bytes is `openflow::Connection`'s part, answering
//! requests that of [`crate::request`].
//!
//! Source: OpenFlow 1.3.5, 6.3; ovs-vswitchd 3.1 where its extensions are concerned.

use openflow::message::{
    AsyncConfig, ControllerStatusReason, FlowFormat, FlowRemovedReason, PacketInFormat,
    PacketInReason, PortReason, Role, RoleReason, TableReason,
};
use openflow::{Message, OfError, Version};

use crate::bundle::Bundles;
use crate::flow_monitor::Monitors;
use crate::packet_in::Limiters;
use crate::snapshot::BridgeId;

/// Names an OpenFlow connection; never used again within a process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ConnId(pub u64);

/// Who is at the other end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConnKind {
    /// A controller that the database names: it gets asynchronous messages, and its absence is
    /// what fail modes are about.
    Controller,
    /// Somebody who connected to the bridge, for example `ovs-ofctl`: gets asynchronous messages
    /// only after asking.
    Service,
}

/// Bytes of a packet that nobody wanted that go to a controller, unless it says otherwise.
pub const DEFAULT_MISS_SEND_LEN: u16 = 128;

/// The state of one connection.
#[derive(Clone, Debug)]
pub struct Conn {
    pub id: ConnId,
    pub bridge: BridgeId,
    pub kind: ConnKind,
    pub version: Version,
    pub role: Role,
    /// What others know the controller by (1.5); 0 for none.
    pub short_id: u16,
    /// The controller's place, if it is one that the configuration names.
    pub target: Option<String>,
    /// `None` until the controller sets one.
    pub async_config: Option<AsyncConfig>,
    pub packet_in_format: PacketInFormat,
    pub flow_format: FlowFormat,
    pub miss_send_len: u16,
    /// Packets sent to this controller id by `controller(id=...)` come here.
    pub controller_id: u16,
    /// Packets whose TTL ran out are wanted (`OFPC_INVALID_TTL_TO_CONTROLLER`).
    pub invalid_ttl: bool,
    pub(crate) limiters: Limiters,
    pub(crate) bundles: Bundles,
    pub(crate) monitors: Monitors,
}

impl Conn {
    pub fn new(id: ConnId, bridge: BridgeId, kind: ConnKind, version: Version) -> Conn {
        Conn {
            id,
            bridge,
            kind,
            version,
            role: Role::Equal,
            short_id: 0,
            target: None,
            async_config: None,
            packet_in_format: PacketInFormat::Standard,
            flow_format: FlowFormat::OpenFlow10,
            miss_send_len: match kind {
                ConnKind::Controller => DEFAULT_MISS_SEND_LEN,
                ConnKind::Service => 0,
            },
            controller_id: 0,
            invalid_ttl: false,
            limiters: Limiters::default(),
            bundles: Bundles::default(),
            monitors: Monitors::default(),
        }
    }

    /// The asynchronous configuration in force.
    pub fn async_config(&self) -> AsyncConfig {
        let mut config = self
            .async_config
            .unwrap_or_else(|| AsyncConfig::default_for(self.version));
        if self.invalid_ttl {
            config.packet_in.master |= 1 << PacketInReason::InvalidTtl.wire();
        }
        config
    }

    /// Sets the asynchronous configuration; a service connection thereby asks to get messages.
    pub fn set_async(&mut self, config: AsyncConfig) {
        self.async_config = Some(config);
        if self.miss_send_len == 0 && self.kind == ConnKind::Service {
            self.miss_send_len = DEFAULT_MISS_SEND_LEN;
        }
    }

    /// May the connection change the switch?
    ///
    /// Errors: `OFPBRC_IS_SECONDARY`.
    pub fn check_not_slave(&self) -> Result<(), OfError> {
        if self.role == Role::Slave {
            Err(OfError::BrcIsSlave)
        } else {
            Ok(())
        }
    }

    /// Does the connection want packets for `controller_id` with this reason?
    ///
    /// `is_implicit_miss`: no rule matched, not even a table-miss entry; only versions before 1.3
    /// want to hear of those. Reasons that the version does not have count as that an action said
    /// so, as which they are told.
    pub fn wants_packet_in(
        &self,
        reason: PacketInReason,
        controller_id: u16,
        is_implicit_miss: bool,
    ) -> bool {
        let reason = match reason {
            PacketInReason::ActionSet | PacketInReason::Group | PacketInReason::PacketOut
                if self.version < Version::Of14 =>
            {
                PacketInReason::Action
            }
            reason => reason,
        };
        controller_id == self.controller_id
            && !(is_implicit_miss && self.version >= Version::Of13)
            && self.is_listening()
            && self
                .async_config()
                .packet_in
                .wants(self.role, reason.wire())
    }

    /// Would the connection get packets that no rule matches?
    pub fn wants_misses(&self) -> bool {
        self.wants_packet_in(PacketInReason::NoMatch, 0, true)
    }

    pub fn wants_port_status(&self, reason: PortReason) -> bool {
        self.is_listening()
            && self
                .async_config()
                .port_status
                .wants(self.role, reason.wire())
    }

    pub fn wants_flow_removed(&self, reason: FlowRemovedReason) -> bool {
        let mask = self.async_config().flow_removed;
        self.is_listening() && mask.wants(self.role, reason.wire())
    }

    /// Only 1.4 and later have the message.
    pub fn wants_role_status(&self, reason: RoleReason) -> bool {
        let mask = self.async_config().role_status;
        self.version >= Version::Of14 && self.is_listening() && mask.wants(self.role, reason.wire())
    }

    /// Only 1.4 and later have the message.
    pub fn wants_table_status(&self, reason: TableReason) -> bool {
        let mask = self.async_config().table_status;
        self.version >= Version::Of14 && self.is_listening() && mask.wants(self.role, reason.wire())
    }

    /// Only 1.5 has the message.
    pub fn wants_controller_status(&self, reason: ControllerStatusReason) -> bool {
        let mask = self.async_config().controller_status;
        self.version >= Version::Of15 && self.is_listening() && mask.wants(self.role, reason.wire())
    }

    /// Does the connection want to know of others' group-mods or meter-mods? Only 1.4 and later
    /// have the message.
    pub(crate) fn wants_request(&self, request: &Message) -> bool {
        let reason = match request {
            Message::GroupMod(_) => 0,
            Message::MeterMod(_) => 1,
            _ => return false,
        };
        let mask = self.async_config().requestforward;
        self.version >= Version::Of14 && self.is_listening() && mask.wants(self.role, reason)
    }

    /// Service connections get nothing unasked until they ask, by a miss length that is not zero.
    pub(crate) fn is_listening(&self) -> bool {
        self.kind == ConnKind::Controller || self.miss_send_len != 0
    }
}

/// The generation that a bridge's controllers agreed on last (OpenFlow 1.3.5, 6.3.6).
#[derive(Clone, Copy, Default, Debug)]
pub struct Generation(Option<u64>);

impl Generation {
    /// Takes note of a master or slave request's generation.
    ///
    /// Errors: `OFPRRFC_STALE` when it is older than the last, in circular order.
    pub fn update(&mut self, id: u64) -> Result<(), OfError> {
        if let Some(last) = self.0
            && (id.wrapping_sub(last) as i64) < 0
        {
            return Err(OfError::RrfcStale);
        }
        self.0 = Some(id);
        Ok(())
    }

    pub fn last(&self) -> Option<u64> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conn(kind: ConnKind, version: Version) -> Conn {
        Conn::new(ConnId(1), BridgeId(1), kind, version)
    }

    #[test]
    fn only_old_controllers_want_implicit_misses() {
        for version in Version::ALL {
            assert_eq!(
                conn(ConnKind::Controller, *version).wants_misses(),
                *version < Version::Of13
            );
        }
        let new = conn(ConnKind::Controller, Version::Of13);
        assert!(new.wants_packet_in(PacketInReason::NoMatch, 0, false));
        assert!(!new.wants_packet_in(PacketInReason::InvalidTtl, 0, false));
        assert!(!new.wants_packet_in(PacketInReason::Action, 7, false));
    }

    /// 1.4 tells sorts of "an action said so" apart, and has them on at first; for the others
    /// they are one.
    #[test]
    fn new_reasons_are_old_ones_to_old_versions() {
        for version in Version::ALL {
            let mut conn = conn(ConnKind::Controller, *version);
            assert!(conn.wants_packet_in(PacketInReason::Group, 0, false));
            let mut config = AsyncConfig::default_for(*version);
            config.packet_in.master = 1 << PacketInReason::Group.wire();
            conn.set_async(config);
            assert_eq!(
                conn.wants_packet_in(PacketInReason::Group, 0, false),
                *version >= Version::Of14
            );
        }
    }

    #[test]
    fn service_connections_ask_first() {
        let mut service = conn(ConnKind::Service, Version::Of10);
        assert!(!service.wants_misses());
        assert!(!service.wants_port_status(PortReason::Add));
        service.set_async(AsyncConfig::default_for(Version::Of10));
        assert!(service.wants_misses());
        assert!(service.wants_port_status(PortReason::Add));
    }

    #[test]
    fn slaves_get_port_status_alone() {
        let mut slave = conn(ConnKind::Controller, Version::Of13);
        slave.role = Role::Slave;
        assert!(slave.wants_port_status(PortReason::Delete));
        assert!(!slave.wants_flow_removed(FlowRemovedReason::Delete));
        assert_eq!(slave.check_not_slave(), Err(OfError::BrcIsSlave));
    }

    #[test]
    fn generations_are_circular() {
        let mut generation = Generation::default();
        generation.update(u64::MAX).unwrap();
        generation.update(0).unwrap();
        assert_eq!(generation.update(u64::MAX), Err(OfError::RrfcStale));
        generation.update(0).unwrap();
        assert_eq!(generation.last(), Some(0));
    }
}
