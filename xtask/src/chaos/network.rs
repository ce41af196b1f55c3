//! Where the nodes live: each in a network namespace of its own, or all on the loopback interface.
//!
//! ```text
//!  clients (this process) 10.77.0.1 ──┬── 10.77.0.11 node 1 10.77.1.11 ──┐
//!                                     ├── 10.77.0.12 node 2 10.77.1.12 ──┤ peers
//!                                     └── 10.77.0.13 node 3 10.77.1.13 ──┘
//! ```
//!
//! A node that has a wrong permanent hardware address for a peer sends into the void and is told
//! nothing: a silent cut in one direction, which leaves its clients alone.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};

use anyhow::{Context, Result, bail, ensure};
use tokio::process::Command;

use super::load::GRPC_OFFSET;
use crate::cluster::node::Program;
use crate::cluster::server;

/// The port of every node that has an address of its own.
pub(super) const PORT: u16 = 8848;
/// How often ports are looked for.
const TRIES: usize = 50;
/// Nobody's.
const NOBODY: &str = "02:00:00:00:00:99";

/// How nodes reach each other and are reached.
#[derive(Debug)]
pub(super) enum Network {
    /// This process is in a namespace of its own and makes one per node.
    Namespaces,
    /// One port per node.
    Loopback(Vec<SocketAddr>),
}

impl Network {
    /// Namespaces, in which this process has to run already.
    ///
    /// # Errors
    ///
    /// If the links cannot be made.
    pub(super) async fn namespaces(nodes: usize) -> Result<Self> {
        ip("link set lo up").await?;
        for bridge in ["clients", "peers"] {
            ip(&format!("link add {bridge} type bridge")).await?;
            ip(&format!("link set {bridge} up")).await?;
        }
        ip("addr add 10.77.0.1/24 dev clients").await?;
        for node in 0..nodes {
            let name = namespace(node);
            ip(&format!("netns add {name}")).await?;
            ip(&format!("-n {name} link set lo up")).await?;
            for (net, bridge) in ["clients", "peers"].into_iter().enumerate() {
                let link = format!("{}{node}", &bridge[..1]);
                ip(&format!("link add {link} type veth peer name {bridge} netns {name}")).await?;
                ip(&format!("link set {link} master {bridge} up")).await?;
                let address = address(net, node);
                ip(&format!("-n {name} addr add {address}/24 dev {bridge}")).await?;
                ip(&format!("-n {name} link set {bridge} up")).await?;
            }
        }
        Ok(Self::Namespaces)
    }

    /// # Errors
    ///
    /// If there are no free ports.
    pub(super) fn loopback(nodes: usize) -> Result<Self> {
        let count = u16::try_from(nodes).context("fewer nodes")?;
        let is_free = |address: &SocketAddr| {
            let above = address.port().checked_add(GRPC_OFFSET);
            above.is_some_and(|port| TcpListener::bind((address.ip(), port)).is_ok())
        };
        for _ in 0..TRIES {
            let found = server::addresses(count, &[])?;
            if found.iter().all(is_free) {
                return Ok(Self::Loopback(found));
            }
        }
        bail!("no free ports with free ones for gRPC above them")
    }

    pub(super) fn can_cut(&self) -> bool {
        matches!(self, Self::Namespaces)
    }

    /// The interface on which clients hear pushes.
    pub(super) fn local(&self) -> IpAddr {
        match self {
            Self::Namespaces => Ipv4Addr::new(10, 77, 0, 1).into(),
            Self::Loopback(_) => Ipv4Addr::LOCALHOST.into(),
        }
    }

    /// Where a node listens.
    pub(super) fn bind(&self, node: usize) -> Option<SocketAddr> {
        match self {
            Self::Namespaces => Some((Ipv4Addr::UNSPECIFIED, PORT).into()),
            Self::Loopback(nodes) => nodes.get(node).copied(),
        }
    }

    /// Where its clients reach it.
    pub(super) fn for_clients(&self, node: usize) -> Option<SocketAddr> {
        match self {
            Self::Namespaces => Some((address(0, node), PORT).into()),
            Self::Loopback(nodes) => nodes.get(node).copied(),
        }
    }

    /// What the other members call it.
    pub(super) fn for_peers(&self, node: usize) -> Option<SocketAddr> {
        match self {
            Self::Namespaces => Some((address(1, node), PORT).into()),
            Self::Loopback(nodes) => nodes.get(node).copied(),
        }
    }

    /// `program` in the place where the node lives.
    pub(super) fn place(&self, node: usize, program: Program) -> Program {
        match self {
            Self::Namespaces => {
                // It becomes the program, so its number is that of the program.
                let mut arguments = vec!["netns".into(), "exec".into(), namespace(node).into()];
                arguments.push(program.path.into_os_string());
                arguments.extend(program.arguments);
                Program { path: "ip".into(), arguments }
            }
            Self::Loopback(_) => program,
        }
    }

    /// What `source` sends to `target` is lost from now on.
    ///
    /// # Errors
    ///
    /// If there are no namespaces.
    pub(super) async fn cut(&self, source: usize, target: usize) -> Result<()> {
        ensure!(self.can_cut(), "nothing can be cut on the loopback interface");
        let (name, address) = (namespace(source), address(1, target));
        ip(&format!("-n {name} neigh replace {address} lladdr {NOBODY} dev peers nud permanent"))
            .await
    }

    /// What other nodes send to this one comes slowly: a megabit in a second, nothing of it lost.
    ///
    /// # Errors
    ///
    /// If there are no namespaces, or no program `tc`.
    pub(super) async fn slow_down(&self, node: usize) -> Result<()> {
        ensure!(self.can_cut(), "nothing can be slow on the loopback interface");
        let words = format!("qdisc replace dev p{node} root tbf rate 1mbit burst 16kb latency 10s");
        run("tc", &words).await
    }

    /// # Errors
    ///
    /// If that was not slow.
    pub(super) async fn speed_up(&self, node: usize) -> Result<()> {
        run("tc", &format!("qdisc del dev p{node} root")).await
    }

    /// # Errors
    ///
    /// If that was not cut.
    pub(super) async fn mend(&self, source: usize, target: usize) -> Result<()> {
        let (name, address) = (namespace(source), address(1, target));
        ip(&format!("-n {name} neigh del {address} dev peers")).await
    }
}

fn namespace(node: usize) -> String {
    format!("node{}", node + 1)
}

fn address(net: usize, node: usize) -> Ipv4Addr {
    Ipv4Addr::from(0x0a4d_000b + ((net as u32) << 8) + node as u32)
}

/// Runs `ip` with the given words.
async fn ip(words: &str) -> Result<()> {
    run("ip", words).await
}

async fn run(program: &str, words: &str) -> Result<()> {
    let output = Command::new(program).args(words.split(' ')).output().await;
    let output = output.with_context(|| format!("start {program}"))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} {words}: {}", errors.trim());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_node_has_an_address_for_clients_and_one_for_peers() {
        let network = Network::Namespaces;
        assert_eq!(network.for_clients(0).unwrap().to_string(), "10.77.0.11:8848");
        assert_eq!(network.for_peers(2).unwrap().to_string(), "10.77.1.13:8848");
        let network = Network::loopback(2).unwrap();
        assert_eq!(network.for_clients(1), network.for_peers(1));
        assert!(network.bind(2).is_none() && !network.can_cut());
    }

    #[test]
    fn a_program_is_run_where_its_node_lives() {
        let program = Program { path: "/server".into(), arguments: vec!["--help".into()] };
        let placed = Network::Namespaces.place(1, program.clone());
        assert_eq!(placed.path, std::path::Path::new("ip"));
        assert_eq!(placed.arguments, ["netns", "exec", "node2", "/server", "--help"]);
        assert_eq!(Network::loopback(2).unwrap().place(1, program).path.to_str(), Some("/server"));
    }
}
