//! Conversions between Rust's types and [`Atom`]s and [`Datum`]s.
//!
//! | Column | Rust |
//! | --- | --- |
//! | exactly one element | `i64`, `f64`, `bool`, `String`, `&str`, [`Uuid`] |
//! | at most one element | `Option` of these |
//! | set | `Vec`, `BTreeSet` of these, in ascending order |
//! | map | `BTreeMap` of these |
//!
//! `From` makes a datum, `TryFrom` reads one. Reading is strict: a column with two elements is no
//! `i64`, and an integer is no `f64`.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::{Atom, Datum, Real};
use crate::schema::AtomicType;

/// A value is not of the Rust type that it was to become.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// An atom of another type.
    #[error("expected {expected}, found {} {found}", found.atomic_type().as_str())]
    Type { expected: &'static str, found: Atom },
    /// More or fewer elements.
    #[error("expected {expected}, found {found} of them")]
    Count {
        expected: &'static str,
        found: usize,
    },
    /// A set for a map, or a map for a set.
    #[error("expected a {expected}, found a {found}")]
    Shape {
        expected: &'static str,
        found: &'static str,
    },
}

macro_rules! scalars {
    ($($rust:ty, $kind:ident, $read:expr;)*) => {$(
        impl TryFrom<&Atom> for $rust {
            type Error = ValueError;

            fn try_from(atom: &Atom) -> Result<Self, ValueError> {
                let read: fn(&Atom) -> Option<$rust> = $read;
                read(atom).ok_or_else(|| wrong_type(AtomicType::$kind, atom))
            }
        }

        impl TryFrom<&Datum> for $rust {
            type Error = ValueError;

            fn try_from(datum: &Datum) -> Result<Self, ValueError> {
                only(datum)?.try_into()
            }
        }

        impl From<$rust> for Datum {
            fn from(value: $rust) -> Self {
                Self::scalar(value)
            }
        }
    )*};
}

scalars! {
    i64, Integer, Atom::as_i64;
    f64, Real, Atom::as_f64;
    bool, Boolean, Atom::as_bool;
    String, String, |atom| atom.as_str().map(str::to_owned);
    Uuid, Uuid, Atom::as_uuid;
}

impl<'a> TryFrom<&'a Atom> for &'a str {
    type Error = ValueError;

    fn try_from(atom: &'a Atom) -> Result<Self, ValueError> {
        atom.as_str()
            .ok_or_else(|| wrong_type(AtomicType::String, atom))
    }
}

impl<'a> TryFrom<&'a Datum> for &'a str {
    type Error = ValueError;

    fn try_from(datum: &'a Datum) -> Result<Self, ValueError> {
        only(datum)?.try_into()
    }
}

impl From<&str> for Datum {
    fn from(value: &str) -> Self {
        Self::scalar(value)
    }
}

impl From<f64> for Atom {
    /// `value` has to be finite: JSON has no other numbers, and a server refuses what is sent for
    /// them.
    fn from(value: f64) -> Self {
        Self::Real(Real(value))
    }
}

impl<'a, T: TryFrom<&'a Atom, Error = ValueError>> TryFrom<&'a Datum> for Option<T> {
    type Error = ValueError;

    fn try_from(datum: &'a Datum) -> Result<Self, ValueError> {
        match set(datum)? {
            [] => Ok(None),
            [atom] => atom.try_into().map(Some),
            atoms => Err(ValueError::Count {
                expected: "at most one element",
                found: atoms.len(),
            }),
        }
    }
}

impl<'a, T: TryFrom<&'a Atom, Error = ValueError>> TryFrom<&'a Datum> for Vec<T> {
    type Error = ValueError;

    fn try_from(datum: &'a Datum) -> Result<Self, ValueError> {
        set(datum)?.iter().map(T::try_from).collect()
    }
}

impl<'a, T: TryFrom<&'a Atom, Error = ValueError> + Ord> TryFrom<&'a Datum> for BTreeSet<T> {
    type Error = ValueError;

    fn try_from(datum: &'a Datum) -> Result<Self, ValueError> {
        set(datum)?.iter().map(T::try_from).collect()
    }
}

impl<'a, K, V> TryFrom<&'a Datum> for BTreeMap<K, V>
where
    K: TryFrom<&'a Atom, Error = ValueError> + Ord,
    V: TryFrom<&'a Atom, Error = ValueError>,
{
    type Error = ValueError;

    fn try_from(datum: &'a Datum) -> Result<Self, ValueError> {
        // An empty set and an empty map are the same value.
        if !datum.is_map() && !datum.is_empty() {
            return Err(ValueError::Shape {
                expected: "map",
                found: "set",
            });
        }
        datum
            .keys()
            .iter()
            .zip(datum.values())
            .map(|(key, value)| Ok((K::try_from(key)?, V::try_from(value)?)))
            .collect()
    }
}

impl<T: Into<Atom>> From<Option<T>> for Datum {
    fn from(value: Option<T>) -> Self {
        Self::optional(value)
    }
}

impl<T: Into<Atom>> From<Vec<T>> for Datum {
    fn from(values: Vec<T>) -> Self {
        Self::set(values)
    }
}

impl<T: Into<Atom>, const N: usize> From<[T; N]> for Datum {
    fn from(values: [T; N]) -> Self {
        Self::set(values)
    }
}

impl<T: Into<Atom>> From<BTreeSet<T>> for Datum {
    fn from(values: BTreeSet<T>) -> Self {
        Self::set(values)
    }
}

impl<K: Into<Atom>, V: Into<Atom>> From<BTreeMap<K, V>> for Datum {
    fn from(entries: BTreeMap<K, V>) -> Self {
        Self::map(entries)
    }
}

fn wrong_type(expected: AtomicType, found: &Atom) -> ValueError {
    ValueError::Type {
        expected: expected.as_str(),
        found: found.clone(),
    }
}

fn only(datum: &Datum) -> Result<&Atom, ValueError> {
    match set(datum)? {
        [atom] => Ok(atom),
        atoms => Err(ValueError::Count {
            expected: "exactly one element",
            found: atoms.len(),
        }),
    }
}

fn set(datum: &Datum) -> Result<&[Atom], ValueError> {
    if datum.is_map() {
        return Err(ValueError::Shape {
            expected: "set",
            found: "map",
        });
    }
    Ok(datum.keys())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round<T>(value: T)
    where
        T: Into<Datum> + Clone + PartialEq + std::fmt::Debug,
        T: for<'a> TryFrom<&'a Datum, Error = ValueError>,
    {
        let datum: Datum = value.clone().into();
        assert_eq!(T::try_from(&datum), Ok(value));
    }

    #[test]
    fn there_and_back() {
        round(5i64);
        round(1.5f64);
        round(true);
        round("x".to_owned());
        round(Uuid::from_u128(7));
        round(None::<i64>);
        round(Some("y".to_owned()));
        round(vec![1i64, 2]);
        round(BTreeSet::from([false, true]));
        round(BTreeMap::from([("k".to_owned(), 1i64)]));
        round(BTreeMap::<String, String>::new());
        assert_eq!(<&str>::try_from(&Datum::from("z")), Ok("z"));
        assert_eq!(
            Vec::<i64>::try_from(&Datum::from([2i64, 1, 2])),
            Ok(vec![1, 2])
        );
    }

    #[test]
    fn what_does_not_fit_says_why() {
        let text = |error: ValueError| error.to_string();
        let two = Datum::from([1i64, 2]);
        let map = Datum::map([("a", "b")]);
        assert_eq!(
            i64::try_from(&two).map_err(text).unwrap_err(),
            "expected exactly one element, found 2 of them"
        );
        assert_eq!(
            Option::<i64>::try_from(&two).map_err(text).unwrap_err(),
            "expected at most one element, found 2 of them"
        );
        assert_eq!(
            f64::try_from(&Datum::from(1i64)).map_err(text).unwrap_err(),
            "expected real, found integer 1"
        );
        assert_eq!(
            Vec::<String>::try_from(&map).map_err(text).unwrap_err(),
            "expected a set, found a map"
        );
        assert_eq!(
            BTreeMap::<i64, i64>::try_from(&two)
                .map_err(text)
                .unwrap_err(),
            "expected a map, found a set"
        );
        assert_eq!(
            BTreeMap::<String, i64>::try_from(&map)
                .map_err(text)
                .unwrap_err(),
            "expected integer, found string b"
        );
    }
}
