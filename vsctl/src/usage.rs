//! The texts of `--help`, `--version`, `--commands` and `--options`.

use daemon::getopt::Value;
use daemon::{dirs, version};

use crate::command::COMMANDS;
use crate::options::{self, Print};
use crate::record::{SINGLE_ROW_TABLES, row_names};
use crate::schema;

/// The text that was asked for.
pub fn text(print: Print, program: &str) -> String {
    match print {
        Print::Help => help(program),
        Print::Version => format!(
            "{}DB Schema {}\n",
            version::text(program),
            schema::vswitch().version
        ),
        Print::Commands => commands(),
        Print::Options => options(),
    }
}

/// One line per command for the shell completion: options, name, arguments.
fn commands() -> String {
    let mut out = String::new();
    for command in COMMANDS {
        for option in command.options {
            let equals = if option.value { "=" } else { "" };
            out.push_str(&format!("[{}{equals}] ", option.name));
        }
        out.push_str(&format!(",{},{}\n", command.name, command.arguments));
    }
    out
}

fn options() -> String {
    let mut out = String::new();
    for option in options::global() {
        let valued = option.value != Value::None;
        let (equals, space) = if valued { ("=ARG", " ARG") } else { ("", "") };
        out.push_str(&format!("--{}{equals}\n", option.long));
        if let Some(short) = option.short {
            out.push_str(&format!("-{short}{space}\n"));
        }
    }
    out
}

fn help(program: &str) -> String {
    let rundir = dirs::rundir();
    let logdir = dirs::logdir();
    format!(
        "{program}: shows and changes the configuration of the switch
usage: {program} [OPTIONS] COMMAND [ARG...] [-- [OPTIONS] COMMAND [ARG...]]...

Open vSwitch commands:
  init                        set up an empty database
  show                        print the configuration as a tree
  emer-reset                  take controllers, managers and policies away

Bridge commands:
  [--may-exist] add-br BRIDGE                make BRIDGE
  [--may-exist] add-br BRIDGE PARENT VLAN    make fake BRIDGE for VLAN of PARENT
  [--if-exists] del-br BRIDGE                remove BRIDGE and its ports
  [--real|--fake] list-br                    print the names of bridges
  br-exists BRIDGE                           exit with status 2 if there is no BRIDGE
  br-to-vlan BRIDGE                          print the VLAN of fake BRIDGE, or 0
  br-to-parent BRIDGE                        print the real bridge of fake BRIDGE
  br-set-external-id BRIDGE KEY [VALUE]      set or remove an external id
  br-get-external-id BRIDGE [KEY]            print external ids

Port and bond commands:
  list-ports BRIDGE                          print the names of the ports of BRIDGE
  [--may-exist] add-port BRIDGE PORT [COLUMN[:KEY]=VALUE]...
  [--may-exist] [--fake-iface] add-bond BRIDGE PORT IFACE IFACE... [COLUMN[:KEY]=VALUE]...
  [--if-exists] [--with-iface] del-port [BRIDGE] PORT
  [--may-exist] add-bond-iface BOND IFACE
  [--if-exists] del-bond-iface [BOND] IFACE
  port-to-br PORT                            print the bridge of PORT

Interface commands:
  list-ifaces BRIDGE                         print the names of the interfaces of BRIDGE
  iface-to-br IFACE                          print the bridge of IFACE

Conntrack zone and datapath commands:
  [--may-exist] add-zone-tp DATAPATH zone=ID POLICY=SECONDS...
  [--if-exists] del-zone-tp DATAPATH zone=ID
  list-zone-tp DATAPATH
  list-dp-cap DATAPATH

Controller commands:
  get-controller BRIDGE
  del-controller BRIDGE
  [--inactivity-probe=MSECS] set-controller BRIDGE TARGET...
  get-fail-mode BRIDGE
  del-fail-mode BRIDGE
  set-fail-mode BRIDGE (standalone|secure)

Manager commands:
  get-manager
  del-manager
  [--inactivity-probe=MSECS] set-manager TARGET...

SSL commands:
  get-ssl
  del-ssl
  [--bootstrap] set-ssl PRIVATE-KEY CERTIFICATE CA-CERT

Auto-Attach commands:
  add-aa-mapping BRIDGE I-SID VLAN
  del-aa-mapping BRIDGE I-SID VLAN
  get-aa-mapping BRIDGE

Database commands:
  [--if-exists] [--columns=COLUMN,...] list TABLE [RECORD]...
  [--columns=COLUMN,...] find TABLE [COLUMN[:KEY]=VALUE]...
  [--if-exists] [--id=@NAME] get TABLE RECORD [COLUMN[:KEY]]...
  [--if-exists] set TABLE RECORD COLUMN[:KEY]=VALUE...
  [--if-exists] add TABLE RECORD COLUMN [KEY=]VALUE...
  [--if-exists] remove TABLE RECORD COLUMN (VALUE|KEY|KEY=VALUE)...
  [--if-exists] clear TABLE RECORD COLUMN...
  [--id=@NAME] create TABLE COLUMN[:KEY]=VALUE...
  [--if-exists] destroy TABLE RECORD...
  --all destroy TABLE
  wait-until TABLE RECORD [COLUMN[:KEY]=VALUE]...
  comment [ARG]...

A RECORD is a UUID, its first four or more digits, or:
{}
Options:
  --db=DATABASE               the database server
                              (default: unix:{}/db.sock)
  --no-wait                   do not wait until the daemon has taken the changes up
  --retry                     try to connect until it works
  -t, --timeout=SECS          give up after SECS seconds, by SIGALRM
  --dry-run                   let the server check the changes, but change nothing
  --oneline                   print the output of each command on one line
  --[no-]leader-only          of a cluster, take the leader only (the default)
  --[no-]shuffle-remotes      try several servers in random order (the default)

Output options:
  -f, --format=FORMAT         table, list (default), html, csv or json
  -d, --data=FORMAT           string (default), bare or json
  --no-headings               leave the headings out
  --pretty                    JSON on several lines
  --bare                      --format=list --data=bare --no-headings
  --max-column-width=N        cut columns of --format=table

Logging options:
  -vSPEC, --verbose=SPEC      set log levels
  -v, --verbose               log everything
  --log-file[=FILE]           log to FILE
                              (default: {}/{program}.log)
  --syslog-method=(libc|null|unix:FILE|udp:IP:PORT)
                              how messages reach the syslog daemon
  --syslog-target=IP:PORT     also send syslog messages there by UDP
  --no-syslog                 the same as --verbose=vsctl:syslog:warn

Other options:
  -h, --help                  print this text
  -V, --version               print the version
",
        records(),
        rundir.display(),
        logdir.display(),
    )
}

/// How the rows of each table can be named.
fn records() -> String {
    let mut out = String::new();
    for table in schema::vswitch().tables.keys() {
        for names in row_names(table) {
            let how = match names.reference {
                None => format!("its \"{}\"", names.name_column),
                Some(reference) => format!(
                    "the \"name\" of the {} whose \"{reference}\" it is",
                    names.name_table
                ),
            };
            out.push_str(&format!("  {table}: {how}\n"));
        }
        if SINGLE_ROW_TABLES.contains(&table.as_str()) {
            out.push_str(&format!("  {table}: \".\", as there is one\n"));
        }
    }
    out
}
