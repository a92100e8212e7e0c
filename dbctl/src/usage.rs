//! What `--help`, `--option` and `list-commands` print.

use std::fmt::Write as _;

use daemon::dirs;
use daemon::getopt::Value;

use crate::choose::Personality;
use crate::{client, file, options};

/// The help text of the program.
pub fn help(program: &str, personality: Personality) -> String {
    let what = match personality {
        Personality::Tool => "Open vSwitch database management utility",
        Personality::Client => "Open vSwitch database JSON-RPC client",
        Personality::Both => "database files and connections to database servers",
    };
    let mut text = format!("{program}: {what}\nusage: {program} [OPTIONS] COMMAND [ARG...]\n");
    if personality != Personality::Client {
        text.push_str("\nCommands for database files:\n");
        for command in file::COMMANDS {
            let _ = writeln!(
                text,
                "  {:<44} {}",
                syntax(command.name, command.usage),
                command.what
            );
        }
        let _ = write!(
            text,
            "The default DB is {}/conf.db.\nThe default SCHEMA is {}/vswitch.ovsschema.\n",
            dirs::dbdir().display(),
            dirs::pkgdatadir().display()
        );
    }
    if personality != Personality::Tool {
        text.push_str("\nCommands for database servers:\n");
        for command in client::COMMANDS {
            let _ = writeln!(
                text,
                "  {:<44} {}",
                syntax(command.name, command.usage),
                command.what
            );
        }
        let _ = write!(
            text,
            "The default SERVER is unix:{}/db.sock.\nThe default DATABASE is Open_vSwitch.\n\
             SERVER is tcp:HOST:PORT or unix:FILE to connect, ptcp:PORT[:IP] or punix:FILE to \
             listen,\nor several to connect to, separated by commas.\n",
            dirs::rundir().display()
        );
    }
    if personality == Personality::Both {
        text.push_str(CHOICE);
    }
    if personality != Personality::Client {
        text.push_str(TOOL_OPTIONS);
    }
    if personality != Personality::Tool {
        text.push_str(CLIENT_OPTIONS);
    }
    text.push_str(COMMON_OPTIONS);
    text
}

fn syntax(name: &str, usage: &str) -> String {
    format!("{name} {usage}").trim_end().to_owned()
}

const CHOICE: &str = "
transact, query, convert and needs-conversion are for servers when their first argument is a
connection method such as unix:FILE, or when it is the transaction or the schema; they are for
files when their first argument is a database file. Where that does not tell:
  --file                      the command is for a file
  --server                    the command is for a server
";

const TOOL_OPTIONS: &str = "
Options of commands for files:
  -m, --more                  say more in show-log; twice for values
  --rbac-role=ROLE            role of transact and query
  -o, --option                list the options
";

const CLIENT_OPTIONS: &str = "
Options of commands for servers:
  -f, --format=FORMAT         table, list, html, csv or json
  -d, --data=FORMAT           values as string, bare or json
  --no-headings               tables without their heading row
  --pretty                    JSON on several lines
  --bare                      --format=list --data=bare --no-headings
  --max-column-width=N        cut columns of tables at N
  --timestamp                 say when updates of monitors came
  -t, --timeout=SECS          end after SECS seconds
  --force                     restore in spite of another schema
  --no-leader-only            accept any server of a cluster
  --[no-]db-change-aware      whether to ask for notice of changed databases
  --detach                    go on in the background (monitor*, lock, steal, unlock, transact)
  --monitor                   with --detach, restart after a crash
  --no-chdir                  with --detach, stay in the current directory
  --pidfile[=FILE]            make a pidfile
  --overwrite-pidfile         with --pidfile, start even if one is there
";

const COMMON_OPTIONS: &str = "
Other options:
  -vSPEC, --verbose=SPEC      set logging levels
  -v, --verbose               log everything
  --log-file[=FILE]           log to FILE
  --syslog-method=(libc|null|unix:FILE|udp:IP:PORT)
                              how messages reach the syslog daemon
  --syslog-target=IP:PORT     also send syslog messages by UDP
  -h, --help                  display this help message
  -V, --version               display version information
";

/// `--option`: one option a line.
pub fn options(personality: Personality) -> String {
    let mut text = String::new();
    for opt in options::known(personality) {
        let (long, short) = match opt.value {
            Value::None => ("", ""),
            Value::Required => ("=ARG", "ARG"),
            Value::Optional => ("=[ARG]", "[ARG]"),
        };
        let _ = writeln!(text, "--{}{long}", opt.long);
        if let Some(letter) = opt.short {
            let _ = writeln!(text, "-{letter} {short}");
        }
    }
    text
}

/// `list-commands`.
pub fn commands(personality: Personality) -> String {
    let mut text = "The available commands are:\n".to_owned();
    for command in file::COMMANDS {
        let _ = writeln!(text, "  {:<23} {}", command.name, command.usage);
    }
    if personality == Personality::Both {
        for command in client::COMMANDS {
            let _ = writeln!(text, "  {:<23} {}", command.name, command.usage);
        }
    }
    text
}
