//! What shall be done: stages of steps, each of them data that can be shown, compared and stored.

mod step;

pub use step::*;
