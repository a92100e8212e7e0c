//! The core without sockets and files: transactions, updates of monitors, reading a log.
//!
//! `cargo bench -p db-server`. For figures beside the stock server: `cargo xtask bench-db`.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use db_server::database::Database;
use db_server::server::{Output, Peer, Server};
use db_server::txn::{self, Context, Outcome, Results};
use db_server::{files, log, record};
use ovsdb::jsonrpc::Message;
use ovsdb::{DatabaseSchema, Uuid};
use serde_json::{Value, json};

/// The one of the server.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROWS: usize = 10_000;

fn schema() -> DatabaseSchema {
    let json: Value = serde_json::from_str(files::SCHEMA).unwrap();
    DatabaseSchema::from_json(&json).unwrap()
}

fn row(n: usize) -> Value {
    json!({
        "type": "linux-htb",
        "other_config": ["map", [["max-rate", n.to_string()]]],
        "external_ids": ["map", [["owner", "bench"], ["serial", n.to_string()]]],
    })
}

fn insert(n: usize) -> Value {
    json!({"op": "insert", "table": "QoS", "row": row(n)})
}

fn execute(db: &mut Database, operations: &[Value]) -> (Results, Option<txn::Committed>) {
    let mut context = Context {
        holds_lock: &|_| false,
        new_uuid: &mut Uuid::new_v4,
        elapsed: Duration::ZERO,
        access: Default::default(),
    };
    match txn::execute(db, operations, &mut context) {
        Outcome::Done {
            results, committed, ..
        } => (results, committed),
        Outcome::Wait { .. } => unreachable!("no operation waits"),
    }
}

/// A database with rows, and the UUID of one.
fn filled() -> (Database, Value) {
    let mut db = Database::new(schema());
    let inserts: Vec<Value> = (0..ROWS).map(insert).collect();
    let (results, _) = execute(&mut db, &inserts);
    (db, results.to_json()[ROWS / 2]["uuid"].clone())
}

fn transactions(c: &mut Criterion) {
    let mut group = c.benchmark_group("transaction");
    let (mut db, uuid) = filled();
    let condition = json!([["_uuid", "==", uuid]]);
    let mut n = 0usize;
    let mut run = |name: &str, operation: &dyn Fn(usize) -> Value| {
        group.bench_function(name, |b| {
            b.iter(|| {
                n += 1;
                let (_, committed) = execute(&mut db, &[operation(n)]);
                let delta = committed.expect("every one changes something").delta;
                black_box(record::encode(&db, &delta, None, 0, true))
            });
        });
    };
    run(
        "update",
        &|n| json!({"op": "update", "table": "QoS", "where": condition, "row": row(n)}),
    );
    run("mutate", &|n| {
        json!({"op": "mutate", "table": "QoS", "where": condition, "mutations": [
            ["external_ids", "delete", ["set", ["serial"]]],
            ["external_ids", "insert", ["map", [["serial", n.to_string()]]]],
        ]})
    });
    run("insert", &insert);
    group.finish();
}

fn monitors(c: &mut Criterion) {
    let mut group = c.benchmark_group("update of monitors");
    for count in [1u64, 100, 1000] {
        let mut server = Server::new(Box::new(Uuid::new_v4), true);
        server.add_database(Database::new(schema()));
        let now = Instant::now();
        for session in 0..=count {
            server.handle_connect(session, Peer::default());
        }
        let mut ask = |session: u64, method: &str, params: Value| {
            let message = Message::request(0, method, params);
            server.handle_message(session, message, now, 0);
            // How many are told of something.
            let mut count = 0usize;
            while let Some(output) = server.poll_output() {
                if let Output::Updates { group, .. } = &output {
                    count += group.sessions.len();
                }
                black_box(output);
            }
            server.handle_durable(u64::MAX);
            count
        };
        for session in 1..=count {
            let what = json!({"QoS": [{}]});
            ask(session, "monitor_cond", json!(["Open_vSwitch", "m", what]));
        }
        group.throughput(Throughput::Elements(count));
        group.bench_function(format!("{count} alike"), |b| {
            let mut n = 0usize;
            b.iter(|| {
                n += 1;
                let told = ask(0, "transact", json!(["Open_vSwitch", insert(n)]));
                assert_eq!(told as u64, count);
            });
        });
    }
    group.finish();
}

fn loading(c: &mut Criterion) {
    let (db, _) = filled();
    let mut file = log::encode(&db.schema().to_json());
    let all = record::snapshot(&db);
    file.append(&mut log::frame(
        record::encode(&db, &all, None, 0, false).unwrap(),
    ));
    let mut group = c.benchmark_group("load");
    group.throughput(Throughput::Elements(ROWS as u64));
    group.sample_size(20);
    group.bench_function("one record", |b| {
        b.iter_batched(
            || (),
            |()| {
                let loaded = log::load(&file).unwrap();
                let mut db = loaded.db;
                txn::adopt(&mut db, loaded.rows, &mut Uuid::new_v4).unwrap();
                db
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group!(benches, transactions, monitors, loading);
criterion_main!(benches);
