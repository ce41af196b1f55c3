//! What is done for each other member: a connection, reports, and for a Java server the data of
//! this member's clients.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::content::ClientData;
use super::link::{Link, LinkError};
use super::members::Make;
use super::peers::{Outbox, PORT_OFFSET, Peers};
use super::request::{DistroRequest, ReportRequest};
use crate::nacos::Reported;

/// Between two reports, and between two tries to connect.
const REPORT_PERIOD: Duration = Duration::from_secs(2);
/// Between two health checks of a connection, which tell that its other side knows it.
const HEALTH_PERIOD: Duration = Duration::from_secs(5);
/// Within which a member must answer.
const CALL_TIME: Duration = Duration::from_secs(3);
/// Between two rounds in which this member vouches for its clients.
const VERIFY_PERIOD: Duration = Duration::from_secs(5);
/// Between two looks at clients that a Java server judges, and how many are looked at.
const COMPARE_PERIOD: Duration = Duration::from_secs(1);
const COMPARED_AT_A_TIME: usize = 50;
/// Bytes of an answer that shows one client.
const MOST_SHOWN_BYTES: usize = 16 << 20;
/// After a failure, until the same is sent again.
const RETRY_AFTER: Duration = Duration::from_secs(3);
/// Calls under way to one member.
const MOST_CALLS: usize = 16;
/// Bytes of an answer without a snapshot.
const MOST_ANSWER_BYTES: usize = 1 << 20;
/// Bytes of the data of one client as it is sent. A Java server takes 10 MiB in a message, and four
/// bytes stand for three.
const MOST_CLIENT_BYTES: usize = 7 << 20;
/// A member before 2.2.4 has no such request: it is told over HTTP.
const NO_HANDLER: i32 = 302;

impl Peers {
    /// Stays in touch with a member until it leaves the list.
    pub(super) async fn keep_in_touch(self: &Arc<Self>, to: &Arc<str>) {
        let mut was_there = true;
        loop {
            match self.link_to(to).await {
                Ok(link) => {
                    was_there = true;
                    self.talk(to, Arc::new(link)).await;
                }
                Err(error) => {
                    if std::mem::take(&mut was_there) {
                        tracing::warn!(member = %to, %error, "cannot connect to a Java member");
                    }
                    self.update(|members| members.failed(to));
                }
            }
            sleep(REPORT_PERIOD).await;
        }
    }

    pub(super) async fn link_to(&self, to: &str) -> Result<Link, LinkError> {
        let target = cluster_address(to).await?;
        Link::open(target, &self.link_identity()).await
    }

    /// Talks over a connection to its end.
    async fn talk(self: &Arc<Self>, to: &Arc<str>, link: Arc<Link>) {
        let data = async {
            loop {
                // A Java server is told once it is known to be one.
                let outbox = self.outboxes.lock().get(to).cloned();
                match outbox {
                    Some(outbox) => self.tell(to, &link, &outbox).await,
                    None => sleep(RETRY_AFTER / 10).await,
                }
            }
        };
        tokio::select! {
            () = link.ended() => {}
            () = self.keep_reporting(to, &link) => {}
            () = keep_healthy(&link) => {}
            () = data => {}
            () = self.compare_all(to, &link) => {}
        }
    }

    /// Reports until the connection fails.
    async fn keep_reporting(&self, to: &str, link: &Link) {
        loop {
            if self.is_loaded() {
                let report = ReportRequest::of(self.own_member());
                let answer =
                    link.call("MemberReportRequest", &report, CALL_TIME, MOST_ANSWER_BYTES).await;
                match answer {
                    Ok(reply) => self.update(|members| match &reply.node {
                        Some(node) => _ = members.told(to, node),
                        None => members.answered(to),
                    }),
                    Err(LinkError::No { code: NO_HANDLER, .. }) => self.report_over_http(to).await,
                    Err(error) => {
                        tracing::debug!(member = to, %error, "a report to a Java member failed");
                        self.update(|members| members.failed(to));
                        if !matches!(error, LinkError::No { .. }) {
                            return;
                        }
                    }
                }
            }
            sleep(REPORT_PERIOD).await;
        }
    }

    /// Asks a Java server for its clients that beat, a few at a time, again and again.
    async fn compare_all(&self, to: &str, link: &Link) {
        let mut waiting = Vec::new();
        loop {
            sleep(COMPARE_PERIOD).await;
            if !self.is_loaded() || !self.is_java(to) {
                continue;
            }
            if waiting.is_empty() {
                waiting = self.clients.judged_by(&self.owners(), to);
            }
            for id in waiting.split_off(waiting.len().saturating_sub(COMPARED_AT_A_TIME)) {
                let request = DistroRequest::query(to, &id);
                let answer = link.call("DistroDataRequest", &request, CALL_TIME, MOST_SHOWN_BYTES);
                let Ok(reply) = answer.await else { break };
                let content = reply.distro_data.and_then(|data| data.content);
                if let Some(Ok(client)) = content.map(|content| ClientData::parse(&content.0)) {
                    self.clients.compare(client);
                }
            }
        }
    }

    async fn report_over_http(&self, to: &str) {
        let body = serde_json::to_string(&self.own_member()).unwrap_or_default();
        match self.caller.report(to, body).await {
            Reported::Up => self.update(|members| members.answered(to)),
            Reported::Unknown => {}
            Reported::Failed { .. } => self.update(|members| members.failed(to)),
        }
    }

    /// Tells a Java server what it has to be told, and vouches for what it knows, until the
    /// connection fails.
    async fn tell(self: &Arc<Self>, to: &Arc<str>, link: &Arc<Link>, outbox: &Arc<Outbox>) {
        // It may have missed anything while there was no connection.
        let all: Vec<_> = self.own.lock().all().map(|data| Arc::from(&*data.id)).collect();
        outbox.note(all);
        let mut vouching = Vouching::default();
        let mut verify = interval(VERIFY_PERIOD);
        verify.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let is_there =
                self.members.lock().find(to).is_some_and(|other| other.make == Make::Java);
            if !is_there {
                return;
            }
            let is_loaded = self.is_loaded();
            let is_idle = outbox.waiting.lock().is_empty();
            tokio::select! {
                () = outbox.wake.notified(), if is_idle || !is_loaded => {}
                _ = verify.tick() => if is_loaded { self.vouch(to, link, outbox, &mut vouching).await },
                () = std::future::ready(()), if !is_idle && is_loaded => {
                    if !self.send_waiting(to, link, outbox).await {
                        sleep(RETRY_AFTER).await;
                    }
                }
            }
        }
    }

    /// Sends what waits; false if something of it was not taken: that waits again.
    async fn send_waiting(
        self: &Arc<Self>,
        to: &Arc<str>,
        link: &Arc<Link>,
        outbox: &Arc<Outbox>,
    ) -> bool {
        let mut calls = JoinSet::new();
        let mut is_all_taken = true;
        loop {
            let next = match calls.len() < MOST_CALLS && is_all_taken {
                true => outbox.waiting.lock().pop_first(),
                false => None,
            };
            if let Some(id) = next {
                let (peers, to, link) = (Arc::clone(self), Arc::clone(to), Arc::clone(link));
                calls.spawn(async move {
                    let sent = peers.send_one(&to, &link, &id).await;
                    (id, sent)
                });
                continue;
            }
            match calls.join_next().await {
                Some(Ok((id, Err(error)))) => {
                    tracing::debug!(member = %to, client = %id, %error, "a Java member did not take data");
                    is_all_taken = false;
                    outbox.waiting.lock().insert(id);
                }
                Some(Ok((_, Ok(()))) | Err(_)) => {}
                None => return is_all_taken,
            }
        }
    }

    /// Sends what there is of a client at this moment.
    async fn send_one(&self, to: &str, link: &Link, id: &str) -> Result<(), LinkError> {
        let data = self.own.lock().find(id);
        let request = match data {
            Some(data) => {
                let bytes = data.render().len();
                if bytes > MOST_CLIENT_BYTES {
                    tracing::warn!(
                        client = id,
                        bytes,
                        "a client has too much data for a Java server"
                    );
                    return Ok(());
                }
                DistroRequest::change(to, &data)
            }
            // Whoever another member vouches for is not gone.
            None if self.clients.find(id).is_some() => return Ok(()),
            None => DistroRequest::delete(to, id),
        };
        link.call("DistroDataRequest", &request, CALL_TIME, MOST_ANSWER_BYTES).await.map(drop)
    }

    /// Vouches for all clients of this member. Whoever is not known as it is here is told again.
    async fn vouch(
        self: &Arc<Self>,
        to: &Arc<str>,
        link: &Arc<Link>,
        outbox: &Arc<Outbox>,
        vouching: &mut Vouching,
    ) {
        let clients: Vec<_> = self.own.lock().all().cloned().collect();
        vouching.keep(&clients);
        let mut clients = clients.into_iter();
        let mut calls = JoinSet::new();
        loop {
            if calls.len() < MOST_CALLS
                && let Some(client) = clients.next()
            {
                let (to, link) = (Arc::clone(to), Arc::clone(link));
                let revision = if vouching.is_by_name { ANY_REVISION } else { client.revision };
                calls.spawn(async move {
                    let request = DistroRequest::verify(&to, &client.id, revision);
                    let answer =
                        link.call("DistroDataRequest", &request, CALL_TIME, MOST_ANSWER_BYTES);
                    let answer = answer.await;
                    (client, answer)
                });
                continue;
            }
            match calls.join_next().await {
                Some(Ok((client, Err(LinkError::No { .. })))) => {
                    let id = Arc::from(&*client.id);
                    // What was told since was taken, unless it waits.
                    if !outbox.waiting.lock().contains(&id) {
                        vouching.refused(to, &id, client.revision);
                    }
                    outbox.note([id]);
                }
                Some(Ok((client, Ok(_)))) => vouching.taken(&client.id),
                Some(Ok((_, Err(LinkError::Lost(_))))) => return,
                Some(_) => {}
                None => return,
            }
        }
    }
}

/// A client at whatever revision, in a VERIFY.
const ANY_REVISION: i32 = 0;
/// So often in a row a revision may be refused although it was told in between; after that no more
/// is asked than whether the client is known.
const MOST_REFUSALS: u32 = 1;

/// How one Java server is vouched to. Servers of 2.2 keep the revision that they were first told of a
/// client, unless it has a batch: what is told later never agrees, and they would take the client
/// for silent.
#[derive(Default)]
struct Vouching {
    is_by_name: bool,
    /// Refusals in a row of clients of this member, at one revision.
    refusals: HashMap<Arc<str>, (i32, u32)>,
}

impl Vouching {
    fn refused(&mut self, to: &str, id: &Arc<str>, revision: i32) {
        let (at, count) = self.refusals.entry(Arc::clone(id)).or_insert((revision, 0));
        *count = if *at == revision { *count + 1 } else { 1 };
        *at = revision;
        if *count > MOST_REFUSALS && !self.is_by_name {
            tracing::info!(member = to, "a Java server keeps no revisions of clients");
            self.is_by_name = true;
            self.refusals.clear();
        }
    }

    fn taken(&mut self, id: &str) {
        self.refusals.remove(id);
    }

    fn keep(&mut self, clients: &[Arc<ClientData>]) {
        if !self.refusals.is_empty() {
            let ids: HashSet<&str> = clients.iter().map(|client| &*client.id).collect();
            self.refusals.retain(|id, _| ids.contains(&**id));
        }
    }
}

async fn keep_healthy(link: &Link) {
    loop {
        sleep(HEALTH_PERIOD).await;
        if link.check_health().await.is_err() {
            return;
        }
    }
}

/// Where a member takes the calls of others.
async fn cluster_address(member: &str) -> Result<SocketAddr, LinkError> {
    let strange = |text: String| LinkError::Strange(text);
    let (host, port) = member
        .rsplit_once(':')
        .and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)))
        .ok_or_else(|| strange(format!("{member} has no port")))?;
    let port = port
        .checked_add(PORT_OFFSET)
        .ok_or_else(|| strange(format!("no port is {PORT_OFFSET} above that of {member}")))?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let mut found = tokio::net::lookup_host((host, port))
        .await
        .map_err(|error| strange(format!("{member}: {error}")))?;
    found.next().ok_or_else(|| strange(format!("{member} has no address")))
}
