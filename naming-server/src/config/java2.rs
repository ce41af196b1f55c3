//! Settings of a member among servers of Nacos 2.x and 3.x.

use anyhow::{Context, Result, ensure};
use distro_net::{MemberSource, Spelling, parse_members};
use serde::{Deserialize, Serialize};

use super::Hidden;
use super::identity::IdentitySettings;
use super::nacos::is_version;
use crate::java2::PORT_OFFSET;
use crate::nacos::PeerIdentity;

/// A member among servers of Nacos 2.x or 3.x; off unless their list is named.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Java2Config {
    /// Addresses of all members of that cluster, Java servers and those of our kind, as its
    /// `cluster.conf` writes them: `ip:port,ip:port,...`. Default empty.
    pub members: String,
    /// File with that list, one address on each line. Read again when it changes. Default empty.
    pub members_file: String,
    /// Port at which Java servers ask this member. Default 0: 1,001 above `port`, where they look
    /// for it; another one needs something that forwards that one to it.
    pub port: u16,
    /// Version that this member claims to Java servers, three numbers with dots between. Default
    /// `2.5.1`. Among servers of 3.x name theirs: they check the identity when all members are 3.x.
    pub version: String,
    /// Name of the header by which those servers know each other,
    /// `nacos.core.auth.server.identity.key` there, in the same case. Default empty: none is sent
    /// or asked for. Servers of 3.x need one.
    pub identity_key: String,
    /// Its value, `nacos.core.auth.server.identity.value` there. Default empty. Never shown; a
    /// file is the better place.
    pub identity_value: Hidden,
    /// File with that value; white space around it does not count. Default empty.
    pub identity_value_file: String,
    /// Whether anybody who reaches the port is believed as a Java server is. Default false: only
    /// the addresses in the list and, if there is an identity, only with it.
    pub trust_unknown_peers: bool,
}

impl Default for Java2Config {
    fn default() -> Self {
        Self {
            members: String::new(),
            members_file: String::new(),
            port: 0,
            version: "2.5.1".to_owned(),
            identity_key: String::new(),
            identity_value: Hidden::default(),
            identity_value_file: String::new(),
            trust_unknown_peers: false,
        }
    }
}

impl Java2Config {
    /// Whether Java servers of 2.x or 3.x are members.
    pub(crate) fn is_enabled(&self) -> bool {
        !self.members.is_empty() || !self.members_file.is_empty()
    }

    /// Where the list comes from. Java servers know a member by the text of its address.
    pub(crate) fn member_source(&self) -> MemberSource {
        match self.members_file.is_empty() {
            true => MemberSource::List(parse_members(&self.members, Spelling::Verbatim).0),
            false => MemberSource::File(self.members_file.clone().into()),
        }
    }

    /// The port of members beside the main port: any free one beside any free one.
    ///
    /// # Errors
    /// There is no such port.
    pub(crate) fn port_beside(&self, main: u16) -> Result<u16> {
        match (self.port, main) {
            (0, 0) => Ok(0),
            (0, main) => main.checked_add(PORT_OFFSET).with_context(|| {
                format!("no port is {PORT_OFFSET} above port {main}; cluster.java2.port names one")
            }),
            (port, _) => Ok(port),
        }
    }

    /// The header by which members know each other, if there is one.
    ///
    /// # Errors
    /// A file that cannot be read, or what cannot be a header. The text never shows the value.
    pub(crate) fn identity(&self) -> Result<Option<PeerIdentity>> {
        self.identity_settings().read()
    }

    pub(super) fn check(&self) -> Result<()> {
        ensure!(
            self.members.is_empty() || self.members_file.is_empty(),
            "of cluster.java2.members and cluster.java2.members_file only one may be set"
        );
        let (list, bad) = parse_members(&self.members, Spelling::Verbatim);
        if let Some(bad) = bad.first() {
            anyhow::bail!("cluster.java2.members: {}", bad.error);
        }
        ensure!(
            self.members.is_empty() || !list.is_empty(),
            "cluster.java2.members names no member"
        );
        let version = &self.version;
        ensure!(
            is_version(version),
            "cluster.java2.version must be three numbers with dots between, as 2.5.1, not {version:?}"
        );
        self.identity_settings().check()
    }

    fn identity_settings(&self) -> IdentitySettings<'_> {
        IdentitySettings {
            prefix: "cluster.java2",
            key: &self.identity_key,
            value: &self.identity_value.0,
            file: &self.identity_value_file,
        }
    }

    /// Says at the start whose word is taken.
    pub(crate) fn say_who_is_trusted(&self) {
        let is_anybody = self.trust_unknown_peers;
        self.identity_settings().say_who_is_trusted("the port of members", is_anybody);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl FnOnce(&mut Java2Config)) -> String {
        let mut config = Java2Config::default();
        change(&mut config);
        config.check().unwrap_err().to_string()
    }

    #[test]
    fn it_is_off_until_a_list_is_named_and_wrong_settings_are_refused_by_name() {
        let config = Java2Config::default();
        config.check().unwrap();
        assert!(!config.is_enabled());
        let config = Java2Config { members: "Node-1:8848,10.0.0.2:8848".into(), ..config };
        config.check().unwrap();
        assert!(config.is_enabled());
        let MemberSource::List(list) = config.member_source() else { panic!() };
        assert!(list.iter().any(|member| member.as_str() == "Node-1:8848"), "{list:?}");
        let text = refused(|config| config.members = ", ,".into());
        assert_eq!(text, "cluster.java2.members names no member");
        let text = refused(|config| {
            config.members = "a:1".into();
            config.members_file = "b".into();
        });
        assert!(text.contains("only one"), "{text}");
        let text = refused(|config| config.version = "2.5".into());
        assert!(text.starts_with("cluster.java2.version must be"), "{text}");
        let text = refused(|config| config.identity_key = "id".into());
        assert!(text.contains("cluster.java2.identity_value"), "{text}");
    }

    #[test]
    fn its_port_is_where_java_looks_for_it_unless_it_is_named() {
        let beside = |port, main| Java2Config { port, ..Java2Config::default() }.port_beside(main);
        assert_eq!(beside(0, 8_848).unwrap(), 9_849);
        assert_eq!(beside(0, 0).unwrap(), 0, "any free port beside any free port");
        assert_eq!(beside(9_000, 8_848).unwrap(), 9_000);
        assert!(beside(0, 65_000).unwrap_err().to_string().contains("cluster.java2.port"));
    }
}
