//! TLS, from the variables of the image of Nacos: properties such as
//! `nacos.remote.server.rpc.tls.enableTls` in any of the spellings that Java takes from an
//! environment.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, anyhow, bail, ensure};

use super::variables::{Translation, Variables};

/// What the port of members is above the main port, as among servers of Nacos.
const MEMBER_PORT_OFFSET: u16 = 1_001;
const DEFAULT_PORT: u16 = 8_848;

// Properties without dots, hyphens and capitals.
const ENABLE: &str = "enabletls";
const COMPATIBILITY: &str = "compatibility";
const MUTUAL: &str = "mutualauth";
const CERTIFICATE: &str = "certchainfile";
const KEY: &str = "certprivatekey";
const KEY_PASSWORD: &str = "certprivatekeypassword";
const AUTHORITIES: &str = "trustcollectioncertfile";
const TRUST_ALL: &str = "trustall";

/// The variables of one side: of the ports for clients, or of the one for members.
struct Side<'a> {
    /// Name and value by the plain name of the property.
    found: BTreeMap<String, (&'a str, &'a str)>,
    /// How the variables of this side begin, for errors.
    prefix: &'static str,
}

/// Translates what is about TLS, and gives the names of the variables that had a meaning; the
/// others are for the line about ignored ones.
///
/// # Errors
/// A value that cannot be read, or what would be less safe than it looks; the text names the
/// variable and never shows a secret.
pub(super) fn translate_tls<'a>(
    variables: &'a Variables,
    target: &mut Translation,
    is_member: bool,
) -> Result<BTreeSet<&'a str>> {
    let clients = Side::read(variables, "server")?;
    let members = Side::read(variables, "peer")?;
    let mut used = BTreeSet::new();
    match clients.switch(ENABLE)? {
        Some(true) => {
            translate_clients(&clients, target)?;
            used.extend(clients.names(&[COMPATIBILITY, MUTUAL, CERTIFICATE, KEY]));
            if clients.switch(MUTUAL)? == Some(true) {
                used.extend(clients.names(&[AUTHORITIES, TRUST_ALL]));
            }
            used.extend(clients.names(&[ENABLE]));
        }
        Some(false) => used.extend(clients.names(&[ENABLE])),
        None => {}
    }
    match members.switch(ENABLE)? {
        Some(true) if is_member => {
            translate_members(&members, target)?;
            let all = [ENABLE, COMPATIBILITY, MUTUAL, CERTIFICATE, KEY, AUTHORITIES, TRUST_ALL];
            used.extend(members.names(&all));
        }
        Some(false) => used.extend(members.names(&[ENABLE])),
        _ => {}
    }
    Ok(used)
}

/// What is ignored of one variable of TLS, if it is one.
pub(super) fn why_ignored(name: &str) -> Option<&'static str> {
    let (_, property) = split(name)?;
    Some(match property.as_str() {
        "protocols" | "ciphers" => "TLS 1.2 and 1.3 with the suites that are held to be safe",
        "sslprovider" => "no Java here",
        _ => "nothing that it would change is switched on",
    })
}

fn translate_clients(side: &Side<'_>, target: &mut Translation) -> Result<()> {
    let (certificate, key) = side.certificate_and_key()?;
    let is_mutual = side.switch(MUTUAL)?.unwrap_or(false);
    ensure!(
        !(is_mutual && side.switch(TRUST_ALL)? == Some(true)),
        "{}=true would let in every certificate, although {} asks for good ones",
        side.name(TRUST_ALL),
        side.name(MUTUAL),
    );
    let mode = side.mode()?;
    // Nacos speaks TLS on the port of gRPC alone, and plain HTTP whatever these variables say. Here
    // HTTP takes both, so that whoever wants TLS gets it and nobody is turned away.
    target.settings.extend([
        ("tls.mode", "compatibility".to_owned()),
        ("tls.grpc_mode", mode.to_owned()),
        ("tls.certificate", certificate),
        ("tls.key", key),
    ]);
    if is_mutual {
        target.settings.push(("tls.client_auth", "required".to_owned()));
        target.settings.push(("tls.client_ca", side.file(AUTHORITIES)?));
    }
    if mode == "required" {
        target.notes.push(format!(
            "{}=false: gRPC takes TLS alone; HTTP takes plain requests, too, as with Nacos, until \
             tls.mode is required",
            side.name(COMPATIBILITY)
        ));
    }
    Ok(())
}

fn translate_members(side: &Side<'_>, target: &mut Translation) -> Result<()> {
    let (certificate, key) = side.certificate_and_key()?;
    ensure!(
        side.switch(TRUST_ALL)? != Some(true),
        "{}=true would take anybody for a member; {} names the authorities of the members",
        side.name(TRUST_ALL),
        side.name(AUTHORITIES),
    );
    let port = target.settings.iter().find(|(key, _)| *key == "port");
    let port = port.and_then(|(_, port)| port.parse().ok()).unwrap_or(DEFAULT_PORT);
    let port = port.checked_add(MEMBER_PORT_OFFSET).ok_or_else(|| {
        anyhow!(
            "{} needs a port for members, {MEMBER_PORT_OFFSET} above the main port, which leaves none",
            side.name(ENABLE)
        )
    })?;
    target.settings.extend([
        ("cluster.bind_port", port.to_string()),
        ("cluster.tls.mode", side.mode()?.to_owned()),
        ("cluster.tls.connect", "true".to_owned()),
        ("cluster.tls.certificate", certificate),
        ("cluster.tls.key", key),
        ("cluster.tls.ca", side.file(AUTHORITIES)?),
    ]);
    Ok(())
}

impl<'a> Side<'a> {
    /// # Errors
    /// The same property in two spellings that say different things.
    fn read(variables: &'a Variables, side: &str) -> Result<Self> {
        let mut found: BTreeMap<String, (&'a str, &'a str)> = BTreeMap::new();
        for (name, value) in variables {
            let Some((of, property)) = split(name) else { continue };
            let value = value.trim();
            if of != side || value.is_empty() {
                continue;
            }
            match found.get(&property) {
                Some((other, before)) if *before != value => {
                    bail!("{name} and {other} mean the same, but differ")
                }
                Some(_) => {}
                None => _ = found.insert(property, (name, value)),
            }
        }
        let prefix = match side {
            "peer" => "NACOS_REMOTE_PEER_RPC_TLS_",
            _ => "NACOS_REMOTE_SERVER_RPC_TLS_",
        };
        Ok(Self { found, prefix })
    }

    fn text(&self, property: &str) -> Option<&'a str> {
        self.found.get(property).map(|(_, value)| *value)
    }

    /// Whether a switch is on; `None` if it is not set.
    ///
    /// # Errors
    /// Neither `true` nor `false`.
    fn switch(&self, property: &str) -> Result<Option<bool>> {
        match self.text(property).map(str::to_ascii_lowercase).as_deref() {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(other) => bail!("{} must be true or false, not {other:?}", self.name(property)),
        }
    }

    /// The file that a property names.
    ///
    /// # Errors
    /// It is not set, or names one in a Java archive.
    fn file(&self, property: &str) -> Result<String> {
        let name = self.name(property);
        let path = self
            .text(property)
            .ok_or_else(|| anyhow!("{}=true needs {name}", self.name(ENABLE)))?;
        ensure!(
            !path.starts_with("classpath:"),
            "{name} names a file of a Java archive; it must be one that this server can read"
        );
        Ok(path.strip_prefix("file:").unwrap_or(path).to_owned())
    }

    fn certificate_and_key(&self) -> Result<(String, String)> {
        ensure!(
            self.text(KEY_PASSWORD).is_none(),
            "{} is set, but keys are not encrypted here: take the password off with \
             `openssl pkey -in KEY -out PLAIN-KEY`",
            self.name(KEY_PASSWORD)
        );
        Ok((self.file(CERTIFICATE)?, self.file(KEY)?))
    }

    /// As with Nacos, plain is taken as well unless that is switched off.
    fn mode(&self) -> Result<&'static str> {
        let takes_plain = self.switch(COMPATIBILITY)?.unwrap_or(true);
        Ok(if takes_plain { "compatibility" } else { "required" })
    }

    /// What the variable is called, or would be.
    fn name(&self, property: &str) -> String {
        match self.found.get(property) {
            Some((name, _)) => (*name).to_owned(),
            None => format!("{}{}", self.prefix, property.to_ascii_uppercase()),
        }
    }

    /// Those of these variables that are set.
    fn names(&self, properties: &[&str]) -> Vec<&'a str> {
        properties.iter().filter_map(|name| Some(self.found.get(*name)?.0)).collect()
    }
}

/// Side and property of a variable of TLS: `server` and `enabletls` for
/// `NACOS_REMOTE_SERVER_RPC_TLS_ENABLE_TLS` and for `nacos.remote.server.rpc.tls.enableTls`.
fn split(name: &str) -> Option<(&'static str, String)> {
    let plain = name.to_ascii_lowercase().replace(['.', '-'], "_");
    ["server", "peer"].into_iter().find_map(|side| {
        let property = plain.strip_prefix("nacos_remote_")?.strip_prefix(side)?;
        Some((side, property.strip_prefix("_rpc_tls_")?.replace('_', "")))
    })
}
