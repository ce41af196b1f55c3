//! Showing a password to a server that does not remember it: encrypted with its public RSA key,
//! which it sends as PEM.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mysql_common::crypto::rsa::{GetRandom, Pkcs1OaepPadding, PublicKey};
use mysql_common::num_bigint::BigUint;

use super::{End, NO_MYSQL, Nonce};

const BEGIN: &str = "-----BEGIN PUBLIC KEY-----";
const END: &str = "-----END PUBLIC KEY-----";

/// Bits of keys: those of servers have 2,048. Longer ones take longer to encrypt with.
const FEWEST_BITS: u64 = 1_024;
const MOST_BITS: u64 = 4_096;
/// Of the exponent, which is 65,537 as a rule.
const MOST_EXPONENT_BITS: u64 = 32;
/// Bytes that the padding takes.
const PADDING: u64 = 42;

/// Tags of DER.
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const SEQUENCE: u8 = 0x30;

/// A password for the eyes of whoever has the private key.
pub(super) fn seal(password: &str, nonce: &Nonce, pem: &[u8]) -> Result<Vec<u8>, End> {
    let (modulus, exponent) = parse(pem).ok_or(NO_MYSQL)?;
    let is_good = (FEWEST_BITS..=MOST_BITS).contains(&modulus.bits())
        && modulus.bit(0)
        && exponent.bit(0)
        && (2..=MOST_EXPONENT_BITS).contains(&exponent.bits());
    if !is_good {
        return Err(NO_MYSQL);
    }
    let secret = password.bytes().chain([0]).zip(nonce.iter().cycle());
    let secret: Vec<u8> = secret.map(|(byte, mask)| byte ^ mask).collect();
    if secret.len() as u64 + PADDING >= modulus.bits() / 8 {
        return Err(End::Refused("the password is too long for the key of the server".into()));
    }
    let key = PublicKey::new(modulus, exponent);
    let sealed = key.encrypt_block(secret, Pkcs1OaepPadding::new(GetRandom));
    sealed.map_err(|_| End::Broken("there is no randomness".into()))
}

/// Modulus and exponent.
fn parse(pem: &[u8]) -> Option<(BigUint, BigUint)> {
    let text = str::from_utf8(pem).ok()?.trim_matches(['\0', ' ', '\n', '\r']);
    let body = text.strip_prefix(BEGIN)?.strip_suffix(END)?;
    let body: String = body.split_ascii_whitespace().collect();
    let der = STANDARD.decode(body).ok()?;
    let mut outer = element(SEQUENCE, &mut &*der)?;
    let _algorithm = element(SEQUENCE, &mut outer)?;
    let mut bits = element(BIT_STRING, &mut outer)?.strip_prefix(&[0])?;
    let mut numbers = element(SEQUENCE, &mut bits)?;
    let modulus = element(INTEGER, &mut numbers)?;
    let exponent = element(INTEGER, &mut numbers)?;
    Some((BigUint::from_bytes_be(modulus), BigUint::from_bytes_be(exponent)))
}

/// The content of an element at the beginning of `bytes`, which is taken away.
fn element<'a>(tag: u8, bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let rest = bytes.strip_prefix(&[tag])?;
    let (length, rest) = match *rest {
        [length @ 0..=0x7f, ref rest @ ..] => (usize::from(length), rest),
        [0x81, length, ref rest @ ..] => (usize::from(length), rest),
        [0x82, high, low, ref rest @ ..] => (usize::from(u16::from_be_bytes([high, low])), rest),
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    *bytes = rest;
    Some(content)
}
