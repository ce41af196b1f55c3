//! Settings of a member of a cluster.

use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use distro_core::DistroConfig;
use distro_net::{
    Address, AddressServer, MemberSource, NameServer, Secret, Spelling, parse_members,
};
use serde::{Deserialize, Serialize};

use super::check::{DAY_MS, within};
use super::{Hidden, Java2Config, MemberTlsConfig, NacosConfig};

/// How to make a secret, for those who have none.
const HOW_TO_MAKE_A_SECRET: &str = "make one with `openssl rand -hex 32 > cluster.secret` (or any \
     32 random characters), give the same file to every member, and name it with --secret-file";

/// Bytes of a secret file; a secret is short.
const MOST_SECRET_BYTES: u64 = 4_096;

/// Membership of a cluster. Without a list of members, a file or a name this server serves alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClusterConfig {
    /// What members speak to each other. Default `distro`. With `nacos` servers of Nacos 1.4 can be
    /// members too; the same on all members that are none.
    pub dialect: Dialect,
    /// Addresses of the members, `ip:port,ip:port,...`; this one may be among them. Default empty.
    pub members: String,
    /// File with the addresses of the members, as the `cluster.conf` of Nacos: one on each line or
    /// several with commas between, `#` begins a comment. Read again when it changes. Default
    /// empty.
    pub members_file: String,
    /// Name that stands for the addresses of all members, as that of a headless service. One that
    /// begins with an underscore, `_client._tcp.naming`, is that of service records: members are
    /// then known by the names and ports in these, which stay when addresses change. Default empty.
    pub dns_name: String,
    /// Port of the members found by name; service records have ports of their own. Default 8848.
    pub dns_port: u16,
    /// Name server that is asked for that name and for those of members, `ip` or `ip:port`. Default
    /// empty: those of the machine.
    pub dns_server: String,
    /// Milliseconds between two look-ups of the name. Default 5,000. Too small burdens the name
    /// server; too large finds moved members late.
    pub dns_period_ms: u64,
    /// Server that hands out the list of members, as the `address-server` of Nacos:
    /// `http://host:port/path`, by default port 8080 and path `/nacos/serverlist`. It must answer
    /// JSON, `{"code":200,"data":"ip:port\nip:port"}`. Default empty.
    pub address_server: String,
    /// Milliseconds between two requests to that server. Default 5,000. Too small burdens it; too
    /// large finds moved members late.
    pub address_server_period_ms: u64,
    /// Name of the cluster; members of another are refused. Default `distro`.
    pub name: String,
    /// File with the secret that all members share, 32 bytes or more; servers of Nacos need none.
    /// Default empty: a member of a cluster of dialect `distro` does not start, and one of dialect
    /// `nacos` speaks the language of Nacos to all others.
    pub secret_file: String,
    /// That secret itself, for those who cannot give the server a file. Default empty; without
    /// effect if `secret_file` is set. Never shown; a file is the better place, and can be changed
    /// while the server runs.
    pub secret: Hidden,
    /// File with the secret of before, while the secret is being changed: members prove themselves
    /// by the new one and accept both. Default empty. The file need not be there: then there is no
    /// such secret. Both files are read again when they change.
    pub previous_secret_file: String,
    /// Port on which members ask each other, and nothing else is answered, besides the usual one:
    /// the same on all members. A member that has none is asked on the port of its address. Default
    /// 0: none.
    pub bind_port: u16,
    /// Milliseconds that a change waits before it is sent to the others, to gather more. Default
    /// 0: bursts gather while a request is under way.
    pub sync_delay_ms: u64,
    /// Least milliseconds between two batches of changes for a member, unless they are full. Default
    /// 20. The first change after a quiet time goes at once whatever is said here; too small sends
    /// many small messages, too large tells others late under load.
    pub batch_period_ms: u64,
    /// Milliseconds between two probes of a member. Default 1,000.
    pub probe_period_ms: u64,
    /// Milliseconds within which a member must answer. Default 1,000.
    pub call_deadline_ms: u64,
    /// Milliseconds without an answer after which a member is suspicious. Default 2,000; at least
    /// two probe periods.
    pub suspicious_after_ms: u64,
    /// Milliseconds without contact after which a member is down and its services are taken over.
    /// Default 6,000. Too small moves services for every hiccup, too large leaves the dead
    /// unjudged.
    pub down_after_ms: u64,
    /// Milliseconds that a write waits for the owner of the service before the member that the
    /// client spoke to takes it itself. Default 500.
    pub forward_deadline_ms: u64,
    /// Milliseconds between two renewals of beats with the owners. Default 200.
    pub renew_period_ms: u64,
    /// Milliseconds between two comparisons with a member. Default 3,000.
    pub verify_period_ms: u64,
    /// Milliseconds after which a starting member that nobody answers serves alone. Default 5,000.
    pub alone_after_ms: u64,
    /// Milliseconds for which a member that found no data shows nothing, so that clients can
    /// register again. Default 6,000: longer than a beat interval.
    pub empty_start_ms: u64,
    /// Milliseconds for which a stopping member hands over what it has. Default 3,000.
    pub leave_within_ms: u64,
    /// Milliseconds for which members remember what was removed, instead of
    /// `store.tombstone_retention_ms`. Default 3,600,000. Longer than any partition that should
    /// heal without forgetting what was not heard; costs memory where instances come and go.
    pub tombstone_retention_ms: u64,
    /// TLS among the members.
    pub tls: MemberTlsConfig,
    /// What matters only in dialect `nacos`.
    pub nacos: NacosConfig,
    /// What matters only among servers of Nacos 2.x or 3.x.
    pub java2: Java2Config,
}

/// What members of a cluster speak to each other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    /// The protocol of this server; all members are of its kind.
    #[default]
    Distro,
    /// That of servers of Nacos 1.4, which may be members; members of our kind use their own among
    /// themselves for what the other cannot carry.
    Nacos,
}

impl Default for ClusterConfig {
    fn default() -> Self {
        let core = DistroConfig::default();
        Self {
            dialect: Dialect::Distro,
            members: String::new(),
            members_file: String::new(),
            dns_name: String::new(),
            dns_port: distro_net::DEFAULT_PORT,
            dns_server: String::new(),
            dns_period_ms: 5_000,
            address_server: String::new(),
            address_server_period_ms: 5_000,
            name: "distro".to_owned(),
            secret_file: String::new(),
            secret: Hidden::default(),
            previous_secret_file: String::new(),
            bind_port: 0,
            sync_delay_ms: millis(core.sync_delay),
            batch_period_ms: millis(core.batch_period),
            probe_period_ms: millis(core.probe_period),
            call_deadline_ms: millis(core.call_deadline),
            suspicious_after_ms: millis(core.suspicious_after),
            down_after_ms: millis(core.down_after),
            forward_deadline_ms: millis(core.forward_deadline),
            renew_period_ms: millis(core.renew_period),
            verify_period_ms: millis(core.verify_period),
            alone_after_ms: millis(core.alone_after),
            empty_start_ms: millis(core.empty_start),
            leave_within_ms: 3_000,
            tombstone_retention_ms: 3_600_000,
            tls: MemberTlsConfig::default(),
            nacos: NacosConfig::default(),
            java2: Java2Config::default(),
        }
    }
}

impl ClusterConfig {
    /// Whether this server is a member of a cluster.
    pub(crate) fn is_enabled(&self) -> bool {
        self.sources().iter().any(|source| !source.is_empty())
    }

    /// The keys that say where members come from, of which one may be set.
    fn sources(&self) -> [&str; 4] {
        [&self.members, &self.members_file, &self.dns_name, &self.address_server]
    }

    /// Whether members speak the dialect of Nacos.
    pub(crate) fn speaks_nacos(&self) -> bool {
        self.is_enabled() && self.dialect == Dialect::Nacos
    }

    /// Whether there is a secret that tells members of our kind from others.
    pub(crate) fn has_secret(&self) -> bool {
        !self.secret_file.is_empty() || !self.secret.0.is_empty()
    }

    /// How addresses are spelled: servers of Nacos know a member by its text.
    pub(crate) fn spelling(&self) -> Spelling {
        match self.dialect {
            Dialect::Distro => Spelling::Normal,
            Dialect::Nacos => Spelling::Verbatim,
        }
    }

    /// Whether the settings themselves name the members.
    pub(crate) fn has_list(&self) -> bool {
        matches!(self.member_source(), MemberSource::List(_))
    }

    /// Where the addresses of the members come from. To be asked only if there is a cluster.
    pub(crate) fn member_source(&self) -> MemberSource {
        if !self.members_file.is_empty() {
            MemberSource::File(self.members_file.clone().into())
        } else if !self.dns_name.is_empty() {
            let period = Duration::from_millis(self.dns_period_ms);
            let (name, server) = (self.dns_name.clone(), self.name_server());
            MemberSource::Dns { name, port: self.dns_port, server, period }
        } else if let Ok(server) = self.address_server.parse::<AddressServer>() {
            let period = Duration::from_millis(self.address_server_period_ms);
            MemberSource::AddressServer { server, period }
        } else {
            MemberSource::List(parse_members(&self.members, self.spelling()).0)
        }
    }

    /// Who is asked for the names of members, unless it is whom the machine asks.
    pub(crate) fn name_server(&self) -> Option<NameServer> {
        self.dns_server.parse().ok()
    }

    /// The secret of the cluster. In dialect `nacos` and without a file it is one that nobody else
    /// has, so that nobody can pass for a member of our kind.
    ///
    /// # Errors
    /// A file that is not named, cannot be read or holds too little; the text says how to make one.
    pub(crate) fn read_secret(&self) -> Result<Secret> {
        if !self.has_secret() && self.dialect == Dialect::Nacos {
            let mut chance = [0; 32];
            getrandom::fill(&mut chance).context("no random numbers")?;
            // White space around a secret does not count, and chance may be white space.
            let text: String = chance.iter().map(|byte| format!("{byte:02x}")).collect();
            return Ok(Secret::new(text.as_bytes())?);
        }
        if !self.has_secret() {
            bail!(
                "a member of a cluster needs a secret (cluster.secret_file): {HOW_TO_MAKE_A_SECRET}"
            );
        }
        if self.secret_file.is_empty() {
            return Secret::new(self.secret.0.as_bytes())
                .map_err(|error| anyhow::anyhow!("cluster.secret: {error}"));
        }
        let secret = read_secret(&self.secret_file, "cluster.secret_file")?;
        let previous = Path::new(&self.previous_secret_file);
        if self.previous_secret_file.is_empty() || !previous.try_exists().unwrap_or(true) {
            return Ok(secret);
        }
        let key = "cluster.previous_secret_file";
        Ok(secret.with_previous(read_secret(&self.previous_secret_file, key)?))
    }

    /// The numbers of the protocol.
    pub(crate) fn apply(&self, config: DistroConfig) -> DistroConfig {
        let retention = Duration::from_millis(self.tombstone_retention_ms);
        DistroConfig {
            sync_delay: Duration::from_millis(self.sync_delay_ms),
            batch_period: Duration::from_millis(self.batch_period_ms),
            probe_period: Duration::from_millis(self.probe_period_ms),
            call_deadline: Duration::from_millis(self.call_deadline_ms),
            suspicious_after: Duration::from_millis(self.suspicious_after_ms),
            down_after: Duration::from_millis(self.down_after_ms),
            forward_deadline: Duration::from_millis(self.forward_deadline_ms),
            renew_period: Duration::from_millis(self.renew_period_ms),
            verify_period: Duration::from_millis(self.verify_period_ms),
            alone_after: Duration::from_millis(self.alone_after_ms),
            empty_start: Duration::from_millis(self.empty_start_ms),
            leave_within: Duration::from_millis(self.leave_within_ms),
            // Less than others remember: who was away for longer might bring back the removed.
            absent_after: retention * 11 / 12,
            ..config
        }
    }

    pub(super) fn check(&self) -> Result<()> {
        let given = self.sources().iter().filter(|source| !source.is_empty()).count();
        ensure!(
            given <= 1,
            "of cluster.members, cluster.members_file, cluster.dns_name and \
             cluster.address_server only one may be set"
        );
        ensure!(
            self.dialect == Dialect::Distro || given == 1,
            "cluster.dialect is nacos, but no members are named: set cluster.members, \
             cluster.members_file, cluster.dns_name or cluster.address_server"
        );
        if !self.address_server.is_empty() {
            self.address_server.parse::<AddressServer>().context("cluster.address_server")?;
        }
        if !self.dns_server.is_empty() {
            self.dns_server.parse::<NameServer>().context("cluster.dns_server")?;
        }
        self.nacos.check()?;
        self.java2.check()?;
        ensure!(
            !self.java2.is_enabled() || self.dialect == Dialect::Distro,
            "cluster.java2 names servers of Nacos 2.x, and cluster.dialect is nacos, which those of \
             1.4 speak: leave the dialect at distro"
        );
        ensure!(
            !self.secret_file.is_empty() || self.previous_secret_file.is_empty(),
            "cluster.previous_secret_file is set, but cluster.secret_file is not"
        );
        let (members, bad) = parse_members(&self.members, self.spelling());
        if let Some(bad) = bad.first() {
            bail!("cluster.members: {}", bad.error);
        }
        ensure!(self.members.is_empty() || !members.is_empty(), "cluster.members names no member");
        ensure!(
            !self.name.is_empty() && self.name.len() <= 64,
            "cluster.name must have 1 to 64 bytes"
        );
        within("cluster.dns_port", self.dns_port, 1..=u16::MAX)?;
        let periods: [(&str, u64, RangeInclusive<u64>); 15] = [
            ("dns_period_ms", self.dns_period_ms, 100..=DAY_MS),
            ("address_server_period_ms", self.address_server_period_ms, 100..=DAY_MS),
            ("sync_delay_ms", self.sync_delay_ms, 0..=60_000),
            ("batch_period_ms", self.batch_period_ms, 0..=60_000),
            ("probe_period_ms", self.probe_period_ms, 50..=60_000),
            ("call_deadline_ms", self.call_deadline_ms, 50..=60_000),
            ("suspicious_after_ms", self.suspicious_after_ms, 2 * self.probe_period_ms..=DAY_MS),
            ("down_after_ms", self.down_after_ms, self.suspicious_after_ms..=DAY_MS),
            ("forward_deadline_ms", self.forward_deadline_ms, 10..=60_000),
            ("renew_period_ms", self.renew_period_ms, 10..=60_000),
            ("verify_period_ms", self.verify_period_ms, 100..=DAY_MS),
            ("alone_after_ms", self.alone_after_ms, 100..=DAY_MS),
            ("empty_start_ms", self.empty_start_ms, 0..=DAY_MS),
            ("leave_within_ms", self.leave_within_ms, 0..=DAY_MS),
            ("tombstone_retention_ms", self.tombstone_retention_ms, 60_000..=7 * DAY_MS),
        ];
        for (key, value, range) in periods {
            within(&format!("cluster.{key}"), value, range)?;
        }
        Ok(())
    }
}

fn read_secret(path: &str, key: &str) -> Result<Secret> {
    let named = || format!("cannot read the secret in {path} ({key})");
    let length = std::fs::metadata(path).with_context(named)?.len();
    ensure!(length <= MOST_SECRET_BYTES, "{path} is too long for a secret ({key}): {length} bytes");
    let text = std::fs::read(path).with_context(named)?;
    Secret::new(&text)
        .map_err(|error| anyhow::anyhow!("{path} ({key}): {error}; {HOW_TO_MAKE_A_SECRET}"))
}

/// The members named, or the address of this one, in one text.
pub(crate) fn list(members: &[Address]) -> String {
    members.iter().map(Address::as_str).collect::<Vec<_>>().join(", ")
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl FnOnce(&mut ClusterConfig)) -> String {
        let mut config = ClusterConfig::default();
        change(&mut config);
        config.check().unwrap_err().to_string()
    }

    #[test]
    fn a_server_is_alone_unless_it_is_told_of_others() {
        let config = ClusterConfig::default();
        config.check().unwrap();
        assert!(!config.is_enabled());
        let config = ClusterConfig { members: "10.0.0.1,10.0.0.2:80".into(), ..config };
        config.check().unwrap();
        let both = vec!["10.0.0.1:8848".parse().unwrap(), "10.0.0.2:80".parse().unwrap()];
        assert_eq!(config.member_source(), MemberSource::List(both));
    }

    #[test]
    fn what_makes_no_cluster_is_refused_by_name() {
        let text = refused(|config| config.members = "10.0.0.1:8848,10.0.0.999:1".into());
        assert!(text.starts_with("cluster.members: \"10.0.0.999:1\""), "{text}");
        let text = refused(|config| config.members = ", ,".into());
        assert_eq!(text, "cluster.members names no member");
        let text = refused(|config| {
            config.members = "a".into();
            config.dns_name = "b".into();
        });
        assert!(text.contains("only one"), "{text}");
        let text = refused(|config| config.suspicious_after_ms = 1_999);
        assert!(text.starts_with("cluster.suspicious_after_ms must be from 2000"), "{text}");
    }

    #[test]
    fn the_dialect_of_nacos_needs_members_and_keeps_their_spelling() {
        let nacos = ClusterConfig { dialect: Dialect::Nacos, ..ClusterConfig::default() };
        assert!(!nacos.speaks_nacos(), "nobody to speak to");
        let text = nacos.check().unwrap_err().to_string();
        assert!(text.starts_with("cluster.dialect is nacos, but no members"), "{text}");
        let config = ClusterConfig { members: "Node-1:80".into(), ..nacos };
        config.check().unwrap();
        assert!(config.speaks_nacos());
        let kept = Address::verbatim("Node-1:80").unwrap();
        assert_eq!(config.member_source(), MemberSource::List(vec![kept]));
        config.read_secret().unwrap();
    }

    #[test]
    fn an_address_server_is_one_more_source() {
        let config = ClusterConfig { address_server: "jmenv".into(), ..ClusterConfig::default() };
        config.check().unwrap();
        assert!(config.is_enabled());
        let MemberSource::AddressServer { server, period } = config.member_source() else {
            panic!("{:?}", config.member_source());
        };
        assert_eq!(server.to_string(), "http://jmenv:8080/nacos/serverlist");
        assert_eq!(period, Duration::from_secs(5));
        let text = refused(|config| config.address_server = "https://a".into());
        assert!(text.contains("cluster.address_server"), "{text}");
    }

    #[test]
    fn without_a_good_secret_it_is_said_how_to_make_one() {
        let refused = |path: &Path| {
            let secret_file = path.to_str().unwrap().to_owned();
            let config = ClusterConfig { secret_file, ..ClusterConfig::default() };
            format!("{:#}", config.read_secret().unwrap_err())
        };
        assert!(refused(Path::new("")).contains("openssl rand"));
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        assert!(refused(&path).contains("cluster.secret_file"));
        std::fs::write(&path, "short\n").unwrap();
        let text = refused(&path);
        assert!(text.contains("openssl rand") && !text.contains("short\n"), "{text}");
        std::fs::write(&path, "x".repeat(5_000)).unwrap();
        assert!(refused(&path).contains("too long"));
        // The documented minimum is the one that is checked.
        std::fs::write(&path, "x".repeat(31)).unwrap();
        assert!(refused(&path).contains("it needs 32"));
        std::fs::write(&path, "x".repeat(32)).unwrap();
        let secret_file = path.to_str().unwrap().to_owned();
        let previous_secret_file = directory.path().join("previous").to_str().unwrap().to_owned();
        let config =
            ClusterConfig { secret_file, previous_secret_file, ..ClusterConfig::default() };
        config.read_secret().expect("without a previous one, too");
        std::fs::write(&config.previous_secret_file, "short").unwrap();
        let text = config.read_secret().unwrap_err().to_string();
        assert!(text.contains("cluster.previous_secret_file"), "{text}");
    }

    #[test]
    fn a_previous_secret_without_a_secret_is_refused() {
        let text = refused(|config| config.previous_secret_file = "previous".into());
        assert!(text.contains("cluster.secret_file is not"), "{text}");
    }
}
