//! The commands: names, arguments, and what each runs.

use daemon::detach::Startup;
use openflow::message::{FlowModCommand, GroupCommand, Message, MeterCommand};

use crate::bits::{self, List};
use crate::error::Error;
use crate::options::Options;
use crate::output::print;
use crate::{
    bundle, compare, conntrack, dump, flow_mods, groups, meters, monitor, parse, pcap, switch,
    tables, tlv,
};

/// A command line after its options.
#[derive(Clone, Copy, Debug)]
pub struct Command {
    pub name: &'static str,
    pub usage: &'static str,
    min: usize,
    max: usize,
    /// Does it change the switch?
    writes: bool,
    /// May it go on in the background?
    pub detaches: bool,
    /// Hidden from help, as in ovs-ofctl.
    pub hidden: bool,
}

const fn command(name: &'static str, usage: &'static str, min: usize, max: usize) -> Command {
    Command {
        name,
        usage,
        min,
        max,
        writes: false,
        detaches: false,
        hidden: false,
    }
}

const fn writing(name: &'static str, usage: &'static str, min: usize, max: usize) -> Command {
    Command {
        writes: true,
        ..command(name, usage, min, max)
    }
}

const fn background(name: &'static str, usage: &'static str, min: usize, max: usize) -> Command {
    Command {
        detaches: true,
        ..command(name, usage, min, max)
    }
}

const fn hidden(name: &'static str, min: usize, max: usize) -> Command {
    Command {
        hidden: true,
        ..command(name, "", min, max)
    }
}

pub const COMMANDS: &[Command] = &[
    command("show", "switch", 1, 1),
    background(
        "monitor",
        "switch [misslen] [invalid_ttl] [watch:[...]]",
        1,
        usize::MAX,
    ),
    background("snoop", "switch", 1, 1),
    command("dump-desc", "switch", 1, 1),
    command("dump-tables", "switch", 1, 1),
    command("dump-table-features", "switch", 1, 1),
    command("dump-table-desc", "switch", 1, 1),
    command("dump-flows", "switch", 1, 2),
    command("dump-aggregate", "switch", 1, 2),
    command("queue-stats", "switch [port [queue]]", 1, 3),
    command("queue-get-config", "switch [port [queue]]", 1, 3),
    writing("add-flow", "switch flow", 2, 2),
    writing("add-flows", "switch file", 2, 2),
    writing("mod-flows", "switch flow", 2, 2),
    writing("del-flows", "switch [flow]", 1, 2),
    writing("replace-flows", "switch file", 2, 2),
    command("diff-flows", "source1 source2", 2, 2),
    writing("add-meter", "switch meter", 2, 2),
    writing("mod-meter", "switch meter", 2, 2),
    writing("del-meter", "switch meter", 2, 2),
    writing("del-meters", "switch", 1, 2),
    command("dump-meter", "switch meter", 2, 2),
    command("dump-meters", "switch", 1, 2),
    command("meter-stats", "switch [meter]", 1, 2),
    command("meter-features", "switch", 1, 1),
    writing(
        "packet-out",
        "switch \"in_port=<port> packet=<hex data> actions=...\"",
        2,
        2,
    ),
    command("dump-ports", "switch [port]", 1, 2),
    command("dump-ports-desc", "switch [port]", 1, 2),
    writing("mod-port", "switch iface act", 3, 3),
    writing("mod-table", "switch mod", 3, 3),
    command("get-frags", "switch", 1, 1),
    writing("set-frags", "switch frag_mode", 2, 2),
    command("probe", "target", 1, 1),
    command("ping", "target [n]", 1, 2),
    command("benchmark", "target n count", 3, 3),
    command("dump-ipfix-bridge", "switch", 1, 1),
    command("dump-ipfix-flow", "switch", 1, 1),
    command("ct-flush-zone", "switch zone", 2, 2),
    command(
        "ct-flush",
        "switch [zone=N] [ct-orig-tuple [ct-reply-tuple]]",
        1,
        4,
    ),
    command("ofp-parse", "file", 1, 1),
    command("ofp-parse-pcap", "pcap", 1, usize::MAX),
    writing("add-group", "switch group", 1, 2),
    writing("add-groups", "switch file", 2, 2),
    writing("mod-group", "switch group", 1, 2),
    writing("del-groups", "switch [group]", 1, 2),
    writing("insert-buckets", "switch [group]", 1, 2),
    writing("remove-buckets", "switch [group]", 1, 2),
    command("dump-groups", "switch [group]", 1, 2),
    command("dump-group-stats", "switch [group]", 1, 2),
    command("dump-group-features", "switch", 1, 1),
    writing("bundle", "switch file", 2, 2),
    writing("add-tlv-map", "switch map", 2, 2),
    writing("del-tlv-map", "switch [map]", 1, 2),
    command("dump-tlv-map", "switch", 1, 1),
    command("help", "", 0, usize::MAX),
    command("list-commands", "", 0, usize::MAX),
    hidden("parse-flow", 1, 1),
    hidden("parse-flows", 1, 1),
    hidden("parse-group", 1, 1),
    hidden("parse-nx-match", 0, 0),
    hidden("parse-nxm", 0, 0),
    hidden("parse-oxm", 1, 1),
    hidden("parse-actions", 1, 1),
    hidden("parse-instructions", 1, 1),
    hidden("parse-ofp10-match", 0, 0),
    hidden("parse-ofp11-match", 0, 0),
    hidden("parse-pcap", 1, usize::MAX),
    hidden("check-vlan", 2, 2),
    hidden("print-error", 1, 1),
    hidden("encode-error-reply", 2, 2),
    hidden("ofp-print", 1, 2),
    hidden("encode-hello", 1, 1),
    hidden("parse-key-value", 1, usize::MAX),
    hidden("parse-packet", 0, 0),
];

/// Commands of ovs-ofctl that are to come.
const NOT_SUPPORTED: &[&str] = &["compose-packet"];

/// Finds a command and checks its arguments.
pub fn find(options: &Options, name: &str, args: &[String]) -> Result<&'static Command, Error> {
    let Some(command) = COMMANDS.iter().find(|c| c.name == name) else {
        let name = name.to_owned();
        return Err(if NOT_SUPPORTED.contains(&name.as_str()) {
            Error::CommandNotSupported(name)
        } else {
            Error::UnknownCommand(name)
        });
    };
    let name = name.to_owned();
    if args.len() < command.min {
        let min = command.min;
        return Err(Error::TooFewArguments { name, min });
    }
    if args.len() > command.max {
        let max = command.max;
        return Err(Error::TooManyArguments { name, max });
    }
    if command.writes && options.read_only {
        return Err(Error::ReadOnly(name));
    }
    Ok(command)
}

/// Runs a command; the answer is the exit status.
pub async fn run(
    options: &Options,
    command: &Command,
    args: &[String],
    startup: Startup,
) -> Result<u8, Error> {
    let (modify, delete) = if options.strict {
        (FlowModCommand::ModifyStrict, FlowModCommand::DeleteStrict)
    } else {
        (FlowModCommand::Modify, FlowModCommand::Delete)
    };
    match command.name {
        "show" => switch::show(options, args).await?,
        "monitor" => monitor::monitor(options, args, startup).await?,
        "snoop" => monitor::snoop(options, args, startup).await?,
        "dump-desc" => switch::ask(options, args, Message::DescRequest).await?,
        "dump-tables" => switch::ask(options, args, Message::TableStatsRequest).await?,
        "dump-table-features" => switch::dump_table_features(options, args).await?,
        "dump-flows" => dump::flows(options, args).await?,
        "dump-aggregate" => dump::aggregate(options, args).await?,
        "queue-stats" => switch::queue_stats(options, args).await?,
        "queue-get-config" => switch::queue_get_config(options, args).await?,
        "add-flow" => flow_mods::one(options, args, FlowModCommand::Add).await?,
        "add-flows" => flow_mods::add_flows(options, args).await?,
        "mod-flows" => flow_mods::one(options, args, modify).await?,
        "del-flows" => flow_mods::one(options, args, delete).await?,
        "replace-flows" => compare::replace(options, args).await?,
        "diff-flows" => {
            if compare::diff(options, args).await? {
                return Ok(compare::DIFFERENT);
            }
        }
        "bundle" => bundle::bundle(options, args).await?,
        "packet-out" => flow_mods::packet_out(options, args).await?,
        "mod-table" => tables::modify(options, args).await?,
        "dump-table-desc" => tables::describe(options, args).await?,
        "add-tlv-map" => tlv::add(options, args).await?,
        "del-tlv-map" => tlv::delete(options, args).await?,
        "dump-tlv-map" => switch::ask(options, args, Message::TlvTableRequest).await?,
        "dump-ports" => switch::dump_ports(options, args).await?,
        "dump-ports-desc" => switch::dump_ports_desc(options, args).await?,
        "mod-port" => switch::mod_port(options, args).await?,
        "get-frags" => switch::get_frags(options, args).await?,
        "set-frags" => switch::set_frags(options, args).await?,
        "add-meter" => meters::one(options, args, MeterCommand::Add).await?,
        "mod-meter" => meters::one(options, args, MeterCommand::Modify).await?,
        "del-meter" => meters::one(options, args, MeterCommand::Delete).await?,
        "del-meters" => meters::delete(options, args).await?,
        "dump-meter" | "dump-meters" => meters::dump(options, args).await?,
        "meter-stats" => meters::stats(options, args).await?,
        "meter-features" => meters::features(options, args).await?,
        "add-group" => groups::one(options, args, GroupCommand::Add).await?,
        "add-groups" => groups::add_groups(options, args).await?,
        "mod-group" => {
            let command = match options.may_create {
                true => GroupCommand::AddOrModify,
                false => GroupCommand::Modify,
            };
            groups::one(options, args, command).await?;
        }
        "del-groups" => groups::one(options, args, GroupCommand::Delete).await?,
        "insert-buckets" => groups::one(options, args, GroupCommand::InsertBucket).await?,
        "remove-buckets" => groups::one(options, args, GroupCommand::RemoveBucket).await?,
        "dump-groups" => groups::dump(options, args).await?,
        "dump-group-stats" => groups::stats(options, args).await?,
        "dump-group-features" => groups::features(options, args).await?,
        "probe" => switch::probe(options, args).await?,
        "ping" => switch::ping(options, args).await?,
        "benchmark" => switch::benchmark(options, args).await?,
        "dump-ipfix-bridge" => {
            switch::ask_about_ipfix(options, args, Message::IpfixBridgeRequest).await?;
        }
        "dump-ipfix-flow" => {
            switch::ask_about_ipfix(options, args, Message::IpfixFlowRequest).await?
        }
        "ct-flush-zone" => conntrack::flush_zone(options, args).await?,
        "ct-flush" => conntrack::flush(options, args).await?,
        "ofp-parse" => parse::ofp_parse(options, args)?,
        "parse-flow" => parse::parse_flow(options, args)?,
        "parse-flows" => parse::parse_flows(options, args)?,
        "parse-group" => parse::parse_group(options, args)?,
        "ofp-print" => parse::ofp_print(options, args)?,
        "ofp-parse-pcap" => pcap::ofp_parse_pcap(options, args)?,
        "parse-nx-match" | "parse-nxm" => bits::parse_entries(options, None)?,
        "parse-oxm" => bits::parse_entries(options, args.first().map(String::as_str))?,
        "parse-actions" => bits::parse_lists(options, args, List::Actions)?,
        "parse-instructions" => bits::parse_lists(options, args, List::Instructions)?,
        "parse-ofp10-match" => bits::parse_match10(options)?,
        "parse-ofp11-match" => bits::parse_match11(options)?,
        "check-vlan" => bits::check_vlan(args)?,
        "parse-pcap" => return pcap::parse_pcap(options, args),
        "parse-packet" => pcap::parse_packet(options)?,
        "print-error" => bits::print_error(args)?,
        "encode-error-reply" => bits::encode_error_reply(args)?,
        "encode-hello" => bits::encode_hello(options, args)?,
        "parse-key-value" => bits::parse_key_value(args)?,
        "help" => print(&crate::usage::text(options))?,
        _ => list_commands()?,
    }
    Ok(0)
}

fn list_commands() -> Result<(), Error> {
    let mut out = "The available commands are:\n".to_owned();
    for c in COMMANDS {
        out.push_str(&format!("  {:<23} {}\n", c.name, c.usage));
    }
    print(&out)
}
