//! `NXT_RESUME`: a packet that paused comes back.
//!
//! Source: `nicira-ext.h`, "Pausing and resuming"; the errors are those of ovs-vswitchd 3.1.

use openflow::message::{Continuation, PacketIn};
use openflow::{Field, Match, OfError, OfPort};

use crate::action_check;
use crate::conn::Conn;
use crate::ofproto::{BridgeState, Effect};
use crate::upcall::{self, Todo};

/// What is to be done with the packet. `name` is what continuations call the bridge.
///
/// Errors: `NXR_STALE` for what this bridge has not sent, or sent before the switch started anew;
/// `OFPBRC_BAD_PORT`, `OFPBRC_PIPELINE_FIELDS_ONLY`, and those of [`action_check`].
pub(super) fn resume(
    bridge: &BridgeState,
    conn: &Conn,
    name: [u8; 16],
    request: PacketIn,
) -> Result<Effect, OfError> {
    let Some(continuation) = request.continuation.filter(|c| c.bridge == name) else {
        return Err(OfError::NxrStale);
    };
    let Continuation {
        bridge: _,
        stack: _,
        mirrors,
        conntracked,
        frames,
        action_set,
        odp_port,
    } = &*continuation;
    if *mirrors != 0 || *conntracked || *odp_port != 0 {
        // Nothing sends such.
        return Err(OfError::NxrStale);
    }
    for frame in frames {
        let known = bridge.known();
        action_check::check_rest(&frame.actions, frame.table_id, conn.version, known)?;
    }
    action_check::check_packet_out(action_set, conn.version, bridge.known())?;
    let in_port = request.metadata.in_port().unwrap_or(OfPort::ANY);
    super::check_in_port(in_port)?;
    let is_port = |field| matches!(field, Field::InPort | Field::InPort16);
    let mut metadata = Match::new();
    for f in &request.metadata {
        match f.field {
            port if is_port(port) => {}
            field if super::is_pipeline_field(field) => metadata.set_exact(field, f.value),
            _ => return Err(OfError::BrcPipelineFieldsOnly),
        }
    }
    Ok(Effect::PacketOut(upcall::PacketOut {
        bridge: bridge.view.id,
        in_port,
        metadata,
        todo: Todo::Resume(continuation),
        data: request.data,
    }))
}
