//! What a call's span is told beside its status: the index, once it is one of ours, and
//! why there was a refusal or a denial. Nothing that a stranger chose.

use opentelemetry::{KeyValue, trace::get_active_span};

/// The configured index that the call is for.
pub(super) fn index(name: &str) {
    tell("mintage.index", name);
}

/// Names of reasons, with commas between.
pub(super) fn reasons(names: &str) {
    tell("mintage.reason", names);
}

fn tell(key: &'static str, value: &str) {
    get_active_span(|span| {
        if span.is_recording() && !value.is_empty() {
            span.set_attribute(KeyValue::new(key, value.to_owned()));
        }
    });
}
