//! What templates of published models call besides Jinja's own: `raise_exception`,
//! `strftime_now`, and `tojson` as Python writes JSON.

use minijinja::value::{Kwargs, Value};
use minijinja::{Environment, Error, ErrorKind, State};
use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, PrettyFormatter, Serializer};

use super::ChatError;
use super::capped::Capped;
use crate::tokenizer::TEXT_MAX;

/// Widest indentation `tojson` accepts.
const INDENT_MAX: usize = 16;

pub(super) fn add(environment: &mut Environment<'static>) {
    environment.add_function("raise_exception", raise_exception);
    environment.add_function("strftime_now", strftime_now);
    environment.add_filter("tojson", tojson);
}

/// Carried inside an error so that a template's own refusal can be told from its failures.
#[derive(Debug)]
struct Refusal(String);

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refusal {}

/// The template's own refusal inside `error`, if that is what it is.
pub(super) fn refusal(error: &Error) -> Option<ChatError> {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        if let Some(Refusal(words)) = error.downcast_ref() {
            return Some(ChatError::Refused(words.clone()));
        }
        cause = error.source();
    }
    None
}

fn raise_exception(words: String) -> Result<Value, Error> {
    let error = Error::new(ErrorKind::InvalidOperation, "raise_exception");
    Err(error.with_source(Refusal(words)))
}

/// The time the caller named, in UTC, in the format of C's `strftime`.
fn strftime_now(state: &State<'_, '_>, format: &str) -> Result<String, Error> {
    let invalid = |why: String| Error::new(ErrorKind::InvalidOperation, why);
    let seconds =
        state.lookup("__now_s").and_then(|now| i64::try_from(now).ok()).unwrap_or_default();
    let now = jiff::Timestamp::from_second(seconds).map_err(|error| invalid(error.to_string()))?;
    let now = now.to_zoned(jiff::tz::TimeZone::UTC);
    jiff::fmt::strtime::format(format, &now).map_err(|error| invalid(error.to_string()))
}

/// JSON as Python's `json.dumps(ensure_ascii=False)` writes it: a space after `,` and `:`, and no
/// escapes for the sake of HTML.
#[expect(clippy::needless_pass_by_value, reason = "filters take their arguments by value")]
fn tojson(value: &Value, kwargs: Kwargs) -> Result<Value, Error> {
    let indent: Option<usize> = kwargs.get("indent")?;
    // The others change nothing here: text is never ASCII-escaped, keys keep their order.
    let _: (Option<bool>, Option<bool>) = (kwargs.get("ensure_ascii")?, kwargs.get("sort_keys")?);
    kwargs.assert_all_used()?;
    let json = match indent {
        Some(indent) if indent > INDENT_MAX => {
            let why = format!("tojson indents by at most {INDENT_MAX}");
            return Err(Error::new(ErrorKind::InvalidOperation, why));
        }
        Some(indent) => write(value, PrettyFormatter::with_indent(&b" ".repeat(indent)))?,
        None => write(value, Spaced(CompactFormatter))?,
    };
    Ok(Value::from(json))
}

fn write(value: &Value, formatter: impl Formatter) -> Result<String, Error> {
    let mut out = Capped::new(TEXT_MAX);
    let invalid = |why: String| Error::new(ErrorKind::BadSerialization, why);
    value
        .serialize(&mut Serializer::with_formatter(&mut out, formatter))
        .map_err(|error| invalid(format!("tojson: {error}")))?;
    String::from_utf8(out.into_bytes()).map_err(|error| invalid(error.to_string()))
}

struct Spaced(CompactFormatter);

impl Formatter for Spaced {
    fn begin_array_value<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
    ) -> std::io::Result<()> {
        writer.write_all(b": ")
    }
}
