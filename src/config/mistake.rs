//! What is wrong with a configuration: every mistake at once, each with its
//! place and one sentence.

use std::fmt;

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Where: `indexes.pypi.lifetime`, `callers[0].name`, a file, or empty where
    /// the whole configuration is meant. A value that came from the environment
    /// names its variable too.
    pub place: String,
    /// What is wrong there, and what would be right. Shows no secret.
    pub sentence: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.place.is_empty() {
            f.write_str(&self.sentence)
        } else {
            write!(f, "{}: {}", self.place, self.sentence)
        }
    }
}

/// Everything that is wrong; never empty. Displayed one mistake a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistakes(Vec<Mistake>);

impl Mistakes {
    /// The one mistake that kept the others from being found.
    pub(super) fn one(place: impl Into<String>, sentence: impl Into<String>) -> Self {
        Self(vec![Mistake { place: place.into(), sentence: sentence.into() }])
    }

    /// What was read, if nothing is wrong. Something that couldn't be read
    /// without a mistake having been noted is a defect, and says so.
    pub(super) fn or<T>(found: Vec<Mistake>, value: Option<T>) -> Result<T, Self> {
        match value {
            Some(value) if found.is_empty() => Ok(value),
            None if found.is_empty() => {
                Err(Self::one("", "the configuration could not be read, for an unknown reason"))
            }
            _ => Err(Self(found)),
        }
    }

    /// In the order in which they were found.
    pub fn iter(&self) -> impl Iterator<Item = &Mistake> {
        self.0.iter()
    }

    /// How many there are.
    #[expect(clippy::len_without_is_empty, reason = "there is always at least one")]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, mistake) in self.0.iter().enumerate() {
            if position > 0 {
                f.write_str("\n")?;
            }
            mistake.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}
