//! The SDKs under test: versions, how each is installed and how its program is started.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::Places;
use super::sdks::SDKS;

/// Every check of the SDKs of 1.x, which speak HTTP, in the order of the table.
pub(super) const HTTP_CHECKS: &[&str] = &[
    "server-status",
    "register",
    "list",
    "list-healthy",
    "deregister",
    "namespaces",
    "service-list",
    "subscribe-appear",
    "subscribe-vanish",
    "subscribe-100",
    "beats",
    "expiry-unhealthy",
    "expiry-removed",
];

/// Every check of the SDKs of 2.x and 3.x, which speak gRPC, in the order of the table.
pub(super) const GRPC_CHECKS: &[&str] = &[
    "server-status",
    "register",
    "seen-by-http",
    "list",
    "list-healthy",
    "batch",
    "deregister",
    "namespaces",
    "service-list",
    "subscribe-appear",
    "subscribe-vanish",
    "http-appear",
    "http-vanish",
    "client-killed",
    RESTART_CHECK,
];

/// The check for which the server is started again: with a server of someone else it is skipped.
pub(super) const RESTART_CHECK: &str = "server-restart";

/// One published version of one SDK.
#[derive(Debug)]
pub(super) struct Sdk {
    /// What `--sdk` takes and the table shows.
    pub(super) name: &'static str,
    pub(super) package: &'static str,
    /// As in the manifest, where there is one.
    pub(super) version: &'static str,
    pub(super) language: Language,
    /// Whether it runs where no SDK is named.
    pub(super) by_default: bool,
    /// Checks of calls that its public interface does not have.
    pub(super) absent: &'static [&'static str],
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Language {
    Java,
    Go,
    Node,
    Python,
    JavaGrpc,
    GoGrpc,
    PythonGrpc,
    RustGrpc,
}

/// The SDKs of these names; a name without a version means all of that language, no name those that
/// run by default.
pub(super) fn select(names: &[String]) -> Result<Vec<&'static Sdk>> {
    for name in names {
        if !SDKS.iter().any(|sdk| sdk.is_called(name)) {
            let known: Vec<_> = SDKS.iter().map(|sdk| sdk.name).collect();
            bail!("no SDK `{name}`, there are: {}", known.join(", "));
        }
    }
    let wanted = |sdk: &&Sdk| match names {
        [] => sdk.by_default,
        names => names.iter().any(|name| sdk.is_called(name)),
    };
    Ok(SDKS.iter().filter(wanted).collect())
}

impl Sdk {
    /// What its program is asked to report.
    pub(super) fn checks(&self) -> &'static [&'static str] {
        if self.speaks_grpc() { GRPC_CHECKS } else { HTTP_CHECKS }
    }

    pub(super) fn speaks_grpc(&self) -> bool {
        use Language::{GoGrpc, JavaGrpc, PythonGrpc, RustGrpc};
        matches!(self.language, JavaGrpc | GoGrpc | PythonGrpc | RustGrpc)
    }

    fn is_called(&self, name: &str) -> bool {
        self.name == name || self.name.split('-').next() == Some(name)
    }

    /// The first program this SDK needs that is not on the path.
    pub(super) fn missing_tool(&self) -> Option<&'static str> {
        let tools: &[&str] = match self.language {
            Language::Java | Language::JavaGrpc => &["java", "mvn"],
            Language::Go | Language::GoGrpc => &["go"],
            Language::Node => &["node", "npm"],
            Language::Python | Language::PythonGrpc => &["python3"],
            Language::RustGrpc => &["cargo"],
        };
        tools.iter().copied().find(|tool| !is_on_path(tool))
    }

    /// All that decides what `install_commands` produces: if it is unchanged, so is that.
    pub(super) fn stamp(&self, places: &Places) -> Result<String> {
        let mut stamp = format!("{} {}\n", self.package, self.version);
        for input in self.inputs(places) {
            let text = fs::read_to_string(&input);
            stamp += &text.with_context(|| format!("read {}", input.display()))?;
        }
        Ok(stamp)
    }

    fn inputs(&self, places: &Places) -> Vec<PathBuf> {
        let files: &[&str] = match self.language {
            Language::Java => &["java/pom.xml"],
            Language::Go => &["go/go.mod", "go/go.sum", "go/main.go"],
            Language::Node => &["node/package.json", "node/check.js"],
            Language::Python | Language::PythonGrpc => &[],
            Language::JavaGrpc => &["java-grpc/pom.xml"],
            Language::GoGrpc => &["go-grpc/go.mod", "go-grpc/go.sum", "go-grpc/main.go"],
            Language::RustGrpc => {
                &["rust-grpc/Cargo.toml", "rust-grpc/Cargo.lock", "rust-grpc/src/main.rs"]
            }
        };
        files.iter().map(|file| places.sources(file)).collect()
    }

    /// To be run one after the other; they write to the SDK's own directory, which exists, and to
    /// the ordinary caches of the package managers.
    pub(super) fn install_commands(&self, places: &Places) -> Vec<Command> {
        let directory = places.directory(self);
        match self.language {
            Language::Java => vec![self.maven("java/pom.xml", places)],
            Language::JavaGrpc => vec![self.maven("java-grpc/pom.xml", places)],
            Language::Go => vec![self.go_build("go", places)],
            Language::GoGrpc => vec![self.go_build("go-grpc", places)],
            Language::Node => {
                let mut copy = Command::new("cp");
                copy.args(self.inputs(places)).arg(&directory);
                let mut npm = Command::new("npm");
                npm.current_dir(&directory);
                npm.args(["install", "--no-package-lock", "--no-audit", "--no-fund"]);
                npm.arg("--ignore-scripts");
                vec![copy, npm]
            }
            // The module under test needs the standard library only; what the package depends on is
            // for the gRPC module beside it.
            Language::Python => self.python_environment(&["--no-deps"], places),
            Language::PythonGrpc => self.python_environment(&[], places),
            Language::RustGrpc => vec![self.cargo_build("rust-grpc", places)],
        }
    }

    fn maven(&self, manifest: &str, places: &Places) -> Command {
        let mut maven = Command::new("mvn");
        maven.args(["--quiet", "--batch-mode", "dependency:copy-dependencies", "--file"]);
        maven.arg(places.sources(manifest));
        maven.arg(format!("-Dsdk.version={}", self.version));
        maven.arg(joined("-DoutputDirectory=", &places.directory(self).join("lib")));
        maven
    }

    fn go_build(&self, sources: &str, places: &Places) -> Command {
        let mut build = Command::new("go");
        build.current_dir(places.sources(sources));
        build.args(["build", "-o"]).arg(places.directory(self).join("check")).arg(".");
        build
    }

    fn cargo_build(&self, sources: &str, places: &Places) -> Command {
        let mut build = Command::new("cargo");
        // Not where this program is built: that would change what its crates are built with.
        build.args(["build", "--quiet", "--locked", "--target-dir"]);
        build.arg(places.directory(self).join("target"));
        build.arg("--manifest-path").arg(places.sources(sources).join("Cargo.toml"));
        build
    }

    fn python_environment(&self, options: &[&str], places: &Places) -> Vec<Command> {
        let environment = places.directory(self).join("venv");
        let mut create = Command::new("python3");
        create.args(["-m", "venv"]).arg(&environment);
        let mut pip = Command::new(environment.join("bin/pip"));
        pip.args(["install", "--quiet", "--disable-pip-version-check"]).args(options);
        pip.arg(format!("{}=={}", self.package, self.version));
        vec![create, pip]
    }

    /// The program that prints one line of JSON per check.
    pub(super) fn run_command(&self, places: &Places, address: &str, prefix: &str) -> Command {
        let directory = places.directory(self);
        let mut command = match self.language {
            Language::Java => self.java("java/Check.java", places),
            Language::JavaGrpc => self.java("java-grpc/Grpc.java", places),
            Language::Go | Language::GoGrpc => Command::new(directory.join("check")),
            Language::Node => {
                let mut node = Command::new("node");
                node.arg(directory.join("check.js"));
                node
            }
            Language::Python => self.python("python/check.py", places),
            Language::PythonGrpc => self.python("python-grpc/check.py", places),
            Language::RustGrpc => {
                let mut program = Command::new(directory.join("target/debug/check"));
                // Logs and caches of the SDK go to the home directory.
                program.env("HOME", directory.join("run"));
                program
            }
        };
        command.args([address, prefix]).arg(directory.join("run"));
        command
    }

    fn java(&self, source: &str, places: &Places) -> Command {
        let directory = places.directory(self);
        let (jars, source) = (directory.join("lib/*"), places.sources(source));
        let mut java = Command::new("java");
        // The source is UTF-8 whatever the locale.
        java.arg("-Dfile.encoding=UTF-8");
        // Logs and caches of the SDK go to the home directory.
        java.arg(joined("-Duser.home=", &directory.join("run")));
        // With these the program starts another of its kind, to kill it.
        java.arg(joined("-Dsdk.jars=", &jars)).arg(joined("-Dsdk.source=", &source));
        java.arg("-cp").arg(jars).arg(source);
        java
    }

    fn python(&self, source: &str, places: &Places) -> Command {
        let mut python = Command::new(places.directory(self).join("venv/bin/python"));
        python.arg(places.sources(source));
        python
    }
}

fn joined(option: &str, path: &Path) -> std::ffi::OsString {
    let mut argument = std::ffi::OsString::from(option);
    argument.push(path);
    argument
}

pub(super) fn is_on_path(tool: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(tool).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places() -> Places {
        Places::new(Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap(), "conformance")
    }

    fn names(wanted: &[&str]) -> Result<Vec<&'static str>> {
        let wanted: Vec<String> = wanted.iter().map(ToString::to_string).collect();
        Ok(select(&wanted)?.iter().map(|sdk| sdk.name).collect())
    }

    #[test]
    fn name_without_version_means_the_language() {
        assert_eq!(names(&["python"]).unwrap(), ["python-0.1", "python-2.0", "python-3"]);
        assert_eq!(names(&["python-2.0", "go"]).unwrap(), ["go", "python-2.0", "go-2"]);
        assert_eq!(names(&["java-2.4"]).unwrap(), ["java-2.4"]);
    }

    #[test]
    fn no_name_means_those_that_run_by_default_in_both_tables() {
        let named = names(&[]).unwrap();
        assert!(named.contains(&"java") && named.contains(&"java-2.5"), "{named:?}");
        assert!(!named.contains(&"java-2.4"), "{named:?}");
    }

    #[test]
    fn unknown_name_is_an_error_that_lists_the_known() {
        let error = names(&["go", "cobol"]).unwrap_err().to_string();
        assert!(error.contains("cobol") && error.contains("node"), "{error}");
    }

    #[test]
    fn manifests_name_the_versions_of_the_table() {
        for sdk in &SDKS {
            let stamp = sdk.stamp(&places()).unwrap();
            let (_, manifests) = stamp.split_once('\n').unwrap();
            // In no manifest is what is given to pip, or to Maven for one of several versions.
            let given = manifests.is_empty() || manifests.contains("${sdk.version}");
            assert!(given || manifests.contains(sdk.version), "{}", sdk.name);
        }
    }

    #[test]
    fn programs_name_every_check_their_sdk_has() {
        for sdk in &SDKS {
            let command = sdk.run_command(&places(), "", "");
            let source = match sdk.language {
                Language::Go => places().sources("go/main.go"),
                Language::GoGrpc => places().sources("go-grpc/main.go"),
                Language::RustGrpc => places().sources("rust-grpc/src/main.rs"),
                Language::Node => places().sources("node/check.js"),
                _ => command.get_args().map(PathBuf::from).find(|path| path.is_file()).unwrap(),
            };
            let source = fs::read_to_string(source).unwrap();
            for check in sdk.checks() {
                let named = source.contains(&format!("\"{check}\""))
                    || source.contains(&format!("'{check}'"));
                // A program of several versions names what only some of them have.
                let some = sdk.language == Language::JavaGrpc;
                assert!(named || sdk.absent.contains(check), "{check} is not in {}", sdk.name);
                assert!(!named || some || !sdk.absent.contains(check), "{check} in {}", sdk.name);
            }
        }
    }
}
