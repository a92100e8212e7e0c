//! `ofproto/trace`: what would happen to a packet, and why.
//!
//! Syntax: `ofproto/trace BRIDGE FLOW` with a flow of ovs-fields(7), or `ofproto/trace [DATAPATH]
//! ODP_FLOW` with a datapath flow of `dpctl/dump-flows`. Translation is the same function that
//! answers real packets; nothing is sent, learnt or counted.
//!
//! The text is [`ofproto::trace`]'s. Source: ovs-vswitchd(8), "ofproto/trace".

use ofproto::flow_field::from_match;
use ofproto::snapshot::Snapshot;
use ofproto::trace;
use ofproto::xlate::{Start, XlateIn, xlate_traced};
use openflow::text::dp::{self, DpPortNames};
use openflow::text::{Names, flow};
use packet::{DpPort, OfPort};

type Answer = Result<String, String>;

/// Answers from one snapshot.
pub fn trace(
    snapshot: &Snapshot,
    dp_names: &dyn DpPortNames,
    max_actions: usize,
    args: &[String],
) -> Answer {
    if let Some(option) = args.iter().find(|arg| arg.starts_with('-')) {
        return Err(format!("{option}: option is not supported"));
    }
    let input = match args {
        // A datapath flow has attributes in parentheses.
        [text] | [_, text] if text.contains('(') => {
            datapath_input(snapshot, dp_names, max_actions, text)?
        }
        [bridge, text] => bridge_input(snapshot, max_actions, bridge, text)?,
        [text] => {
            return Err(format!(
                "syntax error at {text} (or the bridge name was omitted)"
            ));
        }
        [_, _, _, ..] => return Err("packet data is not supported, only a flow".to_owned()),
        [] => return Err("a flow is needed".to_owned()),
    };
    let (xlated, nodes) = xlate_traced(snapshot, &input);
    Ok(trace::text(&input, &xlated, &nodes))
}

/// A packet by its OpenFlow fields, on a bridge.
fn bridge_input(
    snapshot: &Snapshot,
    max_actions: usize,
    bridge: &str,
    text: &str,
) -> Result<XlateIn<'static>, String> {
    let bridge = snapshot
        .bridge_by_name(bridge)
        .ok_or_else(|| format!("{bridge}: unknown bridge"))?;
    let mut names = Names::none();
    for port in bridge.ports.by_number.values() {
        names.add_port(port.of_port, &port.name);
    }
    let request = flow::parse_stats_request(text, &names)
        .map_err(|error| format!("Bad openflow flow syntax: {text}: {error}"))?;
    let (mut flow, mask) = from_match(&request.value.fields)
        .map_err(|error| format!("Bad openflow flow syntax: {text}: {error}"))?;
    if mask.0.pipeline.in_port == 0 {
        flow.pipeline.in_port = OfPort::ANY.0;
    }
    let port = bridge.port(OfPort(flow.pipeline.in_port));
    flow.key.in_port = port
        .and_then(|port| port.dp_port())
        .unwrap_or(DpPort::NONE)
        .0;
    Ok(XlateIn {
        bridge: bridge.id,
        flow,
        start: Start::Received,
        max_actions,
    })
}

/// A packet by its datapath fields, on whatever bridge has the port.
fn datapath_input(
    snapshot: &Snapshot,
    names: &dyn DpPortNames,
    max_actions: usize,
    text: &str,
) -> Result<XlateIn<'static>, String> {
    let (key, _) = dp::parse_key(text, names).map_err(|error| error.to_string())?;
    XlateIn::received(snapshot, &key, max_actions)
        .ok_or_else(|| format!("port {} is in no bridge", key.in_port))
}
