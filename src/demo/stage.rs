//! How the story looks: numbered steps, what went over the wire, and whether it
//! went as told.

use std::{cell::Cell, io::Write as _};

use serde_json::Value;

use crate::paint::{self, BAD, FAINT, GOOD, HEAD, NAME};

use super::http::{Answer, Request};

/// Where the story is told: standard output.
#[derive(Default)]
pub(super) struct Stage {
    step: Cell<u32>,
}

impl Stage {
    /// Begins the story.
    pub(super) fn title(&self, text: &str) {
        anstream::println!("\n{HEAD}{text}{HEAD:#}\n");
    }

    /// Begins the next step.
    pub(super) fn step(&self, title: &str) {
        self.step.set(self.steps() + 1);
        anstream::println!("\n{HEAD}{}. {title}{HEAD:#}\n", self.steps());
    }

    /// How many steps there were.
    pub(super) fn steps(&self) -> u32 {
        self.step.get()
    }

    /// Explains.
    pub(super) fn say(&self, text: &str) {
        anstream::println!("{}", paint::paragraph("   ", text));
    }

    /// What somebody types.
    pub(super) fn command(&self, text: &str) {
        anstream::println!("   {FAINT}${FAINT:#} {NAME}{text}{NAME:#}");
    }

    /// A request and its answer, tokens shortened.
    pub(super) fn exchange(&self, request: &Request<'_>, body: &str, answer: &Answer) {
        let Request { method, target, from, .. } = request;
        let style = if answer.status < 400 { GOOD } else { BAD };
        let status = answer.status;
        anstream::println!(
            "   {FAINT}→{FAINT:#} {NAME}{method} {target}{NAME:#}  {FAINT}from {from}{FAINT:#}"
        );
        if !body.is_empty() {
            anstream::println!("     {body}");
        }
        anstream::println!("   {FAINT}←{FAINT:#} {style}{status}{style:#}");
        anstream::println!("{}", indented(&pretty(&answer.body), "     "));
    }

    /// Names and values.
    pub(super) fn facts(&self, facts: &[(&str, String)]) {
        anstream::print!("{}", indented(&paint::facts(facts), "   ") + "\n");
    }

    /// Text as it is.
    pub(super) fn text(&self, text: &str) {
        anstream::println!("{}", indented(text.trim_end(), "   "));
    }

    /// It went as told.
    pub(super) fn good(&self, text: &str) {
        let text = paint::paragraph("     ", text);
        anstream::println!("\n   {GOOD}✔{GOOD:#} {}", text.trim_start());
        // Nobody reads on: then there is nobody to tell.
        let _ = std::io::stdout().flush();
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

fn pretty(body: &Value) -> String {
    let mut body = body.clone();
    if let Some(Value::String(token)) = body.get_mut("token") {
        *token = shortened(token);
    }
    serde_json::to_string_pretty(&body).unwrap_or_default()
}

fn indented(text: &str, indent: &str) -> String {
    let lines: Vec<String> = text.lines().map(|line| format!("{indent}{line}")).collect();
    lines.join("\n")
}
