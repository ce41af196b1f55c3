//! Drives nacos-sdk through the checks of gRPC: `check HOST:PORT PREFIX DIRECTORY`. With a fourth
//! argument, a service, the program registers one instance there and waits to be killed.

use std::collections::HashMap;
use std::future::Future;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nacos_sdk::api::naming::{
    NamingChangeEvent, NamingEventListener, NamingService, NamingServiceBuilder, ServiceInstance,
};
use nacos_sdk::api::props::ClientProps;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::time::sleep;

/// Below the 60 s after which this SDK polls: what arrives within the limit was pushed.
const PUSH_LIMIT: Duration = Duration::from_secs(2);
const LIST_LIMIT: Duration = Duration::from_secs(3);
/// This SDK notices by its health check, every 5 s, waits 2 s before it connects again and repeats
/// what it has registered every 3 s.
const RESTART_LIMIT: Duration = Duration::from_secs(15);
/// Longer than the 3 s after which the SDK repeats what it believes to be registered.
const REDO_PERIOD: Duration = Duration::from_millis(3_500);
const VICTIM: &str = "10.5.0.9";

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, prefix, directory, rest @ ..] = arguments.as_slice() else {
        anyhow::bail!("check HOST:PORT PREFIX DIRECTORY [SERVICE]");
    };
    let run =
        Run { address: address.clone(), prefix: prefix.clone(), directory: directory.clone() };
    if let [service] = rest {
        let client = run.client("").await?;
        client.register_instance(service.clone(), None, instance(VICTIM, 8009)).await?;
        println!("registered");
        std::future::pending::<()>().await;
    }
    run.basics().await?;
    run.namespaces().await?;
    run.subscriptions().await?;
    run.killed().await?;
    run.restarted().await
}

struct Run {
    /// `host:port` of the server.
    address: String,
    /// What names of services begin with.
    prefix: String,
    directory: String,
}

impl Run {
    async fn basics(&self) -> Result<()> {
        let service = self.service("basics");
        // A connection holds one instance of a service, so each instance has a client of its own.
        let (one, two) = (self.client("").await?, self.client("").await?);
        let metadata = HashMap::from([("zone", "east 1"), ("owner", "Zoë")]);
        let metadata: HashMap<String, String> =
            metadata.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
        let weighted = ServiceInstance {
            weight: 2.5,
            cluster_name: Some("blue".to_owned()),
            metadata: metadata.clone(),
            ..instance("10.1.0.1", 8001)
        };
        let second = instance("10.1.0.2", 8002);
        check("register", async {
            one.register_instance(service.clone(), None, weighted).await?;
            two.register_instance(service.clone(), None, second.clone()).await?;
            Ok(String::new())
        })
        .await;
        check("seen-by-http", async {
            let seen = until(
                PUSH_LIMIT,
                async || self.http_list(&service).await,
                |seen| has(seen, "10.1.0.1") && has(seen, "10.1.0.2"),
            );
            as_registered(&seen.await?, &metadata)
        })
        .await;
        self.http(Method::POST, &service, "10.1.0.3", "&healthy=false").await?;
        check("list", async {
            let seen =
                until(LIST_LIMIT, async || list(&one, &service).await, |seen| seen.len() == 3);
            let seen = seen.await?;
            ensure!(!find(&seen, "10.1.0.3").context("no third")?.healthy, "{seen:?}");
            as_registered(&seen, &metadata)
        })
        .await;
        check("list-healthy", async {
            let seen = one.select_instances(service.clone(), None, vec![], false, true).await?;
            ensure!(seen.len() == 2 && !has(&seen, "10.1.0.3"), "{seen:?}");
            Ok(String::new())
        })
        .await;
        check("batch", async {
            let many = self.service("batch");
            let instances = vec![instance("10.1.1.1", 8001), instance("10.1.1.2", 8002)];
            one.batch_register_instance(many.clone(), None, instances).await?;
            until(LIST_LIMIT, async || list(&two, &many).await, |seen| seen.len() == 2).await?;
            until(PUSH_LIMIT, async || self.http_list(&many).await, |seen| seen.len() == 2).await?;
            Ok(String::new())
        })
        .await;
        check("deregister", async {
            two.deregister_instance(service.clone(), None, second).await?;
            let gone = |seen: &[ServiceInstance]| !has(seen, "10.1.0.2");
            until(LIST_LIMIT, async || list(&one, &service).await, gone).await?;
            sleep(REDO_PERIOD).await;
            let seen = self.http_list(&service).await?;
            ensure!(gone(&seen) && has(&seen, "10.1.0.1"), "{seen:?}");
            Ok(String::new())
        })
        .await;
        Ok(())
    }

    async fn namespaces(&self) -> Result<()> {
        let service = self.service("spaces");
        let one = self.client(&self.service("one")).await?;
        let two = self.client(&self.service("two")).await?;
        check("namespaces", async {
            one.register_instance(service.clone(), None, instance("10.2.0.1", 8001)).await?;
            two.register_instance(service.clone(), None, instance("10.2.0.2", 8002)).await?;
            for (client, ip) in [(&one, "10.2.0.1"), (&two, "10.2.0.2")] {
                let alone = |seen: &[ServiceInstance]| seen.len() == 1 && has(seen, ip);
                until(LIST_LIMIT, async || list(client, &service).await, alone).await?;
            }
            Ok(String::new())
        })
        .await;
        check("service-list", async {
            let (names, count) = one.get_service_list(1, 10, None).await?;
            ensure!(count == 1 && names == [service.clone()], "{count} {names:?}");
            Ok(String::new())
        })
        .await;
        Ok(())
    }

    async fn subscriptions(&self) -> Result<()> {
        let second = self.client("").await?;
        let watch = Watch::begin(self, "watch").await?;
        let service = &watch.service;
        let other = instance("10.3.0.2", 8002);
        check("subscribe-appear", async {
            let start = Instant::now();
            second.register_instance(service.clone(), None, other.clone()).await?;
            watch.until(PUSH_LIMIT, |seen| has(seen, "10.3.0.2")).await?;
            Ok(format!("pushed after {} ms", start.elapsed().as_millis()))
        })
        .await;
        check("subscribe-vanish", async {
            ensure!(has(&watch.seen(), "10.3.0.2"), "it did not appear");
            let start = Instant::now();
            second.deregister_instance(service.clone(), None, other.clone()).await?;
            watch.until(PUSH_LIMIT, |seen| !has(seen, "10.3.0.2")).await?;
            Ok(format!("pushed after {} ms", start.elapsed().as_millis()))
        })
        .await;
        check("http-appear", async {
            let start = Instant::now();
            self.http(Method::POST, service, "10.3.0.3", "&weight=0.5").await?;
            let wanted = |seen: &[ServiceInstance]| {
                find(seen, "10.3.0.3").is_some_and(|host| host.weight == 0.5)
            };
            watch.until(PUSH_LIMIT, wanted).await?;
            Ok(format!("pushed after {} ms", start.elapsed().as_millis()))
        })
        .await;
        check("http-vanish", async {
            ensure!(has(&watch.seen(), "10.3.0.3"), "it did not appear");
            let start = Instant::now();
            self.http(Method::DELETE, service, "10.3.0.3", "").await?;
            watch.until(PUSH_LIMIT, |seen| !has(seen, "10.3.0.3")).await?;
            Ok(format!("pushed after {} ms", start.elapsed().as_millis()))
        })
        .await;
        Ok(())
    }

    async fn killed(&self) -> Result<()> {
        let watch = Watch::begin(self, "killed").await?;
        check("client-killed", async {
            let mut victim = Command::new(std::env::current_exe()?)
                .args([&self.address, &self.prefix, &self.directory, &watch.service])
                .stdout(Stdio::piped())
                .kill_on_drop(true)
                .spawn()?;
            let mut lines = BufReader::new(victim.stdout.take().context("no output")?).lines();
            while lines.next_line().await?.context("it ended")? != "registered" {}
            watch.until(PUSH_LIMIT, |seen| has(seen, VICTIM)).await?;
            victim.kill().await?;
            let start = Instant::now();
            watch.until(PUSH_LIMIT, |seen| !has(seen, VICTIM)).await?;
            Ok(format!("gone after {} ms", start.elapsed().as_millis()))
        })
        .await;
        Ok(())
    }

    /// Tells the caller that all else is done, by a file, and waits for the file that says that
    /// the server has restarted.
    async fn restarted(&self) -> Result<()> {
        let watch = Watch::begin(self, "restart").await?;
        let directory = Path::new(&self.directory);
        std::fs::write(directory.join("ready"), "")?;
        while !directory.join("restarted").exists() {
            sleep(Duration::from_millis(20)).await;
        }
        check("server-restart", async {
            let (start, service) = (Instant::now(), &watch.service);
            let first = |seen: &[ServiceInstance]| has(seen, "10.3.0.1");
            until(RESTART_LIMIT, async || self.http_list(service).await, first).await?;
            let back = start.elapsed();
            self.http(Method::POST, service, "10.3.0.4", "").await?;
            let both = |seen: &[ServiceInstance]| first(seen) && has(seen, "10.3.0.4");
            watch.until(RESTART_LIMIT.saturating_sub(back), both).await?;
            let (back, all) = (back.as_millis(), start.elapsed().as_millis());
            Ok(format!("back after {back} ms, subscribed again after {all} ms"))
        })
        .await;
        Ok(())
    }

    fn service(&self, name: &str) -> String {
        format!("{}-{name}", self.prefix)
    }

    async fn client(&self, namespace: &str) -> Result<NamingService> {
        let properties = ClientProps::new().server_addr(&self.address).namespace(namespace);
        Ok(NamingServiceBuilder::new(properties.app_name("check")).build().await?)
    }

    /// Registers or deregisters over HTTP, as a client of 1.x does.
    async fn http(&self, method: Method, service: &str, ip: &str, more: &str) -> Result<()> {
        let query = format!("serviceName={service}&ip={ip}&port=8003{more}");
        let said = self.call(method, &format!("/nacos/v1/ns/instance?{query}")).await?;
        ensure!(said == "ok", "{said}");
        Ok(())
    }

    /// What a client of 1.x is told of a service.
    async fn http_list(&self, service: &str) -> Result<Vec<ServiceInstance>> {
        let path = format!("/nacos/v1/ns/instance/list?serviceName={service}");
        let mut answer: Value = serde_json::from_str(&self.call(Method::GET, &path).await?)?;
        Ok(serde_json::from_value(answer["hosts"].take())?)
    }

    async fn call(&self, method: Method, path: &str) -> Result<String> {
        let url = format!("http://{}{path}", self.address);
        Ok(reqwest::Client::new().request(method, url).send().await?.text().await?)
    }
}

/// A service with one instance, 10.3.0.1:8001, and a subscriber to it.
struct Watch {
    service: String,
    told: Arc<Told>,
    _clients: [NamingService; 2],
}

/// The list of the last event.
#[derive(Default)]
struct Told(Mutex<Vec<ServiceInstance>>);

impl NamingEventListener for Told {
    fn event(&self, event: Arc<NamingChangeEvent>) {
        *self.0.lock().expect("no panic under the lock") =
            event.instances.clone().unwrap_or_default();
    }
}

impl Watch {
    async fn begin(run: &Run, name: &str) -> Result<Self> {
        let service = run.service(name);
        let (provider, consumer) = (run.client("").await?, run.client("").await?);
        provider.register_instance(service.clone(), None, instance("10.3.0.1", 8001)).await?;
        let told = Arc::new(Told::default());
        consumer.subscribe(service.clone(), None, vec![], told.clone()).await?;
        let watch = Self { service, told, _clients: [provider, consumer] };
        watch.until(Duration::from_secs(5), |seen| seen.len() == 1).await?;
        Ok(watch)
    }

    fn seen(&self) -> Vec<ServiceInstance> {
        self.told.0.lock().expect("no panic under the lock").clone()
    }

    async fn until(
        &self,
        limit: Duration,
        wanted: impl Fn(&[ServiceInstance]) -> bool,
    ) -> Result<()> {
        until(limit, async || Ok(self.seen()), wanted).await.map(|_| ())
    }
}

/// An empty list is an error to this SDK.
async fn list(client: &NamingService, service: &str) -> Result<Vec<ServiceInstance>> {
    let listed = client.get_all_instances(service.to_owned(), None, vec![], false).await;
    Ok(listed.unwrap_or_default())
}

fn instance(ip: &str, port: i32) -> ServiceInstance {
    ServiceInstance { ip: ip.to_owned(), port, ..ServiceInstance::default() }
}

fn as_registered(seen: &[ServiceInstance], metadata: &HashMap<String, String>) -> Result<String> {
    let weighted = find(seen, "10.1.0.1").context("no first")?;
    ensure!(weighted.weight == 2.5 && weighted.metadata == *metadata, "{weighted:?}");
    ensure!(weighted.cluster_name.as_deref() == Some("blue"), "{weighted:?}");
    let second = find(seen, "10.1.0.2").context("no second")?;
    ensure!(second.cluster_name.as_deref() == Some("DEFAULT"), "{second:?}");
    Ok(String::new())
}

fn find<'a>(seen: &'a [ServiceInstance], ip: &str) -> Option<&'a ServiceInstance> {
    seen.iter().find(|host| host.ip == ip)
}

fn has(seen: &[ServiceInstance], ip: &str) -> bool {
    find(seen, ip).is_some()
}

async fn until(
    limit: Duration,
    look: impl AsyncFn() -> Result<Vec<ServiceInstance>>,
    wanted: impl Fn(&[ServiceInstance]) -> bool,
) -> Result<Vec<ServiceInstance>> {
    let start = Instant::now();
    loop {
        let seen = look().await?;
        if wanted(&seen) {
            return Ok(seen);
        }
        ensure!(start.elapsed() < limit, "not within {limit:?}, last seen: {seen:?}");
        sleep(Duration::from_millis(10)).await;
    }
}

async fn check(name: &str, body: impl Future<Output = Result<String>>) {
    let start = Instant::now();
    let (ok, detail) = match body.await {
        Ok(detail) => (true, detail),
        Err(error) => (false, format!("{error:#}")),
    };
    let millis = start.elapsed().as_millis();
    println!("{}", json!({"check": name, "ok": ok, "millis": millis, "detail": detail}));
}
