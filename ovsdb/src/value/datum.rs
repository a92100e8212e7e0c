//! The values of columns: sets and maps.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use serde_json::{Value, json};
use uuid::Uuid;

use super::atom::{Atom, Names, Real, UuidNames};
use crate::error::{Error, ErrorKind, Result, sorted_json};
use crate::schema::{BaseType, ColumnType};

/// The value of a column: a set of atoms, or a map from atoms to atoms.
///
/// Keys are strictly ascending. An empty map and an empty set are the same value. Copies are
/// cheap: a single atom is held in place, and several are shared.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Datum(Repr);

/// The elements of a datum, for many small changes: a set's atoms, or a map's keys with values.
pub type Elements = BTreeMap<Atom, Option<Atom>>;

/// Each value has one form, so that equality can be derived.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
enum Repr {
    #[default]
    Empty,
    /// A set of one.
    One(Atom),
    /// A set of two or more.
    Set(Arc<[Atom]>),
    /// All keys, and then the value of each.
    Map(Arc<[Atom]>),
}

// Databases hold many more datums than anything else.
const _: () = assert!(size_of::<Datum>() == size_of::<Atom>());

/// What stays where both sides of a merge have a key.
enum Side {
    Mine,
    Theirs,
    Neither,
}

impl Datum {
    /// The empty set, and the empty map.
    pub const EMPTY: Self = Self(Repr::Empty);

    /// The empty set, and the empty map.
    pub fn empty() -> Self {
        Self::EMPTY
    }

    /// A set of one.
    pub fn scalar(atom: impl Into<Atom>) -> Self {
        Self(Repr::One(atom.into()))
    }

    /// A string.
    pub fn string(text: &str) -> Self {
        Self::scalar(text)
    }

    /// An integer.
    pub fn integer(number: i64) -> Self {
        Self::scalar(number)
    }

    /// A real number, which has to be finite.
    pub fn real(number: f64) -> Self {
        Self::scalar(Atom::Real(Real(number)))
    }

    /// A boolean.
    pub fn boolean(flag: bool) -> Self {
        Self::scalar(flag)
    }

    /// A UUID.
    pub fn uuid(uuid: Uuid) -> Self {
        Self::scalar(uuid)
    }

    /// A set of zero or one.
    pub fn optional(atom: Option<impl Into<Atom>>) -> Self {
        atom.map(Self::scalar).unwrap_or_default()
    }

    /// A set; duplicates fall together.
    pub fn set<A: Into<Atom>>(atoms: impl IntoIterator<Item = A>) -> Self {
        let mut keys: Vec<Atom> = atoms.into_iter().map(Into::into).collect();
        keys.sort_unstable();
        keys.dedup();
        Self::from_parts(keys, Vec::new())
    }

    /// A map; of entries with equal keys the last one stays.
    pub fn map<K: Into<Atom>, V: Into<Atom>>(entries: impl IntoIterator<Item = (K, V)>) -> Self {
        let entries: BTreeMap<Atom, Atom> = entries
            .into_iter()
            .map(|(key, value)| (key.into(), value.into()))
            .collect();
        let (keys, values) = entries.into_iter().unzip();
        Self::from_parts(keys, values)
    }

    /// A map; which of several entries with equal keys stays is not said.
    pub(crate) fn pairs(mut entries: Vec<(Atom, Atom)>) -> Self {
        entries.sort_unstable();
        entries.dedup_by(|a, b| a.0 == b.0);
        let (keys, values) = entries.into_iter().unzip();
        Self::from_parts(keys, values)
    }

    /// From ascending keys, and for a map as many values.
    fn from_parts(mut keys: Vec<Atom>, values: Vec<Atom>) -> Self {
        if values.is_empty() {
            return Self(match keys.pop() {
                None => Repr::Empty,
                Some(only) if keys.is_empty() => Repr::One(only),
                Some(last) => {
                    keys.push(last);
                    Repr::Set(keys.into())
                }
            });
        }
        debug_assert_eq!(keys.len(), values.len(), "keys and values of a map");
        keys.truncate(values.len());
        keys.extend(values.into_iter().take(keys.len()));
        Self(Repr::Map(keys.into()))
    }

    /// The value of a column of type `column_type` that nobody set.
    pub fn default_of(column_type: &ColumnType) -> Self {
        if column_type.min == 0 {
            return Self::empty();
        }
        let key = Atom::default_of(column_type.key.atomic);
        match &column_type.value {
            None => Self::scalar(key),
            Some(base) => Self::map([(key, Atom::default_of(base.atomic))]),
        }
    }

    /// Whether this is what an unset column of type `column_type` holds.
    pub fn is_default(&self, column_type: &ColumnType) -> bool {
        *self == Self::default_of(column_type)
    }

    /// About how much memory this takes, with what it may share with copies.
    pub fn weight(&self) -> usize {
        let atoms: &[Atom] = match &self.0 {
            Repr::Empty => &[],
            Repr::One(atom) => std::slice::from_ref(atom),
            Repr::Set(atoms) | Repr::Map(atoms) => atoms,
        };
        let shared = if matches!(self.0, Repr::Set(_) | Repr::Map(_)) {
            size_of_val(atoms)
        } else {
            0
        };
        let texts = atoms.iter().filter_map(Atom::as_str).map(str::len);
        texts.fold(
            size_of::<Self>().saturating_add(shared),
            usize::saturating_add,
        )
    }

    /// The same without what it shares with `other`.
    pub fn weight_beside(&self, other: &Datum) -> usize {
        match (&self.0, &other.0) {
            (Repr::Set(mine), Repr::Set(theirs)) | (Repr::Map(mine), Repr::Map(theirs))
                if Arc::ptr_eq(mine, theirs) =>
            {
                size_of::<Self>()
            }
            (Repr::One(Atom::String(mine)), Repr::One(Atom::String(theirs)))
                if Arc::ptr_eq(mine, theirs) =>
            {
                size_of::<Self>()
            }
            _ => self.weight(),
        }
    }

    /// How many elements or entries there are.
    pub fn len(&self) -> usize {
        self.keys().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        matches!(self.0, Repr::Empty)
    }

    /// Whether this holds map entries. An empty datum is neither.
    pub fn is_map(&self) -> bool {
        matches!(self.0, Repr::Map(_))
    }

    /// The set's atoms, or the map's keys, ascending.
    pub fn keys(&self) -> &[Atom] {
        match &self.0 {
            Repr::Empty => &[],
            Repr::One(atom) => std::slice::from_ref(atom),
            Repr::Set(atoms) => atoms,
            Repr::Map(atoms) => atoms.get(..atoms.len() / 2).unwrap_or_default(),
        }
    }

    /// The map's values, in the order of their keys; empty for a set.
    pub fn values(&self) -> &[Atom] {
        match &self.0 {
            Repr::Map(atoms) => atoms.get(atoms.len() / 2..).unwrap_or_default(),
            _ => &[],
        }
    }

    /// The set's atoms, or the map's keys.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Atom> {
        self.keys().iter()
    }

    /// The map's entries; nothing for a set.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = (&Atom, &Atom)> {
        self.keys().iter().zip(self.values())
    }

    /// The set's atoms, or the map's entries.
    pub fn elements(&self) -> impl Iterator<Item = (&Atom, Option<&Atom>)> {
        let values = self.values();
        let keys = self.keys().iter().enumerate();
        keys.map(move |(i, key)| (key, values.get(i)))
    }

    /// The elements in a form that is quick to change.
    pub fn into_elements(self) -> Elements {
        self.elements()
            .map(|(key, value)| (key.clone(), value.cloned()))
            .collect()
    }

    /// The datum with these elements; for a map, each has a value.
    pub fn from_elements(elements: Elements) -> Self {
        let mut parts = Parts::default();
        for (key, value) in elements {
            parts.keys.push(key);
            parts.values.extend(value);
        }
        parts.into_datum()
    }

    /// The first atom: the value of a scalar or optional column.
    pub fn first(&self) -> Option<&Atom> {
        self.keys().first()
    }

    /// The first atom, when it is a string.
    pub fn as_str(&self) -> Option<&str> {
        self.first().and_then(Atom::as_str)
    }

    /// The first atom, when it is an integer.
    pub fn as_i64(&self) -> Option<i64> {
        self.first().and_then(Atom::as_i64)
    }

    /// The first atom, when it is a real number.
    pub fn as_f64(&self) -> Option<f64> {
        self.first().and_then(Atom::as_f64)
    }

    /// The first atom, when it is a boolean.
    pub fn as_bool(&self) -> Option<bool> {
        self.first().and_then(Atom::as_bool)
    }

    /// The first atom, when it is a UUID.
    pub fn as_uuid(&self) -> Option<Uuid> {
        self.first().and_then(Atom::as_uuid)
    }

    /// The strings of a set of strings.
    pub fn strings(&self) -> impl Iterator<Item = &str> {
        self.keys().iter().filter_map(Atom::as_str)
    }

    /// The UUIDs of a set of references.
    pub fn uuids(&self) -> impl Iterator<Item = Uuid> + '_ {
        self.keys().iter().filter_map(Atom::as_uuid)
    }

    /// The text under `key` in a map from strings to strings.
    pub fn get(&self, key: &str) -> Option<&str> {
        let found = self.keys().binary_search_by(|atom| match atom {
            Atom::String(text) => (**text).cmp(key),
            _ => Ordering::Less,
        });
        self.values().get(found.ok()?).and_then(Atom::as_str)
    }

    /// The value under `key` in a map.
    pub fn get_atom(&self, key: &Atom) -> Option<&Atom> {
        self.values().get(self.position(key)?)
    }

    /// Whether `key` is in the set, or is a key of the map.
    pub fn contains_key(&self, key: &Atom) -> bool {
        self.position(key).is_some()
    }

    /// Whether every element (for maps: every entry) of `other` is here too.
    pub fn includes_all(&self, other: &Datum) -> bool {
        (0..other.len()).all(|i| self.holds(other, i))
    }

    /// Whether no element (for maps: no entry) of `other` is here.
    pub fn excludes_all(&self, other: &Datum) -> bool {
        (0..other.len()).all(|i| !self.holds(other, i))
    }

    /// Adds the elements of `other`; entries of a map whose key is here already stay as they are.
    pub fn union(&mut self, other: &Datum) {
        self.merge(other, true, |_, _| Side::Mine);
    }

    /// Sets one entry of a map, replacing the value that was there.
    pub fn put(&mut self, key: impl Into<Atom>, value: impl Into<Atom>) {
        let entry = Self::map([(key.into(), value.into())]);
        self.merge(&entry, true, |_, _| Side::Theirs);
    }

    /// Removes the elements of `other`. A map loses the entries whose key is in `other`, and when
    /// `other` is a map, only those whose value is equal too.
    pub fn subtract(&mut self, other: &Datum) {
        self.merge(other, false, |mine, theirs| match theirs {
            Some(_) if mine != theirs => Side::Mine,
            _ => Side::Neither,
        });
    }

    /// Keeps the elements for which `keep` holds, given the key and the map's value.
    pub fn retain(&mut self, mut keep: impl FnMut(&Atom, Option<&Atom>) -> bool) {
        let mut kept = Parts::default();
        for (i, key) in self.keys().iter().enumerate() {
            if keep(key, self.values().get(i)) {
                kept.take(self, i..i + 1);
            }
        }
        if kept.keys.len() < self.len() {
            *self = kept.into_datum();
        }
    }

    /// Adds what only `other` has, if `add` says so; where both have a key, `both` chooses, given
    /// the values.
    fn merge(
        &mut self,
        other: &Datum,
        add: bool,
        both: impl Fn(Option<&Atom>, Option<&Atom>) -> Side,
    ) {
        if other.is_empty() {
            return;
        }
        let mut merged = Parts::default();
        let mut at = 0;
        // What lies between the keys of `other`, which may be few, is taken over as a whole.
        for (j, key) in other.keys().iter().enumerate() {
            let rest = self.keys().get(at..).unwrap_or_default();
            let found = rest.binary_search(key);
            let (Ok(run) | Err(run)) = found;
            let i = at + run;
            merged.take(self, at..i);
            match found {
                Err(_) if add => merged.take(other, j..j + 1),
                Err(_) => {}
                Ok(_) => match both(self.values().get(i), other.values().get(j)) {
                    Side::Mine => merged.take(self, i..i + 1),
                    Side::Theirs => merged.take(other, j..j + 1),
                    Side::Neither => {}
                },
            }
            at = i + usize::from(found.is_ok());
        }
        merged.take(self, at..self.len());
        *self = merged.into_datum();
    }

    /// What turns `old` into `new`, as `update2` sends it: for a set the elements in only one of
    /// them; for a map the entries only in `new` or changed, and those removed with their old
    /// value. Applying it to `old` again gives `new`.
    ///
    /// Source: ovsdb-server(7), 4.1.14, `<row-update2>`.
    pub fn diff(old: &Datum, new: &Datum) -> Datum {
        let mut diff = Parts::default();
        let (mut i, mut j) = (0, 0);
        let [(old_keys, old_values), (new_keys, new_values)] =
            [old, new].map(|datum| (datum.keys(), datum.values()));
        loop {
            let order = match (old_keys.get(i), new_keys.get(j)) {
                (Some(a), Some(b)) => a.cmp(b),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => return diff.into_datum(),
            };
            match order {
                Ordering::Less => diff.take(old, i..i + 1),
                Ordering::Greater => diff.take(new, j..j + 1),
                Ordering::Equal if old_values.get(i) != new_values.get(j) => {
                    diff.take(new, j..j + 1);
                }
                Ordering::Equal => {}
            }
            i += usize::from(order != Ordering::Greater);
            j += usize::from(order != Ordering::Less);
        }
    }

    /// Applies a [`Datum::diff`].
    pub fn apply_diff(&mut self, diff: &Datum) {
        self.merge(diff, true, |mine, theirs| match (mine, theirs) {
            (Some(mine), Some(theirs)) if mine != theirs => Side::Theirs,
            _ => Side::Neither,
        });
    }

    /// Reads a value of `column_type` and checks it against the constraints.
    ///
    /// Errors: `syntax error` for the wrong shape, type or number of elements, `constraint
    /// violation` for a value outside the enumeration, range or length, `ovsdb error` for
    /// duplicates.
    pub fn from_json(
        json: &Value,
        column_type: &ColumnType,
        names: &mut dyn Names,
    ) -> Result<Self> {
        if column_type.value.is_none() && tagged_array(json, "set").is_none() {
            if json.get(0).is_some_and(|tag| tag == "set") {
                return Err(Error::syntax(json, "expected [\"set\", <array>]"));
            }
            return checked_atom(json, &column_type.key, names).map(Self::scalar);
        }
        let mut keys = Vec::new();
        let mut values = Vec::new();
        match &column_type.value {
            Some(value_type) => {
                let entries = tagged_array(json, "map")
                    .ok_or_else(|| Error::syntax(json, "expected [\"map\", <array>]"))?;
                check_count(json, entries.len(), column_type)?;
                let mut pairs = Vec::with_capacity(entries.len());
                for entry in entries {
                    let Some([key, value]) = entry.as_array().map(Vec::as_slice) else {
                        return Err(Error::syntax(entry, "expected 2-element array"));
                    };
                    pairs.push((
                        checked_atom(key, &column_type.key, names)?,
                        checked_atom(value, value_type, names)?,
                    ));
                }
                pairs.sort();
                (keys, values) = pairs.into_iter().unzip();
            }
            None => {
                let atoms = tagged_array(json, "set").unwrap_or_default();
                check_count(json, atoms.len(), column_type)?;
                keys.reserve_exact(atoms.len());
                for atom in atoms {
                    keys.push(checked_atom(atom, &column_type.key, names)?);
                }
                keys.sort();
            }
        }
        if keys.windows(2).any(|pair| matches!(pair, [a, b] if a == b)) {
            let what = if column_type.value.is_some() {
                "map contains duplicate key"
            } else {
                "set contains duplicate"
            };
            return Err(Error::new(ErrorKind::OvsdbError, what));
        }
        Ok(Self::from_parts(keys, values))
    }

    /// Appends the text of [`Datum::to_json`].
    pub fn write_json(&self, column_type: &ColumnType, out: &mut Vec<u8>) {
        if column_type.value.is_some() || self.is_map() {
            out.extend_from_slice(b"[\"map\",[");
            for (i, (key, value)) in self.entries().enumerate() {
                out.extend_from_slice(if i > 0 { b",[" } else { b"[" });
                key.write_json(out);
                out.push(b',');
                value.write_json(out);
                out.push(b']');
            }
            out.extend_from_slice(b"]]");
            return;
        }
        match self.keys() {
            [only] => only.write_json(out),
            keys => {
                out.extend_from_slice(b"[\"set\",[");
                for (i, atom) in keys.iter().enumerate() {
                    if i > 0 {
                        out.push(b',');
                    }
                    atom.write_json(out);
                }
                out.extend_from_slice(b"]]");
            }
        }
    }

    /// The wire form for a column of `column_type`.
    pub fn to_json(&self, column_type: &ColumnType) -> Value {
        self.emit(column_type, &Atom::to_json)
    }

    /// Like [`Datum::to_json`]; UUIDs in `names` become `named-uuid`s.
    pub fn to_json_named(&self, column_type: &ColumnType, names: &UuidNames) -> Value {
        self.emit(column_type, &|atom| atom.to_json_named(names))
    }

    fn emit(&self, column_type: &ColumnType, atom: &dyn Fn(&Atom) -> Value) -> Value {
        if column_type.value.is_some() || self.is_map() {
            let entries: Vec<Value> = self
                .entries()
                .map(|(key, value)| json!([atom(key), atom(value)]))
                .collect();
            return json!(["map", entries]);
        }
        match self.keys() {
            [only] => atom(only),
            keys => json!(["set", keys.iter().map(atom).collect::<Vec<_>>()]),
        }
    }

    fn position(&self, key: &Atom) -> Option<usize> {
        self.keys().binary_search(key).ok()
    }

    fn holds(&self, other: &Datum, i: usize) -> bool {
        let Some(at) = other.keys().get(i).and_then(|key| self.position(key)) else {
            return false;
        };
        other
            .values()
            .get(i)
            .is_none_or(|value| self.values().get(at) == Some(value))
    }
}

/// A datum under construction.
#[derive(Default)]
struct Parts {
    keys: Vec<Atom>,
    values: Vec<Atom>,
}

impl Parts {
    /// Appends a range of elements of `datum`.
    fn take(&mut self, datum: &Datum, range: Range<usize>) {
        let keys = datum.keys().get(range.clone()).unwrap_or_default();
        self.keys.extend_from_slice(keys);
        let values = datum.values().get(range).unwrap_or_default();
        self.values.extend_from_slice(values);
    }

    fn into_datum(self) -> Datum {
        Datum::from_parts(self.keys, self.values)
    }
}

impl PartialOrd for Datum {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Datum {
    /// By the keys, then by the values.
    fn cmp(&self, other: &Self) -> Ordering {
        self.keys()
            .cmp(other.keys())
            .then_with(|| self.values().cmp(other.values()))
    }
}

impl fmt::Debug for Datum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_map() {
            return f.debug_map().entries(self.entries()).finish();
        }
        f.debug_set().entries(self.iter()).finish()
    }
}

impl fmt::Display for Datum {
    /// `ovs-vsctl`'s text: `{k=v, ...}` for a map, `[a, b]` for a set of other than one element.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_map() {
            let entries: Vec<String> = self
                .entries()
                .map(|(key, value)| format!("{key}={value}"))
                .collect();
            return write!(f, "{{{}}}", entries.join(", "));
        }
        match self.keys() {
            [only] => write!(f, "{only}"),
            keys => {
                let atoms: Vec<String> = keys.iter().map(Atom::to_string).collect();
                write!(f, "[{}]", atoms.join(", "))
            }
        }
    }
}

/// The array of `[tag, [...]]`.
fn tagged_array<'a>(json: &'a Value, tag: &str) -> Option<&'a [Value]> {
    match json.as_array()?.as_slice() {
        [Value::String(found), Value::Array(items)] if found == tag => Some(items),
        _ => None,
    }
}

fn checked_atom(json: &Value, base: &BaseType, names: &mut dyn Names) -> Result<Atom> {
    let atom = Atom::from_json(json, base.atomic, names)?;
    base.check(&atom)?;
    Ok(atom)
}

fn check_count(json: &Value, count: usize, column_type: &ColumnType) -> Result<()> {
    let (min, max) = (column_type.min as usize, column_type.max as usize);
    if (min..=max).contains(&count) {
        return Ok(());
    }
    let kind = if column_type.value.is_some() {
        "map"
    } else {
        "set"
    };
    let bounds = if min == 1 && max == 1 {
        "exactly one member".to_owned()
    } else {
        format!("{min} to {max} members")
    };
    Err(Error::syntax(
        json,
        format!("{kind} must have {bounds} but {count} are present"),
    ))
}

/// The JSON text of a datum with its members in a fixed order, for messages.
pub fn datum_text(datum: &Datum, column_type: &ColumnType) -> String {
    sorted_json(&datum.to_json(column_type))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::NoNames;
    use proptest::prelude::*;

    fn column(json: Value) -> ColumnType {
        ColumnType::from_json(&json).unwrap()
    }

    #[test]
    fn json_round_trips() {
        let cases = [
            (json!("integer"), json!(-5)),
            (json!("real"), json!(1.5)),
            (json!("boolean"), json!(true)),
            (json!("string"), json!("a \u{1F600}")),
            (
                json!("uuid"),
                json!(["uuid", "12858ac6-8938-4e1e-8141-fb9412fd2528"]),
            ),
            (json!({"key": "string", "min": 0}), json!(["set", []])),
            (json!({"key": "string", "min": 0}), json!("x")),
            (
                json!({"key": "string", "min": 0, "max": "unlimited"}),
                json!(["set", ["a", "b"]]),
            ),
            (
                json!({"key": "string", "value": "integer", "min": 0, "max": "unlimited"}),
                json!(["map", [["a", 1], ["b", 2]]]),
            ),
            (
                json!({"key": "string", "value": "integer", "min": 0, "max": "unlimited"}),
                json!(["map", []]),
            ),
        ];
        for (column_type, value) in cases {
            let column_type = column(column_type);
            let datum = Datum::from_json(&value, &column_type, &mut NoNames).unwrap();
            assert_eq!(datum.to_json(&column_type), value);
            let mut text = Vec::new();
            datum.write_json(&column_type, &mut text);
            assert_eq!(String::from_utf8(text).unwrap(), value.to_string());
        }
    }

    #[test]
    fn getters() {
        let map = Datum::map([("b", "2"), ("a", "1"), ("b", "3")]);
        assert_eq!(
            (map.get("a"), map.get("b"), map.get("c")),
            (Some("1"), Some("3"), None)
        );
        assert_eq!(map.to_string(), "{a=\"1\", b=\"3\"}");
        assert_eq!(Datum::set(["b", "a", "b"]).to_string(), "[a, b]");
        assert_eq!(Datum::integer(5).as_i64(), Some(5));
        assert_eq!(Datum::empty().as_str(), None);
        assert_eq!(Datum::optional(None::<i64>), Datum::empty());
    }

    fn map_or_set() -> impl Strategy<Value = (Datum, Datum)> {
        let set = || prop::collection::vec(0i64..8, 0..6).prop_map(Datum::set);
        let map = || prop::collection::vec((0i64..8, 0i64..3), 0..6).prop_map(Datum::map);
        prop_oneof![(set(), set()), (map(), map())]
    }

    proptest! {
        #[test]
        fn diff_leads_from_old_to_new((old, new) in map_or_set()) {
            let mut datum = old.clone();
            datum.apply_diff(&Datum::diff(&old, &new));
            prop_assert_eq!(datum, new);
        }

        #[test]
        fn union_and_subtract((a, b) in map_or_set()) {
            let mut sum = a.clone();
            sum.union(&b);
            prop_assert!(sum.includes_all(&a));
            prop_assert!(b.iter().all(|key| sum.contains_key(key)));
            prop_assert!(sum.keys().is_sorted());
            sum.subtract(&Datum::set(b.keys().to_vec()));
            prop_assert!(sum.iter().all(|key| a.contains_key(key) && !b.contains_key(key)));
            prop_assert!(sum.values().is_empty() || sum.values().len() == sum.len());
        }
    }
}
