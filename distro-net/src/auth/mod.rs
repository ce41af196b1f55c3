//! How members prove to each other that they belong to one cluster.
//!
//! ```text
//! caller                                                             answerer
//!   hello: version, cluster, both member ids, start number, nonce,
//!          MAC(secret)                                          ──►  is it for me?
//!   ◄──  welcome: session id, nonce, start number, MAC(secret; hello, welcome)
//!   session key = MAC(secret; hello, welcome)
//!
//!   request: session id, counter, MAC(session key), date, message ──►  counter greater than the last?
//!   ◄──                                   reply: MAC(session key; counter), message
//! ```
//!
//! The secret itself is never sent. The nonces make every session key new, so nothing that was
//! recorded in one session is worth anything in another; within a session the counter must grow.
//! Clocks play no part in that. The date says how long after the hello a request was put together;
//! so the receiver knows how long it was on its way, and refuses what the network or a stop of the
//! sender held up. What is sent is authentic, not hidden: the network between members can
//! read it.

mod message;
mod secret;
mod session;

pub(crate) use message::{Hello, Welcome, open_reply, seal_reply};
pub(crate) use secret::MAC_BYTES;
pub use secret::{Secret, WeakSecret};
pub(crate) use session::{CallerSession, Opened, Sessions};

use distro_core::MemberId;

/// Who a member is, and what it shares with the others of its cluster.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The name of the cluster. Members of others are refused even if they know the secret.
    pub cluster: String,
    /// This member.
    pub member: MemberId,
    /// Its start number.
    pub incarnation: u32,
    /// What all members know and nobody else does.
    pub secret: Secret,
}

/// Why a request was refused. It had no effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, thiserror::Error)]
pub enum Refusal {
    /// Not a message of this protocol.
    #[error("malformed")]
    Malformed,
    /// Larger than any message may be.
    #[error("too large")]
    TooLarge,
    /// Of another major version of the protocol.
    #[error("another protocol version")]
    OtherVersion,
    /// From a member of a cluster with another name.
    #[error("another cluster")]
    OtherCluster,
    /// Meant for another member: the address list of the sender is not ours.
    #[error("meant for another member")]
    OtherMember,
    /// The sender says that it is this member: two processes were started with one address.
    #[error("the sender has the address of this member")]
    SameMember,
    /// The code does not prove knowledge of the secret.
    #[error("wrong secret")]
    WrongSecret,
    /// The session is not known (any more): the sender should begin a new one.
    #[error("unknown session")]
    UnknownSession,
    /// The counter has been used, or a later one has: a replay.
    #[error("replayed")]
    Replayed,
    /// The request was on its way for too long: what it says was so then.
    #[error("late")]
    Late,
    /// The message inside makes no sense.
    #[error("bad message")]
    BadMessage,
    /// This member cannot make nonces.
    #[error("no randomness")]
    NoRandomness,
}

impl Refusal {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Malformed,
        Self::TooLarge,
        Self::OtherVersion,
        Self::OtherCluster,
        Self::OtherMember,
        Self::SameMember,
        Self::WrongSecret,
        Self::UnknownSession,
        Self::Replayed,
        Self::Late,
        Self::BadMessage,
        Self::NoRandomness,
    ];

    /// A short name, for metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::TooLarge => "too_large",
            Self::OtherVersion => "other_version",
            Self::OtherCluster => "other_cluster",
            Self::OtherMember => "other_member",
            Self::SameMember => "same_member",
            Self::WrongSecret => "wrong_secret",
            Self::UnknownSession => "unknown_session",
            Self::Replayed => "replayed",
            Self::Late => "late",
            Self::BadMessage => "bad_message",
            Self::NoRandomness => "no_randomness",
        }
    }

    /// The HTTP status that tells the sender.
    pub fn status(self) -> u16 {
        match self {
            Self::Malformed | Self::OtherVersion | Self::BadMessage => 400,
            // A sender that still waits begins another session: the clocks of this one may be wrong.
            Self::UnknownSession | Self::Late => 401,
            Self::OtherCluster
            | Self::OtherMember
            | Self::SameMember
            | Self::WrongSecret
            | Self::Replayed => 403,
            Self::TooLarge => 413,
            Self::NoRandomness => 500,
        }
    }
}
