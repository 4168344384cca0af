//! Reads a TOML table into types and notes every mistake on the way, where
//! serde would stop at the first.
//!
//! A [`Section`] hands out each value once; what nobody asked for by its
//! [`Section::end`] is an unknown key. A value that can't be read is noted and
//! then missing, so that reading goes on.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::Duration,
};

use toml::{Table, Value};

use super::{duration, mistake::Mistake};

/// One pass over a configuration.
#[derive(Debug)]
pub(super) struct Reading {
    mistakes: RefCell<Vec<Mistake>>,
    variables: BTreeMap<String, Variable>,
    directory: PathBuf,
    files: RefCell<Vec<PathBuf>>,
}

/// A value's origin in the environment.
#[derive(Clone, Debug)]
pub(super) struct Variable {
    pub(super) name: String,
    pub(super) text: String,
}

impl Reading {
    /// `variables` by the path that they set; relative paths start at `directory`.
    pub(super) fn new(
        directory: &Path,
        variables: BTreeMap<String, Variable>,
        mistakes: Vec<Mistake>,
    ) -> Self {
        let (mistakes, directory) = (RefCell::new(mistakes), directory.to_owned());
        Self { mistakes, variables, directory, files: RefCell::default() }
    }

    /// The whole document.
    pub(super) fn root(&self, table: Table) -> Section<'_> {
        self.section(String::new(), table)
    }

    /// What was noted.
    pub(super) fn into_mistakes(self) -> Vec<Mistake> {
        self.mistakes.into_inner()
    }

    fn section(&self, path: String, table: Table) -> Section<'_> {
        Section { reading: self, path, table, known: Vec::new() }
    }

    fn note(&self, path: &str, sentence: impl Into<String>) {
        let place = match self.variables.get(path) {
            Some(variable) => format!("{path} ({})", variable.name),
            None => path.to_owned(),
        };
        self.mistakes.borrow_mut().push(Mistake { place, sentence: sentence.into() });
    }
}

/// A value that was found, and the text it had if it came from the environment.
pub(super) struct Found<'r> {
    value: Value,
    text: Option<&'r str>,
}

/// One table of the configuration, with its path.
#[derive(Debug)]
#[must_use = "call end(), or unknown keys go unnoticed"]
pub(super) struct Section<'r> {
    reading: &'r Reading,
    path: String,
    table: Table,
    known: Vec<&'static str>,
}

/// What a reader answers: the value, or what would have been right.
pub(super) type Read<T> = Result<T, String>;

impl<'r> Section<'r> {
    /// A value that may be absent.
    pub(super) fn optional<T>(
        &mut self,
        key: &'static str,
        read: impl Fn(&Found<'_>) -> Read<T>,
    ) -> Option<T> {
        let found = self.take(key)?;
        read(&found).map_err(|sentence| self.wrong(key, sentence)).ok()
    }

    /// A value that must be there.
    pub(super) fn required<T>(
        &mut self,
        key: &'static str,
        read: impl Fn(&Found<'_>) -> Read<T>,
    ) -> Option<T> {
        if !self.table.contains_key(key) {
            self.wrong(key, "is missing");
        }
        self.optional(key, read)
    }

    /// A value with a default.
    pub(super) fn or<T>(
        &mut self,
        key: &'static str,
        default: T,
        read: impl Fn(&Found<'_>) -> Read<T>,
    ) -> T {
        self.optional(key, read).unwrap_or(default)
    }

    /// A value with a default; None where there is one that can't be read, for
    /// what is read in another way according to it.
    pub(super) fn chosen<T>(
        &mut self,
        key: &'static str,
        default: T,
        read: impl Fn(&Found<'_>) -> Read<T>,
    ) -> Option<T> {
        let absent = !self.has(key);
        self.optional(key, read).or_else(|| absent.then_some(default))
    }

    /// Notes of each of these keys that is there that it doesn't belong.
    pub(super) fn misplaced(&mut self, keys: &[&str], sentence: &str) {
        for key in keys {
            if self.table.remove(*key).is_some() {
                self.wrong(key, sentence);
            }
        }
    }

    /// A list that may be absent, without the items that can't be read.
    pub(super) fn list<T>(
        &mut self,
        key: &'static str,
        read: impl Fn(&Found<'_>) -> Read<T>,
    ) -> Option<Vec<T>> {
        let items = self.optional(key, as_list)?;
        Some(self.items(key, items, read))
    }

    /// A list that may be absent, but not empty.
    pub(super) fn filled_list<T>(
        &mut self,
        key: &'static str,
        read: impl Fn(&Found<'_>) -> Read<T>,
    ) -> Option<Vec<T>> {
        let items = self.optional(key, as_list)?;
        if items.is_empty() {
            self.wrong(key, "must not be empty");
        }
        Some(self.items(key, items, read))
    }

    fn items<T>(
        &self,
        key: &str,
        items: Vec<Value>,
        read: impl Fn(&Found<'_>) -> Read<T>,
    ) -> Vec<T> {
        let mut values = Vec::with_capacity(items.len());
        for (position, value) in items.into_iter().enumerate() {
            match read(&Found { value, text: None }) {
                Ok(value) => values.push(value),
                Err(sentence) => {
                    self.reading.note(&format!("{}[{position}]", self.path_of(key)), sentence);
                }
            }
        }
        values
    }

    /// A table; empty where it is absent.
    pub(super) fn section(&mut self, key: &'static str) -> Section<'r> {
        let table = self.optional(key, as_table).unwrap_or_default();
        self.reading.section(self.path_of(key), table)
    }

    /// An array of tables; empty where it is absent.
    pub(super) fn sections(&mut self, key: &'static str) -> Vec<Section<'r>> {
        let items = self.optional(key, as_list);
        let mut sections = Vec::new();
        for (position, value) in items.into_iter().flatten().enumerate() {
            let path = format!("{}[{position}]", self.path_of(key));
            match as_table(&Found { value, text: None }) {
                Ok(table) => sections.push(self.reading.section(path, table)),
                Err(sentence) => self.reading.note(&path, sentence),
            }
        }
        sections
    }

    /// A table of tables, by name; empty where it is absent.
    pub(super) fn named_sections(&mut self, key: &'static str) -> Vec<(String, Section<'r>)> {
        let table = self.optional(key, as_table).unwrap_or_default();
        let mut sections = Vec::new();
        for (name, value) in table {
            let path = join(&self.path_of(key), &name);
            match as_table(&Found { value, text: None }) {
                Ok(table) => sections.push((name, self.reading.section(path, table))),
                Err(sentence) => self.reading.note(&path, sentence),
            }
        }
        sections
    }

    /// Notes a mistake at one of the section's keys.
    pub(super) fn wrong(&self, key: &str, sentence: impl Into<String>) {
        self.reading.note(&self.path_of(key), sentence);
    }

    /// Notes a mistake of the whole section.
    pub(super) fn wrong_here(&self, sentence: impl Into<String>) {
        self.reading.note(&self.path, sentence);
    }

    /// A reader of paths; relative ones start at the configuration's folder.
    pub(super) fn path_reader(&self) -> impl Fn(&Found<'_>) -> Read<PathBuf> + use<'r> {
        let reading = self.reading;
        move |found| {
            let path = reading.directory.join(nonempty(found)?);
            reading.files.borrow_mut().push(path.clone());
            Ok(path)
        }
    }

    /// Every path that was read so far, of the whole document.
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        self.reading.files.borrow().clone()
    }

    /// Whether the section has this key, read or not.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Whether there is a value at the end of this path, where it was not read yet.
    pub(super) fn holds(&self, path: &[&str]) -> bool {
        let Some((first, rest)) = path.split_first() else { return false };
        let begin = self.table.get(*first);
        rest.iter().fold(begin, |value, key| value?.get(*key)).is_some()
    }

    /// Every key that is left is unknown.
    pub(super) fn end(self) {
        let known = self.known.join(", ");
        for (key, _) in self.table {
            let path = join(&self.path, &key);
            self.reading.note(&path, format!("is unknown; known here: {known}"));
        }
    }

    /// Leaves what is left unread and unjudged.
    pub(super) fn abandon(self) {}

    fn take(&mut self, key: &'static str) -> Option<Found<'r>> {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
        let value = self.table.remove(key)?;
        let variable = self.reading.variables.get(&self.path_of(key));
        Some(Found { value, text: variable.map(|variable| variable.text.as_str()) })
    }

    fn path_of(&self, key: &str) -> String {
        join(&self.path, key)
    }
}

/// A path and one key more, quoted where TOML would quote it.
pub(super) fn join(path: &str, key: &str) -> String {
    let bare = !key.is_empty()
        && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    let key = if bare { key.to_owned() } else { format!("{key:?}") };
    if path.is_empty() { key } else { format!("{path}.{key}") }
}

fn as_table(found: &Found<'_>) -> Read<Table> {
    match &found.value {
        Value::Table(table) => Ok(table.clone()),
        other => Err(must_be("a table", other)),
    }
}

fn as_list(found: &Found<'_>) -> Read<Vec<Value>> {
    match &found.value {
        Value::Array(items) => Ok(items.clone()),
        other => Err(must_be("a list", other)),
    }
}

fn must_be(wanted: &str, value: &Value) -> String {
    let found = match value {
        Value::String(_) => "a string",
        Value::Integer(_) => "a whole number",
        Value::Float(_) => "a number with a fraction",
        Value::Boolean(_) => "true or false",
        Value::Datetime(_) => "a date",
        Value::Array(_) => "a list",
        Value::Table(_) => "a table",
    };
    format!("must be {wanted}, but is {found}")
}

/// A string, empty or not. What came from the environment is one as it stands,
/// whatever else it looks like (`2026-11-21`, `007`).
pub(super) fn string(found: &Found<'_>) -> Read<String> {
    match (&found.value, found.text) {
        (Value::String(text), _) => Ok(text.clone()),
        (_, Some(text)) => Ok(text.to_owned()),
        (other, None) => Err(must_be("a string", other)),
    }
}

/// A string that isn't empty.
pub(super) fn nonempty(found: &Found<'_>) -> Read<String> {
    let text = string(found)?;
    if text.is_empty() { Err("must not be empty".to_owned()) } else { Ok(text) }
}

/// A string of 1 to `max` bytes of printable ASCII.
pub(super) fn printable(max: usize) -> impl Fn(&Found<'_>) -> Read<String> {
    move |found| {
        let text = nonempty(found)?;
        if text.len() > max {
            return Err(format!("must have at most {max} characters, but has {}", text.len()));
        }
        if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            Ok(text)
        } else {
            Err("must be printable ASCII".to_owned())
        }
    }
}

/// The same without white space.
pub(super) fn word(max: usize) -> impl Fn(&Found<'_>) -> Read<String> {
    let printable = printable(max);
    move |found| match printable(found)? {
        text if text.contains(' ') => Err("must not hold white space".to_owned()),
        text => Ok(text),
    }
}

/// True or false.
pub(super) fn boolean(found: &Found<'_>) -> Read<bool> {
    match &found.value {
        Value::Boolean(value) => Ok(*value),
        other => Err(must_be("true or false", other)),
    }
}

/// A whole number within bounds.
pub(super) fn integer<T>(bounds: RangeInclusive<T>) -> impl Fn(&Found<'_>) -> Read<T>
where
    T: TryFrom<i64> + PartialOrd + fmt::Display,
{
    move |found| match &found.value {
        Value::Integer(number) => match T::try_from(*number) {
            Ok(value) if bounds.contains(&value) => Ok(value),
            _ => Err(format!(
                "must lie between {} and {}, but is {number}",
                bounds.start(),
                bounds.end()
            )),
        },
        other => Err(must_be("a whole number", other)),
    }
}

/// A number within bounds, with a fraction or without.
pub(super) fn number(bounds: RangeInclusive<f64>) -> impl Fn(&Found<'_>) -> Read<f64> {
    move |found| {
        let number = match &found.value {
            Value::Float(number) => *number,
            // One that doesn't fit lies outside of all bounds.
            Value::Integer(number) => i32::try_from(*number).map_or(f64::NAN, f64::from),
            other => return Err(must_be("a number", other)),
        };
        if bounds.contains(&number) {
            Ok(number)
        } else {
            Err(format!("must lie between {:?} and {:?}", bounds.start(), bounds.end()))
        }
    }
}

/// A time within bounds: a string with units, or a whole number of seconds.
pub(super) fn time(bounds: RangeInclusive<Duration>) -> impl Fn(&Found<'_>) -> Read<Duration> {
    move |found| {
        let time = match &found.value {
            Value::String(text) => duration::parse(text).map_err(|error| error.to_string())?,
            Value::Integer(seconds) => Duration::from_secs(
                u64::try_from(*seconds).map_err(|_| "must not be negative".to_owned())?,
            ),
            other => return Err(must_be("a time such as \"15m\"", other)),
        };
        if bounds.contains(&time) {
            return Ok(time);
        }
        let [from, to, is] = [*bounds.start(), *bounds.end(), time].map(duration::display);
        Err(format!("must lie between {from} and {to}, but is {is}"))
    }
}

/// An IP address with a port.
pub(super) fn address(found: &Found<'_>) -> Read<SocketAddr> {
    string(found)?
        .parse()
        .map_err(|_| "must be an IP address and a port, such as \"127.0.0.1:50051\"".to_owned())
}

/// One of a few words.
pub(super) fn one_of<T: Copy + 'static>(
    words: &'static [(&'static str, T)],
) -> impl Fn(&Found<'_>) -> Read<T> {
    move |found| {
        let word = string(found)?;
        words.iter().find(|(name, _)| *name == word).map(|(_, value)| *value).ok_or_else(|| {
            let names: Vec<_> = words.iter().map(|(name, _)| format!("\"{name}\"")).collect();
            match names.as_slice() {
                [only] => format!("must be {only}"),
                _ => format!("must be one of {}", names.join(", ")),
            }
        })
    }
}
