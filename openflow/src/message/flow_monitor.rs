//! Flow monitors: a controller is told of changes to flows as they happen.

use packet::OfPort;

use super::FlowRemovedReason;
use crate::action::Action;
use crate::flow_match::Match;

/// What a flow monitor reports, and how.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct FlowMonitorFlags {
    /// The flows that are there already.
    pub initial: bool,
    pub add: bool,
    pub delete: bool,
    pub modify: bool,
    /// Updates have the flow's actions.
    pub actions: bool,
    /// Changes that the connection itself makes are told in full, not abbreviated.
    pub own: bool,
}

/// What to do about a monitor; before 1.4 there is `Add` alone.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FlowMonitorCommand {
    Add,
    Modify,
    Delete,
}

/// One monitor in a flow monitor request.
#[derive(Clone, PartialEq, Debug)]
pub struct FlowMonitorRequest {
    pub id: u32,
    pub command: FlowMonitorCommand,
    pub flags: FlowMonitorFlags,
    /// Only flows that output to it; [`OfPort::ANY`] for no such filter.
    pub out_port: OfPort,
    /// Only flows that output to it, 1.4 and later; [`super::GROUP_ANY`] for no such filter.
    pub out_group: u32,
    /// [`super::TABLE_ALL`] for all.
    pub table_id: u8,
    pub fields: Match,
}

/// What happened to a flow.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FlowEvent {
    /// It was there when the monitor was made; `Added` before 1.4.
    Initial,
    Added,
    Deleted(FlowRemovedReason),
    Modified,
}

/// One entry of a flow monitor reply.
#[derive(Clone, PartialEq, Debug)]
pub enum FlowUpdate {
    Flow(FlowChange),
    /// The connection's own request of this transaction id did what it asked.
    Abbrev {
        xid: u32,
    },
    /// Updates are not sent for a while; 1.4 and later.
    Paused,
    /// All that happened since `Paused` has been told; 1.4 and later.
    Resumed,
}

/// A change to a flow.
#[derive(Clone, PartialEq, Debug)]
pub struct FlowChange {
    pub event: FlowEvent,
    pub table_id: u8,
    pub priority: u16,
    pub idle_timeout: u16,
    pub hard_timeout: u16,
    pub cookie: u64,
    pub fields: Match,
    /// Empty also when the monitor did not ask for them.
    pub actions: Vec<Action>,
}
