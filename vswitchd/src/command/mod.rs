//! The daemon's unixctl commands.
//!
//! [`register`] names them, [`Switch::handle_unixctl`] answers them: at once from the event loop's
//! own state, or from another thread where the datapath is asked for many flows.

mod bridge;
pub mod dpctl;
mod dpif;
mod trace;

use std::sync::Arc;
use std::time::Instant;

use ::dpif::Dpif;
use daemon::unixctl::{Commands, Request};

use crate::coverage;
use crate::switch::Switch;

const MANY: usize = usize::MAX;

/// Adds the daemon's commands to those that every daemon has.
pub fn register(commands: &mut Commands) {
    commands.event("exit", "[--cleanup]", 0, 1);
    commands.event("dpctl/dump-dps", "", 0, 0);
    commands.event("dpctl/show", "[-s] [dp...]", 0, MANY);
    commands.event("dpctl/dump-flows", "[-m] [--names] [dp]", 0, MANY);
    commands.event("dpctl/show-drops", "", 0, 0);
    commands.event("dpif/dump-dps", "", 0, 0);
    commands.event("dpif/show", "", 0, 0);
    commands.event("dpif/show-dp-features", "bridge", 1, 1);
    commands.event(
        "dpif/dump-flows",
        "[-m] [--names | --no-names] bridge",
        1,
        3,
    );
    commands.function("coverage/show", "", 0, 0, |_| Ok(coverage::show()));
    commands.function("coverage/read-counter", "COUNTER", 1, 1, |args| {
        coverage::read(args.first().map_or("", String::as_str))
    });
    commands.event("memory/show", "", 0, 0);
    commands.event("ofproto/list", "", 0, 0);
    commands.event(
        "ofproto/trace",
        "{[dp_name] odp_flow | bridge br_flow}",
        1,
        MANY,
    );
    commands.event("fdb/show", "bridge", 1, 1);
    commands.event("fdb/flush", "[bridge]", 0, 1);
    commands.event("bridge/dump-flows", "bridge", 1, 2);
    commands.event("bridge/reconnect", "[bridge]", 0, 1);
}

impl Switch {
    pub(crate) fn handle_unixctl(&mut self, request: Request) {
        coverage::unixctl_received.inc();
        let args = request.args.as_slice();
        let answer = match request.command.as_str() {
            "exit" => match args {
                [] => return self.exit(false, request),
                [option] if option == "--cleanup" => return self.exit(true, request),
                _ => Err(format!("unknown option {}", args.join(" "))),
            },
            "dpctl/dump-dps" => dpctl::dump_dps(),
            "dpctl/show" => return self.aside(request, dpctl::show),
            "dpctl/dump-flows" => return self.aside(request, dpctl::dump_flows),
            "dpctl/show-drops" => return self.aside(request, |dpif, _| dpctl::show_drops(dpif)),
            "dpif/dump-dps" => Ok(self.dpif_dump_dps()),
            "dpif/show" => self.dpif_show(),
            "dpif/show-dp-features" => self.dpif_show_dp_features(args),
            "dpif/dump-flows" => match self.dpif_dump_flows(args) {
                Ok(question) => {
                    return self.aside(request, move |dpif, _| {
                        dpctl::flows(
                            dpif,
                            |port| question.ports.contains(&port),
                            question.names,
                            question.verbose,
                        )
                    });
                }
                Err(text) => Err(text),
            },
            "memory/show" => Ok(self.memory_show()),
            "ofproto/list" => Ok(self.ofproto_list()),
            "ofproto/trace" => dpctl::Names::of(&*self.dpif).and_then(|names| {
                let max_actions = self.dpif.limits().actions;
                trace::trace(&self.publish(), &names, max_actions, args)
            }),
            "fdb/show" => self.fdb_show(args, Instant::now()),
            "fdb/flush" => self.fdb_flush(args),
            "bridge/dump-flows" => self.bridge_dump_flows(args, Instant::now()),
            "bridge/reconnect" => self.bridge_reconnect(args),
            other => Err(format!("{other} is not implemented")),
        };
        request.reply(answer);
    }

    /// Answers from a thread on which the datapath may take its time.
    fn aside(
        &self,
        request: Request,
        answer: impl FnOnce(&dyn Dpif, &[String]) -> Result<String, String> + Send + 'static,
    ) {
        let dpif = Arc::clone(&self.dpif);
        tokio::task::spawn_blocking(move || {
            let text = answer(&*dpif, &request.args);
            request.reply(text);
        });
    }
}
