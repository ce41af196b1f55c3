//! A client of 2.x and 3.x, as small as can be: one connection with its stream, and requests as
//! the Java SDK writes them. The benchmark and the chaos rows share it.
#![warn(missing_docs)]

mod connection;
pub use connection::{Connection, Stream, is_success};
pub mod messages;

pub use naming_model::payload::Payload;
