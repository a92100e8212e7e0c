//! `<clause>` and `<mutation>` of the reference: RFC 7047, 5.1.

use serde_json::Value;

use super::Row;
use super::schema::{Base, Column, Kind, Table};
use super::value::{Atom, CONSTRAINT, Datum, Names, Real, Refusal, SYNTAX, datum};

/// A clause: column, function, argument; or a constant.
#[derive(Debug, Clone)]
pub enum Clause {
    Constant(bool),
    Compare(String, String, Datum),
}

fn triple(json: &Value) -> Result<(&str, &str, &Value), Refusal> {
    match json.as_array().map(Vec::as_slice) {
        Some([Value::String(column), Value::String(of), argument]) => Ok((column, of, argument)),
        _ => Err(SYNTAX),
    }
}

pub fn parse_clause(table: &Table, json: &Value, names: &mut dyn Names) -> Result<Clause, Refusal> {
    if let Some(flag) = json.as_bool() {
        return Ok(Clause::Constant(flag));
    }
    let (name, function, argument) = triple(json)?;
    let column = table.column(name).ok_or("unknown column")?;
    let range = match function {
        "==" | "!=" => (column.min, column.max),
        "includes" if column.is_scalar() => (1, 1),
        "includes" => (0, column.max),
        "excludes" if column.is_scalar() => (1, 1),
        "excludes" => (0, usize::MAX),
        "<" | "<=" | ">" | ">=" => {
            let number = matches!(column.key.kind, Kind::Integer | Kind::Real);
            if !number || column.value.is_some() || column.max != 1 {
                return Err(SYNTAX);
            }
            (1, 1)
        }
        _ => return Err("unknown function"),
    };
    let argument = datum(argument, &column, range, names)?;
    Ok(Clause::Compare(
        name.to_owned(),
        function.to_owned(),
        argument,
    ))
}

pub fn clause_holds(clause: &Clause, row: &Row, uuid: &str) -> bool {
    let (name, function, argument) = match clause {
        Clause::Constant(flag) => return *flag,
        Clause::Compare(name, function, argument) => (name, function.as_str(), argument),
    };
    let own = Datum::from([(Atom::Uuid(uuid.to_owned()), None)]);
    let datum = if name == "_uuid" { &own } else { &row[name] };
    let has = |(key, value): (&Atom, &Option<Atom>)| datum.get(key) == Some(value);
    let order = datum.keys().next().zip(argument.keys().next());
    match function {
        "==" => datum == argument,
        "!=" => datum != argument,
        "includes" => argument.iter().all(has),
        "excludes" => !argument.iter().any(has),
        "<" => order.is_some_and(|(a, b)| a < b),
        "<=" => order.is_some_and(|(a, b)| a <= b),
        ">" => order.is_some_and(|(a, b)| a > b),
        _ => order.is_some_and(|(a, b)| a >= b),
    }
}

pub fn parse_mutation(
    table: &Table,
    json: &Value,
    names: &mut dyn Names,
) -> Result<(String, String, Datum), Refusal> {
    let (name, mutator, argument) = triple(json)?;
    let column = table.column(name).ok_or("unknown column")?;
    if !column.mutable {
        return Err(CONSTRAINT);
    }
    let done = |argument| Ok((name.to_owned(), mutator.to_owned(), argument));
    match mutator {
        "insert" | "delete" => {
            if column.is_scalar() {
                return Err(SYNTAX);
            }
            let keys = Column {
                value: None,
                ..column.clone()
            };
            let by_key = mutator == "delete" && argument.get(0) != Some(&Value::from("map"));
            let of = if by_key { &keys } else { &column };
            // RFC 7047, 5.1: an "insert" may have fewer elements than the column, a "delete" more.
            let most = if mutator == "insert" {
                column.max
            } else {
                usize::MAX
            };
            done(datum(argument, of, (0, most), names)?)
        }
        "+=" | "-=" | "*=" | "/=" | "%=" => {
            let fits = match column.key.kind {
                Kind::Integer => true,
                Kind::Real => mutator != "%=",
                _ => false,
            };
            if !fits || column.value.is_some() {
                return Err(SYNTAX);
            }
            // Just a number: the column's own limits are for the result.
            let number = Column {
                key: Base::plain(column.key.kind),
                ..column.clone()
            };
            done(datum(argument, &number, (1, 1), names)?)
        }
        _ => Err("unknown mutator"),
    }
}

/// `old` after one mutation.
pub fn mutated(
    column: &Column,
    old: &Datum,
    mutator: &str,
    argument: &Datum,
) -> Result<Datum, Refusal> {
    let mut new = Datum::new();
    match mutator {
        "insert" => {
            new.clone_from(old);
            for (key, value) in argument {
                new.entry(key.clone()).or_insert_with(|| value.clone());
            }
        }
        "delete" => {
            for (key, value) in old {
                let gone = match argument.get(key) {
                    None => false,
                    Some(None) => true,
                    Some(of) => of == value,
                };
                if !gone {
                    new.insert(key.clone(), value.clone());
                }
            }
        }
        _ => {
            let by = argument.keys().next().expect("one number");
            for atom in old.keys() {
                let result = match (atom, by) {
                    (Atom::Integer(a), Atom::Integer(b)) => {
                        Atom::Integer(integers(*a, *b, mutator)?)
                    }
                    (Atom::Real(a), Atom::Real(b)) => Atom::Real(Real(reals(a.0, b.0, mutator)?)),
                    _ => unreachable!("the argument has the column's type"),
                };
                new.insert(result, None);
            }
            // Two elements must not become one.
            if !column.allows(&new) || new.len() != old.len() {
                return Err(CONSTRAINT);
            }
        }
    }
    if new.len() < column.min || new.len() > column.max {
        return Err(CONSTRAINT);
    }
    Ok(new)
}

fn integers(a: i64, b: i64, mutator: &str) -> Result<i64, Refusal> {
    let (a, b) = (i128::from(a), i128::from(b));
    let result = match mutator {
        "+=" => a + b,
        "-=" => a - b,
        "*=" => a * b,
        _ if b == 0 => return Err("domain error"),
        "/=" => a / b,
        // What has no quotient has no remainder either, says ovsdb-server.
        _ => i64::try_from(a / b).map_or(i128::MAX, |_| a % b),
    };
    i64::try_from(result).map_err(|_| "range error")
}

fn reals(a: f64, b: f64, mutator: &str) -> Result<f64, Refusal> {
    let result = match mutator {
        "+=" => a + b,
        "-=" => a - b,
        "*=" => a * b,
        _ if b == 0.0 => return Err("domain error"),
        _ => a / b,
    };
    if result.is_finite() {
        Ok(result)
    } else {
        Err("range error")
    }
}
