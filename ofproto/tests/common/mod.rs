//! A bridge's flow tables driven by text, for tests of flow-mods.

#![allow(dead_code, reason = "each test binary uses a part")]

use std::time::{Duration, Instant};

use ofproto::action_check::{Known, check_flow_mod};
use ofproto::group::Groups;
use ofproto::meter::Meters;
use ofproto::table::{Change, FlowTables};
use openflow::message::{FlowModCommand, FlowStats, FlowStatsRequest, TABLE_ALL};
use openflow::text::flow::{parse_flow_mod, parse_stats_request};
use openflow::text::token::Piece;
use openflow::text::{Names, action_parse, flow_print};
use openflow::{OfError, Version};

/// Flow tables and a clock.
pub struct Switch {
    pub tables: FlowTables,
    pub start: Instant,
    pub now: Instant,
}

/// Splits `add table=1,...` into its command and the rest.
pub fn command(word: &str) -> Option<FlowModCommand> {
    Some(match word {
        "add" => FlowModCommand::Add,
        "modify" => FlowModCommand::Modify,
        "modify_strict" => FlowModCommand::ModifyStrict,
        "delete" => FlowModCommand::Delete,
        "delete_strict" => FlowModCommand::DeleteStrict,
        _ => return None,
    })
}

impl Switch {
    pub fn new() -> Switch {
        let now = Instant::now();
        Switch {
            tables: FlowTables::new(3),
            start: now,
            now,
        }
    }

    /// Does a flow-mod in the syntax of ovs-ofctl(8); returns the removed rules as text.
    pub fn flow_mod(
        &mut self,
        command: FlowModCommand,
        text: &str,
        version: Version,
    ) -> Result<Vec<String>, OfError> {
        let names = Names::none();
        // The parser looks whether actions fit the match; here that is for the switch to find.
        let (flow, actions) = match text.split_once("actions=") {
            Some((before, actions)) => (format!("{before}actions=drop"), Some(actions)),
            None => (text.to_owned(), None),
        };
        let parsed = parse_flow_mod(&flow, command, &names);
        let mut fm = parsed.unwrap_or_else(|e| panic!("{text}: {e}")).value;
        if let Some(actions) = actions {
            let actions = action_parse::parse(Piece::new(actions), &names);
            fm.actions = actions.unwrap_or_else(|e| panic!("{text}: {e}"));
        }
        // What the encodings make of it.
        match version {
            // A modification selects by cookie or sets one, not both.
            Version::Of10 => fm.modify_cookie = fm.cookie_mask == 0,
            _ => {
                fm.modify_cookie = false;
                let is_delete = matches!(
                    command,
                    FlowModCommand::Delete | FlowModCommand::DeleteStrict
                );
                let unsaid = if is_delete { TABLE_ALL } else { 0 };
                fm.table_id = Some(fm.table_id.unwrap_or(unsaid));
            }
        }
        let (groups, meters) = (Groups::default(), Meters::default());
        let known = Known {
            groups: &groups,
            meters: &meters,
        };
        check_flow_mod(&fm, version, known)?;
        let changes = self.tables.flow_mod(&fm, version, self.now)?;
        Ok(changes
            .iter()
            .filter_map(Change::removed)
            .map(|r| format!("{:?}{}", r.reason, self.line(&r.rule, false)))
            .collect())
    }

    pub fn pass(&mut self, time: Duration) -> Vec<String> {
        self.now += time;
        let removed = self.tables.handle_timeout(self.now);
        removed
            .iter()
            .map(|r| format!("{:?}{}", r.reason, self.line(&r.rule, false)))
            .collect()
    }

    /// The flows that a filter selects, in the order of the statistics reply.
    pub fn dump(&self, filter: &str, stats: bool) -> Vec<String> {
        let request = if filter.is_empty() {
            FlowStatsRequest::all()
        } else {
            parse_stats_request(filter, &Names::none()).unwrap().value
        };
        let rules = self.tables.stats(&request).unwrap();
        rules.iter().map(|r| self.line(r, stats)).collect()
    }

    fn line(&self, rule: &ofproto::rule::Rule, stats: bool) -> String {
        let flow = FlowStats {
            fields: rule.to_match(),
            cookie: rule.cookie,
            table_id: rule.table_id,
            priority: rule.priority as u16,
            idle_timeout: rule.idle_timeout,
            hard_timeout: rule.hard_timeout,
            importance: rule.importance,
            duration: self.now - rule.created,
            idle_age: Some((self.now - rule.stats.used()).as_secs() as u16),
            hard_age: Some((self.now - rule.modified).as_secs() as u16),
            packet_count: rule.stats.packets(),
            byte_count: rule.stats.bytes(),
            flags: rule.flags,
            actions: rule.actions.to_vec(),
        };
        let mut out = String::new();
        flow_print::write_flow_stats(&mut out, &flow, Version::Of13, &Names::none(), stats);
        out
    }
}
