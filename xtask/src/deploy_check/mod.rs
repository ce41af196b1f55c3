//! `cargo xtask deploy-check`: what is under `deploy/`, checked by the tools of those who use it.
//!
//! The unit by systemd-analyze, the alert rules by promtool, the chart by helm, and the manifests
//! that the chart makes by kubeconform, which knows the schemas of Kubernetes. helm, kubeconform and
//! the schemas are fetched once, through the registries of their languages.

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

mod tools;

use tools::{SCHEMA_VERSIONS, Tools};

/// Exposure by the count of systemd-analyze, in tenths: 0 is none, 100 is a service that may do
/// everything.
const MOST_EXPOSURE: &str = "20";
const UNIT: &str = "deploy/systemd/naming-server.service";
const CHART: &str = "deploy/helm/naming-server";
const MANIFEST: &str = "deploy/kubernetes/naming-server.yaml";
/// What the plain manifests are made with.
const MANIFEST_VALUES: &str = "deploy/kubernetes/values.yaml";

/// Settings of the chart that make different manifests.
const VARIANTS: &[(&str, &[&str])] = &[
    ("as it is", &[]),
    ("standalone", &["global.mode=standalone", "networkPolicy.enabled=false"]),
    ("with users", &["nacos.authToken=dG9rZW4=", "nacos.identityKey=a", "nacos.identityValue=b"]),
    (
        "with everything",
        &[
            "auth.existingSecret=users",
            "cluster.existingSecret=members",
            "tls.enabled=true",
            "tls.secretName=tls",
            "persistence.enabled=true",
            "persistence.data.storageClassName=fast",
            "service.type=NodePort",
            "service.nodePort=30000",
            "ingress.enabled=true",
            "serviceMonitor.enabled=true",
            "prometheusRule.enabled=true",
            "nodeSelector.disk=ssd",
        ],
    ),
];

/// What `cargo xtask deploy-check` is told.
#[derive(Args, Debug, Clone)]
pub struct Arguments {
    /// Write the plain manifests anew instead of comparing them with what the chart makes
    #[arg(long)]
    accept: bool,
}

/// Runs all checks.
///
/// # Errors
/// A tool that cannot be had, or the first thing that one of them finds.
pub fn run(arguments: &Arguments, repository: &Path) -> Result<ExitCode> {
    let tools = Tools::fetch(repository)?;
    check_unit(repository)?;
    check_alerts(repository)?;
    check_chart(&tools, repository)?;
    check_manifest(&tools, repository, arguments.accept)?;
    println!("deploy: all well");
    Ok(ExitCode::SUCCESS)
}

fn check_unit(repository: &Path) -> Result<()> {
    let threshold = format!("--threshold={MOST_EXPOSURE}");
    let mut command = Command::new("systemd-analyze");
    command.args(["security", "--offline=true", "--no-pager", &threshold, UNIT]);
    let text = output(command.current_dir(repository))?;
    println!("unit: {}", text.lines().last().unwrap_or_default().trim_start_matches(['→', ' ']));
    Ok(())
}

fn check_alerts(repository: &Path) -> Result<()> {
    let folder = repository.join("deploy/prometheus");
    for arguments in [["check", "rules", "alerts.yaml"], ["test", "rules", "alerts.test.yaml"]] {
        output(Command::new("promtool").args(arguments).current_dir(&folder))?;
    }
    println!("alerts: rules and their tests pass");
    Ok(())
}

fn check_chart(tools: &Tools, repository: &Path) -> Result<()> {
    for (name, settings) in VARIANTS {
        let set: Vec<_> = settings.iter().flat_map(|one| ["--set", one]).collect();
        output(tools.helm().args(["lint", "--strict", CHART]).args(&set).current_dir(repository))
            .with_context(|| format!("helm lint, {name}"))?;
        for version in SCHEMA_VERSIONS {
            let rendered = template(tools, repository, version, &set)?;
            tools.validate(&rendered, version).with_context(|| format!("{name}, {version}"))?;
        }
        println!("chart {name}: valid for Kubernetes {}", SCHEMA_VERSIONS.join(", "));
    }
    // A value that would be ignored is refused.
    let mistaken = template(tools, repository, SCHEMA_VERSIONS[0], &["--set", "global.mode=quick"]);
    ensure!(mistaken.is_err(), "the chart takes a mode that does not exist");
    Ok(())
}

/// The plain manifests are what the chart makes, so that there is one truth.
fn check_manifest(tools: &Tools, repository: &Path, accept: bool) -> Result<()> {
    let newest = SCHEMA_VERSIONS.last().context("there is a version")?;
    let rendered = template(tools, repository, newest, &["--values", MANIFEST_VALUES])?;
    let head = "# Made by `cargo xtask deploy-check --accept` from the chart beside it and values.yaml.\n\
                # Before: kubectl create secret generic naming-server-members \\\n\
                #   --from-literal=secret=\"$(openssl rand -hex 32)\"\n";
    let is_ours = |line: &&str| !line.trim_start().starts_with("app.kubernetes.io/managed-by:");
    let body: Vec<_> = rendered.lines().filter(is_ours).collect();
    let expected = format!("{head}{}\n", body.join("\n"));
    let path = repository.join(MANIFEST);
    if accept {
        std::fs::write(&path, &expected).with_context(|| format!("write {MANIFEST}"))?;
    }
    let found = std::fs::read_to_string(&path).with_context(|| format!("read {MANIFEST}"))?;
    ensure!(
        found == expected,
        "{MANIFEST} is not what the chart makes; cargo xtask deploy-check --accept writes it anew"
    );
    tools.validate(&found, newest)?;
    println!("manifests: as the chart makes them, and valid");
    Ok(())
}

fn template(tools: &Tools, repository: &Path, version: &str, more: &[&str]) -> Result<String> {
    let mut command = tools.helm();
    command.args(["template", "naming-server", CHART, "--namespace", "naming"]);
    output(command.args(["--kube-version", version]).args(more).current_dir(repository))
}

/// What a command writes.
///
/// # Errors
/// It is not there, or fails; the text holds what it wrote.
fn output(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| {
        format!("run {name}; Debian has systemd-analyze in systemd and promtool in prometheus")
    })?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        bail!("{name} finds:\n{text}{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(text)
}
