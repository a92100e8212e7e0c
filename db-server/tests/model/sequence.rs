//! One sequence: transactions put to a server and to the reference, answers and contents compared.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::peer::{Notes, Peer};
use super::reference::schema::Schema;
use super::reference::value::{Atom, Datum};
use super::reference::{self, Answer, Outcome, Tables};
use super::replica::{Replica, empty, selected};
use super::source::Source;
use super::transactions;

/// What happened, over all sequences.
#[derive(Debug, Default)]
pub struct Counts {
    pub sequences: usize,
    pub committed: usize,
    /// Transactions by error.
    pub refused: BTreeMap<&'static str, usize>,
    pub updates: usize,
    pub lost: usize,
    /// Times that the client lagged and caught up.
    pub lagged: usize,
    pub reopened: usize,
    /// Sequences ended at a documented departure from ovsdb-server.
    pub departed: usize,
}

/// Runs up to `length` transactions. `as_stock` ends the sequence where the RFC and ovsdb-server
/// part.
///
/// Errors: the first difference.
pub fn run(
    source: &mut Source<'_>,
    schema: &Schema,
    peer: &mut dyn Peer,
    length: usize,
    as_stock: bool,
    counts: &mut Counts,
) -> Result<(), String> {
    let mut run = Run {
        schema,
        rows: empty(schema),
        durable: empty(schema),
        held: Notes::new(),
        versions: BTreeMap::new(),
        durable_versions: BTreeMap::new(),
        monitors: Vec::new(),
        peer,
        counts,
    };
    run.counts.sequences += 1;
    run.call("lock", json!([schema.name]))?;
    for version in [1, 2, 3, 3] {
        let monitor = Replica::random(source, schema, version, run.monitors.len());
        run.monitors.push(monitor);
    }
    for _ in 0..1 + source.below(length) {
        if source.is_empty() {
            break;
        }
        run.monitor_requests(source)?;
        if source.chance(10) {
            run.lag(true)?;
        }
        let operations = transactions::transaction(source, schema, &run.rows);
        let went_on = run
            .transact(source, &operations, as_stock)
            .map_err(|error| format!("{}\n{error}", Value::Array(operations)))?;
        if !went_on {
            run.counts.departed += 1;
            return Ok(());
        }
    }
    run.settle(true)?;
    run.lag(false)?;
    run.reopen()
}

struct Run<'a> {
    schema: &'a Schema,
    /// The reference's rows, and those of the latest durable state.
    rows: Tables,
    durable: Tables,
    /// Updates that wait until what they tell of is durable.
    held: Notes,
    versions: BTreeMap<String, String>,
    durable_versions: BTreeMap<String, String>,
    monitors: Vec<Replica>,
    peer: &'a mut dyn Peer,
    counts: &'a mut Counts,
}

impl Run<'_> {
    fn call(&mut self, method: &str, params: Value) -> Result<Value, String> {
        let (notes, reply) = self.peer.call(method, params.clone());
        self.held.extend(notes);
        reply.map_err(|error| format!("{method} {params}: {error}"))
    }

    fn lags(&mut self) -> bool {
        self.peer.core().is_some_and(|core| core.lags())
    }

    /// The client ceases to be told what its monitors show, or is told all of it at once.
    fn lag(&mut self, lags: bool) -> Result<(), String> {
        let Some(core) = self.peer.core().filter(|core| core.lags() != lags) else {
            return Ok(());
        };
        self.held.extend(core.set_lags(lags));
        if lags {
            return Ok(());
        }
        self.counts.lagged += 1;
        self.deliver()
            .map_err(|error| format!("caught up: {error}"))
    }

    /// Starts, changes or cancels a monitor; only when nothing waits to become durable.
    fn monitor_requests(&mut self, source: &mut Source<'_>) -> Result<(), String> {
        // Lost transactions would take the monitors' contents along.
        if self.rows != self.durable || !self.held.is_empty() {
            return Ok(());
        }
        let schema = self.schema;
        for i in 0..self.monitors.len() {
            let monitor = &mut self.monitors[i];
            let id = monitor.id().clone();
            if !monitor.watching {
                if source.chance(60) {
                    let (method, params) = monitor.request(&schema.name);
                    let reply = self.call(method, params)?;
                    self.monitors[i].started(schema, &reply)?;
                    self.monitors[i].check(schema, &self.rows)?;
                }
            } else if source.chance(4) {
                self.call("monitor_cancel", json!([id]))?;
                // One that lags is told before what happened.
                self.deliver()?;
                self.monitors[i].watching = false;
            } else if monitor.has_conditions() && source.chance(10) {
                let params = monitor.change(source, schema, &self.rows);
                self.call("monitor_cond_change", params.clone())?;
                // An update may come after the reply.
                self.call("echo", json!([]))?;
                self.deliver()
                    .and_then(|()| self.monitors[i].check(schema, &self.rows))
                    .map_err(|error| format!("after {params}: {error}"))?;
            }
        }
        Ok(())
    }

    /// False at a documented departure.
    fn transact(
        &mut self,
        source: &mut Source<'_>,
        operations: &[Value],
        as_stock: bool,
    ) -> Result<bool, String> {
        let mut params = vec![json!(self.schema.name)];
        params.extend_from_slice(operations);
        let reply = self.call("transact", Value::Array(params))?;
        let results = reply.as_array().ok_or("results are no array")?;
        let given: Vec<Option<String>> = (0..operations.len())
            .map(|i| Some(results.get(i)?.get("uuid")?.get(1)?.as_str()?.to_owned()))
            .collect();
        // Who writes instead holds no lock.
        let locks = [self.schema.name.as_str()];
        let locks = &locks[usize::from(self.lags())..];
        let outcome = reference::transact(self.schema, &self.rows, operations, &given, locks);
        if as_stock && outcome.departs {
            return Ok(false);
        }
        self.compare(operations, results, &outcome)?;
        match outcome.answers.iter().find_map(|answer| match answer {
            Answer::Error(error) => Some(*error),
            _ => None,
        }) {
            Some(error) => *self.counts.refused.entry(error).or_default() += 1,
            None => self.counts.committed += 1,
        }
        let old = std::mem::replace(&mut self.rows, outcome.after);
        self.contents(&old)?;
        let waits = self.peer.core().is_some_and(|core| core.has_unsynced());
        let settled = match (waits, source.below(12)) {
            // A client that lags would be disconnected.
            (true, 0) if !self.lags() => self.settle(false),
            (true, 1..4) => Ok(()),
            // What no record is under way for is told at once, and stays.
            _ => self.settle(true),
        };
        settled?;
        let durable = self.rows == self.durable && self.held.is_empty();
        if durable && source.chance(30) {
            self.lag(false)?;
        }
        self.check_derived().map(|()| true)
    }

    fn check_derived(&mut self) -> Result<(), String> {
        self.peer.core().map_or(Ok(()), |core| core.check_derived())
    }

    fn compare(
        &self,
        operations: &[Value],
        results: &[Value],
        outcome: &Outcome,
    ) -> Result<(), String> {
        let agrees = |i: usize, answer: &Answer, result: &Value| match answer {
            Answer::Uuid(uuid) => outcome.guessed || *result == json!({"uuid": ["uuid", uuid]}),
            Answer::Count(count) => *result == json!({"count": count}),
            Answer::Rows(_) if outcome.guessed => result.get("rows").is_some(),
            Answer::Rows(rows) => {
                let table = operations[i]["table"].as_str().unwrap_or_default();
                let read = |json: &Value| {
                    let (uuid, mut row) = selected(self.schema, table, json).ok()?;
                    if let Some(uuid) = uuid {
                        row.insert("_uuid".to_owned(), Datum::from([(uuid, None)]));
                    }
                    Some(row)
                };
                let got = result.get("rows").and_then(Value::as_array);
                let got: Option<Vec<_>> = got.and_then(|rows| rows.iter().map(read).collect());
                got.is_some_and(|mut got| {
                    got.sort();
                    got == *rows
                })
            }
            Answer::Empty => *result == json!({}),
            Answer::Error(error) => result["error"] == json!(error),
            Answer::Null => result.is_null(),
        };
        let same = results.len() == outcome.answers.len()
            && outcome
                .answers
                .iter()
                .zip(results)
                .enumerate()
                .all(|(i, (answer, result))| agrees(i, answer, result));
        if same {
            return Ok(());
        }
        Err(format!(
            "got {}\nexpected {:?}\nrows {:?}",
            Value::from(results),
            outcome.answers,
            self.rows
        ))
    }

    /// Compares all rows, and that versions change exactly with them.
    fn contents(&mut self, old: &Tables) -> Result<(), String> {
        let mut params = vec![json!(self.schema.name)];
        for name in self.schema.tables.keys() {
            params.push(json!({"op": "select", "table": name, "where": []}));
        }
        let reply = self.call("transact", Value::Array(params))?;
        let mut got = empty(self.schema);
        let mut versions = BTreeMap::new();
        for (i, name) in self.schema.tables.keys().enumerate() {
            let rows = reply[i]["rows"].as_array().ok_or("no rows")?;
            for json in rows {
                let (uuid, row) = selected(self.schema, name, json)?;
                let Some(Atom::Uuid(uuid)) = uuid else {
                    return Err(format!("no _uuid in {json}"));
                };
                let version = json["_version"][1].as_str().unwrap_or_default().to_owned();
                versions.insert(format!("{name} {uuid}"), version);
                got.get_mut(name).expect("every table").insert(uuid, row);
            }
        }
        if got != self.rows {
            return Err(format!("got rows {got:?}\nexpected {:?}", self.rows));
        }
        for (name, rows) in &got {
            for (uuid, row) in rows {
                let place = format!("{name} {uuid}");
                let same_row = old[name].get(uuid) == Some(row);
                let same_version = self.versions.get(&place) == versions.get(&place);
                if same_row != same_version {
                    return Err(format!(
                        "{place}: row kept {same_row}, version {same_version}"
                    ));
                }
            }
        }
        self.versions = versions;
        Ok(())
    }

    /// The records become durable, or are lost with their transactions.
    fn settle(&mut self, durable: bool) -> Result<(), String> {
        if let Some(core) = self.peer.core().filter(|core| core.has_unsynced()) {
            core.settle(durable);
        }
        if durable {
            self.durable = self.rows.clone();
            self.durable_versions = self.versions.clone();
            return self.deliver();
        }
        self.counts.lost += 1;
        self.held.clear();
        self.rows = self.durable.clone();
        // Versions go back to those of the durable state.
        self.versions = self.durable_versions.clone();
        self.contents(&self.durable.clone())?;
        self.deliver()
    }

    /// Gives the updates to the monitors' copies and compares those with the rows.
    fn deliver(&mut self) -> Result<(), String> {
        for (method, params) in std::mem::take(&mut self.held) {
            self.counts.updates += 1;
            let monitor = self
                .monitors
                .iter_mut()
                .find(|monitor| *monitor.id() == params[0] && monitor.watching)
                .ok_or_else(|| format!("{method} {params} for no monitor"))?;
            monitor.notified(self.schema, &method, &params)?;
        }
        if self.lags() {
            return Ok(());
        }
        for monitor in self.monitors.iter().filter(|monitor| monitor.watching) {
            monitor.check(self.schema, &self.rows)?;
        }
        Ok(())
    }

    /// The file holds the rows, but for what is ephemeral.
    fn reopen(&mut self) -> Result<(), String> {
        let Some(core) = self.peer.core() else {
            return Ok(());
        };
        let mut core = core.reopened(self.schema)?;
        self.counts.reopened += 1;
        let mut rows = self.rows.clone();
        for (name, rows) in &mut rows {
            let columns = &self.schema.tables[name].columns;
            for row in rows.values_mut() {
                for (name, column) in columns.iter().filter(|(_, column)| column.ephemeral) {
                    row.insert(name.clone(), reference::value::default_datum(column));
                }
            }
        }
        let mut again = Run {
            schema: self.schema,
            rows,
            durable: empty(self.schema),
            held: Notes::new(),
            versions: BTreeMap::new(),
            durable_versions: BTreeMap::new(),
            monitors: Vec::new(),
            peer: &mut core,
            counts: self.counts,
        };
        again
            .contents(&empty(self.schema))
            .map_err(|error| format!("read from the file: {error}"))
    }
}
