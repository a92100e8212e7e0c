//! The commands that vsctl knows, and the `--` chains in which they are given.
//!
//! Source: ovs-vsctl(8), "SYNOPSIS" and "COMMANDS"; the messages are those of the stock tool.
//! Called by `main` after [`crate::options`] has taken the global options away. What a command
//! does is in [`crate::run`].

use std::collections::BTreeMap;

use thiserror::Error;

/// Which command; one `match` in [`crate::run`] carries each out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Init,
    Show,
    EmerReset,
    AddBr,
    DelBr,
    ListBr,
    BrExists,
    BrToVlan,
    BrToParent,
    BrSetExternalId,
    BrGetExternalId,
    ListPorts,
    AddPort,
    AddBond,
    AddBondIface,
    DelBondIface,
    DelPort,
    PortToBr,
    ListIfaces,
    IfaceToBr,
    AddZoneTp,
    DelZoneTp,
    ListZoneTp,
    ListDpCap,
    GetController,
    DelController,
    SetController,
    GetFailMode,
    DelFailMode,
    SetFailMode,
    GetManager,
    DelManager,
    SetManager,
    GetSsl,
    DelSsl,
    SetSsl,
    AddAaMapping,
    DelAaMapping,
    GetAaMapping,
    Comment,
    Get,
    List,
    Find,
    Set,
    Add,
    Remove,
    Clear,
    Create,
    Destroy,
    WaitUntil,
}

/// Whether a command can change the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Ro,
    Rw,
}

/// An option of a command; `value` tells whether it is written `--name=VALUE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommandOption {
    /// With its leading dashes.
    pub name: &'static str,
    pub value: bool,
}

const fn flag(name: &'static str) -> CommandOption {
    CommandOption { name, value: false }
}

const fn valued(name: &'static str) -> CommandOption {
    CommandOption { name, value: true }
}

/// One command as the user may write it.
#[derive(Debug)]
pub struct Syntax {
    pub name: &'static str,
    pub verb: Verb,
    pub min: usize,
    /// `usize::MAX` for any number.
    pub max: usize,
    /// The arguments in the notation that `--commands` prints for the shell completion.
    pub arguments: &'static str,
    pub options: &'static [CommandOption],
    pub mode: Mode,
}

/// One command of the line: its syntax, its options and its arguments (without its name).
#[derive(Debug)]
pub struct Command {
    pub syntax: &'static Syntax,
    options: BTreeMap<String, Option<String>>,
    pub args: Vec<String>,
}

impl Command {
    /// Whether the option, named with its dashes, was given.
    pub fn has(&self, option: &str) -> bool {
        self.options.contains_key(option)
    }

    /// The value of an option.
    pub fn value(&self, option: &str) -> Option<&str> {
        self.options.get(option)?.as_deref()
    }

    /// The `index`th argument, counted from 0; empty where there are fewer, which the syntax
    /// table rules out for arguments below its `min`.
    pub fn arg(&self, index: usize) -> &str {
        self.args.get(index).map_or("", String::as_str)
    }

    /// The arguments from `index` on.
    pub fn args_from(&self, index: usize) -> &[String] {
        self.args.get(index..).unwrap_or(&[])
    }

    /// The command as messages quote it: option names, then the command and its arguments.
    pub fn text(&self) -> String {
        let mut words: Vec<&str> = self.options.keys().map(String::as_str).collect();
        words.push(self.syntax.name);
        words.extend(self.args.iter().map(String::as_str));
        escape_args(&words)
    }
}

#[derive(Debug, Error, PartialEq, Eq)]
pub enum Error {
    #[error("missing command name (use --help for help)")]
    MissingName,
    #[error("unknown command '{0}'; use --help for help")]
    Unknown(String),
    #[error("'{0}' option specified multiple times")]
    RepeatedOption(String),
    #[error("'{command}' command has no '{option}' option")]
    NoSuchOption { command: String, option: String },
    #[error("missing argument to '{option}' option on '{command}' command")]
    MissingOptionValue { command: String, option: String },
    #[error("'{option}' option on '{command}' does not accept an argument")]
    UnexpectedOptionValue { command: String, option: String },
    #[error("'{name}' command requires at least {min} arguments")]
    TooFew { name: &'static str, min: usize },
    #[error("'{name}' command takes at most {max} arguments{note}")]
    TooMany {
        name: &'static str,
        max: usize,
        note: &'static str,
    },
}

const OPTION_NOTE: &str =
    " (note that options must precede command names and follow a \"--\" argument)";

/// The most commands taken in one run; beyond that a command line is a mistake.
const MAX_COMMANDS: usize = 1 << 20;

/// Takes `words` apart at each `--`. `leading` are the command options found among the global
/// ones; they belong to the first command.
pub fn parse(
    leading: Vec<(String, Option<String>)>,
    words: &[String],
) -> Result<Vec<Command>, Error> {
    let mut leading = leading;
    let mut commands = Vec::new();
    for group in words.split(|word| word == "--") {
        if !group.is_empty() {
            commands.push(parse_one(std::mem::take(&mut leading), group)?);
        } else if !leading.is_empty() {
            return Err(Error::MissingName);
        }
        if commands.len() > MAX_COMMANDS {
            break;
        }
    }
    if commands.is_empty() {
        return Err(Error::MissingName);
    }
    Ok(commands)
}

fn parse_one(leading: Vec<(String, Option<String>)>, words: &[String]) -> Result<Command, Error> {
    // An option that getopt saw twice counts once; one repeated after "--" is an error.
    let mut options: BTreeMap<String, Option<String>> = leading.into_iter().collect();
    let mut rest = words.iter();
    let name = loop {
        let word = rest.next().ok_or(Error::MissingName)?;
        if !word.starts_with('-') {
            break word;
        }
        let (key, value) = match word.split_once('=') {
            Some((key, value)) => (key, Some(value.to_owned())),
            None => (word.as_str(), None),
        };
        if options.insert(key.to_owned(), value).is_some() {
            return Err(Error::RepeatedOption(word.clone()));
        }
    };
    let syntax = COMMANDS
        .iter()
        .find(|syntax| syntax.name == name)
        .ok_or_else(|| Error::Unknown(name.clone()))?;
    check_options(syntax, &options)?;
    let args: Vec<String> = rest.cloned().collect();
    check_arguments(syntax, &args)?;
    Ok(Command {
        syntax,
        options,
        args,
    })
}

fn check_options(syntax: &Syntax, options: &BTreeMap<String, Option<String>>) -> Result<(), Error> {
    for (name, value) in options {
        let command = syntax.name.to_owned();
        let option = name.clone();
        match syntax.options.iter().find(|known| known.name == name) {
            None => return Err(Error::NoSuchOption { command, option }),
            Some(known) if known.value && value.is_none() => {
                return Err(Error::MissingOptionValue { command, option });
            }
            Some(known) if !known.value && value.is_some() => {
                return Err(Error::UnexpectedOptionValue { command, option });
            }
            Some(_) => {}
        }
    }
    Ok(())
}

fn check_arguments(syntax: &Syntax, args: &[String]) -> Result<(), Error> {
    if args.len() < syntax.min {
        return Err(Error::TooFew {
            name: syntax.name,
            min: syntax.min,
        });
    }
    if args.len() > syntax.max {
        let note = if args.iter().any(|arg| arg.starts_with('-')) {
            OPTION_NOTE
        } else {
            ""
        };
        return Err(Error::TooMany {
            name: syntax.name,
            max: syntax.max,
            note,
        });
    }
    Ok(())
}

/// The words of a command line in one line, each quoted as a JSON string where it has characters
/// that would blur where it ends.
pub fn escape_args<S: AsRef<str>>(words: &[S]) -> String {
    let mut text = String::new();
    for (i, word) in words.iter().enumerate() {
        if i > 0 {
            text.push(' ');
        }
        let word = word.as_ref();
        let blurred = word
            .bytes()
            .any(|b| matches!(b, b' ' | b'\t' | b'\r' | b'\n' | 0x0b | 0x0c | b'"'));
        if word.is_empty() || blurred {
            text.push_str(&serde_json::Value::from(word).to_string());
        } else {
            text.push_str(word);
        }
    }
    text
}

const ANY: usize = usize::MAX;
const NONE: &[CommandOption] = &[];
const IF_EXISTS: &[CommandOption] = &[flag("--if-exists")];
const MAY_EXIST: &[CommandOption] = &[flag("--may-exist")];
const PROBE: &[CommandOption] = &[valued("--inactivity-probe")];

macro_rules! command {
    ($name:literal, $verb:ident, $min:expr, $max:expr, $arguments:literal, $options:expr, $mode:ident) => {
        Syntax {
            name: $name,
            verb: Verb::$verb,
            min: $min,
            max: $max,
            arguments: $arguments,
            options: $options,
            mode: Mode::$mode,
        }
    };
}

/// Every command.
#[rustfmt::skip]
pub static COMMANDS: &[Syntax] = &[
    command!("init", Init, 0, 0, "", NONE, Rw),
    command!("show", Show, 0, 0, "", NONE, Ro),
    command!("add-br", AddBr, 1, 3, "!NEW-BRIDGE ?PARENT ?NEW-VLAN", MAY_EXIST, Rw),
    command!("del-br", DelBr, 1, 1, "!BRIDGE", IF_EXISTS, Rw),
    command!("list-br", ListBr, 0, 0, "", &[flag("--real"), flag("--fake")], Ro),
    command!("br-exists", BrExists, 1, 1, "!BRIDGE", NONE, Ro),
    command!("br-to-vlan", BrToVlan, 1, 1, "!BRIDGE", NONE, Ro),
    command!("br-to-parent", BrToParent, 1, 1, "!BRIDGE", NONE, Ro),
    command!("br-set-external-id", BrSetExternalId, 2, 3, "!BRIDGE !KEY ?VALUE", NONE, Rw),
    command!("br-get-external-id", BrGetExternalId, 1, 2, "!BRIDGE ?KEY", NONE, Ro),
    command!("list-ports", ListPorts, 1, 1, "!BRIDGE", NONE, Ro),
    command!("add-port", AddPort, 2, ANY, "!BRIDGE !NEW-PORT *COLUMN?:KEY=VALUE", MAY_EXIST, Rw),
    command!("add-bond", AddBond, 4, ANY, "!BRIDGE !BOND +IFACE *COLUMN?:KEY=VALUE",
        &[flag("--may-exist"), flag("--fake-iface")], Rw),
    command!("del-port", DelPort, 1, 2, "?BRIDGE !PORT|IFACE",
        &[flag("--if-exists"), flag("--with-iface")], Rw),
    command!("port-to-br", PortToBr, 1, 1, "!PORT", NONE, Ro),
    command!("add-bond-iface", AddBondIface, 2, 2, "!BOND !IFACE", MAY_EXIST, Rw),
    command!("del-bond-iface", DelBondIface, 1, 2, "?BOND !IFACE", IF_EXISTS, Rw),
    command!("list-ifaces", ListIfaces, 1, 1, "!BRIDGE", NONE, Ro),
    command!("iface-to-br", IfaceToBr, 1, 1, "!IFACE", NONE, Ro),
    command!("add-zone-tp", AddZoneTp, 3, ANY, "!ARG !ARG +ARG", MAY_EXIST, Rw),
    command!("del-zone-tp", DelZoneTp, 2, 2, "!ARG !ARG", IF_EXISTS, Rw),
    command!("list-zone-tp", ListZoneTp, 1, 1, "!ARG", NONE, Ro),
    command!("list-dp-cap", ListDpCap, 1, 1, "!ARG", NONE, Ro),
    command!("get-controller", GetController, 1, 1, "!BRIDGE", NONE, Ro),
    command!("del-controller", DelController, 1, 1, "!BRIDGE", NONE, Rw),
    command!("set-controller", SetController, 1, ANY, "!BRIDGE +TARGET", PROBE, Rw),
    command!("get-fail-mode", GetFailMode, 1, 1, "!BRIDGE", NONE, Ro),
    command!("del-fail-mode", DelFailMode, 1, 1, "!BRIDGE", NONE, Rw),
    command!("set-fail-mode", SetFailMode, 2, 2, "!BRIDGE !MODE", NONE, Rw),
    command!("get-manager", GetManager, 0, 0, "", NONE, Ro),
    command!("del-manager", DelManager, 0, 0, "", NONE, Rw),
    command!("set-manager", SetManager, 1, ANY, "+TARGET", PROBE, Rw),
    command!("get-ssl", GetSsl, 0, 0, "", NONE, Ro),
    command!("del-ssl", DelSsl, 0, 0, "", NONE, Rw),
    command!("set-ssl", SetSsl, 3, 3, "!PRIVATE-KEY !CERTIFICATE !CA-CERT",
        &[flag("--bootstrap")], Rw),
    command!("add-aa-mapping", AddAaMapping, 3, 3, "!BRIDGE !ARG !ARG", NONE, Rw),
    command!("del-aa-mapping", DelAaMapping, 3, 3, "!BRIDGE !ARG !ARG", NONE, Rw),
    command!("get-aa-mapping", GetAaMapping, 1, 1, "!BRIDGE", NONE, Ro),
    command!("emer-reset", EmerReset, 0, 0, "", NONE, Rw),
    command!("comment", Comment, 0, ANY, "*ARG", NONE, Ro),
    command!("get", Get, 2, ANY, "!TABLE !RECORD *COLUMN?:KEY",
        &[flag("--if-exists"), valued("--id")], Ro),
    command!("list", List, 1, ANY, "!TABLE *RECORD",
        &[flag("--if-exists"), valued("--columns")], Ro),
    command!("find", Find, 1, ANY, "!TABLE *COLUMN?:KEY=VALUE", &[valued("--columns")], Ro),
    command!("set", Set, 3, ANY, "!TABLE !RECORD +COLUMN?:KEY=VALUE", IF_EXISTS, Rw),
    command!("add", Add, 4, ANY, "!TABLE !RECORD !COLUMN +?KEY=VALUE", IF_EXISTS, Rw),
    command!("remove", Remove, 4, ANY, "!TABLE !RECORD !COLUMN +KEY|VALUE|KEY=VALUE",
        IF_EXISTS, Rw),
    command!("clear", Clear, 3, ANY, "!TABLE !RECORD +COLUMN", IF_EXISTS, Rw),
    command!("create", Create, 2, ANY, "!TABLE +COLUMN?:KEY=VALUE", &[valued("--id")], Rw),
    command!("destroy", Destroy, 1, ANY, "!TABLE *RECORD",
        &[flag("--if-exists"), flag("--all")], Rw),
    command!("wait-until", WaitUntil, 2, ANY, "!TABLE !RECORD *COLUMN?:KEY=VALUE", NONE, Ro),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    fn error(text: &str) -> String {
        parse(Vec::new(), &words(text)).unwrap_err().to_string()
    }

    #[test]
    fn chains() {
        let commands = parse(
            vec![("--may-exist".into(), None)],
            &words("add-br a -- --id=@x get br a -- -- show"),
        )
        .unwrap();
        assert_eq!(commands.len(), 3);
        assert!(commands[0].has("--may-exist"));
        assert_eq!(commands[1].value("--id"), Some("@x"));
        assert_eq!(commands[1].arg(1), "a");
        assert_eq!(commands[2].syntax.verb, Verb::Show);
        assert_eq!(commands[1].text(), "--id get br a");
    }

    #[test]
    fn messages_of_the_stock_tool() {
        for (text, message) in [
            ("", "missing command name (use --help for help)"),
            ("-- --", "missing command name (use --help for help)"),
            ("--if-exists", "missing command name (use --help for help)"),
            ("foo", "unknown command 'foo'; use --help for help"),
            (
                "--if-exists --if-exists del-br x",
                "'--if-exists' option specified multiple times",
            ),
            ("--id=@x list-br", "'list-br' command has no '--id' option"),
            (
                "--may-exist=1 add-br x",
                "'--may-exist' option on 'add-br' does not accept an argument",
            ),
            (
                "--id create qos a=b",
                "missing argument to '--id' option on 'create' command",
            ),
            ("add-br", "'add-br' command requires at least 1 arguments"),
            ("list-br x", "'list-br' command takes at most 0 arguments"),
            (
                "list-br --db",
                "'list-br' command takes at most 0 arguments (note that options must precede \
                 command names and follow a \"--\" argument)",
            ),
        ] {
            assert_eq!(error(text), message, "{text}");
        }
    }

    #[test]
    fn quoting_of_arguments() {
        assert_eq!(
            escape_args(&["a", "", "b c", "d\"e", "x=[1]"]),
            "a \"\" \"b c\" \"d\\\"e\" x=[1]"
        );
    }
}
