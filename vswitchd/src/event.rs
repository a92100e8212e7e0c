//! Everything that can wake the daemon, in one closed enumeration.
//!
//! The sources of these events are in [`crate::switch`], which has the one `match` on them.

use daemon::unixctl;

use ofproto::upcall::Effect;

use crate::netdev::LinkEvent;
use crate::openflow_net::NetEvent;
use crate::revalidator::CaughtUp;

/// One thing that happened.
#[derive(Debug)]
pub enum Event {
    /// The replica changed, a transaction ended, or the connection came or went.
    Database(ovsdb::replica::Event),
    /// A network device came, went or changed.
    Link(LinkEvent),
    /// Something on an OpenFlow connection.
    OpenFlow(NetEvent),
    /// Upcall threads handled packets.
    Packets(Vec<Effect>),
    /// The revalidator has caught up with a snapshot.
    Revalidated(CaughtUp),
    /// A command of `appctl`.
    Unixctl(unixctl::Request),
    /// A timer ran out.
    Timer,
    /// SIGTERM and the like, by name.
    Terminate(&'static str),
}
