//! The JSON of a caveat: read strictly, written compactly.
//!
//! Python's `json` and Warehouse let twenty-odd odd forms through (`true` for
//! tag 1, `1.0`, fields too many, a key twice, NaN…). Here each is unreadable.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use super::{Caveat, Texts};

/// Not a caveat of any form that this version knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the token holds a restriction that this service cannot read")]
pub struct Unreadable;

/// Reads one caveat, strictly.
pub fn read(predicate: &[u8]) -> Result<Caveat<'_>, Unreadable> {
    // All of it is text, also what nobody looks into.
    let text = std::str::from_utf8(predicate).map_err(|_| Unreadable)?;
    serde_json::from_str::<Wire<'_>>(text).map(|wire| wire.0).map_err(|_| Unreadable)
}

impl Caveat<'_> {
    /// The caveat as it stands in a macaroon.
    pub fn write(&self) -> Vec<u8> {
        let mut out = Writer::open(self.tag());
        match self {
            Self::Expiration { expires_at, not_before } => {
                out.integer(*expires_at);
                out.integer(*not_before);
            }
            Self::ProjectNames(texts)
            | Self::ProjectIds(texts)
            | Self::Versions(texts)
            | Self::Filenames(texts)
            | Self::Digests(texts)
            | Self::ClientNetworks(texts)
            | Self::Actions(texts) => out.texts(texts),
            Self::UserId(id) | Self::PublisherId(id) => out.text(id),
            Self::Uses { nonce, count } => {
                out.text(nonce);
                out.integer(i64::from(*count));
            }
            Self::AnyUser => return br#"{"version":1,"permissions":"user"}"#.to_vec(),
        }
        out.close()
    }
}

struct Writer(Vec<u8>);

impl Writer {
    /// Room for what most caveats need.
    const BYTES: usize = 64;

    fn open(tag: u8) -> Self {
        let mut out = Self(Vec::with_capacity(Self::BYTES));
        out.0.push(b'[');
        out.json(&tag);
        out
    }

    fn integer(&mut self, value: i64) {
        self.0.push(b',');
        self.json(&value);
    }

    fn text(&mut self, text: &str) {
        self.0.push(b',');
        self.json(text);
    }

    fn texts(&mut self, texts: &Texts<'_>) {
        // With the quotes and the comma; more only where something is escaped.
        self.0.reserve(texts.iter().map(|text| text.len() + 3).sum());
        self.0.extend_from_slice(b",[");
        for (at, text) in texts.iter().enumerate() {
            if at > 0 {
                self.0.push(b',');
            }
            self.json(text);
        }
        self.0.push(b']');
    }

    fn json<T: Serialize + ?Sized>(&mut self, value: &T) {
        #[expect(
            clippy::expect_used,
            reason = "numbers and strings are JSON, and memory takes it"
        )]
        serde_json::to_writer(&mut self.0, value).expect("numbers and strings can be written");
    }

    fn close(mut self) -> Vec<u8> {
        self.0.push(b']');
        self.0
    }
}

struct Wire<'a>(Caveat<'a>);

impl<'de> Deserialize<'de> for Wire<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WireVisitor).map(Wire)
    }
}

struct WireVisitor;

impl<'de> Visitor<'de> for WireVisitor {
    type Value = Caveat<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a caveat")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut fields: A) -> Result<Self::Value, A::Error> {
        // serde reads an integer from an integer alone: not from 1.0, not from
        // true, not from one beyond 64 bits.
        let caveat = match field::<i64, A>(&mut fields)? {
            0 => {
                let expires_at = field(&mut fields)?;
                Caveat::Expiration { expires_at, not_before: field(&mut fields)? }
            }
            1 => Caveat::ProjectNames(texts(&mut fields)?),
            2 => Caveat::ProjectIds(texts(&mut fields)?),
            3 => Caveat::UserId(text(&mut fields)?),
            4 => {
                let id = text(&mut fields)?;
                // Until 2023 PyPI kept the ID token's claims here.
                fields.next_element::<IgnoredClaims>()?;
                Caveat::PublisherId(id)
            }
            64 => {
                let nonce = text(&mut fields)?;
                Caveat::Uses { nonce, count: field(&mut fields)? }
            }
            65 => Caveat::Versions(texts(&mut fields)?),
            66 => Caveat::Filenames(texts(&mut fields)?),
            67 => Caveat::Digests(texts(&mut fields)?),
            68 => Caveat::ClientNetworks(texts(&mut fields)?),
            69 => Caveat::Actions(texts(&mut fields)?),
            _ => return Err(de::Error::custom("an unknown tag")),
        };
        match fields.next_element::<IgnoredAny>()? {
            None => Ok(caveat),
            Some(_) => Err(de::Error::custom("one field too many")),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        Legacy::read(map)?.caveat().ok_or_else(|| de::Error::custom("an unknown form"))
    }
}

fn field<'de, T: Deserialize<'de>, A: SeqAccess<'de>>(fields: &mut A) -> Result<T, A::Error> {
    fields.next_element()?.ok_or_else(|| de::Error::custom("a field is missing"))
}

fn text<'de, A: SeqAccess<'de>>(fields: &mut A) -> Result<Cow<'de, str>, A::Error> {
    field::<Text<'de>, A>(fields).map(|text| text.0)
}

fn texts<'de, A: SeqAccess<'de>>(fields: &mut A) -> Result<Texts<'de>, A::Error> {
    field::<TextList<'de>, A>(fields).map(|list| list.0)
}

/// The objects that PyPI wrote before caveats had tags.
#[derive(Default)]
struct Legacy<'a> {
    exp: Option<i64>,
    nbf: Option<i64>,
    project_ids: Option<TextList<'a>>,
    version: Option<i64>,
    permissions: Option<Permissions<'a>>,
}

impl<'a> Legacy<'a> {
    fn read<A: MapAccess<'a>>(mut map: A) -> Result<Self, A::Error> {
        let mut legacy = Self::default();
        while let Some(Text(key)) = map.next_key()? {
            match &*key {
                "exp" => once(&mut legacy.exp, &mut map)?,
                "nbf" => once(&mut legacy.nbf, &mut map)?,
                "project_ids" => once(&mut legacy.project_ids, &mut map)?,
                "version" => once(&mut legacy.version, &mut map)?,
                "permissions" => once(&mut legacy.permissions, &mut map)?,
                _ => return Err(de::Error::custom("an unknown key")),
            }
        }
        Ok(legacy)
    }

    fn caveat(self) -> Option<Caveat<'a>> {
        match self {
            Self {
                exp: Some(expires_at),
                nbf: Some(not_before),
                project_ids: None,
                version: None,
                permissions: None,
            } => Some(Caveat::Expiration { expires_at, not_before }),
            Self {
                exp: None,
                nbf: None,
                project_ids: Some(ids),
                version: None,
                permissions: None,
            } => Some(Caveat::ProjectIds(ids.0)),
            Self {
                exp: None,
                nbf: None,
                project_ids: None,
                version: Some(1),
                permissions: Some(permissions),
            } => Some(match permissions {
                Permissions::User => Caveat::AnyUser,
                Permissions::Projects(names) => Caveat::ProjectNames(names.0),
            }),
            _ => None,
        }
    }
}

/// Reads a member that may stand there once.
fn once<'de, T: Deserialize<'de>, A: MapAccess<'de>>(
    member: &mut Option<T>,
    map: &mut A,
) -> Result<(), A::Error> {
    match member.replace(map.next_value()?) {
        None => Ok(()),
        Some(_) => Err(de::Error::custom("a key twice")),
    }
}

enum Permissions<'a> {
    User,
    Projects(TextList<'a>),
}

impl<'de> Deserialize<'de> for Permissions<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PermissionsVisitor;

        impl<'de> Visitor<'de> for PermissionsVisitor {
            type Value = Permissions<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"user\" or an object of projects")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                if text == "user" {
                    Ok(Permissions::User)
                } else {
                    Err(E::custom("unknown permissions"))
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut projects = None;
                while let Some(Text(key)) = map.next_key()? {
                    match &*key {
                        "projects" => once(&mut projects, &mut map)?,
                        _ => return Err(de::Error::custom("an unknown key")),
                    }
                }
                projects
                    .map(Permissions::Projects)
                    .ok_or_else(|| de::Error::missing_field("projects"))
            }
        }

        deserializer.deserialize_any(PermissionsVisitor)
    }
}

/// A string, borrowed unless it holds an escape.
struct Text<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;

        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }

        deserializer.deserialize_str(TextVisitor)
    }
}

/// A list of strings; one allocation for all of them.
struct TextList<'a>(Texts<'a>);

impl<'de> Deserialize<'de> for TextList<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ListVisitor;

        impl<'de> Visitor<'de> for ListVisitor {
            type Value = TextList<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of strings")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut texts = Vec::new();
                while let Some(Text(text)) = list.next_element()? {
                    texts.push(text);
                }
                Ok(TextList(texts))
            }
        }

        deserializer.deserialize_seq(ListVisitor)
    }
}

/// The claims in an old tag 4: an object or null, and nobody looks inside.
struct IgnoredClaims;

impl<'de> Deserialize<'de> for IgnoredClaims {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ClaimsVisitor;

        impl<'de> Visitor<'de> for ClaimsVisitor {
            type Value = IgnoredClaims;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object or null")
            }

            fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
                Ok(IgnoredClaims)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                IgnoredValue.visit_map(map).map(|_| IgnoredClaims)
            }
        }

        deserializer.deserialize_any(ClaimsVisitor)
    }
}

/// Any value whose objects have no key twice and whose numbers lie within 64
/// bits, however deep. Nesting is bounded by `serde_json`.
struct IgnoredValue;

impl<'de> Deserialize<'de> for IgnoredValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for IgnoredValue {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Self, E> {
        i64::try_from(number).map(|_| self).map_err(|_| E::custom("a number beyond 64 bits"))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Self, E> {
        // An integer beyond 64 bits comes as this too, rounded to the bound at least.
        if number.abs() < 2_f64.powi(63) {
            Ok(self)
        } else {
            Err(E::custom("a number beyond 64 bits"))
        }
    }

    fn visit_str<E: de::Error>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self, A::Error> {
        while list.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self, A::Error> {
        let mut keys = std::collections::HashSet::new();
        while let Some((key, Self)) = map.next_entry::<String, _>()? {
            if !keys.insert(key) {
                return Err(de::Error::custom("a key twice"));
            }
        }
        Ok(self)
    }
}
