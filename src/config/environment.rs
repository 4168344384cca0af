//! The environment over the file: `MINTAGE__SECTION__KEY`.
//!
//! Two underscores separate the parts of a path; case doesn't matter, and `_`
//! stands for `-` and `.` too where the file has such a key. A number picks an
//! item of a list, from 0; the number after the last adds one:
//!
//! ```text
//! MINTAGE__LISTEN=0.0.0.0:50051
//! MINTAGE__INDEXES__PYPI__LIFETIME=20m
//! MINTAGE__INDEXES__PYPI__FEATURES=["multi-use-token"]
//! MINTAGE__CALLERS__0__NAME=web
//! MINTAGE__ISSUERS=[{url = "https://gitlab.example", provider = "gitlab"}]
//! ```
//!
//! A value is read as a TOML value, and what isn't one, or where a string is
//! asked for, as the text it is. A variable that names no key is a mistake.

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::{
    mistake::Mistake,
    reader::{Variable, join},
};

/// What every variable's name begins with. Kubernetes' own `MINTAGE_PORT` and
/// such, for a service of this name, have one underscore only.
const PREFIX: &str = "MINTAGE__";

/// Top-level keys that are lists of tables.
const LISTS: [&str; 2] = ["callers", "issuers"];

/// Lays the variables over the document. Returns where each went, by path.
pub(super) fn overlay(
    document: Table,
    environment: impl Iterator<Item = (String, String)>,
    mistakes: &mut Vec<Mistake>,
) -> (Table, BTreeMap<String, Variable>) {
    let mut ours: Vec<(Vec<Segment>, Variable)> = environment
        .filter_map(|(name, text)| {
            let segments = name.strip_prefix(PREFIX)?.split("__").map(Segment::of).collect();
            Some((segments, Variable { name, text }))
        })
        .collect();
    // A whole list comes before its items, item 2 before item 10.
    ours.sort_by(|(left, _), (right, _)| left.cmp(right));

    let mut root = Value::Table(document);
    let mut variables: BTreeMap<String, Variable> = BTreeMap::new();
    for (segments, variable) in ours {
        let placed = place(&mut root, &segments, read(&variable.text)).and_then(|path| {
            match variables.get(&path) {
                None => Ok(path),
                Some(other) => Err(format!("sets the same as {}", other.name)),
            }
        });
        match placed {
            Ok(path) => drop(variables.insert(path, variable)),
            Err(sentence) => mistakes.push(Mistake { place: variable.name, sentence }),
        }
    }
    match root {
        Value::Table(table) => (table, variables),
        _ => (Table::new(), variables),
    }
}

/// One part of a variable's name. Numbers sort as numbers.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Segment {
    Number(usize, String),
    Word(String),
}

impl Segment {
    fn of(text: &str) -> Self {
        let word = text.to_ascii_lowercase();
        match word.parse() {
            Ok(number) => Self::Number(number, word),
            Err(_) => Self::Word(word),
        }
    }

    fn word(&self) -> &str {
        match self {
            Self::Number(_, word) | Self::Word(word) => word,
        }
    }
}

fn read(text: &str) -> Value {
    text.parse().unwrap_or_else(|_| Value::String(text.to_owned()))
}

/// Puts the value where the segments point, and says which path that is.
fn place(root: &mut Value, segments: &[Segment], value: Value) -> Result<String, String> {
    let Some((last, parents)) = segments.split_last() else {
        return Err("names no key".to_owned());
    };
    if segments.iter().any(|segment| segment.word().is_empty()) {
        return Err("has an empty part between its underscores".to_owned());
    }
    let (mut node, mut path) = (root, String::new());
    for segment in parents {
        node = step(node, segment, &mut path)?;
    }
    *step(node, last, &mut path)? = value;
    Ok(path)
}

/// One step down; what isn't there yet is made, as a table or a list.
fn step<'v>(
    node: &'v mut Value,
    segment: &Segment,
    path: &mut String,
) -> Result<&'v mut Value, String> {
    match node {
        Value::Table(table) => {
            let key = key_for(table, segment.word());
            let list = path.is_empty() && LISTS.contains(&key.as_str());
            *path = join(path, &key);
            let fresh = if list { Value::Array(Vec::new()) } else { Value::Table(Table::new()) };
            Ok(table.entry(key).or_insert(fresh))
        }
        Value::Array(items) => {
            let (Segment::Number(number, _), count) = (segment, items.len()) else {
                return Err(format!("needs a number after {path}, which is a list"));
            };
            if *number == count {
                items.push(Value::Table(Table::new()));
            }
            path.push_str(&format!("[{number}]"));
            items
                .get_mut(*number)
                .ok_or_else(|| format!("skips an item: the next one is number {count}"))
        }
        _ => Err(format!("reaches into {path}, which is a single value")),
    }
}

/// The document's own spelling of the key, if it has one.
fn key_for(table: &Table, word: &str) -> String {
    if table.contains_key(word) {
        return word.to_owned();
    }
    let spelled = |key: &&String| key.to_ascii_lowercase().replace(['-', '.'], "_") == word;
    table.keys().find(spelled).cloned().unwrap_or_else(|| word.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn laid(document: &str, variables: &[(&str, &str)]) -> (Table, Vec<String>) {
        let mut mistakes = Vec::new();
        let variables =
            variables.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        let (table, _) = overlay(document.parse().unwrap(), variables, &mut mistakes);
        (table, mistakes.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_variable_replaces_adds_and_reaches_into_lists() {
        let (table, mistakes) = laid(
            "listen = 'a'\n[[callers]]\nname = 'one'\n[indexes.My-Own]\nlifetime = '15m'",
            &[
                ("MINTAGE__LISTEN", "0.0.0.0:1"),
                ("MINTAGE__INDEXES__MY_OWN__LIFETIME", "20m"),
                ("MINTAGE__INDEXES__OTHER__RETRY_WINDOW", "5"),
                ("MINTAGE__CALLERS__0__NAME", "first"),
                ("MINTAGE__CALLERS__1__MAY", "[\"verify\"]"),
                ("MINTAGE__ISSUERS__0__URL", "https://issuer.example"),
                ("MINTAGE_PORT", "tcp://10.0.0.1:50051"),
                ("PATH", "/bin"),
            ],
        );
        let expected: Table =
            "listen = '0.0.0.0:1'\ncallers = [{name = 'first'}, {may = ['verify']}]\n\
             issuers = [{url = 'https://issuer.example'}]\n\
             [indexes.My-Own]\nlifetime = '20m'\n[indexes.other]\nretry_window = 5"
                .parse()
                .unwrap();
        assert_eq!(table, expected);
        assert_eq!(mistakes, Vec::<String>::new());
    }

    #[test]
    fn items_come_in_the_order_of_numbers_and_after_the_whole_list() {
        let mut variables = vec![("MINTAGE__CALLERS".to_owned(), "[]".to_owned())];
        for number in 0..12 {
            variables.push((format!("MINTAGE__CALLERS__{number}__NAME"), format!("c{number}")));
        }
        let borrowed: Vec<_> =
            variables.iter().rev().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        let (table, mistakes) = laid("", &borrowed);
        assert_eq!(table["callers"].as_array().unwrap().len(), 12);
        assert_eq!(mistakes, Vec::<String>::new());
    }

    #[test]
    fn a_variable_that_can_not_be_placed_is_a_mistake() {
        let document = "listen = 'a'\ncallers = []\nlog = {}";
        for (name, expected) in [
            ("MINTAGE__LISTEN__X", "reaches into listen, which is a single value"),
            ("MINTAGE__", "has an empty part between its underscores"),
            ("MINTAGE__LOG____FILTER", "has an empty part between its underscores"),
            ("MINTAGE__CALLERS__NAME", "needs a number after callers, which is a list"),
            ("MINTAGE__CALLERS__1__NAME", "skips an item: the next one is number 0"),
        ] {
            assert_eq!(laid(document, &[(name, "1")]).1, [format!("{name}: {expected}")]);
        }
        let (_, mistakes) = laid("", &[("MINTAGE__LISTEN", "a"), ("MINTAGE__listen", "b")]);
        assert_eq!(mistakes, ["MINTAGE__listen: sets the same as MINTAGE__LISTEN"]);
    }
}
