//! The `tracing` layer: decides per call site whether any destination wants it, and turns an
//! event into one line of text.

use std::fmt::Write as _;

use tracing::field::{Field, Visit};
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::{Destination, Level};

pub(super) struct VlogLayer;

/// `bridge` for `vswitchd::bridge`.
fn module(target: &str) -> &str {
    target.rsplit("::").next().unwrap_or(target)
}

fn wanted(metadata: &Metadata<'_>) -> bool {
    let Some(state) = super::state() else {
        return false;
    };
    let level = Level::of(metadata.level());
    let inner = state.lock();
    let levels = inner.levels(module(metadata.target()));
    Destination::ALL
        .into_iter()
        .any(|destination| level <= *levels.get(destination))
}

impl<S: Subscriber> Layer<S> for VlogLayer {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if !metadata.is_event() {
            return Interest::never();
        }
        super::declare(&[module(metadata.target())]);
        // Asked again whenever levels change (`rebuild_interest_cache`).
        if wanted(metadata) {
            Interest::always()
        } else {
            Interest::never()
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        wanted(metadata)
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut text = Text::default();
        event.record(&mut text);
        text.message.push_str(&text.fields);
        let metadata = event.metadata();
        super::write(
            module(metadata.target()),
            Level::of(metadata.level()),
            &text.message,
        );
    }
}

#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        // Writing to a String cannot fail.
        let _ = if field.name() == "message" {
            write!(self.message, "{value:?}")
        } else {
            write!(self.fields, " {}={value:?}", field.name())
        };
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let _ = if field.name() == "message" {
            write!(self.message, "{value}")
        } else {
            write!(self.fields, " {}={value}", field.name())
        };
    }
}
