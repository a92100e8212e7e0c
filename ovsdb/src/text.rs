//! Values as the tools print them.
//!
//! Source: ovs-vsctl(8), "Database Values". Reading them back is `vsctl`'s own matter, because
//! names such as `@x` are.

use crate::schema::ColumnType;
use crate::value::{Atom, Datum};

/// The text that `ovs-vsctl` reads back. Brackets show that a column could hold more than one
/// element, or holds none.
pub fn to_text(datum: &Datum, column_type: &ColumnType) -> String {
    let elements = join(datum, ", ", &Atom::to_string);
    match column_type.max > 1 || datum.is_empty() {
        true if column_type.is_map() => format!("{{{elements}}}"),
        true => format!("[{elements}]"),
        false => elements,
    }
}

/// Text without punctuation, for scripts; it cannot be read back.
pub fn to_bare(datum: &Datum) -> String {
    join(datum, " ", &|atom| match atom {
        Atom::String(text) => text.to_string(),
        other => other.to_string(),
    })
}

fn join(datum: &Datum, separator: &str, atom: &dyn Fn(&Atom) -> String) -> String {
    let elements: Vec<String> = if datum.is_map() {
        datum
            .entries()
            .map(|(key, value)| format!("{}={}", atom(key), atom(value)))
            .collect()
    } else {
        datum.iter().map(atom).collect()
    };
    elements.join(separator)
}
