//! Durable records on the disks of several members.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use distro_core::{Entry, RecordId};
use distro_net::{Durability, Limits, NotSaved, Saving, TooFew};
use tokio::sync::watch;

use crate::member::{Member, SECRET, Text, addresses, eventually, listeners};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Condition {
    Fine,
    /// Takes what is given to it, and is not done with it.
    Slow,
    Broken,
}

struct Disk {
    condition: watch::Sender<Condition>,
    asked: AtomicUsize,
}

impl Disk {
    fn new(condition: Condition) -> Arc<Self> {
        Arc::new(Self { condition: watch::Sender::new(condition), asked: AtomicUsize::new(0) })
    }

    fn becomes(&self, condition: Condition) {
        self.condition.send_replace(condition);
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Durability for Disk {
    fn saved(&self, places: &[RecordId]) -> Saving {
        assert!(!places.is_empty(), "what is to be kept is named");
        self.asked.fetch_add(1, Ordering::Relaxed);
        let mut condition = self.condition.subscribe();
        Box::pin(async move {
            let done = condition.wait_for(|condition| *condition != Condition::Slow).await;
            match done.map(|condition| *condition) {
                Ok(Condition::Fine) => Ok(()),
                _ => Err(NotSaved("the disk is full".into())),
            }
        })
    }
}

/// Three members that know each other, with these disks.
async fn three(disks: [&Arc<Disk>; 3]) -> Vec<Member> {
    let listeners = listeners(3).await;
    let list = addresses(&listeners);
    let start =
        |(listener, disk): (_, &Arc<Disk>)| Member::start_on(listener, &list, SECRET, disk.clone());
    let members: Vec<Member> = listeners.into_iter().zip(disks).map(start).collect();
    eventually("all are ready", || members.iter().all(Member::may_read)).await;
    eventually("all reach each other", || {
        members.iter().all(|one| {
            let others = members.iter().filter(|other| other.address != one.address);
            others.map(|other| other.address.member()).all(|id| one.shared_status.is_reachable(id))
        })
    })
    .await;
    members
}

/// Writes something and gives what is to be held of it.
async fn written(member: &Member, key: &str) -> Vec<Entry<Text>> {
    member.register("#users", key, "text").await;
    entry(member, key)
}

fn entry(member: &Member, key: &str) -> Vec<Entry<Text>> {
    let datum = member.store.find("#users").expect("just written");
    let record = datum.read(|reader| reader.find(key).expect("just written").into_owned());
    vec![Entry { tag: "#users".into(), key: key.into(), record }]
}

const SHORT: Duration = Duration::from_millis(400);
const LONG: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_is_held_when_so_many_disks_have_it() {
    let disks = [(); 3].map(|()| Disk::new(Condition::Slow));
    let members = three(disks.each_ref()).await;
    assert_eq!(members[0].forwarder.majority(), 2);

    let entries = written(&members[0], "a").await;
    let held = members[0].forwarder.persist(entries.clone(), 2, SHORT).await;
    assert_eq!(held, Err(TooFew { held: 0, needed: 2 }));
    assert!(disks.iter().all(|disk| disk.asked() > 0), "all were asked at once");
    assert!(members.iter().all(|member| member.read("#users", "a").is_some()));

    disks[0].becomes(Condition::Fine);
    let held = members[0].forwarder.persist(entries.clone(), 2, SHORT).await;
    assert_eq!(held, Err(TooFew { held: 1, needed: 2 }));

    let (waits, opens) = tokio::join!(members[0].forwarder.persist(entries, 2, LONG), async {
        disks[2].becomes(Condition::Fine);
    });
    assert_eq!((waits, opens), (Ok(()), ()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_disk_does_not_count_until_it_is_mended() {
    let disks = [Condition::Fine, Condition::Broken, Condition::Broken].map(Disk::new);
    let members = three(disks.each_ref()).await;
    let entries = written(&members[0], "a").await;
    let held = members[0].forwarder.persist(entries.clone(), 2, SHORT).await;
    assert_eq!(held, Err(TooFew { held: 1, needed: 2 }));
    let before = disks[1].asked();
    let (held, ()) = tokio::join!(members[0].forwarder.persist(entries, 2, LONG), async {
        eventually("it is asked again", || disks[1].asked() > before + 1).await;
        disks[1].becomes(Condition::Fine);
    });
    assert_eq!(held, Ok(()));
    // One's own counts like the others.
    disks[0].becomes(Condition::Broken);
    disks[2].becomes(Condition::Fine);
    let entries = written(&members[0], "b").await;
    assert_eq!(members[0].forwarder.persist(entries, 2, LONG).await, Ok(()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_member_costs_no_time_and_two_dead_ones_the_majority() {
    let disks = [(); 3].map(|()| Disk::new(Condition::Fine));
    let mut members = three(disks.each_ref()).await;
    members.pop().expect("three").kill().await;
    let entries = written(&members[0], "a").await;
    let start = Instant::now();
    assert_eq!(members[0].forwarder.persist(entries.clone(), 2, LONG).await, Ok(()));
    assert!(start.elapsed() < LONG / 4);
    members.pop().expect("two").kill().await;
    let held = members[0].forwarder.persist(entries, 2, SHORT).await;
    assert_eq!(held, Err(TooFew { held: 1, needed: 2 }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_waits_for_members_that_are_taken_from_the_list() {
    let disks = [Condition::Fine, Condition::Slow, Condition::Slow].map(Disk::new);
    let members = three(disks.each_ref()).await;
    let entries = written(&members[0], "a").await;
    let hold = tokio::spawn({
        let (forwarder, entries) = (members[0].forwarder.clone(), entries.clone());
        async move { forwarder.persist(entries, 2, LONG * 10).await }
    });
    eventually("both are asked", || disks[1].asked() > 0 && disks[2].asked() > 0).await;
    assert!(!hold.is_finished());
    members[0].control.set_members(&[members[0].address.clone()]).await;
    let held = tokio::time::timeout(LONG, hold).await.expect("it ends long before its time");
    assert_eq!(held.unwrap(), Err(TooFew { held: 1, needed: 2 }));
    // They come back, and their disks do.
    let all: Vec<_> = members.iter().map(|member| member.address.clone()).collect();
    members[0].control.set_members(&all).await;
    disks.iter().for_each(|disk| disk.becomes(Condition::Fine));
    assert_eq!(members[0].forwarder.persist(entries, 3, LONG).await, Ok(()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_slow_disk_neither_holds_up_writes_nor_breaks_connections() {
    const WRITES: usize = 200;
    let disks = [Condition::Fine, Condition::Fine, Condition::Slow].map(Disk::new);
    let members = three(disks.each_ref()).await;
    for n in 0..WRITES {
        let entries = written(&members[0], &n.to_string()).await;
        assert_eq!(members[0].forwarder.persist(entries, 2, LONG).await, Ok(()));
    }
    // Those that began wait for it; the others were over before it was their turn.
    assert!(disks[2].asked() < WRITES / 2, "{}", disks[2].asked());
    let answered = || members[2].peers.stats().answered();
    let (before, sessions) = (answered(), members[2].peers.stats().sessions());
    disks[2].becomes(Condition::Fine);
    eventually("they are answered", || answered() >= before + disks[2].asked() as u64).await;
    let entries = written(&members[0], "last").await;
    assert_eq!(members[0].forwarder.persist(entries, 3, LONG).await, Ok(()));
    assert_eq!(members[2].peers.stats().sessions(), sessions, "over the connections it had");
    assert!(disks[2].asked() < WRITES / 2, "nobody waited on for what was over");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_that_wait_at_a_time_share_messages() {
    const WRITES: usize = 200;
    let disks = [Condition::Fine, Condition::Slow, Condition::Fine].map(Disk::new);
    let members = three(disks.each_ref()).await;
    let mut holds = tokio::task::JoinSet::new();
    for n in 0..WRITES {
        let (forwarder, entries) =
            (members[0].forwarder.clone(), written(&members[0], &n.to_string()).await);
        holds.spawn(async move { forwarder.persist(entries, 3, LONG).await });
    }
    eventually("some are on their way", || disks[1].asked() > 0).await;
    // All wait for the one disk that is slow.
    eventually("the others have theirs", || disks[0].asked() == WRITES).await;
    disks[1].becomes(Condition::Fine);
    while let Some(held) = holds.join_next().await {
        assert_eq!(held.unwrap(), Ok(()));
    }
    assert!(disks[1].asked() <= WRITES / 10, "{} messages", disks[1].asked());
}

/// Holds all of these at once, each for a writer of its own.
async fn hold_all(member: &Member, all: Vec<Vec<Entry<Text>>>) -> Vec<Result<(), TooFew>> {
    let forwarders = std::iter::repeat_with(|| member.forwarder.clone());
    let holds = all.into_iter().zip(forwarders).map(|(entries, forwarder)| {
        tokio::spawn(async move { forwarder.persist(entries, 3, LONG / 4).await })
    });
    let mut results = Vec::new();
    for hold in holds.collect::<Vec<_>>() {
        results.push(hold.await.expect("no hold panics"));
    }
    results
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_much_for_one_message_goes_in_several() {
    let disks = [(); 3].map(|()| Disk::new(Condition::Fine));
    let members = three(disks.each_ref()).await;
    let mut many = Vec::new();
    for n in 0..600 {
        many.extend(written(&members[0], &n.to_string()).await);
    }
    let results = hold_all(&members[0], vec![many; 12]).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert_eq!(disks[1].asked(), 12, "two of them are more than 1,000");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_message_can_carry_holds_up_no_other_writer() {
    let disks = [(); 3].map(|()| Disk::new(Condition::Fine));
    let members = three(disks.each_ref()).await;
    let giant = "g".repeat(Limits::default().message_bytes + 1);
    members[0].register("#users", "giant", &giant).await;
    let giant = entry(&members[0], "giant");
    let mut all = Vec::new();
    for n in 0..20 {
        all.push(written(&members[0], &n.to_string()).await);
    }
    all.insert(10, giant.clone());
    all.push(giant);
    let results = hold_all(&members[0], all).await;
    for (n, result) in results.iter().enumerate() {
        let is_giant = n == 10 || n == 21;
        let expected = if is_giant { Err(TooFew { held: 1, needed: 3 }) } else { Ok(()) };
        assert_eq!(*result, expected, "{n}");
    }
}
