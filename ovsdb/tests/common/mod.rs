//! A small database server without I/O: one table, one client, conditions, history, transactions.
//!
//! It answers as ovsdb-server(7) says and is written from that text, so that the client is not
//! compared with itself.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::sync::Arc;

use ovsdb::jsonrpc::Message;
use ovsdb::{DatabaseSchema, Uuid};
use serde_json::{Map, Value, json};

/// Name and tag of each row.
pub type Rows = BTreeMap<Uuid, (String, i64)>;

pub fn schema_json() -> Value {
    json!({
        "name": "Db",
        "version": "1.0.0",
        "tables": {"Port": {"isRoot": true, "columns": {
            "name": {"type": "string"},
            "tag": {"type": "integer"}}}},
    })
}

pub fn schema() -> Arc<DatabaseSchema> {
    Arc::new(DatabaseSchema::from_json(&schema_json()).unwrap())
}

pub fn uuid(n: u128) -> Uuid {
    Uuid::from_u128(n)
}

/// The contents after one transaction.
#[derive(Debug, Clone)]
struct Version {
    id: Uuid,
    rows: Rows,
}

/// What one client monitors.
#[derive(Debug)]
struct Monitor {
    id: Value,
    condition: Value,
}

#[derive(Debug)]
pub struct Server {
    versions: Vec<Version>,
    ids: u128,
    monitor: Option<Monitor>,
    /// The methods and parameters that came, in order.
    pub asked: Vec<(String, Value)>,
    /// Whether the history is kept.
    pub remembers: bool,
    /// Whether this member leads its cluster.
    pub leader: bool,
    out: Vec<Message>,
}

impl Server {
    pub fn new(rows: Rows) -> Self {
        Self {
            versions: vec![Version {
                id: uuid(1000),
                rows,
            }],
            ids: 1000,
            monitor: None,
            asked: Vec::new(),
            remembers: true,
            leader: true,
            out: Vec::new(),
        }
    }

    pub fn rows(&self) -> &Rows {
        &self.versions.last().unwrap().rows
    }

    /// The rows that a `where` array selects.
    pub fn selected(&self, condition: &Value) -> Rows {
        select(self.rows(), condition)
    }

    /// Forgets all but the newest contents.
    pub fn forget(&mut self) {
        self.versions.drain(..self.versions.len() - 1);
    }

    /// The connection is another.
    pub fn disconnect(&mut self) {
        self.monitor = None;
        self.out.clear();
    }

    /// What goes to the client.
    pub fn take_output(&mut self) -> Vec<Message> {
        std::mem::take(&mut self.out)
    }

    /// A transaction of somebody.
    pub fn commit(&mut self, rows: Rows) {
        let old = self.rows().clone();
        self.ids += 1;
        let id = uuid(self.ids);
        if let Some(monitor) = &self.monitor {
            let before = select(&old, &monitor.condition);
            let after = select(&rows, &monitor.condition);
            self.push_update(id, &before, &after);
        }
        self.versions.push(Version { id, rows });
        if !self.remembers {
            self.forget();
        }
    }

    pub fn handle(&mut self, message: Message) {
        let Message::Request { id, method, params } = message else {
            return;
        };
        self.asked.push((method.clone(), params.clone()));
        let reply = match method.as_str() {
            "echo" => params,
            "get_schema" => schema_json(),
            "monitor_cond" => {
                assert_eq!(params[0], json!("_Server"), "the client knows better");
                json!({"Database": {uuid(7).to_string(): {"initial": {
                    "name": "Db", "model": "clustered", "connected": true,
                    "leader": self.leader, "index": 5}}}})
            }
            "monitor_cond_since" => self.monitor_since(&params),
            "monitor_cond_change" => {
                self.change(&params);
                json!({})
            }
            "transact" => self.transact(&params),
            "lock" => json!({"locked": true}),
            other => panic!("{other}"),
        };
        self.out.push(Message::reply(id, reply));
    }

    fn monitor_since(&mut self, params: &Value) -> Value {
        let last = Uuid::parse_str(params[3].as_str().unwrap()).unwrap();
        let request = &params[2]["Port"][0];
        let condition = request.get("where").cloned().unwrap_or(json!([true]));
        let now = self.versions.last().unwrap().clone();
        let after = select(&now.rows, &condition);
        let past = self.versions.iter().find(|version| version.id == last);
        let before = past.map(|past| select(&past.rows, &condition));
        self.monitor = Some(Monitor {
            id: params[1].clone(),
            condition,
        });
        let updates = difference(&before.clone().unwrap_or_default(), &after);
        json!([before.is_some(), now.id.to_string(), {"Port": updates}])
    }

    fn change(&mut self, params: &Value) {
        let monitor = self.monitor.as_mut().expect("a monitor");
        assert_eq!(params[0], monitor.id);
        let condition = params[2]["Port"][0]["where"].clone();
        let old = std::mem::replace(&mut monitor.condition, condition.clone());
        let now = self.versions.last().unwrap().clone();
        let (before, after) = (select(&now.rows, &old), select(&now.rows, &condition));
        // Before the reply, as ovsdb-server does.
        self.push_update(now.id, &before, &after);
    }

    fn push_update(&mut self, id: Uuid, before: &Rows, after: &Rows) {
        let updates = difference(before, after);
        if !updates.is_empty() {
            let monitor = &self.monitor.as_ref().unwrap().id;
            let params = json!([monitor, id.to_string(), {"Port": updates}]);
            self.out.push(Message::notification("update3", params));
        }
    }

    fn transact(&mut self, params: &Value) -> Value {
        let mut rows = self.rows().clone();
        let mut results = Vec::new();
        let target = |operation: &Value| {
            Uuid::parse_str(operation["where"][0][2][1].as_str().unwrap()).unwrap()
        };
        for operation in &params.as_array().unwrap()[1..] {
            match operation["op"].as_str().unwrap() {
                "wait" => {
                    let row = rows.get(&target(operation));
                    let tag = operation["rows"][0]["tag"].as_i64();
                    if row.map(|row| row.1) != tag {
                        results.push(json!({"error": "timed out"}));
                        return Value::Array(results);
                    }
                    results.push(json!({}));
                }
                "update" => {
                    let tag = operation["row"]["tag"].as_i64().unwrap();
                    let row = rows.get_mut(&target(operation));
                    results.push(json!({"count": i64::from(row.is_some())}));
                    row.into_iter().for_each(|row| row.1 = tag);
                }
                "insert" => {
                    self.ids += 1;
                    let name = operation["row"]["name"].as_str().unwrap_or("").to_owned();
                    let tag = operation["row"]["tag"].as_i64().unwrap_or(0);
                    rows.insert(uuid(self.ids), (name, tag));
                    results.push(json!({"uuid": ["uuid", uuid(self.ids).to_string()]}));
                }
                other => panic!("{other}"),
            }
        }
        self.commit(rows);
        Value::Array(results)
    }
}

fn select(rows: &Rows, condition: &Value) -> Rows {
    let clauses = condition.as_array().unwrap();
    let holds = |tag: i64| {
        clauses.iter().any(|clause| match clause {
            Value::Bool(flag) => *flag,
            clause => clause[0] == "tag" && clause[1] == "==" && clause[2] == tag,
        })
    };
    rows.iter()
        .filter(|(_, row)| holds(row.1))
        .map(|(uuid, row)| (*uuid, row.clone()))
        .collect()
}

/// `<table-update2>`.
fn difference(before: &Rows, after: &Rows) -> Map<String, Value> {
    let mut updates = Map::new();
    for (uuid, (name, tag)) in after {
        let update = match before.get(uuid) {
            None => json!({"insert": {"name": name, "tag": tag}}),
            Some(old) => {
                let mut columns = Map::new();
                if old.0 != *name {
                    columns.insert("name".into(), json!(name));
                }
                if old.1 != *tag {
                    columns.insert("tag".into(), json!(tag));
                }
                if columns.is_empty() {
                    continue;
                }
                json!({"modify": columns})
            }
        };
        updates.insert(uuid.to_string(), update);
    }
    for uuid in before.keys().filter(|uuid| !after.contains_key(uuid)) {
        updates.insert(uuid.to_string(), json!({"delete": null}));
    }
    updates
}
