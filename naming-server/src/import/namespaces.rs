//! Copying what namespaces are called.

use hyper::Method;
use naming_http::Form;
use naming_model::DEFAULT_NAMESPACE;

use super::Import;
use super::answers::NamespaceEntry;
use super::report::{Kind, Outcome};
use crate::remote::CallError;

const PATH: &str = "/v1/console/namespaces";

impl Import {
    /// Copies the namespaces that are asked for, and gives the ids of all whose services are to be
    /// copied.
    pub(super) async fn copy_namespaces(&self) -> Result<Vec<String>, CallError> {
        let listed = self.source.namespaces().await?;
        let known = self.target.namespaces().await?;
        for entry in &listed {
            let id = &entry.namespace;
            if is_public(id) || !self.wants(id) {
                continue;
            }
            let is_known = known.iter().any(|one| one.namespace == *id);
            match self.copy_namespace(id, is_known).await {
                Ok(outcome) => self.report.lock().count(Kind::Namespace, outcome),
                Err(lost @ CallError::Lost { .. }) => return Err(lost),
                Err(error) => {
                    self.report.lock().fail(Kind::Namespace, &format!("namespace {id}"), &error);
                }
            }
        }
        self.ids(listed).await
    }

    async fn copy_namespace(&self, id: &str, is_known: bool) -> Result<Outcome, CallError> {
        let wanted = self.source.namespace(id).await?;
        let wanted = wanted.ok_or_else(|| unreadable("it went while it was looked at"))?;
        let name = if wanted.namespace_show_name.trim().is_empty() {
            id
        } else {
            &wanted.namespace_show_name
        };
        let is_same = |known: &NamespaceEntry| {
            known.namespace_show_name == name && known.namespace_desc == wanted.namespace_desc
        };
        let known = if is_known { self.target.namespace(id).await? } else { None };
        if known.as_ref().is_some_and(is_same) {
            return Ok(Outcome::Same);
        }
        let description = &wanted.namespace_desc;
        let (method, form, outcome) = match known {
            None => {
                let form = [("customNamespaceId", id), ("namespaceName", name)];
                (Method::POST, Form::of(&form), Outcome::Created)
            }
            Some(_) => {
                let form = [("namespace", id), ("namespaceShowName", name)];
                (Method::PUT, Form::of(&form), Outcome::Changed)
            }
        };
        let answer = self.write(method, PATH, form.with("namespaceDesc", description)).await?;
        if self.dry_run {
            return Ok(outcome);
        }
        // It says false if it is there, be it by the first of two attempts.
        match self.target.namespace(id).await? {
            Some(arrived) if is_same(&arrived) => Ok(outcome),
            _ => Err(unreadable(&format!("the target answered {answer:?}"))),
        }
    }

    /// The namespaces with a name and those that only have services: the API takes any id.
    async fn ids(&self, listed: Vec<NamespaceEntry>) -> Result<Vec<String>, CallError> {
        if !self.namespaces.is_empty() {
            return Ok(self.namespaces.clone());
        }
        let mut ids = vec![DEFAULT_NAMESPACE.to_owned()];
        ids.extend(listed.into_iter().map(|entry| entry.namespace));
        match self.source.used_namespaces().await {
            Ok(Some(used)) => ids.extend(used),
            Ok(None) => self.report.lock().miss_nameless_namespaces(),
            Err(lost @ CallError::Lost { .. }) => return Err(lost),
            Err(error) => self
                .report
                .lock()
                .complain(&format!("services in namespaces without a name, if any: {error}")),
        }
        ids.retain(|id| !id.is_empty());
        ids.sort_unstable();
        ids.dedup();
        Ok(ids)
    }

    fn wants(&self, id: &str) -> bool {
        self.namespaces.is_empty() || self.namespaces.iter().any(|wanted| wanted == id)
    }
}

fn is_public(id: &str) -> bool {
    id.is_empty() || id == DEFAULT_NAMESPACE
}

fn unreadable(text: &str) -> CallError {
    CallError::Unreadable(text.to_owned())
}
