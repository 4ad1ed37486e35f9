//! Lossless line documents over any bytes, and atomic replacement of a user's file
