//! Settings of TLS.

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

use super::Config;

/// TLS on the ports of clients and consoles.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsConfig {
    /// Whether clients may, or must, speak TLS on the main port, and on the other ports unless they
    /// have a mode of their own. Default `off`.
    pub mode: TlsMode,
    /// The same of the gRPC port. Default: as `mode`.
    pub grpc_mode: Option<TlsMode>,
    /// The same of the console port. Default: as `mode`.
    pub console_mode: Option<TlsMode>,
    /// PEM file with the certificate of this server, and behind it those that lead to its authority.
    /// Read again when it changes. Default empty.
    pub certificate: String,
    /// PEM file with the key of the certificate, not encrypted. Read again when it changes. Default
    /// empty.
    pub key: String,
    /// PEM file with the authorities whose certificates clients show. Read again when it changes.
    /// Default empty.
    pub client_ca: String,
    /// Whether clients show a certificate. Default `none`. It opens a connection and nothing more:
    /// users and rights stay as they are.
    pub client_auth: ClientAuth,
}

/// What a port does about TLS.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TlsMode {
    /// The port speaks no TLS.
    #[default]
    Off,
    /// Plain and TLS on the same port, told apart by the first byte of a connection.
    Compatibility,
    /// TLS alone. Plain requests are answered that the port speaks TLS.
    Required,
}

/// Whether clients show a certificate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientAuth {
    /// They are not asked for one.
    #[default]
    None,
    /// They may; one that does not hold ends the connection.
    Optional,
    /// They must.
    Required,
}

/// TLS among the members of a cluster, on `cluster.bind_port`. Both ends show a certificate.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MemberTlsConfig {
    /// Whether other members may, or must, speak TLS to this one. Default `off`.
    pub mode: TlsMode,
    /// Whether this member speaks TLS to the others. Default: true if `mode` is `required`. Set it
    /// when all members accept TLS.
    pub connect: Option<bool>,
    /// PEM file with the certificate of this member, for server and client, which names the host of
    /// its address, and behind it those that lead to its authority. Read again when it changes.
    /// Default empty.
    pub certificate: String,
    /// PEM file with the key of the certificate, not encrypted. Read again when it changes. Default
    /// empty.
    pub key: String,
    /// PEM file with the authorities of the certificates of all members. Read again when it changes.
    /// Default empty.
    pub ca: String,
}

impl TlsConfig {
    pub(crate) fn grpc_mode(&self) -> TlsMode {
        self.grpc_mode.unwrap_or(self.mode)
    }

    pub(crate) fn console_mode(&self) -> TlsMode {
        self.console_mode.unwrap_or(self.mode)
    }

    /// Whether any port speaks TLS.
    pub(crate) fn is_on(&self) -> bool {
        [self.mode, self.grpc_mode(), self.console_mode()].iter().any(|mode| *mode != TlsMode::Off)
    }
}

impl MemberTlsConfig {
    pub(crate) fn is_on(&self) -> bool {
        self.mode != TlsMode::Off
    }

    /// Whether this member speaks TLS to the others.
    pub(crate) fn connects(&self) -> bool {
        self.connect.unwrap_or(self.mode == TlsMode::Required)
    }
}

impl Config {
    /// Whether other members are answered on their TLS port alone.
    pub(crate) fn members_need_tls(&self) -> bool {
        self.cluster.is_enabled() && self.cluster.tls.mode == TlsMode::Required
    }

    pub(super) fn check_tls(&self) -> Result<()> {
        self.check_client_tls()?;
        self.check_member_tls()
    }

    fn check_client_tls(&self) -> Result<()> {
        let tls = &self.tls;
        if tls.is_on() {
            ensure!(
                !tls.certificate.is_empty(),
                "tls.mode is not off, but tls.certificate is empty"
            );
            ensure!(!tls.key.is_empty(), "tls.mode is not off, but tls.key is empty");
        }
        let asks = tls.client_auth != ClientAuth::None;
        ensure!(
            !asks || !tls.client_ca.is_empty(),
            "tls.client_auth asks for certificates, but tls.client_ca names no authorities"
        );
        ensure!(
            asks || tls.client_ca.is_empty(),
            "tls.client_ca is set, but tls.client_auth is none: nobody is asked for a certificate"
        );
        if tls.mode == TlsMode::Required {
            ensure!(
                !self.cluster.speaks_nacos(),
                "tls.mode = required keeps servers of Nacos out, which speak no TLS: \
                 cluster.dialect nacos needs tls.mode = compatibility"
            );
            ensure!(
                !self.cluster.is_enabled() || self.cluster.bind_port > 0,
                "tls.mode = required needs cluster.bind_port: members do not speak the TLS of clients"
            );
        }
        Ok(())
    }

    fn check_member_tls(&self) -> Result<()> {
        let tls = &self.cluster.tls;
        ensure!(
            tls.is_on() || !tls.connects(),
            "cluster.tls.connect needs cluster.tls.mode: who speaks TLS to others must take it, too"
        );
        if !tls.is_on() {
            return Ok(());
        }
        ensure!(
            tls.mode != TlsMode::Required || tls.connects(),
            "cluster.tls.mode = required, but cluster.tls.connect is false: this member would speak \
             plain to members that must refuse it"
        );
        ensure!(
            self.cluster.bind_port > 0,
            "cluster.tls.mode needs cluster.bind_port, the port on which members ask each other"
        );
        for (key, value) in [("certificate", &tls.certificate), ("key", &tls.key), ("ca", &tls.ca)]
        {
            ensure!(
                !value.is_empty(),
                "cluster.tls.mode is not off, but cluster.tls.{key} is empty"
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl FnOnce(&mut Config)) -> String {
        let mut config = Config::default();
        change(&mut config);
        config.check().unwrap_err().to_string()
    }

    fn with_files(config: &mut Config) {
        config.tls.certificate = "server.pem".into();
        config.tls.key = "server.key".into();
    }

    #[test]
    fn tls_needs_a_certificate_and_a_key() {
        let text = refused(|config| config.tls.mode = TlsMode::Compatibility);
        assert!(text.contains("tls.certificate is empty"), "{text}");
        let text = refused(|config| {
            config.tls.grpc_mode = Some(TlsMode::Required);
            config.tls.certificate = "server.pem".into();
        });
        assert!(text.contains("tls.key is empty"), "{text}");
        let mut config = Config::default();
        with_files(&mut config);
        config.tls.mode = TlsMode::Required;
        config.tls.grpc_mode = Some(TlsMode::Off);
        config.check().unwrap();
    }

    #[test]
    fn who_asks_for_certificates_names_their_authorities() {
        let text = refused(|config| config.tls.client_auth = ClientAuth::Optional);
        assert!(text.contains("tls.client_ca"), "{text}");
        let text = refused(|config| config.tls.client_ca = "ca.pem".into());
        assert!(text.contains("tls.client_auth is none"), "{text}");
    }

    #[test]
    fn a_port_for_tls_alone_leaves_members_a_port() {
        let member = |config: &mut Config| {
            with_files(config);
            config.tls.mode = TlsMode::Required;
            config.cluster.members = "10.0.0.1,10.0.0.2".into();
        };
        let text = refused(member);
        assert!(text.contains("cluster.bind_port"), "{text}");
        let text = refused(|config| {
            member(config);
            config.cluster.bind_port = 7_848;
            config.cluster.dialect = crate::Dialect::Nacos;
        });
        assert!(text.contains("servers of Nacos"), "{text}");
    }

    #[test]
    fn members_speak_tls_on_a_port_of_their_own() {
        let member = |config: &mut Config| {
            let tls = &mut config.cluster.tls;
            tls.mode = TlsMode::Required;
            (tls.certificate, tls.key, tls.ca) = ("a".into(), "b".into(), "c".into());
        };
        let text = refused(member);
        assert!(text.contains("cluster.bind_port"), "{text}");
        for key in ["certificate", "key", "ca"] {
            let text = refused(|config| {
                member(config);
                config.cluster.bind_port = 7_848;
                let tls = &mut config.cluster.tls;
                *match key {
                    "certificate" => &mut tls.certificate,
                    "key" => &mut tls.key,
                    _ => &mut tls.ca,
                } = String::new();
            });
            assert!(text.ends_with(&format!("cluster.tls.{key} is empty")), "{text}");
        }
        let text = refused(|config| {
            member(config);
            config.cluster.tls.connect = Some(false);
        });
        assert!(text.contains("cluster.tls.connect is false"), "{text}");
        let text = refused(|config| config.cluster.tls.connect = Some(true));
        assert!(text.contains("cluster.tls.connect needs cluster.tls.mode"), "{text}");
    }
}
