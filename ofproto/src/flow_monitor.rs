//! Flow monitors: what connections want to hear of changes to flows, and what they hear.
//!
//! Each change goes once to each connection that has a monitor for it, with what all its monitors
//! together ask for. A connection that does not read fast enough is paused: only deletions of
//! flows that it knows are told, and when it has caught up ([`Ofproto::set_congested`]), the flows
//! that changed meanwhile are told as they are then. So what waits for a connection is bounded by
//! what the tables hold.
//!
//! Source: ovs-ofctl(8), "monitor"; `nicira-ext.h`, "Flow Table Monitoring"; OpenFlow 1.4.1,
//! 7.3.5.18; what ovs-vswitchd 3.1 was seen to do.

use std::collections::BTreeMap;
use std::sync::Arc;

use openflow::message::{
    FlowChange, FlowEvent, FlowMonitorCommand, FlowMonitorFlags, FlowMonitorRequest, FlowUpdate,
    GROUP_ANY, TABLE_ALL,
};
use openflow::{Message, OfError, OfPort, Version};

use crate::conn::{Conn, ConnId};
use crate::flow::{Flow, Mask};
use crate::flow_field::from_match;
use crate::ofproto::{Effect, Ofproto};
use crate::rule::Rule;
use crate::snapshot::{BridgeId, N_TABLES};
use crate::table::{Change, FlowTables, Removed};

/// Monitors that one connection may have.
const MAX_MONITORS: usize = 1024;

/// The monitors of a connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Monitors {
    by_id: BTreeMap<u32, Monitor>,
    /// The peer has more to read than it reads.
    is_congested: bool,
    /// While it is paused, the serial of that moment: rules with a higher one, or changed later,
    /// are news.
    paused: Option<u64>,
}

#[derive(Clone, Debug)]
struct Monitor {
    flags: FlowMonitorFlags,
    out_port: OfPort,
    out_group: u32,
    table_id: u8,
    flow: Flow,
    mask: Mask,
}

impl Monitor {
    fn new(request: &FlowMonitorRequest) -> Result<Monitor, OfError> {
        let (flow, mask) = from_match(&request.fields)?;
        if request.table_id != TABLE_ALL && usize::from(request.table_id) >= N_TABLES {
            return Err(OfError::BrcBadTableId);
        }
        Ok(Monitor {
            flags: request.flags,
            out_port: request.out_port,
            out_group: request.out_group,
            table_id: request.table_id,
            flow,
            mask,
        })
    }

    fn accepts(&self, rule: &Rule, old: Option<&Rule>) -> bool {
        let outputs = |rule: &Rule| {
            let any = |wanted: bool, f: &dyn Fn(&openflow::Action) -> bool| {
                wanted || rule.actions.iter().any(f)
            };
            any(self.out_port == OfPort::ANY, &|a| {
                a.outputs_to(self.out_port)
            }) && any(self.out_group == GROUP_ANY, &|a| {
                a.outputs_to_group(self.out_group)
            })
        };
        (self.table_id == TABLE_ALL || self.table_id == rule.table_id)
            && (outputs(rule) || old.is_some_and(outputs))
            && rule.pattern.is_within(&self.flow, &self.mask)
    }
}

impl Monitors {
    fn add(&mut self, id: u32, monitor: Monitor) -> Result<(), OfError> {
        if self.by_id.contains_key(&id) {
            return Err(OfError::MofcMonitorExists);
        }
        if self.by_id.len() >= MAX_MONITORS {
            return Err(OfError::BrcEperm);
        }
        self.by_id.insert(id, monitor);
        Ok(())
    }

    pub fn cancel(&mut self, id: u32) -> Result<(), OfError> {
        let gone = self.by_id.remove(&id);
        if self.by_id.is_empty() {
            self.paused = None;
        }
        gone.map(|_| ()).ok_or(OfError::MofcUnknownMonitor)
    }

    /// What the monitors together want to know of a change, `None` for nothing at all.
    fn wishes(
        &self,
        rule: &Rule,
        old: Option<&Rule>,
        asks: impl Fn(&FlowMonitorFlags) -> bool,
    ) -> Option<FlowMonitorFlags> {
        self.by_id
            .values()
            .filter(|m| asks(&m.flags) && m.accepts(rule, old))
            .map(|m| m.flags)
            .reduce(|a, b| FlowMonitorFlags {
                actions: a.actions || b.actions,
                own: a.own || b.own,
                ..a
            })
    }
}

/// How the change to a rule is told.
fn describe(rule: &Rule, event: FlowEvent, wishes: FlowMonitorFlags) -> FlowUpdate {
    FlowUpdate::Flow(FlowChange {
        event,
        table_id: rule.table_id,
        priority: u16::try_from(rule.priority).unwrap_or(u16::MAX),
        idle_timeout: rule.idle_timeout,
        hard_timeout: rule.hard_timeout,
        cookie: rule.cookie,
        fields: rule.to_match(),
        actions: match wishes.actions {
            true => rule.actions.to_vec(),
            false => Vec::new(),
        },
    })
}

impl Change {
    /// The rule, what happened to it, and the rule before.
    fn parts(&self) -> (&Rule, FlowEvent, Option<&Rule>) {
        match self {
            Change::Added { rule, old } => (rule, FlowEvent::Added, old.as_deref()),
            Change::Modified { rule, old } => (rule, FlowEvent::Modified, Some(old)),
            Change::Removed(Removed { rule, reason }) => (rule, FlowEvent::Deleted(*reason), None),
        }
    }

    /// Is there anything to tell? A modification that changes nothing says nothing.
    fn is_news(&self) -> bool {
        let (rule, _, _) = self.parts();
        let changes = match self {
            Change::Modified { rule, old } => {
                rule.cookie != old.cookie || rule.actions != old.actions
            }
            Change::Added { .. } | Change::Removed(_) => true,
        };
        changes && !rule.is_hidden()
    }
}

impl Ofproto {
    /// Makes, changes and deletes monitors; the reply is the flows that the new ones are about.
    ///
    /// Errors: `OFPMOFC_MONITOR_EXISTS`, `OFPMOFC_UNKNOWN_MONITOR`, `OFPBRC_BAD_TABLE_ID`, and
    /// those of [`from_match`]; after one, all monitors are as before.
    pub(crate) fn flow_monitor(
        &mut self,
        id: ConnId,
        requests: &[FlowMonitorRequest],
    ) -> Result<Message, OfError> {
        let conn = self.conns.get_mut(&id).ok_or(OfError::BrcEperm)?;
        let before = conn.monitors.by_id.clone();
        let mut new = Vec::new();
        for request in requests {
            let done = change_monitor(&mut conn.monitors, request);
            if let Err(error) = done {
                conn.monitors.by_id = before;
                return Err(error);
            }
            if request.command != FlowMonitorCommand::Delete {
                new.push(request.id);
            }
        }
        let mut initial = conn.monitors.clone();
        initial.by_id.retain(|id, _| new.contains(id));
        let rules = self.tables(conn_bridge(&self.conns, id)?);
        let mut updates = Vec::new();
        for rule in rules.into_iter().flat_map(FlowTables::visible_rules) {
            if let Some(wishes) = initial.wishes(&rule, None, |f| f.initial) {
                updates.push(describe(&rule, FlowEvent::Initial, wishes));
            }
        }
        Ok(Message::FlowMonitorReply(updates))
    }

    /// Tells the monitors of a bridge's connections.
    pub(crate) fn monitor_changes(
        &mut self,
        bridge: BridgeId,
        changes: &[Change],
        by: Option<(ConnId, u32)>,
    ) {
        let serial = self.tables(bridge).map_or(0, FlowTables::last_serial);
        for conn in self.conns.values_mut().filter(|c| c.bridge == bridge) {
            if conn.monitors.by_id.is_empty() {
                continue;
            }
            let own_xid = by.filter(|(id, _)| *id == conn.id).map(|(_, xid)| xid);
            let updates = updates(&conn.monitors, changes, own_xid);
            if updates.is_empty() {
                continue;
            }
            self.effects.push_back(send_updates(conn.id, updates));
            if conn.monitors.is_congested && conn.monitors.paused.is_none() {
                conn.monitors.paused = Some(serial);
                self.effects.push_back(pause(conn));
            }
        }
    }

    /// Says whether a connection's peer is slow to read what it is sent. Monitors of a slow one
    /// pause with the next change, and resume once it is not slow any more.
    pub fn set_congested(&mut self, id: ConnId, is_congested: bool) {
        let Some(conn) = self.conns.get_mut(&id) else {
            return;
        };
        conn.monitors.is_congested = is_congested;
        if is_congested {
            return;
        }
        let Some(paused) = conn.monitors.paused.take() else {
            return;
        };
        let (monitors, version) = (&conn.monitors, conn.version);
        let Some(bridge) = self.bridges.get(&conn.bridge) else {
            return;
        };
        let mut updates = Vec::new();
        for rule in bridge.tables.visible_rules() {
            let event = match &rule {
                rule if rule.serial > paused => FlowEvent::Added,
                rule if rule.changed > paused => FlowEvent::Modified,
                _ => continue,
            };
            let asks = |f: &FlowMonitorFlags| match event {
                FlowEvent::Added => f.add,
                _ => f.modify,
            };
            if let Some(wishes) = monitors.wishes(&rule, None, asks) {
                updates.push(describe(&rule, event, wishes));
            }
        }
        if !updates.is_empty() {
            self.effects.push_back(send_updates(id, updates));
        }
        self.effects.push_back(match version >= Version::Of14 {
            true => send_updates(id, vec![FlowUpdate::Resumed]),
            false => send(id, Message::FlowMonitorResumed),
        });
    }
}

fn conn_bridge(conns: &BTreeMap<ConnId, Conn>, id: ConnId) -> Result<BridgeId, OfError> {
    conns.get(&id).map(|c| c.bridge).ok_or(OfError::BrcEperm)
}

fn change_monitor(monitors: &mut Monitors, request: &FlowMonitorRequest) -> Result<(), OfError> {
    match request.command {
        FlowMonitorCommand::Add => monitors.add(request.id, Monitor::new(request)?),
        FlowMonitorCommand::Modify => {
            let monitor = Monitor::new(request)?;
            let old = monitors.by_id.get_mut(&request.id);
            *old.ok_or(OfError::MofcUnknownMonitor)? = monitor;
            Ok(())
        }
        FlowMonitorCommand::Delete => monitors.cancel(request.id),
    }
}

/// What a connection is told of changes; `own_xid` if it made them itself.
fn updates(monitors: &Monitors, changes: &[Change], own_xid: Option<u32>) -> Vec<FlowUpdate> {
    let mut updates = Vec::new();
    let mut abbreviated = false;
    for change in changes.iter().filter(|c| c.is_news()) {
        let (rule, event, old) = change.parts();
        if let Some(paused) = monitors.paused {
            let is_known = matches!(event, FlowEvent::Deleted(_)) && rule.serial <= paused;
            if !is_known {
                continue;
            }
        }
        let asks = |f: &FlowMonitorFlags| match event {
            FlowEvent::Initial | FlowEvent::Added => f.add,
            FlowEvent::Modified => f.modify,
            FlowEvent::Deleted(_) => f.delete,
        };
        let Some(wishes) = monitors.wishes(rule, old, asks) else {
            continue;
        };
        match own_xid {
            Some(xid) if !wishes.own && monitors.paused.is_none() => {
                if !std::mem::replace(&mut abbreviated, true) {
                    updates.push(FlowUpdate::Abbrev { xid });
                }
            }
            _ => updates.push(describe(rule, event, wishes)),
        }
    }
    updates
}

fn send(conn: ConnId, message: Message) -> Effect {
    Effect::Send {
        conn,
        xid: 0,
        message,
    }
}

fn send_updates(conn: ConnId, updates: Vec<FlowUpdate>) -> Effect {
    send(conn, Message::FlowMonitorReply(updates))
}

fn pause(conn: &Conn) -> Effect {
    match conn.version >= Version::Of14 {
        true => send_updates(conn.id, vec![FlowUpdate::Paused]),
        false => send(conn.id, Message::FlowMonitorPaused),
    }
}

impl FlowTables {
    /// All rules that controllers can see, by table, then descending priority, then age.
    fn visible_rules(&self) -> Vec<Arc<Rule>> {
        // A filter without a match cannot be refused.
        self.stats(&openflow::message::FlowStatsRequest::all())
            .unwrap_or_default()
    }
}
