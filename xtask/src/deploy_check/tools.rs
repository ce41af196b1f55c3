//! helm, kubeconform and the schemas of Kubernetes, kept below `target/`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use super::output;

const HELM: &str = "helm.sh/helm/v3/cmd/helm@v3.22.0";
const KUBECONFORM: &str = "github.com/yannh/kubeconform/cmd/kubeconform@v0.8.0";
/// A package for Python that ships the schemas of many versions.
const SCHEMAS: &str = "kubernetes-validate==1.37.0";
const SCHEMA_FOLDER: &str = "kubernetes_validate/kubernetes-json-schema";
/// The oldest and the newest version that is checked.
pub(super) const SCHEMA_VERSIONS: &[&str] = &["v1.27.0", "v1.37.0"];
/// Kinds that Kubernetes knows only with the Prometheus operator.
const WITHOUT_SCHEMA: &str = "ServiceMonitor,PrometheusRule";

/// Programs and schemas that are there.
pub(super) struct Tools {
    folder: PathBuf,
}

impl Tools {
    /// Fetches what is missing.
    pub(super) fn fetch(repository: &Path) -> Result<Self> {
        let tools = Self { folder: repository.join("target/deploy-tools") };
        std::fs::create_dir_all(&tools.folder)?;
        tools.install("helm", HELM)?;
        tools.install("kubeconform", KUBECONFORM)?;
        tools.fetch_schemas()?;
        Ok(tools)
    }

    pub(super) fn helm(&self) -> Command {
        Command::new(self.folder.join("helm"))
    }

    /// Checks manifests against the schemas of a version; a field that is unknown is an error.
    pub(super) fn validate(&self, manifests: &str, version: &str) -> Result<()> {
        let schemas = self.schemas(version).join("{{ .ResourceKind }}{{ .KindSuffix }}.json");
        let mut child = Command::new(self.folder.join("kubeconform"))
            .args(["-strict", "-summary", "-skip", WITHOUT_SCHEMA, "-schema-location"])
            .arg(schemas)
            .arg("-")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("run kubeconform")?;
        child.stdin.take().context("a pipe")?.write_all(manifests.as_bytes())?;
        let output = child.wait_with_output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            bail!("kubeconform finds:\n{text}\nin\n{manifests}");
        }
        ensure!(!text.contains("Valid: 0"), "no manifests: {text}");
        Ok(())
    }

    fn install(&self, name: &str, module: &str) -> Result<()> {
        if !self.folder.join(name).exists() {
            let mut command = Command::new("go");
            output(command.args(["install", module]).env("GOBIN", &self.folder))?;
        }
        Ok(())
    }

    fn schemas(&self, version: &str) -> PathBuf {
        self.folder.join("schemas").join(version)
    }

    fn fetch_schemas(&self) -> Result<()> {
        if SCHEMA_VERSIONS.iter().all(|version| self.schemas(version).exists()) {
            return Ok(());
        }
        let wheels = self.folder.join("wheels");
        let mut download = Command::new("python3");
        download.args(["-m", "pip", "download", "--quiet", "--no-deps", SCHEMAS, "--dest"]);
        output(download.arg(&wheels))?;
        let wheel = std::fs::read_dir(&wheels)?.next().context("a package was fetched")??.path();
        let all = self.folder.join("all-schemas");
        let mut unpack = Command::new("python3");
        output(unpack.args(["-m", "zipfile", "-e"]).arg(wheel).arg(&all))?;
        for version in SCHEMA_VERSIONS {
            let source = all.join(SCHEMA_FOLDER).join(format!("{version}-local-strict"));
            let half = self.folder.join("half-written");
            std::fs::create_dir_all(&half)?;
            for file in std::fs::read_dir(&source)
                .with_context(|| format!("no schemas of Kubernetes {version}"))?
            {
                let path = file?.path();
                // They refer to each other by addresses in the network; here by the file beside.
                let text = std::fs::read_to_string(&path)?;
                let text = text.replace("\"/api/_definitions.json", "\"_definitions.json");
                let text = text.replace("\"$id\":", "\"x-id\":");
                std::fs::write(half.join(path.file_name().context("a name")?), text)?;
            }
            std::fs::create_dir_all(self.folder.join("schemas"))?;
            std::fs::rename(&half, self.schemas(version))?;
        }
        std::fs::remove_dir_all(all)?;
        std::fs::remove_dir_all(wheels)?;
        Ok(())
    }
}
