//! `controller(pause)`: translation ends, and what is left to do goes to the controller with the
//! packet; when that sends it back, translation goes on there.
//!
//! What pauses is what the packet is in: a whole pipeline, or the traversal of a group's bucket
//! or of the bridge behind a patch port. What comes behind those goes on without waiting.
//!
//! Source: ovs-actions(7), "The controller action"; OVS `ofproto/ofproto-dpif-xlate.c`,
//! `finish_freezing`.

use bytes::Bytes;
use openflow::Action;
use openflow::action::Controller;
use openflow::message::{Continuation, Frame};

use super::{Ctx, Effect, Miss};
use crate::trace::Node;

impl Ctx<'_> {
    /// The `controller` action with all its options.
    pub(super) fn controller(&mut self, c: &Controller) {
        let mut event = self.new_packet_in(c.reason, c.controller_id, c.max_len);
        event.userdata = Bytes::copy_from_slice(&c.userdata);
        event.meter_id = c.meter_id;
        if !c.pause {
            return self.effect(Effect::PacketIn(Box::new(event)));
        }
        event.continuation = Some(Box::new(Continuation {
            stack: self.stack.iter().rev().map(|v| to_bytes(*v)).collect(),
            ..Continuation::default()
        }));
        self.pausing = Some(Box::new(event));
    }

    /// Puts down what a list of actions had left when something in it paused.
    pub(super) fn pause_list(&mut self, rest: &[Action]) {
        let frame = Frame {
            table_id: self.table_id,
            cookie: self.cookie,
            actions: rest.to_vec(),
        };
        self.pause_frames([frame]);
    }

    fn pause_frames(&mut self, frames: impl IntoIterator<Item = Frame>) {
        let pausing = self.pausing.as_deref_mut();
        if let Some(continuation) = pausing.and_then(|event| event.continuation.as_deref_mut()) {
            let frames = frames.into_iter().filter(|f| !f.actions.is_empty());
            continuation.frames.extend(frames);
        }
    }

    /// At the end of what a pause ends: sends the packet-in, if there was one.
    pub(super) fn finish_pause(&mut self) {
        if let Some(event) = self.pausing.take() {
            self.effect(Effect::PacketIn(event));
        }
    }

    /// As [`Ctx::finish_pause`], at the end of a pipeline: what is in the action set waits too.
    /// The set of a pipeline that a group's bucket is in does not, it goes on behind the group.
    pub(super) fn finish_paused_pipeline(&mut self) {
        let Some(event) = self.pausing.as_deref_mut() else {
            return;
        };
        if let Some(continuation) = &mut event.continuation {
            continuation.action_set = std::mem::take(&mut self.action_set);
        }
        self.finish_pause();
    }

    /// A packet that comes back.
    pub(super) fn resume(&mut self, c: &Continuation) {
        self.stack = c.stack.iter().rev().map(|v| from_bytes(v)).collect();
        self.action_set = c.action_set.clone();
        let name = self.bridge.name.clone();
        self.within(
            || Node::Bridge(name),
            |ctx| {
                let mut frames = c.frames.iter();
                for frame in frames.by_ref() {
                    (ctx.table_id, ctx.cookie) = (frame.table_id, frame.cookie);
                    ctx.miss = Miss::No;
                    ctx.actions(&frame.actions);
                    if ctx.exit || ctx.error.is_some() || ctx.pausing.is_some() {
                        break;
                    }
                }
                ctx.pause_frames(frames.cloned());
                ctx.do_action_set();
                ctx.finish_paused_pipeline();
            },
        );
    }
}

/// Big-endian, without leading zeros.
fn to_bytes(value: u128) -> Bytes {
    let bytes = value.to_be_bytes();
    let zeros = bytes.iter().take(15).take_while(|b| **b == 0).count();
    Bytes::copy_from_slice(bytes.get(zeros..).unwrap_or_default())
}

fn from_bytes(bytes: &[u8]) -> u128 {
    bytes
        .iter()
        .fold(0, |value, byte| value << 8 | u128::from(*byte))
}
