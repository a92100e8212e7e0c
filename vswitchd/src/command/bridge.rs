//! `ofproto/list`, `fdb/*` and `bridge/dump-flows`.
//!
//! Source: ovs-vswitchd(8), "BRIDGE COMMANDS" and "OPENFLOW SWITCH COMMANDS".

use std::fmt::Write as _;
use std::time::Instant;

use ofproto::rule::Rule;
use ofproto::snapshot::{BridgeId, N_TABLES};
use openflow::Version;
use openflow::text::{Names, action_print, flow_print, matches};

use crate::switch::Switch;

type Answer = Result<String, String>;

impl Switch {
    pub(super) fn ofproto_list(&self) -> String {
        self.actual
            .bridges
            .keys()
            .map(|bridge| format!("{bridge}\n"))
            .collect()
    }

    pub(super) fn fdb_show(&self, args: &[String], now: Instant) -> Answer {
        let id = self.bridge_arg(args)?;
        let macs = self.ofproto.macs(id).ok_or("no such bridge")?;
        Ok(macs.show(now))
    }

    pub(super) fn fdb_flush(&mut self, args: &[String]) -> Answer {
        let ids: Vec<BridgeId> = if args.is_empty() {
            self.actual
                .bridges
                .values()
                .filter_map(|bridge| bridge.id)
                .collect()
        } else {
            vec![self.bridge_arg(args)?]
        };
        for id in ids {
            self.ofproto
                .modify_macs(id, |macs| macs.flush())
                .map_err(|error| error.to_string())?;
        }
        Ok("table successfully flushed\n".to_owned())
    }

    /// Every flow, also those that controllers cannot see.
    pub(super) fn bridge_dump_flows(&mut self, args: &[String], now: Instant) -> Answer {
        if let Some(option) = args.iter().find(|arg| arg.starts_with('-')) {
            return Err(format!("{option}: option is not supported"));
        }
        let id = self.bridge_arg(args)?;
        let snapshot = self.publish();
        let bridge = snapshot.bridge(id).ok_or("Unknown bridge")?;
        let mut text = String::new();
        for table in 0..N_TABLES {
            let Ok(table) = u8::try_from(table) else {
                break;
            };
            if let Some(classifier) = bridge.tables.get(table) {
                let mut rules: Vec<_> = classifier.iter().collect();
                rules.sort_by_key(|rule| (std::cmp::Reverse(rule.priority), rule.serial));
                for rule in rules {
                    write_rule(&mut text, rule, now);
                }
            }
        }
        Ok(text)
    }

    pub(super) fn bridge_reconnect(&mut self, args: &[String]) -> Answer {
        if !args.is_empty() {
            self.bridge_arg(args)?;
        }
        self.network.reconnect(args.first().map(String::as_str));
        self.dirty.config = true;
        Ok(String::new())
    }

    fn bridge_arg(&self, args: &[String]) -> Result<BridgeId, String> {
        args.first()
            .and_then(|name| self.actual.bridges.get(name))
            .and_then(|bridge| bridge.id)
            .ok_or_else(|| "no such bridge".to_owned())
    }
}

fn write_rule(text: &mut String, rule: &Rule, now: Instant) {
    // Writing to a String cannot fail.
    if rule.cookie != 0 {
        let _ = write!(text, "cookie={:#x}, ", rule.cookie);
    }
    if rule.table_id != 0 {
        let _ = write!(text, "table_id={}, ", rule.table_id);
    }
    text.push_str("duration=");
    flow_print::write_duration(text, now.saturating_duration_since(rule.created));
    let _ = write!(
        text,
        ", n_packets={}, n_bytes={}, priority={},",
        rule.stats.packets(),
        rule.stats.bytes(),
        rule.priority
    );
    let start = text.len();
    matches::write(text, &rule.to_match(), &Names::none());
    if text.len() > start {
        text.push(',');
    }
    text.push_str("actions=");
    if rule.actions.is_empty() {
        text.push_str("drop");
    } else {
        action_print::write(text, &rule.actions, Version::Of10, &Names::none());
    }
    text.push('\n');
}
