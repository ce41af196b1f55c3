//! The OpenAPI document of what is served, made of the route tables.
//!
//! Methods, paths and rights come from the rows themselves. What parameters a request takes stands in
//! [`parameters`]; a test calls every handler and compares what it reads with what stands there.

mod document;
mod parameters;

pub(super) use document::{Described, document};
#[cfg(test)]
pub(super) use parameters::of;
