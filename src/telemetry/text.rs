//! Events as text for people: tracing-subscriber's own form, and behind an event's fields
//! the ids of the trace that it belongs to.

use std::fmt;

use tracing_subscriber::{
    field::RecordFields,
    fmt::{
        FormatFields,
        format::{DefaultFields, Writer},
    },
};

use super::trace::Ids;

/// The form of an event's fields.
#[derive(Debug, Default)]
pub(super) struct Text(DefaultFields);

impl<'w> FormatFields<'w> for Text {
    fn format_fields<R: RecordFields>(&self, mut line: Writer<'w>, fields: R) -> fmt::Result {
        self.0.format_fields(line.by_ref(), fields)?;
        let Some(Ids { trace, span }) = Ids::current() else { return Ok(()) };
        write!(line, " trace_id={trace}")?;
        match span {
            Some(span) => write!(line, " span_id={span}"),
            None => Ok(()),
        }
    }
}
