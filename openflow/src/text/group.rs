//! Group-mods from text: `group_id=1,type=select,bucket=weight:2,actions=output:1,bucket=...`.
//!
//! Source: ovs-ofctl(8), "Group Syntax"; the errors are those of Open vSwitch 3.1.

use super::action_parse;
use super::error::{At, ErrorKind};
use super::fields;
use super::ports::Names;
use super::token::{Pair, Pairs, Piece};
use super::value;
use crate::field::{self, Field, Maskable, low_bits};
use crate::message::{
    BUCKET_ALL, BUCKET_FIRST, BUCKET_LAST, BUCKET_MAX, Bucket, GROUP_ALL, GROUP_ANY, GROUP_MAX,
    GroupCommand, GroupMod, GroupType, Selection,
};
use packet::OfPort;

/// Why group text was not understood.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum GroupError {
    #[error("unknown keyword {0}")]
    UnknownKeyword(String),
    #[error("{0} is not needed")]
    NotNeeded(&'static str),
    #[error("fields are not needed")]
    FieldsNotNeeded,
    #[error("must specify a group_id")]
    NoGroupId,
    #[error("must specify a type")]
    NoType,
    #[error("must specify a command bucket id")]
    NoCommandBucketId,
    #[error("command_bucket_id=all is not permitted")]
    CommandBucketIdAll,
    #[error("invalid command bucket id {0}")]
    CommandBucketId(u32),
    #[error("invalid group id {0}")]
    GroupId(u32),
    #[error("invalid group type {0}")]
    GroupType(String),
    #[error("selection method is longer than {max} bytes long", max = Selection::MAX_METHOD_LEN)]
    LongMethod,
    #[error("fields may only be specified with \"selection_method=hash\"")]
    FieldsWithoutHash,
    #[error("selection_method_param is only allowed with \"selection_method\"")]
    ParamWithoutMethod,
    #[error("{0}: duplicate field")]
    DuplicateField(String),
    #[error("{0}: values are wildcards here and must not be all-zeros")]
    ZeroMask(String),
    #[error("{value}: invalid mask for field {field}")]
    FieldMask { value: String, field: &'static str },
    #[error("{rest}: unknown field {name}")]
    UnknownField { rest: String, name: String },
    #[error("missing required numeric argument")]
    MissingNumber,
    #[error("invalid numeric format {0}")]
    Number(String),
    #[error("invalid weight \"{0}\"")]
    Weight(String),
    #[error("{0}: invalid watch_port")]
    WatchPort(String),
    #[error("invalid watch_group id {0}")]
    WatchGroup(u32),
    #[error("invalid bucket_id id {0}")]
    BucketId(u32),
    #[error("bucket must specify actions")]
    NoActions,
    #[error("fast failover bucket requires watch_port or watch_group")]
    NoWatch,
    #[error("Only select groups can have bucket weights.")]
    WeightNotAllowed,
    #[error("Indirect groups can have at most one bucket.")]
    IndirectBuckets,
    /// An action, or the value of a field.
    #[error("{0}")]
    Text(ErrorKind),
}

type Error = At<GroupError>;

impl From<super::Error> for Error {
    fn from(error: super::Error) -> Error {
        At::new(GroupError::Text(error.kind), error.at)
    }
}

/// Parses a group-mod.
pub fn parse(text: &str, command: GroupCommand, names: &Names) -> Result<GroupMod, Error> {
    parse_piece(Piece::new(text), command, names)
}

fn parse_piece(text: Piece<'_>, command: GroupCommand, names: &Names) -> Result<GroupMod, Error> {
    let mut group_mod = GroupMod {
        command,
        group_type: GroupType::All,
        group_id: GROUP_ANY,
        command_bucket_id: BUCKET_ALL,
        selection: None,
        buckets: Vec::new(),
    };
    if command == GroupCommand::Delete && text.is_empty() {
        group_mod.group_id = GROUP_ALL;
        return Ok(group_mod);
    }
    // Buckets come last: the type, wherever it stands, says what they are by default.
    const BUCKET: &str = "bucket=";
    let (head, mut rest) = match text.split_once(BUCKET) {
        Some((head, rest)) => (head, Some(rest)),
        None => (text, None),
    };
    let takes_buckets = !matches!(command, GroupCommand::Delete | GroupCommand::RemoveBucket);
    if let Some(part) = rest.filter(|_| !takes_buckets) {
        return Err(At::new(
            GroupError::NotNeeded("bucket"),
            part.at - BUCKET.len(),
        ));
    }
    Head::default().parse(head, names, &mut group_mod)?;
    let mut second = None;
    while let Some(part) = rest {
        let (part, next) = match part.split_once(BUCKET) {
            Some((part, next)) => (part, Some(next)),
            None => (part, None),
        };
        let bucket = bucket(part, group_mod.group_type, names)?;
        let takes_weights = group_mod.group_type == GroupType::Select || !describes(command);
        if bucket.weight != 0 && !takes_weights {
            return Err(At::new(GroupError::WeightNotAllowed, part.at));
        }
        if !group_mod.buckets.is_empty() {
            second = second.or(Some(part.at));
        }
        group_mod.buckets.push(bucket);
        rest = next;
    }
    // A mistake within a bucket is told before one too many.
    if let Some(at) = second.filter(|_| group_mod.group_type == GroupType::Indirect) {
        return Err(At::new(GroupError::IndirectBuckets, at));
    }
    Bucket::number(&mut group_mod.buckets);
    Ok(group_mod)
}

/// Parses a group-mod that may begin with its command, as the lines of a file do; without one it
/// is an addition.
///
/// A word that begins a command's name stands for it.
pub fn parse_line(text: &str, names: &Names) -> Result<GroupMod, Error> {
    const COMMANDS: [(&str, GroupCommand); 6] = [
        ("add", GroupCommand::Add),
        ("delete", GroupCommand::Delete),
        ("modify", GroupCommand::Modify),
        ("add_or_mod", GroupCommand::AddOrModify),
        ("insert_bucket", GroupCommand::InsertBucket),
        ("remove_bucket", GroupCommand::RemoveBucket),
    ];
    let (word, rest) = Piece::new(text).word();
    let found = COMMANDS
        .iter()
        .find(|(name, _)| name.starts_with(word.text));
    match found {
        Some((_, command)) if !word.is_empty() => parse_piece(rest, *command, names),
        _ => parse(text, GroupCommand::Add, names),
    }
}

/// The group that `text` means: a number, or ANY or ALL in any case.
pub fn group_id(text: &str) -> Option<u32> {
    match text {
        _ if text.eq_ignore_ascii_case("any") => Some(GROUP_ANY),
        _ if text.eq_ignore_ascii_case("all") => Some(GROUP_ALL),
        _ => text.parse().ok(),
    }
}

/// What stands before the buckets, as far as it is checked at the end.
#[derive(Default)]
struct Head {
    had_type: bool,
    had_bucket_id: bool,
    selection: Selection,
}

impl Head {
    fn parse(
        mut self,
        text: Piece<'_>,
        names: &Names,
        group_mod: &mut GroupMod,
    ) -> Result<(), Error> {
        for pair in Pairs::new(text) {
            if pair.key.text == "fields" {
                if !describes(group_mod.command) {
                    return Err(At::new(GroupError::FieldsNotNeeded, pair.key.at));
                }
                selection_fields(pair.value, names, &mut self.selection.fields)?;
                continue;
            }
            self.keyword(pair, group_mod).map_err(|kind| {
                let word = match kind {
                    GroupError::UnknownKeyword(_) | GroupError::NotNeeded(_) => pair.key,
                    _ => pair.value,
                };
                At::new(kind, word.at)
            })?;
        }
        // What is missing is missing at the end.
        let end = text.trim_end();
        self.check(group_mod)
            .map_err(|kind| At::new(kind, end.at + end.text.len()))
    }

    fn check(self, group_mod: &mut GroupMod) -> Result<(), GroupError> {
        let command = group_mod.command;
        if group_mod.group_id == GROUP_ANY {
            return Err(GroupError::NoGroupId);
        }
        if describes(command) && !self.had_type {
            return Err(GroupError::NoType);
        }
        let selection = self.selection;
        if selection.method != Selection::HASH && !selection.fields.is_empty() {
            return Err(GroupError::FieldsWithoutHash);
        }
        if selection.method.is_empty() && selection.param != 0 {
            return Err(GroupError::ParamWithoutMethod);
        }
        if command == GroupCommand::InsertBucket && !self.had_bucket_id {
            return Err(GroupError::NoCommandBucketId);
        }
        group_mod.selection = (!selection.method.is_empty()).then_some(selection);
        Ok(())
    }

    fn keyword(&mut self, pair: Pair<'_>, group_mod: &mut GroupMod) -> Result<(), GroupError> {
        let (key, v) = (pair.key.text, pair.value.text);
        let needed = |is_needed: bool, what| match is_needed {
            true => Ok(()),
            false => Err(GroupError::NotNeeded(what)),
        };
        let command = group_mod.command;
        match key {
            "command_bucket_id" => {
                needed(command.is_about_buckets(), "command bucket id")?;
                group_mod.command_bucket_id = command_bucket_id(v)?;
                if group_mod.command_bucket_id == BUCKET_ALL
                    && command != GroupCommand::RemoveBucket
                {
                    return Err(GroupError::CommandBucketIdAll);
                }
                self.had_bucket_id = true;
            }
            "group_id" => {
                group_mod.group_id = match v {
                    "all" => GROUP_ALL,
                    _ => match number(v)? {
                        id if id <= GROUP_MAX || id == GROUP_ALL => id,
                        id => return Err(GroupError::GroupId(id)),
                    },
                };
            }
            "type" => {
                needed(describes(command), "type")?;
                group_mod.group_type = match v {
                    "all" => GroupType::All,
                    "select" => GroupType::Select,
                    "indirect" => GroupType::Indirect,
                    "ff" | "fast_failover" => GroupType::FastFailover,
                    _ => return Err(GroupError::GroupType(v.to_owned())),
                };
                self.had_type = true;
            }
            "selection_method" => {
                needed(describes(command), "selection method")?;
                if v.len() > Selection::MAX_METHOD_LEN {
                    return Err(GroupError::LongMethod);
                }
                v.clone_into(&mut self.selection.method);
            }
            "selection_method_param" => {
                needed(describes(command), "selection method param")?;
                self.selection.param = number64(v)?;
            }
            _ => return Err(GroupError::UnknownKeyword(key.to_owned())),
        }
        Ok(())
    }
}

/// Does the command say all of a group?
fn describes(command: GroupCommand) -> bool {
    matches!(
        command,
        GroupCommand::Add | GroupCommand::Modify | GroupCommand::AddOrModify
    )
}

fn command_bucket_id(text: &str) -> Result<u32, GroupError> {
    match text {
        "all" => Ok(BUCKET_ALL),
        "first" => Ok(BUCKET_FIRST),
        "last" => Ok(BUCKET_LAST),
        _ => match number(text)? {
            id if id <= BUCKET_MAX || id >= BUCKET_FIRST => Ok(id),
            id => Err(GroupError::CommandBucketId(id)),
        },
    }
}

fn selection_fields(
    text: Piece<'_>,
    names: &Names,
    out: &mut Vec<(Field, u128)>,
) -> Result<(), Error> {
    let mut pairs = Pairs::new(text);
    while let Some(pair) = pairs.next() {
        let rest = || pairs.rest().text.to_owned();
        let (key, v) = (pair.key, pair.value);
        let field = match Field::from_name(key.text) {
            Ok(field) => field,
            Err(field::Error::NotSupported(_)) => {
                fields::field_named(key)?;
                continue;
            }
            Err(field::Error::Unknown(name)) => {
                let kind = GroupError::UnknownField { rest: rest(), name };
                return Err(At::new(kind, key.at));
            }
        };
        if out.iter().any(|(f, _)| *f == field) {
            let kind = GroupError::DuplicateField(key.text.to_owned());
            return Err(At::new(kind, key.at));
        }
        let info = field.info();
        let all = low_bits(u16::from(info.bytes) * 8);
        let bits = match v.is_empty() {
            true => all,
            false => {
                let (bits, _) = fields::parse_set(field, v, names)?;
                if bits == 0 {
                    return Err(At::new(GroupError::ZeroMask(rest()), v.at));
                }
                if info.maskable == Maskable::Exact && bits != all {
                    let kind = GroupError::FieldMask {
                        value: v.text.to_owned(),
                        field: info.name,
                    };
                    return Err(At::new(kind, v.at));
                }
                bits
            }
        };
        out.push((field, bits));
    }
    Selection::sort(out);
    Ok(())
}

/// What follows one `bucket=`: settings, and actions in any form.
fn bucket(text: Piece<'_>, group_type: GroupType, names: &Names) -> Result<Bucket, Error> {
    let mut bucket = Bucket::new(group_type.default_weight(), Vec::new());
    let mut actions = Actions::default();
    for pair in Pairs::new(text) {
        if setting(&mut bucket, pair, names).map_err(|kind| At::new(kind, pair.value.at))? {
            continue;
        }
        let is = |name: &str| pair.key.text.eq_ignore_ascii_case(name);
        actions.push(match is("action") || is("actions") {
            true => pair.value,
            false => pair.whole,
        });
    }
    if actions.text.is_empty() {
        return Err(At::new(GroupError::NoActions, text.at));
    }
    if group_type == GroupType::FastFailover && !bucket.watches() {
        return Err(At::new(GroupError::NoWatch, text.at));
    }
    bucket.actions = action_parse::parse_packet_out(Piece::new(&actions.text), names)
        .map_err(|error| At::new(error.kind, actions.place(error.at)))?;
    Ok(bucket)
}

/// Takes a setting of a bucket; says whether it is one.
fn setting(bucket: &mut Bucket, pair: Pair<'_>, names: &Names) -> Result<bool, GroupError> {
    let v = pair.value.text;
    let is = |name: &str| pair.key.text.eq_ignore_ascii_case(name);
    if is("weight") {
        let weight = value::u16_value(v);
        bucket.weight = weight.ok_or_else(|| GroupError::Weight(v.to_owned()))?;
    } else if is("watch_port") {
        bucket.watch_port = names
            .port(v)
            .filter(|p| *p <= OfPort::MAX || *p == OfPort::ANY)
            .ok_or_else(|| GroupError::WatchPort(v.to_owned()))?;
    } else if is("watch_group") {
        bucket.watch_group = match number(v)? {
            id if id <= GROUP_MAX => id,
            id => return Err(GroupError::WatchGroup(id)),
        };
    } else if is("bucket_id") {
        bucket.id = match number(v)? {
            id if id <= BUCKET_MAX => id,
            id => return Err(GroupError::BucketId(id)),
        };
    } else {
        return Ok(false);
    }
    Ok(true)
}

/// The actions of a bucket, which stand among its settings, put together.
#[derive(Default)]
struct Actions {
    text: String,
    /// Where in `text` each piece begins, and where in the group's.
    places: Vec<(usize, usize)>,
}

impl Actions {
    fn push(&mut self, piece: Piece<'_>) {
        self.places.push((self.text.len(), piece.at));
        self.text.push_str(piece.text);
        self.text.push(',');
    }

    /// The place in the group's text of one in `text`.
    fn place(&self, at: usize) -> usize {
        let before = self.places.iter().rev().find(|(start, _)| *start <= at);
        before.map_or(at, |(start, place)| place + (at - start))
    }
}

pub(super) fn number(text: &str) -> Result<u32, GroupError> {
    if text.is_empty() {
        return Err(GroupError::MissingNumber);
    }
    value::u32_value(text).ok_or_else(|| GroupError::Number(text.to_owned()))
}

fn number64(text: &str) -> Result<u64, GroupError> {
    if text.is_empty() {
        return Err(GroupError::MissingNumber);
    }
    value::u64_value(text).ok_or_else(|| GroupError::Number(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str, command: GroupCommand) -> String {
        match parse(text, command, &Names::none()) {
            Ok(group_mod) => panic!("{text}: {group_mod:?}"),
            Err(e) => e.kind.to_string(),
        }
    }

    /// What ovs-ofctl 3.1 said.
    #[test]
    fn errors() {
        use GroupCommand::{Add, Delete, InsertBucket, RemoveBucket};
        for (command, text, want) in [
            (Add, "group_id=1", "must specify a type"),
            (Add, "group_id=1,type=foo", "invalid group type foo"),
            (Add, "type=all", "must specify a group_id"),
            (
                Add,
                "group_id=1,type=all,bucket=",
                "bucket must specify actions",
            ),
            (
                Add,
                "group_id=1,type=ff,bucket=1",
                "fast failover bucket requires watch_port or watch_group",
            ),
            (
                Add,
                "group_id=1,type=all,bucket=weight:5,1",
                "Only select groups can have bucket weights.",
            ),
            (
                Add,
                "group_id=1,type=indirect,bucket=1,bucket=2",
                "Indirect groups can have at most one bucket.",
            ),
            (
                Add,
                "group_id=1,type=select,fields=ip_src,bucket=1",
                "fields may only be specified with \"selection_method=hash\"",
            ),
            (
                Add,
                "group_id=1,type=select,selection_method=hash,fields(foo),bucket=1",
                ": unknown field foo",
            ),
            (
                Add,
                "group_id=1,type=select,selection_method=hash,fields(ip_src,ip_src),bucket=1",
                "ip_src: duplicate field",
            ),
            (
                Add,
                "group_id=1,type=select,selection_method=hash,fields(ip_src=0.0.0.0),bucket=1",
                ": values are wildcards here and must not be all-zeros",
            ),
            (
                Add,
                "group_id=1,type=select,selection_method=hash,fields(ip_src=1.2),bucket=1",
                "1.2: invalid IP address",
            ),
            (
                Add,
                "group_id=1,type=select,selection_method=0123456789abcdef,bucket=1",
                "selection method is longer than 15 bytes long",
            ),
            (
                Add,
                "group_id=1,type=select,selection_method_param=8,bucket=1",
                "selection_method_param is only allowed with \"selection_method\"",
            ),
            (
                Add,
                "group_id=1,type=select,command_bucket_id=8,bucket=1",
                "command bucket id is not needed",
            ),
            (
                Add,
                "group_id=4294967041,type=all",
                "invalid group id 4294967041",
            ),
            (
                Add,
                "group_id=1,type=select,bucket=watch_port:99999,1",
                "99999: invalid watch_port",
            ),
            (
                Add,
                "group_id=1,type=select,bucket=watch_port:LOCAL,1",
                "LOCAL: invalid watch_port",
            ),
            (
                Add,
                "group_id=1,type=select,bucket=bucket_id:4294967041,1",
                "invalid bucket_id id 4294967041",
            ),
            (
                Add,
                "group_id=1,type=select,bucket=watch_group:4294967041,1",
                "invalid watch_group id 4294967041",
            ),
            (Add, "foo=1", "unknown keyword foo"),
            (Add, "group_id=x", "invalid numeric format x"),
            (Add, "group_id=ALL", "invalid numeric format ALL"),
            (
                Add,
                "group_id=1,type=select,bucket=weight:70000,1",
                "invalid weight \"70000\"",
            ),
            (Add, "group_id=1,type=all bucket=foo", "unknown action foo"),
            (
                Add,
                "group_id=1,type=all,bucket=actions=goto_table:1",
                "goto_table instruction not allowed here",
            ),
            (Add, "group_id=1,type=all,bucket", "unknown keyword bucket"),
            (Delete, "foo", "unknown keyword foo"),
            (InsertBucket, "", "must specify a group_id"),
            (
                InsertBucket,
                "group_id=1,bucket=1",
                "must specify a command bucket id",
            ),
            (
                InsertBucket,
                "group_id=1,command_bucket_id=all,bucket=1",
                "command_bucket_id=all is not permitted",
            ),
            (
                InsertBucket,
                "group_id=1,command_bucket_id=4294967041,bucket=1",
                "invalid command bucket id 4294967041",
            ),
            (RemoveBucket, "group_id=1,bucket=1", "bucket is not needed"),
        ] {
            assert_eq!(error(text, command), want, "{text}");
        }
    }

    #[test]
    fn lines_of_files() {
        let names = Names::none();
        let command = |text: &str| parse_line(text, &names).unwrap().command;
        assert_eq!(command("group_id=1,type=all"), GroupCommand::Add);
        assert_eq!(command("add group_id=1,type=all"), GroupCommand::Add);
        assert_eq!(command("mod group_id=1,type=all"), GroupCommand::Modify);
        assert_eq!(command("delete"), GroupCommand::Delete);
        assert_eq!(
            command(" add_or_mod group_id=1 type=all"),
            GroupCommand::AddOrModify
        );
        assert_eq!(
            command("remove_bucket group_id=1"),
            GroupCommand::RemoveBucket
        );
        assert_eq!(parse_line("delete", &names).unwrap().group_id, GROUP_ALL);
    }
}
