//! Random transactions on a schema: mostly sensible ones, each operation with at most one fault.

use serde_json::{Map, Value, json};

use super::reference::schema::{Base, Column, Kind, Schema, Table};
use super::reference::value::{Datum, datum_to_json};
use super::reference::{Row, Tables};
use super::source::Source;

/// Makes transactions that fit the rows of the moment.
pub struct Generator<'a, 'b> {
    pub source: &'a mut Source<'b>,
    pub schema: &'a Schema,
    pub rows: &'a Tables,
    /// Names that `insert`s of this transaction have, with their tables.
    names: Vec<(String, String)>,
    /// Whether the operation may still get a fault.
    fault: bool,
}

/// The operations of one transaction.
pub fn transaction(source: &mut Source<'_>, schema: &Schema, rows: &Tables) -> Vec<Value> {
    let mut generator = Generator {
        source,
        schema,
        rows,
        names: Vec::new(),
        fault: false,
    };
    generator.transaction()
}

/// The clauses of a monitor's condition.
pub fn condition(
    source: &mut Source<'_>,
    schema: &Schema,
    rows: &Tables,
    table: &str,
) -> Vec<Value> {
    let mut generator = Generator {
        source,
        schema,
        rows,
        names: Vec::new(),
        fault: false,
    };
    let table_schema = &schema.tables[table];
    (0..generator.source.below(3))
        .map(|_| match generator.source.below(12) {
            0 => json!(true),
            1 => json!(false),
            _ => generator.clause(table, table_schema),
        })
        .collect()
}

impl<'a> Generator<'a, '_> {
    fn transaction(&mut self) -> Vec<Value> {
        let kinds: Vec<&str> = (0..1 + self.source.below(6))
            .map(|_| match self.source.below(100) {
                0..34 => "insert",
                34..50 => "update",
                50..70 => "mutate",
                70..80 => "delete",
                80..88 => "select",
                88..94 => "wait",
                94..96 => "comment",
                96 => "abort",
                97 => "assert",
                98 => "commit",
                _ => "bogus",
            })
            .collect();
        // Names first, so that operations can refer to later ones.
        let tables: Vec<String> = kinds.iter().map(|_| self.table()).collect();
        for (i, (kind, table)) in kinds.iter().zip(&tables).enumerate() {
            if *kind == "insert" && self.source.chance(60) {
                let name = if self.source.chance(3) {
                    "r0".to_owned()
                } else {
                    format!("r{i}")
                };
                self.names.push((name, table.clone()));
            } else if *kind == "insert" {
                self.names.push((String::new(), table.clone()));
            }
        }
        let mut inserts = self.names.clone().into_iter();
        kinds
            .iter()
            .zip(&tables)
            .map(|(kind, table)| {
                let name = (*kind == "insert").then(|| inserts.next().expect("one each").0);
                self.operation(kind, table, name.as_deref().unwrap_or_default())
            })
            .collect()
    }

    fn table(&mut self) -> String {
        let names: Vec<&String> = self.schema.tables.keys().collect();
        self.source.pick(&names).clone()
    }

    /// True once, and only in an operation that is to have a fault.
    fn err(&mut self, percent: usize) -> bool {
        let now = self.fault && self.source.chance(percent);
        self.fault &= !now;
        now
    }

    fn operation(&mut self, kind: &str, table: &str, name: &str) -> Value {
        self.fault = self.source.chance(8);
        let schema = &self.schema.tables[table];
        let mut json = json!({"op": kind});
        if !matches!(kind, "comment" | "abort" | "assert" | "commit" | "bogus") {
            json["table"] = json!(table);
            if self.err(10) {
                json["table"] = self.source.pick(&[json!("nope"), json!(5), json!("no id")]);
            }
        }
        match kind {
            "insert" => {
                json["row"] = self.row(schema, 80);
                if !name.is_empty() {
                    json["uuid-name"] = json!(name);
                }
                if self.source.chance(50) {
                    json["uuid"] = json!(match self.source.below(12) {
                        0 => self.row_uuid(table),
                        _ => self.fresh_uuid(),
                    });
                }
                if self.err(15) {
                    json["uuid"] = self.source.pick(&[json!("x"), json!(4)]);
                }
                if self.err(15) {
                    json["uuid-name"] = self.source.pick(&[json!("0x"), json!(4)]);
                }
            }
            "update" => {
                json["where"] = self.conditions(table, schema);
                json["row"] = self.row(schema, 40);
            }
            "mutate" => {
                json["where"] = self.conditions(table, schema);
                json["mutations"] = (0..1 + self.source.below(2))
                    .map(|_| self.mutation(table, schema))
                    .collect();
            }
            "delete" => json["where"] = self.conditions(table, schema),
            "select" => {
                json["where"] = self.conditions(table, schema);
                if self.source.chance(80) {
                    json["columns"] = self.columns(schema);
                }
            }
            "wait" => {
                json["where"] = self.conditions(table, schema);
                json["timeout"] = json!(0);
                json["until"] = json!(self.source.pick(&["==", "==", "!="]));
                if self.source.chance(90) {
                    json["columns"] = self.columns(schema);
                }
                json["rows"] = match self.source.below(3) {
                    0 => json!([]),
                    1 => json!([self.row(schema, 70)]),
                    _ => self.rows[table]
                        .values()
                        .take(2)
                        .map(|row| row_json(row, schema))
                        .collect(),
                };
                if self.err(40) {
                    let (member, value) = self.source.pick(&[
                        ("timeout", json!(-1)),
                        ("timeout", json!("x")),
                        ("until", json!("<")),
                        ("until", json!(1)),
                        ("rows", json!([5])),
                        ("rows", json!({})),
                    ]);
                    json[member] = value;
                }
            }
            "comment" => json["comment"] = json!("why"),
            "assert" => {
                json["lock"] = {
                    let own = self.schema.name.as_str();
                    json!(self.source.pick(&[own, own, "other", "0"]))
                }
            }
            "commit" => json["durable"] = json!(self.source.chance(50)),
            _ => {}
        }
        if self.err(15) {
            json["more"] = json!(1);
        }
        if self.err(15) {
            let members: Vec<String> = json.as_object().unwrap().keys().cloned().collect();
            json.as_object_mut()
                .unwrap()
                .remove(&self.source.pick(&members));
            // Without a limit it could wait for ever.
            if kind == "wait" && json.get("timeout").is_none() {
                json["timeout"] = json!(0);
            }
        }
        json
    }

    /// A row with about `percent` of the columns.
    fn row(&mut self, schema: &Table, percent: usize) -> Value {
        let mut row = Map::new();
        for (name, column) in &schema.columns {
            if self.source.chance(percent)
                && (column.mutable || percent > 50 || self.source.chance(20))
            {
                row.insert(name.clone(), self.datum(column, column.max.min(3)));
            }
        }
        if self.err(15) {
            row.insert("nope".to_owned(), json!(1));
        }
        if self.err(10) {
            return json!([]);
        }
        Value::Object(row)
    }

    fn columns(&mut self, schema: &Table) -> Value {
        let mut names: Vec<&str> = schema
            .columns
            .keys()
            .map(String::as_str)
            .filter(|_| self.source.chance(60))
            .collect();
        if self.source.chance(30) {
            names.push("_uuid");
        }
        if self.err(20) {
            names.push(self.source.pick(&["nope", "_uuid", "_uuid"]));
        }
        if self.err(10) {
            return json!([4]);
        }
        json!(names)
    }

    fn conditions(&mut self, table: &str, schema: &Table) -> Value {
        if self.err(10) {
            return json!({});
        }
        match self.source.below(10) {
            0..4 => json!([["_uuid", "==", ["uuid", self.row_uuid(table)]]]),
            4 => json!([]),
            _ => (0..1 + self.source.below(2))
                .map(|_| self.clause(table, schema))
                .collect(),
        }
    }

    fn clause(&mut self, table: &str, schema: &Table) -> Value {
        if self.err(30) {
            return self.source.pick(&[
                json!(["nope", "==", 1]),
                json!(["_uuid", "~", ["uuid", "x"]]),
                json!(["_uuid", "==", ["uuid", "x"]]),
                json!(["_uuid", "=="]),
                json!(["_uuid", "<", 1]),
                json!([5, "==", 1]),
                json!(5),
            ]);
        }
        let mut names: Vec<&str> = schema.columns.keys().map(String::as_str).collect();
        names.push("_uuid");
        let name = self.source.pick(&names);
        if name == "_uuid" {
            let function = self.source.pick(&["==", "!=", "includes", "excludes"]);
            return json!([name, function, self.uuid_json(table)]);
        }
        let column = &schema.columns[name];
        let ordered = column.value.is_none()
            && column.max == 1
            && matches!(column.key.kind, Kind::Integer | Kind::Real);
        let function = if ordered && self.source.chance(60) || self.err(20) {
            self.source.pick(&["<", "<=", ">", ">="])
        } else {
            self.source
                .pick(&["==", "!=", "includes", "includes", "excludes"])
        };
        let orders = matches!(function, "<" | "<=" | ">" | ">=");
        // Often what a row holds, or part of it.
        let argument = match self.some_row(table) {
            Some((_, row)) if self.source.chance(60) => {
                let datum = &row[name];
                let keep = if function.len() > 2 { 50 } else { 100 };
                let part: Datum = datum
                    .iter()
                    .filter(|_| self.source.chance(keep))
                    .map(|(key, value)| (key.clone(), value.clone()))
                    .collect();
                if orders && part.is_empty() {
                    self.atom(&column.key)
                } else if part.len() < column.min {
                    datum_to_json(datum, column)
                } else {
                    datum_to_json(&part, column)
                }
            }
            _ if orders && !self.fault => self.atom(&column.key),
            _ => self.datum(column, column.max.min(2)),
        };
        json!([name, function, argument])
    }

    fn mutation(&mut self, table: &str, schema: &Table) -> Value {
        if self.err(30) {
            return self.source.pick(&[
                json!(["nope", "+=", 1]),
                json!(["_uuid", "insert", ["uuid", "x"]]),
                json!(["c0", "^=", 1]),
                json!(["c0", "+="]),
                json!(["c0", "insert", {}]),
                json!({}),
            ]);
        }
        let names: Vec<&String> = schema
            .columns
            .iter()
            .filter(|(_, column)| column.mutable)
            .map(|(name, _)| name)
            .collect();
        let every: Vec<&String> = schema.columns.keys().collect();
        let name = if names.is_empty() || self.err(10) {
            self.source.pick(&every)
        } else {
            self.source.pick(&names)
        };
        let column = &schema.columns[name];
        let number =
            column.value.is_none() && matches!(column.key.kind, Kind::Integer | Kind::Real);
        if column.is_scalar() || (number && self.source.chance(50)) {
            let mutator = self.source.pick(&["+=", "+=", "-=", "*=", "/=", "%="]);
            let by = match column.key.kind {
                Kind::Real => self
                    .source
                    .pick(&[json!(1), json!(0.5), json!(-2), json!(0)]),
                _ => self.source.pick(&[
                    json!(1),
                    json!(1),
                    json!(-1),
                    json!(2),
                    json!(0),
                    json!(i64::MAX),
                    json!(1.0),
                ]),
            };
            // ovsdb-server takes a product of just i64::MAX for an overflow.
            let by = match mutator {
                "*=" => self.source.pick(&[json!(2), json!(0), json!(-2)]),
                _ => by,
            };
            return json!([name, mutator, by]);
        }
        if self.source.chance(55) {
            return json!([name, "insert", self.datum(column, 3)]);
        }
        let mut part = match self.some_row(table) {
            Some((_, row)) if self.source.chance(70) => row[name]
                .iter()
                .filter(|_| self.source.chance(60))
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect(),
            _ => Datum::new(),
        };
        if column.value.is_some() && self.source.chance(50) {
            part.values_mut().for_each(|value| *value = None);
            let keys = Column {
                value: None,
                ..column.clone()
            };
            return json!([name, "delete", datum_to_json(&part, &keys)]);
        }
        if part.is_empty() {
            return json!([name, "delete", self.datum(column, 2)]);
        }
        json!([name, "delete", datum_to_json(&part, column)])
    }

    /// A value of the column with at most `most` elements.
    fn datum(&mut self, column: &Column, most: usize) -> Value {
        if self.err(40) {
            return self.source.pick(&[
                json!(null),
                json!(true),
                json!(5),
                json!(-99),
                json!(0.3),
                json!("bad one"),
                json!({}),
                json!([]),
                json!(["set", [[]]]),
                json!(["set", 5]),
                json!(["map", [[1]]]),
                json!(["map", {}]),
                json!(["uuid", "x"]),
                json!(["named-uuid", "0"]),
                json!(["set", [1, 2, 3, 4, 5]]),
                json!(["set", ["a", "b", "no", "a"]]),
                json!(["set", [1, 1]]),
            ]);
        }
        // A strong reference needs a row.
        let unmet = column.bases().any(|base| match &base.refers {
            Some((target, true)) => {
                self.rows[target].is_empty() && !self.names.iter().any(|(_, of)| of == target)
            }
            _ => false,
        });
        let most = if unmet && column.min == 0 && self.source.chance(95) {
            0
        } else {
            most
        };
        let least = column.min.min(most);
        let count = least + self.source.below(most - least + 1);
        let mut keys: Vec<Value> = Vec::new();
        for _ in 0..count {
            let atom = self.atom(&column.key);
            if !keys.contains(&atom) {
                keys.push(atom);
            }
        }
        if let Some(value) = &column.value {
            let entries: Vec<Value> = keys
                .into_iter()
                .map(|key| json!([key, self.atom(value)]))
                .collect();
            return json!(["map", entries]);
        }
        match keys.as_slice() {
            [only] if self.source.chance(70) => only.clone(),
            _ => json!(["set", keys]),
        }
    }

    fn atom(&mut self, base: &Base) -> Value {
        if let Some(choices) = &base.choices {
            return self.source.pick(choices).to_json();
        }
        match base.kind {
            Kind::Integer if base.integers == (None, None) && self.source.chance(8) => self
                .source
                .pick(&[json!(i64::MAX), json!(i64::MIN), json!(4.0)]),
            Kind::Integer => json!(self.source.below(5) as i64 - 1),
            Kind::Real => self
                .source
                .pick(&[json!(0), json!(0.25), json!(-1), json!(1.5)]),
            Kind::Boolean => json!(self.source.chance(50)),
            Kind::String if base.lengths == (None, None) => {
                self.source
                    .pick(&[json!(""), json!("a"), json!("\u{e9}\"\\"), json!("a b, c")])
            }
            Kind::String => self
                .source
                .pick(&[json!("a"), json!("\u{e9}"), json!("\u{20ac}x")]),
            Kind::Uuid => match &base.refers {
                Some((target, _)) => self.uuid_json(&target.clone()),
                None => json!([
                    "uuid",
                    format!("00000000-0000-4000-8000-{:012x}", self.source.below(4))
                ]),
            },
        }
    }

    /// A reference to a row of `table`, of which there may be none.
    fn uuid_json(&mut self, table: &str) -> Value {
        let named: Vec<&String> = self
            .names
            .iter()
            .filter(|(name, of)| of == table && !name.is_empty())
            .map(|(name, _)| name)
            .collect();
        if !named.is_empty() && self.source.chance(50) {
            return json!(["named-uuid", self.source.pick(&named)]);
        }
        json!(["uuid", self.row_uuid(table)])
    }

    fn some_row(&mut self, table: &str) -> Option<(&'a String, &'a Row)> {
        let rows: &'a Tables = self.rows;
        let rows = &rows[table];
        if rows.is_empty() {
            return None;
        }
        rows.iter().nth(self.source.below(rows.len()))
    }

    /// The UUID of a row, now and then of none.
    fn row_uuid(&mut self, table: &str) -> String {
        let any = self.source.chance(3);
        match self.some_row(table) {
            Some((uuid, _)) if !any => uuid.clone(),
            _ => self.fresh_uuid(),
        }
    }

    fn fresh_uuid(&mut self) -> String {
        let mut digits = String::new();
        for _ in 0..4 {
            digits.push_str(&format!("{:02x}", self.source.below(256)));
        }
        format!("{digits}-1111-4000-8000-000000000000")
    }
}

fn row_json(row: &Row, schema: &Table) -> Value {
    row.iter()
        .map(|(name, datum)| (name.clone(), datum_to_json(datum, &schema.columns[name])))
        .collect::<Map<String, Value>>()
        .into()
}
