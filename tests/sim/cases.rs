//! Bridges, flows and a packet, to the megaflow that is installed, the datapath actions, and what
//! comes out of which port: the files under `cases/`, in the text that users know.
//!
//! A file is a list of lines, each a word and its arguments; `#` begins a comment:
//!
//! | line | meaning |
//! | --- | --- |
//! | `bridge NAME` | a bridge without rules |
//! | `port BRIDGE NUMBER [MODE=TAG] [trunks=A,B] [priority-tags=X]` | a port of the datapath |
//! | `patch BRIDGE NUMBER BRIDGE NUMBER` | joins two bridges |
//! | `flow BRIDGE FLOW` | a flow-mod |
//! | `group BRIDGE GROUP`, `meter BRIDGE METER` | a group-mod, an added meter |
//! | `link BRIDGE NUMBER up` or `down` | a port's link changes |
//! | `packet KEY` | a packet comes in |
//! | `megaflow KEY` | the packet's megaflow is this |
//! | `actions ACTIONS` | with these actions |
//! | `out PORT KEY` | this came out of a port; packets are told of all or none |
//! | `nothing` | nothing came out anywhere |
//! | `flows N` | the cache has so many megaflows |

use std::collections::BTreeMap;
use std::path::Path;

use dpif::Dpif;
use ofproto::port::{PriorityTags, VlanConf, VlanMode, VlanSet};
use ofproto::snapshot::{BridgeId, FailMode};
use openflow::text::dp::{self, NoNames};
use packet::FlowKey;

use crate::rig::{Rig, key, key_text};

#[test]
fn cases() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("sim/cases");
    let mut files: Vec<_> = std::fs::read_dir(&dir)
        .expect("the directory of cases")
        .map(|e| e.expect("an entry").path())
        .filter(|p| p.extension().is_some_and(|e| e == "txt"))
        .collect();
    files.sort();
    let mut packets = 0;
    for file in &files {
        let text = std::fs::read_to_string(file).expect("readable");
        packets += Case::new(file).run(&text);
    }
    println!("{packets} packets in {} files", files.len());
    assert!(packets > 20);
}

struct Case<'a> {
    file: &'a Path,
    rig: Rig,
    bridges: BTreeMap<String, BridgeId>,
    packet: Option<FlowKey>,
    /// What came out and was not told of yet.
    out: Vec<(u32, String)>,
    told: bool,
}

impl<'a> Case<'a> {
    fn new(file: &'a Path) -> Case<'a> {
        Case {
            file,
            rig: Rig::new(),
            bridges: BTreeMap::new(),
            packet: None,
            out: Vec::new(),
            told: false,
        }
    }

    fn run(mut self, text: &str) -> usize {
        let mut packets = 0;
        for (n, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            let at = format!("{}:{}", self.file.display(), n + 1);
            packets += usize::from(line.starts_with("packet "));
            self.line(line, &at);
        }
        self.all_told("the end");
        packets
    }

    fn line(&mut self, line: &str, at: &str) {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let args: Vec<&str> = rest.split_whitespace().collect();
        match word {
            "bridge" => {
                let id = self.rig.bridge(rest, FailMode::Secure);
                self.bridges.insert(rest.to_owned(), id);
            }
            "port" => {
                let vlan = vlan(&args[2..], at);
                let bridge = self.bridges[args[0]];
                self.rig.port(bridge, args[1].parse().expect(at), vlan);
            }
            "patch" => {
                let end = |n: usize| (self.bridges[args[n]], args[n + 1].parse().expect(at));
                let (a, b) = (end(0), end(2));
                self.rig.patch(a, b);
            }
            "flow" => {
                let (bridge, flow) = rest.split_once(' ').expect(at);
                let bridge = self.bridges[bridge];
                self.rig.flows(bridge, flow);
            }
            "group" => {
                let (bridge, group) = rest.split_once(' ').expect(at);
                self.rig.group(self.bridges[bridge], group);
            }
            "meter" => {
                let (bridge, meter) = rest.split_once(' ').expect(at);
                self.rig.meter(self.bridges[bridge], meter);
            }
            "link" => {
                let bridge = self.bridges[args[0]];
                let up = args[2] == "up";
                self.rig.link(bridge, args[1].parse().expect(at), up);
            }
            "packet" => {
                self.all_told(at);
                let key = key(rest);
                self.rig.give_key(&key);
                self.packet = Some(key);
                self.told = false;
                let ports = self.rig.sim.port_list().expect("the simulator has ports");
                for port in ports.iter().map(|p| p.port.0) {
                    let taken = self.rig.taken(port).into_iter();
                    self.out.extend(taken.map(|text| (port, text)));
                }
            }
            "megaflow" | "actions" => {
                let key = self.packet.expect(at);
                let flows = self.rig.sim.matching(&key);
                assert_eq!(flows.len(), 1, "{at}: {flows:?}");
                let mut text = String::new();
                match word {
                    "megaflow" => {
                        dp::format_key(&mut text, &flows[0].key, &flows[0].mask, &NoNames, false);
                    }
                    _ => dp::format_actions(&mut text, &flows[0].actions, &key, &NoNames),
                }
                assert_eq!(text, rest, "{at}");
            }
            "out" => {
                let (port, expected) = rest.split_once(' ').expect(at);
                let port: u32 = port.parse().expect(at);
                // What is not said is as the packet came.
                let expected = key_text(&changed(&self.packet.expect(at), expected));
                self.told = true;
                let found = self.out.iter().position(|o| *o == (port, expected.clone()));
                let found = found.unwrap_or_else(|| {
                    panic!("{at}: not among what came out: {expected}\n{:#?}", self.out)
                });
                self.out.remove(found);
            }
            "nothing" => assert!(self.out.is_empty(), "{at}: {:#?}", self.out),
            "flows" => {
                let n: usize = rest.parse().expect(at);
                assert_eq!(self.rig.megaflows().len(), n, "{at}");
            }
            _ => panic!("{at}: {word}"),
        }
    }

    /// Of a packet's outputs all are told or none.
    fn all_told(&mut self, at: &str) {
        assert!(
            !self.told || self.out.is_empty(),
            "{at}: also came out: {:#?}",
            self.out
        );
        self.out.clear();
    }
}

/// `key` with the attributes that `text` has instead of its own; `same` for none.
fn changed(key: &FlowKey, text: &str) -> FlowKey {
    if text == "same" {
        return *key;
    }
    let mut whole = crate::rig::key(text);
    whole.in_port = key.in_port;
    whole
}

fn vlan(args: &[&str], at: &str) -> VlanConf {
    let mut vlan = VlanConf::trunk_all();
    for arg in args {
        let (name, value) = arg.split_once('=').expect(at);
        let mode = match name {
            "access" => VlanMode::Access,
            "native-tagged" => VlanMode::NativeTagged,
            "native-untagged" => VlanMode::NativeUntagged,
            "trunks" => {
                let vids = value.split(',').map(|v| v.parse().expect(at));
                vlan.trunks = Some(std::sync::Arc::new(vids.collect::<VlanSet>()));
                continue;
            }
            "priority-tags" => {
                vlan.priority_tags = match value {
                    "if-nonzero" => PriorityTags::IfNonzero,
                    "always" => PriorityTags::Always,
                    _ => PriorityTags::Never,
                };
                continue;
            }
            _ => panic!("{at}: {arg}"),
        };
        (vlan.mode, vlan.tag) = (mode, value.parse().expect(at));
    }
    vlan
}
