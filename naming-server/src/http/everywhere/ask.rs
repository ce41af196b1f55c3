//! Asking all members.

use std::sync::Arc;
use std::time::Duration;

use distro_core::{MemberId, MemberState};
use distro_net::Told;
use serde::Serialize;
use tokio::task::JoinSet;

use super::part::Ask;
use crate::http::v1::Api;
use crate::http::{Answer, ApiError, MOST_ANSWER_BYTES, Reply};

/// How long another member's part is waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// What members said, in the order of their addresses.
#[derive(Debug)]
pub(in crate::http) struct Parts<T> {
    pub(in crate::http) told: Vec<(String, T)>,
    /// Those whose part is missing, or not whole.
    pub(in crate::http) silent: Vec<Silent>,
}

/// A member whose part is missing, or not whole, and why.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(in crate::http) struct Silent {
    pub(in crate::http) address: String,
    pub(in crate::http) reason: &'static str,
}

impl<T> Parts<T> {
    /// Notes the members whose part was cut.
    pub(in crate::http) fn note_cut(&mut self, is_cut: impl Fn(&T) -> bool) {
        let cut = self.told.iter().filter(|(_, part)| is_cut(part)).map(|(address, _)| address);
        let reason = "told a part of it only: the whole has too many bytes";
        let cut: Vec<Silent> =
            cut.map(|address| Silent { address: address.clone(), reason }).collect();
        self.silent.extend(cut);
    }
}

/// Which members are asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::http) enum Scope {
    All,
    /// The one at this address.
    Member(String),
}

impl Scope {
    fn has(&self, address: &str) -> bool {
        match self {
            Self::All => true,
            Self::Member(member) => member == address,
        }
    }
}

/// The answer that `work` comes to, in a task of its own; 503 if too many views of all members are
/// put together for too long.
///
/// # Errors
/// 503 while this server stops.
pub(in crate::http) fn later<F, E>(
    api: &Api,
    work: impl FnOnce(Arc<Api>) -> F + Send + 'static,
) -> Result<Answer, E>
where
    F: Future<Output = Result<Reply, E>> + Send + 'static,
    E: From<ApiError>,
    Reply: From<E>,
{
    let stops = || ApiError::unavailable("this server stops");
    let api = api.shared().ok_or_else(stops)?;
    Ok(Answer::Later(Box::pin(async move {
        let shared = Arc::clone(&api);
        let turn = tokio::time::timeout(PATIENCE, shared.views().turn()).await;
        let Ok(Some(permit)) = turn else {
            let text = "too many views of the whole cluster are put together at a time";
            return ApiError::unavailable(text).into();
        };
        let reply = work(api).await.unwrap_or_else(Reply::from);
        drop(permit);
        reply
    })))
}

/// What the members say that are meant, this one included.
pub(in crate::http) async fn of_scope<A: Ask>(
    api: &Arc<Api>,
    scope: &Scope,
    ask: &A,
) -> Parts<A::Part> {
    let mut parts = others(api, scope, ask).await;
    let own = api.address().to_owned();
    if scope.has(&own) {
        match ask.here(api, MOST_ANSWER_BYTES) {
            Some(part) => parts.told.push((own, part)),
            None => parts.silent.push(Silent { address: own, reason: BUSY }),
        }
    }
    parts.told.sort_by(|(one, _), (other, _)| one.cmp(other));
    parts
}

/// What the other members say.
pub(in crate::http) async fn of_others<A: Ask>(api: &Arc<Api>, ask: &A) -> Parts<A::Part> {
    others(api, &Scope::All, ask).await
}

const BUSY: &str = "cannot say now";

async fn others<A: Ask>(api: &Arc<Api>, scope: &Scope, ask: &A) -> Parts<A::Part> {
    let mut parts = Parts { told: Vec::new(), silent: Vec::new() };
    let question = Question { ask: A::NAME, of: ask };
    let Ok(question) = serde_json::to_vec(&question) else { return parts };
    let question: Arc<[u8]> = question.into();
    let mut asked = JoinSet::new();
    for other in api.other_members().into_iter().filter(|other| scope.has(&other.address)) {
        let Other { address, way } = other;
        match way {
            Err(reason) => parts.silent.push(Silent { address, reason }),
            Ok(member) => {
                let (api, question) = (Arc::clone(api), Arc::clone(&question));
                asked.spawn(async move { (address, api.ask(member, question).await) });
            }
        }
    }
    while let Some(answer) = asked.join_next().await {
        let Ok((address, told)) = answer else { continue };
        let part = match told {
            Told::Answer(answer) => {
                serde_json::from_slice(&answer).map_err(|_| "its answer means nothing here")
            }
            Told::Nothing => Err(BUSY),
            Told::Earlier => Err("it runs an earlier release"),
            Told::Silent => Err("no answer in time"),
        };
        match part {
            Ok(part) => parts.told.push((address, part)),
            Err(reason) => parts.silent.push(Silent { address, reason }),
        }
    }
    parts.silent.sort();
    parts
}

/// Another member, and how it is asked or why it is not.
struct Other {
    address: String,
    way: Result<MemberId, &'static str>,
}

impl Api {
    /// All other members.
    fn other_members(&self) -> Vec<Other> {
        let mut others = Vec::new();
        if let Some(peers) = self.peers() {
            let status = self.member_status();
            for member in peers.members() {
                let Some(address) = peers.address(member) else { continue };
                let known = status.members.iter().find(|known| known.address == address);
                let is_down = known.is_some_and(|known| known.view.state == MemberState::Down);
                let way = if is_down { Err("it is down") } else { Ok(member) };
                others.push(Other { address: address.to_string(), way });
            }
        }
        for member in self.members() {
            let Some(address) = member["address"].as_str() else { continue };
            if address != self.address() && !others.iter().any(|known| known.address == address) {
                let way = Err("it is a server of another make, which is not asked");
                others.push(Other { address: address.to_owned(), way });
            }
        }
        others
    }

    async fn ask(&self, member: MemberId, question: Arc<[u8]>) -> Told {
        match self.peers() {
            Some(peers) => peers.ask(member, question, PATIENCE).await,
            None => Told::Silent,
        }
    }
}

/// A question as it is sent.
#[derive(Serialize)]
struct Question<'a, A> {
    ask: &'static str,
    of: &'a A,
}
