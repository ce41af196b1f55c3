//! Programs that administer or read a registry over HTTP: a published client for maintainers, a real
//! Prometheus, requests made from the OpenAPI document, and the requests of tools whose runtimes are
//! not installed here, in the order of their sources; and resolvers that ask over DNS. Each knows its
//! checks itself, so they have no column in the table.

use std::fmt;
use std::fs;
use std::process::Command;
use std::time::Duration;

use super::report::CheckLine;
use super::{Places, process};

/// What `--sdk` takes for all of them.
pub(super) const NAME: &str = "tools";

const INSTALL_LIMIT: Duration = Duration::from_secs(300);
const RUN_LIMIT: Duration = Duration::from_secs(180);
/// The published client for maintainers.
const MAINTAINER_VERSION: &str = "3.2.1-2026.03.30";

/// One program.
struct Tool {
    name: &'static str,
    /// Programs that it needs.
    needs: &'static [&'static str],
    /// The checks that it must report.
    checks: &'static [&'static str],
}

const MAINTAINER: Tool = Tool {
    name: "java-maintainer",
    needs: &["java", "mvn"],
    checks: &[
        "state",
        "namespaces",
        "services",
        "instances",
        "metadata",
        "clusters",
        "clients",
        "members",
    ],
};
const CONSUMERS: Tool = Tool {
    name: "consumers",
    needs: &["python3"],
    checks: &["hyperf-2", "hyperf-2-beat", "hyperf-3", "apisix"],
};

const PROMETHEUS: Tool = Tool {
    name: "prometheus",
    needs: &["python3", "prometheus"],
    checks: &[
        "scrape-own",
        "scrape-nacos",
        "discover-all",
        "discover-namespace",
        "discover-service",
        "labels",
        "scrape-discovered",
    ],
};

const SCHEMATHESIS: Tool = Tool {
    name: "schemathesis",
    needs: &["python3"],
    checks: &["requests-1.x", "requests-2.x", "requests-3.x"],
};
/// The published generator of requests.
const SCHEMATHESIS_VERSION: &str = "4.32.5";

/// Resolvers: they ask a server of their own, which has the port of DNS.
const DNS: Tool = Tool {
    name: "dns",
    needs: &["dig", "getent", "go", "ip", "unshare", "curl"],
    checks: &[
        "dig-addresses",
        "dig-six",
        "dig-case",
        "dig-group",
        "dig-services",
        "dig-target",
        "dig-tcp",
        "dig-cut",
        "dig-nothing",
        "dig-elsewhere",
        "glibc-addresses",
        "glibc-six",
        "glibc-nothing",
        "glibc-many",
        "coredns-addresses",
        "coredns-services",
        "coredns-many",
        "coredns-force-tcp",
        "coredns-nothing",
    ],
};

/// How it went with one of them.
pub(super) struct ToolReport {
    name: &'static str,
    lines: Vec<CheckLine>,
    /// Why checks are missing, if any are.
    problem: Option<String>,
    /// A program that it needs and that is not here.
    missing: Option<&'static str>,
}

/// Installs and runs all of them, one after the other.
pub(super) fn run(places: &Places, address: &str, run_id: &str) -> Vec<ToolReport> {
    let one = |tool: &Tool| {
        let missing = tool.needs.iter().copied().find(|needed| !super::sdk::is_on_path(needed));
        if missing.is_some() {
            return ToolReport { name: tool.name, lines: Vec::new(), problem: None, missing };
        }
        let prefix = format!("{}-{run_id}", tool.name);
        let (lines, ended) = match play(tool, places, address, &prefix) {
            Ok(played) => played,
            Err(error) => (Vec::new(), Err(error)),
        };
        let unreported =
            tool.checks.iter().find(|check| lines.iter().all(|one| one.check != **check));
        let problem = match (ended, unreported) {
            (Err(error), _) => Some(format!("{error:#}")),
            (Ok(()), Some(check)) => Some(format!("{check} is not reported")),
            (Ok(()), None) => None,
        };
        ToolReport { name: tool.name, lines, problem, missing: None }
    };
    [MAINTAINER, CONSUMERS, PROMETHEUS, SCHEMATHESIS, DNS].iter().map(one).collect()
}

type Played = (Vec<CheckLine>, anyhow::Result<()>);

fn play(tool: &Tool, places: &Places, address: &str, prefix: &str) -> anyhow::Result<Played> {
    let directory = places.work.join(tool.name);
    fs::create_dir_all(&directory)?;
    let (checks, log) = (directory.join("checks.jsonl"), directory.join("run.log"));
    for file in [&checks, &log] {
        // Of the run before; what cannot be removed now is complained of when it is opened.
        let _ = fs::remove_file(file);
    }
    let mut command = match tool.name {
        "consumers" | "prometheus" => {
            let mut python = Command::new("python3");
            python.arg(places.sources(tool.name).join("check.py"));
            python
        }
        "schemathesis" => schemathesis(places)?,
        "dns" => resolvers(places)?,
        _ => java(places)?,
    };
    if tool.name == DNS.name {
        command.arg(prefix);
    } else {
        command.args([address, prefix]);
    }
    let ended = process::run_logged(&mut command, &checks, &log, RUN_LIMIT);
    let text = fs::read_to_string(&checks).unwrap_or_default();
    Ok((text.lines().filter_map(CheckLine::parse).collect(), ended))
}

/// The program of the generator of requests, which is installed.
fn schemathesis(places: &Places) -> anyhow::Result<Command> {
    let directory = places.work.join(SCHEMATHESIS.name);
    let (environment, stamp) = (directory.join("venv"), directory.join("installed"));
    if !fs::read_to_string(&stamp).is_ok_and(|installed| installed == SCHEMATHESIS_VERSION) {
        let log = directory.join("install.log");
        let mut create = Command::new("python3");
        create.args(["-m", "venv"]).arg(&environment);
        process::run_logged(&mut create, &log, &log, INSTALL_LIMIT)?;
        let mut pip = Command::new(environment.join("bin/pip"));
        pip.args(["install", "--quiet", "--disable-pip-version-check"]);
        pip.arg(format!("schemathesis=={SCHEMATHESIS_VERSION}"));
        process::run_logged(&mut pip, &log, &log, INSTALL_LIMIT)?;
        fs::write(&stamp, SCHEMATHESIS_VERSION)?;
    }
    let mut python = Command::new(environment.join("bin/python"));
    python.arg(places.sources("schemathesis/check.py"));
    Ok(python)
}

/// The script of the resolvers; CoreDNS is built.
fn resolvers(places: &Places) -> anyhow::Result<Command> {
    let directory = places.work.join(DNS.name);
    let (program, log) = (directory.join("coredns"), directory.join("install.log"));
    let mut go = Command::new("go");
    go.args(["build", "-o"]).arg(&program).arg(".");
    go.current_dir(places.sources("dns/coredns"));
    process::run_logged(&mut go, &log, &log, INSTALL_LIMIT)?;
    let mut script = Command::new("bash");
    script.arg(places.sources("dns/check.sh")).env("COREDNS", program);
    script.env("REGISTRY", places.target.join("release/naming-server"));
    Ok(script)
}

/// The program of the client for maintainers, whose jars are there.
fn java(places: &Places) -> anyhow::Result<Command> {
    let directory = places.work.join(MAINTAINER.name);
    let (jars, stamp) = (directory.join("lib"), directory.join("installed"));
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == MAINTAINER_VERSION) {
        return Ok(source(places, &jars.join("*")));
    }
    let log = directory.join("install.log");
    let mut maven = Command::new("mvn");
    maven.args(["--quiet", "--batch-mode", "dependency:copy-dependencies", "--file"]);
    maven.arg(places.sources("java-maintainer/pom.xml"));
    maven.arg(format!("-Dsdk.version={MAINTAINER_VERSION}"));
    maven.arg(format!("-DoutputDirectory={}", jars.display()));
    process::run_logged(&mut maven, &log, &log, INSTALL_LIMIT)?;
    fs::write(&stamp, MAINTAINER_VERSION)?;
    Ok(source(places, &jars.join("*")))
}

fn source(places: &Places, jars: &std::path::Path) -> Command {
    let mut java = Command::new("java");
    // The source is UTF-8 whatever the locale.
    java.arg("-Dfile.encoding=UTF-8").arg("-cp").arg(jars);
    java.arg(places.sources("java-maintainer/Maintainer.java"));
    java
}

impl ToolReport {
    /// Numbers of checks that passed and failed; a program that failed as a whole counts as one.
    pub(super) fn sums(&self, skip_is_failure: bool) -> (usize, usize) {
        let passed = self.lines.iter().filter(|line| line.ok).count();
        let is_skip_bad = self.missing.is_some() && skip_is_failure;
        let more = usize::from(self.problem.is_some() || is_skip_bad);
        (passed, self.lines.len() - passed + more)
    }
}

impl fmt::Display for ToolReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name;
        for CheckLine { check, ok, millis, detail } in &self.lines {
            let result = if *ok { "passed" } else { "FAILED" };
            writeln!(f, "{name} {check}: {result} after {millis} ms {detail}")?;
        }
        if let Some(tool) = self.missing {
            writeln!(f, "{name}: skipped, `{tool}` is not installed")?;
        }
        match &self.problem {
            Some(problem) => writeln!(f, "{name}: FAILED, {problem}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_name_every_check_that_is_asked_of_them() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let places = Places::new(root, "conformance");
        for (tool, source) in [
            (MAINTAINER, "java-maintainer/Maintainer.java"),
            (CONSUMERS, "consumers/check.py"),
            (PROMETHEUS, "prometheus/check.py"),
            (SCHEMATHESIS, "schemathesis/check.py"),
            (DNS, "dns/check.sh"),
        ] {
            let source = fs::read_to_string(places.sources(source)).unwrap();
            for check in tool.checks {
                assert!(source.contains(&format!("\"{check}\"")), "{check} of {}", tool.name);
            }
        }
        let manifest = fs::read_to_string(places.sources("java-maintainer/pom.xml")).unwrap();
        assert!(manifest.contains(MAINTAINER_VERSION));
    }

    #[test]
    fn a_check_that_failed_or_is_not_reported_counts() {
        let line = |ok| CheckLine { check: "a".to_owned(), ok, millis: 1, detail: String::new() };
        let report = |lines, problem: Option<&str>, missing| ToolReport {
            name: "x",
            lines,
            problem: problem.map(str::to_owned),
            missing,
        };
        assert_eq!(report(vec![line(true), line(false)], None, None).sums(false), (1, 1));
        assert_eq!(report(vec![line(true)], Some("b is not reported"), None).sums(false), (1, 1));
        assert_eq!(report(vec![], None, Some("mvn")).sums(false), (0, 0));
        assert_eq!(report(vec![], None, Some("mvn")).sums(true), (0, 1));
    }
}
