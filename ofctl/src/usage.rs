//! The help text.

use crate::command::COMMANDS;
use crate::options::Options;

/// What `--help` prints.
pub fn text(options: &Options) -> String {
    let program = &options.daemon.program;
    let mut out = format!(
        "{program}: OpenFlow switch management utility\n\
         usage: {program} [OPTIONS] COMMAND [ARG...]\n\nCommands:\n"
    );
    for c in COMMANDS.iter().filter(|c| !c.hidden) {
        out.push_str(&format!("  {} {}\n", c.name, c.usage));
    }
    out.push_str(
        "
A switch is a bridge's name, the file of a socket, or a connection method:
  tcp:HOST[:PORT]         PORT (default: 6653) at HOST
  unix:FILE               Unix domain socket named FILE
A source of flows is a switch or a file.

OpenFlow options:
  -O, --protocols=LIST    OpenFlow versions to use: OpenFlow10 (default), OpenFlow13
  -F, --flow-format=LIST  flow formats to use
  -P, --packet-in-format=FORMAT
                          packet-in format that monitor asks for
  --strict                use strict match for flow commands
  --read-only             do not execute read/write commands
  --bundle                (flow commands) change all flows or none
  --readd                 (replace-flows) also add flows that have not changed
  --may-create            (mod-group) add the group when it is not there
  --sort[=FIELD]          (dump-flows) sort in ascending order
  --rsort[=FIELD]         (dump-flows) sort in descending order
  --stats, --no-stats     (dump-flows) show or leave out statistics
  --names, --no-names     show port and table names, or neither show nor accept them
  --color[=WHEN]          colour flows: always, never, or auto (on a terminal)
  --timestamp             (monitor, snoop, ofp-parse-pcap) print timestamps
  -m, --more              print messages in more detail
  -t, --timeout=SECS      give up after SECS seconds
",
    );
    out.push_str(&options.daemon.usage());
    out
}
