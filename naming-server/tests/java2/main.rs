//! Members of our kind among members of Nacos 2.x: a stand-in for these (`java`), and what it told a
//! real one (`replay`).

#[path = "../grpc/client.rs"]
mod client;
mod http;
mod java;
mod life;
mod moves;
mod replay;
#[path = "../server_support/mod.rs"]
mod server_support;
mod share;
mod site;
mod wire;
