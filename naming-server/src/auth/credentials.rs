//! What a caller brings to prove who sends a request.

use std::borrow::Cow;
use std::net::IpAddr;

/// The proof that a front found in a request, and where the request comes from.
#[derive(Clone)]
pub(crate) struct Credentials<'a> {
    /// The address of the caller: failures are counted for each.
    pub(crate) address: IpAddr,
    /// The proof.
    pub(crate) proof: Proof<'a>,
}

/// What a request brings to prove who sent it. A front that finds several takes the first of these.
#[derive(Clone)]
pub(crate) enum Proof<'a> {
    /// A token of a log-in.
    Token(Cow<'a, str>),
    /// A name with its password.
    Password {
        /// The name.
        user: Cow<'a, str>,
        /// The password as sent.
        password: Cow<'a, str>,
    },
    /// Nothing.
    Nothing,
}
