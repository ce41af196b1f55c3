//! `/distro/v1/*`: what the other members ask. Proves itself, so nothing else gates it.

use std::sync::Arc;

use distro_net::{Answering, PATH_PREFIX, Peers, Questions, Response, Secret, Status};
use hyper::StatusCode;

use super::Api;
use crate::http::{Answer, Call, Reply, no_such_api};
use crate::registry::Content;

impl Api {
    /// The members prove themselves by another secret from now on. Returns whether it is another.
    pub(crate) fn change_secret(&self, secret: Secret) -> bool {
        self.cluster.as_ref().is_some_and(|cluster| cluster.service.change_secret(secret))
    }

    /// Who answers the questions that other members ask this one.
    pub(in crate::http) fn answer_members(&self, questions: Arc<dyn Questions>) {
        if let Some(cluster) = &self.cluster {
            cluster.service.connect(questions);
        }
    }

    /// The other members that speak the protocol of the core, if this one is in a cluster.
    pub(in crate::http) fn peers(&self) -> Option<&Peers<Content>> {
        Some(&self.cluster.as_ref()?.peers)
    }

    /// The members as this one saw them a moment ago.
    pub(in crate::http) fn member_status(&self) -> Arc<Status> {
        self.control.status()
    }

    pub(super) fn answer_peer(&self, call: &Call<'_>) -> Answer {
        // Members are heard beside the context path alone: what is below it has not come in by their
        // door, where bodies are limited and connections counted.
        let cluster = self.cluster.as_ref().filter(|_| call.uri.starts_with(PATH_PREFIX));
        let Some(cluster) = cluster else { return no_such_api(call).into() };
        match cluster.service.answer(call.uri, call.body.clone()) {
            Answering::Now(response) => reply(response).into(),
            Answering::Later(later) => Answer::Later(Box::pin(async { reply(later.await) })),
        }
    }
}

fn reply(response: Response) -> Reply {
    let status = StatusCode::from_u16(response.status);
    let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    Reply::bytes(response.body).with_status(status)
}
