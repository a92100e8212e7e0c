//! Groups: group-mods, descriptions, statistics and features, of 1.1 and later, and in 1.0 by
//! Nicira's extension, which has the form of 1.5.
//!
//! ```text
//! group-mod:      command(2), type(1), pad(1), group(4), buckets          1.1 to 1.4
//!                 command(2), type(1), pad(1), group(4), bucket_len(2),
//!                 pad(2), command_bucket(4), buckets, properties          1.5
//! bucket:         len(2), weight(2), watch_port(4), watch_group(4),
//!                 pad(4), actions                                         1.1 to 1.4
//!                 len(2), action_len(2), bucket(4), actions, properties   1.5
//! description:    len(2), type(1), pad(1), group(4), buckets              1.1 to 1.4
//!                 len(2), type(1), pad(1), group(4), bucket_len(2),
//!                 pad(6), buckets, properties                             1.5
//! ```
//!
//! Source: OpenFlow 1.3.5, 7.3.4.2 and 7.3.5.9 to 7.3.5.11; OpenFlow 1.5.1, 7.3.4.3; the selection
//! method is Netronome's extension as Open vSwitch has it, `lib/ofp-group.c`.

use std::collections::BTreeSet;
use std::time::Duration;

use packet::OfPort;

use super::action::{self, Encoder};
use super::kind::Kind;
use super::nxm;
use super::writer::MessageWriter;
use crate::error::OfError;
use crate::flow_match::Match;
use crate::message::{
    BUCKET_ALL, BUCKET_FIRST, BUCKET_MAX, Bucket, GROUP_ALL, GROUP_ANY, GroupCommand, GroupDesc,
    GroupFeatures, GroupMod, GroupStats, GroupType, PacketCounts, Selection,
};
use crate::version::Version;
use crate::wire::{DecodeError, Reader, Writer, bad, pad8};

const BAD_BUCKET: OfError = OfError::GmfcBadBucket;
const BAD_PROPERTY_LEN: OfError = OfError::BpcBadLen;

const OFPGBPT_WEIGHT: u16 = 0;
const OFPGBPT_WATCH_PORT: u16 = 1;
const OFPGBPT_WATCH_GROUP: u16 = 2;
const OFPGPT_EXPERIMENTER: u16 = 0xffff;
/// Netronome, and the number that Open vSwitch gave it first.
const NTR: [u32; 2] = [0x0000_154d, 0x0000_8ab4];
const NTRT_SELECTION_METHOD: u32 = 1;
/// Of the property's fixed part, header included.
const SELECTION_LEN: usize = 40;
const METHOD_FIELD_LEN: usize = 16;
const BUCKET_HEADER_LEN_11: usize = 16;
const BUCKET_HEADER_LEN_15: usize = 8;

const COMMANDS: [(u16, GroupCommand); 6] = [
    (0, GroupCommand::Add),
    (1, GroupCommand::Modify),
    (2, GroupCommand::Delete),
    (3, GroupCommand::InsertBucket),
    (5, GroupCommand::RemoveBucket),
    (0x8000, GroupCommand::AddOrModify),
];

/// Has the version the messages of 1.5?
fn is_like_15(v: Version) -> bool {
    v == Version::Of10 || v >= Version::Of15
}

/// Reads a group-mod.
///
/// Errors: `OFPGMFC_*` as Open vSwitch gives them, `OFPBPC_*` of properties, `OFPBAC_*` of actions.
pub(super) fn decode_mod(r: &mut Reader, v: Version) -> Result<GroupMod, DecodeError> {
    r.check_aligned()?;
    let command = r.u16()?;
    let group_type = r.u8()?;
    r.skip(1)?;
    let group_id = r.u32()?;
    let known_type = GroupType::from_wire(group_type);
    let known_command = COMMANDS.iter().find(|(n, _)| *n == command);
    let known_command = known_command.map(|(_, command)| *command);
    let mut command_bucket_id = BUCKET_ALL;
    let mut selection = None;
    let buckets;
    if is_like_15(v) {
        let len = usize::from(r.u16()?);
        r.skip(2)?;
        command_bucket_id = r.u32()?;
        check_command_bucket(known_command, command_bucket_id)?;
        if len > r.remaining() {
            return bad("length of the buckets", OfError::BrcBadLen);
        }
        buckets = buckets_15(&mut r.sub(len, BAD_BUCKET)?, v, known_type)?;
        let takes_selection = known_type.is_none_or(|t| t == GroupType::Select)
            && known_command.is_none_or(|c| !c.is_about_buckets() && c != GroupCommand::Delete);
        selection = properties(r, takes_selection)?;
    } else {
        buckets = buckets_11(&mut r.sub(r.remaining(), BAD_BUCKET)?, v)?;
        let is_delete = known_command == Some(GroupCommand::Delete);
        if is_delete && v >= Version::Of13 && !buckets.is_empty() {
            return bad("buckets in a deletion", OfError::GmfcInvalidGroup);
        }
    }
    let Some(group_type) = known_type else {
        return bad("group type", OfError::GmfcBadType);
    };
    let is_single = buckets.len() == 1;
    if group_type == GroupType::Indirect
        && known_command != Some(GroupCommand::Delete)
        && !is_single
    {
        return bad("buckets of an indirect group", OfError::GmfcInvalidGroup);
    }
    let Some(command) = known_command else {
        return bad("group command", OfError::GmfcBadCommand);
    };
    if command == GroupCommand::RemoveBucket && !buckets.is_empty() {
        return bad("buckets in a removal", BAD_BUCKET);
    }
    // An insertion does not know the type of the group that it is for.
    let takes_weights = group_type == GroupType::Select || command == GroupCommand::InsertBucket;
    for bucket in &buckets {
        if bucket.weight != 0 && !takes_weights {
            return bad("bucket weight", OfError::GmfcInvalidGroup);
        }
        check_bucket(bucket, group_type)?;
    }
    Ok(GroupMod {
        command,
        group_type,
        group_id,
        command_bucket_id,
        selection,
        buckets,
    })
}

fn check_command_bucket(command: Option<GroupCommand>, id: u32) -> Result<(), DecodeError> {
    let is_one = id <= BUCKET_MAX || id >= BUCKET_FIRST && id != BUCKET_ALL;
    let fits = match command {
        Some(GroupCommand::RemoveBucket) => is_one || id == BUCKET_ALL,
        Some(GroupCommand::InsertBucket) => is_one,
        _ => id == BUCKET_ALL,
    };
    match fits {
        true => Ok(()),
        false => bad("bucket of the command", BAD_BUCKET),
    }
}

fn check_bucket(bucket: &Bucket, group_type: GroupType) -> Result<(), DecodeError> {
    match group_type {
        GroupType::All | GroupType::Indirect if bucket.watches() => {
            bad("what a bucket watches", OfError::GmfcWatchUnsupported)
        }
        GroupType::FastFailover if !bucket.watches() => {
            bad("what a bucket watches", OfError::GmfcInvalidGroup)
        }
        _ => Ok(()),
    }
}

pub(super) fn encode_mod(o: &mut MessageWriter, group_mod: &GroupMod) {
    let v = o.version();
    o.begin(match v {
        Version::Of10 => Kind::NxGroupMod,
        _ => Kind::GroupMod,
    });
    let command = COMMANDS.iter().find(|(_, c)| *c == group_mod.command);
    o.w.u16(command.map_or(0, |(n, _)| *n));
    o.w.u8(group_mod.group_type.wire());
    o.w.zeros(1);
    o.w.u32(group_mod.group_id);
    if is_like_15(v) {
        let len_at = o.w.len();
        o.w.zeros(4);
        o.w.u32(group_mod.command_bucket_id);
        let start = o.w.len();
        write_buckets(o, &group_mod.buckets, group_mod.group_type);
        o.w.patch_len(len_at, start);
        if let Some(selection) = &group_mod.selection {
            write_selection(o, selection);
        }
    } else {
        if group_mod.command.is_about_buckets() {
            o.not_expressible("a command about some buckets of a group");
        }
        // A selection method has no place here and is left out, as Open vSwitch does.
        write_buckets(o, &group_mod.buckets, group_mod.group_type);
    }
    o.end();
}

/// Buckets of 1.1 to 1.4, which have no numbers: they are counted.
fn buckets_11(r: &mut Reader, v: Version) -> Result<Vec<Bucket>, DecodeError> {
    let mut buckets = Vec::new();
    let mut id = 0;
    while !r.is_empty() {
        let len = usize::from(Reader::new(r.rest(), BAD_BUCKET).u16()?);
        if len < BUCKET_HEADER_LEN_11 {
            return bad("bucket length", BAD_BUCKET);
        }
        let mut body = r.sub(len, BAD_BUCKET)?;
        body.skip(2)?;
        let weight = body.u16()?;
        let port = body.u32()?;
        let watch_group = body.u32()?;
        body.skip(4)?;
        let mut list = body.sub(body.remaining(), OfError::BacBadLen)?;
        let actions = bucket_actions(&mut list, v)?;
        let watch_port = watch_port(port)?;
        buckets.push(Bucket {
            id,
            weight,
            watch_port,
            watch_group,
            actions,
        });
        id += 1;
    }
    Ok(buckets)
}

fn buckets_15(
    r: &mut Reader,
    v: Version,
    group_type: Option<GroupType>,
) -> Result<Vec<Bucket>, DecodeError> {
    let mut buckets = Vec::new();
    let mut ids = BTreeSet::new();
    while !r.is_empty() {
        let len = usize::from(Reader::new(r.rest(), BAD_BUCKET).u16()?);
        if len < BUCKET_HEADER_LEN_15 {
            return bad("bucket length", BAD_BUCKET);
        }
        let mut body = r.sub(len, BAD_BUCKET)?;
        body.skip(2)?;
        let actions_len = usize::from(body.u16()?);
        let mut bucket = Bucket::new(group_type.map_or(0, GroupType::default_weight), Vec::new());
        bucket.id = body.u32()?;
        if actions_len > body.remaining() {
            return bad("length of a bucket's actions", BAD_BUCKET);
        }
        bucket.actions = bucket_actions(&mut body.sub(actions_len, OfError::BacBadLen)?, v)?;
        while !body.is_empty() {
            let (kind, mut property) = property(&mut body)?;
            match kind {
                OFPGBPT_WEIGHT => {
                    bucket.weight = property.u16()?;
                    // Open vSwitch takes any padding.
                    property.skip(property.remaining())?;
                }
                OFPGBPT_WATCH_PORT => bucket.watch_port = watch_port(property.u32()?)?,
                OFPGBPT_WATCH_GROUP => bucket.watch_group = property.u32()?,
                _ => return unknown_property(kind),
            }
            property.done()?;
        }
        if bucket.id > BUCKET_MAX || !ids.insert(bucket.id) {
            return bad("bucket number", BAD_BUCKET);
        }
        buckets.push(bucket);
    }
    Ok(buckets)
}

fn bucket_actions(r: &mut Reader, v: Version) -> Result<Vec<crate::action::Action>, DecodeError> {
    r.check_aligned()?;
    let actions = action::decode_list(r, v)?;
    if actions.iter().any(|a| a.is_instruction_of(v)) {
        return bad(
            "instruction among a bucket's actions",
            OfError::BicUnsupInst,
        );
    }
    Ok(actions)
}

fn watch_port(n: u32) -> Result<OfPort, DecodeError> {
    match OfPort(n).to_u16() {
        Some(_) => Ok(OfPort(n)),
        None => bad("port that a bucket watches", OfError::GmfcBadWatch),
    }
}

fn write_buckets(o: &mut MessageWriter, buckets: &[Bucket], group_type: GroupType) {
    let v = o.version();
    for bucket in buckets {
        let start = o.w.len();
        if !is_like_15(v) {
            o.w.zeros(2);
            o.w.u16(bucket.weight);
            o.w.u32(bucket.watch_port.0);
            o.w.u32(bucket.watch_group);
            o.w.zeros(4);
            write_actions(o, &bucket.actions);
            o.w.patch_len(start, start);
            continue;
        }
        o.w.zeros(4);
        o.w.u32(bucket.id);
        let actions = o.w.len();
        write_actions(o, &bucket.actions);
        o.w.patch_len(start + 2, actions);
        // An insertion into a group does not say the type.
        if group_type == GroupType::Select || bucket.weight != 0 {
            property_header(&mut o.w, OFPGBPT_WEIGHT, 8);
            o.w.u16(bucket.weight);
            o.w.zeros(2);
        }
        if bucket.watch_port != OfPort::ANY {
            property_header(&mut o.w, OFPGBPT_WATCH_PORT, 8);
            o.w.u32(bucket.watch_port.0);
        }
        if bucket.watch_group != GROUP_ANY {
            property_header(&mut o.w, OFPGBPT_WATCH_GROUP, 8);
            o.w.u32(bucket.watch_group);
        }
        o.w.patch_len(start, start);
    }
}

fn write_actions(o: &mut MessageWriter, actions: &[crate::action::Action]) {
    let mut e = Encoder::new(o.version(), &Match::new());
    e.list(&mut o.w, actions);
    if let Some(what) = e.left_out {
        o.not_expressible(what);
    }
}

fn property_header(w: &mut Writer, kind: u16, len: u16) {
    w.u16(kind);
    w.u16(len);
}

/// The type of the next property and what is in it.
fn property<'a>(r: &mut Reader<'a>) -> Result<(u16, Reader<'a>), DecodeError> {
    let mut header = Reader::new(r.rest(), BAD_PROPERTY_LEN);
    let kind = header.u16()?;
    let len = usize::from(header.u16()?);
    if len < 4 || pad8(len) > r.remaining() {
        return bad("property length", BAD_PROPERTY_LEN);
    }
    let mut whole = r.sub(pad8(len), BAD_PROPERTY_LEN)?;
    let mut body = whole.sub(len, BAD_PROPERTY_LEN)?;
    body.skip(4)?;
    Ok((kind, body))
}

fn unknown_property<T>(kind: u16) -> Result<T, DecodeError> {
    match kind {
        OFPGPT_EXPERIMENTER => bad("experimenter property", OfError::BpcBadExpType),
        _ => bad("property type", OfError::BpcBadType),
    }
}

/// The properties of a group; `takes_selection` says whether a selection method may be one.
fn properties(r: &mut Reader, takes_selection: bool) -> Result<Option<Selection>, DecodeError> {
    let mut selection = None;
    while !r.is_empty() {
        let (kind, mut body) = property(r)?;
        if kind != OFPGPT_EXPERIMENTER {
            return unknown_property(kind);
        }
        let experimenter = body.u32()?;
        let exp_type = body.u32()?;
        if !NTR.contains(&experimenter) || exp_type != NTRT_SELECTION_METHOD {
            return unknown_property(kind);
        }
        if !takes_selection {
            return bad("selection method", OfError::BpcBadValue);
        }
        selection = Some(decode_selection(&mut body)?);
    }
    Ok(selection)
}

/// pad(4), method(16), parameter(8), fields as entries whose values are masks.
fn decode_selection(r: &mut Reader) -> Result<Selection, DecodeError> {
    r.skip(4)?;
    let method: [u8; METHOD_FIELD_LEN] = r.array()?;
    let param = r.u64()?;
    let end = method.iter().position(|b| *b == 0);
    let method = match end.and_then(|end| method.get(..end)) {
        Some(b"hash") => Selection::HASH,
        Some(b"dp_hash") => Selection::DP_HASH,
        _ => return bad("selection method", OfError::BpcBadValue),
    };
    if method != Selection::HASH && !r.is_empty() {
        return bad("fields of a selection method", OfError::BpcBadValue);
    }
    let fields = nxm::decode_field_array(&mut r.sub(r.remaining(), OfError::BmcBadLen)?)?;
    Ok(Selection {
        method: method.to_owned(),
        param,
        fields,
    })
}

fn write_selection(o: &mut MessageWriter, selection: &Selection) {
    let v = o.version();
    let start = o.w.len();
    property_header(&mut o.w, OFPGPT_EXPERIMENTER, SELECTION_LEN as u16);
    o.w.u32(NTR[0]);
    o.w.u32(NTRT_SELECTION_METHOD);
    o.w.zeros(4);
    o.w.string(&selection.method, METHOD_FIELD_LEN);
    o.w.u64(selection.param);
    for (field, bits) in &selection.fields {
        if !nxm::encode_entry(&mut o.w, *field, *bits, None, v) {
            o.not_expressible("a field of the selection method");
        }
    }
    o.w.patch_len(start + 2, start);
    o.w.pad8(start);
}

/// A request for statistics, and in 1.5 one for descriptions: group(4), pad(4).
pub(super) fn decode_request(r: &mut Reader) -> Result<u32, DecodeError> {
    let group_id = r.u32()?;
    r.skip(4)?;
    Ok(group_id)
}

pub(super) fn encode_stats_request(o: &mut MessageWriter, group_id: u32) {
    o.begin(match o.version() {
        Version::Of10 => Kind::NxGroupStatsRequest,
        _ => Kind::GroupStatsRequest,
    });
    o.w.u32(group_id);
    o.w.zeros(4);
    o.end();
}

/// 1.1 to 1.4 ask for all groups.
pub(super) fn decode_desc_request(r: &mut Reader, v: Version) -> Result<u32, DecodeError> {
    match is_like_15(v) {
        true => decode_request(r),
        false => Ok(GROUP_ALL),
    }
}

pub(super) fn encode_desc_request(o: &mut MessageWriter, group_id: u32) {
    o.begin(match o.version() {
        Version::Of10 => Kind::NxGroupDescRequest,
        _ => Kind::GroupDescRequest,
    });
    if is_like_15(o.version()) {
        o.w.u32(group_id);
        o.w.zeros(4);
    }
    o.end();
}

pub(super) fn encode_desc_reply(o: &mut MessageWriter, groups: &[GroupDesc]) {
    let kind = match o.version() {
        Version::Of10 => Kind::NxGroupDescReply,
        _ => Kind::GroupDescReply,
    };
    o.parts(kind, groups, encode_desc);
}

pub(super) fn encode_stats_reply(o: &mut MessageWriter, groups: &[GroupStats]) {
    let kind = match o.version() {
        Version::Of10 => Kind::NxGroupStatsReply,
        _ => Kind::GroupStatsReply,
    };
    o.parts(kind, groups, encode_stats);
}

pub(super) fn encode_features_request(o: &mut MessageWriter) {
    o.begin(match o.version() {
        Version::Of10 | Version::Of11 => Kind::NxGroupFeaturesRequest,
        _ => Kind::GroupFeaturesRequest,
    });
    o.end();
}

/// The next group of a description reply.
pub(super) fn decode_desc(r: &mut Reader, v: Version) -> Result<GroupDesc, DecodeError> {
    let len = usize::from(Reader::new(r.rest(), OfError::BrcBadLen).u16()?);
    let mut body = r.sub(len, OfError::BrcBadLen)?;
    body.skip(2)?;
    let group_type = body.u8()?;
    body.skip(1)?;
    let group_id = body.u32()?;
    let Some(group_type) = GroupType::from_wire(group_type) else {
        return bad("group type", OfError::GmfcBadType);
    };
    let (buckets, selection) = if is_like_15(v) {
        let len = usize::from(body.u16()?);
        body.skip(6)?;
        let buckets = buckets_15(&mut body.sub(len, BAD_BUCKET)?, v, Some(group_type))?;
        (
            buckets,
            properties(&mut body, group_type == GroupType::Select)?,
        )
    } else {
        let mut list = body.sub(body.remaining(), BAD_BUCKET)?;
        (buckets_11(&mut list, v)?, None)
    };
    Ok(GroupDesc {
        group_id,
        group_type,
        selection,
        buckets,
    })
}

fn encode_desc(o: &mut MessageWriter, group: &GroupDesc) {
    let start = o.w.len();
    o.w.zeros(2);
    o.w.u8(group.group_type.wire());
    o.w.zeros(1);
    o.w.u32(group.group_id);
    if is_like_15(o.version()) {
        let len_at = o.w.len();
        o.w.zeros(8);
        let buckets = o.w.len();
        write_buckets(o, &group.buckets, group.group_type);
        o.w.patch_len(len_at, buckets);
        if let Some(selection) = &group.selection {
            write_selection(o, selection);
        }
    } else {
        write_buckets(o, &group.buckets, group.group_type);
    }
    o.w.patch_len(start, start);
}

/// The next group of a statistics reply: length(2), pad(2), group(4), references(4), pad(4),
/// packets(8), bytes(8), from 1.3 on and in 1.0 duration(8), then packets(8) and bytes(8) of each
/// bucket.
pub(super) fn decode_stats(r: &mut Reader, v: Version) -> Result<GroupStats, DecodeError> {
    let len = usize::from(Reader::new(r.rest(), OfError::BrcBadLen).u16()?);
    let mut body = r.sub(len, OfError::BrcBadLen)?;
    body.skip(4)?;
    let group_id = body.u32()?;
    let ref_count = body.u32()?;
    body.skip(4)?;
    let counts = counts(&mut body)?;
    let duration = match has_duration(v) {
        true => Some(super::flow::duration(&mut body)?),
        false => None,
    };
    let mut buckets = Vec::new();
    while !body.is_empty() {
        buckets.push(self::counts(&mut body)?);
    }
    Ok(GroupStats {
        group_id,
        ref_count,
        counts,
        duration,
        buckets,
    })
}

fn encode_stats(o: &mut MessageWriter, group: &GroupStats) {
    let v = o.version();
    let w = &mut o.w;
    let start = w.len();
    w.zeros(4);
    w.u32(group.group_id);
    w.u32(group.ref_count);
    w.zeros(4);
    write_counts(w, group.counts);
    if has_duration(v) {
        super::flow::write_duration(w, group.duration.unwrap_or(Duration::ZERO));
    }
    for bucket in &group.buckets {
        write_counts(w, *bucket);
    }
    w.patch_len(start, start);
}

fn has_duration(v: Version) -> bool {
    v == Version::Of10 || v >= Version::Of13
}

pub(super) fn counts(r: &mut Reader) -> Result<PacketCounts, DecodeError> {
    Ok(PacketCounts {
        packets: r.u64()?,
        bytes: r.u64()?,
    })
}

pub(super) fn write_counts(w: &mut Writer, counts: PacketCounts) {
    w.u64(counts.packets);
    w.u64(counts.bytes);
}

/// types(4), capabilities(4), four limits, four sets of actions.
pub(super) fn decode_features(r: &mut Reader) -> Result<GroupFeatures, DecodeError> {
    let mut features = GroupFeatures {
        types: r.u32()?,
        capabilities: r.u32()?,
        ..GroupFeatures::default()
    };
    for n in features.max_groups.iter_mut().chain(&mut features.actions) {
        *n = r.u32()?;
    }
    Ok(features)
}

pub(super) fn encode_features_reply(o: &mut MessageWriter, features: &GroupFeatures) {
    o.begin(match o.version() {
        Version::Of10 | Version::Of11 => Kind::NxGroupFeaturesReply,
        _ => Kind::GroupFeaturesReply,
    });
    let w = &mut o.w;
    w.u32(features.types);
    w.u32(features.capabilities);
    for n in features.max_groups.iter().chain(&features.actions) {
        w.u32(*n);
    }
    o.end_multipart();
}
