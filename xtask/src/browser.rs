//! `cargo xtask browser`: the console in a real browser, against real servers.
//!
//! The checks are programs in `xtask/browser`, which drive Chromium through `playwright-core`. This
//! installs what they need, builds the server, and starts them.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail, ensure};

use crate::cluster::server::{self, Profile};

/// Names under which distributions have the browser.
const BROWSERS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];
/// What the checks consist of.
const SOURCES: [&str; 9] = [
    "package.json",
    "package-lock.json",
    "run.mjs",
    "alone.mjs",
    "accounts.mjs",
    "cluster.mjs",
    "expect.mjs",
    "grpc.mjs",
    "server.mjs",
];

/// What `cargo xtask browser` takes.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// How to build the server.
    #[arg(long, value_enum, default_value_t = Profile::Release)]
    profile: Profile,

    /// Puts pictures of the pages where the documentation shows them.
    #[arg(long)]
    pictures: bool,

    /// Only checks whose names have this text.
    #[arg(value_name = "TEXT")]
    only: Option<String>,
}

/// Runs the checks; the exit code is 1 if one failed.
///
/// # Errors
///
/// If the browser or Node are missing and cannot be installed, or the server does not build.
pub fn run(arguments: &Arguments, root: &Path) -> Result<ExitCode> {
    let browser = find_browser()?;
    let work = server::target(root).join("browser");
    install(root, &work)?;
    let program = server::build(root, arguments.profile)?;
    let pictures = match arguments.pictures {
        true => root.join("docs/console"),
        false => work.join("pictures"),
    };
    let status = Command::new("node")
        .arg("run.mjs")
        .args(&arguments.only)
        .current_dir(&work)
        .env("SERVER", program)
        .env("SUPERVISOR", std::env::current_exe().context("find this program")?)
        .env("CHROMIUM", browser)
        .env("SHOTS", pictures)
        .status()
        .context("start node")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The browser, installed by the package manager of Debian if it is missing and may be.
fn find_browser() -> Result<PathBuf> {
    if let Some(found) = BROWSERS.iter().find_map(|name| find_program(name)) {
        return Ok(found);
    }
    println!("installing chromium");
    let apt = |arguments: &[&str]| -> Result<()> {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive").args(["-qq", "-o", "Dpkg::Use-Pty=0"]);
        let output = command.args(arguments).output().context("start apt-get")?;
        let reason = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "apt-get {}: {reason}", arguments.join(" "));
        Ok(())
    };
    apt(&["update"])?;
    // With characters of Chinese, which some pages show.
    apt(&["install", "-y", "--no-install-recommends", "chromium", "fonts-noto-cjk"])?;
    match BROWSERS.iter().find_map(|name| find_program(name)) {
        Some(found) => Ok(found),
        None => bail!("chromium is installed but not found in PATH"),
    }
}

fn find_program(name: &str) -> Option<PathBuf> {
    let path: OsString = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// Copies the checks to where they run, with the packages that they need.
fn install(root: &Path, work: &Path) -> Result<()> {
    fs::create_dir_all(work).context("create the folder of the checks")?;
    let lock = work.join("package-lock.json");
    let before = fs::read(&lock).unwrap_or_default();
    for name in SOURCES {
        let source = root.join("xtask/browser").join(name);
        fs::copy(&source, work.join(name)).with_context(|| format!("copy {}", source.display()))?;
    }
    let is_same = fs::read(&lock)? == before;
    if is_same && work.join("node_modules/playwright-core").is_dir() {
        return Ok(());
    }
    println!("installing playwright-core");
    let mut npm = Command::new("npm");
    npm.args(["ci", "--silent", "--no-audit", "--no-fund"]).current_dir(work);
    ensure!(npm.status().context("start npm")?.success(), "npm ci failed");
    Ok(())
}
