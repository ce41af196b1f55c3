//! Runs the SDK through its paces against any Nacos server.
//!
//! `cargo run -p naming-client --example conformance -- --server 127.0.0.1:8848`
//! `[--transport auto|grpc|http] [--user NAME --password TEXT] [--only CHECK]`
//!
//! One line of JSON for each check, `{"check","ok","millis","detail"}`; the exit code is 0 if all
//! went well, 1 if a check failed, 2 for wrong arguments. All services are new and are left
//! empty. It takes about a minute.

#![allow(clippy::print_stdout, reason = "the lines are the result")]

mod checks;
mod services;

use std::future::Future;
use std::pin::Pin;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use naming_client::{ClientBuilder, NamingClient, Transport};
use tokio::task::JoinSet;

/// Longest time for one check.
const LIMIT: Duration = Duration::from_secs(90);

/// What went wrong, in words.
type Problem = Box<dyn std::error::Error + Send + Sync>;
/// What a check found out, in words.
type Outcome = Result<String, Problem>;
type Check = fn(Target) -> Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// What the checks run against.
#[derive(Debug, Clone)]
struct Target {
    server: String,
    transport: Transport,
    credentials: Option<(String, String)>,
    /// Tells this run's services from those of all others.
    run: String,
}

impl Target {
    fn builder(&self) -> ClientBuilder {
        let builder = NamingClient::builder().servers([&self.server]);
        let builder = builder.transport(self.transport).application("conformance");
        match &self.credentials {
            Some((user, password)) => builder.credentials(user, password),
            None => builder,
        }
    }

    async fn client(&self) -> Result<NamingClient, Problem> {
        Ok(self.builder().build().await?)
    }

    fn service(&self, name: &str) -> String {
        format!("conformance@@{name}-{}", self.run)
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let Some((target, only)) = arguments() else {
        eprintln!(
            "usage: conformance --server HOST:PORT [--transport auto|grpc|http] \
             [--user NAME --password TEXT] [--only CHECK]"
        );
        return ExitCode::from(2);
    };
    let mut running = JoinSet::new();
    for (name, check) in checks::ALL {
        let name = name.replace('_', "-");
        if only.as_deref().is_none_or(|only| only == name) {
            running.spawn(run(name, *check, target.clone()));
        }
    }
    let mut all_well = !running.is_empty();
    while let Some(ended) = running.join_next().await {
        all_well &= ended.unwrap_or(false);
    }
    if all_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn run(name: String, check: Check, target: Target) -> bool {
    let start = Instant::now();
    // In a task of its own, so that a panic is one failed check and not the end of all.
    let task = tokio::spawn(tokio::time::timeout(LIMIT, check(target)));
    let (ok, detail) = match task.await {
        Ok(Ok(Ok(detail))) => (true, detail),
        Ok(Ok(Err(problem))) => (false, problem.to_string()),
        Ok(Err(_)) => (false, format!("not done within {LIMIT:?}")),
        Err(panic) => (false, panic.to_string()),
    };
    let millis = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
    let line = serde_json::json!({"check": name, "ok": ok, "millis": millis, "detail": detail});
    println!("{line}");
    ok
}

fn arguments() -> Option<(Target, Option<String>)> {
    let (mut server, mut user, mut password, mut only) = (None, None, None, None);
    let mut transport = None;
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let place = match word.as_str() {
            "--server" => &mut server,
            "--user" => &mut user,
            "--password" => &mut password,
            "--only" => &mut only,
            "--transport" => &mut transport,
            _ => return None,
        };
        *place = Some(words.next()?);
    }
    let run = format!("{:x}", fastrand::u32(..));
    let transport = transport.map_or(Some(Transport::Auto), |text| text.parse().ok())?;
    Some((Target { server: server?, transport, credentials: user.zip(password), run }, only))
}
