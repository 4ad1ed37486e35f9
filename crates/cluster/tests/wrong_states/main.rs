//! Wrong states, each made by hand on a secured cluster: verification must not be green, and must say
//! by a code and in words what is wrong, where, and what to do. What people read of it is in
//! `snapshots/`.

#[path = "../standin/mod.rs"]
mod standin;

mod bench;
mod page;
mod pgd;
mod timescale;

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;
