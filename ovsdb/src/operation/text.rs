//! `transact` requests read from their text, without a JSON value in between.
//!
//! Nearly all requests that a server gets are transactions in plain JSON, and most of what it does
//! for one that changes a row would be to build that value and to take it apart. What is read here
//! is the common part of the grammar: strings without escapes, integers, and operations that are
//! right. For everything else `None` is given, and [`Message::from_json`] or
//! [`Operation::from_json`], which know all errors, have their turn.
//!
//! [`Message::from_json`]: crate::jsonrpc::Message::from_json

use std::fmt;

use serde_json::Value;

use super::{Operation, Row};
use crate::condition::{Clause, Function};
use crate::error::{Error, ErrorKind, Result};
use crate::mutation::{Mutation, Mutator};
use crate::schema::{AtomicType, BaseType, ColumnType, DatabaseSchema, TableSchema, is_id};
use crate::value::{Atom, Datum, Names, parse_uuid};

/// A `transact` request whose operations are still text.
#[derive(Debug, Clone, PartialEq)]
pub struct Transact {
    pub id: Value,
    pub database: Box<str>,
    pub operations: Vec<OperationText>,
}

/// The text of one operation, which is valid JSON.
#[derive(Debug, Clone, PartialEq)]
pub struct OperationText(Box<str>);

impl Transact {
    /// Reads a request; `None` for any other message, and for one that is not plain.
    pub fn read(text: &str) -> Option<Self> {
        let mut reader = Reader::new(text);
        let (mut id, mut method, mut database) = (None, None, None);
        let mut operations = Vec::new();
        reader.object(|reader, name| {
            let old = match name {
                "id" => id.replace(reader.value()?),
                "method" => method.replace(reader.string()?),
                "params" if database.is_none() => {
                    return reader.array(|reader| {
                        if database.is_none() {
                            database = Some(reader.string()?);
                        } else {
                            operations.push(OperationText(reader.value()?.into()));
                        }
                        Some(())
                    });
                }
                _ => return None,
            };
            old.is_none().then_some(())
        })?;
        reader.end()?;
        if method? != "transact" {
            return None;
        }
        let id = match id? {
            text if text.starts_with('"') => Value::from(Reader::new(text).string()?),
            text => Value::from(Reader::new(text).integer()?),
        };
        Some(Self {
            id,
            database: database?.into(),
            operations,
        })
    }

    /// The parameters as a value.
    pub fn params(&self) -> Value {
        let name = Value::from(&*self.database);
        let operations = self.operations.iter();
        let operations = operations.map(|operation| operation.to_json().unwrap_or_default());
        std::iter::once(name).chain(operations).collect()
    }
}

impl OperationText {
    /// Like [`Operation::from_json`].
    pub fn parse(
        &self,
        schema: &DatabaseSchema,
        names: &mut dyn Names,
        position: &dyn fmt::Display,
    ) -> Result<Operation> {
        match operation(&self.0, schema, names) {
            Some(operation) => Ok(operation),
            None => Operation::from_json(&self.to_json()?, schema, names, position),
        }
    }

    fn to_json(&self) -> Result<Value> {
        serde_json::from_str(&self.0)
            .map_err(|error| Error::new(ErrorKind::SyntaxError, error.to_string()))
    }
}

/// The values of an operation's members, which are read when the table is known.
#[derive(Default)]
struct Members<'t> {
    op: Option<&'t str>,
    table: Option<&'t str>,
    condition: Option<&'t str>,
    row: Option<&'t str>,
    columns: Option<&'t str>,
    mutations: Option<&'t str>,
    durable: Option<&'t str>,
    comment: Option<&'t str>,
}

fn operation(text: &str, schema: &DatabaseSchema, names: &mut dyn Names) -> Option<Operation> {
    let mut members = Members::default();
    let mut count = 0usize;
    Reader::new(text).object(|reader, name| {
        let member = match name {
            "op" => &mut members.op,
            "table" => &mut members.table,
            "where" => &mut members.condition,
            "row" => &mut members.row,
            "columns" => &mut members.columns,
            "mutations" => &mut members.mutations,
            "durable" => &mut members.durable,
            "comment" => &mut members.comment,
            _ => return None,
        };
        count += 1;
        member.replace(reader.value()?).is_none().then_some(())
    })?;
    let string =
        |text: Option<&'_ str>| -> Option<String> { Some(Reader::new(text?).string()?.to_owned()) };
    let op = Reader::new(members.op?).string()?;
    // No member but these may be there.
    let only = |others: usize| (count == others + 1).then_some(());
    match op {
        "commit" => {
            only(1)?;
            let durable = Reader::new(members.durable?).boolean()?;
            return Some(Operation::Commit { durable });
        }
        "comment" => {
            only(1)?;
            let comment = string(members.comment)?;
            return Some(Operation::Comment { comment });
        }
        _ => {}
    }
    let table = string(members.table)?;
    let mut scope = Scope {
        table: schema.table(&table)?,
        names,
    };
    match op {
        "insert" => {
            // With a name or a UUID of its own, `names` has a say.
            only(2)?;
            Some(Operation::Insert {
                row: scope.row(members.row?, true)?,
                table,
                uuid_name: None,
                uuid: None,
            })
        }
        "select" => {
            let columns = match members.columns {
                None => None,
                Some(text) => Some(scope.columns(text)?),
            };
            only(2 + usize::from(columns.is_some()))?;
            Some(Operation::Select {
                condition: scope.condition(members.condition?)?,
                table,
                columns,
            })
        }
        "update" => {
            only(3)?;
            Some(Operation::Update {
                row: scope.row(members.row?, false)?,
                condition: scope.condition(members.condition?)?,
                table,
            })
        }
        "mutate" => {
            only(3)?;
            Some(Operation::Mutate {
                mutations: scope.mutations(members.mutations?)?,
                condition: scope.condition(members.condition?)?,
                table,
            })
        }
        "delete" => {
            only(2)?;
            Some(Operation::Delete {
                condition: scope.condition(members.condition?)?,
                table,
            })
        }
        _ => None,
    }
}

/// What the parts of an operation are read with.
struct Scope<'s, 'n> {
    table: &'s TableSchema,
    names: &'n mut dyn Names,
}

impl Scope<'_, '_> {
    fn columns(&self, text: &str) -> Option<Vec<String>> {
        let mut columns: Vec<String> = Vec::new();
        Reader::new(text).array(|reader| {
            let name = reader.string()?;
            self.table.column(name)?;
            // They are few.
            if columns.iter().any(|other| other == name) {
                return None;
            }
            columns.push(name.to_owned());
            Some(())
        })?;
        Some(columns)
    }

    fn row(&mut self, text: &str, insert: bool) -> Option<Row> {
        let mut row = Row::new();
        Reader::new(text).object(|reader, name| {
            let column = self.table.column(name)?;
            if !insert && !column.mutable {
                return None;
            }
            let datum = datum(reader, &column.column_type, 1, self.names)?;
            row.insert(name.to_owned(), datum);
            Some(())
        })?;
        Some(row)
    }

    fn condition(&mut self, text: &str) -> Option<Vec<Clause>> {
        let mut clauses = Vec::new();
        Reader::new(text).array(|reader| {
            reader.byte(b'[')?;
            let name = reader.string()?;
            let column = self.table.column(name)?;
            reader.byte(b',')?;
            let function = Function::from_text(reader.string()?)?;
            // The others take values of other types than the column's.
            if !matches!(function, Function::Equal | Function::NotEqual) {
                return None;
            }
            reader.byte(b',')?;
            let value = datum(reader, &column.column_type, 1, self.names)?;
            reader.byte(b']')?;
            clauses.push(Clause::new(name, function, value));
            Some(())
        })?;
        Some(clauses)
    }

    fn mutations(&mut self, text: &str) -> Option<Vec<Mutation>> {
        let mut mutations = Vec::new();
        Reader::new(text).array(|reader| {
            reader.byte(b'[')?;
            let name = reader.string()?;
            let column = self.table.column(name)?;
            reader.byte(b',')?;
            let mutator = Mutator::from_text(reader.string()?)?;
            let column_type = &column.column_type;
            if !column.mutable || column_type.is_scalar() {
                return None;
            }
            reader.byte(b',')?;
            let value = match mutator {
                Mutator::Insert => datum(reader, column_type, 0, self.names)?,
                Mutator::Delete if reader.tag() == Some("map") => elements(
                    reader,
                    &column_type.key,
                    column_type.value.as_ref(),
                    self.names,
                )?,
                // Entries of a map may be named by key alone.
                Mutator::Delete => elements(reader, &column_type.key, None, self.names)?,
                _ => return None,
            };
            reader.byte(b']')?;
            mutations.push(Mutation::new(name, mutator, value));
            Some(())
        })?;
        Some(mutations)
    }
}

/// A value of a column; `min` stands for the least number of elements where that is less than the
/// column's.
fn datum(
    reader: &mut Reader<'_>,
    column_type: &ColumnType,
    min: u32,
    names: &mut dyn Names,
) -> Option<Datum> {
    let (key, value) = (&column_type.key, column_type.value.as_ref());
    if value.is_none() && reader.tag() != Some("set") {
        return atom(reader, key, names).map(Datum::scalar);
    }
    let datum = elements(reader, key, value, names)?;
    let (min, max) = (column_type.min.min(min) as usize, column_type.max as usize);
    (min..=max).contains(&datum.len()).then_some(datum)
}

/// Any number of atoms, or of pairs if `value` is there.
fn elements(
    reader: &mut Reader<'_>,
    key: &BaseType,
    value: Option<&BaseType>,
    names: &mut dyn Names,
) -> Option<Datum> {
    let tag = match value {
        Some(_) => "map",
        None if reader.tag() == Some("set") => "set",
        None => return atom(reader, key, names).map(Datum::scalar),
    };
    reader.byte(b'[')?;
    if reader.string()? != tag {
        return None;
    }
    reader.byte(b',')?;
    let mut count = 0usize;
    let datum = match value {
        None => {
            let mut atoms = Vec::new();
            reader.array(|reader| {
                count += 1;
                atoms.push(atom(reader, key, names)?);
                Some(())
            })?;
            Datum::set(atoms)
        }
        Some(value) => {
            let mut entries = Vec::new();
            reader.array(|reader| {
                count += 1;
                reader.byte(b'[')?;
                let key = atom(reader, key, names)?;
                reader.byte(b',')?;
                entries.push((key, atom(reader, value, names)?));
                reader.byte(b']')
            })?;
            Datum::pairs(entries)
        }
    };
    reader.byte(b']')?;
    // With duplicates there are fewer.
    (datum.len() == count).then_some(datum)
}

fn atom(reader: &mut Reader<'_>, base: &BaseType, names: &mut dyn Names) -> Option<Atom> {
    let atom = match base.atomic {
        AtomicType::String => Atom::from(reader.string()?),
        AtomicType::Integer => Atom::Integer(reader.integer()?),
        AtomicType::Boolean => Atom::Boolean(reader.boolean()?),
        AtomicType::Real => return None,
        AtomicType::Uuid => {
            reader.byte(b'[')?;
            let tag = reader.string()?;
            reader.byte(b',')?;
            let text = reader.string()?;
            reader.byte(b']')?;
            Atom::Uuid(match tag {
                "uuid" => parse_uuid(text)?,
                "named-uuid" if is_id(text) => names.resolve(text).ok()?,
                _ => return None,
            })
        }
    };
    base.check(&atom).ok()?;
    Some(atom)
}

/// Reads plain JSON from the front of a text. Every function first skips whitespace, and gives
/// `None` when there is something else than what it reads.
#[derive(Clone, Copy)]
struct Reader<'t> {
    rest: &'t str,
}

impl<'t> Reader<'t> {
    /// Integers of so many digits fit an `i64`.
    const DIGITS: usize = 18;

    fn new(text: &'t str) -> Self {
        Self { rest: text }
    }

    fn peek(&mut self) -> Option<u8> {
        let first = *self.rest.as_bytes().first()?;
        if !matches!(first, b' ' | b'\t' | b'\r' | b'\n') {
            return Some(first);
        }
        self.rest = self.rest.trim_start_matches([' ', '\t', '\r', '\n']);
        self.rest.as_bytes().first().copied()
    }

    /// Takes so many bytes.
    fn take(&mut self, count: usize) -> Option<&'t str> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }

    fn byte(&mut self, byte: u8) -> Option<()> {
        if self.peek()? != byte {
            return None;
        }
        self.take(1).map(drop)
    }

    /// Whether nothing is left.
    fn end(&mut self) -> Option<()> {
        self.peek().is_none().then_some(())
    }

    fn string(&mut self) -> Option<&'t str> {
        self.byte(b'"')?;
        let plain = |byte: &u8| *byte != b'"' && *byte != b'\\' && *byte >= b' ';
        let length = self.rest.bytes().take_while(plain).count();
        let text = self.take(length)?;
        self.byte_here(b'"')?;
        Some(text)
    }

    /// [`Reader::byte`] without whitespace before it.
    fn byte_here(&mut self, byte: u8) -> Option<()> {
        if *self.rest.as_bytes().first()? != byte {
            return None;
        }
        self.take(1).map(drop)
    }

    fn integer(&mut self) -> Option<i64> {
        let negative = self.peek()? == b'-';
        let number = self.rest.get(usize::from(negative)..)?;
        let digits = number.bytes().take_while(u8::is_ascii_digit).count();
        // JSON knows no zeros ahead, and `-0` is a real number.
        let odd = number.starts_with('0') && (digits > 1 || negative);
        if digits == 0 || digits > Self::DIGITS || odd {
            return None;
        }
        let text = self.take(digits + usize::from(negative))?;
        if self.rest.starts_with(['.', 'e', 'E']) {
            return None;
        }
        text.parse().ok()
    }

    fn boolean(&mut self) -> Option<bool> {
        let flag = self.peek()? == b't';
        self.literal(if flag { "true" } else { "false" })?;
        Some(flag)
    }

    fn literal(&mut self, text: &str) -> Option<()> {
        self.rest = self.rest.strip_prefix(text)?;
        Some(())
    }

    /// Calls `member` after the name of each member; it reads the value.
    fn object(&mut self, mut member: impl FnMut(&mut Self, &'t str) -> Option<()>) -> Option<()> {
        self.byte(b'{')?;
        self.list(b'}', |reader| {
            let name = reader.string()?;
            reader.byte(b':')?;
            member(reader, name)
        })
    }

    /// Calls `item` at the beginning of each item; it reads the item.
    fn array(&mut self, item: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.byte(b'[')?;
        self.list(b']', item)
    }

    fn list(&mut self, end: u8, mut item: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        if self.byte(end).is_some() {
            return Some(());
        }
        loop {
            item(self)?;
            if self.byte(b',').is_none() {
                return self.byte(end);
            }
        }
    }

    /// The text of any value. Its depth is what [`crate::jsonrpc::Framer`] lets through.
    fn value(&mut self) -> Option<&'t str> {
        self.peek()?;
        let before = self.rest;
        self.skip()?;
        before.get(..before.len().checked_sub(self.rest.len())?)
    }

    fn skip(&mut self) -> Option<()> {
        match self.peek()? {
            b'"' => self.string().map(drop),
            b'{' => self.object(|reader, _| reader.skip()),
            b'[' => self.array(Self::skip),
            b't' | b'f' => self.boolean().map(drop),
            b'n' => self.literal("null"),
            _ => self.integer().map(drop),
        }
    }

    /// The string that an array begins with, which stays there.
    fn tag(&self) -> Option<&'t str> {
        let mut reader = *self;
        reader.byte(b'[')?;
        reader.string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jsonrpc::{Framer, Message, Received};
    use serde_json::json;

    const UUID: &str = "12858ac6-8938-4e1e-8141-fb9412fd2528";

    fn schema() -> DatabaseSchema {
        let json = json!({"name": "d", "tables": {"T": {"columns": {
            "name": {"type": {"key": {"type": "string", "maxLength": 4}}, "mutable": false},
            "on": {"type": "boolean"},
            "n": {"type": {"key": {"type": "integer", "maxInteger": 99}, "min": 0}},
            "pair": {"type": {"key": "integer", "min": 1, "max": 2}},
            "ref": {"type": {"key": {"type": "uuid", "refTable": "T"}, "min": 0,
                             "max": "unlimited"}},
            "ids": {"type": {"key": "string", "value": "string", "min": 0,
                             "max": "unlimited"}}}}}});
        DatabaseSchema::from_json(&json).unwrap()
    }

    /// Gives every name the same UUID.
    struct Same;

    impl Names for Same {
        fn resolve(&mut self, _: &str) -> Result<crate::Uuid> {
            Ok(crate::Uuid::from_u128(7))
        }
    }

    /// What this reader makes of an operation, which is what the other one does.
    fn read(text: &str) -> Option<Operation> {
        let read = operation(text, &schema(), &mut Same)?;
        let json: Value = serde_json::from_str(text).unwrap();
        let other = Operation::from_json(&json, &schema(), &mut Same, "1 of 1");
        assert_eq!(Ok(&read), other.as_ref(), "{text}");
        Some(read)
    }

    fn plain() -> Vec<String> {
        let by_uuid = format!(r#""where":[["_uuid","==",["uuid","{UUID}"]]]"#);
        vec![
            r#"{"op":"insert","row":{"name":"a","n":5,"pair":["set",[2,1]]},"table":"T"}"#.into(),
            r#"{"op":"insert","table":"T","row":{"ids":["map",[["b","1"],["a","2"]]]}}"#.into(),
            r#"{"op":"insert","table":"T","row":{"ref":["named-uuid","x"],"n":["set",[]]}}"#.into(),
            format!(r#"{{"op":"select","table":"T",{by_uuid},"columns":["name","n"]}}"#),
            r#" { "op" : "select" , "table" : "T", "where" : [ [ "name" , "!=" , "a" ] ] } "#
                .into(),
            format!(r#"{{"op":"update","table":"T",{by_uuid},"row":{{"on":true,"n":-3}}}}"#),
            format!(
                r#"{{"op":"mutate","table":"T",{by_uuid},"mutations":[["ids","delete",["set",["a"]]],["ids","insert",["map",[["a","1"]]]],["ids","delete",["map",[["a","1"]]]],["ids","delete","a"],["ref","insert",["set",[["uuid","{UUID}"],["named-uuid","y"]]]],["n","delete",1]]}}"#
            ),
            r#"{"op":"delete","table":"T","where":[]}"#.into(),
            r#"{"op":"commit","durable":false}"#.into(),
            r#"{"op":"comment","comment":"é"}"#.into(),
        ]
    }

    #[test]
    fn plain_operations_are_read() {
        for text in plain() {
            assert!(read(&text).is_some(), "{text}");
        }
    }

    /// Whatever is not as it should be is left to the other reader.
    #[test]
    fn others_are_not() {
        for text in [
            r#"{"op":"insert","table":"T","row":{"name":"abcde"}}"#,
            r#"{"op":"insert","table":"T","row":{"n":100}}"#,
            r#"{"op":"insert","table":"T","row":{"n":1.0}}"#,
            r#"{"op":"insert","table":"T","row":{"pair":["set",[]]}}"#,
            r#"{"op":"insert","table":"T","row":{"pair":["set",[1,1]]}}"#,
            r#"{"op":"insert","table":"T","row":{"pair":["set",[1,2,3]]}}"#,
            r#"{"op":"insert","table":"T","row":{"ids":["map",[["a","1"],["a","2"]]]}}"#,
            r#"{"op":"insert","table":"T","row":{"none":1}}"#,
            r#"{"op":"insert","table":"U","row":{}}"#,
            r#"{"op":"insert","table":"T","row":{},"where":[]}"#,
            r#"{"op":"insert","table":"T","row":{},"uuid-name":"x"}"#,
            r#"{"op":"insert","table":"T","row":{"ref":["named-uuid","0"]}}"#,
            r#"{"op":"update","table":"T","where":[],"row":{"name":"a"}}"#,
            r#"{"op":"select","table":"T","where":[],"columns":["n","n"]}"#,
            r#"{"op":"select","table":"T","where":[["n","<",1]]}"#,
            r#"{"op":"mutate","table":"T","where":[],"mutations":[["name","insert","a"]]}"#,
            r#"{"op":"mutate","table":"T","where":[],"mutations":[["n","+=",1]]}"#,
            r#"{"op":"commit"}"#,
            r#"{"op":"commit","durable":true,"table":"T"}"#,
            r#"{"op":"abort"}"#,
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    fn request(operations: &str) -> String {
        format!(r#"{{"id":1,"method":"transact","params":["d",{operations}]}}"#)
    }

    /// What comes of a stream, with transactions in the form of other messages.
    fn received(bytes: &[u8], quick: bool) -> std::result::Result<Option<Message>, String> {
        let mut framer = Framer::default();
        framer.push(bytes);
        if !quick {
            return framer.poll_message().map_err(|error| error.to_string());
        }
        let received = framer.poll_received().map_err(|error| error.to_string())?;
        Ok(received.map(|received| match received {
            Received::Message(message) => message,
            Received::Transact(transact) => {
                let params = transact.params();
                Message::request(transact.id, "transact", params)
            }
        }))
    }

    #[test]
    fn plain_requests_are_read() {
        for text in plain() {
            let text = request(&text);
            assert!(Transact::read(&text).is_some(), "{text}");
        }
        for text in [
            r#"{"method":"transact","id":"x","params":["d"]}"#,
            r#"{"params":[ "d" , 1, null,[],{} ] ,"method":"transact","id":-5} "#,
        ] {
            assert!(Transact::read(text).is_some(), "{text}");
        }
        for text in [
            r#"{"id":null,"method":"transact","params":["d"]}"#,
            r#"{"id":1,"method":"transact","params":[]}"#,
            r#"{"id":1,"method":"transact","params":[1]}"#,
            r#"{"id":1,"method":"transact","params":["d",1.5]}"#,
            r#"{"id":1,"method":"transact","params":["d","\n"]}"#,
            r#"{"id":1,"id":1,"method":"transact","params":["d"]}"#,
            r#"{"id":1,"method":"transact","params":["d"],"params":["d"]}"#,
            r#"{"id":1,"method":"transact","params":[],"params":["d"],"x":1}"#,
            r#"{"id":1,"method":"transact","params":"d"}"#,
            r#"{"id":1,"method":"echo","params":["d"]}"#,
        ] {
            assert_eq!(Transact::read(text), None, "{text}");
        }
    }

    /// Both ways say the same of every text that differs from a good one in a byte, or ends early.
    #[test]
    fn both_readers_agree() {
        for text in plain() {
            for at in 0..text.len() {
                for byte in *b"\"\\{}[],:0-1.eatn \x01" {
                    let mut bytes = text.clone().into_bytes();
                    bytes[at] = byte;
                    let Ok(operation) = std::str::from_utf8(&bytes) else {
                        continue;
                    };
                    let message = request(operation);
                    assert_eq!(
                        received(message.as_bytes(), true),
                        received(message.as_bytes(), false),
                        "{message}"
                    );
                    if let Some(transact) = Transact::read(&message) {
                        transact.operations.iter().for_each(|text| {
                            read(&text.0);
                        });
                    }
                }
            }
        }
    }
}
