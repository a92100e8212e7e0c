//! Bundles: messages that are kept until their controller commits them, and then carried out
//! together or not at all.
//!
//! Committing stages each message: flow-mods and group-mods change tables and groups at once,
//! port-mods and packet-outs are only checked. When one fails, what was changed is undone; nothing
//! was published or told in between. When none does, ports change, packets go out (on the tables as the whole
//! bundle left them) and controllers hear of it. So every bundle is atomic and ordered, whatever
//! its flags say, and packets see it as one snapshot.
//!
//! A bundle belongs to its connection and goes with it. One that is left alone for
//! [`IDLE_TIMEOUT`] is dropped, and its controller told.
//!
//! Source: OpenFlow 1.4.1, 6.8 and 7.3.9; errors and timeout are those of ovs-vswitchd 3.1.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use openflow::codec::{self, Dialect, Header};
use openflow::message::{
    BundleAdd, BundleControl, BundleControlKind, BundleFeatures, BundleFeaturesRequest,
    BundleFlags, ErrorMessage, FlowMod, PortMod,
};
use openflow::{Action, MatchField, Message, OfError, Version};

use crate::conn::ConnId;
use crate::ofproto::{Effect, Ofproto};
use crate::request::{check_buffer, packet_out};
use crate::snapshot::BridgeId;
use crate::table::Change;

/// A bundle that is not touched for this long is dropped, unless the configuration says otherwise.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(10);
/// Bundles that one connection may have at once.
const MAX_BUNDLES: usize = 64;
/// Bytes of messages that all bundles of a connection may hold.
const MAX_BYTES: usize = 128 << 20;
/// Bytes of decoded messages that all bundles of a connection may hold; what comes after that is
/// decoded again by the commit.
const MAX_DECODED: usize = 64 << 20;

/// The bundles of a connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bundles {
    by_id: BTreeMap<u32, Bundle>,
    /// Of all messages in them.
    bytes: usize,
    /// The same, of those that are decoded.
    decoded: usize,
}

#[derive(Clone, Debug)]
struct Bundle {
    flags: BundleFlags,
    is_closed: bool,
    used: Instant,
    /// What opened it, for the error when it times out.
    opened_by: Bytes,
    messages: Vec<Held>,
}

/// A message that waits for the commit.
#[derive(Clone, Debug)]
struct Held {
    /// All of it, as it came.
    raw: Bytes,
    /// The same decoded, as long as there is room for that.
    message: Option<Box<Message>>,
}

impl Held {
    /// Bytes that the decoded message takes.
    fn decoded_len(&self) -> usize {
        self.message.as_deref().and_then(decoded_len).unwrap_or(0)
    }
}

/// Bytes that a decoded message takes, for a flow-mod whose actions own no memory; others are
/// rare, and not worth the trouble.
fn decoded_len(message: &Message) -> Option<usize> {
    let Message::FlowMod(fm) = message else {
        return None;
    };
    if fm.actions.iter().any(Action::owns_memory) {
        return None;
    }
    let fields = fm.fields.len() * size_of::<MatchField>();
    let actions = fm.actions.capacity() * size_of::<Action>();
    Some(size_of::<Message>() + fields + actions)
}

impl Bundle {
    fn new(flags: BundleFlags, opened_by: Bytes, now: Instant) -> Bundle {
        Bundle {
            flags,
            is_closed: false,
            used: now,
            opened_by,
            messages: Vec::new(),
        }
    }
}

impl Bundles {
    fn remove(&mut self, id: u32) -> Option<Bundle> {
        let bundle = self.by_id.remove(&id)?;
        self.bytes -= bundle.messages.iter().map(|m| m.raw.len()).sum::<usize>();
        self.decoded -= bundle.messages.iter().map(Held::decoded_len).sum::<usize>();
        Some(bundle)
    }

    fn insert(&mut self, id: u32, bundle: Bundle) -> Result<(), OfError> {
        if self.by_id.len() >= MAX_BUNDLES {
            return Err(OfError::BfcOutOfBundles);
        }
        self.by_id.insert(id, bundle);
        Ok(())
    }

    fn open(
        &mut self,
        id: u32,
        flags: BundleFlags,
        raw: &Bytes,
        now: Instant,
    ) -> Result<(), OfError> {
        if self.remove(id).is_some() {
            return Err(OfError::BfcBadId);
        }
        self.insert(id, Bundle::new(flags, raw.clone(), now))
    }

    fn close(&mut self, id: u32, flags: BundleFlags, now: Instant) -> Result<(), OfError> {
        let bundle = self.writable(id, flags)?;
        bundle.is_closed = true;
        bundle.used = now;
        Ok(())
    }

    /// A bundle that is open and has these flags; one that has not is dropped.
    fn writable(&mut self, id: u32, flags: BundleFlags) -> Result<&mut Bundle, OfError> {
        let bundle = self.by_id.get(&id).ok_or(OfError::BfcBadId)?;
        let error = match bundle {
            b if b.is_closed => OfError::BfcBundleClosed,
            b if b.flags != flags => OfError::BfcBadFlags,
            _ => return self.by_id.get_mut(&id).ok_or(OfError::BfcBadId),
        };
        self.remove(id);
        Err(error)
    }

    /// Adds a message; the bundle need not have been opened.
    fn add(&mut self, request: BundleAdd, now: Instant) -> Result<(), OfError> {
        let id = request.bundle_id;
        if self.bytes.saturating_add(request.raw.len()) > MAX_BYTES {
            self.remove(id);
            return Err(OfError::BfcMsgTooMany);
        }
        if !self.by_id.contains_key(&id) {
            self.insert(id, Bundle::new(request.flags, request.raw.clone(), now))?;
        }
        let room = MAX_DECODED.saturating_sub(self.decoded);
        let bundle = self.writable(id, request.flags)?;
        bundle.used = now;
        let len = request.raw.len();
        let decoded = decoded_len(&request.message).filter(|len| *len <= room);
        bundle.messages.push(Held {
            raw: request.raw,
            message: decoded.map(|_| request.message),
        });
        self.bytes += len;
        self.decoded += decoded.unwrap_or(0);
        Ok(())
    }

    /// Takes out a bundle to commit it.
    fn take(&mut self, id: u32, flags: BundleFlags) -> Result<Bundle, OfError> {
        let bundle = self.remove(id).ok_or(OfError::BfcBadId)?;
        match bundle.flags == flags {
            true => Ok(bundle),
            false => Err(OfError::BfcBadFlags),
        }
    }

    fn next_timeout(&self, idle: Duration) -> Option<Instant> {
        self.by_id.values().map(|b| b.used + idle).min()
    }

    /// Drops what is older than `idle` and returns what opened each.
    fn expire(&mut self, idle: Duration, now: Instant) -> Vec<Bytes> {
        let is_old = |b: &Bundle| b.used + idle <= now;
        let old = self.by_id.iter().filter(|(_, b)| is_old(b));
        let old: Vec<u32> = old.map(|(id, _)| *id).collect();
        let gone = old.into_iter().filter_map(|id| self.remove(id));
        gone.map(|bundle| bundle.opened_by).collect()
    }
}

/// What a commit does once nothing can fail any more, in the order of the messages.
enum Finish {
    /// These of the table changes, made by a request of this transaction id.
    Flows(u32, Range<usize>),
    // There may be a million flow-mods: what is larger than they need is elsewhere.
    /// A group-mod with its transaction id; these of the table changes go with it.
    Group(u32, Box<Message>, Range<usize>),
    Port(Box<PortMod>),
    Packet(Box<Effect>),
    /// The message was carried out, and its sender is to know something all the same.
    Error(u32, Box<(Bytes, OfError)>),
}

/// What bundles can do here: they are atomic and ordered, whatever their flags say, and committed
/// when the commit comes.
///
/// Errors: `OFPBFC_SCHED_NOT_SUPPORTED` for a request to set how commits are scheduled, and those
/// of properties that are not known.
pub(crate) fn features(request: &BundleFeaturesRequest) -> Result<BundleFeatures, OfError> {
    if let Some(property) = request.other.first() {
        return Err(property.refusal());
    }
    if request.flags & BundleFeaturesRequest::SET_SCHED != 0 {
        return Err(OfError::BfcSchedNotSupported);
    }
    Ok(BundleFeatures {
        capabilities: BundleFlags::ATOMIC | BundleFlags::ORDERED,
        time: None,
        other: Vec::new(),
    })
}

/// Errors: `OFPBFC_SCHED_NOT_SUPPORTED` for a bundle that is to be committed at a given time.
fn check_flags(flags: BundleFlags, version: Version) -> Result<(), OfError> {
    match version >= Version::Of15 && flags.0 & BundleFlags::TIME.0 != 0 {
        true => Err(OfError::BfcSchedNotSupported),
        false => Ok(()),
    }
}

/// A commit under way.
#[derive(Default)]
struct Staged {
    changes: Vec<Change>,
    finish: Vec<Finish>,
}

impl Ofproto {
    pub(crate) fn bundle_control(
        &mut self,
        id: ConnId,
        request: BundleControl,
        raw: &Bytes,
        now: Instant,
    ) -> Result<Message, OfError> {
        let conn = self.conns.get_mut(&id).ok_or(OfError::BrcEperm)?;
        conn.check_not_slave()?;
        let BundleControl {
            bundle_id,
            kind,
            flags,
        } = request;
        check_flags(flags, conn.version)?;
        let bundles = &mut conn.bundles;
        match kind {
            BundleControlKind::OpenRequest => bundles.open(bundle_id, flags, raw, now)?,
            BundleControlKind::CloseRequest => bundles.close(bundle_id, flags, now)?,
            BundleControlKind::DiscardRequest => {
                bundles.remove(bundle_id).ok_or(OfError::BfcBadId)?;
            }
            BundleControlKind::CommitRequest => {
                let bundle = bundles.take(bundle_id, flags)?;
                let (bridge, version) = (conn.bridge, conn.version);
                self.bundle_commit(id, bridge, version, bundle, now)?;
            }
            BundleControlKind::OpenReply
            | BundleControlKind::CloseReply
            | BundleControlKind::CommitReply
            | BundleControlKind::DiscardReply => return Err(OfError::BfcBadType),
        }
        Ok(Message::BundleControl(BundleControl {
            bundle_id,
            kind: kind.reply().ok_or(OfError::BfcBadType)?,
            flags: BundleFlags::default(),
        }))
    }

    pub(crate) fn bundle_add(
        &mut self,
        id: ConnId,
        request: BundleAdd,
        now: Instant,
    ) -> Result<(), OfError> {
        let conn = self.conns.get_mut(&id).ok_or(OfError::BrcEperm)?;
        conn.check_not_slave()?;
        check_flags(request.flags, conn.version)?;
        if let Message::FlowMod(fm) = &*request.message {
            crate::action_check::check_flow_mod_alone(fm, conn.version)?;
        }
        conn.bundles.add(request, now)
    }

    /// Errors: `OFPBFC_MSG_FAILED`; the error of the message itself has been sent before it.
    fn bundle_commit(
        &mut self,
        id: ConnId,
        bridge: BridgeId,
        version: Version,
        bundle: Bundle,
        now: Instant,
    ) -> Result<(), OfError> {
        let Some(state) = self.bridges.get(&bridge) else {
            return Err(OfError::BfcUnknown);
        };
        let (mark, groups) = (state.tables.mark(), state.view.groups.clone());
        let mut staged = Staged::default();
        for Held { raw, message } in bundle.messages {
            let Err(error) = self.stage(&mut staged, id, version, &raw, message, now) else {
                continue;
            };
            if let Some(state) = self.bridges.get_mut(&bridge) {
                state.tables.roll_back(staged.changes, mark);
                if !state.view.groups.is_same(&groups) {
                    Arc::make_mut(&mut state.view).groups = groups;
                }
            }
            let xid = Header::decode(&raw).map_or(0, |h| h.xid);
            self.send_error(id, xid, error, raw);
            return Err(OfError::BfcMsgFailed);
        }
        self.finish(id, bridge, staged, now);
        Ok(())
    }

    /// Does of a message what can fail; `decoded` is what is kept of it beside `raw`.
    fn stage(
        &mut self,
        staged: &mut Staged,
        id: ConnId,
        version: Version,
        raw: &Bytes,
        decoded: Option<Box<Message>>,
        now: Instant,
    ) -> Result<(), OfError> {
        let message = match decoded {
            Some(message) => *message,
            None => {
                let decoded = codec::decode(raw, &Dialect::from(version));
                decoded.map_err(|e| e.error())?.message
            }
        };
        let xid = Header::decode(raw).map_or(0, |h| h.xid);
        match message {
            Message::FlowMod(fm) => {
                let conn = self.conns.get(&id).ok_or(OfError::BrcEperm)?;
                let changes = self.flow_mod_start(conn.bridge, &fm, version, now)?;
                let start = staged.changes.len();
                staged.changes.extend(changes);
                staged.flows(xid, start, &fm, raw);
            }
            Message::GroupMod(request) => {
                let conn = self.conns.get(&id).ok_or(OfError::BrcEperm)?;
                let changes = self.group_mod_start(conn.bridge, &request, version, now)?;
                let start = staged.changes.len();
                staged.changes.extend(changes);
                let range = start..staged.changes.len();
                let request = Box::new(Message::GroupMod(request));
                staged.finish.push(Finish::Group(xid, request, range));
            }
            Message::PortMod(request) => {
                self.check_port_mod(id, &request)?;
                staged.finish.push(Finish::Port(Box::new(request)));
            }
            Message::PacketOut(request) => {
                let conn = self.conns.get(&id).ok_or(OfError::BrcEperm)?;
                let bridge = self.bridges.get(&conn.bridge).ok_or(OfError::BrcEperm)?;
                let effect = packet_out(bridge, conn, request)?;
                staged.finish.push(Finish::Packet(Box::new(effect)));
            }
            _ => return Err(OfError::BfcMsgUnsup),
        }
        Ok(())
    }

    fn finish(&mut self, id: ConnId, bridge: BridgeId, staged: Staged, now: Instant) {
        for step in staged.finish {
            match step {
                Finish::Flows(xid, range) => {
                    let changes = staged.changes.get(range).unwrap_or_default();
                    self.flows_changed(bridge, changes, Some((id, xid)), now);
                }
                Finish::Group(xid, request, range) => {
                    let changes = staged.changes.get(range).unwrap_or_default();
                    self.flows_changed(bridge, changes, None, now);
                    self.mark_dirty();
                    self.forward_request(id, xid, *request);
                }
                Finish::Port(request) => self.port_mod(id, &request),
                Finish::Packet(effect) => self.effects.push_back(*effect),
                Finish::Error(xid, refused) => {
                    let (raw, error) = *refused;
                    self.send_error(id, xid, error, raw);
                }
            }
        }
        self.retire(bridge, staged.changes);
    }

    fn send_error(&mut self, conn: ConnId, xid: u32, error: OfError, data: Bytes) {
        self.effects.push_back(Effect::Send {
            conn,
            xid,
            message: Message::Error(ErrorMessage::Known { error, data }),
        });
    }

    pub(crate) fn next_bundle_timeout(&self) -> Option<Instant> {
        let conns = self.conns.values();
        conns
            .filter_map(|c| c.bundles.next_timeout(self.bundle_idle_timeout))
            .min()
    }

    /// Drops bundles that nobody touched for long.
    pub(crate) fn expire_bundles(&mut self, now: Instant) {
        let idle = self.bundle_idle_timeout;
        let expired: Vec<(ConnId, Bytes)> = self
            .conns
            .values_mut()
            .flat_map(|c| {
                let id = c.id;
                let gone = c.bundles.expire(idle, now);
                gone.into_iter().map(move |raw| (id, raw))
            })
            .collect();
        for (conn, raw) in expired {
            let xid = Header::decode(&raw).map_or(0, |h| h.xid);
            self.send_error(conn, xid, OfError::BfcTimeout, raw);
        }
    }

    /// Sets the time after which a bundle is dropped that nobody touches.
    pub fn set_bundle_idle_timeout(&mut self, timeout: Duration) {
        self.bundle_idle_timeout = timeout;
    }
}

impl Staged {
    fn flows(&mut self, xid: u32, start: usize, fm: &FlowMod, raw: &Bytes) {
        let range = start..self.changes.len();
        self.finish.push(Finish::Flows(xid, range));
        if let Err(error) = check_buffer(fm) {
            let refused = Box::new((raw.clone(), error));
            self.finish.push(Finish::Error(xid, refused));
        }
    }
}

#[cfg(test)]
mod tests {
    use openflow::{Field, Match};

    use super::*;

    fn add(bundle_id: u32, message: Message) -> BundleAdd {
        BundleAdd {
            bundle_id,
            flags: BundleFlags::default(),
            message: Box::new(message),
            raw: Bytes::from_static(b"its bytes"),
        }
    }

    /// What is kept decoded has a limit, and room comes back with every bundle that goes.
    #[test]
    fn decoded_messages_have_a_limit() {
        let now = Instant::now();
        let mut bundles = Bundles::default();
        let fields = Match::new().with(Field::InPort, 1);
        let flat = FlowMod {
            actions: vec![Action::StripVlan; 1000],
            fields,
            ..FlowMod::add()
        };
        let nested = FlowMod {
            actions: vec![Action::Note(vec![0; 6])],
            ..FlowMod::add()
        };
        let flat = Message::FlowMod(flat);
        let each = decoded_len(&flat).unwrap();
        assert!(each >= 1000 * size_of::<Action>());
        let fit = MAX_DECODED / each;
        for n in 0..fit as u32 + 10 {
            bundles.add(add(n % 2, flat.clone()), now).unwrap();
        }
        bundles.add(add(0, Message::FlowMod(nested)), now).unwrap();
        let kept = bundles.by_id.values().flat_map(|b| &b.messages);
        assert_eq!(kept.filter(|held| held.message.is_some()).count(), fit);
        assert_eq!(bundles.decoded, fit * each);
        bundles.remove(0).unwrap();
        assert!(bundles.decoded > 0);
        bundles.remove(1).unwrap();
        assert_eq!((bundles.bytes, bundles.decoded), (0, 0));
        bundles.add(add(2, flat), now).unwrap();
        assert_eq!(bundles.decoded, each);
    }
}
