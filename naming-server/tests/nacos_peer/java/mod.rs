//! A stand-in of a server of Nacos 1.4: it keeps, sends and answers what one does, its defects
//! included, and notes down every request that a real one would stumble over.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::BufReader;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

mod answer;
mod client;
pub(crate) mod data;
pub(crate) mod http;
mod list;
mod operator;
mod periodic;
mod strict;

use data::{Instance, owner_index, split_key};
use list::ListFile;
pub(crate) use operator::{Auth, Raft};

/// What it says of itself.
pub(crate) const VERSION: &str = "1.4.8";
/// What its HTTP library calls itself.
const LIBRARY: &str = "Apache-HttpAsyncClient/4.1.3 (Java/17.0.15)";
/// Between two looks at what is due.
const TICK: Duration = Duration::from_millis(20);

/// How often it does what a real one does in the times that stand behind.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// From a write to the list that others get: 2 s.
    pub(crate) put_delay: Duration,
    /// From a list that was not taken to the next try: 6 s.
    pub(crate) put_retry: Duration,
    /// Between two comparisons: 5 s.
    pub(crate) checksum: Duration,
    /// Between two reports, each to the next member: 2 s.
    pub(crate) report: Duration,
    /// Between two messages about health: 5 s.
    pub(crate) status: Duration,
    /// Between two looks at the beats: 5 s.
    pub(crate) judge: Duration,
    /// From reading a new list of members to writing it back: some milliseconds.
    pub(crate) write_back: Duration,
}

impl Pace {
    /// That of a real one.
    pub(crate) const REAL: Self = Self {
        put_delay: Duration::from_secs(2),
        put_retry: Duration::from_secs(6),
        checksum: Duration::from_secs(5),
        report: Duration::from_secs(2),
        status: Duration::from_secs(5),
        judge: Duration::from_secs(5),
        write_back: Duration::from_millis(20),
    };

    /// So that tests are quick.
    pub(crate) const QUICK: Self = Self {
        put_delay: Duration::from_millis(400),
        put_retry: Duration::from_secs(1),
        checksum: Duration::from_millis(1_000),
        report: Duration::from_millis(200),
        status: Duration::from_millis(1_000),
        judge: Duration::from_millis(500),
        // Longer than a real one takes, so that a test can write in between.
        write_back: Duration::from_millis(500),
    };
}

/// A member as another one sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sight {
    Up,
    Suspicious,
    Down,
}

#[derive(Debug)]
struct Member {
    sight: Sight,
    failures: u32,
    has_version: bool,
}

/// What a stand-in noticed.
#[derive(Debug, Default)]
struct Notes {
    /// What a real one would have stumbled over.
    faults: Vec<String>,
    /// Kinds of requests that it got from members, to know that they came at all.
    kinds: BTreeMap<&'static str, u64>,
}

struct State {
    lists: BTreeMap<String, Vec<Instance>>,
    members: BTreeMap<String, Member>,
    /// When its view of who owns what changed last.
    view_changed: Instant,
    /// Lists to be sent: target and key.
    due: BTreeMap<(String, String), Instant>,
    /// Senders of comparisons that are being worked on.
    comparing: HashSet<String>,
    /// Keys of which it tells nobody: messages that got lost.
    muted: BTreeSet<String>,
    /// Whether it is in its own list. Others may refuse what it sends once it is not.
    is_listed: bool,
    /// The switch `check`.
    judges_beats: bool,
}

/// What a stand-in is told before it starts.
pub(crate) struct Setup {
    pub(crate) own: String,
    /// Its own list of members.
    pub(crate) list_file: PathBuf,
    pub(crate) pace: Pace,
    pub(crate) raft: Raft,
    pub(crate) auth: Option<Auth>,
    /// Whether the lists of the members are being written, one after the other, or a server runs
    /// that is in none. Then some refuse others.
    pub(crate) lists_differ: Arc<AtomicBool>,
}

pub(crate) struct Inner {
    own: String,
    pace: Pace,
    started: Instant,
    raft: Raft,
    auth: Option<Auth>,
    lists_differ: Arc<AtomicBool>,
    list_file: Mutex<ListFile>,
    state: Mutex<State>,
    notes: Mutex<Notes>,
    has_ended: AtomicBool,
}

/// A running stand-in. Dropping it kills it.
pub(crate) struct Java {
    inner: Arc<Inner>,
}

impl Java {
    /// Starts as a server of Nacos does: everybody else is down, the lists of the first who
    /// answers are taken, and then the port is opened.
    pub(crate) fn start(setup: Setup) -> Self {
        let Setup { own, list_file, pace, raft, auth, lists_differ } = setup;
        let members = list::read(&list_file);
        let others = members.iter().filter(|member| **member != own);
        let unseen = || Member { sight: Sight::Down, failures: 0, has_version: false };
        let state = State {
            lists: BTreeMap::new(),
            members: others.map(|member| (member.clone(), unseen())).collect(),
            view_changed: Instant::now(),
            due: BTreeMap::new(),
            comparing: HashSet::new(),
            muted: BTreeSet::new(),
            is_listed: true,
            judges_beats: true,
        };
        raft.join(&own);
        let inner = Arc::new(Inner {
            pace,
            started: Instant::now(),
            raft,
            auth,
            lists_differ,
            list_file: Mutex::new(ListFile::new(list_file)),
            own,
            state: Mutex::new(state),
            notes: Mutex::default(),
            has_ended: AtomicBool::new(false),
        });
        inner.load();
        let listener = listen(&inner.own);
        let (accepting, ticking) = (Arc::clone(&inner), Arc::clone(&inner));
        thread::spawn(move || accepting.accept(&listener));
        thread::spawn(move || ticking.run());
        Self { inner }
    }

    pub(crate) fn address(&self) -> &str {
        &self.inner.own
    }

    /// How it sees another. What it does not list is down.
    pub(crate) fn sight(&self, other: &str) -> Sight {
        self.inner.state().members.get(other).map_or(Sight::Down, |member| member.sight)
    }

    /// The other members in its list.
    pub(crate) fn others(&self) -> BTreeSet<String> {
        self.inner.state().members.keys().cloned().collect()
    }

    /// Whether it knows what version another one claims.
    pub(crate) fn knows_version(&self, other: &str) -> bool {
        self.inner.state().members[other].has_version
    }

    /// The list of a service.
    pub(crate) fn list(&self, key: &str) -> Vec<Instance> {
        self.inner.state().lists.get(key).cloned().unwrap_or_default()
    }

    /// Puts a list where it is as if it had been there, without a word to anybody.
    pub(crate) fn plant(&self, key: &str, list: Vec<Instance>) {
        self.inner.state().lists.insert(key.to_owned(), list);
    }

    /// Forgets a list without a word to anybody.
    pub(crate) fn forget(&self, key: &str) {
        self.inner.state().lists.remove(key);
    }

    /// Whether lists of this service are sent to others.
    pub(crate) fn mute(&self, key: &str, is_muted: bool) {
        let mut state = self.inner.state();
        match is_muted {
            true => state.muted.insert(key.to_owned()),
            false => state.muted.remove(key),
        };
    }

    pub(crate) fn owner(&self, key: &str) -> String {
        self.inner.owner(&self.inner.state(), key)
    }

    /// How many requests of a kind came from members.
    pub(crate) fn count(&self, kind: &str) -> u64 {
        self.inner.notes().kinds.get(kind).copied().unwrap_or_default()
    }

    /// Fails if a real one would have stumbled over anything.
    pub(crate) fn assert_no_fault(&self) {
        // Not under the lock: others may be in the middle of a request.
        let faults = self.inner.notes().faults.clone();
        assert!(faults.is_empty(), "{}: {faults:#?}", self.inner.own);
    }

    /// Ends it as a signal that cannot be caught does.
    pub(crate) fn kill(self) {
        drop(self);
    }
}

impl Drop for Java {
    fn drop(&mut self) {
        self.inner.has_ended.store(true, Ordering::SeqCst);
        self.inner.raft.leave(&self.inner.own);
        // Wakes the one who accepts, so that the port is free when this returns.
        while TcpStream::connect(&self.inner.own).is_ok() {
            thread::sleep(TICK);
        }
        if !thread::panicking() {
            self.assert_no_fault();
        }
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap()
    }

    fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::SeqCst)
    }

    fn fault(&self, text: String) {
        self.notes().faults.push(text);
    }

    /// Another one refuses what a member may send.
    fn refused(&self, text: String) {
        if self.state().is_listed && !self.lists_differ() {
            self.fault(text);
        }
    }

    fn lists_differ(&self) -> bool {
        self.lists_differ.load(Ordering::SeqCst)
    }

    fn note(&self, kind: &'static str) {
        *self.notes().kinds.entry(kind).or_default() += 1;
    }

    /// Who owns services, in order: those that are not down, and this one.
    fn owners(&self, state: &State) -> Vec<String> {
        let is_owner = |(_, member): &(&String, &Member)| member.sight != Sight::Down;
        let others = state.members.iter().filter(is_owner).map(|(address, _)| address.clone());
        let mut owners: Vec<String> = others.chain([self.own.clone()]).collect();
        owners.sort();
        owners
    }

    fn owner(&self, state: &State, key: &str) -> String {
        let (_, service) = split_key(key).unwrap();
        let owners = self.owners(state);
        owners[owner_index(service, owners.len())].clone()
    }

    fn owns(&self, state: &State, key: &str) -> bool {
        self.owner(state, key) == self.own
    }

    /// A report came from a member. What failed before is not forgotten.
    fn hear(&self, address: &str) {
        let mut state = self.state();
        let Some(member) = state.members.get_mut(address) else { return };
        member.has_version = true;
        let is_news = member.sight != Sight::Up;
        member.sight = Sight::Up;
        if is_news {
            state.view_changed = Instant::now();
        }
    }

    /// What it thinks of a member after a report to it.
    fn see(&self, address: &str, outcome: Result<(), &str>) {
        let mut state = self.state();
        let Some(member) = state.members.get_mut(address) else { return };
        let before = member.sight;
        match outcome {
            Ok(()) => (member.sight, member.failures) = (Sight::Up, 0),
            Err(error) => {
                member.failures += 1;
                let is_gone = error.to_lowercase().contains("connection refused");
                let is_down = is_gone || member.failures > 3;
                member.sight = if is_down { Sight::Down } else { Sight::Suspicious };
            }
        }
        if member.sight != before {
            state.view_changed = Instant::now();
        }
    }

    /// Takes a list as the whole truth, but for the health of what it knew before.
    fn apply(state: &mut State, key: &str, mut list: Vec<Instance>) {
        let old = state.lists.get(key).cloned().unwrap_or_default();
        for instance in &mut list {
            if let Some(known) = old.iter().find(|known| known.is_same_place(instance)) {
                instance.healthy = known.healthy;
            }
        }
        state.lists.insert(key.to_owned(), list);
    }

    /// A list has changed here: the others are told later.
    fn changed(&self, state: &mut State, key: &str) {
        let due = Instant::now() + self.pace.put_delay;
        for target in state.members.keys().cloned().collect::<Vec<_>>() {
            state.due.entry((target, key.to_owned())).or_insert(due);
        }
    }

    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        for stream in listener.incoming() {
            if self.has_ended() {
                return;
            }
            let Ok(stream) = stream else { continue };
            let server = Arc::clone(self);
            thread::spawn(move || server.serve(stream));
        }
    }

    /// Answers one request after the other.
    fn serve(self: Arc<Self>, mut stream: TcpStream) {
        let reading = stream.try_clone().unwrap();
        reading.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut reader = BufReader::new(reading);
        while let Ok(request) = http::read_request(&mut reader) {
            if self.has_ended() {
                return;
            }
            let (response, kind) = self.answer(&request);
            let closes = request.find_header("connection").eq_ignore_ascii_case("close");
            if http::write_response(&mut stream, &response, kind).is_err() || closes {
                return;
            }
        }
    }
}

/// The port may still be in use by what was killed a moment ago.
fn listen(address: &str) -> TcpListener {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        match TcpListener::bind(address) {
            Ok(listener) => return listener,
            Err(error) => assert!(Instant::now() < deadline, "{address}: {error}"),
        }
        thread::sleep(TICK);
    }
}
