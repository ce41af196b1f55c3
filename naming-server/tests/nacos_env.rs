//! The program as a container starts it: by the variables of the image of Nacos, and watched by
//! probes and systemd.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// No step takes nearly as long; it is there so that a failure is no hang.
const PATIENCE: Duration = Duration::from_secs(20);
const TOKEN: &str = "q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA=";
/// Flags win over variables.
const LOCAL: [&str; 7] =
    ["--nacos-env", "--bind", "127.0.0.1", "--port", "0", "--in-memory", "--set=console.port=0"];

fn program(variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_naming-server"));
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy().into_owned();
        if ["NAMING_", "NACOS_", "MODE", "MEMBER"].iter().any(|one| text.starts_with(one)) {
            command.env_remove(name);
        }
    }
    command.env("XDG_DATA_HOME", "/dev/null").envs(variables.iter().copied()).args(LOCAL);
    command
}

/// A server that serves, and what it has said so far.
struct Server {
    child: Child,
    address: SocketAddr,
    banner: String,
}

impl Server {
    fn start(variables: &[(&str, &str)]) -> Self {
        let mut child =
            program(variables).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut banner = String::new();
        while !banner.contains("docs ") {
            assert!(stdout.read_line(&mut banner).unwrap() > 0, "{banner:?}");
        }
        let (_, rest) = banner.split_once("listening on ").unwrap();
        let address = rest.split(')').next().unwrap().parse().unwrap();
        Self { child, address, banner }
    }

    fn probe(&self, name: &str) -> (bool, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_naming-server"));
        let port = self.address.port().to_string();
        command.args(["--bind", "127.0.0.1", "--port", &port, "probe", name]);
        let output = command.output().unwrap();
        (output.status.success(), String::from_utf8(output.stderr).unwrap())
    }

    /// Stops it and returns what it has logged.
    fn stop(&mut self) -> String {
        let process = self.child.id().to_string();
        assert!(Command::new("kill").arg(process).status().unwrap().success());
        let mut log = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        assert!(self.child.wait().unwrap().success(), "{log}");
        log
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn complaint(variables: &[(&str, &str)]) -> String {
    let output = program(variables).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_container_of_nacos_starts_with_its_variables() {
    let variables = [
        ("MODE", "standalone"),
        ("NACOS_AUTH_ENABLE", "true"),
        ("NACOS_AUTH_TOKEN", TOKEN),
        ("JVM_XMS", "512m"),
        ("MYSQL_SERVICE_PASSWORD", "s3cret"),
        ("NACOS_SERVER_CONTEXTPATH", "/registry"),
    ];
    let mut server = Server::start(&variables);
    assert!(server.banner.contains("/registry") && server.banner.contains("auth     on"));
    let log = server.stop();
    let ignored = "variables without effect: JVM_XMS (no Java here); MYSQL_SERVICE_PASSWORD";
    assert!(log.contains(ignored), "{log}");
    assert!(!log.contains("s3cret") && !log.contains(TOKEN), "{log}");
}

#[test]
fn without_the_flag_the_variables_of_nacos_mean_nothing() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_naming-server"));
    let output = command.env("NACOS_SERVER_CONTEXTPATH", "/x").arg("--print-config").output();
    assert!(String::from_utf8(output.unwrap().stdout).unwrap().contains("\"/nacos\""));
}

#[test]
fn what_would_be_unsafe_stops_the_start() {
    let public = "SecretKey012345678901234567890123456789012345678901234567890123456789";
    let text = complaint(&[("NACOS_AUTH_ENABLE", "true"), ("NACOS_AUTH_TOKEN", public)]);
    assert!(text.contains("NACOS_AUTH_TOKEN") && text.contains("openssl rand"), "{text}");
    assert!(!text.contains(public), "{text}");
    let text = complaint(&[("MODE", "cluster")]);
    assert!(text.contains("NACOS_SERVERS"), "{text}");
}

#[test]
fn members_with_a_key_of_tokens_need_no_other_secret() {
    let members = ("NACOS_SERVERS", "127.0.0.1:18848 127.0.0.1:18850");
    let text = complaint(&[("MODE", "cluster"), members]);
    assert!(text.contains("needs a secret"), "{text}");
    let server = Server::start(&[("MODE", "cluster"), members, ("NACOS_AUTH_TOKEN", TOKEN)]);
    assert!(server.banner.contains("127.0.0.1:18850"), "{}", server.banner);
}

#[test]
fn a_probe_tells_whether_the_server_is_well() {
    let mut server = Server::start(&[("MODE", "standalone")]);
    for name in ["liveness", "readiness"] {
        assert_eq!(server.probe(name), (true, String::new()), "{name}");
    }
    server.stop();
    let (is_well, text) = server.probe("liveness");
    assert!(!is_well && text.contains("no server answers at 127.0.0.1"), "{text}");
}

#[test]
fn systemd_hears_when_the_server_is_ready_lives_and_stops() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let next = || {
        let mut buffer = [0; 512];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    let wait_for = |text: &str| while !next().contains(text) {};
    let path = path.to_str().unwrap();
    let mut server = Server::start(&[
        ("MODE", "standalone"),
        ("NOTIFY_SOCKET", path),
        ("WATCHDOG_USEC", "300000"),
    ]);
    wait_for("READY=1");
    assert!(server.probe("readiness").0);
    wait_for("WATCHDOG=1");
    wait_for("WATCHDOG=1");
    server.stop();
    wait_for("STOPPING=1");
}
