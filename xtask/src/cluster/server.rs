//! The server program: building it, finding it, ports for it.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;

use super::files::Files;
use super::node::Program;

/// How the server is built.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    Release,
    Dev,
}

impl Profile {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Dev => "dev",
        }
    }

    fn directory(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Dev => "debug",
        }
    }
}

/// Cargo's output.
pub(crate) fn target(root: &Path) -> PathBuf {
    root.join(std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}

/// Where the program is once it has been built.
pub(crate) fn path(root: &Path, profile: Profile) -> PathBuf {
    target(root).join(profile.directory()).join("naming-server")
}

/// Builds the program.
///
/// # Errors
///
/// If it does not build.
pub(crate) fn build(root: &Path, profile: Profile) -> Result<PathBuf> {
    println!("building the server ({})", profile.word());
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--package", "naming-server", "--profile", profile.word()]);
    let status = command.current_dir(root).status().context("start cargo")?;
    ensure!(status.success(), "the server does not build");
    Ok(path(root, profile))
}

/// Addresses on the loopback interface: `count` with ports that are free now, then the given ones.
///
/// # Errors
///
/// If a port is given twice, or taken.
pub(crate) fn addresses(count: u16, ports: &[u16]) -> Result<Vec<SocketAddr>> {
    // All are held until each is known, so that none is found twice.
    let asked = std::iter::repeat_n(0, usize::from(count)).chain(ports.iter().copied());
    let listeners: Vec<TcpListener> = asked
        .map(|port| {
            TcpListener::bind((Ipv4Addr::LOCALHOST, port)).with_context(|| format!("port {port}"))
        })
        .collect::<Result<_>>()?;
    listeners.iter().map(|listener| Ok(listener.local_addr()?)).collect()
}

/// The server as a member of a cluster.
///
/// `bind` is where clients reach it, `advertised` is what the other members call it. Without a secret
/// among the settings it has that of `files`.
pub(crate) fn member(
    path: &Path,
    files: &Files,
    bind: SocketAddr,
    advertised: SocketAddr,
    settings: &[String],
) -> Program {
    let mut arguments: Vec<OsString> = vec!["--bind".into(), bind.ip().to_string().into()];
    arguments.extend(["--port".into(), bind.port().to_string().into()]);
    arguments.extend(["--advertise".into(), advertised.to_string().into()]);
    arguments.extend(["--data-dir".into(), files.data(advertised).into_os_string()]);
    if !settings.iter().any(|setting| setting.starts_with("cluster.secret_file=")) {
        arguments.extend(["--secret-file".into(), files.secret().into_os_string()]);
    }
    let mut members = OsString::from("cluster.members_file=");
    members.push(files.members());
    arguments.extend(["--set".into(), members]);
    for setting in settings {
        arguments.extend(["--set".into(), setting.into()]);
    }
    Program { path: path.to_owned(), arguments }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_ports_differ_and_taken_ones_are_refused() {
        let found = addresses(3, &[]).unwrap();
        let mut ports: Vec<_> = found.iter().map(SocketAddr::port).collect();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 3);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let taken = listener.local_addr().unwrap().port();
        assert!(addresses(0, &[taken]).is_err());
    }

    #[test]
    fn a_member_is_told_who_it_is_and_where_the_others_are_written() {
        let files = Files::create().unwrap();
        let (bind, advertised) = ("0.0.0.0:1".parse().unwrap(), "10.0.0.1:1".parse().unwrap());
        let settings = ["log.level=debug".to_owned()];
        let program = member(Path::new("/server"), &files, bind, advertised, &settings);
        let arguments: Vec<_> = program.arguments.iter().map(|a| a.to_string_lossy()).collect();
        let text = arguments.join(" ");
        assert!(text.starts_with("--bind 0.0.0.0 --port 1 --advertise 10.0.0.1:1 --data-dir /"));
        assert!(text.contains("/data-10.0.0.1-1 --secret-file /"), "{text}");
        assert!(text.contains("--set cluster.members_file=/"), "{text}");
        assert!(text.ends_with("--set log.level=debug"), "{text}");
    }
}
