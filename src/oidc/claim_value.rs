//! JSON objects of ID tokens, read strictly.
//!
//! Where two readers may understand one text differently, somebody can be
//! shown one thing and another be checked. So a name that stands twice, at any
//! depth, makes the whole text unreadable, as does deep nesting.

use std::{borrow::Cow, cell::Cell, fmt};

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

/// How deep objects and lists may lie in each other; the object of all claims
/// is the first level. Providers use two.
pub const MAX_CLAIM_DEPTH: usize = 8;

/// Up to so many names are compared pairwise, which beats sorting them. Real
/// ID tokens have about 25 claims.
const FEW_NAMES: usize = 32;

/// What a claim holds.
#[derive(Clone, Debug, PartialEq)]
pub enum ClaimValue {
    /// `null`. To everything that reads claims, it is as if the claim was missing.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number written as an integer, inside the bounds of 64 bits.
    Integer(i64),
    /// Any other number.
    Number(f64),
    /// A string.
    String(String),
    /// A list.
    Array(Vec<ClaimValue>),
    /// An object, its members as they stand; no name stands twice.
    Object(Vec<(String, ClaimValue)>),
}

impl ClaimValue {
    /// The string, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            Self::Null
            | Self::Bool(_)
            | Self::Integer(_)
            | Self::Number(_)
            | Self::Array(_)
            | Self::Object(_) => None,
        }
    }

    /// The integer, if it is one. `1.0` and `"1"` are none.
    pub const fn as_integer(&self) -> Option<i64> {
        match self {
            Self::Integer(integer) => Some(*integer),
            Self::Null
            | Self::Bool(_)
            | Self::Number(_)
            | Self::String(_)
            | Self::Array(_)
            | Self::Object(_) => None,
        }
    }

    /// The truth value, if it is one. `"true"` is none.
    pub const fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(truth) => Some(*truth),
            Self::Null
            | Self::Integer(_)
            | Self::Number(_)
            | Self::String(_)
            | Self::Array(_)
            | Self::Object(_) => None,
        }
    }

    /// The value in words that fit into a sentence: a string is itself, a list
    /// or an object is only named.
    pub fn described(&self) -> Cow<'_, str> {
        match self {
            Self::Null => Cow::Borrowed("null"),
            Self::Bool(truth) => Cow::Borrowed(if *truth { "true" } else { "false" }),
            Self::Integer(integer) => Cow::Owned(integer.to_string()),
            Self::Number(number) => Cow::Owned(number.to_string()),
            Self::String(text) => Cow::Borrowed(text),
            Self::Array(_) => Cow::Borrowed("(a list)"),
            Self::Object(_) => Cow::Borrowed("(an object)"),
        }
    }
}

/// The members of one JSON object, in order; no name stands twice.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Members(Vec<(String, ClaimValue)>);

/// Why a text is not taken for a JSON object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonProblem {
    /// It is something else, or nothing.
    #[error("is not a JSON object in UTF-8")]
    NotAnObject,
    /// Two members of one object have the same name.
    #[error("has an object with two members of one name")]
    Duplicate,
    /// Deeper than [`MAX_CLAIM_DEPTH`].
    #[error("is nested deeper than {MAX_CLAIM_DEPTH} levels")]
    TooDeep,
}

impl Members {
    /// Reads a JSON object and nothing after it.
    pub(super) fn parse(json: &[u8]) -> Result<Self, JsonProblem> {
        let problem = Cell::new(JsonProblem::NotAnObject);
        let mut json = serde_json::Deserializer::from_slice(json);
        let value = Reader { depth: 1, problem: &problem }.deserialize(&mut json);
        match (value, json.end()) {
            (Ok(ClaimValue::Object(members)), Ok(())) => Ok(Self(members)),
            _ => Err(problem.get()),
        }
    }

    /// The member of this name.
    pub(super) fn get(&self, name: &str) -> Option<&ClaimValue> {
        self.0.iter().find(|(own, _)| own == name).map(|(_, value)| value)
    }

    /// Every member.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &ClaimValue)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }
}

impl IntoIterator for Members {
    type Item = (String, ClaimValue);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// Reads one value. An object or a list would have this depth.
#[derive(Clone, Copy)]
struct Reader<'r> {
    depth: usize,
    problem: &'r Cell<JsonProblem>,
}

impl Reader<'_> {
    fn inner(self) -> Self {
        Self { depth: self.depth + 1, ..self }
    }

    fn refuse<E: serde::de::Error>(self, problem: JsonProblem) -> E {
        self.problem.set(problem);
        E::custom("refused")
    }

    fn hold_depth<E: serde::de::Error>(self) -> Result<(), E> {
        if self.depth > MAX_CLAIM_DEPTH { Err(self.refuse(JsonProblem::TooDeep)) } else { Ok(()) }
    }
}

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = ClaimValue;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<ClaimValue, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = ClaimValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<ClaimValue, E> {
        Ok(ClaimValue::Null)
    }

    fn visit_bool<E>(self, truth: bool) -> Result<ClaimValue, E> {
        Ok(ClaimValue::Bool(truth))
    }

    fn visit_i64<E>(self, integer: i64) -> Result<ClaimValue, E> {
        Ok(ClaimValue::Integer(integer))
    }

    fn visit_u64<E>(self, integer: u64) -> Result<ClaimValue, E> {
        // Beyond 63 bits it is a number like 1e19: nothing here counts so far.
        #[expect(clippy::cast_precision_loss, reason = "it is only ever shown")]
        let number = || ClaimValue::Number(integer as f64);
        Ok(i64::try_from(integer).map_or_else(|_| number(), ClaimValue::Integer))
    }

    fn visit_f64<E>(self, number: f64) -> Result<ClaimValue, E> {
        Ok(ClaimValue::Number(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<ClaimValue, E> {
        Ok(ClaimValue::String(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<ClaimValue, E> {
        Ok(ClaimValue::String(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<ClaimValue, A::Error> {
        self.hold_depth()?;
        let mut values = Vec::new();
        while let Some(value) = list.next_element_seed(self.inner())? {
            values.push(value);
        }
        Ok(ClaimValue::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<ClaimValue, A::Error> {
        self.hold_depth()?;
        let mut members = Vec::with_capacity(if self.depth == 1 { FEW_NAMES } else { 0 });
        while let Some(name) = object.next_key::<String>()? {
            members.push((name, object.next_value_seed(self.inner())?));
        }
        if has_duplicates(&members) {
            return Err(self.refuse(JsonProblem::Duplicate));
        }
        Ok(ClaimValue::Object(members))
    }
}

/// In less than quadratic time for many members: nobody has proved anything
/// when this is asked.
fn has_duplicates(members: &[(String, ClaimValue)]) -> bool {
    if members.len() <= FEW_NAMES {
        let mut earlier = members.iter().enumerate();
        return earlier
            .any(|(count, (name, _))| members.iter().take(count).any(|(other, _)| other == name));
    }
    let mut names: Vec<&str> = members.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    names.windows(2).any(|pair| matches!(pair, [one, next] if one == next))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readable_objects_are_read_as_they_stand() {
        let text = br#" {"a":null,"b":true,"c":-5,"d":1.0,"e":"\u00e9","f":[1,{"g":[]}],"h":{},
            "i":18446744073709551615,"j":9223372036854775807,"k":1e3} "#;
        let members = Members::parse(text).unwrap();
        let expected = [
            ("a", ClaimValue::Null),
            ("b", ClaimValue::Bool(true)),
            ("c", ClaimValue::Integer(-5)),
            ("d", ClaimValue::Number(1.0)),
            ("e", ClaimValue::String("é".to_owned())),
            (
                "f",
                ClaimValue::Array(vec![
                    ClaimValue::Integer(1),
                    ClaimValue::Object(vec![("g".to_owned(), ClaimValue::Array(vec![]))]),
                ]),
            ),
            ("h", ClaimValue::Object(vec![])),
            ("i", ClaimValue::Number(18_446_744_073_709_551_615.0)),
            ("j", ClaimValue::Integer(i64::MAX)),
            ("k", ClaimValue::Number(1000.0)),
        ];
        assert_eq!(members.iter().map(|(n, v)| (n, v.clone())).collect::<Vec<_>>(), expected);
        assert_eq!(members.get("b"), Some(&ClaimValue::Bool(true)));
        assert_eq!(members.get("z"), None);
    }

    #[test]
    fn unreadable_texts_are_refused_for_their_reason() {
        use JsonProblem::{Duplicate, NotAnObject, TooDeep};
        for (name, text, problem) in [
            ("nothing", &b""[..], NotAnObject),
            ("a list", b"[]", NotAnObject),
            ("a string", b"\"{}\"", NotAnObject),
            ("two objects", b"{}{}", NotAnObject),
            ("something after it", b"{} x", NotAnObject),
            ("a trailing comma", b"{\"a\":1,}", NotAnObject),
            ("a comment", b"{/**/}", NotAnObject),
            ("NaN", b"{\"a\":NaN}", NotAnObject),
            ("a number beyond all bounds", b"{\"a\":1e999}", NotAnObject),
            ("a byte order mark", b"\xef\xbb\xbf{}", NotAnObject),
            ("invalid UTF-8", b"{\"a\":\"\xff\"}", NotAnObject),
            ("invalid UTF-8 in a name", b"{\"\xff\":1}", NotAnObject),
            ("a lone high surrogate", br#"{"a":"\ud800"}"#, NotAnObject),
            ("a lone low surrogate", br#"{"a":"\udc00"}"#, NotAnObject),
            ("a lone surrogate in a name", br#"{"\ud800":1}"#, NotAnObject),
            ("surrogates the wrong way round", br#"{"a":"\udc00\ud800"}"#, NotAnObject),
            ("a raw control character", b"{\"a\":\"\n\"}", NotAnObject),
            ("one name twice", br#"{"a":1,"b":2,"a":1}"#, Duplicate),
            ("one name twice, once escaped", br#"{"iss":1,"\u0069ss":2}"#, Duplicate),
            ("one name twice, deep down", br#"{"a":[{"b":{"c":1,"c":2}}]}"#, Duplicate),
            ("nine lists in each other", br#"{"a":[[[[[[[[1]]]]]]]]}"#, TooDeep),
            (
                "nine objects in each other",
                br#"{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{}}}}}}}}}"#,
                TooDeep,
            ),
        ] {
            assert_eq!(Members::parse(text), Err(problem), "{name}");
        }
    }

    #[test]
    fn eight_levels_are_allowed() {
        assert!(Members::parse(br#"{"a":[[[[[[[1]]]]]]]}"#).is_ok());
        assert!(Members::parse(br#"{"a":{"a":{"a":{"a":{"a":{"a":{"a":1}}}}}}}"#).is_ok());
    }

    #[test]
    fn a_name_that_stands_twice_is_found_among_many() {
        for count in [2, FEW_NAMES - 1, FEW_NAMES, FEW_NAMES + 1, 2000] {
            let mut members: Vec<String> = (0..count).map(|n| format!("\"{n}\":0")).collect();
            let unique = format!("{{{}}}", members.join(","));
            assert!(Members::parse(unique.as_bytes()).is_ok(), "{count} names");
            members.push("\"1\":0".to_owned());
            let doubled = format!("{{{}}}", members.join(","));
            assert_eq!(Members::parse(doubled.as_bytes()), Err(JsonProblem::Duplicate), "{count}");
        }
    }
}
