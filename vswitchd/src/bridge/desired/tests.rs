//! What the database's rows come to, from rows as a server sends them.

use ovsdb::jsonrpc::Message;
use ovsdb::replica::{Replica, Session};
use packet::EthAddr;
use serde_json::{Value, json};

use super::*;

/// A replica that holds `tables`: rows by table and a name that stands for their UUID.
fn replica(tables: &Value) -> Replica {
    let mut session = Session::new(Replica::new(crate::selection::selection().unwrap()));
    let schema: Value = serde_json::from_str(crate::selection::SCHEMA).unwrap();
    session.handle_connected();
    while let Some(message) = session.poll_message() {
        let Message::Request { id, method, .. } = message else {
            continue;
        };
        let reply = match method.as_str() {
            "get_schema" => schema.clone(),
            "monitor_cond" => json!({"Database": {"9ad8d0f2-0000-4000-8000-000000000001":
                {"initial": {"name": "Open_vSwitch", "model": "standalone",
                             "connected": true, "leader": true}}}}),
            _ => json!([
                false,
                "00000000-0000-0000-0000-000000000000",
                updates(tables)
            ]),
        };
        session.handle_message(Message::reply(id, reply));
    }
    assert!(session.is_synced());
    session.replica().clone()
}

fn updates(tables: &Value) -> Value {
    let rows = |rows: &Value| -> Value {
        rows.as_object()
            .unwrap()
            .iter()
            .map(|(name, row)| (uuid(name), json!({"initial": row})))
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    tables
        .as_object()
        .unwrap()
        .iter()
        .map(|(table, all)| (table.clone(), rows(all)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// A UUID for a name of up to six letters.
fn uuid(name: &str) -> String {
    let hex: String = name.bytes().map(|b| format!("{b:02x}")).collect();
    format!("00000000-0000-4000-8000-{hex:0>12}")
}

fn refs(names: &[&str]) -> Value {
    let all: Vec<Value> = names.iter().map(|n| json!(["uuid", uuid(n)])).collect();
    json!(["set", all])
}

/// One bridge br0 with ports of one interface each; `ports` and `interfaces` add columns.
fn one_bridge(bridge: Value, ports: &[(&str, Value, Value)]) -> Desired {
    let mut port_rows = serde_json::Map::new();
    let mut interface_rows = serde_json::Map::new();
    let names: Vec<&str> = ports.iter().map(|(name, ..)| *name).collect();
    let with = |base: Value, more: &Value| {
        let mut row = base.as_object().unwrap().clone();
        row.extend(more.as_object().unwrap().clone());
        Value::Object(row)
    };
    for (name, port, interface) in ports {
        port_rows.insert(
            (*name).to_owned(),
            with(json!({"name": name, "interfaces": refs(&[name])}), port),
        );
        interface_rows.insert((*name).to_owned(), with(json!({"name": name}), interface));
    }
    let bridge = with(json!({"name": "br0", "ports": refs(&names)}), &bridge);
    desired(&replica(&json!({
        "Open_vSwitch": {"root": {"bridges": refs(&["br"]), "next_cfg": 7}},
        "Bridge": {"br": bridge},
        "Port": port_rows,
        "Interface": interface_rows,
    })))
}

fn map(entries: &[(&str, &str)]) -> Value {
    json!(["map", entries])
}

#[test]
fn an_empty_database_asks_for_nothing() {
    assert_eq!(desired(&replica(&json!({}))), Desired::default());
}

#[test]
fn vlan_modes() {
    let none = || json!({});
    let d = one_bridge(
        none(),
        &[
            ("acc", json!({"tag": 5}), none()),
            ("all", none(), none()),
            ("some", json!({"trunks": ["set", [10, 20]]}), none()),
            (
                "nat",
                json!({"tag": 7, "trunks": 10, "vlan_mode": "native-untagged"}),
                none(),
            ),
            (
                "tunnel",
                json!({"vlan_mode": "dot1q-tunnel", "tag": 5}),
                none(),
            ),
        ],
    );
    assert_eq!(d.next_cfg, 7);
    let ports = &d.bridges["br0"].ports;
    assert_eq!(ports["acc"].vlan, VlanMode::Access(5));
    assert_eq!(
        (ports["all"].vlan, &ports["all"].trunks),
        (VlanMode::Trunk, &None)
    );
    assert_eq!(ports["some"].trunks, Some([10, 20].into()));
    assert_eq!(ports["nat"].vlan, VlanMode::NativeUntagged(7));
    assert_eq!(
        ports["nat"].trunks,
        Some([7, 10].into()),
        "the native VLAN is carried"
    );
    assert!(ports["tunnel"].interfaces[0].problem.is_some());
    assert_eq!(
        ports["br0"].interfaces[0].kind,
        Kind::Local,
        "a bridge has a local port without a row for it"
    );
}

#[test]
fn kinds_of_interfaces() {
    let none = || json!({});
    let d = one_bridge(
        none(),
        &[
            ("br0", none(), json!({"type": "internal"})),
            (
                "in1",
                none(),
                json!({"type": "internal", "mac": "02:00:00:00:00:09"}),
            ),
            ("eth9", none(), json!({"ofport_request": 9, "ofport": 4})),
            (
                "pa",
                none(),
                json!({"type": "patch", "options": map(&[("peer", "pb")])}),
            ),
            ("pb", none(), json!({"type": "patch"})),
            (
                "pc",
                none(),
                json!({"type": "patch", "options": map(&[("peer", "in1")])}),
            ),
            ("vx", none(), json!({"type": "vxlan"})),
            ("a/b", none(), none()),
        ],
    );
    let find = |name: &str| d.bridges["br0"].ports[name].interfaces[0].clone();
    assert_eq!(find("br0").kind, Kind::Local);
    assert_eq!(find("in1").mac, Some(EthAddr([2, 0, 0, 0, 0, 9])));
    assert_eq!(
        (find("eth9").ofport_request, find("eth9").ofport_before),
        (Some(9), Some(4))
    );
    assert_eq!(find("pa").kind.device(), None);
    assert_eq!(find("pa").problem, None);
    assert!(find("pb").problem.unwrap().contains("peer"));
    assert!(find("pc").problem.unwrap().contains("in1"));
    assert!(find("vx").problem.unwrap().contains("vxlan"));
    assert!(
        find("a/b")
            .problem
            .unwrap()
            .starts_with("could not open network device a/b")
    );
}

#[test]
fn datapath_ids_and_addresses() {
    assert_eq!(parse_datapath_id("00000000000000ff"), Some(255));
    assert_eq!(parse_datapath_id("0xff"), Some(255));
    for bad in [
        "",
        "0x",
        "ff",
        "0000000000000000",
        "0x12345678123456789",
        "+000000000000001",
    ] {
        assert_eq!(parse_datapath_id(bad), None, "{bad}");
    }
    assert_eq!(
        parse_mac("2:0:0:0:0:ff"),
        Some(EthAddr([2, 0, 0, 0, 0, 0xff]))
    );
    for bad in [
        "",
        "1:2:3:4:5",
        "1:2:3:4:5:6:7",
        "1:2:3:4:5:g",
        "001:2:3:4:5:6",
        "+1:2:3:4:5:6",
    ] {
        assert_eq!(parse_mac(bad), None, "{bad}");
    }
}

#[test]
fn bridges_that_cannot_be_are_named() {
    let d = desired(&replica(&json!({
        "Open_vSwitch": {"root": {"bridges": refs(&["b1", "b2"])}},
        "Bridge": {
            "b1": {"name": "a/b"},
            "b2": {"name": "br2", "datapath_type": "dpdk"},
        },
    })));
    assert!(d.bridges.is_empty());
    let text = d.problems.join("\n");
    assert!(text.contains("a/b") && text.contains("dpdk"), "{text}");
}

#[test]
fn one_interface_in_two_ports() {
    let d = desired(&replica(&json!({
        "Open_vSwitch": {"root": {"bridges": refs(&["br"])}},
        "Bridge": {"br": {"name": "br0", "ports": refs(&["p1", "p2"])}},
        "Port": {
            "p1": {"name": "p1", "interfaces": refs(&["i1"])},
            "p2": {"name": "p2", "interfaces": refs(&["i1", "i2"])},
        },
        "Interface": {"i1": {"name": "i1"}, "i2": {"name": "i2"}},
    })));
    let problems: Vec<Option<String>> = d.bridges["br0"]
        .interfaces()
        .filter(|i| i.kind != Kind::Local)
        .map(|i| i.problem.clone())
        .collect();
    assert_eq!(
        problems.iter().filter(|p| p.is_none()).count(),
        1,
        "{problems:?}"
    );
}

/// The row's own setting, else the bridge's, else 100; within what the manual allows.
#[test]
fn queues_of_controllers() {
    let controller = |columns: Value| {
        let mut row = columns;
        row["target"] = json!("tcp:127.0.0.1");
        row
    };
    let sizes = |other_config: Value| {
        let d = desired(&replica(&json!({
            "Open_vSwitch": {"root": {"bridges": refs(&["br"])}},
            "Bridge": {"br": {
                "name": "br0",
                "controller": refs(&["none", "own", "many"]),
                "other_config": other_config,
            }},
            "Controller": {
                "none": controller(json!({})),
                "own": controller(json!({"controller_queue_size": 5})),
                "many": controller(json!({"controller_queue_size": 100_000})),
            },
        })));
        let mut sizes: Vec<usize> = d.bridges["br0"]
            .controllers
            .values()
            .map(|c| c.queue_size)
            .collect();
        sizes.sort_unstable();
        sizes
    };
    assert_eq!(sizes(map(&[])), [5, 100, 512]);
    assert_eq!(
        sizes(map(&[("controller-queue-size", "300")])),
        [5, 300, 512]
    );
    assert_eq!(sizes(map(&[("controller-queue-size", "x")])), [5, 100, 512]);
}

#[test]
fn flow_tables() {
    let d = desired(&replica(&json!({
        "Open_vSwitch": {"root": {"bridges": refs(&["br"])}},
        "Bridge": {"br": {"name": "br0", "flow_tables": ["map", [
            [0, ["uuid", uuid("a")]], [7, ["uuid", uuid("b")]], [254, ["uuid", uuid("c")]],
        ]]}},
        "Flow_Table": {
            "a": {
                "name": "first", "flow_limit": 3, "overflow_policy": "evict",
                "groups": ["set", ["NXM_OF_IN_PORT[]", "NXM_NX_REG0[0..3]", "nonsense[]"]],
                "prefixes": ["set", ["nw_dst", "ipv6_src", "tun_id"]],
            },
            "b": {"prefixes": "none"},
            "c": {"name": "beyond"},
        },
    })));
    let tables = &d.bridges["br0"].flow_tables;
    assert_eq!(tables.keys().copied().collect::<Vec<_>>(), [0, 7]);
    let first = &tables[&0];
    assert_eq!((first.name.as_str(), first.max_rules), ("first", 3));
    assert!(first.evicts);
    let groups: Vec<_> = first.groups.iter().map(|g| (g.offset, g.bits)).collect();
    assert_eq!(groups, [(0, 4), (0, 16)]);
    use ofproto::classifier_pattern::PrefixField;
    assert_eq!(first.prefixes, [PrefixField::Ipv6Src, PrefixField::Ipv4Dst]);
    let second = &tables[&7];
    assert_eq!(second.prefixes, []);
    let default = ofproto::table::TableConf::default();
    assert_eq!(
        (second.max_rules, second.evicts),
        (default.max_rules, false)
    );
    assert_eq!(
        d.problems,
        [
            "prefixes=tun_id of Flow_Table first is not supported (tunnels have no fields yet)",
            "groups=nonsense[] of Flow_Table first is not supported (nonsense[]: unknown field \
             `nonsense')",
            "Flow_Table beyond of Bridge br0 is not supported (tables are 0 to 253)",
        ]
    );
}
