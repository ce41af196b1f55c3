//! What happened, line by line: what clients did and were answered, what members logged, and the
//! faults. Two runs of one seed tell the same.

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

/// Lines of a story; shared by all who tell.
#[derive(Clone, Default)]
pub(super) struct Story {
    text: Arc<Mutex<Vec<u8>>>,
}

impl Story {
    /// A line, at the present moment.
    pub(super) fn tell(&self, line: &str) {
        let line = format!("{} {line}\n", moment());
        self.text.lock().extend_from_slice(line.as_bytes());
    }

    /// Takes the log of everything on this thread, too, until the guard is dropped.
    pub(super) fn take_log(&self) -> DefaultGuard {
        // The target of the spans that name the host; its events are about single packets.
        let filter = EnvFilter::new("info,turmoil=off,turmoil::sim=info");
        let log = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_ansi(false)
            .with_timer(Moment)
            .with_writer(self.clone())
            .finish();
        tracing::subscriber::set_default(log)
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.text.lock()).into_owned()
    }
}

/// Milliseconds of the simulation; the faults happen between two of them.
fn moment() -> String {
    turmoil::sim_elapsed()
        .map_or_else(|| "     -".to_owned(), |now| format!("{:>6}", now.as_millis()))
}

struct Moment;

impl FormatTime for Moment {
    fn format_time(&self, writer: &mut Writer<'_>) -> std::fmt::Result {
        writer.write_str(&moment())
    }
}

impl<'a> MakeWriter<'a> for Story {
    type Writer = StoryWriter;

    fn make_writer(&'a self) -> StoryWriter {
        StoryWriter(self.clone())
    }
}

pub(super) struct StoryWriter(Story);

impl io::Write for StoryWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.text.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
