//! How the controllers of a switch are doing, 1.5.

use super::{Property, Role};

/// An entry of `OFPMP_CONTROLLER_STATUS`, and `OFPT_CONTROLLER_STATUS`.
#[derive(Clone, PartialEq, Debug)]
pub struct ControllerStatus {
    /// 0 for none.
    pub short_id: u16,
    pub role: Role,
    pub reason: ControllerStatusReason,
    /// Is the channel between switch and controller up?
    pub is_up: bool,
    /// Where the controller is, as `tcp:127.0.0.1:6653`.
    pub uri: Option<String>,
    pub other: Vec<Property>,
}

/// Why the status of a controller is told.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ControllerStatusReason {
    /// Somebody asked.
    Request,
    /// The channel came up or went down.
    Channel,
    Role,
    /// A controller was configured.
    Added,
    /// A controller is no longer configured.
    Removed,
    ShortId,
    Experimenter,
}

impl ControllerStatusReason {
    const ALL: [ControllerStatusReason; 7] = [
        ControllerStatusReason::Request,
        ControllerStatusReason::Channel,
        ControllerStatusReason::Role,
        ControllerStatusReason::Added,
        ControllerStatusReason::Removed,
        ControllerStatusReason::ShortId,
        ControllerStatusReason::Experimenter,
    ];

    pub const fn wire(self) -> u8 {
        self as u8
    }

    pub fn from_wire(n: u8) -> Option<ControllerStatusReason> {
        ControllerStatusReason::ALL.get(usize::from(n)).copied()
    }
}
