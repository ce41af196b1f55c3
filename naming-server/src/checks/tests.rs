//! The checks of a registry, over connections that the tests make up.

use std::io;
use std::sync::atomic::AtomicBool;

use distro_core::{MemberId, StampClock};
use distro_net::{Clock, Connecting, Io};
use naming_model::{InstanceKey, ServiceKey};

use super::*;
use crate::registry::{ClusterSettings, Events, Instance, Metadata, Watch, hosts};

/// What stands for the network: what a check connects to is a pipe whose other end the test has,
/// or nobody.
struct Network<F> {
    connected: Mutex<Vec<String>>,
    answer: F,
}

impl<F: Fn() -> io::Result<Box<dyn Io>> + Send + Sync> Connector for Network<F> {
    fn connect<'a>(&'a self, address: &'a str) -> Connecting<'a> {
        self.connected.lock().push(address.to_owned());
        Box::pin(async { (self.answer)() })
    }
}

fn refuse() -> io::Result<Box<dyn Io>> {
    Err(io::ErrorKind::ConnectionRefused.into())
}

struct Site<F> {
    network: Arc<Network<F>>,
    checks: Arc<Checks>,
    service: ServiceKey,
    shutdown: CancellationToken,
}

impl<F: Fn() -> io::Result<Box<dyn Io>> + Send + Sync + 'static> Site<F> {
    /// Checks run, by this checker, and as far as time does.
    fn start(networks: &str, checker: HealthChecker, answer: F) -> Self {
        let clock = Clock::of_runtime();
        let settings = crate::Config::default().registry_settings(1);
        let events = Arc::new(Events::new(100));
        let watch = Arc::new(Watch::new(Arc::clone(&events)));
        let stamps = StampClock::new(MemberId(1), 1, clock.now());
        let changes = Arc::new(Changes::default());
        let watchers = vec![Arc::clone(&changes) as _];
        let registry = Registry::new(settings, events, watch, stamps, clock, watchers);
        let service = ServiceKey::parse("public", "g@@s").unwrap();
        let change = |_: Option<&_>| {
            let cluster = ClusterSettings { checker: checker.clone(), ..Default::default() };
            let mut settings = crate::registry::ServiceSettings::default();
            settings.clusters.insert("c".to_owned(), cluster);
            Ok(settings)
        };
        registry.change_settings(registry.clock.tick(), &service, change).unwrap();
        let network = Arc::new(Network { connected: Mutex::default(), answer });
        let connector = Arc::clone(&network) as _;
        let reach = Reach::new(networks.parse().unwrap(), false);
        let checks = Arc::new(Checks::new(Arc::new(registry), changes, connector, reach, 1));
        let shutdown = CancellationToken::new();
        tokio::spawn(Arc::clone(&checks).run(shutdown.clone()));
        Self { network, checks, service, shutdown }
    }

    fn register(&self, ip: &str) {
        let key = InstanceKey { ip, port: 80, cluster: "c" };
        let instance = Instance::new(1.0, Metadata::default()).unwrap().into_persistent();
        let registry = &self.checks.registry;
        registry
            .register(registry.clock.tick(), &self.service, &key, instance, true, &String::new)
            .unwrap();
    }

    /// The health of all instances, in their order.
    fn health(&self) -> Vec<bool> {
        let datum = self.checks.registry.find(&self.service).unwrap();
        datum.read(|reader| hosts(&reader).map(|host| host.healthy).collect())
    }

    fn connected(&self) -> Vec<String> {
        let mut connected = self.network.connected.lock().clone();
        connected.sort();
        connected.dedup();
        connected
    }
}

impl<F> Drop for Site<F> {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// Lets made-up time pass until it is so.
async fn until(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..600 {
        if is_so() {
            return;
        }
        sleep(Duration::from_millis(100)).await;
    }
    panic!("waited in vain: {what}");
}

#[tokio::test(start_paused = true)]
async fn nobody_outside_the_networks_is_connected_to() {
    let site = Site::start("10.1.0.0/16,10.2.0.1", HealthChecker::Tcp, refuse);
    for ip in ["10.1.0.1", "10.2.0.1", "10.2.0.2", "169.254.169.254", "a.name"] {
        site.register(ip);
    }
    until("two are unhealthy", || site.health() == [false, false, true, true, true]).await;
    until("the others are known", || site.checks.barred() == [0, 3]).await;
    sleep(Duration::from_secs(60)).await;
    assert_eq!(site.connected(), ["10.1.0.1:80", "10.2.0.1:80"]);
    assert_eq!(site.health(), [false, false, true, true, true]);
    assert_eq!((site.checks.scheduled(), site.checks.barred()), (5, [0, 3]));
}

#[tokio::test(start_paused = true)]
async fn by_default_the_machine_and_its_link_are_not_connected_to_by_any_name() {
    let site = Site::start("", HealthChecker::Tcp, refuse);
    for ip in ["127.0.0.1", "[::1]", "169.254.169.254", "fe80::1", "0.0.0.0", "localhost"] {
        site.register(ip);
    }
    site.register("10.0.0.1");
    site.register("[fd00::1]");
    until("two are unhealthy", || site.health().iter().filter(|healthy| !**healthy).count() == 2)
        .await;
    let not_made = || site.checks.counts().any(|(kind, n)| kind == "not_made" && n > 0);
    until("the name has been looked up", not_made).await;
    assert_eq!(site.connected(), ["10.0.0.1:80", "[fd00::1]:80"]);
    until("the others are known", || site.checks.barred() == [0, 5]).await;
    assert_eq!(site.checks.scheduled(), 8);
}

#[cfg(not(feature = "mysql"))]
#[tokio::test(start_paused = true)]
async fn a_type_that_is_not_made_leaves_health_as_it_is() {
    let text = String::new;
    let checker = HealthChecker::Mysql { user: text(), pwd: text(), cmd: "select 1".to_owned() };
    let site = Site::start("", checker, refuse);
    site.register("10.0.0.1");
    until("it is known", || site.checks.barred() == [1, 0]).await;
    sleep(Duration::from_secs(60)).await;
    assert_eq!((site.connected(), site.health()), (vec![], vec![true]));
    // Settings that this server knows are followed.
    let registry = &site.checks.registry;
    let settings = |_: Option<&_>| Ok(crate::registry::ServiceSettings::default());
    registry.change_settings(registry.clock.tick(), &site.service, settings).unwrap();
    until("it is unhealthy", || site.health() == [false]).await;
    assert_eq!(site.checks.barred(), [0, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_check_that_panics_is_made_again() {
    let has_panicked = AtomicBool::new(false);
    let site = Site::start("", HealthChecker::Tcp, move || {
        assert!(has_panicked.swap(true, Relaxed), "on purpose");
        refuse()
    });
    site.register("10.0.0.1");
    until("it is unhealthy", || site.health() == [false]).await;
}

#[cfg(feature = "mysql")]
#[tokio::test(start_paused = true)]
async fn a_database_that_becomes_a_replica_is_unhealthy() {
    const COMMAND: &str = "show global variables where variable_name='read_only'";
    let is_read_only = Arc::new(AtomicBool::new(false));
    let now = Arc::clone(&is_read_only);
    let text = str::to_owned;
    let checker = HealthChecker::Mysql {
        user: text("checker"),
        pwd: text(mysql::tests::PASSWORD),
        cmd: text(COMMAND),
    };
    let site = Site::start("", checker, move || {
        let (ours, theirs) = tokio::io::duplex(4_096);
        let value = if now.load(Relaxed) { "ON" } else { "OFF" };
        tokio::spawn(async move {
            let packets = mysql::tests::rows("read_only", value);
            let packets: Vec<&[u8]> = packets.iter().map(|packet| &**packet).collect();
            mysql::tests::Server::new(theirs).serve(COMMAND, &packets).await;
        });
        Ok(Box::new(ours))
    });
    site.register("10.0.0.1");
    let counts = || site.checks.counts().map(|(_, count)| count).collect::<Vec<_>>();
    until("it has passed", || counts()[0] > 3).await;
    assert_eq!(site.health(), [true]);
    is_read_only.store(true, Relaxed);
    until("it is unhealthy", || site.health() == [false]).await;
    is_read_only.store(false, Relaxed);
    until("it is healthy again", || site.health() == [true]).await;
    assert_eq!((site.checks.barred(), counts()[2..].to_vec()), ([0, 0], vec![0, 0]));
}
