//! What connections cost that do nothing but stay.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tokio::sync::Semaphore;

use super::fixed::FixedAnswer;
use super::loops::start_fixed;
use super::requests::service;
use super::{APP, beside, start_own};
use crate::Bench;
use crate::process::Server;
use crate::report::Report;
use xtask_grpc::Connection;
use xtask_grpc::messages::{instance, message, subscribe};

const SCENARIO: &str = "grpc-idle";
const CONNECTIONS: usize = 15_000;
/// Connections that are made at the same time.
const AT_A_TIME: usize = 64;
/// As often as SDKs ask a server whether it is there.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
const SETTLE: Duration = Duration::from_secs(6);
const WINDOW: Duration = Duration::from_secs(20);
const SETTINGS: [&str; 3] = [
    "grpc.max_setups_per_second_per_source=100000",
    "grpc.max_connections=40000",
    "grpc.max_connections_per_source=40000",
];

/// Memory and processor time of connections with one instance and one subscription each, beside
/// bare h2.
pub(crate) async fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let own = start_own(bench, &SETTINGS).await?;
    let (memory, cpu) = cost(&own.server, beside(own.server.address), true).await?;
    drop(own);
    let body = "{\"resultCode\":200,\"errorCode\":0,\"connectionId\":\"1_127.0.0.1_1\"}";
    let answer = FixedAnswer { kind: "HealthCheckResponse".to_owned(), body: body.to_owned() };
    let fixed = start_fixed(&answer).await?;
    let (bare_memory, bare_cpu) = cost(&fixed, fixed.address, false).await?;
    report.figure(SCENARIO, "one connection", (memory, "KiB"));
    report.figure(SCENARIO, "one connection of bare h2", (bare_memory, "KiB"));
    let what = format!("{CONNECTIONS} connections, a core");
    report.figure(SCENARIO, what.clone(), (cpu, "%"));
    report.figure(SCENARIO, format!("{what}, bare h2"), (bare_cpu, "%"));
    report.judge(SCENARIO, "memory, times bare h2", (memory / bare_memory, "x"), 1.15);
    report.judge(SCENARIO, "processor time, times bare h2", (cpu / bare_cpu, "x"), 1.2);
    Ok(())
}

/// KiB of each connection, and the share of a core of all of them.
async fn cost(server: &Server, address: SocketAddr, is_registry: bool) -> Result<(f64, f64)> {
    let before = server.resident_bytes()?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let opened = open_all(&runtime, address, is_registry).await;
    let measured = match opened {
        Ok(()) => {
            tokio::time::sleep(SETTLE).await;
            let (held, cpu) = (server.resident_bytes()?, server.cpu_time()?.total);
            tokio::time::sleep(WINDOW).await;
            let spent = server.cpu_time()?.total - cpu;
            let kib = held.saturating_sub(before) as f64 / 1_024.0 / CONNECTIONS as f64;
            Ok((kib, spent.as_secs_f64() / WINDOW.as_secs_f64() * 100.0))
        }
        Err(error) => Err(error),
    };
    // A runtime may not be dropped where others run.
    runtime.shutdown_background();
    measured
}

async fn open_all(
    runtime: &tokio::runtime::Runtime,
    address: SocketAddr,
    is_registry: bool,
) -> Result<()> {
    let (room, mut tasks) = (Arc::new(Semaphore::new(AT_A_TIME)), Vec::new());
    for number in 0..CONNECTIONS as u64 {
        let room = Arc::clone(&room);
        tasks.push(runtime.spawn(async move {
            let _permit = room.acquire().await?;
            let connection = Connection::open(address).await?;
            let mut stream = connection.set_up(APP).await?;
            if is_registry {
                let ip = format!("10.{}.{}.1", number / 256 % 256, number % 256);
                let service = service(number / 10);
                let body = instance("registerInstance", &service, &ip, 8_080);
                let registration = message("InstanceRequest", body);
                connection.ask(&registration, b"\"resultCode\":200").await?;
                let subscription = message("SubscribeServiceRequest", subscribe(&service));
                connection.ask(&subscription, b"\"resultCode\":200").await?;
            }
            tokio::spawn(async move {
                let lists = tokio::spawn(async move { while stream.next_list().await.is_ok() {} });
                // As clients that were started one after the other.
                let mut ticks = tokio::time::interval(KEEP_ALIVE);
                loop {
                    ticks.tick().await;
                    if connection.check_health().await.is_err() {
                        break;
                    }
                }
                lists.abort();
            });
            anyhow::Ok(())
        }));
    }
    for task in tasks {
        task.await??;
    }
    Ok(())
}
