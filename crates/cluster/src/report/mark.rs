//! Marks: how something is, told by shape and word, and by colour besides.

use maud::{Markup, html};

use super::view::State;

/// The shapes, drawn once. Each is in a square of 16.
pub(super) fn symbols() -> Markup {
    html! {
        svg.symbols width="0" height="0" aria-hidden="true" focusable="false" {
            @for state in [State::Good, State::Odd, State::Bad, State::Unknown] {
                symbol #{ "mark-" (state.class()) } viewBox="0 0 16 16" {
                    (outline(state))
                    path.stroke d=(strokes(state)) {}
                }
            }
        }
    }
}

/// What is wrong has another outline, too.
fn outline(state: State) -> Markup {
    html! {
        @match state {
            State::Good => circle cx="8" cy="8" r="7.5" {},
            State::Odd => path d="M8 .5 15.7 15H.3Z" {},
            State::Bad => rect x=".5" y=".5" width="15" height="15" rx="2" {},
            State::Unknown => path d="M8 .2 15.8 8 8 15.8 .2 8Z" {},
        }
    }
}

const fn strokes(state: State) -> &'static str {
    match state {
        State::Good => "M4.3 8.3 7 11 11.7 5.4",
        State::Odd => "M8 5.6V9.6M8 11.6V12.9",
        State::Bad => "M4.8 4.8 11.2 11.2M11.2 4.8 4.8 11.2",
        State::Unknown => "M6.1 6.5A1.9 1.9 0 1 1 8 8.4V9.6M8 11V12.2",
    }
}

/// A mark beside a word that says the same.
pub(super) fn mark(state: State) -> Markup {
    html! {
        svg.mark.(state.class()) viewBox="0 0 16 16" aria-hidden="true" focusable="false" {
            use href={ "#mark-" (state.class()) } {}
        }
    }
}

/// A mark with its word.
pub(super) fn badge(state: State, word: &str) -> Markup {
    html! {
        span.badge.(state.class()) { (mark(state)) (word) }
    }
}

/// `node-1 → node-2`
pub(super) fn arrow(from: &str, to: &str) -> Markup {
    html! {
        bdi { (from) }
        " " span aria-hidden="true" { "→" } span.quiet { " to " } " "
        bdi { (to) }
    }
}

/// A table that is wider than some windows: it is moved within itself, with the keyboard too.
pub(super) fn scrolled(label: &str, table: &Markup) -> Markup {
    html! {
        div.scroll role="region" aria-label=(label) tabindex="0" { (table) }
    }
}
