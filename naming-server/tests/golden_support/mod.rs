//! Replay of recorded transcripts: what a file may say ([`scenario`]), how a step is carried out
//! ([`runner`] over [`http`] and [`udp`]), and how an answer is compared ([`compare`],
//! [`pattern`]).
//!
//! The format is described in `tests/golden/README.md`. The replay itself is tested by
//! `tests/golden_checks`.

pub(crate) mod compare;
pub(crate) mod http;
pub(crate) mod json;
pub(crate) mod pattern;
pub(crate) mod report;
pub(crate) mod runner;
pub(crate) mod scenario;
pub(crate) mod udp;
pub(crate) mod variables;
