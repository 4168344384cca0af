//! Names of projects, and the form in which they are compared.

use std::borrow::Cow;

/// A project's name in normal form (PEP 503): ASCII lower case, with one `-` for
/// every run of `-`, `_` and `.`. Borrows from names that are in that form.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProjectName<'a>(Cow<'a, str>);

/// Not the name of a project.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a project name has only ASCII letters, digits, \"-\", \"_\" and \".\", and begins and ends with a letter or digit"
)]
pub struct ProjectNameInvalid;

impl<'a> ProjectName<'a> {
    /// Reads a name as packaging tools write it (PEP 508).
    ///
    /// # Errors
    ///
    /// It is not of the form that PEP 508 allows.
    pub fn parse(name: &'a str) -> Result<Self, ProjectNameInvalid> {
        hold_form(name.as_bytes())?;
        if is_normal(name.as_bytes()) {
            return Ok(Self(Cow::Borrowed(name)));
        }
        let mut normal = String::with_capacity(name.len());
        normalize(name, &mut normal);
        Ok(Self(Cow::Owned(normal)))
    }

    /// The same for one name of thousands: the normal form of each goes into
    /// `room`, where the name itself has another.
    ///
    /// # Errors
    ///
    /// As [`ProjectName::parse`].
    pub fn parse_in(name: &'a str, room: &'a mut String) -> Result<Self, ProjectNameInvalid> {
        hold_form(name.as_bytes())?;
        if is_normal(name.as_bytes()) {
            return Ok(Self(Cow::Borrowed(name)));
        }
        room.clear();
        normalize(name, room);
        Ok(Self(Cow::Borrowed(room)))
    }

    /// The normal form.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The normal form as a string of its own.
    pub fn into_string(self) -> String {
        self.0.into_owned()
    }
}

/// What PEP 508 allows.
fn hold_form(name: &[u8]) -> Result<(), ProjectNameInvalid> {
    let outer = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let inner = |byte: &u8| byte.is_ascii_alphanumeric() || is_separator(*byte);
    if outer(name.first()) && outer(name.last()) && name.iter().all(inner) {
        Ok(())
    } else {
        Err(ProjectNameInvalid)
    }
}

const fn is_separator(byte: u8) -> bool {
    matches!(byte, b'-' | b'_' | b'.')
}

fn is_normal(name: &[u8]) -> bool {
    let normal = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-';
    name.iter().all(normal) && !name.windows(2).any(|pair| pair == b"--")
}

/// Appends the normal form of a name.
fn normalize(name: &str, normal: &mut String) {
    for character in name.chars() {
        if matches!(character, '-' | '_' | '.') {
            if !normal.ends_with('-') {
                normal.push('-');
            }
        } else {
            normal.push(character.to_ascii_lowercase());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_in_their_normal_form() {
        for (name, normal) in [
            ("a", "a"),
            ("7", "7"),
            ("requests", "requests"),
            ("zope-interface", "zope-interface"),
            ("Zope.Interface", "zope-interface"),
            ("ZOPE_INTERFACE", "zope-interface"),
            ("zope--interface", "zope-interface"),
            ("zope-_.-interface", "zope-interface"),
            ("a-b_c.d", "a-b-c-d"),
        ] {
            let parsed = ProjectName::parse(name).unwrap();
            assert_eq!(parsed.as_str(), normal, "{name}");
            assert_eq!(matches!(parsed.0, Cow::Borrowed(_)), name == normal, "{name}");
            assert_eq!(parsed.into_string(), normal);
            let mut room = "what was there before".to_owned();
            assert_eq!(ProjectName::parse_in(name, &mut room).unwrap().as_str(), normal);
        }
    }

    #[test]
    fn other_texts_are_no_names() {
        for text in [
            "",
            "-",
            ".",
            "_",
            "-a",
            "a-",
            ".a",
            "a.",
            "_a",
            "a_",
            "a b",
            " a",
            "a ",
            "a\n",
            "a/b",
            "a\0b",
            "é",
            "aéb",
            "\u{212a}",
            "a\u{0131}b",
            "a+b",
            "a@b",
            "a,b",
        ] {
            assert_eq!(ProjectName::parse(text), Err(ProjectNameInvalid), "{text:?}");
            let mut room = String::new();
            assert_eq!(ProjectName::parse_in(text, &mut room), Err(ProjectNameInvalid), "{text:?}");
        }
    }
}
