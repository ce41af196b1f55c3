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
        let settings = arguments.settings.clone();
        let hub = Hub::new(program, settings, place.directory.clone(), is_shown)?;
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
