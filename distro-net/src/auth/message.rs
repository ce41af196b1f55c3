//! The bytes of the handshake and around each request and reply.

use bytes::Bytes;
use distro_core::MemberId;
use prost::Message;

use super::secret::{MAC_BYTES, NONCE_BYTES, Purpose, Secret};
use super::{Identity, Refusal};
use crate::codec::{MAJOR, MINOR};

/// Opens a session.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Hello {
    #[prost(uint32, tag = "1")]
    pub(crate) major: u32,
    #[prost(uint32, tag = "2")]
    pub(crate) minor: u32,
    #[prost(string, tag = "3")]
    pub(crate) cluster: String,
    #[prost(fixed32, tag = "4")]
    pub(crate) source: u32,
    #[prost(fixed32, tag = "5")]
    pub(crate) target: u32,
    #[prost(fixed32, tag = "6")]
    pub(crate) incarnation: u32,
    #[prost(bytes = "bytes", tag = "7")]
    pub(crate) nonce: Bytes,
    /// The wall clock of the sender, in milliseconds since the Unix epoch. Nothing is decided by
    /// it; clocks that are far apart are worth a warning.
    #[prost(uint64, tag = "8")]
    pub(crate) wall_ms: u64,
}

/// The answer to [`Hello`].
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Welcome {
    #[prost(uint32, tag = "1")]
    pub(crate) major: u32,
    #[prost(uint32, tag = "2")]
    pub(crate) minor: u32,
    #[prost(fixed64, tag = "3")]
    pub(crate) session: u64,
    #[prost(bytes = "bytes", tag = "4")]
    pub(crate) nonce: Bytes,
    #[prost(fixed32, tag = "5")]
    pub(crate) incarnation: u32,
    #[prost(uint64, tag = "6")]
    pub(crate) wall_ms: u64,
}

/// More bytes than any hello or welcome needs.
const MOST_HANDSHAKE_BYTES: usize = 4_096;

impl Hello {
    /// The first message to a member.
    pub(crate) fn new(
        identity: &Identity,
        target: MemberId,
        nonce: [u8; NONCE_BYTES],
        wall_ms: u64,
    ) -> Self {
        Self {
            major: MAJOR,
            minor: MINOR,
            cluster: identity.cluster.clone(),
            source: identity.member.0,
            target: target.0,
            incarnation: identity.incarnation,
            nonce: Bytes::copy_from_slice(&nonce),
            wall_ms,
        }
    }

    /// As it is sent: the proof, then these bytes.
    pub(crate) fn seal(secret: &Secret, body: &[u8]) -> Vec<u8> {
        [&secret.mac(Purpose::Hello, &[body])[..], body].concat()
    }

    /// Checks what was received, for the member of this identity, and returns it and its bytes
    /// without the proof. The name of the cluster is checked before the secret: it is no secret,
    /// and tells more of what is wrong.
    pub(crate) fn open(sealed: &Bytes, identity: &Identity) -> Result<(Self, Bytes), Refusal> {
        let (_, body) = split_handshake(sealed)?;
        let hello = Self::decode(body.clone()).map_err(|_| Refusal::Malformed)?;
        if hello.major != MAJOR {
            return Err(Refusal::OtherVersion);
        }
        if hello.cluster != identity.cluster {
            return Err(Refusal::OtherCluster);
        }
        if Self::proof(sealed, &identity.secret).is_none() {
            return Err(Refusal::WrongSecret);
        }
        if hello.nonce.len() != NONCE_BYTES {
            return Err(Refusal::Malformed);
        }
        if hello.source == identity.member.0 {
            return Err(Refusal::SameMember);
        }
        if hello.target != identity.member.0 {
            return Err(Refusal::OtherMember);
        }
        Ok((hello, body))
    }

    /// Which of the secrets that are accepted a hello proves knowledge of.
    pub(crate) fn proof<'a>(sealed: &Bytes, secret: &'a Secret) -> Option<&'a Secret> {
        let (code, body) = split_handshake(sealed).ok()?;
        secret.all().find(|one| one.verify(Purpose::Hello, &[&body], &code))
    }
}

impl Welcome {
    /// As it is sent: the proof, then these bytes.
    pub(crate) fn seal(secret: &Secret, hello: &[u8], body: &[u8]) -> Vec<u8> {
        [&secret.mac(Purpose::Welcome, &[hello, body])[..], body].concat()
    }

    /// Checks what came back for a hello, and returns it and its bytes without the proof.
    pub(crate) fn open(
        sealed: &Bytes,
        secret: &Secret,
        hello: &[u8],
    ) -> Result<(Self, Bytes), Refusal> {
        let (code, body) = split_handshake(sealed)?;
        if !secret.verify(Purpose::Welcome, &[hello, &body], &code) {
            return Err(Refusal::WrongSecret);
        }
        let welcome = Self::decode(body.clone()).map_err(|_| Refusal::Malformed)?;
        if welcome.major != MAJOR {
            return Err(Refusal::OtherVersion);
        }
        if welcome.nonce.len() != NONCE_BYTES {
            return Err(Refusal::Malformed);
        }
        Ok((welcome, body))
    }
}

fn split_handshake(sealed: &Bytes) -> Result<(Bytes, Bytes), Refusal> {
    if sealed.len() < MAC_BYTES {
        return Err(Refusal::Malformed);
    }
    if sealed.len() > MOST_HANDSHAKE_BYTES {
        return Err(Refusal::TooLarge);
    }
    Ok((sealed.slice(..MAC_BYTES), sealed.slice(MAC_BYTES..)))
}

/// A request as it is sent: session, counter, code, message.
pub(crate) fn seal_request(key: &Secret, session: u64, counter: u64, message: &[u8]) -> Vec<u8> {
    let (session, counter) = (session.to_le_bytes(), counter.to_le_bytes());
    let code = key.mac(Purpose::Request, &[&session, &counter, message]);
    [&session, &counter, &code[..], message].concat()
}

/// The parts of a request that was received; nothing is checked yet.
pub(crate) struct SealedRequest {
    pub(crate) session: u64,
    pub(crate) counter: u64,
    code: Bytes,
    pub(crate) message: Bytes,
}

impl SealedRequest {
    pub(crate) fn split(mut sealed: Bytes) -> Result<Self, Refusal> {
        const NUMBER_BYTES: usize = 8;
        if sealed.len() < 2 * NUMBER_BYTES + MAC_BYTES {
            return Err(Refusal::Malformed);
        }
        let mut number = || {
            let bytes = sealed.split_to(NUMBER_BYTES);
            <[u8; NUMBER_BYTES]>::try_from(&*bytes).map_or(0, u64::from_le_bytes)
        };
        let (session, counter) = (number(), number());
        let code = sealed.split_to(MAC_BYTES);
        Ok(Self { session, counter, code, message: sealed })
    }

    pub(crate) fn is_authentic(&self, key: &Secret) -> bool {
        let (session, counter) = (self.session.to_le_bytes(), self.counter.to_le_bytes());
        key.verify(Purpose::Request, &[&session, &counter, &self.message], &self.code)
    }
}

/// A message and before it when it was put together, in milliseconds since the session began by
/// the clock of who sends it. So it is sent to members of [`TELLS_TIME_SINCE`].
pub(crate) fn dated(sent_ms: i64, message: &[u8]) -> Vec<u8> {
    [&sent_ms.to_le_bytes()[..], message].concat()
}

/// When a message was put together, and the message.
pub(crate) fn split_date(mut dated: Bytes) -> Result<(i64, Bytes), Refusal> {
    let sent_ms = *dated.first_chunk().ok_or(Refusal::Malformed)?;
    let message = dated.split_off(size_of::<i64>());
    Ok((i64::from_le_bytes(sent_ms), message))
}

/// The minor version from which on requests say when they were put together.
pub(crate) const TELLS_TIME_SINCE: u32 = 4;

/// A reply as it is sent: code, message.
pub(crate) fn seal_reply(key: &Secret, counter: u64, message: &[u8]) -> Vec<u8> {
    let code = key.mac(Purpose::Reply, &[&counter.to_le_bytes(), message]);
    [&code[..], message].concat()
}

/// The message of the reply to the request with this counter.
pub(crate) fn open_reply(key: &Secret, counter: u64, mut sealed: Bytes) -> Result<Bytes, Refusal> {
    if sealed.len() < MAC_BYTES {
        return Err(Refusal::Malformed);
    }
    let code = sealed.split_to(MAC_BYTES);
    if key.verify(Purpose::Reply, &[&counter.to_le_bytes(), &sealed], &code) {
        Ok(sealed)
    } else {
        Err(Refusal::WrongSecret)
    }
}
