//! Reads Rust source far enough to say which paths it names, and where.
//!
//! Not a parser: comments and literals are dropped, items under `#[cfg(test)]`
//! are left out, `use` trees are spread out, and names that a `use` or a `type`
//! brought in are replaced by what they stand for. Macros are read like any
//! other code, so what they name counts.

use std::collections::HashMap;

/// A path as it stands for, such as `crate::oidc::Issuer` or `tonic::Status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    /// Line in the file, from 1.
    pub(crate) line: usize,
    /// Its segments; an imported name is spelled out, `self` and `super` are resolved.
    pub(crate) path: Vec<String>,
    /// How it stands there.
    pub(crate) how: How,
}

/// How a path stands in the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// In a `use` for the module itself.
    Imported,
    /// In a `use` that others may see.
    Reexported,
    /// In code.
    Used,
}

/// What a file says.
#[derive(Debug, Default)]
pub(crate) struct Source {
    /// Every path, in order.
    pub(crate) named: Vec<Named>,
    /// Lines with `async` or `await`.
    pub(crate) asynchronous: Vec<usize>,
    /// Modules that are declared here under `#[cfg(test)]`, by name.
    pub(crate) test_modules: Vec<String>,
}

/// Reads a file. `module` is its own path without `crate`; `root` is the name
/// under which the binary sees the library.
pub(crate) fn scan(text: &str, module: &[String], root: &str) -> Source {
    let (tokens, test_modules) = without_tests(&tokens(text));
    let asynchronous = tokens
        .iter()
        .filter(|token| matches!(token.word(), Some("async" | "await")))
        .map(|token| token.line)
        .collect();
    let mut reader = Reader { tokens: &tokens, at: 0, found: Vec::new(), local: Vec::new() };
    let mut home = module.to_vec();
    reader.items(&mut home);
    let Reader { found, local, .. } = reader;
    Source { named: resolve(found, &local, root), asynchronous, test_modules }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Token {
    line: usize,
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Word(String),
    /// `::`
    Colons,
    Mark(char),
}

impl Token {
    fn word(&self) -> Option<&str> {
        match &self.kind {
            Kind::Word(word) => Some(word),
            Kind::Colons | Kind::Mark(_) => None,
        }
    }

    fn is(&self, mark: char) -> bool {
        self.kind == Kind::Mark(mark)
    }
}

fn tokens(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let peek = |at: usize| chars.get(at).copied().unwrap_or('\0');
    let (mut at, mut line, mut tokens) = (0, 1, Vec::new());
    while at < chars.len() {
        let start = at;
        let here = peek(at);
        if here == '/' && peek(at + 1) == '/' {
            while at < chars.len() && peek(at) != '\n' {
                at += 1;
            }
        } else if here == '/' && peek(at + 1) == '*' {
            at = after_block_comment(&chars, at);
        } else if let Some(end) = after_string(&chars, at) {
            at = end;
        } else if here == '\'' {
            at = after_quote(&chars, at);
        } else if here.is_alphanumeric() || here == '_' {
            while peek(at).is_alphanumeric() || peek(at) == '_' {
                at += 1;
            }
            let word: String = chars.iter().skip(start).take(at - start).collect();
            if word == "r" && peek(at) == '#' {
                at += 1; // a raw identifier: what follows is the name
            } else {
                tokens.push(Token { line, kind: Kind::Word(word) });
            }
        } else if here == ':' && peek(at + 1) == ':' {
            tokens.push(Token { line, kind: Kind::Colons });
            at += 2;
        } else {
            if !here.is_whitespace() {
                tokens.push(Token { line, kind: Kind::Mark(here) });
            }
            at += 1;
        }
        line += chars.iter().skip(start).take(at - start).filter(|c| **c == '\n').count();
    }
    tokens
}

fn after_block_comment(chars: &[char], start: usize) -> usize {
    let pair = |at: usize| (chars.get(at).copied(), chars.get(at + 1).copied());
    let (mut at, mut depth) = (start, 0_usize);
    while at < chars.len() {
        match pair(at) {
            (Some('/'), Some('*')) => (depth, at) = (depth + 1, at + 2),
            (Some('*'), Some('/')) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// Where the string literal (of any kind) that begins here ends.
fn after_string(chars: &[char], start: usize) -> Option<usize> {
    let peek = |at: usize| chars.get(at).copied().unwrap_or('\0');
    let follows_a_word = start
        .checked_sub(1)
        .is_some_and(|before| peek(before).is_alphanumeric() || peek(before) == '_');
    let mut at = start;
    if matches!(peek(at), 'b' | 'c') && !follows_a_word {
        at += 1;
    }
    let raw = peek(at) == 'r' && !follows_a_word;
    at += usize::from(raw);
    let mut hashes = 0;
    while raw && peek(at) == '#' {
        (hashes, at) = (hashes + 1, at + 1);
    }
    if peek(at) != '"' {
        return None;
    }
    at += 1;
    while at < chars.len() {
        if !raw && peek(at) == '\\' {
            at += 2;
        } else if peek(at) == '"' && (1..=hashes).all(|n| peek(at + n) == '#') {
            return Some(at + 1 + hashes);
        } else {
            at += 1;
        }
    }
    Some(at)
}

/// After a character literal; after the quote alone where it is a lifetime's.
fn after_quote(chars: &[char], start: usize) -> usize {
    let peek = |at: usize| chars.get(at).copied().unwrap_or('\0');
    if peek(start + 1) == '\\' {
        let mut at = start + 3;
        while at < chars.len() && peek(at) != '\'' {
            at += 1;
        }
        at + 1
    } else if peek(start + 2) == '\'' {
        start + 3
    } else {
        start + 1
    }
}

const CFG_TEST: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];

/// Drops what stands under exactly `#[cfg(test)]`, and says which modules that
/// live in files of their own were dropped so.
fn without_tests(tokens: &[Token]) -> (Vec<Token>, Vec<String>) {
    let spelled = |at: usize| match tokens.get(at).map(|token| &token.kind) {
        Some(Kind::Word(word)) => word.clone(),
        Some(Kind::Mark(mark)) => mark.to_string(),
        Some(Kind::Colons) => "::".to_owned(),
        None => String::new(),
    };
    let (mut kept, mut modules, mut at) = (Vec::new(), Vec::new(), 0);
    while let Some(token) = tokens.get(at) {
        if !CFG_TEST.iter().enumerate().all(|(n, text)| spelled(at + n) == *text) {
            kept.push(token.clone());
            at += 1;
            continue;
        }
        at += CFG_TEST.len();
        let end = after_item(tokens, at);
        let words: Vec<&str> = tokens.iter().take(end).skip(at).filter_map(Token::word).collect();
        if let ([.., "mod", name], ";") = (words.as_slice(), spelled(end - 1).as_str()) {
            modules.push((*name).to_owned());
        }
        at = end;
    }
    (kept, modules)
}

/// After the item that begins here: its `;` or its closing brace.
fn after_item(tokens: &[Token], start: usize) -> usize {
    let (mut at, mut depth) = (start, 0_i32);
    while let Some(token) = tokens.get(at) {
        at += 1;
        match &token.kind {
            Kind::Mark('(' | '[' | '{') => depth += 1,
            Kind::Mark('}') if depth == 1 => break,
            Kind::Mark(')' | ']' | '}') => depth -= 1,
            Kind::Mark(';') if depth == 0 => break,
            Kind::Mark(_) | Kind::Word(_) | Kind::Colons => {}
        }
    }
    at
}

/// A path as written, and the module it was written in.
struct Written {
    line: usize,
    path: Vec<String>,
    alias: Option<String>,
    how: How,
    home: Vec<String>,
}

struct Reader<'a> {
    tokens: &'a [Token],
    at: usize,
    found: Vec<Written>,
    /// Modules declared in this file.
    local: Vec<String>,
}

impl Reader<'_> {
    fn peek(&self, ahead: usize) -> Option<&Token> {
        self.tokens.get(self.at + ahead)
    }

    fn word(&self, ahead: usize) -> Option<&str> {
        self.peek(ahead).and_then(Token::word)
    }

    fn marked(&self, ahead: usize, mark: char) -> bool {
        self.peek(ahead).is_some_and(|token| token.is(mark))
    }

    /// Reads on to the closing brace of the present block, or the end.
    fn items(&mut self, home: &mut Vec<String>) {
        let mut visible = false;
        while let Some(token) = self.peek(0).cloned() {
            match &token.kind {
                Kind::Mark('}') => {
                    self.at += 1;
                    return;
                }
                Kind::Mark('{') => {
                    self.at += 1;
                    self.items(home);
                }
                Kind::Word(word) if word == "mod" => self.module(home),
                Kind::Word(word) if word == "use" => {
                    self.at += 1;
                    let how = if visible { How::Reexported } else { How::Imported };
                    self.tree(&[], how, home);
                }
                Kind::Word(word) if word == "type" => self.alias(home),
                Kind::Word(word) if word == "pub" => {
                    self.at += 1;
                    self.skip_parentheses();
                    visible = true;
                    continue;
                }
                Kind::Word(_) | Kind::Colons => self.path(home),
                Kind::Mark(_) => self.at += 1,
            }
            visible = false;
        }
    }

    fn skip_parentheses(&mut self) {
        if self.marked(0, '(') {
            while self.peek(0).is_some_and(|token| !token.is(')')) {
                self.at += 1;
            }
            self.at += 1;
        }
    }

    fn module(&mut self, home: &mut Vec<String>) {
        let Some(name) = self.word(1).map(str::to_owned) else {
            self.at += 1;
            return;
        };
        self.at += 2;
        self.local.push(name.clone());
        if self.marked(0, '{') {
            self.at += 1;
            home.push(name);
            self.items(home);
            home.pop();
        }
    }

    /// `type Name = some::Path`: another name for it.
    fn alias(&mut self, home: &[String]) {
        let name = self.word(1).map(str::to_owned);
        self.at += 2;
        while self.peek(0).is_some_and(|token| !"=;{}".contains(|end| token.is(end))) {
            self.at += 1; // its generics or bounds
        }
        if self.marked(0, '=') {
            self.at += 1;
            let first = self.found.len();
            self.path(home);
            if let Some(written) = self.found.get_mut(first) {
                written.alias = name;
            }
        }
    }

    /// One branch of a `use` tree.
    fn tree(&mut self, stem: &[String], how: How, home: &[String]) {
        let line = self.peek(0).map_or(0, |token| token.line);
        let mut path = stem.to_vec();
        loop {
            if self.marked(0, '{') {
                self.at += 1;
                while self.peek(0).is_some_and(|token| !token.is('}')) {
                    self.tree(&path, how, home);
                    self.at += usize::from(self.marked(0, ','));
                }
                self.at += 1;
                return;
            }
            match self.peek(0).map(|token| token.kind.clone()) {
                Some(Kind::Word(word)) if word == "self" && !path.is_empty() => {}
                Some(Kind::Word(word)) => path.push(word),
                Some(Kind::Mark('*')) => path.push("*".to_owned()),
                Some(Kind::Colons) => {
                    self.at += 1;
                    continue;
                }
                Some(Kind::Mark(_)) | None => {
                    self.at += 1;
                    return;
                }
            }
            self.at += 1;
            if self.peek(0).is_none_or(|token| token.kind != Kind::Colons) {
                break;
            }
        }
        let mut alias = path.last().cloned();
        if self.word(0) == Some("as") {
            alias = self.word(1).map(str::to_owned);
            self.at += 2;
        }
        self.found.push(Written { line, path, alias, how, home: home.to_vec() });
    }

    /// A path in code: `a::b`, `::a::b`, `<a::b>::c`, `<a::b as d>::c`.
    fn path(&mut self, home: &[String]) {
        let before = |back: usize| self.at.checked_sub(back).and_then(|at| self.tokens.get(at));
        let after_dot = before(1).is_some_and(|token| token.is('.'));
        let of_generics = before(2).is_some_and(|token| match &token.kind {
            Kind::Word(word) => word.starts_with(char::is_uppercase),
            Kind::Colons => true,
            Kind::Mark(_) => false,
        });
        let qualified = before(1).is_some_and(|token| token.is('<')) && !of_generics;
        let line = self.peek(0).map_or(0, |token| token.line);
        let mut path = Vec::new();
        loop {
            if self.peek(0).is_some_and(|token| token.kind == Kind::Colons) {
                self.at += 1;
            }
            let Some(word) = self.word(0).map(str::to_owned) else { break };
            path.push(word);
            self.at += 1;
            if self.peek(0).is_none_or(|token| token.kind != Kind::Colons) {
                break;
            }
        }
        if qualified && self.word(0) == Some("as") {
            path.push("as".to_owned());
        } else if qualified
            && self.marked(0, '>')
            && self.peek(1).is_some_and(|token| token.kind == Kind::Colons)
        {
            path.extend(self.word(2).map(str::to_owned));
        }
        if !after_dot && !path.is_empty() {
            let home = home.to_vec();
            self.found.push(Written { line, path, alias: None, how: How::Used, home });
        }
    }
}

/// Spells the written paths out.
fn resolve(found: Vec<Written>, local: &[String], root: &str) -> Vec<Named> {
    let mut known: HashMap<String, Vec<Vec<String>>> = HashMap::new();
    for written in &found {
        let Some(alias) = written.alias.clone() else { continue };
        let path = absolute(&written.path, &written.home, local, root);
        if path != [alias.clone()] {
            known.entry(alias).or_default().push(path);
        }
    }
    let mut named = Vec::new();
    for written in found {
        let path = absolute(&written.path, &written.home, local, root);
        for path in spelled_out(path, &known, 4) {
            named.push(Named { line: written.line, path, how: written.how });
        }
    }
    named
}

fn absolute(path: &[String], home: &[String], local: &[String], root: &str) -> Vec<String> {
    let krate = || std::iter::once("crate".to_owned());
    let from = |module: &[String], rest: &[String]| {
        krate().chain(module.iter().cloned()).chain(rest.iter().cloned()).collect::<Vec<_>>()
    };
    match path {
        [first, rest @ ..] if first == "self" && !rest.is_empty() => from(home, rest),
        [first, ..] if first == "super" => {
            let ups = path.iter().take_while(|segment| *segment == "super").count();
            let module = home.get(..home.len().saturating_sub(ups)).unwrap_or_default();
            from(module, path.get(ups..).unwrap_or_default())
        }
        [first, rest @ ..] if first == root => from(&[], rest),
        [first, ..] if local.contains(first) && path.len() > 1 => from(home, path),
        path => path.to_vec(),
    }
}

fn spelled_out(
    path: Vec<String>,
    known: &HashMap<String, Vec<Vec<String>>>,
    depth: usize,
) -> Vec<Vec<String>> {
    let meanings = path.first().filter(|_| depth > 0).and_then(|first| known.get(first));
    let Some(meanings) = meanings else { return vec![path] };
    meanings
        .iter()
        .flat_map(|meaning| {
            let longer = meaning.iter().chain(path.iter().skip(1)).cloned().collect();
            spelled_out(longer, known, depth - 1)
        })
        .collect()
}
