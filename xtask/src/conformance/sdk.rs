//! The SDKs under test: versions, how each is installed and how its program is started.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::Places;

/// Every check there is, in the order of the table.
pub(super) const CHECKS: [&str; 13] = [
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

/// One published version of one SDK.
#[derive(Debug)]
pub(super) struct Sdk {
    /// What `--sdk` takes and the table shows.
    pub(super) name: &'static str,
    pub(super) package: &'static str,
    /// As in the manifest, where there is one.
    pub(super) version: &'static str,
    language: Language,
    /// Checks of calls that its public interface does not have.
    pub(super) absent: &'static [&'static str],
}

#[derive(Debug, Clone, Copy)]
enum Language {
    Java,
    Go,
    Node,
    Python,
}

pub(super) static SDKS: [Sdk; 5] = [
    Sdk {
        name: "java",
        package: "com.alibaba.nacos:nacos-client",
        version: "1.4.8",
        language: Language::Java,
        absent: &[],
    },
    Sdk {
        name: "go",
        package: "github.com/nacos-group/nacos-sdk-go",
        version: "v1.1.6",
        language: Language::Go,
        absent: &["server-status"],
    },
    Sdk {
        name: "node",
        package: "nacos",
        version: "2.6.3",
        language: Language::Node,
        absent: &["service-list"],
    },
    Sdk {
        name: "python-0.1",
        package: "nacos-sdk-python",
        version: "0.1.17",
        language: Language::Python,
        absent: &["server-status", "service-list"],
    },
    Sdk {
        name: "python-2.0",
        package: "nacos-sdk-python",
        version: "2.0.11",
        language: Language::Python,
        absent: &["server-status", "service-list"],
    },
];

/// The SDKs of these names; a name without a version means all of that language, no name all.
pub(super) fn select(names: &[String]) -> Result<Vec<&'static Sdk>> {
    for name in names {
        if !SDKS.iter().any(|sdk| sdk.is_called(name)) {
            let known: Vec<_> = SDKS.iter().map(|sdk| sdk.name).collect();
            bail!("no SDK `{name}`, there are: {}", known.join(", "));
        }
    }
    let wanted = |sdk: &&Sdk| names.is_empty() || names.iter().any(|name| sdk.is_called(name));
    Ok(SDKS.iter().filter(wanted).collect())
}

impl Sdk {
    fn is_called(&self, name: &str) -> bool {
        self.name == name || self.name.split('-').next() == Some(name)
    }

    /// The first program this SDK needs that is not on the path.
    pub(super) fn missing_tool(&self) -> Option<&'static str> {
        let tools: &[&str] = match self.language {
            Language::Java => &["java", "mvn"],
            Language::Go => &["go"],
            Language::Node => &["node", "npm"],
            Language::Python => &["python3"],
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
            Language::Python => &[],
        };
        files.iter().map(|file| places.sources(file)).collect()
    }

    /// To be run one after the other; they write to the SDK's own directory, which exists, and to
    /// the ordinary caches of the package managers.
    pub(super) fn install_commands(&self, places: &Places) -> Vec<Command> {
        let directory = places.directory(self);
        match self.language {
            Language::Java => {
                let mut maven = Command::new("mvn");
                maven.args(["--quiet", "--batch-mode", "dependency:copy-dependencies", "--file"]);
                maven.arg(places.sources("java/pom.xml"));
                maven.arg(joined("-DoutputDirectory=", &directory.join("lib")));
                vec![maven]
            }
            Language::Go => {
                let mut build = Command::new("go");
                build.current_dir(places.sources("go"));
                build.args(["build", "-o"]).arg(directory.join("check")).arg(".");
                vec![build]
            }
            Language::Node => {
                let mut copy = Command::new("cp");
                copy.args(self.inputs(places)).arg(&directory);
                let mut npm = Command::new("npm");
                npm.current_dir(&directory);
                npm.args(["install", "--no-package-lock", "--no-audit", "--no-fund"]);
                npm.arg("--ignore-scripts");
                vec![copy, npm]
            }
            Language::Python => {
                let environment = directory.join("venv");
                let mut create = Command::new("python3");
                create.args(["-m", "venv"]).arg(&environment);
                let mut pip = Command::new(environment.join("bin/pip"));
                // The module under test needs the standard library only; what the package
                // depends on is for the gRPC module beside it.
                pip.args(["install", "--quiet", "--disable-pip-version-check", "--no-deps"]);
                pip.arg(format!("{}=={}", self.package, self.version));
                vec![create, pip]
            }
        }
    }

    /// The program that prints one line of JSON per check.
    pub(super) fn run_command(&self, places: &Places, address: &str, prefix: &str) -> Command {
        let directory = places.directory(self);
        let mut command = match self.language {
            Language::Java => {
                let mut java = Command::new("java");
                // The source is UTF-8 whatever the locale.
                java.arg("-Dfile.encoding=UTF-8");
                // Logs and caches of the SDK go to the home directory.
                java.arg(joined("-Duser.home=", &directory.join("run")));
                java.arg("-cp").arg(directory.join("lib/*"));
                java.arg(places.sources("java/Check.java"));
                java
            }
            Language::Go => Command::new(directory.join("check")),
            Language::Node => {
                let mut node = Command::new("node");
                node.arg(directory.join("check.js"));
                node
            }
            Language::Python => {
                let mut python = Command::new(directory.join("venv/bin/python"));
                python.arg(places.sources("python/check.py"));
                python
            }
        };
        command.args([address, prefix]).arg(directory.join("run"));
        command
    }
}

fn joined(option: &str, path: &Path) -> std::ffi::OsString {
    let mut argument = std::ffi::OsString::from(option);
    argument.push(path);
    argument
}

fn is_on_path(tool: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(tool).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places() -> Places {
        Places::new(Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap())
    }

    fn names(wanted: &[&str]) -> Result<Vec<&'static str>> {
        let wanted: Vec<String> = wanted.iter().map(ToString::to_string).collect();
        Ok(select(&wanted)?.iter().map(|sdk| sdk.name).collect())
    }

    #[test]
    fn name_without_version_means_the_language() {
        assert_eq!(names(&["python"]).unwrap(), ["python-0.1", "python-2.0"]);
        assert_eq!(names(&["python-2.0", "go"]).unwrap(), ["go", "python-2.0"]);
        assert_eq!(names(&[]).unwrap().len(), SDKS.len());
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
            // Python's version is given to pip and is in no manifest.
            assert!(manifests.is_empty() || manifests.contains(sdk.version), "{}", sdk.name);
        }
    }

    #[test]
    fn programs_name_every_check_their_sdk_has() {
        for sdk in &SDKS {
            let command = sdk.run_command(&places(), "", "");
            let source = match sdk.language {
                Language::Go => places().sources("go/main.go"),
                Language::Node => places().sources("node/check.js"),
                _ => command.get_args().map(PathBuf::from).find(|path| path.is_file()).unwrap(),
            };
            let source = fs::read_to_string(source).unwrap();
            for check in CHECKS {
                let named = source.contains(&format!("\"{check}\""))
                    || source.contains(&format!("'{check}'"));
                assert_eq!(named, !sdk.absent.contains(&check), "{check} in {}", sdk.name);
            }
        }
    }
}
