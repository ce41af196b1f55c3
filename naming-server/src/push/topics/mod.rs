//! Who listens to which service, and when each of them is told of changes.

mod driver;
mod round;
mod table;

pub(super) use driver::Driver;
pub(super) use table::{Table, Topic};
