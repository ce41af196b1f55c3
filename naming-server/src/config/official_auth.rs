//! Who may do what, from the variables of the image of Nacos.

use anyhow::{Result, anyhow, bail, ensure};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::variables::{Reader, Translation};
use crate::auth::TokenKey;

/// Values that stand in the documentation of Nacos or were its defaults. The sender of such a
/// header is an administrator.
const PUBLIC_IDENTITIES: &[&str] =
    &["security", "serveridentity", "example", "nacos", "test", "value", "key", "authvalue"];
/// Shorter ones are soon found by trying.
const LEAST_IDENTITY_BYTES: usize = 8;

/// What the secret of members is made for.
const PURPOSE: &[u8] = b"naming-server: secret of the members of a cluster";

/// Translates what is about users and tokens. `is_member` says whether there are other members.
///
/// # Errors
/// A value that cannot be read, or what would be unsafe; the text names the variable.
pub(super) fn translate_auth(
    reader: &mut Reader<'_>,
    target: &mut Translation,
    is_member: bool,
) -> Result<()> {
    let is_on = reader.switch("NACOS_AUTH_ENABLE")?.unwrap_or(false);
    let token = reader.text("NACOS_AUTH_TOKEN");
    if let Some(token) = token.as_deref().filter(|_| is_member) {
        target.settings.extend(member_secret(token).map(|secret| ("cluster.secret", secret)));
    }
    check_parts(reader, target, is_on)?;
    let identity =
        (reader.text("NACOS_AUTH_IDENTITY_KEY"), reader.text("NACOS_AUTH_IDENTITY_VALUE"));
    let ttl = reader.text("NACOS_AUTH_TOKEN_EXPIRE_SECONDS");
    if !is_on {
        return Ok(());
    }
    target.settings.push(("auth.enabled", "true".to_owned()));
    if let Some(token) = token {
        TokenKey::parse(&token).map_err(|weak| {
            anyhow!("NACOS_AUTH_TOKEN {weak}; make one with `openssl rand -base64 32`")
        })?;
        target.settings.push(("auth.token_key", token));
    }
    if let Some(seconds) = ttl {
        let is_number = seconds.parse::<u64>().is_ok();
        ensure!(is_number, "NACOS_AUTH_TOKEN_EXPIRE_SECONDS must be a number, not {seconds:?}");
        target.settings.push(("auth.token_ttl_s", seconds));
    }
    match identity {
        (None, None) => {}
        (Some(key), Some(value)) => {
            check_identity(&key, &value)?;
            target.settings.push(("auth.identity_key", key));
            target.settings.push(("auth.identity_value", value));
        }
        _ => bail!("NACOS_AUTH_IDENTITY_KEY and NACOS_AUTH_IDENTITY_VALUE must be set together"),
    }
    Ok(())
}

/// Looks at the switches that Nacos has for parts of it. Here one switch is for everything.
fn check_parts(reader: &mut Reader<'_>, target: &mut Translation, is_on: bool) -> Result<()> {
    for name in ["NACOS_AUTH_ADMIN_ENABLE", "NACOS_AUTH_CONSOLE_ENABLE"] {
        let wish = reader.switch(name)?;
        ensure!(
            is_on || wish != Some(true),
            "{name}=true asks for users, but NACOS_AUTH_ENABLE is not true: here one switch is \
             for clients, operators and consoles alike"
        );
        if is_on && wish == Some(false) {
            target
                .notes
                .push(format!("{name}=false is ignored: operators and consoles need users, too"));
        }
    }
    ensure!(
        reader.switch("NACOS_AUTH_USER_AGENT_AUTH_WHITE_ENABLE")? != Some(true),
        "NACOS_AUTH_USER_AGENT_AUTH_WHITE_ENABLE=true would let in anyone who calls itself a \
         server of Nacos"
    );
    match reader.text("NACOS_AUTH_SYSTEM_TYPE").as_deref() {
        None | Some("nacos") => Ok(()),
        Some(other) if is_on => {
            bail!("NACOS_AUTH_SYSTEM_TYPE={other:?} is not known here: nacos, users of its own")
        }
        Some(_) => Ok(()),
    }
}

fn check_identity(key: &str, value: &str) -> Result<()> {
    let plain = value.to_ascii_lowercase();
    ensure!(
        !PUBLIC_IDENTITIES.contains(&plain.as_str()) && !value.eq_ignore_ascii_case(key),
        "NACOS_AUTH_IDENTITY_VALUE is one that everybody knows or guesses, and who sends it is an \
         administrator; make one with `openssl rand -hex 32`"
    );
    ensure!(
        value.len() >= LEAST_IDENTITY_BYTES,
        "NACOS_AUTH_IDENTITY_VALUE must have at least {LEAST_IDENTITY_BYTES} bytes: who sends it \
         is an administrator"
    );
    Ok(())
}

/// A secret that members share who share a key of tokens, so that a cluster that was set up for
/// Nacos needs nothing more. Who has the key can be any user already. `None` for a weak key.
fn member_secret(token: &str) -> Option<String> {
    let key = TokenKey::parse(token).ok()?;
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect("a key of any length");
    mac.update(PURPOSE);
    Some(mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect())
}
