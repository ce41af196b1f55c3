//! One change, very many subscribers on streams.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use memchr::memmem;
use tokio::sync::{Notify, Semaphore};

use super::push::subscriber;
use super::{APP, beside, start_own};
use crate::Bench;
use crate::report::Report;
use crate::rounds::median;
use xtask_grpc::Connection;
use xtask_grpc::messages::{instance, message};

const SCENARIO: &str = "grpc-fan-out";
const SERVICE: &str = "bench.push";
const SUBSCRIBERS: [usize; 4] = [1, 100, 1_000, 10_000];
const CHANGES: usize = 15;
const PATIENCE: Duration = Duration::from_secs(10);
/// Longer than pushes are merged for.
const PAUSE: Duration = Duration::from_millis(700);
/// Connections that are made at the same time.
const AT_A_TIME: usize = 64;
/// So that the many clients of one machine may connect quickly.
const SETTINGS: [&str; 2] =
    ["grpc.max_setups_per_second_per_source=100000", "grpc.max_connections=40000"];

/// How long it takes until the last subscriber of a service has been told.
pub(crate) async fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    for subscribers in SUBSCRIBERS {
        let own = start_own(bench, &SETTINGS).await?;
        let address = beside(own.server.address);
        let crowd = Crowd::subscribe(address, subscribers).await?;
        let publisher = Connection::open(address).await?;
        let _stream = publisher.set_up(APP).await?;
        let (mut until_last_ms, mut cpu_us) = (Vec::new(), Vec::new());
        for change in 0..CHANGES {
            tokio::time::sleep(PAUSE).await;
            let cpu = own.server.cpu_time()?.total;
            let port = u16::try_from(8_000 + change)?;
            crowd.expect(port);
            let payload =
                message("InstanceRequest", instance("registerInstance", SERVICE, "10.8.0.1", port));
            let begun = Instant::now();
            publisher.ask(&payload, b"\"resultCode\":200").await?;
            let told = tokio::time::timeout(PATIENCE, crowd.all_told(subscribers)).await;
            told.with_context(|| format!("{} of {subscribers} were told", crowd.told()))?;
            until_last_ms.push(begun.elapsed().as_secs_f64() * 1e3);
            let spent = own.server.cpu_time()?.total - cpu;
            cpu_us.push(spent.as_secs_f64() * 1e6 / subscribers as f64);
        }
        let worst = until_last_ms.iter().copied().fold(0.0, f64::max);
        let what = |word: &str| format!("{subscribers} streams: {word}");
        report.figure(SCENARIO, what("last one told, median"), (median(until_last_ms), "ms"));
        report.figure(SCENARIO, what("processor time each"), (median(cpu_us), "us"));
        if subscribers == 10_000 {
            let what = what(&format!("last one told, worst of {CHANGES}"));
            report.judge(SCENARIO, what, (worst, "ms"), 150.0);
        }
    }
    Ok(())
}

#[derive(Default)]
struct Shared {
    /// The port of the instance that the next list must show.
    port: AtomicUsize,
    told: AtomicUsize,
    changed: Notify,
}

/// Subscribers on threads of their own; they disconnect with the process's runtime.
struct Crowd {
    shared: Arc<Shared>,
    _runtime: Option<tokio::runtime::Runtime>,
}

impl Drop for Crowd {
    fn drop(&mut self) {
        // A runtime may not be dropped where others run.
        if let Some(runtime) = self._runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Crowd {
    async fn subscribe(address: SocketAddr, count: usize) -> Result<Self> {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let shared = Arc::<Shared>::default();
        let (room, mut tasks) = (Arc::new(Semaphore::new(AT_A_TIME)), Vec::new());
        for _ in 0..count {
            let (shared, room) = (Arc::clone(&shared), Arc::clone(&room));
            tasks.push(runtime.spawn(async move {
                let _permit = room.acquire().await?;
                let (connection, mut stream) = subscriber(address).await?;
                tokio::spawn(async move {
                    let _connection = connection;
                    let mut seen = 0;
                    while let Ok(list) = stream.next_list().await {
                        let port = shared.port.load(Ordering::Acquire);
                        let named = format!("\"port\":{port}");
                        if port != seen && memmem::find(list.body(), named.as_bytes()).is_some() {
                            seen = port;
                            shared.told.fetch_add(1, Ordering::AcqRel);
                            shared.changed.notify_one();
                        }
                    }
                });
                anyhow::Ok(())
            }));
        }
        for task in tasks {
            task.await??;
        }
        Ok(Self { shared, _runtime: Some(runtime) })
    }

    fn expect(&self, port: u16) {
        self.shared.told.store(0, Ordering::Release);
        self.shared.port.store(port.into(), Ordering::Release);
    }

    fn told(&self) -> usize {
        self.shared.told.load(Ordering::Acquire)
    }

    async fn all_told(&self, count: usize) {
        while self.told() < count {
            self.shared.changed.notified().await;
        }
    }
}
