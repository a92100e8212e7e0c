//! Fail modes: what a bridge does while no controller is connected.
//!
//! A standalone bridge that no controller is to fill has one visible rule of lowest priority that
//! forwards as an ordinary switch does. One whose controllers have been gone for long enough gets
//! such a rule above all others, hidden, until one comes back. A secure bridge gets neither.
//!
//! Source: ovs-vswitchd.conf.db(5), Bridge `fail_mode`; OVS `ofproto/fail-open.h`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use openflow::{Action, Match};
use packet::OfPort;

use super::{BridgeState, Error, Ofproto};
use crate::rule::FAIL_OPEN_PRIORITY;
use crate::snapshot::{BridgeId, FailMode};

/// The controllers of a bridge, as far as fail modes go.
#[derive(Debug)]
pub(super) struct Controllers {
    /// How many the database names.
    pub(super) configured: usize,
    /// How long all of them must be gone before the fail mode takes effect.
    pub(super) grace: Duration,
    /// When the last of them went, or the first was configured.
    pub(super) gone_since: Instant,
    pub(super) is_failed_open: bool,
}

impl Ofproto {
    /// Sets the fail mode. A bridge without controllers starts over with the tables that the mode
    /// gives it.
    pub fn set_fail_mode(
        &mut self,
        id: BridgeId,
        fail_mode: FailMode,
        now: Instant,
    ) -> Result<(), Error> {
        let bridge = self.state(id)?;
        if bridge.view.fail_mode == fail_mode {
            return Ok(());
        }
        Arc::make_mut(&mut bridge.view).fail_mode = fail_mode;
        self.is_dirty = true;
        if self.state(id)?.controllers.configured == 0 {
            self.flush_flows(id, now);
        }
        self.update_fail_open(id, now);
        Ok(())
    }

    /// Says how many controllers the database names, and after how long without any of them the
    /// fail mode takes effect (three times the longest inactivity probe). Getting the first or
    /// losing the last one empties the flow tables.
    pub fn set_controllers(
        &mut self,
        id: BridgeId,
        configured: usize,
        grace: Duration,
        now: Instant,
    ) -> Result<(), Error> {
        let controllers = &mut self.state(id)?.controllers;
        let had = controllers.configured != 0;
        controllers.configured = configured;
        controllers.grace = grace;
        if had != (configured != 0) {
            controllers.gone_since = now;
            self.flush_flows(id, now);
        }
        self.update_fail_open(id, now);
        Ok(())
    }

    /// Deletes every flow; what the fail mode puts into empty tables comes back.
    pub fn flush_flows(&mut self, id: BridgeId, now: Instant) {
        let Some(bridge) = self.bridges.get_mut(&id) else {
            return;
        };
        let removed = bridge.tables.flush();
        bridge.controllers.is_failed_open = false;
        bridge.add_default_rule(now);
        self.flows_removed(id, removed, now);
        self.update_fail_open(id, now);
    }

    /// When a bridge is going to forward by itself, if no controller comes.
    pub(super) fn fail_open_at(&self, bridge: &BridgeState) -> Option<Instant> {
        let c = &bridge.controllers;
        let waits = c.configured != 0
            && bridge.view.fail_mode == FailMode::Standalone
            && !bridge.view.controller_connected
            && !c.is_failed_open;
        waits.then(|| c.gone_since + c.grace)
    }

    /// Puts the rule in or out that forwards while controllers are gone.
    pub(super) fn update_fail_open(&mut self, id: BridgeId, now: Instant) {
        let Some(bridge) = self.bridges.get(&id) else {
            return;
        };
        let is_due = self.fail_open_at(bridge).is_some_and(|at| at <= now);
        let Some(bridge) = self.bridges.get_mut(&id) else {
            return;
        };
        if is_due {
            tracing::warn!(
                bridge = &*bridge.view.name,
                "no controller is connected: forwarding as a standalone switch"
            );
            bridge.add_normal_rule(FAIL_OPEN_PRIORITY, now);
            bridge.controllers.is_failed_open = true;
            return;
        }
        let must_end = bridge.controllers.configured == 0
            || bridge.view.fail_mode == FailMode::Secure
            || bridge.view.controller_connected;
        if bridge.controllers.is_failed_open && must_end {
            bridge
                .tables
                .remove_internal(FAIL_OPEN_PRIORITY, &Match::new());
            bridge.controllers.is_failed_open = false;
        }
    }
}

impl BridgeState {
    /// An empty table 0 of a standalone bridge that no controller is to fill forwards as an
    /// ordinary switch.
    pub(super) fn add_default_rule(&mut self, now: Instant) {
        if self.controllers.configured == 0 && self.view.fail_mode == FailMode::Standalone {
            self.add_normal_rule(0, now);
        }
    }

    fn add_normal_rule(&mut self, priority: u32, now: Instant) {
        let actions = vec![Action::output(OfPort::NORMAL)];
        let added = self
            .tables
            .add_internal(priority, &Match::new(), actions, now);
        debug_assert!(added.is_ok(), "an empty match has no field to refuse");
    }
}
