//! Prints how a service changes, with times.
//!
//! `cargo run -p naming-client --example watch -- 127.0.0.1:8848 hello-service`

#![allow(clippy::print_stdout, reason = "this is a program for people")]

use std::time::Instant;

use naming_client::{Instance, NamingClient};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let servers = arguments.next().unwrap_or_else(|| "127.0.0.1:8848".to_owned());
    let service = arguments.next().unwrap_or_else(|| "hello-service".to_owned());

    let start = Instant::now();
    let client = NamingClient::builder().servers([servers]).build().await?;
    // From scratch: the first change is the whole list.
    let mut subscription = client.subscribe(service.as_str()).await?.from_scratch();
    println!("watching {}", subscription.query());
    while let Some(change) = subscription.changed().await {
        let seconds = start.elapsed().as_secs_f64();
        let show = |sign: char, list: &[Instance]| {
            for one in list {
                println!(
                    "{seconds:9.3} {sign} {} weight {} healthy {} {:?}",
                    one.key(),
                    one.weight,
                    one.healthy,
                    one.metadata
                );
            }
        };
        show('+', &change.added);
        show('~', &change.modified);
        show('-', &change.removed);
    }
    Ok(())
}
