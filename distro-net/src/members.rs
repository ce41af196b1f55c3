//! Where the list of members comes from, and how it is watched.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::address::{Address, BadAddress, Spelling};
use crate::address_server::{AddressServer, text_of_members};
use crate::control::Control;
use crate::names::{NameServer, look_up_host, look_up_services};

/// From one look at a file to the next; short, because servers of Nacos take a new list at once,
/// and while lists differ, members disagree about who owns what.
const PROMPT_PERIOD: Duration = Duration::from_millis(100);

/// The same among members whose lists may differ for a while.
const FILE_PERIOD: Duration = Duration::from_secs(1);

/// Looks at an address server before a start without it is given up, and from one to the next.
const FIRST_LOOKS: u32 = 5;
/// The same of a name. That of a service in Kubernetes is known some seconds after its first pod
/// has started.
const FIRST_LOOKS_AT_A_NAME: u32 = 30;
const FIRST_LOOK_PERIOD: Duration = Duration::from_secs(1);

/// A file longer than this is not a list of members.
const MOST_FILE_BYTES: u64 = 1 << 20;

/// Bad lines that are named in the log, of one version of a list.
const MOST_BAD_LINES: usize = 10;

/// Where the addresses of the members come from. Members need not see the same list at the same
/// time, and need not be on their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemberSource {
    /// A list that stays.
    List(Vec<Address>),
    /// A file with an address on each line or several with commas between; `#` begins a comment.
    File(PathBuf),
    /// A server that hands out the list, as the `address-server` of Nacos.
    AddressServer {
        /// Where it is.
        server: AddressServer,
        /// From one look to the next. Too short burdens that server; 5 s is good.
        period: Duration,
    },
    /// All addresses of a name, as of a headless service; or, if the name begins with an
    /// underscore (`_client._tcp.naming`), all hosts and ports that its service records name.
    Dns {
        /// The name to resolve.
        name: String,
        /// The port of every member. Service records have ports of their own.
        port: u16,
        /// Who is asked. `None`: whom this machine asks.
        server: Option<NameServer>,
        /// From one look to the next. Too short burdens the name server; a member that is moved
        /// is called at its old address for so long. 5 s is good.
        period: Duration,
    },
}

impl MemberSource {
    /// Looks for the first time. Fails if the file cannot be read, if the name cannot be resolved
    /// for half a minute, or if an address server gives no list, several times. Addresses that are read are taken in this
    /// spelling; with [`Spelling::Verbatim`] a file is looked at ten times a second.
    pub async fn start(self, spelling: Spelling) -> io::Result<(Vec<Address>, MemberWatch)> {
        let look = self.first_look(spelling).await?;
        let mut watch = MemberWatch::new(self, spelling, look.addresses.clone());
        watch.note_bad_lines(look.bad);
        Ok((look.addresses, watch))
    }

    async fn first_look(&self, spelling: Spelling) -> io::Result<Look> {
        let (looks, asked) = match self {
            Self::List(_) | Self::File(_) => (1, ""),
            Self::AddressServer { .. } => (FIRST_LOOKS, "the address server"),
            Self::Dns { .. } => (FIRST_LOOKS_AT_A_NAME, "the name of the members"),
        };
        for _ in 1..looks {
            match self.look(spelling).await {
                Ok(look) if !look.addresses.is_empty() => return Ok(look),
                Ok(_) => tracing::warn!("{asked} names no member yet"),
                Err(error) => tracing::warn!("{asked} gives no list yet: {error}"),
            }
            tokio::time::sleep(FIRST_LOOK_PERIOD).await;
        }
        self.look(spelling).await
    }

    async fn look(&self, spelling: Spelling) -> io::Result<Look> {
        match self {
            Self::List(addresses) => Ok(Look::good(addresses.iter().cloned())),
            Self::File(path) => {
                if tokio::fs::metadata(path).await?.len() > MOST_FILE_BYTES {
                    return Err(io::Error::new(io::ErrorKind::FileTooLarge, "too long for a list"));
                }
                let bytes = tokio::fs::read(path).await?;
                Ok(Look::parse(&String::from_utf8_lossy(&bytes), spelling))
            }
            Self::AddressServer { server, .. } => {
                Ok(Look::parse(&text_of_members(&server.fetch().await?)?, spelling))
            }
            Self::Dns { name, server, .. } if name.starts_with('_') => {
                Ok(Look::good(look_up_services(name, *server).await?.into_iter()))
            }
            Self::Dns { name, port, server: Some(server), .. } => {
                let found = look_up_host(name, *port, *server).await?;
                Ok(Look::good(found.into_iter().map(Address::from)))
            }
            Self::Dns { name, port, .. } => {
                let found = tokio::net::lookup_host((name.as_str(), *port)).await?;
                Ok(Look::good(found.map(Address::from)))
            }
        }
    }

    fn period(&self, spelling: Spelling) -> Option<Duration> {
        match self {
            Self::List(_) => None,
            Self::File(_) => Some(match spelling {
                Spelling::Normal => FILE_PERIOD,
                Spelling::Verbatim => PROMPT_PERIOD,
            }),
            Self::Dns { period, .. } | Self::AddressServer { period, .. } => Some(*period),
        }
    }
}

/// What a source says at one moment.
struct Look {
    addresses: Vec<Address>,
    bad: Vec<BadLine>,
}

impl Look {
    fn parse(text: &str, spelling: Spelling) -> Self {
        let (addresses, bad) = parse_members(text, spelling);
        Self { addresses, bad }
    }

    fn good(addresses: impl Iterator<Item = Address>) -> Self {
        let addresses: BTreeSet<_> = addresses.collect();
        Self { addresses: addresses.into_iter().collect(), bad: Vec::new() }
    }
}

/// A part of a list that is not an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadLine {
    /// Which line, from 1 on.
    pub line: usize,
    /// What is wrong.
    pub error: BadAddress,
}

/// The addresses in a text, each once and in order, and what is not one.
pub fn parse_members(text: &str, spelling: Spelling) -> (Vec<Address>, Vec<BadLine>) {
    let (mut addresses, mut bad) = (BTreeSet::new(), Vec::new());
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let code = line.split('#').next().unwrap_or_default();
        for part in code.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            match spelling.read(part) {
                Ok(address) => {
                    addresses.insert(address);
                }
                Err(error) => bad.push(BadLine { line: index + 1, error }),
            }
        }
    }
    (addresses.into_iter().collect(), bad)
}

/// A source that is looked at again and again.
///
/// A change counts when it is seen twice in a row, so that a file which an editor is just writing
/// is not taken by halves. A source that fails or is empty changes nothing: losing all members
/// for a typing error or a name server's bad moment would be worse than keeping old ones.
#[derive(Debug)]
pub struct MemberWatch {
    source: MemberSource,
    spelling: Spelling,
    current: Vec<Address>,
    candidate: Option<Vec<Address>>,
    trouble: Option<String>,
    bad: Vec<BadLine>,
    /// When to look next.
    next_look: Option<tokio::time::Instant>,
}

impl MemberWatch {
    fn new(source: MemberSource, spelling: Spelling, current: Vec<Address>) -> Self {
        let (candidate, trouble, bad, next_look) = (None, None, Vec::new(), None);
        Self { source, spelling, current, candidate, trouble, bad, next_look }
    }

    /// Waits for the next list that differs from the last one. Dropping the future loses nothing.
    /// Never returns for a list that stays.
    pub async fn changed(&mut self) -> Vec<Address> {
        let Some(period) = self.source.period(self.spelling) else {
            return std::future::pending().await;
        };
        loop {
            let next = *self.next_look.get_or_insert_with(|| tokio::time::Instant::now() + period);
            tokio::time::sleep_until(next).await;
            let found = self.source.look(self.spelling).await;
            self.next_look = None;
            let found = found.map(|look| {
                self.note_bad_lines(look.bad);
                look.addresses
            });
            if let Some(changed) = self.consider(found) {
                return changed;
            }
        }
    }

    /// Gives every change to a driver, until `shutdown`.
    pub async fn follow<V>(mut self, control: Control<V>, shutdown: CancellationToken) {
        loop {
            let members = tokio::select! {
                () = shutdown.cancelled() => return,
                members = self.changed() => members,
            };
            let list: Vec<&str> = members.iter().map(Address::as_str).collect();
            tracing::info!(members = list.join(","), "the list of members has changed");
            if !control.set_members(&members).await {
                return;
            }
        }
    }

    fn consider(&mut self, found: io::Result<Vec<Address>>) -> Option<Vec<Address>> {
        let found = match found {
            Ok(found) if !found.is_empty() => found,
            Ok(_) => return self.note_trouble("it names no member"),
            Err(error) => return self.note_trouble(&error.to_string()),
        };
        if self.trouble.take().is_some() {
            tracing::info!("the list of members can be read again");
        }
        let candidate = self.candidate.take();
        if found == self.current {
            return None;
        }
        if candidate.as_ref() == Some(&found) {
            self.current.clone_from(&found);
            return Some(found);
        }
        self.candidate = Some(found);
        None
    }

    /// Names the bad lines in the log, once for each version of the list.
    fn note_bad_lines(&mut self, bad: Vec<BadLine>) {
        if self.bad != bad {
            for BadLine { line, error } in bad.iter().take(MOST_BAD_LINES) {
                tracing::warn!(source = ?self.source, line, "ignored: {error}");
            }
            self.bad = bad;
        }
    }

    /// Once for each kind of trouble.
    fn note_trouble(&mut self, text: &str) -> Option<Vec<Address>> {
        self.candidate = None;
        if self.trouble.as_deref() != Some(text) {
            let source = &self.source;
            tracing::warn!(?source, "the list of members is unchanged: {text}");
            self.trouble = Some(text.to_owned());
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    fn list(text: &str) -> Vec<Address> {
        let (addresses, bad) = parse_members(text, Spelling::Normal);
        assert_eq!(bad, []);
        addresses
    }

    #[test]
    fn lists_may_have_comments_commas_and_bad_lines() {
        let text = "\u{feff}# members\r\n10.0.0.2:8848, 10.0.0.1:8848,,\n\n  node-3 # third\n\
                    10.0.0.999:1, [::1]:80\n10.0.0.1:8848?raft_port=7848\n";
        let (addresses, bad) = parse_members(text, Spelling::Normal);
        let texts: Vec<&str> = addresses.iter().map(Address::as_str).collect();
        assert_eq!(texts, ["10.0.0.1:8848", "10.0.0.2:8848", "[::1]:80", "node-3:8848"]);
        assert_eq!(bad, [BadLine { line: 5, error: BadAddress("10.0.0.999:1".into()) }]);
    }

    #[test]
    fn a_change_counts_at_second_sight() {
        let mut watch =
            MemberWatch::new(MemberSource::File("f".into()), Spelling::Normal, list("a,b"));
        assert_eq!(watch.consider(Ok(list("a,b"))), None);
        assert_eq!(watch.consider(Ok(list("a"))), None, "perhaps half of a file");
        assert_eq!(watch.consider(Ok(list("a,b,c"))), None);
        assert_eq!(watch.consider(Ok(list("a,b,c"))), Some(list("a,b,c")));
        assert_eq!(watch.consider(Ok(list("a,b,c"))), None);
    }

    #[test]
    fn a_source_that_fails_or_is_empty_changes_nothing() {
        let mut watch =
            MemberWatch::new(MemberSource::File("f".into()), Spelling::Normal, list("a,b"));
        for _ in 0..3 {
            assert_eq!(watch.consider(Ok(vec![])), None);
            assert_eq!(watch.consider(Err(io::ErrorKind::NotFound.into())), None);
        }
        assert_eq!(watch.current, list("a,b"));
    }

    /// As editors do it: a new file is put in the place of the old one.
    fn rewrite(path: &Path, text: &str) {
        let fresh = path.with_extension("new");
        fs::write(&fresh, text).unwrap();
        fs::rename(fresh, path).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_is_watched_through_rewrites_and_its_absence() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("cluster.conf");
        rewrite(&path, "a\nb\n");
        let (first, mut watch) =
            MemberSource::File(path.clone()).start(Spelling::Normal).await.unwrap();
        assert_eq!(first, list("a,b"));
        rewrite(&path, "a\nb\nnonsense:x\nc # new\n");
        assert_eq!(watch.changed().await, list("a,b,c"));
        fs::remove_file(&path).unwrap();
        let waited = tokio::time::timeout(Duration::from_secs(5), watch.changed()).await;
        assert!(waited.is_err(), "a missing file changes nothing");
        rewrite(&path, "c");
        assert_eq!(watch.changed().await, list("c"));
    }

    #[tokio::test]
    async fn a_name_stands_for_all_its_addresses() {
        let (name, period) = ("localhost".to_owned(), Duration::from_secs(5));
        let source = MemberSource::Dns { name, port: 77, server: None, period };
        let (found, _) = source.start(Spelling::Normal).await.unwrap();
        assert!(found.contains(&"127.0.0.1:77".parse().unwrap()), "{found:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_that_stays_never_changes() {
        let (first, mut watch) =
            MemberSource::List(list("b,a")).start(Spelling::Normal).await.unwrap();
        assert_eq!(first, list("a,b"));
        let waited = tokio::time::timeout(Duration::from_secs(3_600), watch.changed()).await;
        assert!(waited.is_err());
    }
}
