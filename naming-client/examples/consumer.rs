//! A small HTTP service that calls the instances of `provider`.
//!
//! `cargo run -p naming-client --example consumer -- 127.0.0.1:8848 9000`, then
//! `curl http://127.0.0.1:9000/`
//!
//! Its answers go on while providers and servers are killed, as long as one provider lives.

#![allow(clippy::print_stdout, reason = "this is a program for people")]

use std::sync::Arc;

use axum::{Router, http::StatusCode, routing::get};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use naming_client::{NamingClient, Subscription};
use tokio::net::TcpListener;

type Http = Client<HttpConnector, Empty<Bytes>>;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let servers = arguments.next().unwrap_or_else(|| "127.0.0.1:8848".to_owned());
    let port: u16 = arguments.next().map_or(Ok(0), |text| text.parse())?;

    let client = NamingClient::builder()
        .servers([servers])
        .application("consumer")
        .cache_directory(std::env::temp_dir().join("naming-consumer"))
        .lazy() // start with the list on disk even if no server answers
        .build()
        .await?;
    let providers = Arc::new(client.subscribe("hello-service").await?);
    let http: Http = Client::builder(TokioExecutor::new()).build_http();

    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("ask me: curl http://{}/", listener.local_addr()?);
    let answer = move || relay(http.clone(), providers.clone());
    axum::serve(listener, Router::new().route("/", get(answer))).await?;
    Ok(())
}

/// Asks a provider; if it does not answer, another one. A dead instance stays in the list until
/// its beats are missed, so a caller has to be ready for it.
async fn relay(http: Http, providers: Arc<Subscription>) -> (StatusCode, String) {
    for _ in 0..5 {
        let Some(instance) = providers.choose() else { break };
        let Ok(url) = format!("http://{}/", instance.authority()).parse() else { continue };
        let Ok(answer) = http.get(url).await else { continue };
        if let Ok(body) = answer.into_body().collect().await {
            return (StatusCode::OK, String::from_utf8_lossy(&body.to_bytes()).into_owned());
        }
    }
    (StatusCode::BAD_GATEWAY, "no provider answers\n".to_owned())
}
