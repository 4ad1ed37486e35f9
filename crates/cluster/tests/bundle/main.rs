//! Bundles: what is read over SQL, what is packed, and whether an administrator who follows the README
//! gets what was meant.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod administrator;
mod carried;
mod fixture;
#[cfg(feature = "demo")]
mod out_of_reach;
mod packing;
mod reading;
mod readme;
mod secrets;

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;
