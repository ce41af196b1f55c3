//! One server: the core, the store, and what its request handlers do with both.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use distro_core::{
    Answer, CallId, Datum, Distro, DistroConfig, Forwarding, Health, Heard, HoldingConfig, Input,
    JudgeTerms, Key, LeaseTerms, MemberId, Now, Operation, Record, Rules, Stamp, StampClock, Step,
    Store, StoreConfig, Tick, Value, Verdict, Watcher,
};
use distro_net::{BadValue, ValueCodec};

use crate::disk::{Disk, Saver};

/// What a record is in these runs: an instance with the number of its last write, or a number that
/// lives without beats.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Text {
    pub(crate) number: u32,
    pub(crate) is_setting: bool,
}

impl Text {
    pub(crate) fn instance(number: u32) -> Arc<Self> {
        Arc::new(Self { number, is_setting: false })
    }
}

impl Value for Text {
    fn lease(&self) -> Option<LeaseTerms> {
        let seconds = Duration::from_secs;
        let terms = LeaseTerms { unhealthy_after: seconds(15), expire_after: seconds(30) };
        (!self.is_setting).then_some(terms)
    }
    fn shows_like(&self, other: &Self) -> bool {
        self == other
    }
    fn class(&self) -> usize {
        0
    }
}

/// How an instance passes between members.
pub(crate) struct Texts;

impl ValueCodec<Text> for Texts {
    fn encode(&self, value: &Text, target: &mut Vec<u8>) {
        target.push(u8::from(value.is_setting));
        target.extend_from_slice(&value.number.to_le_bytes());
    }
    fn decode(&self, source: &[u8]) -> Result<Text, BadValue> {
        let &[kind, a, b, c, d] = source else { return Err(BadValue("not five bytes".into())) };
        Ok(Text { number: u32::from_le_bytes([a, b, c, d]), is_setting: kind != 0 })
    }
}

/// The same for a release that cannot read what was written with a later one.
pub(crate) struct EarlyTexts;

/// Instances from this number on were written with a later release.
pub(crate) const LATER: u32 = 1_000_000;

impl ValueCodec<Text> for EarlyTexts {
    fn encode(&self, value: &Text, target: &mut Vec<u8>) {
        Texts.encode(value, target);
    }
    fn decode(&self, source: &[u8]) -> Result<Text, BadValue> {
        let text = Texts.decode(source)?;
        if text.number < LATER { Ok(text) } else { Err(BadValue("of a later release".into())) }
    }
}

/// Names a call of one process: of its control plane, or of a request handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Call {
    Control(CallId),
    Handler(u64),
}

/// What a client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ask {
    Register(u32),
    Deregister,
    /// A beat; with the number of the last write if it carries the whole instance.
    Beat(Option<u32>),
    /// Add one to the number that is there; it is this then.
    Count(u32),
    /// An operator sets the health.
    Judge(Health),
    /// An operator removes all that has the tag.
    Close,
    /// Set up a connection.
    Connect,
    /// Register over a connection: of this number, the write of that one.
    Publish(usize, u32),
    /// The same, because it is there no more and the connection is.
    PublishAnew(usize, u32),
    /// Write a durable record, or remove it: the write of this number.
    Save(u32),
    Erase(u32),
}

impl Ask {
    /// Whether it is told only when it is on disk.
    fn is_durable(self) -> bool {
        matches!(self, Self::Save(_) | Self::Erase(_))
    }
}

/// What a client is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    Done,
    /// Counted up to this.
    Counted(u32),
    /// 20404: register again.
    Unknown,
    /// 503: try another.
    Busy,
}

/// A client's call that a handler works on.
pub(crate) struct Task {
    pub(crate) client: usize,
    pub(crate) attempt: u64,
    pub(crate) ask: Ask,
    /// How often somebody else came in between.
    retries: u8,
    forwarding: Forwarding<Text>,
}

/// A durable write that waits for disks.
pub(crate) struct Holding {
    pub(crate) client: usize,
    pub(crate) attempt: u64,
    /// How many must yet confirm.
    pub(crate) missing: usize,
}

pub(crate) enum Progress {
    Told(usize, u64, Told),
    /// It is written, and to be told once it is on disk.
    Hold(usize, u64),
    /// It is registered over a connection with this stamp, unless somebody else was faster.
    Published(u64, Ask, Option<Stamp>),
    Send(u64, MemberId, distro_core::Request<Text>, Duration),
}

pub(crate) struct Process {
    pub(crate) store: Arc<Store<Text, ()>>,
    pub(crate) distro: Distro<Text, ()>,
    pub(crate) answer: Answer<Text, ()>,
    pub(crate) started_at: u64,
    /// The round of judging that is under way.
    pub(crate) round: Option<JudgeTerms>,
    /// Inputs that wait for its end.
    pub(crate) waiting: VecDeque<Input<Text>>,
    pub(crate) pending: BTreeSet<Call>,
    pub(crate) tasks: BTreeMap<u64, Task>,
    next_task: u64,
    pub(crate) saver: Saver,
    pub(crate) verdicts: Arc<Verdicts>,
    pub(crate) connections: distro_core::Holding<Text>,
    pub(crate) holdings: BTreeMap<u64, Holding>,
    /// Calls that ask others to hold something, and for which write.
    pub(crate) asked_to_hold: BTreeMap<u64, u64>,
}

/// Whom a process has just judged to be silent.
#[derive(Default)]
pub(crate) struct Verdicts(Mutex<Vec<(Arc<str>, Key)>>);

impl Verdicts {
    pub(crate) fn take(&self) -> Vec<(Arc<str>, Key)> {
        std::mem::take(&mut self.0.lock().expect("nobody panics while it is held"))
    }
}

impl Watcher<Text, ()> for Verdicts {
    fn changed(&self, _: &Arc<Datum<Text, ()>>, _: &[Key], _: bool) {}

    fn judged(&self, datum: &Arc<Datum<Text, ()>>, verdict: &Verdict<Text>) {
        if verdict.health != Health::Healthy {
            let place = (Arc::clone(datum.tag()), Arc::clone(&verdict.key));
            self.0.lock().expect("nobody panics while it is held").push(place);
        }
    }
}

/// When a durable write is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Acks {
    /// Once it is on the disk of the member that took it.
    Local,
    /// Once it is on the disks of more than half of the members.
    Majority,
}

/// What may be wrong with how a server keeps durable records, to see that it is noticed.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Flaws {
    /// Clients are answered before the disk has it.
    pub(crate) answers_early: bool,
    /// So are members that ask to hold something.
    pub(crate) holds_early: bool,
    /// Removals are not saved: what was there is just not there any more.
    pub(crate) forgets_removals: bool,
    /// A member that has its disk does not load it.
    pub(crate) loads_nothing: bool,
    /// A record that cannot be read spoils the message that it comes in.
    pub(crate) reads_all_or_nothing: bool,
}

#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) rules: Rules,
    pub(crate) config: DistroConfig,
    pub(crate) store: StoreConfig,
    pub(crate) holding: HoldingConfig,
    pub(crate) acks: Acks,
    pub(crate) flaws: Flaws,
}

impl Process {
    pub(crate) fn start(
        setup: &Setup,
        id: MemberId,
        others: &[MemberId],
        incarnation: u32,
        wall_ms: u64,
        started_at: u64,
        disk: &Disk,
    ) -> Self {
        let now = Now { tick: Tick::START, wall_ms };
        let clock = StampClock::new(id, incarnation, now);
        let saver = Saver::default();
        let verdicts = Arc::<Verdicts>::default();
        let watchers = vec![Arc::clone(&saver.dirty) as Arc<_>, Arc::clone(&verdicts) as Arc<_>];
        let store = Arc::new(Store::new(setup.store.clone(), clock, watchers));
        if !setup.flaws.loads_nothing {
            disk.load(&store, Tick::START);
        }
        let seed = u64::from(id.0) ^ u64::from(incarnation);
        let distro =
            Distro::new(setup.config.clone(), Arc::clone(&store), others, seed, Tick::START);
        let answer = distro.answer();
        Self {
            store,
            distro,
            answer,
            started_at,
            round: None,
            waiting: VecDeque::new(),
            pending: BTreeSet::new(),
            tasks: BTreeMap::new(),
            next_task: 0,
            saver,
            verdicts,
            connections: distro_core::Holding::new(setup.holding),
            holdings: BTreeMap::new(),
            asked_to_hold: BTreeMap::new(),
        }
    }

    pub(crate) fn new_task(&mut self) -> u64 {
        self.next_task += 1;
        self.next_task
    }

    pub(crate) fn tick(&self, now_ms: u64) -> Tick {
        Tick::START.after(Duration::from_millis(now_ms - self.started_at))
    }

    /// When a tick will be.
    pub(crate) fn moment(&self, tick: Tick) -> u64 {
        self.started_at + tick.as_ms() - Tick::START.as_ms()
    }

    /// Whether a call that is read now may have waited while this process was stopped.
    pub(crate) fn may_be_late(&self, tick: Tick) -> bool {
        self.distro.shared_status().may_be_late(tick)
    }

    /// A client's call arrives.
    pub(crate) fn handle(
        &mut self,
        client: usize,
        attempt: u64,
        place: (&str, &str),
        ask: Ask,
        now: Tick,
        rules: &Rules,
    ) -> Progress {
        let told = |told| Progress::Told(client, attempt, told);
        let status = Arc::clone(self.distro.shared_status());
        if rules.pause && !status.may_write(now) {
            return told(Told::Busy);
        }
        if let Ask::Beat(whole) = ask {
            match self.store.hear(place.0, place.1, now) {
                Heard::Known { .. } => return told(Told::Done),
                Heard::Deregistered { learned } if self.is_recent(learned, now) => {
                    return told(if whole.is_some() { Told::Done } else { Told::Unknown });
                }
                _ => {}
            }
        }
        if let Ask::Count(_) = ask {
            if !status.may_read(now) {
                return told(Told::Busy);
            }
            return self.count(client, attempt, place, 0, now);
        }
        let operation = self.operation(place, ask, now);
        self.begin(client, attempt, ask, 0, operation, now)
    }

    /// A client asks for something over a connection, or this member for it.
    pub(crate) fn publish(
        &mut self,
        client: usize,
        attempt: u64,
        place: (&str, &str),
        ask: Ask,
        now: Tick,
    ) -> Progress {
        if !self.distro.shared_status().may_write(now) {
            return Progress::Told(client, attempt, Told::Busy);
        }
        let operation = self.operation(place, ask, now);
        self.begin(client, attempt, ask, 0, operation, now)
    }

    /// Reads a number, adds one, and writes that if nobody else has written meanwhile.
    fn count(
        &mut self,
        client: usize,
        attempt: u64,
        place: (&str, &str),
        retries: u8,
        now: Tick,
    ) -> Progress {
        const MOST_RETRIES: u8 = 5;
        if retries > MOST_RETRIES {
            return Progress::Told(client, attempt, Told::Busy);
        }
        let record = self.store.find(place.0);
        let record =
            record.and_then(|datum| datum.read(|reader| reader.find(place.1).map(Cow::into_owned)));
        let version = record.as_ref().map_or(Stamp::NEVER, Record::version);
        let number = record.and_then(|record| record.value).map_or(0, |text| text.number) + 1;
        let (stamp, value) = (self.store.clock().issue(now), Text { number, is_setting: true });
        let (tag, key) = place;
        let operation = Operation::register(tag, key, stamp, Arc::new(value), Health::Healthy)
            .expecting(version);
        self.begin(client, attempt, Ask::Count(number), retries, operation, now)
    }

    fn operation(&self, place: (&str, &str), ask: Ask, now: Tick) -> Operation<Text> {
        let (tag, key) = place;
        let stamp = self.store.clock().issue(now);
        match ask {
            Ask::PublishAnew(_, version) => {
                Operation::register(tag, key, stamp, Text::instance(version), Health::Healthy)
                    .expecting(Stamp::NEVER)
            }
            Ask::Register(version) | Ask::Publish(_, version) => {
                Operation::register(tag, key, stamp, Text::instance(version), Health::Healthy)
            }
            Ask::Save(number) => {
                let value = Arc::new(Text { number, is_setting: true });
                Operation::register(tag, key, stamp, value, Health::Healthy)
            }
            Ask::Deregister | Ask::Erase(_) => Operation::deregister(tag, key, stamp),
            Ask::Beat(_) | Ask::Count(_) | Ask::Connect => Operation::hear(tag, key),
            Ask::Judge(health) => Operation::judge(tag, key, stamp, health),
            Ask::Close => Operation::close(tag, stamp),
        }
    }

    fn begin(
        &mut self,
        client: usize,
        attempt: u64,
        ask: Ask,
        retries: u8,
        operation: Operation<Text>,
        now: Tick,
    ) -> Progress {
        let status = Arc::clone(self.distro.shared_status());
        let deadline = DistroConfig::default().forward_deadline;
        let place = (Arc::clone(operation.tag()), operation.key().to_owned());
        let (forwarding, step) = Forwarding::begin(&self.store, &status, deadline, operation, now);
        let task = Task { client, attempt, ask, retries, forwarding };
        self.follow(task, (&place.0, &place.1), step, now)
    }

    fn follow(&mut self, task: Task, place: (&str, &str), step: Step<Text>, now: Tick) -> Progress {
        let Task { client, attempt, ask, retries, .. } = task;
        match step {
            Step::Send { to, request, deadline, .. } => {
                let number = self.new_task();
                self.tasks.insert(number, task);
                Progress::Send(number, to, request, deadline)
            }
            Step::Done(written) => match ask {
                Ask::Beat(whole) => {
                    self.compensate(client, attempt, place, whole, written.record, now)
                }
                Ask::Count(number) if written.is_applied => {
                    Progress::Told(client, attempt, Told::Counted(number))
                }
                Ask::Count(_) => self.count(client, attempt, place, retries + 1, now),
                ask @ (Ask::Publish(..) | Ask::PublishAnew(..)) => {
                    let record = written.record.filter(|_| written.is_applied);
                    let stamp = record.map(|record| record.registration);
                    Progress::Published(attempt, ask, stamp)
                }
                ask if ask.is_durable() => Progress::Hold(client, attempt),
                _ => Progress::Told(client, attempt, Told::Done),
            },
        }
    }

    /// The beat of a record that was not known here, once the owner was asked.
    fn compensate(
        &mut self,
        client: usize,
        attempt: u64,
        place: (&str, &str),
        whole: Option<u32>,
        record: Option<Record<Text>>,
        now: Tick,
    ) -> Progress {
        let told = |told| Progress::Told(client, attempt, told);
        if record.as_ref().is_some_and(Record::is_visible) {
            return told(Told::Done);
        }
        if !self.distro.shared_status().may_read(now) {
            return told(Told::Busy);
        }
        if let Heard::Deregistered { learned } = self.store.hear(place.0, place.1, now)
            && self.is_recent(learned, now)
        {
            return told(if whole.is_some() { Told::Done } else { Told::Unknown });
        }
        match whole {
            None => told(Told::Unknown),
            Some(version) => {
                let operation = self.operation(place, Ask::Register(version), now);
                self.begin(client, attempt, Ask::Register(version), 0, operation, now)
            }
        }
    }

    fn is_recent(&self, learned: Tick, now: Tick) -> bool {
        now.since(learned) < self.store.config().compensation_window
    }

    pub(crate) fn handler_answered(
        &mut self,
        task: u64,
        place: (&str, &str),
        reply: distro_core::Reply<Text>,
        now: Tick,
    ) -> Option<Progress> {
        let mut task = self.tasks.remove(&task)?;
        let step = task.forwarding.answered(&self.store, reply, now);
        Some(self.follow(task, place, step, now))
    }

    pub(crate) fn handler_failed(
        &mut self,
        task: u64,
        place: (&str, &str),
        now: Tick,
    ) -> Option<Progress> {
        let mut task = self.tasks.remove(&task)?;
        let status = Arc::clone(self.distro.shared_status());
        let step = task.forwarding.failed(&self.store, &status, now);
        Some(self.follow(task, place, step, now))
    }

    /// What a reader sees of a record.
    pub(crate) fn view(&self, tag: &str, key: &str) -> Option<(u32, Health)> {
        let datum = self.store.find(tag)?;
        datum.read(|reader| {
            let record = reader.find(key).filter(|record| record.is_visible())?;
            Some((record.value.as_ref()?.number, record.health()))
        })
    }
}
