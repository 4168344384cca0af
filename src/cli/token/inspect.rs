//! `mintage token inspect`: an upload token as a person likes to read it.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use clap::Args;

use crate::{
    caveat::{self, Caveat},
    cli::{
        Failed, print,
        time::{relative, span},
    },
    clock::Timestamp,
    macaroon::{Identifier, Macaroon, Subject, TokenPrefix, TokenUnreadable, Version},
    paint::{BAD, CARE, GOOD, HEAD, facts, paragraph, table},
    world,
};

use super::{
    TokenSource,
    parts::{Parts, Restriction, Signature},
    words,
};

#[derive(Args)]
pub(in crate::cli) struct Inspect {
    #[command(flatten)]
    token: TokenSource,
}

impl Inspect {
    pub(super) fn run(self) -> Result<(), Failed> {
        let text = self.token.read()?;
        let report = report(&text, world::now());
        print(&report.text)?;
        match report.state {
            State::Whole => Ok(()),
            State::Damaged => Err(Failed::said()),
        }
    }
}

struct Report {
    text: String,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Whole,
    Damaged,
}

fn report(text: &str, now: Timestamp) -> Report {
    let prefix = TokenPrefix::of(text).ok();
    let read = match &prefix {
        Some(prefix) => Macaroon::read(text, prefix).map_err(|unreadable| capital(&unreadable)),
        None => Err("It does not begin with a prefix and a hyphen, such as \"pypi-\".".to_owned()),
    };
    match read {
        Ok(macaroon) => {
            let parts = Parts::of(&macaroon);
            let mut text = format!("{HEAD}Upload token{HEAD:#}\n\n");
            text += &describe(prefix.as_ref(), &parts, UNRESTRICTED, now);
            text += &verdict(&parts, now);
            Report { text, state: State::Whole }
        }
        Err(sentence) => {
            let mut shown = format!("{BAD}This is not a whole upload token.{BAD:#}\n\n");
            for sentence in std::iter::once(sentence).chain(hints(text)) {
                shown += &format!("{sentence}\n");
            }
            shown += &remains(text, prefix.as_ref(), now);
            Report { text: shown, state: State::Damaged }
        }
    }
}

fn capital(unreadable: &TokenUnreadable) -> String {
    let sentence = unreadable.to_string();
    let mut letters = sentence.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    first.into_iter().chain(letters).chain(['.']).collect()
}

/// What may have happened to a text that is no token.
fn hints(text: &str) -> Vec<String> {
    let body = text.split_once('-').map_or(text, |(_, body)| body);
    let mut hints = Vec::new();
    if text.starts_with("eyJ") && text.split('.').count() == 3 {
        hints
            .push("It looks like an ID token (a JWT): an upload token is what Mint gives for one.");
    } else if text.starts_with(['"', '\'', '`']) {
        hints.push("It stands in quotation marks, which are not part of a token.");
    } else if text.contains(char::is_whitespace) {
        hints.push("There is white space in it: it may have been copied across a line break.");
    } else if body.contains(['+', '/']) {
        hints.push("It uses \"+\" or \"/\", where an upload token has \"-\" and \"_\".");
    } else if body.bytes().all(of_base64url) && URL_SAFE_NO_PAD.decode(body).is_err() {
        hints.push("Its characters are right, but don't end where bytes end: its end was lost.");
    }
    hints.into_iter().map(str::to_owned).collect()
}

const fn of_base64url(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

/// What is left of a damaged token.
fn remains(text: &str, prefix: Option<&TokenPrefix>, now: Timestamp) -> String {
    let body = prefix.and_then(|prefix| text.strip_prefix(prefix.as_str())?.strip_prefix('-'));
    let parts = Parts::salvage(body.unwrap_or(text));
    if parts.version.is_none() || parts.location.is_none() && parts.identifier.is_none() {
        return "\nNothing else could be read of it.\n".to_owned();
    }
    let mut shown = format!("\n{HEAD}What could still be read of it{HEAD:#}\n\n");
    shown += &describe(prefix, &parts, NONE_READ, now);
    shown += match parts.signature {
        Signature::Whole => {
            "Its signature seems to be all there, but only a whole token is good for anything.\n"
        }
        Signature::Lost => {
            "Its signature is lost, so nothing can be done with it: get a fresh copy.\n"
        }
    };
    shown
}

/// What is said of a whole token that has no caveat.
const UNRESTRICTED: &str = "No caveats: it may do whatever its subject may.\n";

/// What is said of a damaged one in which none could be read.
const NONE_READ: &str = "No caveat could be read of it; it may have had some.\n";

/// The head of the token and its caveats, or what is said where there are none.
fn describe(
    prefix: Option<&TokenPrefix>,
    parts: &Parts,
    without_caveats: &str,
    now: Timestamp,
) -> String {
    let mut head = Vec::new();
    if let Some(prefix) = prefix {
        head.push(("prefix", prefix.to_string()));
    }
    if let Some(version) = parts.version {
        let format = match version {
            Version::V1 => "macaroon, version 1 (binary)",
            Version::V2 => "macaroon, version 2 (binary)",
        };
        head.push(("format", format.to_owned()));
    }
    if let Some(location) = &parts.location {
        head.push(("location", words::raw(location)));
    }
    if let Some(identifier) = &parts.identifier {
        head.extend(identity(identifier, now));
    }
    let mut text = facts(&head);
    text.push('\n');
    if parts.caveats.is_empty() {
        text += without_caveats;
    } else {
        text += &caveats(&parts.caveats, now);
    }
    text.push('\n');
    text
}

fn identity(identifier: &[u8], now: Timestamp) -> Vec<(&'static str, String)> {
    let mut facts = vec![("identifier", words::raw(identifier))];
    match Identifier::parse(identifier) {
        Ok(own) => {
            let subject = match own.subject() {
                Subject::User(id) => format!("user {id}"),
                Subject::Publisher(id) => format!("publisher {id}"),
            };
            facts.push(("minted", relative(own.minted_at(), now)));
            facts.push(("for", subject));
            facts.push(("master key", own.key_id().to_string()));
        }
        Err(foreign) => facts.push(("", format!("({foreign}: the index knows whose token it is)"))),
    }
    facts
}

fn caveats(restrictions: &[Restriction], now: Timestamp) -> String {
    let rows = restrictions.iter().enumerate().map(|(number, restriction)| {
        let words = put(restriction, now);
        [(number + 1).to_string(), words.tag, words.says, words.now]
    });
    table(["#", "tag", "caveat", "now"], rows.collect())
}

fn put(restriction: &Restriction, now: Timestamp) -> words::Words {
    match restriction {
        Restriction::FirstParty(predicate) => words::of(predicate, now),
        Restriction::ThirdParty { location } => words::of_third_party(location),
    }
}

/// What a holder wants to know first: is it still good, as far as can be told.
fn verdict(parts: &Parts, now: Timestamp) -> String {
    let mut text = String::new();
    for (number, restriction) in parts.caveats.iter().enumerate() {
        if put(restriction, now).tag == "?" {
            let number = number + 1;
            text +=
                &format!("{BAD}Caveat {number} can't be read, so the token is denied.{BAD:#}\n");
        }
    }
    text += &in_time(parts, now);
    let key = parts.identifier.as_deref().and_then(|bytes| Identifier::parse(bytes).ok());
    let unchecked = match key {
        Some(own) => format!("only the service has the master key \"{}\"", own.key_id()),
        None => "only the index has the root key".to_owned(),
    };
    text += &paragraph("", &format!("The signature was not checked: {unchecked}."));
    text.push('\n');
    text
}

fn in_time(parts: &Parts, now: Timestamp) -> String {
    let mut bounds: Option<(i64, i64)> = None;
    for restriction in &parts.caveats {
        if let Restriction::FirstParty(predicate) = restriction
            && let Ok(Caveat::Expiration { expires_at, not_before }) = caveat::read(predicate)
        {
            let (from, until) = bounds.unwrap_or((i64::MIN, i64::MAX));
            bounds = Some((from.max(not_before), until.min(expires_at)));
        }
    }
    let Some((from, until)) = bounds else {
        return format!("{CARE}It has no end of its own.{CARE:#}\n");
    };
    let (begin, end) = (Timestamp::from_seconds(from), Timestamp::from_seconds(until));
    if now >= end {
        format!("{BAD}It is over since {}.{BAD:#}\n", relative(end, now))
    } else if now < begin {
        format!("{CARE}It is not valid before {}.{CARE:#}\n", relative(begin, now))
    } else {
        format!("{GOOD}It is in time for another {}.{GOOD:#}\n", span(end.since(now)))
    }
}
