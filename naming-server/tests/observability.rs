//! Alert rules and dashboard name metrics that a running member has.

use std::collections::BTreeSet;
use std::path::Path;

use naming_server::{Config, DataConfig};
use regex::Regex;

mod server_support;

use server_support::{TestServer, wait_for};

/// What only a server has that speaks TLS.
const ONLY_WITH_TLS: &str = "naming_tls_certificate_expiry_seconds";

/// The metrics in a text of Prometheus' language, without what is appended to their names there.
fn named(text: &str) -> BTreeSet<String> {
    let name = Regex::new(r"\b(?:naming|distro)_[a-z_]+").unwrap();
    let bare = |name: &str| {
        let ends = ["_total", "_bucket", "_sum", "_count"];
        ends.iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name).to_owned()
    };
    name.find_iter(text).map(|found| bare(found.as_str())).collect()
}

fn read(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    std::fs::read_to_string(root.join(path)).unwrap()
}

#[test]
fn each_metric_of_alerts_and_dashboard_is_on_the_page_of_a_member() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "0123456789abcdef0123456789abcdef").unwrap();
    let mut config =
        Config { data: DataConfig::at(folder.path().join("data")), ..Config::default() };
    // Nobody is there: it is a member that does not reach another.
    config.cluster.members = "127.0.0.1:1".to_owned();
    config.cluster.secret_file = secret.display().to_string();
    let server = TestServer::start_with(config);
    wait_for("a member that is ready", || {
        server.get("/nacos/v1/console/health/readiness").status == 200
    });
    server.call("POST", "instance?serviceName=s&ip=10.0.0.1&port=80").expect(200);
    let page = server.get("/nacos/metrics").body;
    let types = page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let known: BTreeSet<&str> = types.filter_map(|rest| rest.split(' ').next()).collect();
    for path in ["deploy/prometheus/alerts.yaml", "deploy/grafana/naming-server.json"] {
        let names = named(&read(path));
        assert!(names.len() > 10, "{path}: {names:?}");
        let missing: Vec<_> = names
            .iter()
            .filter(|name| !known.contains(name.as_str()) && *name != ONLY_WITH_TLS)
            .collect();
        assert!(missing.is_empty(), "{path} names what is not there: {missing:?}");
    }
}

#[test]
fn each_alert_is_explained_to_operators() {
    let rules = read("deploy/prometheus/alerts.yaml");
    let runbook = read("docs/operations.md");
    let alerts: Vec<_> =
        rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(alerts.len() > 10, "{alerts:?}");
    for alert in alerts {
        assert!(runbook.contains(&format!("| {alert} |")), "{alert} is not in docs/operations.md");
    }
}
