//! The report: what is in the page, and what a browser makes of it.
#![cfg(feature = "report")]

mod browser;
mod chromium;
mod page;
mod sample;

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;
