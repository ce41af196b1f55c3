//! The golden replay is itself tested: a comparison that accepts everything would look like a
//! server without faults.

#[path = "../golden_grpc/mod.rs"]
mod golden_grpc;
#[path = "../golden_support/mod.rs"]
mod golden_support;

mod grpc;
mod pattern;
mod runner;
mod scenario;
mod server;
mod wire;
