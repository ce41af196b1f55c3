//! Cookies of DNS (RFC 7873, in the form of RFC 9018): who shows one has received an answer at the
//! address that the question comes from.

use std::net::IpAddr;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Bytes of the half that a client makes up.
pub(super) const CLIENT_BYTES: usize = 8;
/// Bytes of the half that this server makes.
const SERVER_BYTES: usize = 16;
/// Bytes of the check within the latter.
const CHECK_BYTES: usize = 8;
/// Bytes of the longest half that another server may have made.
const MOST_SERVER_BYTES: usize = 32;
/// Bytes of both halves.
pub(super) const BYTES: usize = CLIENT_BYTES + SERVER_BYTES;

/// For how many seconds a cookie holds.
const LIFETIME_S: u32 = 3_600;
/// By how many seconds the clock may have been set back since it was made.
const AHEAD_S: u32 = 300;
/// The version of the form, and three bytes for later.
const VERSION: [u8; 4] = [1, 0, 0, 0];

/// Makes cookies and knows them again. A key of this process is in each: other servers take none of
/// them, and their clients come by TCP once.
pub(super) struct Cookies(Hmac<Sha256>);

/// What a question says of a cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    /// The client has one from nobody, or from another server or process, or an old one.
    Client([u8; CLIENT_BYTES]),
    /// The client has one of this server.
    Good([u8; CLIENT_BYTES]),
}

impl Shown {
    pub(super) fn client(self) -> [u8; CLIENT_BYTES] {
        let (Self::Client(client) | Self::Good(client)) = self;
        client
    }
}

impl Cookies {
    /// # Errors
    /// The system has no random numbers.
    pub(super) fn new() -> Result<Self, getrandom::Error> {
        let mut key = [0; 32];
        getrandom::fill(&mut key)?;
        Ok(Self(Hmac::new_from_slice(&key).expect("HMAC takes keys of any length")))
    }

    /// Reads the cookie of a question. `None` if it has a length that no cookie has.
    pub(super) fn read(&self, cookie: &[u8], ip: IpAddr, now_s: u32) -> Option<Shown> {
        let (client, server) = cookie.split_first_chunk::<CLIENT_BYTES>()?;
        let known = match server.len() {
            0 => false,
            SERVER_BYTES => self.is_mine(client, server, ip, now_s),
            CHECK_BYTES..=MOST_SERVER_BYTES => false,
            _ => return None,
        };
        Some(if known { Shown::Good(*client) } else { Shown::Client(*client) })
    }

    fn is_mine(&self, client: &[u8; 8], server: &[u8], ip: IpAddr, now_s: u32) -> bool {
        let Some((head, check)) = server.split_at_checked(SERVER_BYTES - CHECK_BYTES) else {
            return false;
        };
        let Some(made_s) = head.last_chunk().map(|bytes| u32::from_be_bytes(*bytes)) else {
            return false;
        };
        // Times wrap around, as serial numbers do.
        let is_current =
            now_s.wrapping_sub(made_s) <= LIFETIME_S || made_s.wrapping_sub(now_s) <= AHEAD_S;
        let mac = self.mac(client, head, ip);
        // In constant time.
        head.starts_with(&VERSION) && is_current && mac.verify_truncated_left(check).is_ok()
    }

    /// A whole cookie for a client.
    pub(super) fn make(&self, client: [u8; CLIENT_BYTES], ip: IpAddr, now_s: u32) -> [u8; BYTES] {
        let mut head = [0; SERVER_BYTES - CHECK_BYTES];
        head[..VERSION.len()].copy_from_slice(&VERSION);
        head[VERSION.len()..].copy_from_slice(&now_s.to_be_bytes());
        let check = self.mac(&client, &head, ip).finalize().into_bytes();
        let mut cookie = [0; BYTES];
        cookie[..CLIENT_BYTES].copy_from_slice(&client);
        cookie[CLIENT_BYTES..BYTES - CHECK_BYTES].copy_from_slice(&head);
        cookie[BYTES - CHECK_BYTES..].copy_from_slice(&check[..CHECK_BYTES]);
        cookie
    }

    fn mac(&self, client: &[u8; 8], head: &[u8], ip: IpAddr) -> Hmac<Sha256> {
        let ip = match ip.to_canonical() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        self.0.clone().chain_update(client).chain_update(head).chain_update(ip.octets())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: [u8; 8] = *b"a client";

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_cookie_holds_for_its_address_for_an_hour() {
        let cookies = Cookies::new().unwrap();
        let cookie = cookies.make(CLIENT, ip("10.0.0.1"), 10_000);
        let shown = |from: &str, now_s| cookies.read(&cookie, ip(from), now_s);
        for now_s in [9_700, 10_000, 13_600] {
            assert_eq!(shown("10.0.0.1", now_s), Some(Shown::Good(CLIENT)), "{now_s}");
        }
        assert_eq!(shown("::ffff:10.0.0.1", 10_000), Some(Shown::Good(CLIENT)));
        for (from, now_s) in [("10.0.0.2", 10_000), ("10.0.0.1", 9_699), ("10.0.0.1", 13_601)] {
            assert_eq!(shown(from, now_s), Some(Shown::Client(CLIENT)), "{from} {now_s}");
        }
    }

    #[test]
    fn no_byte_of_a_cookie_may_change() {
        let cookies = Cookies::new().unwrap();
        let cookie = cookies.make(CLIENT, ip("10.0.0.1"), 10_000);
        for at in 0..BYTES {
            let mut other = cookie;
            other[at] ^= 1;
            let shown = cookies.read(&other, ip("10.0.0.1"), 10_000);
            assert!(matches!(shown, Some(Shown::Client(_))), "{at}");
        }
        let others = Cookies::new().unwrap().read(&cookie, ip("10.0.0.1"), 10_000);
        assert_eq!(others, Some(Shown::Client(CLIENT)), "another process has another key");
    }

    #[test]
    fn cookies_have_certain_lengths() {
        let cookies = Cookies::new().unwrap();
        let long = [7; 64];
        let read = |length: usize| cookies.read(&long[..length], ip("10.0.0.1"), 1);
        for length in [0, 1, 7, 9, 15, 41, 64] {
            assert_eq!(read(length), None, "{length}");
        }
        for length in [8, 16, 24, 40] {
            assert_eq!(read(length), Some(Shown::Client([7; 8])), "{length}");
        }
    }
}
