//! The program on a data folder, and clients that remember what it acknowledged.

// Each test program uses its part of this.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use super::server_support::{Answer, send};

/// No step takes nearly as long; it is there so that a failure is no hang.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running server program.
pub(crate) struct Program {
    pub(crate) address: SocketAddr,
    pub(crate) banner: String,
    child: Child,
    _stdout: BufReader<ChildStdout>,
}

fn bare(program: &str) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("NAMING_")) {
        command.env_remove(name);
    }
    // Whoever forgets to say where its data goes must not find the user's.
    command.env("XDG_DATA_HOME", "/dev/null");
    command
}

fn command(folder: &Path) -> Command {
    let mut command = bare(env!("CARGO_BIN_EXE_naming-server"));
    command.args(["--bind", "127.0.0.1", "--port", "0", "--data-dir"]).arg(folder);
    command
}

/// The program where no file may be larger than `most` bytes.
fn limited(folder: &Path, most: u64) -> Command {
    let mut command = bare("bash");
    let script = r#"trap "" XFSZ; ulimit -f "$1"; shift; exec "$@""#;
    command.args(["-c", script, "bash", &most.div_ceil(1_024).to_string()]);
    command.arg(env!("CARGO_BIN_EXE_naming-server"));
    command.args(["--bind", "127.0.0.1", "--port", "0", "--data-dir"]).arg(folder);
    command
}

impl Program {
    pub(crate) fn start(folder: &Path, arguments: &[&str]) -> Self {
        Self::spawn(command(folder).args(arguments))
    }

    /// Where its user has this folder for data, and nothing else is said.
    pub(crate) fn start_in_home(data: &Path) -> Self {
        let mut command = bare(env!("CARGO_BIN_EXE_naming-server"));
        command.args(["--bind", "127.0.0.1", "--port", "0"]).env("XDG_DATA_HOME", data);
        Self::spawn(&mut command)
    }

    /// As if the disk had room for files of so many bytes only.
    pub(crate) fn start_with_room(folder: &Path, most: u64) -> Self {
        Self::spawn(&mut limited(folder, most))
    }

    fn spawn(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut banner = String::new();
        while !banner.contains("docs ") {
            assert!(stdout.read_line(&mut banner).unwrap() > 0, "{banner:?}");
        }
        let (_, rest) = banner.split_once("listening on ").unwrap();
        let address = rest.split(')').next().unwrap().parse().unwrap();
        Self { address, banner, child, _stdout: stdout }
    }

    /// The one line on standard error of a program that must not start.
    pub(crate) fn complaint(folder: &Path) -> String {
        refusal(&mut command(folder))
    }

    pub(crate) fn complaint_with_room(folder: &Path, most: u64) -> String {
        refusal(&mut limited(folder, most))
    }

    pub(crate) fn call(&self, method: &str, target: &str) -> Answer {
        send(self.address, method, target, "", "")
    }

    /// As `kill -9` does.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends a signal, such as `HUP`.
    pub(crate) fn signal(&self, name: &str) {
        let (signal, process) = (format!("-{name}"), self.child.id().to_string());
        assert!(Command::new("kill").args([signal, process]).status().unwrap().success());
    }

    /// As `kill` does; returns when it has ended.
    pub(crate) fn stop(mut self) {
        self.signal("TERM");
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn refusal(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(text.trim_end().lines().count(), 1, "{text}");
    text
}

/// What one client has written, to things that nobody else writes to, and what it was told.
pub(crate) struct Ledger {
    client: u32,
    random: fastrand::Rng,
    /// By number: the version that was acknowledged last, `None` if that was the removal.
    known: BTreeMap<u32, Option<u32>>,
    /// The write that was never answered: what it was to make of which.
    open: Option<(u32, Option<u32>)>,
    version: u32,
}

impl Ledger {
    /// Those with even numbers write namespaces, the others services.
    pub(crate) fn new(client: u32) -> Self {
        let random = fastrand::Rng::new();
        Self { client, random, known: BTreeMap::new(), open: None, version: 0 }
    }

    fn is_about_services(&self) -> bool {
        self.client % 2 == 1
    }

    /// Creates, changes and removes until the server does not answer. Returns how often it did.
    pub(crate) fn write_until_it_breaks(&mut self, address: SocketAddr) -> u32 {
        let Ok(stream) = TcpStream::connect(address) else { return 0 };
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut connection = BufReader::new(stream);
        for answered in 0.. {
            let number = self.random.u32(..40);
            let known = self.known.get(&number).copied().flatten();
            let after = (known.is_none() || self.random.u32(..3) > 0).then(|| {
                self.version += 1;
                self.version
            });
            self.open = Some((number, after));
            let (method, target) = self.request(number, known.is_some(), after);
            let Some((status, body)) = ask(&mut connection, method, &target) else {
                return answered;
            };
            assert!(status == 200 && ["ok", "true"].contains(&&*body), "{method} {target} {body}");
            self.known.insert(number, after);
            self.open = None;
        }
        unreachable!("the numbers do not end before the server does")
    }

    fn request(&self, number: u32, is_there: bool, after: Option<u32>) -> (&'static str, String) {
        let id = format!("c{}-{number}", self.client);
        let spaces = "/nacos/v1/console/namespaces";
        let services = "/nacos/v1/ns/service";
        match (self.is_about_services(), is_there, after) {
            (false, false, Some(version)) => {
                ("POST", format!("{spaces}?customNamespaceId={id}&namespaceName=v{version}"))
            }
            (false, true, Some(version)) => {
                ("PUT", format!("{spaces}?namespace={id}&namespaceShowName=v{version}"))
            }
            (false, _, None) => ("DELETE", format!("{spaces}?namespaceId={id}")),
            (true, false, Some(version)) => {
                ("POST", format!("{services}?serviceName={id}&metadata=v%3Dv{version}"))
            }
            (true, true, Some(version)) => {
                let query = format!("serviceName={id}&protectThreshold=0&metadata=v%3Dv{version}");
                ("PUT", format!("{services}?{query}"))
            }
            (true, _, None) => ("DELETE", format!("{services}?serviceName={id}")),
        }
    }

    /// Compares what the server shows with what it has acknowledged.
    #[track_caller]
    pub(crate) fn check(&mut self, address: SocketAddr) {
        let open = self.open.take();
        let asked: Vec<u32> = self.known.keys().copied().chain(open.map(|(n, _)| n)).collect();
        for number in asked {
            let shown = self.shown(address, number);
            let known = self.known.get(&number).copied().flatten();
            let may_be = open.filter(|(n, _)| *n == number).map(|(_, after)| after);
            let client = self.client;
            assert!(
                shown == known || Some(shown) == may_be,
                "client {client}, number {number}: {shown:?}, not {known:?} nor {may_be:?}"
            );
            self.known.insert(number, shown);
        }
    }

    fn shown(&self, address: SocketAddr, number: u32) -> Option<u32> {
        let id = format!("c{}-{number}", self.client);
        let target = match self.is_about_services() {
            true => format!("/nacos/v1/ns/service?serviceName={id}"),
            false => format!("/nacos/v1/console/namespaces?show=all&namespaceId={id}"),
        };
        let answer = send(address, "GET", &target, "", "");
        if answer.status != 200 {
            assert!(answer.body.contains("not found"), "{answer:?}");
            return None;
        }
        let shown = answer.json();
        let version = match self.is_about_services() {
            true => &shown["metadata"]["v"],
            false => &shown["namespaceShowName"],
        };
        Some(version.as_str().unwrap().strip_prefix('v').unwrap().parse().unwrap())
    }
}

/// One request on a connection that stays open; `None` if it breaks.
fn ask(connection: &mut BufReader<TcpStream>, method: &str, target: &str) -> Option<(u16, String)> {
    let request = format!("{method} {target} HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n");
    connection.get_mut().write_all(request.as_bytes()).ok()?;
    let (mut status, mut length) = (None, 0);
    loop {
        let mut line = String::new();
        if connection.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if status.is_none() {
            status = line.split(' ').nth(1)?.parse().ok();
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    connection.read_exact(&mut body).ok()?;
    Some((status?, String::from_utf8(body).ok()?))
}
