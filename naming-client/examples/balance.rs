//! tower's load balancer over a service of the registry, and a client that takes service names
//! in URLs.
//!
//! `cargo run -p naming-client --features tower --example balance -- 127.0.0.1:8848`, with some
//! `provider` running.

#![allow(clippy::print_stdout, reason = "this is a program for people")]

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::{Request, Response, body::Incoming};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use naming_client::NamingClient;
use naming_client::tower::{ServiceDiscover, ServiceResolver};
use tower::{Layer, Service, ServiceExt, balance::p2c::Balance, load::Constant};

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let servers = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8848".to_owned());
    let client = NamingClient::builder().servers([servers]).build().await?;
    let http = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();

    // One tower service for each instance; the balancer follows the registry.
    let providers = client.subscribe("hello-service").await?;
    let make = http.clone();
    let discover = ServiceDiscover::new(providers, move |instance| {
        let (http, authority) = (make.clone(), instance.authority());
        let call = tower::service_fn(move |path: &'static str| {
            let (http, url) = (http.clone(), format!("http://{authority}{path}"));
            async move { Ok::<_, Failure>(http.get(url.parse()?).await?) }
        });
        Constant::new(call, 1)
    });
    let mut balance = Balance::new(discover);
    for _ in 0..5 {
        let answer = balance.ready().await?.call("/").await?;
        print!("balanced: {}", text(answer).await?);
    }

    // The same by name: any client that is a tower service can be wrapped.
    let mut by_name = ServiceResolver::new(client).layer(http);
    for _ in 0..5 {
        let request = Request::get("http://hello-service/").body(Empty::new())?;
        print!("by name: {}", text(by_name.ready().await?.call(request).await?).await?);
    }
    Ok(())
}

async fn text(answer: Response<Incoming>) -> Result<String, Failure> {
    Ok(String::from_utf8_lossy(&answer.into_body().collect().await?.to_bytes()).into_owned())
}
