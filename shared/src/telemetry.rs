//! Spans that say which request, caller and item a log line is about, and the JSON lines that the log consists of.
//!
//! A request or an event runs in one span, and each item of an event that holds several runs in a child span. Each log
//! line has the fields of the spans that it is written in, so that no log statement repeats them. Ids are the only data
//! of a person or a workspace that a span takes.

use std::fmt::{self, Write as _};
use std::io::Write as _;

use tracing::field::{DisplayValue, Empty, Field, Visit, display};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Span, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use crate::ids::{InvitationId, UserId, WorkspaceId};

/// The space for a log line, enough for most lines.
const LINE_BYTES: usize = 512;

/// The span of a cold start of `function`.
#[must_use]
pub(crate) fn cold_start_span(function: &str) -> Span {
    tracing::info_span!("cold_start", function)
}

/// The span of a request or an event. [`record_caller`] adds the caller as soon as authorization knows the caller.
#[must_use]
pub(crate) fn request_span(function: &str, request_id: &str) -> Span {
    tracing::info_span!("request", request_id, function, user_id = Empty, workspace_id = Empty)
}

/// The span of one item of a request or an event: an invitation's mail, a queue's message, a workspace. Fields that are
/// none can be recorded later.
#[must_use]
pub fn item_span(workspace: Option<WorkspaceId>, invitation: Option<InvitationId>, message_id: Option<&str>) -> Span {
    let (workspace_id, invitation_id) = (shown(workspace), shown(invitation));
    tracing::info_span!("item", workspace_id, invitation_id, message_id)
}

fn shown<T: fmt::Display>(id: Option<T>) -> Option<DisplayValue<T>> {
    id.map(display)
}

/// Adds the caller to the current request's span, and the caller's workspace, if there is one.
pub fn record_caller(user: UserId, workspace: Option<WorkspaceId>) {
    Span::current().record("user_id", display(user));
    if let Some(workspace) = workspace {
        record_workspace(workspace);
    }
}

/// Adds the workspace to the current span.
pub fn record_workspace(workspace: WorkspaceId) {
    Span::current().record("workspace_id", display(workspace));
}

/// Sets the function of the current request's span, where one process contains several functions.
pub fn record_function(function: &str) {
    Span::current().record("function", function);
}

/// Writes each event as one line of JSON: the time, the level, the event's fields, then the fields of this module's
/// spans, all at the top level. Fields of an event and of an inner span precede fields of the same name of an outer
/// span.
///
/// The JSON format of `tracing-subscriber` nests the fields of spans, and parses and formats them again for each line.
#[derive(Debug)]
pub struct JsonLines<W> {
    writer: W,
}

impl<W> JsonLines<W> {
    /// Writes lines to `writer`.
    #[must_use]
    pub fn new(writer: W) -> Self {
        Self { writer }
    }
}

/// The fields of a span, each with its value in JSON.
#[derive(Default)]
struct SpanFields(Vec<(&'static str, String)>);

impl SpanFields {
    /// The text that the value of `name` is written to. A new value replaces an earlier one.
    fn value(&mut self, name: &'static str) -> &mut String {
        let index = self.0.iter().position(|(recorded, _)| *recorded == name);
        let index = index.unwrap_or_else(|| {
            self.0.push((name, String::new()));
            self.0.len() - 1
        });
        let (_, value) = &mut self.0[index];
        value.clear();
        value
    }
}

/// A line that is being written.
struct Line {
    text: String,
    names: Vec<&'static str>,
}

impl Line {
    fn new() -> Self {
        Self {
            text: String::with_capacity(LINE_BYTES),
            names: Vec::with_capacity(16),
        }
    }

    /// Begins a field. Returns the text that its value is written to.
    fn field(&mut self, name: &'static str) -> &mut String {
        self.text.push(if self.names.is_empty() { '{' } else { ',' });
        self.names.push(name);
        quote(&mut self.text, format_args!("{name}"));
        self.text.push(':');
        &mut self.text
    }
}

/// Where the values of fields are written to, as JSON.
trait Values {
    fn value_of(&mut self, name: &'static str) -> &mut String;
}

impl Values for SpanFields {
    fn value_of(&mut self, name: &'static str) -> &mut String {
        self.value(name)
    }
}

impl Values for Line {
    fn value_of(&mut self, name: &'static str) -> &mut String {
        self.field(name)
    }
}

/// Writes each field that it visits.
struct Visitor<'a, V>(&'a mut V);

impl<V: Values> Visitor<'_, V> {
    /// Writes a value whose text is valid JSON.
    fn json(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        let _ = self.0.value_of(field.name()).write_fmt(value);
    }
}

impl<V: Values> Visit for Visitor<'_, V> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        quote(self.0.value_of(field.name()), format_args!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        quote(self.0.value_of(field.name()), format_args!("{value}"));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.json(field, format_args!("{value}"));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.json(field, format_args!("{value}"));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.json(field, format_args!("{value}"));
    }
}

/// Writes `value` to `text` as a JSON string.
fn quote(text: &mut String, value: fmt::Arguments<'_>) {
    text.push('"');
    // Only the implementation of a value can fail; the line has what the value wrote before.
    let _ = Escaped(text).write_fmt(value);
    text.push('"');
}

/// Escapes what is written to it for a JSON string.
struct Escaped<'a>(&'a mut String);

impl fmt::Write for Escaped<'_> {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        for c in part.chars() {
            match c {
                '"' | '\\' => self.0.extend(['\\', c]),
                '\n' => self.0.push_str("\\n"),
                '\u{0}'..='\u{1f}' => write!(self.0, "\\u{:04x}", u32::from(c))?,
                _ => self.0.push(c),
            }
        }
        Ok(())
    }
}

impl<S, W> Layer<S> for JsonLines<W>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    W: for<'writer> MakeWriter<'writer> + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        // The spans of libraries have fields of their own, such as a second request id.
        if attributes.metadata().target() != module_path!() {
            return;
        }
        if let Some(span) = context.span(id) {
            let mut fields = SpanFields::default();
            attributes.record(&mut Visitor(&mut fields));
            span.extensions_mut().replace(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<SpanFields>()
        {
            values.record(&mut Visitor(fields));
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut line = Line::new();
        let timestamp = line.field("timestamp");
        timestamp.push('"');
        let _ = SystemTime.format_time(&mut Writer::new(timestamp));
        timestamp.push('"');
        quote(line.field("level"), format_args!("{}", event.metadata().level()));
        event.record(&mut Visitor(&mut line));
        for span in context.event_scope(event).into_iter().flatten() {
            let extensions = span.extensions();
            for (name, value) in extensions.get::<SpanFields>().into_iter().flat_map(|fields| &fields.0) {
                if !line.names.contains(name) {
                    line.field(name).push_str(value);
                }
            }
        }
        quote(line.field("target"), format_args!("{}", event.metadata().target()));
        line.text.push_str("}\n");
        // A line that cannot be written has no other destination.
        let _ = self
            .writer
            .make_writer_for(event.metadata())
            .write_all(line.text.as_bytes());
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::{Value, json};
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;
    use crate::clock::Time;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// The lines that `logging` logs, and what it returns.
    pub(crate) fn lines_of<T>(logging: impl FnOnce() -> T) -> (Vec<Value>, T) {
        let written = Written::default();
        let writer = written.clone();
        let subscriber = tracing_subscriber::registry().with(JsonLines::new(move || writer.clone()));
        let returned = tracing::subscriber::with_default(subscriber, logging);
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        (lines, returned)
    }

    fn without_time(mut line: Value) -> Value {
        let timestamp = line.as_object_mut().unwrap().remove("timestamp").unwrap();
        let timestamp: Result<Time, _> = timestamp.as_str().unwrap().parse();
        timestamp.unwrap();
        line
    }

    #[test]
    fn a_line_has_the_fields_of_its_spans_at_the_top_level() {
        let now = Time::from_millis(1_700_000_000_000);
        let (user, [outer, inner]) = (UserId::new(now), [WorkspaceId::new(now), WorkspaceId::new(now)]);
        let invitation = InvitationId::new(now);
        let (lines, ()) = lines_of(|| {
            let _request = request_span("local", "r-1").entered();
            record_function("invitations");
            tracing::info!("before");
            record_caller(user, Some(inner));
            record_caller(user, Some(outer));
            {
                let _library = tracing::info_span!(target: "library", "other", noise = 1).entered();
                let _item = item_span(Some(inner), Some(invitation), None).entered();
                tracing::warn!(status = 503, retryable = true, request_id = "own", "within");
            }
            tracing::info!("after");
        });
        let [before, within, after] = <[Value; 3]>::try_from(lines).unwrap().map(without_time);
        let target = module_path!();
        assert_eq!(
            before,
            json!({"level": "INFO", "message": "before", "request_id": "r-1", "function": "invitations", "target": target})
        );
        assert_eq!(
            within,
            json!({
                "level": "WARN", "message": "within", "status": 503, "retryable": true, "request_id": "own",
                "function": "invitations", "user_id": user.to_string(), "workspace_id": inner.to_string(),
                "invitation_id": invitation.to_string(), "target": target,
            })
        );
        assert_eq!(after["workspace_id"], outer.to_string());
        assert_eq!(after.get("invitation_id"), None);
    }

    #[test]
    fn any_text_is_one_line_of_json() {
        let text = "a \"quoted\" \\ line\nand\tanother\u{1}\u{1f600}";
        let (lines, ()) = lines_of(|| tracing::info!(text, debug = ?text, "{text}"));
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0]["text"], text);
        assert_eq!(lines[0]["message"], text);
        assert_eq!(lines[0]["debug"], format!("{text:?}"));
    }
}
