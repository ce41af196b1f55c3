//! `migrate plan`: what a migration from Java servers comes to, and which step is next.
//!
//! What is asked is read from the servers themselves; nothing is changed. The commands that are
//! printed are for the operator to run.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::arguments::PlanArguments;
use super::view::is_of_3x;
use crate::remote::{CallError, Remote};

/// Bytes of one answer: a list of connections is the longest.
const MAX_ANSWER: usize = 64 << 20;
/// Within which a port must open.
const PORT_TIME: Duration = Duration::from_secs(2);
/// So far above the main port Java servers of 2.x speak to each other.
const CLUSTER_OFFSET: u16 = 1_001;
/// Clients of configuration that are named.
const MOST_NAMED: usize = 20;
/// Characters that are printed of a text from a server.
const MOST_TEXT: usize = 100;

/// A plan, about to be made.
#[derive(Debug)]
pub struct MigrationPlan {
    java: Vec<Remote>,
    new: Vec<String>,
}

impl MigrationPlan {
    /// Makes no call yet.
    pub fn new(arguments: &PlanArguments) -> Self {
        let remote = |place: &crate::Place| {
            Remote::new(place.clone(), None, arguments.timeout).with_max_answer(MAX_ANSWER)
        };
        Self { java: arguments.java.iter().map(remote).collect(), new: arguments.new.clone() }
    }

    /// Asks all servers.
    pub async fn run(self) -> PlanReport {
        let mut report = PlanReport { new: self.new, ..PlanReport::default() };
        for server in &self.java {
            match Java::ask(server).await {
                Ok(java) => report.java.push(java),
                Err(error) => report.objections.push(format!("{}: {error}", server.place())),
            }
        }
        for address in &report.new {
            report.running.push(opens(address, 0).await);
        }
        for java in &report.java {
            if java.is_2x() && !opens(&java.address, CLUSTER_OFFSET).await {
                report.objections.push(format!(
                    "port {CLUSTER_OFFSET} above that of {} does not open from here; the new \
                     servers need it",
                    java.address
                ));
            }
        }
        report.compare();
        report
    }
}

/// What one Java server says.
#[derive(Debug, Default)]
struct Java {
    address: String,
    version: String,
    /// Its list, with the states of all.
    members: BTreeMap<String, String>,
    /// The addresses of clients of configuration that are connected.
    config_clients: Vec<String>,
}

/// Itself, all members, and the connections if they are told.
type Read = (Wrapped<Node>, Wrapped<Vec<Node>>, Option<Value>);

#[derive(Deserialize)]
struct Wrapped<T> {
    data: T,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Node {
    address: String,
    #[serde(default)]
    state: String,
    #[serde(default)]
    extend_info: Value,
}

impl Java {
    async fn ask(server: &Remote) -> Result<Self, CallError> {
        let (own, nodes, connections) = match Self::read(server).await {
            Err(error) if is_of_3x(&error) => Self::read_3x(server).await?,
            read => read?,
        };
        let members = nodes.data.iter().map(|node| (shown(&node.address), shown(&node.state)));
        Ok(Self {
            address: shown(&own.data.address),
            version: shown(own.data.extend_info["version"].as_str().unwrap_or_default()),
            members: members.collect(),
            config_clients: connections.as_ref().map(config_clients).unwrap_or_default(),
        })
    }

    async fn read(server: &Remote) -> Result<Read, CallError> {
        let own = server.read("/v1/core/cluster/self", &[]).await?;
        let nodes = server.read("/v1/core/cluster/nodes", &[]).await?;
        Ok((own, nodes, server.find("/v2/core/loader/current", &[]).await?))
    }

    async fn read_3x(server: &Remote) -> Result<Read, CallError> {
        let own = server.read("/v3/admin/core/cluster/node/self", &[]).await?;
        let nodes = server.read("/v3/admin/core/cluster/node/list", &[]).await?;
        let path = "/v3/admin/core/loader/current";
        let connections: Option<Wrapped<Value>> = server.find(path, &[]).await?;
        Ok((own, nodes, connections.map(|connections| connections.data)))
    }

    fn is_2x(&self) -> bool {
        self.version.starts_with("2.") || self.version.starts_with("3.")
    }
}

/// The hosts of connections that ask for configuration.
fn config_clients(connections: &Value) -> Vec<String> {
    let all = connections.as_object().map(|all| all.values()).into_iter().flatten();
    let metas = all.map(|connection| &connection["metaInfo"]);
    let of_config = metas.filter(|meta| meta["labels"]["module"] == "config");
    of_config.map(|meta| shown(meta["clientIp"].as_str().unwrap_or_default())).collect()
}

async fn opens(address: &str, above: u16) -> bool {
    let Some((host, port)) = address.rsplit_once(':') else { return false };
    let Some(port) = port.parse::<u16>().ok().and_then(|port| port.checked_add(above)) else {
        return false;
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    matches!(timeout(PORT_TIME, TcpStream::connect((host, port))).await, Ok(Ok(_)))
}

fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MOST_TEXT).collect()
}

/// What came of it.
#[derive(Debug, Default)]
pub struct PlanReport {
    java: Vec<Java>,
    new: Vec<String>,
    /// Which of the new ones answer.
    running: Vec<bool>,
    objections: Vec<String>,
}

/// Where a migration stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Start,
    List,
    Move,
}

impl PlanReport {
    /// Whether nothing stands against the next step.
    pub fn may_go_on(&self) -> bool {
        self.objections.is_empty()
    }

    fn compare(&mut self) {
        let mut found = Vec::new();
        if let Some(first) = self.java.first() {
            for java in &self.java {
                if !java.members.keys().eq(first.members.keys()) {
                    let text = "have different lists of members";
                    found.push(format!("{} and {} {text}", first.address, java.address));
                }
                if java.is_2x() != first.is_2x() {
                    found.push(format!(
                        "{} is {}, {} is {}: generations do not mix",
                        first.address, first.version, java.address, java.version
                    ));
                }
                let is_asked = |member: &String| {
                    self.java.iter().any(|other| other.address == *member)
                        || self.new.contains(member)
                };
                for (member, state) in &java.members {
                    if !is_asked(member) {
                        found.push(format!("{} lists {member}: name it in --java", java.address));
                    }
                    if state != "UP" {
                        found.push(format!("{} sees {member} as {state}", java.address));
                    }
                }
            }
        }
        self.objections.extend(found);
    }

    fn step(&self) -> Step {
        let is_listed = |java: &Java| self.new.iter().all(|new| java.members.contains_key(new));
        if self.java.iter().all(is_listed) && !self.java.is_empty() {
            return Step::Move;
        }
        match self.running.iter().all(|is_running| *is_running) && self.is_2x() {
            true => Step::List,
            false => Step::Start,
        }
    }

    fn is_2x(&self) -> bool {
        self.java.iter().any(Java::is_2x)
    }
}

impl fmt::Display for PlanReport {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for java in &self.java {
            writeln!(
                out,
                "{}  Nacos {}  lists {}",
                java.address,
                java.version,
                java.members.len()
            )?;
        }
        for (new, is_running) in self.new.iter().zip(&self.running) {
            writeln!(out, "{new}  {}", if *is_running { "runs" } else { "does not run yet" })?;
        }
        let clients: Vec<_> = self.java.iter().flat_map(|java| &java.config_clients).collect();
        writeln!(out, "\nconfiguration is not served by the new servers")?;
        if !clients.is_empty() {
            writeln!(out, "clients of it that are connected now: {}", clients.len())?;
            for client in clients.iter().take(MOST_NAMED) {
                writeln!(out, "- {client}")?;
            }
        }
        let java: Vec<&str> = self.java.iter().map(|java| &*java.address).collect();
        let all: Vec<&str> =
            java.iter().copied().chain(self.new.iter().map(|new| &**new)).collect();
        writeln!(out)?;
        match (self.is_2x(), self.step()) {
            (false, _) => writeln!(
                out,
                "these are servers of 1.4: the lists come before the processes, see docs/migration.md"
            )?,
            (true, Step::Start) => writeln!(
                out,
                "next: write the list of all to the new servers, and start them:\n  printf '%s\\n' \
                 {} > java.conf.new && mv java.conf.new java.conf\n  \
                 (cluster.java2.members_file = \"java.conf\", advertise as in the list)",
                all.join(" ")
            )?,
            (true, Step::List) => writeln!(
                out,
                "next: the list of all to each Java server, all within a second:\n  printf '%s\\n' \
                 {} > cluster.conf.new && mv cluster.conf.new cluster.conf",
                all.join(" ")
            )?,
            (true, Step::Move) => writeln!(
                out,
                "next: naming-server migrate check --servers {} --for 30\n  then import what is \
                 persistent, point clients at the new servers, and take the Java servers off the \
                 lists one by one",
                all.join(",")
            )?,
        }
        for objection in &self.objections {
            writeln!(out, "- {objection}")?;
        }
        match self.objections.len() {
            0 => writeln!(out, "yes: nothing stands against the next step"),
            count => writeln!(out, "no: do not take the next step yet; objections: {count}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn java(address: &str, members: &[&str]) -> Java {
        let members = members.iter().map(|member| ((*member).to_owned(), "UP".to_owned()));
        let (version, members) = ("2.5.1".to_owned(), members.collect());
        Java { address: address.to_owned(), version, members, config_clients: Vec::new() }
    }

    fn report(java: Vec<Java>, running: bool) -> PlanReport {
        let mut report = PlanReport {
            java,
            new: vec!["c:1".to_owned()],
            running: vec![running],
            objections: Vec::new(),
        };
        report.compare();
        report
    }

    #[test]
    fn the_process_comes_before_the_lists() {
        let both = || vec![java("a:1", &["a:1", "b:1"]), java("b:1", &["a:1", "b:1"])];
        let start = report(both(), false);
        assert_eq!((start.step(), start.may_go_on()), (Step::Start, true));
        assert!(start.to_string().contains("a:1 b:1 c:1 > java.conf.new"), "{start}");
        let list = report(both(), true);
        assert_eq!(list.step(), Step::List);
        assert!(list.to_string().contains("mv cluster.conf.new cluster.conf"), "{list}");
        let all = ["a:1", "b:1", "c:1"];
        let moved = report(vec![java("a:1", &all), java("b:1", &all)], true);
        assert_eq!((moved.step(), moved.may_go_on()), (Step::Move, true));
        let one = report(vec![java("a:1", &all), java("b:1", &["a:1", "b:1"])], true);
        assert!(!one.may_go_on());
        assert!(one.to_string().contains("a:1 and b:1 have different lists"), "{one}");
    }

    #[test]
    fn members_that_are_not_asked_or_not_up_are_objections() {
        let mut down = java("a:1", &["a:1", "d:1"]);
        down.members.insert("d:1".to_owned(), "DOWN".to_owned());
        let said = report(vec![down], true).to_string();
        assert!(said.contains("a:1 lists d:1: name it in --java"), "{said}");
        assert!(said.contains("a:1 sees d:1 as DOWN") && said.contains("\nno: "), "{said}");
        let mut old = java("b:1", &["a:1", "b:1"]);
        old.version = "1.4.8".to_owned();
        let said = report(vec![java("a:1", &["a:1", "b:1"]), old], true).to_string();
        assert!(said.contains("generations do not mix"), "{said}");
    }

    #[test]
    fn clients_of_configuration_are_named() {
        let meta = |module: &str, ip: &str| json!({"metaInfo": {"clientIp": ip, "labels": {"module": module}}});
        let connections = json!({"1": meta("config", "10.0.0.1"), "2": meta("naming", "10.0.0.2")});
        assert_eq!(config_clients(&connections), ["10.0.0.1"]);
        let mut one = java("a:1", &["a:1"]);
        one.config_clients = config_clients(&connections);
        let said = report(vec![one], false).to_string();
        assert!(said.contains("connected now: 1\n- 10.0.0.1\n"), "{said}");
    }
}
