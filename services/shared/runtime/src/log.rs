//! Log lines for the journal: to standard error, with the priority that sd-daemon(3) reads at the start of a line.

use std::fmt;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::{
    EnvFilter,
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
};

/// Sends this process's log to standard error. `BITBUILDER_LOG` chooses what, as `debug` or `runtime=trace`; `info` if
/// nothing is said.
pub fn to_stderr() {
    let filter = EnvFilter::try_from_env("BITBUILDER_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    // A second call in one process (tests) keeps the first.
    let _first_wins =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).event_format(Journal).try_init();
}

struct Journal;

impl<S, N> FormatEvent<S, N> for Journal
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let priority = match *event.metadata().level() {
            Level::ERROR => 3,
            Level::WARN => 4,
            Level::INFO => 6,
            Level::DEBUG | Level::TRACE => 7,
        };
        // A field may hold somebody else's words: they must not become a line, and a priority, of their own.
        let mut fields = String::new();
        context.field_format().format_fields(Writer::new(&mut fields), event)?;
        writeln!(writer, "<{priority}>{}", model::text::printable(&fields.replace('\n', " | ")))
    }
}
