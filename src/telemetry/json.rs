//! Events as JSON, one object a line:
//!
//! ```json
//! {"timestamp":"2026-11-22T09:30:00.123456Z","level":"INFO","fields":{"message":"Verify allowed","rpc":"Verify"},"target":"mintage::audit","trace_id":"0af7651916cd43dd8448eb211c80319c","span_id":"b7ad6b7169203331"}
//! ```
//!
//! The same form as tracing-subscriber's own, at a third of its price, since every
//! call writes one. That library's spans, which nothing here opens, are left out; the
//! ids are those of the [trace](super::trace) that the line belongs to, if there is one.

use std::fmt::{self, Debug, Write as _};

use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::Writer,
        time::{FormatTime as _, SystemTime},
    },
    registry::LookupSpan,
};

use super::trace::Ids;

/// The form.
pub(super) struct Json;

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut line: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        line.write_str("{\"timestamp\":\"")?;
        SystemTime.format_time(&mut line)?;
        line.write_str("\",\"level\":\"")?;
        line.write_str(event.metadata().level().as_str())?;
        line.write_str("\",\"fields\":{")?;
        let mut fields = Fields { line: &mut line, first: true, written: Ok(()) };
        event.record(&mut fields);
        fields.written?;
        line.write_str("},\"target\":")?;
        string(&mut line, event.metadata().target())?;
        if let Some(Ids { trace, span }) = Ids::current() {
            write!(line, ",\"trace_id\":\"{trace}\"")?;
            if let Some(span) = span {
                write!(line, ",\"span_id\":\"{span}\"")?;
            }
        }
        line.write_str("}\n")
    }
}

/// Writes fields as members of an object.
struct Fields<'l, 'w> {
    line: &'l mut Writer<'w>,
    first: bool,
    written: fmt::Result,
}

impl Fields<'_, '_> {
    fn member(&mut self, field: &Field, value: impl FnOnce(&mut Writer<'_>) -> fmt::Result) {
        if self.written.is_err() {
            return;
        }
        let comma = if self.first { "\"" } else { ",\"" };
        self.first = false;
        let written = (|| {
            self.line.write_str(comma)?;
            // The name of a field is an identifier, or a path of them.
            self.line.write_str(field.name())?;
            self.line.write_str("\":")?;
            value(self.line)
        })();
        self.written = written;
    }
}

impl Visit for Fields<'_, '_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.member(field, |line| string(line, value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.member(field, |line| write!(line, "{value}"));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.member(field, |line| write!(line, "{value}"));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.member(field, |line| write!(line, "{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.member(field, |line| {
            line.write_char('"')?;
            write!(Escaped(line), "{value:?}")?;
            line.write_char('"')
        });
    }
}

fn string(line: &mut Writer<'_>, text: &str) -> fmt::Result {
    line.write_char('"')?;
    Escaped(line).write_str(text)?;
    line.write_char('"')
}

/// Writes text as it stands in a JSON string.
struct Escaped<'l, 'w>(&'l mut Writer<'w>);

impl fmt::Write for Escaped<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let special = |c: char| c == '"' || c == '\\' || c.is_control();
        let mut rest = text;
        while let Some((plain, from)) = rest.find(special).and_then(|at| rest.split_at_checked(at))
        {
            self.0.write_str(plain)?;
            let mut characters = from.chars();
            match characters.next() {
                Some(c @ ('"' | '\\')) => write!(self.0, "\\{c}")?,
                Some(c) => write!(self.0, "\\u{:04x}", u32::from(c))?,
                None => {}
            }
            rest = characters.as_str();
        }
        self.0.write_str(rest)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use serde_json::{Value, json};
    use tracing_subscriber::fmt;

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is logged meanwhile.
    fn logged(events: impl FnOnce()) -> Vec<Value> {
        let kept = Kept::default();
        let writer = kept.clone();
        let subscriber = fmt().event_format(Json).with_writer(move || writer.clone()).finish();
        tracing::subscriber::with_default(subscriber, events);
        let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn fields_keep_their_types_and_texts_are_escaped() {
        let hostile = "a \"quoted\" \\ text\nwith\u{1}\u{7f}\u{9b}é\u{2028} {}";
        let absent: Option<&str> = None;
        let lines = logged(|| {
            tracing::warn!(
                target: "a::target",
                text = hostile,
                debug = ?hostile,
                display = %hostile,
                small = -3,
                large = u64::MAX,
                yes = true,
                absent,
                "{hostile}"
            );
            tracing::info!("no fields");
        });
        let [first, second] = lines.as_slice() else { panic!("{lines:?}") };
        let expected = json!({
            "message": hostile,
            "text": hostile,
            "debug": format!("{hostile:?}"),
            "display": hostile,
            "small": -3,
            "large": u64::MAX,
            "yes": true,
        });
        assert_eq!(first["fields"], expected);
        assert_eq!((&first["level"], &first["target"]), (&json!("WARN"), &json!("a::target")));
        assert!(first["timestamp"].as_str().unwrap().ends_with('Z'));
        assert_eq!(second["fields"], json!({"message": "no fields"}));
    }

    #[test]
    fn a_line_within_a_trace_has_its_ids_and_none_has_a_strangers_span() {
        use opentelemetry::{
            Context,
            trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState},
        };

        let of = |remote| {
            let (trace, span) = (TraceId::from(0xabc), SpanId::from(0xdef));
            let flags = TraceFlags::SAMPLED;
            let ids = SpanContext::new(trace, span, flags, remote, TraceState::default());
            Context::new().with_remote_span_context(ids)
        };
        let lines = logged(|| {
            tracing::info!("before");
            for remote in [false, true] {
                let entered = of(remote).attach();
                tracing::info!("within");
                drop(entered);
            }
        });
        let ids: Vec<_> = lines.iter().map(|line| (&line["trace_id"], &line["span_id"])).collect();
        let trace = json!("00000000000000000000000000000abc");
        let span = json!("0000000000000def");
        let none = Value::Null;
        assert_eq!(ids, [(&none, &none), (&trace, &span), (&trace, &none)]);
    }
}
