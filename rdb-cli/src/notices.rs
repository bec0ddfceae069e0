//! What the SDK says of a watch that goes on by itself, for a person to see.

use std::fmt::{self, Write as _};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

/// The parts of the SDK that go on by themselves.
const SOURCES: [&str; 2] = ["rdb_client::subscription", "rdb_client::snapshot"];

/// Says on standard error from now on when a watch breaks off and goes on.
pub(crate) fn to_standard_error() {
    let sources = Targets::new().with_targets(SOURCES.map(|source| (source, Level::DEBUG)));
    // Where somebody else listens already, it is for them.
    let _ = tracing_subscriber::registry().with(Notices.with_filter(sources)).try_init();
}

struct Notices;

impl<S: Subscriber> Layer<S> for Notices {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut notice = Notice::default();
        event.record(&mut notice);
        // While the node is away it is tried again and again, which is worth one line.
        if notice.failed <= 1 {
            eprintln!("rdb: {}", notice.text());
        }
    }
}

/// What an event says.
#[derive(Default)]
struct Notice {
    message: String,
    error: String,
    failed: u64,
}

impl Notice {
    fn text(&self) -> String {
        match self.error.is_empty() {
            true => self.message.clone(),
            false => format!("{}: {}", self.message, self.error),
        }
    }
}

impl Visit for Notice {
    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "failed" {
            self.failed = value;
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "error" {
            value.clone_into(&mut self.error);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            // Writing to a string does not fail.
            let _ = write!(self.message, "{value:?}");
        }
    }
}
