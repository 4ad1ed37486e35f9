//! The fuzz targets, as functions that also run on the checked-in corpus.

pub mod pki;
