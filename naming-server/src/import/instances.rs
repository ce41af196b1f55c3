//! Copying the persistent instances of a cluster.

use std::collections::BTreeMap;

use hyper::Method;
use naming_http::Form;
use serde_json::json;

use super::Import;
use super::answers::Instance;
use super::catalog::ServiceName;
use super::report::{Kind, Outcome};
use super::service::what;
use crate::remote::CallError;

const PATH: &str = "/v1/ns/instance";
/// The application of an instance that names none.
const NO_APP: &str = "DEFAULT";

impl Import {
    /// `by_hand` says that the health of these is what an operator set.
    ///
    /// # Errors
    /// A server does not answer, or the target cannot be read. Instances that are not taken are
    /// reported.
    pub(super) async fn copy_instances(
        &self,
        name: ServiceName<'_>,
        cluster: &str,
        wanted: &[Instance],
        by_hand: bool,
    ) -> Result<(), CallError> {
        let known = self.known(name, cluster).await?;
        let mut written = Vec::new();
        for instance in wanted {
            let copied = self.copy_instance(name, cluster, instance, &known, by_hand).await;
            match copied {
                Ok(Outcome::Same) => self.report.lock().count(Kind::Instance, Outcome::Same),
                Ok(outcome) => written.push((instance, outcome)),
                Err(lost @ CallError::Lost { .. }) => return Err(lost),
                Err(error) => self.fail_instance(name, cluster, instance, &error),
            }
        }
        if written.is_empty() {
            return Ok(());
        }
        let arrived = if self.dry_run { None } else { Some(self.known(name, cluster).await?) };
        for (instance, outcome) in written {
            let there = arrived.as_ref().map(|arrived| arrived.get(&address(instance)));
            match there {
                Some(None) => {
                    self.fail_instance(name, cluster, instance, &"it is not at the target");
                }
                Some(Some(there)) if !is_same(instance, there) => {
                    let text = "it is different at the target; has somebody changed it there?";
                    self.fail_instance(name, cluster, instance, &text);
                }
                _ => self.report.lock().count(Kind::Instance, outcome),
            }
        }
        Ok(())
    }

    /// The persistent instances that the target has.
    async fn known(
        &self,
        name: ServiceName<'_>,
        cluster: &str,
    ) -> Result<BTreeMap<(String, i64), Instance>, CallError> {
        let listed = self.target.instances(name, cluster).await?.items.into_iter();
        let persistent = listed.filter(|instance| !instance.ephemeral);
        Ok(persistent.map(|instance| (address(&instance), instance)).collect())
    }

    async fn copy_instance(
        &self,
        name: ServiceName<'_>,
        cluster: &str,
        wanted: &Instance,
        known: &BTreeMap<(String, i64), Instance>,
        by_hand: bool,
    ) -> Result<Outcome, CallError> {
        let known = known.get(&address(wanted));
        let is_new = known.is_none();
        let form = Form::of(&name.parameters())
            .with("clusterName", cluster)
            .with("ip", &wanted.ip)
            .with("port", &wanted.port.to_string())
            .with("ephemeral", "false")
            .with("healthy", &wanted.healthy.to_string());
        let mut outcome = Outcome::Same;
        if known.is_none_or(|known| !is_same(wanted, known)) {
            let form = form
                .clone()
                .with("weight", &wanted.weight)
                .with("enabled", &wanted.enabled.to_string())
                .with("app", app(wanted))
                .with("metadata", &json!(wanted.metadata).to_string());
            self.expect_ok(Method::POST, PATH, form).await?;
            outcome = if is_new { Outcome::Created } else { Outcome::Changed };
        }
        // A registration leaves the health of what is there alone.
        if by_hand && known.is_some_and(|known| known.healthy != wanted.healthy) {
            self.expect_ok(Method::PATCH, PATH, form).await?;
            outcome = Outcome::Changed;
        }
        Ok(outcome)
    }

    fn fail_instance(
        &self,
        name: ServiceName<'_>,
        cluster: &str,
        instance: &Instance,
        reason: &dyn std::fmt::Display,
    ) {
        let Instance { ip, port, .. } = instance;
        let text = format!("{} instance {ip}:{port} of cluster {cluster}", what(name));
        self.report.lock().fail(Kind::Instance, &text, reason);
    }
}

fn address(instance: &Instance) -> (String, i64) {
    (instance.ip.clone(), instance.port)
}

fn app(instance: &Instance) -> &str {
    if instance.app.is_empty() { NO_APP } else { &instance.app }
}

/// Whether all is as wanted but the health, which is judged at the target.
fn is_same(wanted: &Instance, known: &Instance) -> bool {
    // What is no number equals nothing, so that the target gets to refuse it.
    let weight = |one: &Instance| one.weight.parse::<f64>().ok();
    weight(wanted).is_some()
        && weight(wanted) == weight(known)
        && wanted.enabled == known.enabled
        && wanted.metadata == known.metadata
        && app(wanted) == app(known)
}
