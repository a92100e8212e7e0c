//! Commands about groups.
//!
//! Group-mods are sent one by one, each with a barrier behind it, and the first that is refused
//! ends the command, as in ovs-ofctl; with `--bundle` they are carried out all or not at all.

use openflow::Version;
use openflow::message::{GROUP_ALL, GroupCommand, GroupMod, Message};
use openflow::text::group::{self, GroupError};
use openflow::text::{At, Names};

use crate::bundle;
use crate::connection::Connection;
use crate::dump::stream;
use crate::error::Error;
use crate::flow_files::FlowFile;
use crate::lookup::{names, skip_xids, wants_names};
use crate::options::Options;
use crate::spool::Spool;

/// Flow formats that the commands about buckets can be said in.
const BUCKET_FORMATS: &str = "OpenFlow10,NXM,OXM-OpenFlow15";
/// Those of them that have bundles.
const BUNDLED_BUCKET_FORMATS: &str = "OXM-OpenFlow15";

fn target(args: &[String]) -> &str {
    args.first().map_or("", String::as_str)
}

/// add-group, mod-group, del-groups, insert-buckets, remove-buckets: a group on the command line,
/// or `-` for a file on standard input.
pub async fn one(options: &Options, args: &[String], command: GroupCommand) -> Result<(), Error> {
    let text = args.get(1).map_or("", String::as_str);
    if text == "-" {
        return file(options, target(args), text, Some(command)).await;
    }
    skip_xids(options);
    let mut connection = Connection::open(target(args), options.bundle_versions()).await?;
    let mut known = None;
    let parsed = parse(&mut connection, options, &mut known, |names| {
        group::parse(text, command, names)
    })
    .await?;
    let known = known.unwrap_or_default();
    send_all(&mut connection, options, vec![parsed], &known).await
}

/// `add-groups`: the lines of a file, which may begin with commands of their own.
pub async fn add_groups(options: &Options, args: &[String]) -> Result<(), Error> {
    let name = args.get(1).map_or("-", String::as_str);
    file(options, target(args), name, None).await
}

async fn file(
    options: &Options,
    target: &str,
    name: &str,
    command: Option<GroupCommand>,
) -> Result<(), Error> {
    let mut file = FlowFile::open(name)?;
    let mut lines = Vec::new();
    while let Some(line) = file.next_line()? {
        lines.push(line);
    }
    skip_xids(options);
    let mut connection = Connection::open(target, options.bundle_versions()).await?;
    let mut known = None;
    let mut groups = Vec::with_capacity(lines.len());
    for (line, text) in &lines {
        let parsed = parse(
            &mut connection,
            options,
            &mut known,
            |names| match command {
                Some(command) => group::parse(text, command, names),
                None => group::parse_line(text, names),
            },
        );
        groups.push(parsed.await.map_err(|error| match error {
            Error::Group(source) => Error::GroupFile {
                file: file.name().to_owned(),
                line: *line,
                source,
            },
            other => other,
        })?);
    }
    send_all(&mut connection, options, groups, &known.unwrap_or_default()).await
}

/// Parses with `parse`, asking the switch for names only when the text needs them.
pub async fn parse(
    connection: &mut Connection,
    options: &Options,
    known: &mut Option<Names>,
    parse: impl Fn(&Names) -> Result<GroupMod, At<GroupError>>,
) -> Result<GroupMod, Error> {
    if let Some(names) = known {
        return Ok(parse(names)?);
    }
    let could_be_a_name = |error: &At<GroupError>| match &error.kind {
        GroupError::Text(kind) => wants_names(kind),
        GroupError::WatchPort(_) => true,
        _ => false,
    };
    match parse(&Names::none()) {
        Err(e) if options.accepts_names() && could_be_a_name(&e) => {
            let names = known.insert(names(connection).await?);
            Ok(parse(names)?)
        }
        other => Ok(other?),
    }
}

async fn send_all(
    connection: &mut Connection,
    options: &Options,
    groups: Vec<GroupMod>,
    names: &Names,
) -> Result<(), Error> {
    if options.bundle {
        let mut spool = Spool::new(connection.dialect);
        for group_mod in groups {
            check_bundled(connection, options, &group_mod).map_err(|error| {
                // With buckets, ovs-ofctl finds it out only when it writes the message.
                match group_mod.command {
                    GroupCommand::InsertBucket => Error::NeedsVersion {
                        command: "insert-bucket",
                        version: Version::Of15,
                    },
                    _ => error,
                }
            })?;
            spool.push_message(0, &Message::GroupMod(group_mod), "")?;
        }
        return bundle::send(connection, options, spool, names).await;
    }
    for group_mod in groups {
        check_format(connection, options, &group_mod, BUCKET_FORMATS)?;
        let message = Message::GroupMod(group_mod);
        if let Some(error) = connection.transact_noreply(&message).await? {
            return Err(Error::Refused(error.print(names, options.verbosity(2))));
        }
    }
    Ok(())
}

/// Has the connection's version the command, in a bundle?
pub fn check_bundled(
    connection: &Connection,
    options: &Options,
    group_mod: &GroupMod,
) -> Result<(), Error> {
    check_format(connection, options, group_mod, BUNDLED_BUCKET_FORMATS)
}

fn check_format(
    connection: &Connection,
    options: &Options,
    group_mod: &GroupMod,
    usable: &str,
) -> Result<(), Error> {
    let version = connection.version();
    let is_between = version > Version::Of10 && version < Version::Of15;
    match group_mod.command.is_about_buckets() && is_between {
        false => Ok(()),
        true => Err(Error::NoUsableFormat {
            usable: usable.to_owned(),
            allowed: options.formats.of(version).to_string(),
        }),
    }
}

/// `dump-groups`, of one group or all; what is no group's number means all.
pub async fn dump(options: &Options, args: &[String]) -> Result<(), Error> {
    let group_id = match args.get(1) {
        None => GROUP_ALL,
        Some(text) => group::group_id(text).unwrap_or_else(|| {
            tracing::warn!(
                target: "ofp_group",
                "{text} is not a valid group ID.  (Valid group IDs are 32-bit nonnegative \
                 integers or the keywords ANY or ALL.)"
            );
            GROUP_ALL
        }),
    };
    let mut connection = Connection::open(target(args), options.versions).await?;
    let request = Message::GroupDescRequest { group_id };
    stream(&mut connection, &request, options).await
}

/// `dump-group-stats`, of one group or all.
pub async fn stats(options: &Options, args: &[String]) -> Result<(), Error> {
    let text = args.get(1).map_or("", String::as_str);
    skip_xids(options);
    let mut connection = Connection::open(target(args), options.versions).await?;
    let group_id = group::parse(text, GroupCommand::Delete, &Names::none())?.group_id;
    let request = Message::GroupStatsRequest { group_id };
    stream(&mut connection, &request, options).await
}

/// `dump-group-features`.
pub async fn features(options: &Options, args: &[String]) -> Result<(), Error> {
    let mut connection = Connection::open(target(args), options.versions).await?;
    stream(&mut connection, &Message::GroupFeaturesRequest, options).await
}
