//! What every command has in common: where results and talk go, how problems are shown, how files
//! are read and written, where secrets come from.

pub(crate) mod answer;
pub(crate) mod console;
pub(crate) mod diagnostic;
pub(crate) mod edit;
pub(crate) mod failure;
pub(crate) mod input;
mod prompt;
pub(crate) mod secret;
pub(crate) mod signals;
pub(crate) mod table;
pub(crate) mod text;
pub(crate) mod usage;
pub(crate) mod version;
