//! Sessions: on the answering side a bounded table of them, on the calling side one for each
//! connection.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use distro_core::{MemberId, Now, Passage, Sender, Tick};
use parking_lot::Mutex;
use prost::Message;

use super::message::{SealedRequest, TELLS_TIME_SINCE, dated, seal_request, split_date};
use super::secret::nonce;
use super::{Hello, Identity, Refusal, Secret, Welcome, open_reply};

/// Sessions that one member may have: more than the connections of its pool. As many more may have
/// begun and not yet proved that the member knows the secret.
const SESSIONS_PER_MEMBER: usize = 64;

/// Sessions in all, of those that have proved it and of those that have not.
const MOST_SESSIONS: usize = 4_096;

/// A session whose first request does not come within so long is forgotten: a member sends it at
/// once.
const UNPROVED_FOR: Duration = Duration::from_secs(20);

/// A session that was not used for so long is forgotten.
const IDLE_FOR: Duration = Duration::from_secs(300);

/// The sessions of those who call this member.
#[derive(Default)]
pub(crate) struct Sessions {
    table: Mutex<HashMap<u64, Session>>,
}

struct Session {
    key: Secret,
    sender: Sender,
    /// Of the last request; zero until the first one has proved that the caller knows the key.
    counter: u64,
    used: Tick,
    passage: Passage,
}

impl Session {
    /// Whether the caller has proved that it knows the secret now, and not only when it was recorded.
    fn is_proved(&self) -> bool {
        self.counter > 0
    }
}

/// A request of a known sender.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) session: u64,
    pub(crate) sender: Sender,
    /// How long ago it was put together; zero if the sender does not say.
    pub(crate) in_transit: Duration,
    pub(crate) counter: u64,
    pub(crate) key: Secret,
    pub(crate) message: Bytes,
}

impl Sessions {
    /// Answers a hello. Returns the welcome, and what the hello said.
    pub(crate) fn begin(
        &self,
        sealed: &Bytes,
        identity: &Identity,
        now: Now,
    ) -> Result<(Vec<u8>, Hello), Refusal> {
        // The bytes as they came make the key, not what they mean: a newer release may have added
        // something to them.
        let (hello, hello_body) = Hello::open(sealed, identity)?;
        let nonce = nonce().map_err(|_| Refusal::NoRandomness)?;
        let id = nonce.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        let welcome = Welcome {
            major: crate::codec::MAJOR,
            minor: crate::codec::MINOR,
            session: id,
            nonce: Bytes::copy_from_slice(&nonce),
            incarnation: identity.incarnation,
            wall_ms: now.wall_ms,
        };
        let body = welcome.encode_to_vec();
        let sender = Sender {
            member: MemberId(hello.source),
            incarnation: hello.incarnation,
            minor: hello.minor,
        };
        // It is answered by the secret that it knows.
        let secret = Hello::proof(sealed, &identity.secret).ok_or(Refusal::WrongSecret)?;
        let key = secret.session_key(&hello_body, &body);
        let mut table = self.table.lock();
        forget_idle(&mut table, now.tick);
        make_room(&mut table, sender.member, false);
        let (used, passage) = (now.tick, Passage::begin(now.tick));
        table.insert(id, Session { key, sender, counter: 0, used, passage });
        Ok((Welcome::seal(secret, &hello_body, &body), hello))
    }

    /// Checks a request: a known session, its code, and a counter that was not seen before.
    pub(crate) fn open(&self, sealed: Bytes, now: Tick) -> Result<Opened, Refusal> {
        let request = SealedRequest::split(sealed)?;
        let key = {
            let table = self.table.lock();
            let session = table.get(&request.session).ok_or(Refusal::UnknownSession)?;
            session.key.clone()
        };
        // Not under the lock: a large message takes a millisecond.
        if !request.is_authentic(&key) {
            return Err(Refusal::WrongSecret);
        }
        let mut table = self.table.lock();
        let is_first = table.get(&request.session).is_some_and(|session| !session.is_proved());
        if let Some(member) = is_first.then(|| table[&request.session].sender.member) {
            make_room(&mut table, member, true);
        }
        let session = table.get_mut(&request.session).ok_or(Refusal::UnknownSession)?;
        if request.counter <= session.counter {
            return Err(Refusal::Replayed);
        }
        session.counter = request.counter;
        session.used = now;
        let (sender, counter) = (session.sender, request.counter);
        let (in_transit, message) = match sender.minor {
            TELLS_TIME_SINCE.. => {
                let (sent_ms, message) = split_date(request.message)?;
                (session.passage.took(sent_ms, now), message)
            }
            _ => (Duration::ZERO, request.message),
        };
        Ok(Opened { session: request.session, sender, in_transit, counter, key, message })
    }

    /// Ends a session: its caller must begin another one.
    pub(crate) fn end(&self, session: u64) {
        self.table.lock().remove(&session);
    }

    /// All sessions end; whoever knows the secret begins another at once.
    pub(crate) fn forget_all(&self) {
        self.table.lock().clear();
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.table.lock().len()
    }
}

fn forget_idle(table: &mut HashMap<u64, Session>, now: Tick) {
    table.retain(|_, session| {
        let limit = if session.is_proved() { IDLE_FOR } else { UNPROVED_FOR };
        now.since(session.used) < limit
    });
}

/// Forgets the session that was idle for longest, if there are too many of its kind. Those that
/// have proved themselves make room for nothing but another that has: a recorded hello that is sent
/// again and again, which proves nothing, drives out nobody who works.
fn make_room(table: &mut HashMap<u64, Session>, member: MemberId, is_proved: bool) {
    let of_kind = |session: &Session| session.is_proved() == is_proved;
    let of_member = |session: &Session| of_kind(session) && session.sender.member == member;
    if table.values().filter(|session| of_member(session)).count() >= SESSIONS_PER_MEMBER {
        drop_least(table, of_member);
    } else if table.values().filter(|session| of_kind(session)).count() >= MOST_SESSIONS {
        drop_least(table, of_kind);
    }
}

fn drop_least(table: &mut HashMap<u64, Session>, which: impl Fn(&Session) -> bool) {
    let candidates = table.iter().filter(|(_, session)| which(session));
    let least = candidates.min_by_key(|(id, session)| (session.used, **id));
    if let Some(id) = least.map(|(id, _)| *id) {
        table.remove(&id);
    }
}

/// A session of the calling side. Belongs to one connection, on which one request follows the
/// other, so that its counters arrive in order.
#[derive(Debug)]
pub(crate) struct CallerSession {
    key: Secret,
    id: u64,
    counter: u64,
    /// When this side asked for it.
    began: Tick,
    /// What the wall clock of the other side showed.
    pub(crate) wall_ms: u64,
    /// The minor version that the other side speaks.
    pub(crate) minor: u32,
}

impl CallerSession {
    /// The bytes of the first message to `target`: to be sent sealed, and to be given to
    /// [`Self::begin`] with what comes back.
    pub(crate) fn hello(
        identity: &Identity,
        target: MemberId,
        wall_ms: u64,
    ) -> Result<Vec<u8>, Refusal> {
        let nonce = nonce().map_err(|_| Refusal::NoRandomness)?;
        Ok(Hello::new(identity, target, nonce, wall_ms).encode_to_vec())
    }

    /// The session that a welcome opens.
    pub(crate) fn begin(secret: &Secret, hello: &[u8], welcome: &Bytes) -> Result<Self, Refusal> {
        let (welcome, body) = Welcome::open(welcome, secret, hello)?;
        let Welcome { session, wall_ms, minor, .. } = welcome;
        let key = secret.session_key(hello, &body);
        Ok(Self { key, id: session, counter: 0, began: Tick::ZERO, wall_ms, minor })
    }

    /// The same, if the hello was sent then.
    pub(crate) fn asked_for_at(self, began: Tick) -> Self {
        Self { began, ..self }
    }

    /// The next request, put together at `as_of`.
    pub(crate) fn seal(&mut self, message: &[u8], as_of: Tick) -> Vec<u8> {
        self.counter += 1;
        if self.minor < TELLS_TIME_SINCE {
            return seal_request(&self.key, self.id, self.counter, message);
        }
        let ms = |tick: Tick| i64::try_from(tick.as_ms()).unwrap_or(i64::MAX);
        let message = dated(ms(as_of) - ms(self.began), message);
        seal_request(&self.key, self.id, self.counter, &message)
    }

    /// The reply to the last request.
    pub(crate) fn open(&self, sealed: Bytes) -> Result<Bytes, Refusal> {
        open_reply(&self.key, self.counter, sealed)
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
