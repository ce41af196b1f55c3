//! TLS on the ports of real servers.

mod bounds;
#[path = "../grpc/client.rs"]
mod client;
mod commands;
mod files;
mod grpc;
mod http;
mod members;
mod pki;
#[path = "../program/mod.rs"]
mod program;
#[path = "../server_support/mod.rs"]
mod server_support;
