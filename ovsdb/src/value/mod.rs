//! Atoms and datums: the values of columns.
//!
//! A [`Datum`] is a sorted set of distinct atoms, or a map with sorted distinct keys; a scalar is
//! a set of one. What a datum may hold is said by a [`crate::ColumnType`], against which JSON is
//! checked on the way in.
//!
//! Source: RFC 7047, 5.1 (`<value>`, `<atom>`, `<set>`, `<map>`).

mod atom;
mod convert;
mod datum;

pub use atom::{
    Atom, Names, NoNames, Real, UuidNames, json_integer, parse_uuid, uuid_from_json, uuid_to_json,
    write_string_json, write_uuid, write_uuid_json,
};
pub use convert::ValueError;
pub use datum::{Datum, Elements, datum_text};
