//! How a bridge's controllers are doing, for those of them that ask or want to be told.
//!
//! A controller is known by its target, as the database has it. Connections without one (tools)
//! are no controllers.
//!
//! Source: OpenFlow 1.5.1, 7.3.5.19 and 7.4.8.

use std::collections::BTreeSet;

use openflow::Message;
use openflow::message::{ControllerStatus, ControllerStatusReason, Role};

use crate::conn::{Conn, ConnId};
use crate::ofproto::{Effect, Error, Ofproto};
use crate::snapshot::BridgeId;

impl Ofproto {
    /// Says which controllers a bridge is to have.
    ///
    /// Errors: there is no such bridge.
    pub fn set_controller_targets(
        &mut self,
        id: BridgeId,
        targets: BTreeSet<String>,
    ) -> Result<(), Error> {
        let state = self.bridges.get_mut(&id).ok_or(Error::NoSuchBridge)?;
        let old = std::mem::replace(&mut state.targets, targets);
        let new = state.targets.clone();
        for target in old.difference(&new) {
            self.tell(id, absent(target, ControllerStatusReason::Removed));
        }
        for target in new.difference(&old) {
            self.tell(id, absent(target, ControllerStatusReason::Added));
        }
        Ok(())
    }

    /// Says whose connection it is.
    pub fn set_conn_target(&mut self, id: ConnId, target: &str) {
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.target = Some(target.to_owned());
            self.controller_changed(id, ControllerStatusReason::Channel);
        }
    }

    /// Tells of a connection that is there.
    pub(crate) fn controller_changed(&mut self, id: ConnId, reason: ControllerStatusReason) {
        let Some(conn) = self.conns.get(&id) else {
            return;
        };
        let bridge = conn.bridge;
        if let Some(status) = status(conn, reason, true) {
            self.tell(bridge, status);
        }
    }

    /// Tells of a connection that has gone.
    pub(crate) fn controller_gone(&mut self, conn: &Conn) {
        if let Some(status) = status(conn, ControllerStatusReason::Channel, false) {
            self.tell(conn.bridge, status);
        }
    }

    fn tell(&mut self, bridge: BridgeId, status: ControllerStatus) {
        for conn in self.conns.values().filter(|c| c.bridge == bridge) {
            if conn.wants_controller_status(status.reason) {
                self.effects.push_back(Effect::Send {
                    conn: conn.id,
                    xid: 0,
                    message: Message::ControllerStatus(status.clone()),
                });
            }
        }
    }

    /// Those that are connected, then the others.
    pub(crate) fn controller_statuses(&self, bridge: BridgeId) -> Vec<ControllerStatus> {
        let reason = ControllerStatusReason::Request;
        let conns = self.conns.values().filter(|c| c.bridge == bridge);
        let mut all: Vec<ControllerStatus> = conns
            .filter_map(|conn| status(conn, reason, true))
            .collect();
        let up: BTreeSet<&String> = all.iter().filter_map(|s| s.uri.as_ref()).collect();
        let targets = self.bridges.get(&bridge).map(|b| &b.targets);
        let down: Vec<ControllerStatus> = targets
            .into_iter()
            .flatten()
            .filter(|target| !up.contains(target))
            .map(|target| absent(target, reason))
            .collect();
        all.extend(down);
        all
    }
}

fn status(conn: &Conn, reason: ControllerStatusReason, is_up: bool) -> Option<ControllerStatus> {
    Some(ControllerStatus {
        short_id: conn.short_id,
        role: conn.role,
        reason,
        is_up,
        uri: Some(conn.target.clone()?),
        other: Vec::new(),
    })
}

fn absent(target: &str, reason: ControllerStatusReason) -> ControllerStatus {
    ControllerStatus {
        short_id: 0,
        role: Role::Equal,
        reason,
        is_up: false,
        uri: Some(target.to_owned()),
        other: Vec::new(),
    }
}
