//! Conditions that change while updates are under way and connections end at every step.

mod common;

use std::collections::VecDeque;

use common::{Rows, Server, schema, uuid};
use ovsdb::jsonrpc::Message;
use ovsdb::replica::{Event, Replica, Selection, SelectionError, Session};
use ovsdb::{Clause, Datum, Function};
use proptest::prelude::*;
use serde_json::{Value, json};

fn tags(tags: &[i64]) -> Vec<Clause> {
    tags.iter()
        .map(|tag| Clause::new("tag", Function::Equal, Datum::integer(*tag)))
        .collect()
}

/// The same as a `where` array.
fn array(tags: &[i64]) -> Value {
    tags.iter().map(|tag| json!(["tag", "==", tag])).collect()
}

fn rows(list: &[(u128, &str, i64)]) -> Rows {
    list.iter()
        .map(|(id, name, tag)| (uuid(*id), ((*name).to_owned(), *tag)))
        .collect()
}

fn contents(session: &Session) -> Rows {
    session
        .replica()
        .rows("Port")
        .map(|row| {
            let name: String = row.value("name").unwrap();
            (row.uuid(), (name, row.value("tag").unwrap()))
        })
        .collect()
}

/// A session, a server, and what is on its way between them.
struct Pair {
    session: Session,
    server: Server,
    to_server: VecDeque<Message>,
    to_client: VecDeque<Message>,
}

impl Pair {
    fn new(server: Server, condition: &[Clause]) -> Self {
        let mut selection = Selection::everything(schema());
        selection.condition("Port", condition).unwrap();
        let mut pair = Self {
            session: Session::new(Replica::new(selection)),
            server,
            to_server: VecDeque::new(),
            to_client: VecDeque::new(),
        };
        pair.session.handle_connected();
        pair
    }

    /// One message goes to the server; false when there was none.
    fn up(&mut self) -> bool {
        let queued = std::iter::from_fn(|| self.session.poll_message());
        self.to_server.extend(queued);
        let Some(message) = self.to_server.pop_front() else {
            return false;
        };
        self.server.handle(message);
        true
    }

    fn down(&mut self) -> bool {
        self.to_client.extend(self.server.take_output());
        let Some(message) = self.to_client.pop_front() else {
            return false;
        };
        self.session.handle_message(message);
        true
    }

    fn settle(&mut self) {
        while self.up() || self.down() {}
    }

    fn reconnect(&mut self) {
        self.to_server.clear();
        self.to_client.clear();
        self.server.disconnect();
        self.session.handle_disconnected();
        self.session.handle_connected();
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.session.poll_event()).collect()
    }

    /// The last parameters of the last request for `method`.
    fn last(&self, method: &str) -> &Value {
        let asked = self.server.asked.iter().rev();
        &asked.clone().find(|(name, _)| name == method).unwrap().1
    }
}

#[test]
fn rows_come_and_go_with_the_condition() {
    let server = Server::new(rows(&[(1, "a", 1), (2, "b", 2), (3, "c", 3)]));
    let mut pair = Pair::new(server, &tags(&[1]));
    pair.settle();
    assert_eq!(contents(&pair.session), rows(&[(1, "a", 1)]));
    assert_eq!(pair.events(), [Event::Synced]);
    assert!(pair.session.conditions_met());
    pair.session.set_condition("Port", &tags(&[2, 3])).unwrap();
    assert!(!pair.session.conditions_met());
    pair.settle();
    assert_eq!(contents(&pair.session), rows(&[(2, "b", 2), (3, "c", 3)]));
    assert_eq!(pair.events(), [Event::Updated, Event::Conditions]);
    pair.session.set_condition("Port", &[]).unwrap();
    pair.settle();
    assert_eq!(
        pair.last("monitor_cond_change")[2]["Port"][0]["where"],
        json!([false])
    );
    assert!(contents(&pair.session).is_empty());
    pair.session
        .set_condition("Port", &[Clause::Bool(true)])
        .unwrap();
    pair.settle();
    assert_eq!(contents(&pair.session).len(), 3);
    // The same again asks for nothing.
    let asked = pair.server.asked.len();
    pair.events();
    pair.session
        .set_condition("Port", &[Clause::Bool(true)])
        .unwrap();
    pair.settle();
    assert_eq!(pair.server.asked.len(), asked);
    assert_eq!(pair.events(), [Event::Conditions]);
}

#[test]
fn one_change_is_under_way_at_a_time_and_the_newest_comes_last() {
    let mut pair = Pair::new(Server::new(rows(&[(1, "a", 1), (2, "b", 2)])), &tags(&[1]));
    pair.settle();
    pair.session.set_condition("Port", &tags(&[7])).unwrap();
    pair.up();
    pair.session.set_condition("Port", &tags(&[8])).unwrap();
    pair.session.set_condition("Port", &tags(&[2])).unwrap();
    pair.settle();
    assert_eq!(contents(&pair.session), rows(&[(2, "b", 2)]));
    let changes: Vec<&Value> = pair
        .server
        .asked
        .iter()
        .filter(|(method, _)| method == "monitor_cond_change")
        .map(|(_, params)| &params[2]["Port"][0]["where"])
        .collect();
    assert_eq!(changes, [&array(&[7]), &array(&[2])]);
}

#[test]
fn resumes_with_the_conditions_that_the_contents_came_from() {
    let mut pair = Pair::new(Server::new(rows(&[(1, "a", 1), (2, "b", 2)])), &tags(&[1]));
    pair.settle();
    let last = pair.session.replica().last_id();
    pair.session.handle_disconnected();
    pair.session.set_condition("Port", &tags(&[2])).unwrap();
    pair.reconnect();
    pair.settle();
    // Row 2 is older than what was seen last: only a change of condition brings it.
    let since = pair.last("monitor_cond_since");
    assert_eq!(since[2]["Port"][0]["where"], array(&[1]));
    assert_eq!(since[3], json!(last.to_string()));
    assert_eq!(
        pair.last("monitor_cond_change")[2]["Port"][0]["where"],
        array(&[2])
    );
    assert_eq!(contents(&pair.session), rows(&[(2, "b", 2)]));
    assert!(pair.session.conditions_met());
}

#[test]
fn a_change_without_an_answer_makes_the_next_monitor_start_from_nothing() {
    for answered_with_rows in [false, true] {
        let mut pair = Pair::new(Server::new(rows(&[(1, "a", 1), (2, "b", 2)])), &tags(&[1]));
        pair.settle();
        pair.session.set_condition("Port", &tags(&[2])).unwrap();
        pair.up();
        if answered_with_rows {
            // The rows came, the answer did not.
            pair.down();
            assert_eq!(contents(&pair.session), rows(&[(2, "b", 2)]));
        }
        // Meanwhile the row goes: with the old condition nobody would tell.
        pair.server.commit(rows(&[(1, "a", 1)]));
        pair.reconnect();
        pair.settle();
        assert_eq!(
            pair.last("monitor_cond_since")[3],
            json!(uuid(0).to_string())
        );
        assert!(contents(&pair.session).is_empty());
        assert!(pair.session.conditions_met());
    }
}

#[test]
fn a_change_is_newer_than_the_last_transaction_seen() {
    let mut pair = Pair::new(Server::new(rows(&[(2, "b", 2)])), &tags(&[1]));
    pair.settle();
    // Neither this transaction nor the change of condition gives the client a row.
    pair.server.commit(rows(&[(2, "b", 3)]));
    pair.session.set_condition("Port", &tags(&[2])).unwrap();
    pair.settle();
    assert!(contents(&pair.session).is_empty());
    pair.server.disconnect();
    pair.server.commit(rows(&[(2, "b", 2)]));
    pair.reconnect();
    pair.settle();
    assert_eq!(contents(&pair.session), rows(&[(2, "b", 2)]));
}

#[test]
fn what_no_server_would_take_is_refused_at_once() {
    let mut selection = Selection::new(schema());
    let text = |error: SelectionError| error.to_string();
    let bad = Clause::new("nope", Function::Equal, Datum::integer(1));
    assert_eq!(
        selection.condition("Port", &[bad]).map_err(text),
        Err("bad condition on table Port: syntax [\"nope\",\"==\",1]: unknown column: No column nope in table Port.".into())
    );
    let bad = Clause::new("tag", Function::Equal, Datum::string("x"));
    assert!(selection.condition("Port", &[bad]).is_err());
    assert!(selection.condition("Nope", &[]).is_err());
    let mut session = Session::new(Replica::new(Selection::new(schema())));
    assert_eq!(
        session.set_condition("Port", &[]).map_err(text),
        Err("table Port is not followed".into())
    );
}

#[derive(Debug, Clone)]
enum Step {
    Up,
    Down,
    Commit(Rows),
    Condition(Vec<i64>),
    Reconnect,
    Forget,
}

fn any_rows() -> impl Strategy<Value = Rows> {
    prop::collection::btree_map(1u128..6, ("[ab]", 0i64..4), 0..5)
        .prop_map(|rows| rows.into_iter().map(|(id, row)| (uuid(id), row)).collect())
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => Just(Step::Up),
        6 => Just(Step::Down),
        4 => any_rows().prop_map(Step::Commit),
        3 => prop::collection::vec(0i64..4, 0..3).prop_map(Step::Condition),
        1 => Just(Step::Reconnect),
        1 => Just(Step::Forget),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    /// Whatever happens in whatever order, in the end the replica holds what its newest condition
    /// selects of what the server has.
    #[test]
    fn converges(start in any_rows(), steps in prop::collection::vec(any_step(), 0..60)) {
        let mut pair = Pair::new(Server::new(start), &tags(&[0, 1]));
        let mut wanted = vec![0, 1];
        for step in steps {
            match step {
                Step::Up => { pair.up(); }
                Step::Down => { pair.down(); }
                Step::Commit(rows) => pair.server.commit(rows),
                Step::Condition(condition) => {
                    pair.session.set_condition("Port", &tags(&condition)).unwrap();
                    wanted = condition;
                }
                Step::Reconnect => pair.reconnect(),
                Step::Forget => pair.server.forget(),
            }
        }
        pair.settle();
        prop_assert!(pair.session.is_synced() && pair.session.conditions_met());
        prop_assert_eq!(contents(&pair.session), pair.server.selected(&array(&wanted)));
        let unfit = pair.events().into_iter().find(|event| matches!(event, Event::Unfit(_)));
        prop_assert_eq!(unfit, None);
    }
}
