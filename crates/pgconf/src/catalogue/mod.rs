//! What is known about every setting of the majors 12 to 18.

mod check;
mod encoding;
mod facts;
mod hooks;
mod lists;
mod number;
mod standbys;
mod time_zone;
mod units;

pub use check::{Checked, InvalidValue, Value};
pub use facts::{Activation, Catalogue, Context, Kind, Setting, Words};
pub use lists::{ListKind, ListSyntax, join_list, split_list};
pub use units::Unit;
