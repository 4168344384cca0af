//! Provisional.
/// A name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectName(String);
/// Not a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a project name")]
pub struct ProjectNameInvalid;
impl ProjectName {
    /// Parses.
    pub fn parse(text: &str) -> Result<Self, ProjectNameInvalid> {
        let mut out = String::new();
        for c in text.chars() {
            if matches!(c, '-' | '_' | '.') {
                if !out.ends_with('-') {
                    out.push('-');
                }
            } else {
                out.push(c.to_ascii_lowercase());
            }
        }
        if text.is_empty() || !text.is_ascii() { Err(ProjectNameInvalid) } else { Ok(Self(out)) }
    }
    /// Text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
