//! `cargo xtask cluster`: a cluster of servers on this machine, for people and for scripts.
//!
//! ```text
//! prompt ─┐                  ┌► supervisor ─► node 1
//!         ├► hub ─ orders ───┼► supervisor ─► node 2
//! socket ─┘   (this process) └► supervisor ─► node 3
//! ```
//!
//! When the hub ends, in whatever way, the supervisors' inputs end and they kill their nodes.

mod control;
pub(crate) mod files;
mod hub;
pub(crate) mod interrupts;
mod logs;
pub(crate) mod node;
mod order;
mod prompt;
pub(crate) mod ready;
pub(crate) mod server;
pub mod supervise;

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;

use self::control::Control;
use self::hub::Hub;
use self::order::Order;
use self::server::Profile;

/// How long a detached cluster may take until it is ready.
const DETACHED_READY: Duration = Duration::from_secs(60);
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// What `cargo xtask cluster` takes.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Nodes to start with.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=64))]
    nodes: u16,

    /// Their ports, separated by commas; free ones if not given.
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..))]
    ports: Vec<u16>,

    /// How to build the server.
    #[arg(long, value_enum, default_value_t = Profile::Release)]
    profile: Profile,

    /// A setting of every node, as the server takes it.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,

    /// What the nodes speak to each other.
    #[arg(long, value_enum, default_value_t = Dialect::Distro)]
    dialect: Dialect,

    /// Members that run already and are not started here, as servers of Nacos, separated by commas:
    /// they are listed, too. Their lists are theirs to change.
    #[arg(long, value_name = "IP:PORT,...", value_delimiter = ',')]
    others: Vec<SocketAddr>,

    /// Return once the cluster is ready and leave it running; `cargo xtask cluster stop` ends it.
    #[arg(long)]
    detach: bool,

    /// The process that `--detach` leaves behind.
    #[arg(long, hide = true)]
    daemon: bool,

    /// Told to the cluster that runs already: `kill 2`, `status`, `stop`; `help` names them all.
    #[arg(value_name = "ORDER")]
    order: Vec<String>,
}

/// The values of `cluster.dialect`.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
enum Dialect {
    Distro,
    Nacos,
}

impl Dialect {
    fn word(self) -> &'static str {
        match self {
            Self::Distro => "distro",
            Self::Nacos => "nacos",
        }
    }
}

impl Arguments {
    /// The settings of every node.
    fn node_settings(&self) -> Vec<String> {
        let dialect = format!("cluster.dialect={}", self.dialect.word());
        [dialect].into_iter().chain(self.settings.iter().cloned()).collect()
    }
}

/// Starts a cluster and serves orders until it is told to end, or passes an order on to the
/// cluster that runs already.
///
/// # Errors
///
/// If the server does not build or start, a port is taken, or an order fails.
pub fn run(arguments: &Arguments, root: &Path) -> Result<ExitCode> {
    let place = Place::new(root)?;
    let control = Control::new(&place.directory);
    if !arguments.order.is_empty() {
        let order = arguments.order.join(" ");
        // Refused here rather than there, even if nothing runs.
        if Order::parse(&order)? == Order::Help {
            print!("{}", order::HELP);
            return Ok(ExitCode::SUCCESS);
        }
        print!("{}", control.tell(&order)?);
        return Ok(ExitCode::SUCCESS);
    }
    ensure!(!control.is_served(), "a cluster runs already; `cargo xtask cluster stop` ends it");
    let nodes = if arguments.ports.is_empty() { arguments.nodes } else { 0 };
    let addresses = server::addresses(nodes, &arguments.ports)?;
    let program = match arguments.daemon {
        true => server::path(root, arguments.profile),
        false => server::build(root, arguments.profile)?,
    };
    if arguments.detach {
        return detach(arguments, &place, &control);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let is_shown = !arguments.daemon;
    runtime.block_on(async {
        let (settings, others) = (arguments.node_settings(), arguments.others.clone());
        let hub = Hub::new(program, settings, others, place.directory.clone(), is_shown)?;
        serve(hub, &addresses, &control, is_shown).await
    })
}

async fn serve(
    mut hub: Hub,
    addresses: &[SocketAddr],
    control: &Control,
    is_shown: bool,
) -> Result<ExitCode> {
    let mut interrupts = interrupts::Interrupts::listen()?;
    let started = tokio::select! {
        started = hub.start(addresses) => started,
        () = interrupts.wait() => Err(anyhow::anyhow!("interrupted")),
    };
    if started.is_ok() {
        let listener = control.listen(&hub.socket())?;
        prompt::serve(&mut hub, listener, &mut interrupts, is_shown).await?;
        control.forget();
    }
    hub.stop().await;
    started.map(|()| ExitCode::SUCCESS)
}

/// Where logs and the way to the running cluster are kept.
struct Place {
    directory: PathBuf,
}

impl Place {
    fn new(root: &Path) -> Result<Self> {
        let directory = server::target(root).join("cluster");
        std::fs::create_dir_all(&directory).context("make the directory of the logs")?;
        Ok(Self { directory })
    }
}

/// Leaves a process behind that serves as this one would, and waits until it is ready.
fn detach(arguments: &Arguments, place: &Place, control: &Control) -> Result<ExitCode> {
    let log = place.directory.join("hub.log");
    let output = std::fs::File::create(&log).context("make a log")?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["cluster", "--daemon", "--nodes", &arguments.nodes.to_string()]);
    if !arguments.ports.is_empty() {
        let ports: Vec<_> = arguments.ports.iter().map(ToString::to_string).collect();
        command.args(["--ports", &ports.join(",")]);
    }
    command.args(["--profile", arguments.profile.word()]);
    command.args(["--dialect", arguments.dialect.word()]);
    if !arguments.others.is_empty() {
        let others: Vec<_> = arguments.others.iter().map(ToString::to_string).collect();
        command.args(["--others", &others.join(",")]);
    }
    for setting in &arguments.settings {
        command.args(["--set", setting]);
    }
    command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).process_group(0);
    let mut child = command.spawn().context("start the process that stays")?;
    let deadline = Instant::now() + DETACHED_READY;
    while !control.is_served() {
        if child.try_wait()?.is_some() {
            bail!("no cluster:\n{}", std::fs::read_to_string(&log).unwrap_or_default());
        }
        if Instant::now() > deadline {
            child.kill()?;
            bail!("the cluster is not ready, see {}", log.display());
        }
        std::thread::sleep(LOOK_INTERVAL);
    }
    print!("{}", control.tell("status")?);
    println!("logs: {}; `cargo xtask cluster stop` ends it", place.directory.display());
    Ok(ExitCode::SUCCESS)
}

/// Whether to colour what goes to the terminal.
fn is_colourful() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    #[test]
    fn nodes_among_servers_of_nacos_are_told_so() {
        let settings =
            |line: &str| Line::parse_from(line.split(' ')).arguments.node_settings().join(" ");
        assert_eq!(settings("cluster"), "cluster.dialect=distro");
        let line = "cluster --dialect nacos --others 10.0.0.1:8848,10.0.0.2:8848 --set a=b";
        assert_eq!(settings(line), "cluster.dialect=nacos a=b");
        assert_eq!(Line::parse_from(line.split(' ')).arguments.others.len(), 2);
    }
}
