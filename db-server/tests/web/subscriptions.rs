//! Monitors as subscriptions.

use std::time::Duration;

use jsonrpsee::client_transport::ws::{Url, WsTransportClientBuilder};
use jsonrpsee::core::client::{Client, ClientT, Subscription, SubscriptionClientT};
use jsonrpsee::core::params::ArrayParams;
use serde_json::{Value, json};

use crate::client::{Server, WebSocket};
use crate::insert;

fn rows(update: &Value) -> Vec<Value> {
    let table = update["updates"]["Queue"].as_object();
    table.map_or_else(Vec::new, |rows| rows.values().cloned().collect())
}

fn dscp(n: i64) -> Value {
    json!({"op": "insert", "table": "Queue", "row": {"dscp": n}})
}

fn set_dscp(old: i64, new: i64) -> Value {
    json!({"op": "update", "table": "Queue", "where": [["dscp", "==", old]],
        "row": {"dscp": new}})
}

#[test]
fn conditions_follow_changes_made_over_ovsdb() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path(), &[]);
    let mut ovsdb = server.process.client();
    ovsdb.transact(&[dscp(1), dscp(2)]).unwrap();
    let mut socket = WebSocket::open(&server, &[]).ok().unwrap();
    let requests = json!({"Queue": [{"columns": ["dscp"], "where": [["dscp", "==", 1]]}]});
    let params = json!({"database": "Open_vSwitch", "requests": requests});
    let (subscription, first) = socket.subscribe(params);
    assert_eq!(first["found"], false);
    assert_eq!(rows(&first), [json!({"initial": {"dscp": 1}})]);
    // Not in the condition: not heard of. The next one is, as an insert.
    ovsdb.transact(&[dscp(3)]).unwrap();
    ovsdb.transact(&[set_dscp(2, 1)]).unwrap();
    let update = socket.update(&subscription);
    assert_eq!(rows(&update), [json!({"insert": {"dscp": 1}})]);
    assert_ne!(update["last_txn_id"], first["last_txn_id"]);
    ovsdb.transact(&[set_dscp(1, 4)]).unwrap();
    let update = socket.update(&subscription);
    assert_eq!(
        rows(&update),
        [json!({"delete": null}), json!({"delete": null})]
    );
    // No more after the end of the subscription, which the server forgets.
    assert_eq!(server.memory("monitors"), 1);
    let answer = socket.call("monitor_cancel", json!([subscription]));
    assert_eq!(answer["result"], true);
    let answer = socket.call("monitor_cancel", json!([subscription]));
    assert_eq!(answer["result"], false);
    server.wait_memory("monitors", 0);
    ovsdb.transact(&[dscp(1)]).unwrap();
    assert_eq!(socket.call("echo", json!(["x"]))["result"], json!(["x"]));
    // Nor of a client that has left.
    let (_, _) = socket.subscribe(json!(["Open_vSwitch", {"Queue": {}}]));
    assert_eq!(server.memory("monitors"), 1);
    drop(socket);
    server.wait_memory("monitors", 0);
    drop(ovsdb);
    server.wait_memory("sessions", 0);
}

#[test]
fn errors_of_subscriptions() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path(), &[]);
    let mut socket = server.websocket();
    let mut ovsdb = server.process.client();
    let zero = "00000000-0000-0000-0000-000000000000";
    for params in [
        json!(["nope", {}, zero]),
        json!(["Open_vSwitch", {"Nope": {}}, zero]),
        json!(["Open_vSwitch", {"Queue": {"columns": ["nope"]}}, zero]),
        json!(["Open_vSwitch", {"Queue": {"where": [["dscp", "==", "x"]]}}, zero]),
        json!(["Open_vSwitch", {}, "not a UUID"]),
    ] {
        let error = socket.call("monitor", params.clone())["error"].clone();
        assert_eq!(error["code"], 1, "{error}");
        let mut same = params.as_array().unwrap().clone();
        same.insert(1, json!(1));
        let expected = ovsdb.call("monitor_cond_since", Value::Array(same));
        let expected = expected.unwrap().unwrap_err();
        assert_eq!(error["data"]["error"], expected["error"]);
        assert_eq!(error["data"]["details"], expected["details"]);
    }
    for params in [
        json!([]),
        json!(["Open_vSwitch"]),
        json!([1, {}]),
        json!({"requests": {}}),
    ] {
        let error = socket.call("monitor", params)["error"].clone();
        assert_eq!(error["code"], -32602, "{error}");
    }
    // In a batch there would be two answers.
    socket.send(
        r#"[{"jsonrpc":"2.0","id":77,"method":"monitor","params":["Open_vSwitch",{}]},
            {"jsonrpc":"2.0","id":78,"method":"echo","params":[1]}]"#,
    );
    let answers = socket.receive().unwrap();
    assert_eq!(answers[0]["error"]["code"], -32601);
    assert_eq!(answers[1]["result"], json!([1]));
    drop(ovsdb);
    server.wait_memory("monitors", 0);
}

#[test]
fn own_updates_come_before_the_reply() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path(), &[]);
    let mut socket = server.websocket();
    let requests = json!({"Queue": [{"columns": ["external_ids"]}]});
    let (one, _) = socket.subscribe(json!(["Open_vSwitch", requests]));
    let (two, _) = socket.subscribe(json!(["Open_vSwitch", requests]));
    for n in 0..50 {
        let text = "x".repeat(n * 1000);
        let id = socket.request("transact", json!(["Open_vSwitch", insert(&text)]));
        assert_eq!(rows(&socket.update(&one)).len(), 1);
        assert_eq!(rows(&socket.update(&two)).len(), 1);
        let reply = socket.receive().unwrap();
        assert_eq!(reply["id"], id, "{reply}");
    }
}

#[test]
fn resumed_with_what_was_missed() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path(), &[]);
    let requests = json!({"Queue": [{"columns": ["dscp"]}]});
    let mut socket = server.websocket();
    server.transact(json!([dscp(1)]));
    let (_, first) = socket.subscribe(json!(["Open_vSwitch", requests]));
    let last = first["last_txn_id"].clone();
    drop(socket);
    server.transact(json!([dscp(2)]));
    server.transact(json!([set_dscp(1, 3)]));
    let mut socket = server.websocket();
    let (_, first) = socket.subscribe(json!(["Open_vSwitch", requests, last]));
    assert_eq!(first["found"], true);
    let mut missed = rows(&first);
    missed.sort_by_key(Value::to_string);
    // `dscp` is an optional integer: a set, of which the difference is told.
    assert_eq!(missed[0], json!({"insert": {"dscp": 2}}));
    assert_eq!(missed[1], json!({"modify": {"dscp": 3}}));
    assert_eq!(missed.len(), 2);
    let unknown = "01234567-89ab-cdef-0123-456789abcdef";
    let (_, first) = socket.subscribe(json!(["Open_vSwitch", requests, unknown]));
    assert_eq!(first["found"], false);
    assert_eq!(rows(&first).len(), 2);
}

#[test]
fn another_client() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path(), &[]);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let url = Url::parse(&format!("ws://127.0.0.1:{}", server.port)).unwrap();
        let transport = WsTransportClientBuilder::default().build(url).await;
        let (sender, receiver) = transport.unwrap();
        let client: Client = Client::builder().build_with_tokio(sender, receiver);
        let names: Vec<String> = client
            .request("list_dbs", ArrayParams::new())
            .await
            .unwrap();
        assert_eq!(names, ["Open_vSwitch", "_Server"]);
        let mut params = ArrayParams::new();
        params.insert("Open_vSwitch").unwrap();
        params
            .insert(json!({"Queue": {"columns": ["dscp"]}}))
            .unwrap();
        let subscription: Result<Subscription<Value>, _> =
            client.subscribe("monitor", params, "monitor_cancel").await;
        let mut subscription = subscription.unwrap();
        let first = subscription.next().await.unwrap().unwrap();
        assert_eq!(first["updates"], json!({}));
        server.transact(json!([dscp(7)]));
        let update = tokio::time::timeout(Duration::from_secs(20), subscription.next()).await;
        let update = update.unwrap().unwrap().unwrap();
        assert_eq!(rows(&update), [json!({"insert": {"dscp": 7}})]);
        subscription.unsubscribe().await.unwrap();
        server.wait_memory("monitors", 0);
    });
}
