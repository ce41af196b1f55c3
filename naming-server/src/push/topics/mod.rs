//! Topics: who listens to a service, and when they are told of changes, through any sink.

mod driver;
mod round;
mod table;
mod topic;

pub(in crate::push) use driver::Driver;
pub(in crate::push) use table::Table;
pub(in crate::push) use topic::Topic;
