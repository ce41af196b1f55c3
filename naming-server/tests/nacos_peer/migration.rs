//! The page of the migration, played step by step: docs/migration.md.

use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::SECOND;
use crate::flock::Flock;
use crate::java::Pace;
use crate::site::{PASSWORD, Site, USER, call, count, eventually, within};

/// Short leases, so that the tests need not wait for long ones: 8 s and 12 s.
const LEASES: &str =
    r#"{"preserved.heart.beat.timeout":"8000","preserved.ip.delete.timeout":"12000"}"#;
/// After so long Java holds beats of other members' services that are older than the leases.
const STALE: Duration = Duration::from_secs(13);
const BEATS: Duration = Duration::from_millis(1_500);

/// Which members are servers of Nacos at first, and which are new. Addresses sort by number.
#[derive(Clone, Copy)]
struct Way {
    old: [u8; 3],
    new: [u8; 3],
}

const BEFORE: Way = Way { old: [3, 4, 5], new: [0, 1, 2] };
const BETWEEN: Way = Way { old: [0, 2, 4], new: [1, 3, 5] };
const AFTER: Way = Way { old: [0, 1, 2], new: [3, 4, 5] };

/// An operator, the servers and the clients.
struct Play {
    site: Site,
    flock: Flock,
    way: Way,
}

/// What `migrate check` said.
struct Said {
    may_go_on: bool,
    text: String,
}

impl Play {
    /// A cluster of Nacos with authentication on, whose instances have been there for a while.
    fn begin(way: Way) -> Self {
        Self::begin_with(way, SECOND)
    }

    /// The same with so much time between two reports of a server of Nacos.
    fn begin_with(way: Way, report: Duration) -> Self {
        let pace = Pace { checksum: 3 * SECOND, report, ..Pace::QUICK };
        let mut site = Site::new(0, pace);
        site.guard();
        site.list(way.old.into_iter());
        way.old.into_iter().for_each(|member| site.start_java(member));
        site.wait_until_whole();
        let services = (0..12).map(|number| format!("move{number}")).collect();
        let targets = addresses(&site, &way.old);
        let flock = Flock::start_with(services, 2, BEATS, targets, LEASES);
        let play = Self { site, flock, way };
        play.watch(&way.old);
        thread::sleep(STALE);
        play
    }

    fn watch(&self, members: &[u8]) {
        let members = addresses(&self.site, members);
        eventually("all is there", || members.iter().all(|one| self.flock.is_whole_at(one)));
        self.flock.watch(members);
    }

    fn clients_speak_to(&self, members: &[u8]) {
        self.flock.speak_to(addresses(&self.site, members));
        // The last calls to the others are over, and every client has beaten a few times.
        thread::sleep(4 * BEATS);
    }

    /// `check` at servers of Nacos. One that has just started refuses everybody for a while.
    fn judge_beats(&self, members: &[u8], on: bool) {
        for address in addresses(&self.site, members) {
            let target = format!("operator/switches?entry=check&value={on}&debug=true");
            within(5 * SECOND, "it turns the switch", || {
                let answer = call(&address, "PUT", &target).unwrap();
                (answer.status, &*answer.body) == (200, "ok")
            });
        }
    }

    #[track_caller]
    fn go_on(&self, asked: &[u8], listed: &[u8], more: &[&str]) {
        let said = check(&self.site, asked, listed, more);
        assert!(said.may_go_on, "{}", said.text);
    }

    /// To the list of six, with the new servers up.
    fn join(&mut self, check: &[&str]) {
        let (old, new) = (self.way.old, self.way.new);
        let all = [old, new].concat();
        self.site.list(all.iter().copied());
        self.go_on(&old, &all, check);
        for member in new {
            self.start_ours(member);
        }
        self.go_on(&all, &all, &[check, &["--for", "3"]].concat());
        self.watch(&all);
    }

    fn start_ours(&mut self, member: u8) {
        self.site.start_ours(member);
        let own = self.site.address(member);
        let serves = || {
            let list = call(&own, "GET", "instance/list?serviceName=x");
            list.is_ok_and(|answer| answer.status == 200)
        };
        eventually("it serves", serves);
        assert!(self.flock.is_whole_at(&own), "from the first answer on");
    }

    /// From the list of six to that of these.
    fn leave(&mut self, stay: [u8; 3], go: [u8; 3], check: &[&str]) {
        self.flock.watch(addresses(&self.site, &stay));
        self.site.list(stay.into_iter());
        self.go_on(&[stay, go].concat(), &stay, &[check, &["--for", "3"]].concat());
        // Servers that are out of the list hear no beats any more, and run for longer than leases.
        thread::sleep(STALE);
        for member in go {
            self.site.javas.remove(&member);
            if let Some(ours) = self.site.ours.remove(&member) {
                ours.stop();
            }
        }
        self.go_on(&stay, &stay, check);
    }

    /// Nothing was missing at the watched, nobody had to register again, and hardly a call failed.
    fn assert_nothing_lost(&self, failed: usize) {
        self.flock.assert_nothing_missed();
        assert_eq!(self.flock.forgotten(), 0, "times that somebody had to register again");
        let calls = self.flock.tally().failed.lock().unwrap().clone();
        assert!(calls.len() <= failed, "{} calls: {calls:#?}", calls.len());
    }
}

fn addresses(site: &Site, members: &[u8]) -> Vec<String> {
    members.iter().map(|member| site.address(*member)).collect()
}

/// `naming-server migrate check`, as an operator runs it.
fn check(site: &Site, asked: &[u8], listed: &[u8], more: &[&str]) -> Said {
    let [asked, listed] = [asked, listed].map(|members| addresses(site, members).join(","));
    let password = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(password.path(), PASSWORD).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_naming-server"))
        .args(["migrate", "check", "--servers", &asked, "--expect", &listed])
        .args(["--user", USER, "--password-file", password.path().to_str().unwrap()])
        .args(more)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = [output.stderr, output.stdout].map(|bytes| String::from_utf8(bytes).unwrap());
    Said { may_go_on: output.status.success(), text: text.concat() }
}

const OFF: [&str; 2] = ["--health-check", "off"];
const ON: [&str; 2] = ["--health-check", "on"];

fn to_new_addresses(way: Way) -> Play {
    let mut play = Play::begin(way);
    play.go_on(&way.old, &way.old, &ON);
    play.judge_beats(&way.old, false);
    play.join(&OFF);
    // Clients may take days to move: in that time Java may judge again.
    thread::sleep(4 * BEATS);
    play.judge_beats(&way.old, true);
    thread::sleep(STALE);
    play.go_on(&[way.old, way.new].concat(), &[way.old, way.new].concat(), &ON);
    play.clients_speak_to(&way.new);
    play.judge_beats(&way.old, false);
    play.leave(way.new, way.old, &OFF);
    thread::sleep(STALE);
    play
}

pub(crate) fn nothing_is_lost_on_the_way_to_addresses_before_those_of_java() {
    to_new_addresses(BEFORE).assert_nothing_lost(3);
}

pub(crate) fn nothing_is_lost_on_the_way_to_addresses_between_those_of_java() {
    to_new_addresses(BETWEEN).assert_nothing_lost(3);
}

pub(crate) fn nothing_is_lost_on_the_way_to_addresses_after_those_of_java() {
    to_new_addresses(AFTER).assert_nothing_lost(3);
}

/// Why the page switches `check` off before anything else.
pub(crate) fn java_removes_the_living_if_it_judges_beats_while_members_come() {
    let mut play = Play::begin(BETWEEN);
    play.join(&[]);
    thread::sleep(3 * SECOND);
    let missed: usize =
        addresses(&play.site, &play.way.old).iter().map(|java| play.flock.missed_at(java)).sum();
    assert!(missed > 0 || play.flock.forgotten() > 0, "the step would be superfluous");
    let ours: usize =
        addresses(&play.site, &play.way.new).iter().map(|own| play.flock.missed_at(own)).sum();
    assert_eq!(ours, 0, "at servers of ours nothing is missing even so");
}

pub(crate) fn nothing_is_lost_on_the_way_back_while_java_is_there() {
    let way = BETWEEN;
    let mut play = Play::begin(way);
    play.judge_beats(&way.old, false);
    play.join(&OFF);
    play.clients_speak_to(&way.new);
    // The way back begins.
    play.clients_speak_to(&way.old);
    play.leave(way.old, way.new, &OFF);
    thread::sleep(4 * BEATS);
    play.judge_beats(&way.old, true);
    thread::sleep(STALE);
    play.go_on(&way.old, &way.old, &ON);
    play.assert_nothing_lost(3);
}

pub(crate) fn nothing_is_lost_on_the_way_back_after_java_is_gone() {
    let mut play = to_new_addresses(AFTER);
    let way = play.way;
    let all = [way.old, way.new].concat();
    play.site.list(all.iter().copied());
    // All at once: one alone elects no leader, so that its switch stays on.
    way.old.into_iter().for_each(|member| play.site.start_java(member));
    play.judge_beats(&way.old, false);
    play.go_on(&all, &all, &[&OFF[..], &["--for", "3"]].concat());
    play.watch(&all);
    play.clients_speak_to(&way.old);
    play.leave(way.old, way.new, &OFF);
    thread::sleep(4 * BEATS);
    play.judge_beats(&way.old, true);
    thread::sleep(STALE);
    play.assert_nothing_lost(3);
}

pub(crate) fn nothing_is_lost_in_place_to_the_end() {
    let mut play = Play::begin(Way { old: [0, 1, 2], new: [0, 1, 2] });
    let all = play.way.old;
    play.judge_beats(&all, false);
    for member in all {
        let others: Vec<u8> = all.into_iter().filter(|other| *other != member).collect();
        play.clients_speak_to(&others);
        play.flock.watch(addresses(&play.site, &others));
        play.site.list(others.iter().copied());
        play.go_on(&all, &others, &[]);
        play.site.javas.remove(&member);
        play.go_on(&others, &others, &[]);
        play.site.list(all.into_iter());
        play.go_on(&others, &all, &[]);
        play.start_ours(member);
        play.go_on(&all, &all, &["--for", "3"]);
        play.watch(&all);
        play.clients_speak_to(&all);
    }
    thread::sleep(STALE);
    play.assert_nothing_lost(3);
}

/// Why the page shortens the list before a server stops.
pub(crate) fn calls_fail_for_a_moment_if_java_stops_while_it_is_listed() {
    // They notice late, so that calls come in between on any machine.
    let mut play = Play::begin_with(AFTER, 5 * SECOND);
    let (stopped, others) = (0, [1, 2]);
    play.judge_beats(&play.way.old, false);
    play.clients_speak_to(&others);
    play.flock.watch(addresses(&play.site, &others));
    play.site.javas.remove(&stopped);
    play.go_on(&others, &play.way.old, &[]);
    thread::sleep(STALE);
    let failed = play.flock.tally().failed.lock().unwrap().len();
    assert!(failed > 0, "{failed} calls");
    // The calls alone: everybody stays in the lists.
    play.flock.assert_nothing_missed();
    assert_eq!(play.flock.forgotten(), 0);
}

/// Why the page writes a file beside the list and moves it, and asks before it goes on.
pub(crate) fn a_list_that_is_written_line_by_line_loses_a_member_and_the_check_names_it() {
    let mut site = Site::start(3, 0, Pace::QUICK);
    let [first, last] = [site.address(0), site.address(2)];
    assert!(check(&site, &[0, 1, 2], &[0, 1, 2], &[]).may_go_on);
    let path = site.list_file(0);
    let lines = format!("{first}\n{}\n", site.address(1));
    site.let_lists_differ();
    std::fs::write(&path, &lines).unwrap();
    eventually("it reads half of the list", || !site.java(0).others().contains(&last));
    std::fs::write(&path, lines + &last + "\n").unwrap();
    // It may read the whole list for a moment. Then it reads what it wrote over it.
    eventually("it writes back what it read", || {
        std::fs::read_to_string(&path).unwrap().starts_with('#')
            && !site.java(0).others().contains(&last)
    });
    let said = check(&site, &[0, 1, 2], &[0, 1, 2], &["--within", "2"]);
    assert!(!said.may_go_on, "{}", said.text);
    assert!(said.text.contains(&format!("{first} does not list {last}")), "{}", said.text);
    // As the page has it.
    site.list(0..3);
    site.wait_until_whole();
    let said = check(&site, &[0, 1, 2], &[0, 1, 2], &[]);
    assert!(said.may_go_on, "{}", said.text);
    assert_eq!(count(&first, "nobody"), 0);
}
