//! What a paused packet is to go on with.

use bytes::Bytes;

use crate::action::Action;

/// The state of a pipeline that `controller(pause)` stopped, beside the packet and its metadata.
///
/// It goes to the controller in a packet-in and comes back in `NXT_RESUME`; controllers do not look
/// into it.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Continuation {
    /// A UUID that names the bridge; zero for none.
    pub bridge: [u8; 16],
    /// The top first; each is as long as what was pushed.
    pub stack: Vec<Bytes>,
    /// Mirrors that the packet has gone to.
    pub mirrors: u32,
    /// The packet went through connection tracking.
    pub conntracked: bool,
    /// What is left to do, in order.
    pub frames: Vec<Frame>,
    pub action_set: Vec<Action>,
    /// The port that the packet came in by, as the datapath numbers it; 0 for none.
    pub odp_port: u32,
}

/// The rest of the actions of one rule, or of what leads to it.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Frame {
    pub table_id: u8,
    pub cookie: u64,
    pub actions: Vec<Action>,
}
