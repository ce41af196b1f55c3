//! What clients say on the stream: who they are, and answers to requests.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use naming_model::payload::{Metadata, Payload};
use tokio::time::Instant;

use super::Front;
use super::answer::Answer;
use super::body::{Ack, Setup, read};
use super::connections::{Client, Connection};
use super::mailbox::Mailbox;
use super::status::{Failure, Status};
use crate::naming::Access;
use crate::source_rates::SourceRates;

/// Characters of the texts that a client says of itself.
const MOST_TEXT: usize = 256;
/// What this server tells clients that it can do.
const ABILITIES: [&str; 2] = ["supportPersistentInstanceByGrpc", "fuzzyWatch"];

impl Front {
    /// Takes a message on a stream. What is not understood is ignored, as in Nacos.
    ///
    /// # Errors
    /// A setup that is too large; the stream ends with it.
    pub(super) fn hear(
        &self,
        connection: &Arc<Connection>,
        mailbox: &Arc<Mailbox>,
        payload: Payload,
    ) -> Result<(), Failure> {
        let (metadata, body) = payload.into_parts();
        if metadata.kind == "ConnectionSetupRequest" {
            self.heard(connection);
            return match read(&body) {
                Ok(setup) => self.set_up(connection, mailbox, &metadata, setup),
                // A good one may follow.
                Err(_) => Ok(()),
            };
        }
        if metadata.kind.ends_with("Response")
            && let Ok(ack) = read::<Ack>(&body)
        {
            self.acked(connection, mailbox, &ack);
        }
        Ok(())
    }

    fn acked(&self, connection: &Arc<Connection>, mailbox: &Mailbox, ack: &Ack) {
        let is_success = ack.result_code == 200;
        // Who says of itself that it is not there is not heard.
        if is_success || !connection.was_asked(&ack.request_id) {
            self.heard(connection);
        }
        if let Ok(request) = ack.request_id.parse() {
            connection.pushes.acked(request, is_success);
            self.watch_acked(connection, request, is_success);
            mailbox.wake();
        }
    }

    fn set_up(
        &self,
        connection: &Arc<Connection>,
        mailbox: &Arc<Mailbox>,
        metadata: &Metadata,
        setup: Setup,
    ) -> Result<(), Failure> {
        let wants_ack = setup.ability_table.is_some();
        let changing = connection.changing.lock();
        if connection.is_over() {
            return Ok(());
        }
        if connection.client().is_none() {
            if !self.may_set_up(connection) {
                connection.cut();
                return Ok(());
            }
            let client = client_of(setup, metadata)?;
            tracing::debug!(id = connection.id(), version = &*client.version, "client connected");
            // Held before it is known: what it registers must find who holds it.
            self.holder.begin(connection, &client, self.tells_hosts, self.now());
            self.connections.set_up(connection, client);
            self.stats.setups.fetch_add(1, Relaxed);
        }
        drop(changing);
        connection.attach(mailbox);
        if wants_ack && !mailbox.post(Answer::setup_ack(&ABILITIES)) {
            connection.cut();
        }
        Ok(())
    }

    /// Whether a client may be taken on. One that may not finds its connection closed, and tries
    /// another server.
    fn may_set_up(&self, connection: &Connection) -> bool {
        if self.peers.is_some() {
            return true;
        }
        if self.draining.is_cancelled() || !self.is_open(connection, Access::Write) {
            return false;
        }
        let is_in_time = self.setups.allow(connection.peer().ip(), Instant::now());
        if !is_in_time && self.stats.setups_refused.fetch_add(1, Relaxed) == 0 {
            let peer = connection.peer();
            tracing::warn!(%peer, "too many setups in a second from one address; closing some");
        }
        is_in_time
    }
}

fn client_of(setup: Setup, metadata: &Metadata) -> Result<Client, Failure> {
    let Setup { client_version, tenant, labels, .. } = setup;
    let texts = [&*client_version, &*tenant, &*metadata.client_ip];
    if labels.is_too_long || texts.iter().any(|text| text.chars().count() > MOST_TEXT) {
        let text = format!(
            "the setup is too long: clientVersion, tenant and clientIp have {MOST_TEXT} characters \
             at most, and labels {} together",
            super::body::MOST_LABELS
        );
        return Err(Failure::new(Status::InvalidArgument, text));
    }
    Ok(Client {
        version: client_version.into(),
        tenant: tenant.into(),
        labels: labels.map,
        shown_ip: metadata.client_ip.as_str().into(),
    })
}

/// How many setups come from each address in a second.
pub(super) struct SetupRates {
    most: AtomicU32,
    began: Instant,
    rates: SourceRates,
}

impl SetupRates {
    /// `most` in a second from one address; 0 for any number.
    pub(super) fn new(most: u32) -> Self {
        let (began, rates) = (Instant::now(), SourceRates::default());
        Self { most: AtomicU32::new(most), began, rates }
    }

    /// Another number, from now on.
    pub(super) fn change(&self, most: u32) {
        self.most.store(most, Relaxed);
    }

    /// Counts a setup. False if there have been too many.
    fn allow(&self, ip: IpAddr, now: Instant) -> bool {
        let most = self.most.load(Relaxed);
        let second = now.saturating_duration_since(self.began).as_secs() as u32;
        most == 0 || ip.is_loopback() || self.rates.allow(ip, second, most)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Duration;

    use super::*;

    #[test]
    fn an_address_has_so_many_setups_in_a_second() {
        let rates = SetupRates::new(3);
        let start = Instant::now();
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let allow = |text, ms| rates.allow(ip(text), start + Duration::from_millis(ms));
        assert!((0..3).all(|_| allow("10.0.0.1", 10)));
        assert!(!allow("10.0.0.1", 20) && allow("10.0.0.2", 20));
        assert!((0..3).all(|n| allow(["2001:db8::1", "2001:db8::2"][n % 2], 30)));
        assert!(!allow("2001:db8::3", 30) && allow("2001:db8:0:1::1", 30));
        assert!((0..9).all(|_| allow("127.0.0.1", 40)));
        assert!((0..3).all(|_| allow("10.0.0.1", 1_100)) && !allow("10.0.0.1", 1_200));
    }
}
