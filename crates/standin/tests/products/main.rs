//! The stand-ins behave as the facts tell of the real products: what is green and yet open, what is
//! silently ignored, what fails and with which words.

mod pgd;
mod timescale;
