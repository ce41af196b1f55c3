//! Clients of 2.x against real servers.

mod abuse;
mod balance;
mod client;
mod cluster;
mod emptied;
mod everywhere;
mod life;
mod mass;
#[path = "../server_support/mod.rs"]
mod server_support;
