//! Settings of authentication.

use std::fmt;
use std::io::ErrorKind;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use serde::{Deserialize, Serialize, Serializer};

use super::check::within;
use super::identity::IdentitySettings;
use crate::auth::{AuthSettings, TokenKey, TokenKeys};
use crate::nacos::PeerIdentity;

/// How to make a key, for those who have none.
const HOW_TO_MAKE_A_KEY: &str = "make one with `openssl rand -base64 32 > token.key`, give the \
     same file to every member, and name it with --set auth.token_key_file=token.key";

/// Bytes of a key file; a key is short.
const MOST_KEY_BYTES: u64 = 4_096;

/// Users, passwords and tokens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuthConfig {
    /// Whether requests need a user. Default false: whoever reaches the port may read and write.
    pub enabled: bool,
    /// Key that signs tokens, Base64 of at least 32 random bytes, the same on every member; that of
    /// `nacos.core.auth.default.token.secret.key` can be used. Default empty. Never shown; a file
    /// is the better place.
    pub token_key: Hidden,
    /// File with that key. Default empty.
    pub token_key_file: String,
    /// File with another key whose tokens are taken, too, while the members change from one key to
    /// another. It need not be there. Default empty.
    pub previous_token_key_file: String,
    /// Seconds for which a token is good. Default 18,000. Too small makes clients log in often,
    /// too large lets a stolen token be used for long.
    pub token_ttl_s: u64,
    /// Whether tokens are taken that do not tell which password they were given for: those of Nacos
    /// servers with the same key, and of releases without this setting. Default false. Such a token is good
    /// until it expires, whatever becomes of its user's password. Set it while Nacos servers issue
    /// tokens, and during an upgrade, for as long as a token lives.
    pub accept_nacos_tokens: bool,
    /// Name of a header whose sender may do everything over `/v2` and `/v3`, as that of
    /// `nacos.core.auth.server.identity.key` does: for a console of Nacos that runs apart, and for
    /// tools that have no user. Default empty: there is none.
    pub identity_key: String,
    /// Its value. Default empty. Never shown; a file is the better place.
    pub identity_value: Hidden,
    /// File with that value; white space around it does not count. Default empty.
    pub identity_value_file: String,
}

impl Default for AuthConfig {
    fn default() -> Self {
        Self {
            enabled: false,
            token_key: Hidden::default(),
            token_key_file: String::new(),
            previous_token_key_file: String::new(),
            token_ttl_s: 18_000,
            accept_nacos_tokens: false,
            identity_key: String::new(),
            identity_value: Hidden::default(),
            identity_value_file: String::new(),
        }
    }
}

/// A text that is never shown: not by `Debug`, and not among the printed settings.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Hidden(pub String);

impl fmt::Debug for Hidden {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.shown())
    }
}

impl Serialize for Hidden {
    fn serialize<S: Serializer>(&self, target: S) -> Result<S::Ok, S::Error> {
        target.serialize_str(self.shown())
    }
}

impl Hidden {
    fn shown(&self) -> &'static str {
        if self.0.is_empty() { "" } else { "(hidden)" }
    }
}

impl AuthConfig {
    pub(super) fn check(&self) -> Result<()> {
        ensure!(
            self.token_key.0.is_empty() || self.token_key_file.is_empty(),
            "of auth.token_key and auth.token_key_file only one may be set"
        );
        self.identity_settings().check()?;
        ensure!(
            self.identity_key.is_empty() || self.enabled,
            "auth.identity_key needs auth.enabled = true: without users nobody has to prove anything"
        );
        within("auth.token_ttl_s", self.token_ttl_s, 1..=366 * 86_400)
    }

    /// The header whose sender may do everything over the later APIs, if there is one.
    ///
    /// # Errors
    /// A file that cannot be read, or what cannot be a header. The text never shows the value.
    pub(crate) fn identity(&self) -> Result<Option<PeerIdentity>> {
        self.identity_settings().read()
    }

    fn identity_settings(&self) -> IdentitySettings<'_> {
        IdentitySettings {
            prefix: "auth",
            key: &self.identity_key,
            value: &self.identity_value.0,
            file: &self.identity_value_file,
        }
    }

    /// What authentication works with; `None` if it is off.
    ///
    /// # Errors
    /// It is on, but there is no key, or one that cannot be read or could be guessed. The text says
    /// how to make one, never what the key was.
    pub(crate) fn settings(&self) -> Result<Option<AuthSettings>> {
        if !self.enabled {
            return Ok(None);
        }
        let token_ttl = Duration::from_secs(self.token_ttl_s);
        let settings = AuthSettings::new(&self.keys()?, token_ttl, self.accept_nacos_tokens);
        Ok(Some(settings.context("no random numbers")?))
    }

    /// The keys of tokens, as they are now where they stand in files.
    ///
    /// # Errors
    /// As [`Self::settings`].
    pub(crate) fn keys(&self) -> Result<TokenKeys> {
        let (text, name) = self.key_text()?;
        let parse = |text: &str, name: &str| {
            TokenKey::parse(text)
                .map_err(|weak| anyhow!("the key of tokens ({name}) {weak}; {HOW_TO_MAKE_A_KEY}"))
        };
        let previous = match &*self.previous_token_key_file {
            "" => None,
            path => read_key(path, "auth.previous_token_key_file", true)?,
        };
        let previous = previous.map(|text| parse(&text, &self.previous_token_key_file));
        Ok(TokenKeys { signing: parse(&text, &name)?, previous: previous.transpose()? })
    }

    /// The key as it was given, and where.
    fn key_text(&self) -> Result<(String, String)> {
        if self.token_key_file.is_empty() {
            return Ok((self.token_key.0.clone(), "auth.token_key".to_owned()));
        }
        let text = read_key(&self.token_key_file, "auth.token_key_file", false)?;
        Ok((text.unwrap_or_default(), self.token_key_file.clone()))
    }
}

/// The text of a file with a key. `None` if there is no file and there need not be one.
fn read_key(path: &str, setting: &str, may_be_absent: bool) -> Result<Option<String>> {
    let named = || format!("cannot read the key in {path} ({setting})");
    let length = match std::fs::metadata(path) {
        Err(error) if may_be_absent && error.kind() == ErrorKind::NotFound => return Ok(None),
        metadata => metadata.with_context(named)?.len(),
    };
    ensure!(length <= MOST_KEY_BYTES, "{path} is too long for a key ({setting}): {length} bytes");
    Ok(Some(std::fs::read_to_string(path).with_context(named)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(key: &str) -> AuthConfig {
        AuthConfig { enabled: true, token_key: Hidden(key.to_owned()), ..AuthConfig::default() }
    }

    #[test]
    fn the_header_of_the_operator_needs_users_and_a_value() {
        let with = |enabled, key: &str, value: &str| AuthConfig {
            enabled,
            identity_key: key.to_owned(),
            identity_value: Hidden(value.to_owned()),
            ..AuthConfig::default()
        };
        let refusal = |config: AuthConfig| config.check().unwrap_err().to_string();
        assert!(
            refusal(with(false, "who", "s3cret")).contains("auth.identity_key needs auth.enabled")
        );
        assert!(refusal(with(true, "who", "")).contains("must be set together"));
        assert!(refusal(with(true, "", "s3cret")).contains("must be set together"));
        with(true, "who", "s3cret").check().unwrap();
        let bad = with(true, "no header", "s3cret").identity().unwrap_err().to_string();
        assert!(bad.contains("make no header") && !bad.contains("s3cret"), "{bad}");
        assert!(with(true, "who", "s3cret").identity().unwrap().is_some());
        assert!(AuthConfig::default().identity().unwrap().is_none());
    }

    #[test]
    fn without_a_good_key_it_is_said_how_to_make_one() {
        for (bad, why) in [
            ("", "is missing"),
            ("tooshort", "has 6 bytes"),
            ("not base64!", "is not Base64"),
            ("SecretKey012345678901234567890123456789012345678901234567890123456789", "everybody"),
        ] {
            let text = config(bad).settings().map(|_| ()).unwrap_err().to_string();
            assert!(text.contains(why) && text.contains("openssl rand"), "{text}");
            assert!(bad.is_empty() || !text.contains(bad), "{text}");
        }
        // Nobody needs one who does not use it.
        assert!(AuthConfig { enabled: false, ..config("") }.settings().unwrap().is_none());
    }

    #[test]
    fn a_key_may_stand_in_a_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token.key");
        let token_key_file = path.to_str().unwrap().to_owned();
        let config = AuthConfig { enabled: true, token_key_file, ..AuthConfig::default() };
        let refused = || format!("{:#}", config.settings().map(|_| ()).unwrap_err());
        assert!(refused().contains("auth.token_key_file"));
        std::fs::write(&path, "x".repeat(5_000)).unwrap();
        assert!(refused().contains("too long"));
        std::fs::write(&path, "q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA=\n").unwrap();
        assert!(config.settings().unwrap().is_some());
        let both = AuthConfig { token_key: Hidden("x".to_owned()), ..config };
        assert!(both.check().unwrap_err().to_string().contains("only one"));
    }

    #[test]
    fn a_key_is_never_shown() {
        let config = config("q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA=");
        for shown in [format!("{config:?}"), toml::to_string(&config).unwrap()] {
            assert!(shown.contains("hidden") && !shown.contains("q83vEj"), "{shown}");
        }
        assert!(!format!("{:?}", AuthConfig::default()).contains("hidden"));
    }
}
