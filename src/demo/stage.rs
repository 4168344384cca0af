//! How the story looks: numbered steps, what went over the wire, and whether it
//! went as told.

use std::{cell::Cell, fmt::Display};

use serde_json::Value;

use crate::paint::{self, BAD, CARE, FAINT, GOOD, HEAD, NAME};

use super::http::{Answer, RUNNER, Request};

/// Everything below a step's title stands so far in.
const INDENT: &str = "   ";

/// Where the story is told: standard output.
#[derive(Default)]
pub(super) struct Stage {
    step: Cell<u32>,
}

impl Stage {
    /// Begins the story.
    pub(super) fn title(&self, text: &str) {
        line(format_args!("\n{HEAD}{text}{HEAD:#}\n"));
    }

    /// Begins the next step.
    pub(super) fn step(&self, title: &str) {
        self.step.set(self.steps() + 1);
        line(format_args!("\n{HEAD}{}. {title}{HEAD:#}\n", self.steps()));
    }

    /// How many steps there were.
    pub(super) fn steps(&self) -> u32 {
        self.step.get()
    }

    /// Explains.
    pub(super) fn say(&self, text: &str) {
        line(format_args!("{}\n", paint::paragraph(INDENT, text)));
    }

    /// Leaves a line empty.
    pub(super) fn gap(&self) {
        line("");
    }

    /// What somebody types, and what comes back.
    pub(super) fn command(&self, typed: &str, output: &str) {
        line(format_args!("{INDENT}{FAINT}${FAINT:#} {NAME}{typed}{NAME:#}"));
        line(indented(output, INDENT));
    }

    /// A request and its answer, tokens shortened.
    pub(super) fn exchange(&self, request: &Request<'_>, body: &str, answer: &Answer) {
        let Request { method, target, from, .. } = request;
        let from = if *from == RUNNER { String::new() } else { format!(" from {from}") };
        line(format_args!(
            "{INDENT}{FAINT}→{FAINT:#} {NAME}{method} {target}{NAME:#}{CARE}{from}{CARE:#}"
        ));
        if !body.is_empty() {
            line(format_args!("{INDENT}  {body}"));
        }
        let style = if answer.status < 400 { GOOD } else { BAD };
        line(format_args!("{INDENT}{FAINT}←{FAINT:#} {style}{}{style:#}", answer.status));
        line(indented(&readable(answer), &format!("{INDENT}  ")));
    }

    /// Names and values.
    pub(super) fn facts(&self, facts: &[(&str, String)]) {
        line(indented(&paint::facts(facts), INDENT));
    }

    /// It went as told.
    pub(super) fn good(&self, text: &str) {
        let text = paint::paragraph(&format!("{INDENT}  "), text);
        line(format_args!("\n{INDENT}{GOOD}✔{GOOD:#} {}", text.trim_start()));
    }

    /// All of it went as told.
    pub(super) fn end(&self) {
        line(format_args!("\n{GOOD}All {} steps went as told.{GOOD:#}", self.steps()));
    }
}

/// Enough of a token to recognize it by, and no more.
pub(super) fn shortened(token: &str) -> String {
    let shown: String = token.chars().take(24).collect();
    match token.len() {
        0..=32 => token.to_owned(),
        length => format!("{shown}… ({length} characters)"),
    }
}

fn line(text: impl Display) {
    // Where nobody reads on, nobody needs to be told; the exit code says the rest.
    let _ = paint::print(&format!("{text}\n"));
}

/// A success as it is; of a problem (RFC 9457) what a person should read.
fn readable(answer: &Answer) -> String {
    match answer.body.get("errors").and_then(Value::as_array) {
        Some(errors) => errors.iter().map(error).collect::<Vec<_>>().join("\n"),
        None => shown(&answer.body),
    }
}

fn error(error: &Value) -> String {
    let text = |name| error.get(name).and_then(Value::as_str).unwrap_or_default();
    let room = format!("{INDENT}    ");
    let description = paint::paragraph(&room, text("description"));
    format!("{CARE}{}{CARE:#}\n  {}", text("code"), description.replace(&room, "  ").trim_start())
}

fn shown(body: &Value) -> String {
    let mut body = body.clone();
    if let Some(Value::String(token)) = body.get_mut("token") {
        *token = shortened(token);
    }
    let short = body.to_string();
    let room = usize::from(paint::width()).saturating_sub(INDENT.len() + 2);
    if short.chars().count() <= room {
        return short;
    }
    let members = body.as_object().into_iter().flatten();
    let members: Vec<_> = members.map(|(name, value)| format!("  \"{name}\": {value}")).collect();
    format!("{{\n{}\n}}", members.join(",\n"))
}

fn indented(text: &str, indent: &str) -> String {
    let lines = text.trim_end().lines();
    let lines: Vec<_> = lines.map(|line| format!("{indent}{line}").trim_end().to_owned()).collect();
    lines.join("\n")
}
