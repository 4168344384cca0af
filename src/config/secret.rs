//! Secrets that a configuration holds: they can't print themselves, and are
//! wiped when dropped. They come from files, never from the configuration's own
//! text.

use std::{fmt, path::Path};

use subtle::ConstantTimeEq as _;
use zeroize::{ZeroizeOnDrop, Zeroizing};

use super::{file, reader::Read};

/// Longest file with a password or a URL in it, in bytes: many times what
/// either needs.
pub(super) const MAX_FILE_BYTES: usize = 4_096;

/// A password.
#[derive(Clone, ZeroizeOnDrop)]
pub struct SecretText(String);

impl SecretText {
    /// Keeps a secret.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The secret itself, for whoever has to send it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(…)")
    }
}

impl PartialEq for SecretText {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl Eq for SecretText {}

/// A private key, as its file holds it.
#[derive(Clone, ZeroizeOnDrop)]
pub struct SecretBytes(Vec<u8>);

impl SecretBytes {
    /// Keeps a secret.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The secret itself, for whoever has to sign with it.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretBytes(…)")
    }
}

impl PartialEq for SecretBytes {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for SecretBytes {}

/// The one line of a file, without its line end.
pub(super) fn line(path: &Path) -> Read<SecretText> {
    let wrong = |what: &str| format!("names {}, which {what}", path.display());
    let content = content(path, MAX_FILE_BYTES)?;
    let text = std::str::from_utf8(&content).map_err(|_| wrong("is not a text in UTF-8"))?;
    let line = text.strip_suffix('\n').map_or(text, |line| line.strip_suffix('\r').unwrap_or(line));
    if line.is_empty() {
        Err(wrong("is empty"))
    } else if line.chars().any(char::is_control) {
        Err(wrong("holds more than one line, or a control character"))
    } else {
        Ok(SecretText(line.to_owned()))
    }
}

/// A file of at most `max` bytes.
pub(super) fn content(path: &Path, max: usize) -> Read<Zeroizing<Vec<u8>>> {
    let wrong = |what: &str| format!("names {}, which {what}", path.display());
    let content =
        file::secret(path, max).map_err(|error| wrong(&format!("can't be read: {error}")))?;
    if content.len() > max {
        return Err(wrong(&format!("is longer than {max} bytes")));
    }
    Ok(content)
}
