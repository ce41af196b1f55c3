//! Copying a service: its settings, those of its clusters, its persistent instances.

use hyper::Method;
use naming_http::Form;
use serde_json::json;

use super::Import;
use super::answers::{Cluster, ClusterSettings, Instance, Service, ServiceSettings};
use super::catalog::ServiceName;
use super::report::{Kind, Outcome};
use crate::remote::CallError;

const SERVICE: &str = "/v1/ns/service";

/// What the source has of a service.
struct Found {
    service: Service,
    /// By cluster.
    persistent: Vec<(String, Vec<Instance>)>,
    ephemeral: usize,
}

impl Found {
    fn has_settings(&self) -> bool {
        self.service.service != ServiceSettings::default()
            || self.service.clusters.iter().any(is_configured)
    }
}

impl Import {
    /// Copies a service, which may be gone.
    ///
    /// # Errors
    /// One of the servers does not answer any more. Everything else is reported.
    pub(super) async fn copy_service(&self, name: ServiceName<'_>) -> Result<(), CallError> {
        let copied = match self.copy_one(name).await {
            Ok(true) => Ok(()),
            Ok(false) => self.copy_longer_named(name).await,
            Err(error) => Err(error),
        };
        self.settle(name, copied)
    }

    /// Nacos lists `group@@a@@b` as `group@@a`, which it then does not have.
    async fn copy_longer_named(&self, name: ServiceName<'_>) -> Result<(), CallError> {
        for grouped in &self.source.longer_names(name).await? {
            let longer = ServiceName { grouped, ..name };
            self.settle(longer, self.copy_one(longer).await.map(|_| ()))?;
        }
        Ok(())
    }

    /// False if the source does not have it.
    async fn copy_one(&self, name: ServiceName<'_>) -> Result<bool, CallError> {
        let Some(found) = self.look_at(name).await? else { return Ok(false) };
        self.copy_found(name, &found).await?;
        Ok(true)
    }

    /// Reports what went wrong, unless a server is lost.
    fn settle(
        &self,
        name: ServiceName<'_>,
        copied: Result<(), CallError>,
    ) -> Result<(), CallError> {
        match copied {
            Err(error) if !matches!(error, CallError::Lost { .. }) => {
                self.report.lock().fail(Kind::Service, &what(name), &error);
                Ok(())
            }
            copied => copied,
        }
    }

    async fn look_at(&self, name: ServiceName<'_>) -> Result<Option<Found>, CallError> {
        let Some(service) = self.source.service(name).await? else { return Ok(None) };
        let mut found = Found { service, persistent: Vec::new(), ephemeral: 0 };
        for Cluster { name: cluster, .. } in &found.service.clusters {
            let listed = self.source.instances(name, cluster).await?;
            if listed.missing > 0 {
                let text = format!(
                    "{} cluster {cluster}: {} instances were not shown",
                    what(name),
                    listed.missing
                );
                self.report.lock().complain(&text);
            }
            let (ephemeral, persistent): (Vec<_>, Vec<_>) =
                listed.items.into_iter().partition(|instance| instance.ephemeral);
            found.ephemeral += ephemeral.len();
            if !persistent.is_empty() {
                found.persistent.push((cluster.clone(), persistent));
            }
        }
        Ok(Some(found))
    }

    async fn copy_found(&self, name: ServiceName<'_>, found: &Found) -> Result<(), CallError> {
        self.report.lock().leave_instances(found.ephemeral);
        let is_needed = found.has_settings() || self.all_services;
        if !is_needed && found.persistent.is_empty() {
            // A service without instances may be one whose instances went a moment ago: a server
            // that is no member any more expires all of them.
            match found.ephemeral {
                0 => self.report.lock().leave_empty_service(),
                _ => self.report.lock().leave_service(),
            }
            return Ok(());
        }
        let known = self.target.service(name).await?;
        // Without settings a service comes with its instances, and goes with them.
        if is_needed || known.is_some() {
            self.copy_settings(name, &found.service, known.as_ref()).await?;
        }
        for (cluster, instances) in &found.persistent {
            let by_hand = found
                .service
                .cluster(cluster)
                .is_some_and(|cluster| cluster.settings.checker_kind() == "NONE");
            self.copy_instances(name, cluster, instances, by_hand).await?;
        }
        Ok(())
    }

    /// # Errors
    /// One for the service. Clusters that are not taken are reported.
    async fn copy_settings(
        &self,
        name: ServiceName<'_>,
        wanted: &Service,
        known: Option<&Service>,
    ) -> Result<(), CallError> {
        let outcome = match known {
            Some(known) if known.service == wanted.service => Outcome::Same,
            Some(_) => Outcome::Changed,
            None => Outcome::Created,
        };
        let form = settings_form(name, &wanted.service);
        match outcome {
            Outcome::Same => {}
            Outcome::Changed => self.expect_ok(Method::PUT, SERVICE, form).await?,
            Outcome::Created => self.create(form.clone()).await?,
        }
        let mut clusters = Vec::new();
        for cluster in &wanted.clusters {
            match self.copy_cluster(name, cluster, known).await {
                Ok(Some(outcome)) => clusters.push((cluster, outcome)),
                Ok(None) => {}
                Err(lost @ CallError::Lost { .. }) => return Err(lost),
                Err(error) => self.fail_cluster(name, cluster, &error),
            }
        }
        self.check_settings(name, wanted, outcome, clusters).await
    }

    /// `None` if there is nothing to tell of it.
    async fn copy_cluster(
        &self,
        name: ServiceName<'_>,
        wanted: &Cluster,
        known: Option<&Service>,
    ) -> Result<Option<Outcome>, CallError> {
        let default = ClusterSettings::default();
        let known = known.and_then(|service| service.cluster(&wanted.name));
        if *known.map_or(&default, |cluster| &cluster.settings) == wanted.settings {
            return Ok(is_configured(wanted).then_some(Outcome::Same));
        }
        let ClusterSettings { check_port, use_instance_port, checker, metadata } = &wanted.settings;
        let form = Form::of(&name.parameters())
            .with("clusterName", &wanted.name)
            .with("checkPort", &check_port.to_string())
            .with("useInstancePort4Check", &use_instance_port.to_string())
            .with("healthChecker", &checker.to_string())
            .with("metadata", &json!(metadata).to_string());
        self.expect_ok(Method::PUT, "/v1/ns/cluster", form).await?;
        Ok(Some(if known.is_some() { Outcome::Changed } else { Outcome::Created }))
    }

    /// Looks whether everything arrived as it was sent, and counts it.
    async fn check_settings(
        &self,
        name: ServiceName<'_>,
        wanted: &Service,
        outcome: Outcome,
        clusters: Vec<(&Cluster, Outcome)>,
    ) -> Result<(), CallError> {
        let all_same = clusters.iter().all(|(_, outcome)| *outcome == Outcome::Same);
        let arrived = if self.dry_run || outcome == Outcome::Same && all_same {
            None
        } else {
            Some(self.target.service(name).await?.unwrap_or_default())
        };
        for (cluster, outcome) in clusters {
            let there = arrived.as_ref().map(|service| service.cluster(&cluster.name));
            match there {
                Some(there) if there.map(|there| &there.settings) != Some(&cluster.settings) => {
                    let text = "it is different at the target; has somebody changed it there?";
                    let text = match there.map(|there| there.settings.checker_kind()) {
                        Some(kind) if kind != cluster.settings.checker_kind() => {
                            &*format!("its health checker is of type {kind} at the target")
                        }
                        _ => text,
                    };
                    self.fail_cluster(name, cluster, &text);
                }
                _ => self.report.lock().count(Kind::Cluster, outcome),
            }
        }
        if arrived.is_some_and(|arrived| arrived.service != wanted.service) {
            let text = "its settings are different at the target; has somebody changed them there?";
            return Err(CallError::Unreadable(text.to_owned()));
        }
        self.report.lock().count(Kind::Service, outcome);
        Ok(())
    }

    /// Creates a service. That it is there already is said when an earlier attempt was carried out
    /// and its answer lost; whether it is as wanted is looked at later.
    async fn create(&self, form: Form) -> Result<(), CallError> {
        match self.expect_ok(Method::POST, SERVICE, form.clone()).await {
            Err(CallError::Refused { text, .. }) if text.contains("already exists") => {
                self.expect_ok(Method::PUT, SERVICE, form).await
            }
            done => done,
        }
    }

    pub(super) async fn expect_ok(
        &self,
        method: Method,
        path: &str,
        form: Form,
    ) -> Result<(), CallError> {
        match &*self.write(method, path, form).await? {
            "ok" => Ok(()),
            other => Err(CallError::Unreadable(format!("the target answered {other:?}"))),
        }
    }

    fn fail_cluster(
        &self,
        name: ServiceName<'_>,
        cluster: &Cluster,
        reason: &dyn std::fmt::Display,
    ) {
        let text = format!("{} cluster {}", what(name), cluster.name);
        self.report.lock().fail(Kind::Cluster, &text, reason);
    }
}

/// How a service is called in the report.
pub(super) fn what(name: ServiceName<'_>) -> String {
    format!("{} {}", name.namespace, name.grouped)
}

fn is_configured(cluster: &Cluster) -> bool {
    cluster.settings != ClusterSettings::default()
}

fn settings_form(name: ServiceName<'_>, settings: &ServiceSettings) -> Form {
    Form::of(&name.parameters())
        .with("protectThreshold", &settings.protect_threshold.to_string())
        .with("metadata", &json!(settings.metadata).to_string())
        .with("selector", &settings.selector.to_json().to_string())
}
