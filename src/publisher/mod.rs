//! Provisional.
mod project_name;
pub use project_name::{ProjectName, ProjectNameInvalid};
