//! The text of `ofproto/trace`.
//!
//! Source: ovs-vswitchd(8), "ofproto/trace"; the layout is the stock program's, and a test holds
//! the two together.

use std::fmt::Write as _;

use openflow::text::dp::{self, NoNames};
use openflow::text::{Names, action_print, matches, packet_print};
use openflow::{Action, Version};

use super::{Node, Trace};
use crate::flow::Flow;
use crate::rule::Rule;
use crate::xlate::{XlateIn, Xlated};

/// The whole answer of `ofproto/trace`, several lines.
pub fn text(input: &XlateIn<'_>, xlated: &Xlated, trace: &Trace) -> String {
    let mut text = format!("Flow: {}\n", flow_text(&input.flow));
    let mut lines = Lines { text: &mut text };
    let roots = siblings(trace, None);
    lines.print(trace, &roots, 0);
    text.push('\n');
    if xlated.final_flow == input.flow {
        text.push_str("Final flow: unchanged\n");
    } else {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "Final flow: {}", flow_text(&xlated.final_flow));
    }
    text.push_str("Megaflow: ");
    packet_print::write_megaflow(
        &mut text,
        &input.flow.key,
        &xlated.mask,
        Some(input.flow.in_port()),
        &Names::none(),
    );
    text.push('\n');
    let mut actions = String::new();
    dp::format_actions(&mut actions, &xlated.actions, &input.flow.key, &NoNames);
    let _ = writeln!(text, "Datapath actions: {actions}");
    if let Some(error) = &xlated.error {
        let _ = writeln!(text, "Translation failed ({error}), packet is dropped.");
    } else if let Some(reason) = xlated.drop {
        let _ = writeln!(text, "Drop reason: {}", reason.name());
    }
    if xlated.slow.is_some() {
        text.push_str(
            "This flow is handled by the userspace slow path because it:\n  \
             - Sends \"packet-in\" messages to the OpenFlow controller, or needs what the \
             datapath lacks.\n",
        );
    }
    text
}

/// The packet's fields; registers and metadata where they are not zero.
fn flow_text(flow: &Flow) -> String {
    let mut pipeline = String::new();
    for (number, value) in flow.pipeline.regs.iter().enumerate() {
        if *value != 0 {
            let _ = write!(pipeline, "reg{number}={value:#x},");
        }
    }
    if flow.pipeline.metadata != 0 {
        let _ = write!(pipeline, "metadata={:#x},", flow.pipeline.metadata);
    }
    let mut text = String::new();
    let port = Some(flow.in_port());
    packet_print::write_flow(&mut text, &flow.key, port, &Names::none());
    // They come after the name of the protocol.
    let at = text.find("in_port=").unwrap_or(0);
    text.insert_str(at, &pipeline);
    text
}

/// The nodes of one level. What an action led to stands beside the action, not under it.
fn siblings(trace: &Trace, parent: Option<usize>) -> Vec<(usize, &Node)> {
    let mut all = Vec::new();
    for (index, node) in trace.children(parent) {
        all.push((index, node));
        if matches!(node, Node::Action(_)) {
            all.extend(siblings(trace, Some(index)));
        }
    }
    all
}

struct Lines<'a> {
    text: &'a mut String,
}

impl Lines<'_> {
    fn print(&mut self, trace: &Trace, nodes: &[(usize, &Node)], level: usize) {
        for (position, (index, node)) in nodes.iter().enumerate() {
            let last = position.saturating_add(1) == nodes.len();
            let leaf = !matches!(
                node,
                Node::Bridge(_) | Node::Rule(_) | Node::Miss(_) | Node::ActionSet | Node::Bucket(_)
            );
            // The last thing that is not a leaf goes on at the level of its parent, so that a
            // chain of tables does not wander to the right.
            let deeper = usize::from(!last || leaf);
            self.node(node, level.saturating_add(deeper));
            if !matches!(node, Node::Action(_)) {
                let below = siblings(trace, Some(*index));
                self.print(trace, &below, level.saturating_add(deeper * 2));
            }
        }
    }

    fn node(&mut self, node: &Node, level: usize) {
        if matches!(node, Node::Bridge(_)) {
            self.text.push('\n');
        }
        let indent = " ".repeat(level.saturating_mul(4));
        let line = match node {
            Node::Bridge(name) => {
                let title = format!("bridge(\"{name}\")");
                format!("{title}\n{indent}{}", "-".repeat(title.len()))
            }
            Node::Rule(rule) => rule_text(rule),
            Node::Miss(table) => format!("{table:2}. No match."),
            Node::ActionSet => "--. Executing action set:".to_owned(),
            Node::Bucket(number) => format!("bucket {number}"),
            Node::Action(action) => action_text(action),
            Node::Drop => "drop".to_owned(),
            Node::Detail(text) => format!(" -> {text}"),
            Node::Warning(text) => format!(" >> {text}"),
            Node::Error(text) => format!(" >>>> {text} <<<<"),
        };
        let _ = writeln!(self.text, "{indent}{line}");
    }
}

fn rule_text(rule: &Rule) -> String {
    let mut text = format!("{:2}. ", rule.table_id);
    let start = text.len();
    matches::write(&mut text, &rule.to_match(), &Names::none());
    if text.len() > start {
        text.push_str(", ");
    }
    let _ = write!(text, "priority {}", rule.priority);
    if rule.cookie != 0 {
        let _ = write!(text, ", cookie {:#x}", rule.cookie);
    }
    text
}

fn action_text(action: &Action) -> String {
    let mut text = String::new();
    action_print::write_one(&mut text, action, Version::Of10, &Names::none());
    text
}
