//! Any other provider: rules about single claims.
//!
//! There is no promise about which claims such a provider has. So a claim that
//! is missing, or isn't a string, is a difference to the candidate that asks
//! for it, and no fault of the ID token: another candidate may ask for others.

use std::borrow::Cow;

use crate::oidc::{ClaimValue, Claims};

use super::{Comparison, Difference, Identity, NoPublisher, ProviderIdentity, Specificity};

/// A longer glob matches nothing. The time to match grows with the product of
/// its length and the claim's.
pub const MAX_GLOB_BYTES: usize = 1024;

/// Rules that must all hold. An empty policy matches nothing; one with more
/// rules is more specific.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClaimPolicy {
    /// The rules, in the order in which they are held.
    pub rules: Vec<ClaimRule>,
}

/// A rule about one claim, which must be there and be a string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimRule {
    /// The name of a top-level claim.
    pub claim: String,
    /// What it must be.
    pub condition: Condition,
}

/// What a claim must be. An empty text matches nothing, not even an empty claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// This string.
    Equals(String),
    /// This string, but for ASCII case.
    EqualsIgnoreCase(String),
    /// The whole claim matches this glob: `*` is any run of characters but `/`,
    /// `**` any run, `?` one character but `/`. There are no escapes. At most
    /// [`MAX_GLOB_BYTES`].
    Glob(String),
}

impl ProviderIdentity for ClaimPolicy {
    type Facts<'c> = Claims<'c>;

    fn of(identity: &Identity) -> Option<&Self> {
        match identity {
            Identity::Claims(own) => Some(own),
            Identity::GitHub(_)
            | Identity::GitLab(_)
            | Identity::Google(_)
            | Identity::ActiveState(_) => None,
        }
    }

    fn read<'c>(claims: &Claims<'c>) -> Result<Claims<'c>, NoPublisher> {
        Ok(*claims)
    }

    fn compare<'a>(
        &'a self,
        facts: &'a Claims<'_>,
        claims: &mut Comparison,
    ) -> Result<Specificity, Difference<'a>> {
        if self.rules.is_empty() {
            let nothing = "(a policy without rules matches nothing)";
            return Err(Difference::new("iss", nothing, Some(&facts.issuer().url)));
        }
        for rule in &self.rules {
            claims.held(rule.compare(facts.value(&rule.claim)))?;
        }
        Ok(Specificity { environments: 0, others: self.rules.len() })
    }
}

impl ClaimRule {
    fn compare<'a>(&'a self, found: Option<&'a ClaimValue>) -> Result<(), Difference<'a>> {
        let text = found.and_then(ClaimValue::as_str);
        if text.is_some_and(|text| self.condition.holds(text)) {
            return Ok(());
        }
        let difference = Difference::new(&self.claim, self.condition.described(), text);
        Err(match found {
            Some(other) if text.is_none() => {
                let found = Cow::Owned(format!("{} (not a string)", other.described()));
                Difference { found, ..difference }
            }
            Some(_) | None => difference,
        })
    }
}

impl Condition {
    fn holds(&self, text: &str) -> bool {
        match self {
            Self::Equals(expected) => !expected.is_empty() && text == expected,
            Self::EqualsIgnoreCase(expected) => {
                !expected.is_empty() && text.eq_ignore_ascii_case(expected)
            }
            Self::Glob(glob) => {
                !glob.is_empty() && glob.len() <= MAX_GLOB_BYTES && glob_matches(glob, text)
            }
        }
    }

    fn described(&self) -> Cow<'_, str> {
        match self {
            Self::Equals(text) | Self::EqualsIgnoreCase(text) | Self::Glob(text)
                if text.is_empty() =>
            {
                Cow::Borrowed("(nothing is registered)")
            }
            Self::Glob(glob) if glob.len() > MAX_GLOB_BYTES => {
                Cow::Owned(format!("(a glob of more than {MAX_GLOB_BYTES} bytes matches nothing)"))
            }
            Self::Equals(text) | Self::EqualsIgnoreCase(text) | Self::Glob(text) => {
                Cow::Borrowed(text)
            }
        }
    }
}

/// A part of a glob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece {
    Character(char),
    /// `?`
    One,
    /// `*`
    Run,
    /// `**`
    AnyRun,
}

/// Whether the whole text matches. All ways to match are followed at once, so
/// that no text can make it slow: each character is looked at once, against
/// each piece.
fn glob_matches(glob: &str, text: &str) -> bool {
    let pieces = pieces(glob);
    // reached[n]: the text so far can end before piece n.
    let mut reached = vec![false; pieces.len() + 1];
    if let Some(start) = reached.first_mut() {
        *start = true;
    }
    skip_runs(&pieces, &mut reached);
    let mut next = vec![false; reached.len()];
    for character in text.chars() {
        next.fill(false);
        for (at, piece) in pieces.iter().enumerate() {
            if reached.get(at) == Some(&true) {
                let to = match piece {
                    Piece::Character(own) if *own == character => at + 1,
                    Piece::One if character != '/' => at + 1,
                    Piece::Run if character != '/' => at,
                    Piece::AnyRun => at,
                    Piece::Character(_) | Piece::One | Piece::Run => continue,
                };
                if let Some(reached) = next.get_mut(to) {
                    *reached = true;
                }
            }
        }
        skip_runs(&pieces, &mut next);
        std::mem::swap(&mut reached, &mut next);
    }
    reached.last() == Some(&true)
}

/// A run may be empty: whatever reaches it reaches what follows it.
fn skip_runs(pieces: &[Piece], reached: &mut [bool]) {
    let mut before = false;
    for (at, reached) in reached.iter_mut().enumerate() {
        *reached |= before;
        before = *reached && matches!(pieces.get(at), Some(Piece::Run | Piece::AnyRun));
    }
}

fn pieces(glob: &str) -> Vec<Piece> {
    let mut pieces = Vec::with_capacity(glob.len());
    for character in glob.chars() {
        match (character, pieces.last_mut()) {
            ('*', Some(last @ (Piece::Run | Piece::AnyRun))) => *last = Piece::AnyRun,
            ('*', _) => pieces.push(Piece::Run),
            ('?', _) => pieces.push(Piece::One),
            (other, _) => pieces.push(Piece::Character(other)),
        }
    }
    pieces
}

#[cfg(test)]
mod tests;
