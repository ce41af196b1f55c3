//! A small HTTP service that others find through the registry.
//!
//! `cargo run -p naming-client --example provider -- 127.0.0.1:8848`
//!
//! The first argument names the servers (commas between several), the second the port to listen
//! on (default: any). Start several; kill them, or a server, as you like.

#![allow(clippy::print_stdout, reason = "this is a program for people")]

use axum::{Router, routing::get};
use naming_client::{Instance, NamingClient};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let servers = arguments.next().unwrap_or_else(|| "127.0.0.1:8848".to_owned());
    let port: u16 = arguments.next().map_or(Ok(0), |text| text.parse())?;

    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let port = listener.local_addr()?.port();

    // Listen first, register then: whoever finds us can call us.
    let client = NamingClient::builder().servers([servers]).application("provider").build().await?;
    let instance = Instance::new("127.0.0.1", port).metadata("version", "1");
    let registration = client.register("hello-service", instance).await?;
    println!("registered {:?}, serving; Ctrl-C ends", registration.instance().authority());

    let text = format!("hello from port {port}\n");
    let router = Router::new().route("/", get(move || async move { text.clone() }));
    axum::serve(listener, router).with_graceful_shutdown(stop(client)).await?;
    Ok(())
}

/// On Ctrl-C: out of the registry first, so that nobody calls us any more, then the last answers.
async fn stop(client: NamingClient) {
    let _ = tokio::signal::ctrl_c().await;
    client.shutdown().await;
    println!("deregistered");
}
