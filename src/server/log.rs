//! The log. A line is `pid:role date time level message`, as Redis writes it; the level is `.` for debug, `-` for
//! verbose, `*` for notice, `#` for warnings and errors. Events of libraries are let through only as warnings.

use super::BootError;
use crate::config::{Config, LogLevel};
use crate::stdx::os::{error_text, local_time};
use std::fmt;
use std::fs::OpenOptions;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::SystemTime;
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

/// Whether the log goes to a file, where a failing start would stay unseen.
static TO_FILE: AtomicBool = AtomicBool::new(false);

/// Starts the log of the process, at the level and into the file that `config` names.
pub fn start(config: &Config) -> Result<(), BootError> {
    config.loglevel.apply();
    let layer = tracing_subscriber::fmt::layer().event_format(Lines).with_ansi(false).log_internal_errors(false);
    let registry = tracing_subscriber::registry();
    let started = if config.logfile.is_empty() {
        registry.with(layer.with_writer(std::io::stdout)).with(ByLevel).try_init()
    } else {
        let file = OpenOptions::new().create(true).append(true).open(&config.logfile).map_err(|error| {
            BootError(format!("Can't open the log file '{}': {}", config.logfile, error_text(&error)))
        })?;
        TO_FILE.store(true, Relaxed);
        registry.with(layer.with_writer(Mutex::new(file))).with(ByLevel).try_init()
    };
    started.map_err(|error| BootError(format!("Can't start the log: {error}")))
}

/// Tells `error`, which has been logged, on the standard error too, if the user would not see it otherwise.
pub fn tell_where_unseen(error: &BootError) {
    if TO_FILE.load(Relaxed) || LogLevel::in_force() == LogLevel::Nothing {
        eprintln!("{error}");
    }
}

/// Lets events through by the level in force.
struct ByLevel;

fn is_wanted(metadata: &Metadata<'_>) -> bool {
    let own = metadata.target().starts_with("crimson");
    let level = LogLevel::in_force().filter();
    *metadata.level() <= if own { level } else { level.min(LevelFilter::WARN) }
}

impl<S: Subscriber> Layer<S> for ByLevel {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if is_wanted(metadata) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        is_wanted(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LogLevel::in_force().filter())
    }
}

/// Formats events as lines.
struct Lines;

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        write!(out, "{}:M {} ", std::process::id(), Stamp { seconds: now.as_secs(), millis: now.subsec_millis() })?;
        out.write_str(mark(*event.metadata().level()))?;
        out.write_char(' ')?;
        context.format_fields(out.by_ref(), event)?;
        out.write_char('\n')
    }
}

fn mark(level: Level) -> &'static str {
    match level {
        Level::TRACE => ".",
        Level::DEBUG => "-",
        Level::INFO => "*",
        Level::WARN | Level::ERROR => "#",
    }
}

/// A moment as `23 Nov 2026 15:22:57.767`, in the time zone of the process.
struct Stamp {
    seconds: u64,
    millis: u32,
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let time = local_time(self.seconds as i64);
        write!(f, "{:02} {} {} ", time.day, MONTHS[time.month], time.year)?;
        write!(f, "{:02}:{:02}:{:02}.{:03}", time.hour, time.minute, time.second, self.millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::sync::Arc;

    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("no holder panics").write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_look_like_those_of_redis() {
        let memory = Memory::default();
        let writer = memory.clone();
        let layer = tracing_subscriber::fmt::layer().event_format(Lines).with_ansi(false);
        let subscriber = tracing_subscriber::registry().with(layer.with_writer(move || writer.clone()));
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!("hello {}", 1);
            tracing::error!("bad");
        });
        let text = String::from_utf8(memory.0.lock().expect("no holder panics").clone()).expect("UTF-8");
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split(' ').collect()).collect();
        assert_eq!(lines[0][0], format!("{}:M", std::process::id()));
        assert_eq!((lines[0][1].len(), lines[0][2].len(), lines[0][3].len(), lines[0][4].len()), (2, 3, 4, 12));
        assert_eq!(lines[0][5..], ["*", "hello", "1"]);
        assert_eq!(lines[1][5..], ["#", "bad"]);
    }

    #[test]
    fn the_level_decides() {
        for (level, filter) in LogLevel::NAMES.iter().enumerate().map(|(at, _)| LogLevel::from_index(at)).zip([
            LevelFilter::TRACE,
            LevelFilter::DEBUG,
            LevelFilter::INFO,
            LevelFilter::WARN,
            LevelFilter::OFF,
        ]) {
            assert_eq!(level.filter(), filter);
        }
    }
}
