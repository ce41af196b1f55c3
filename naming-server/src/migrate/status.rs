//! `migrate status`: whether all servers list the same, and what differs.
//!
//! Every server is asked for its services and their instances, over whichever API it has. What is
//! read at one server a moment before another may differ for that moment: what differs is looked at
//! again.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use naming_model::GROUP_SEPARATOR;
use serde::Deserialize;
use serde::de::IgnoredAny;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::arguments::StatusArguments;
use super::view::is_of_3x;
use crate::remote::{CallError, Remote};

/// Bytes of one answer.
const MAX_ANSWER: usize = 64 << 20;
/// Services that are compared; more are counted only.
const MAX_SERVICES: usize = 20_000;
/// Services on a page.
const PAGE: usize = 500;
/// Until what differs is looked at again: Java tells of a change after a second.
const LOOK_AGAIN: Duration = Duration::from_secs(3);
/// Times that is done.
const LOOKS: usize = 3;
/// Lines that are printed of what differs.
const MAX_LINES: usize = 50;
/// Characters that are printed of a text from a server.
const MAX_TEXT: usize = 200;

/// A comparison of lists, about to begin.
#[derive(Debug)]
pub struct MigrationStatus {
    servers: Vec<Remote>,
}

/// A namespace and `group@@service` in it.
type Service = (String, String);
/// The instances of a service, with their health.
type Listed = BTreeMap<String, bool>;

impl MigrationStatus {
    /// Makes no call yet.
    pub fn new(arguments: &StatusArguments) -> Self {
        let remote = |place: &crate::Place| {
            Remote::new(place.clone(), None, arguments.timeout).with_max_answer(MAX_ANSWER)
        };
        Self { servers: arguments.servers.iter().map(remote).collect() }
    }

    /// Asks all servers. Changes nothing.
    pub async fn run(self) -> StatusReport {
        let mut report = StatusReport::default();
        let names: Vec<String> =
            self.servers.iter().map(|server| server.place().to_string()).collect();
        let mut asked = JoinSet::new();
        for (at, server) in self.servers.iter().cloned().enumerate() {
            asked.spawn(async move { (at, services(&server).await) });
        }
        let mut services = BTreeSet::new();
        for (at, found) in asked.join_all().await {
            match found {
                Ok(found) => services.extend(found),
                Err(error) => report.differences.push(format!("{}: {error}", names[at])),
            }
        }
        report.services = services.len();
        let mut open: Vec<Service> = services.into_iter().take(MAX_SERVICES).collect();
        report.left_out = report.services - open.len();
        for look in 0..LOOKS {
            if look > 0 {
                sleep(LOOK_AGAIN).await;
            }
            let mut differing = Vec::new();
            let mut lines = Vec::new();
            for service in open {
                let lists = self.lists(&service).await;
                let found = differences(&service, &names, &lists);
                if found.is_empty() {
                    report.instances += lists.iter().flatten().next().map_or(0, BTreeMap::len);
                } else {
                    lines.extend(found);
                    differing.push(service);
                }
            }
            open = differing;
            if open.is_empty() || look + 1 == LOOKS {
                report.differing = open.len();
                report.differences.extend(lines);
                break;
            }
        }
        report.servers = names.len();
        report
    }

    async fn lists(&self, service: &Service) -> Vec<Result<Listed, CallError>> {
        let mut asked = JoinSet::new();
        for (at, server) in self.servers.iter().cloned().enumerate() {
            let service = service.clone();
            asked.spawn(async move { (at, list(&server, &service).await) });
        }
        let mut lists = asked.join_all().await;
        lists.sort_by_key(|(at, _)| *at);
        lists.into_iter().map(|(_, list)| list).collect()
    }
}

/// An answer of servers of 3.x.
#[derive(Deserialize)]
struct Wrapped<T> {
    data: T,
}

/// A page of services, as servers of all generations have it.
#[derive(Deserialize)]
struct Page {
    #[serde(alias = "serviceList", alias = "pageItems")]
    services: Vec<Named>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Named {
    name: String,
    group_name: String,
}

impl Named {
    /// `group@@service`. Nacos 1.4 puts parts of a name with more separators in the wrong place.
    fn grouped(&self) -> String {
        match self.name.contains(GROUP_SEPARATOR) {
            true => self.name.clone(),
            false => format!("{}{GROUP_SEPARATOR}{}", self.group_name, self.name),
        }
    }
}

/// The services of a server.
async fn services(server: &Remote) -> Result<Vec<Service>, CallError> {
    #[derive(Deserialize)]
    struct Names {
        services: BTreeMap<String, IgnoredAny>,
    }
    #[derive(Deserialize)]
    struct Namespace {
        namespace: String,
    }
    let page = |number: usize| (number.to_string(), PAGE.to_string());
    let (namespaces, is_of_3x) = match server.read::<Names>("/v1/ns/service/names", &[]).await {
        Ok(names) => (names.services.into_keys().collect(), false),
        Err(error) if is_of_3x(&error) => {
            let path = "/v3/admin/core/namespace/list";
            let all: Wrapped<Vec<Namespace>> = server.read(path, &[]).await?;
            (all.data.into_iter().map(|one| one.namespace).collect::<Vec<_>>(), true)
        }
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for namespace in namespaces {
        for number in 1..=MAX_SERVICES / PAGE + 1 {
            let (number, size) = page(number);
            let query = [("namespaceId", &*namespace), ("pageNo", &number), ("pageSize", &size)];
            let page = match is_of_3x {
                true => {
                    server.read::<Wrapped<Page>>("/v3/admin/ns/service/list", &query).await?.data
                }
                false => server.read("/v1/ns/catalog/services", &query).await?,
            };
            let is_last = page.services.len() < PAGE;
            let whole = |one: Named| (namespace.clone(), one.grouped());
            found.extend(page.services.into_iter().map(whole));
            if is_last {
                break;
            }
        }
    }
    Ok(found)
}

/// The instances that clients are shown. Servers of all generations answer this.
async fn list(server: &Remote, (namespace, service): &Service) -> Result<Listed, CallError> {
    #[derive(Deserialize)]
    struct Hosts {
        #[serde(default)]
        hosts: Vec<Host>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Host {
        ip: String,
        port: u16,
        #[serde(default)]
        cluster_name: String,
        healthy: bool,
    }
    let query = [("namespaceId", &**namespace), ("serviceName", &**service)];
    let list: Option<Hosts> = server.find("/v1/ns/instance/list", &query).await?;
    let hosts = list.map_or_else(Vec::new, |list| list.hosts).into_iter();
    Ok(hosts
        .map(|host| (format!("{}:{} {}", host.ip, host.port, host.cluster_name), host.healthy))
        .collect())
}

/// What differs in a service, in the operator's words.
fn differences(
    (namespace, service): &Service,
    names: &[String],
    lists: &[Result<Listed, CallError>],
) -> Vec<String> {
    let mut found = Vec::new();
    let about = format!("{namespace} {service}");
    for (name, list) in names.iter().zip(lists) {
        if let Err(error) = list {
            found.push(format!("{about}: {name} does not list it: {error}"));
        }
    }
    let told = names.iter().zip(lists).filter_map(|(name, list)| Some((name, list.as_ref().ok()?)));
    let lists: Vec<(&String, &Listed)> = told.collect();
    let all: BTreeSet<&String> = lists.iter().flat_map(|(_, list)| list.keys()).collect();
    for instance in all {
        let at = |wanted: Option<bool>| -> Vec<&str> {
            let here = lists.iter().filter(|(_, list)| list.get(instance).copied() == wanted);
            here.map(|(name, _)| &***name).collect()
        };
        let (healthy, unhealthy, missing) = (at(Some(true)), at(Some(false)), at(None));
        if !missing.is_empty() {
            let here = [&healthy[..], &unhealthy[..]].concat().join(", ");
            found.push(format!(
                "{about}: {instance} is at {here}, and not at {}",
                missing.join(", ")
            ));
        } else if !healthy.is_empty() && !unhealthy.is_empty() {
            let (healthy, unhealthy) = (healthy.join(", "), unhealthy.join(", "));
            found.push(format!(
                "{about}: {instance} is healthy at {healthy}, and not at {unhealthy}"
            ));
        }
    }
    found
}

/// What came of it.
#[derive(Debug, Default)]
pub struct StatusReport {
    servers: usize,
    services: usize,
    /// Services beyond those that are compared.
    left_out: usize,
    differing: usize,
    /// Instances of the services that are the same.
    instances: usize,
    differences: Vec<String>,
}

impl StatusReport {
    /// Whether all servers list the same.
    pub fn is_settled(&self) -> bool {
        self.differences.is_empty()
    }
}

impl fmt::Display for StatusReport {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in self.differences.iter().take(MAX_LINES) {
            let line: String = line.chars().filter(|c| !c.is_control()).take(MAX_TEXT).collect();
            writeln!(out, "- {line}")?;
        }
        if let more @ 1.. = self.differences.len().saturating_sub(MAX_LINES) {
            writeln!(out, "- and {more} more")?;
        }
        if self.left_out > 0 {
            writeln!(out, "not compared: {} services", self.left_out)?;
        }
        let Self { servers, services, differing, instances, .. } = self;
        match self.is_settled() {
            true => writeln!(
                out,
                "yes: {servers} servers list the same {services} services with {instances} instances"
            ),
            false => writeln!(
                out,
                "no: {differing} of {services} services differ, or a server does not tell"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lists(lists: [&[(&str, bool)]; 2]) -> Vec<String> {
        let listed = |list: &[(&str, bool)]| {
            Ok(list.iter().map(|(name, healthy)| ((*name).to_owned(), *healthy)).collect())
        };
        let service = ("public".to_owned(), "G@@s".to_owned());
        let names = ["a".to_owned(), "b".to_owned()];
        differences(&service, &names, &lists.map(listed))
    }

    #[test]
    fn what_differs_is_named() {
        assert!(lists([&[("1:1 C", true)], &[("1:1 C", true)]]).is_empty());
        let one = lists([&[("1:1 C", true), ("2:2 C", false)], &[("1:1 C", true)]]);
        assert_eq!(one, ["public G@@s: 2:2 C is at a, and not at b"]);
        let health = lists([&[("1:1 C", true)], &[("1:1 C", false)]]);
        assert_eq!(health, ["public G@@s: 1:1 C is healthy at a, and not at b"]);
        let lost = CallError::Unreadable("lost".to_owned());
        let known = Listed::from([("1:1 C".to_owned(), true)]);
        let three = ["a", "b", "c"].map(str::to_owned);
        let lists = [Err(lost), Ok(known), Ok(Listed::new())];
        let said = differences(&("public".to_owned(), "G@@s".to_owned()), &three, &lists);
        assert_eq!(said[0], "public G@@s: a does not list it: lost");
        assert_eq!(said[1..], ["public G@@s: 1:1 C is at b, and not at c"]);
        let differences = vec!["one\u{1b}[2J".to_owned(); MAX_LINES + 2];
        let report = StatusReport {
            servers: 2,
            services: 1,
            differing: 1,
            differences,
            ..StatusReport::default()
        };
        let said = report.to_string();
        assert!(said.contains("- one[2J\n") && said.contains("- and 2 more\nno: 1 of 1"), "{said}");
        assert!(!report.is_settled() && StatusReport::default().is_settled());
    }
}
