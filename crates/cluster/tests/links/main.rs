//! PostgreSQL's own links beside subscriptions, standbys and postgres_fdw, and links as sites have them:
//! from open to proved, and back.

mod foreign;
mod sites;
mod standbys;
mod support;
