//! Logging in: by `mysql_native_password`, which MariaDB and old servers ask for, or by
//! `caching_sha2_password`, which MySQL asks for since 8.0. The connection is not encrypted.

use mysql_common::auth::plugins::caching_sha2_password::scramble_sha256;
use mysql_common::auth::plugins::mysql_native_password::scramble_native;
use mysql_common::constants::CapabilityFlags;
use mysql_common::packets::{AuthPlugin, HandshakeResponse};
use mysql_common::proto::MySerialize;

use super::key;
use super::wire::{MOST_BYTES, OK, Wire};
use super::{End, NO_MYSQL, Nonce};

/// Packets from the greeting to the word that we are in; no way takes as many.
const MOST_STEPS: usize = 8;

/// The first byte of what a server says meanwhile.
const SWITCH: u8 = 0xfe;
const MORE: u8 = 0x01;
/// The second one, by `caching_sha2_password`: it remembers the password, or has to see it.
const KNOWN: u8 = 0x03;
const UNKNOWN: u8 = 0x04;
/// Asks for the key by which it may be shown.
const ASK_FOR_KEY: u8 = 0x02;

/// What server and client both must know. Servers do since 5.5.
const NEEDED: CapabilityFlags = CapabilityFlags::CLIENT_PROTOCOL_41
    .union(CapabilityFlags::CLIENT_SECURE_CONNECTION)
    .union(CapabilityFlags::CLIENT_PLUGIN_AUTH);

/// A way to prove that one knows the password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    Native,
    Sha2,
}

impl Method {
    fn of(plugin: &AuthPlugin<'_>) -> Option<Self> {
        match plugin {
            AuthPlugin::MysqlNativePassword => Some(Self::Native),
            AuthPlugin::CachingSha2Password => Some(Self::Sha2),
            _ => None,
        }
    }

    fn plugin(self) -> AuthPlugin<'static> {
        match self {
            Self::Native => AuthPlugin::MysqlNativePassword,
            Self::Sha2 => AuthPlugin::CachingSha2Password,
        }
    }

    /// Nothing for no password.
    fn proof(self, nonce: &Nonce, password: &str) -> Vec<u8> {
        let password = password.as_bytes();
        let proof = match self {
            Self::Native => scramble_native(nonce, password).map(Vec::from),
            Self::Sha2 => scramble_sha256(nonce, password).map(Vec::from),
        };
        proof.unwrap_or_default()
    }
}

/// Logs in over a connection that was just made.
pub(super) async fn log_in(wire: &mut Wire, user: &str, password: &str) -> Result<(), End> {
    // An error in place of a greeting: too many connections, or none for us.
    let greeting = wire.read_unless_error().await?;
    let (plugin, mut nonce) = greeted(&greeting).ok_or(NO_MYSQL)?;
    // The server asks for another one if its user has another.
    let mut method = Method::of(&plugin).unwrap_or(Method::Native);
    wire.write(&response(method, &nonce, user, password)).await?;
    let mut awaits_key = false;
    for _ in 0..MOST_STEPS {
        let packet = wire.read_unless_error().await?;
        match (packet.split_first(), method) {
            (Some((&OK, _)), _) => return Ok(()),
            (Some((&SWITCH, request)), _) => {
                (method, nonce) = switched(request)?;
                awaits_key = false;
                wire.write(&method.proof(&nonce, password)).await?;
            }
            (Some((&MORE, [KNOWN])), Method::Sha2) => {}
            (Some((&MORE, [UNKNOWN])), Method::Sha2) => {
                awaits_key = true;
                wire.write(&[ASK_FOR_KEY]).await?;
            }
            (Some((&MORE, pem)), Method::Sha2) if awaits_key => {
                awaits_key = false;
                wire.write(&key::seal(password, &nonce, pem)?).await?;
            }
            _ => return Err(NO_MYSQL),
        }
    }
    Err(NO_MYSQL)
}

/// The way that a greeting asks for, and its nonce.
fn greeted(greeting: &[u8]) -> Option<(AuthPlugin<'_>, Nonce)> {
    const VERSION: u8 = 10;
    let rest = greeting.strip_prefix(&[VERSION])?;
    let (_server_version, rest) = split_at_zero(rest)?;
    let (_connection, rest) = rest.split_first_chunk::<4>()?;
    let (head, rest) = rest.split_first_chunk::<8>()?;
    let ([_filler, c0, c1, _charset, _s0, _s1, c2, c3, _length], rest) =
        rest.split_first_chunk()?;
    let capabilities = CapabilityFlags::from_bits_retain(u32::from_le_bytes([*c0, *c1, *c2, *c3]));
    let (_reserved, rest) = rest.split_first_chunk::<10>()?;
    let (tail, rest) = rest.split_first_chunk::<12>()?;
    let (_zero, plugin) = rest.split_first()?;
    let mut nonce = Nonce::default();
    nonce.iter_mut().zip(head.iter().chain(tail)).for_each(|(byte, said)| *byte = *said);
    let plugin = split_at_zero(plugin).map_or(plugin, |(name, _)| name);
    capabilities.contains(NEEDED).then(|| (AuthPlugin::from_bytes(plugin), nonce))
}

/// What a request to log in another way asks for.
fn switched(request: &[u8]) -> Result<(Method, Nonce), End> {
    // Without a name: the way of servers from before 4.1.
    let (name, data) = split_at_zero(request).unwrap_or_default();
    let unknown = || End::Refused("the server asks for a login that is not known here".into());
    let method = Method::of(&AuthPlugin::from_bytes(name)).ok_or_else(unknown)?;
    let nonce = data.strip_suffix(&[0]).unwrap_or(data);
    // A nonce may end with a zero of its own.
    let nonce = nonce.try_into().or_else(|_| data.try_into()).map_err(|_| NO_MYSQL)?;
    Ok((method, nonce))
}

fn response(method: Method, nonce: &Nonce, user: &str, password: &str) -> Vec<u8> {
    let long = CapabilityFlags::CLIENT_LONG_PASSWORD | CapabilityFlags::CLIENT_TRANSACTIONS;
    let response = HandshakeResponse::new(
        Some(method.proof(nonce, password)),
        // Decides on the character set: that of all who know the capabilities above.
        (5, 5, 3),
        Some(user.as_bytes()),
        None::<&[u8]>,
        Some(method.plugin()),
        NEEDED | long,
        None,
        MOST_BYTES as u32,
    );
    let mut bytes = Vec::new();
    response.serialize(&mut bytes);
    bytes
}

fn split_at_zero(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|byte| *byte == 0)?;
    let (head, tail) = bytes.split_at_checked(end)?;
    Some((head, tail.get(1..)?))
}
