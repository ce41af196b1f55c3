//! Pages of the console over 100,000 services, and what an open overview costs.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::Bench;
use super::compare::fill;
use super::contender::{Contender, own};
use super::report::Report;
use super::request::Population;
use super::sample::latencies;
use super::wire::{Connection, unexpected};

const SCENARIO: &str = "console";
const SERVICES: u64 = 100_000;
const INSTANCES: u64 = 300_000;
/// Requests of each kind.
const REQUESTS: u32 = 200;
/// A page must not take longer.
const MOST_MS: f64 = 50.0;
/// How often an open overview asks.
const PERIOD: Duration = Duration::from_secs(3);
/// What it may cost, in percent of a core.
const MOST_PERCENT: f64 = 0.1;

/// What each kind of page asks for, and what its answer must hold.
const PAGES: &[(&str, &str, &str)] = &[
    (
        "first page",
        "/nacos/v3/admin/ns/service/list?pageNo=1&pageSize=20",
        "\"totalCount\":100000,",
    ),
    (
        "page in the middle",
        "/nacos/v3/admin/ns/service/list?pageNo=2500&pageSize=20",
        "\"pageNumber\":2500,",
    ),
    (
        "page of 500 services",
        "/nacos/v3/admin/ns/service/list?pageNo=1&pageSize=500",
        "\"totalCount\":100000,",
    ),
    (
        "search by name",
        "/nacos/v3/admin/ns/service/list?serviceNameParam=0777&pageNo=1&pageSize=20",
        "bench.service.000777",
    ),
    (
        "search by group",
        "/nacos/v3/admin/ns/service/list?groupNameParam=FAULT&pageNo=1&pageSize=20",
        "\"totalCount\":100000,",
    ),
    (
        "only those with instances",
        "/nacos/v3/admin/ns/service/list?ignoreEmptyService=true&pageNo=1&pageSize=20",
        "\"totalCount\":100000,",
    ),
    ("search by address", "/nacos/v3/console/naming-server/search?address={ip}", "\"count\":1,"),
    (
        "search by address and port",
        "/nacos/v3/console/naming-server/search?address={ip}:8080",
        "\"count\":1,",
    ),
    (
        "search by the beginning of an address",
        "/nacos/v3/console/naming-server/search?address={begin}",
        "\"more\":true",
    ),
    (
        "search by an address that nobody has",
        "/nacos/v3/console/naming-server/search?address=192.0.2.1",
        "\"count\":0,",
    ),
    ("names of 2.x", "/nacos/v2/ns/service/list?pageNo=4000&pageSize=20", "\"count\":100000,"),
    ("names of 1.x", "/nacos/v1/ns/service/list?pageNo=4000&pageSize=20", "\"count\":100000"),
];

/// What an open overview asks for each time.
const OVERVIEW: &[&str] = &[
    "/nacos/v3/console/naming-server/overview",
    "/nacos/v3/console/naming-server/events?limit=12",
];

/// Latency and processor time of each kind of page, and of the overview.
pub(super) async fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let population = Population::lasting(SERVICES, INSTANCES);
    let mut server = own(bench, &[]).await?;
    fill(&mut server, population, &bench.arguments).await?;
    let ip = some_address(server.server.address).await?;
    let begin = ip.rsplit_once('.').map_or("", |(begin, _)| begin);
    let begin = format!("{}.", begin.split('.').next().unwrap_or(begin));
    for (name, target, holds) in PAGES {
        let target = target.replace("{ip}", &ip).replace("{begin}", &begin);
        let (p99_ms, cpu_ms) = ask(&mut server, &[&target], holds).await?;
        report.judge(SCENARIO, format!("{name}: p99"), (p99_ms, "ms"), MOST_MS);
        report.figure(SCENARIO, format!("{name}: processor time"), (cpu_ms, "ms"));
    }
    let (p99_ms, cpu_ms) = ask(&mut server, OVERVIEW, "\"code\":0").await?;
    report.figure(SCENARIO, "overview: p99", (p99_ms, "ms"));
    let percent = cpu_ms / 1e3 / PERIOD.as_secs_f64() * 100.0;
    report.judge(SCENARIO, "open overview", (percent, "% of a core"), MOST_PERCENT);
    Ok(())
}

/// The address of an instance.
async fn some_address(server: SocketAddr) -> Result<String> {
    let target = "/nacos/v1/ns/instance/list?serviceName=bench.service.050000";
    let list = get(&mut Connection::open(server).await?, target).await?;
    let (_, rest) = list.split_once("\"ip\":\"").context("the service has instances")?;
    Ok(rest.split('"').next().unwrap_or_default().to_owned())
}

/// Asks for all targets, one after the other, again and again: the 99th percentile of the time that
/// all of them take, and the mean of the processor time, in milliseconds.
async fn ask(contender: &mut Contender, targets: &[&str], holds: &str) -> Result<(f64, f64)> {
    let mut connection = Connection::open(contender.server.address).await?;
    let mut taken = latencies();
    let before = contender.server.cpu_time()?.total;
    for _ in 0..REQUESTS {
        let start = Instant::now();
        for target in targets {
            let body = get(&mut connection, target).await?;
            ensure!(body.contains(holds), "{target} answers {}", &body[..body.len().min(300)]);
        }
        taken.saturating_record(u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX));
    }
    let cpu = contender.server.cpu_time()?.total.saturating_sub(before);
    let p99_ms = taken.value_at_quantile(0.99) as f64 / 1e6;
    Ok((p99_ms, cpu.as_secs_f64() * 1e3 / f64::from(REQUESTS)))
}

async fn get(connection: &mut Connection, target: &str) -> Result<String> {
    let request = format!("GET {target} HTTP/1.1\r\nHost: bench\r\n\r\n");
    connection.send(request.as_bytes()).await?;
    let read = |status, _: &[u8], body: &[u8]| {
        ensure!(status == 200, unexpected(status, body));
        Ok(String::from_utf8_lossy(body).into_owned())
    };
    connection.receive(read).await?
}
