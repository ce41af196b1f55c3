//! Three members in one process over real sockets.

#[path = "cluster/calls.rs"]
mod calls;
#[path = "cluster/member.rs"]
mod member;
#[path = "cluster/persist.rs"]
mod persist;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use distro_core::{
    DistroConfig, Health, MemberState, Operation, Phase, Request, SLOT_COUNT, Stamp, StampClock,
    Store, StoreConfig,
};
use distro_net::{
    Address, Clock, Driver, Identity, Limits, Nudge, Outcome, Peers, Refusal, Secret,
};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use member::{
    Member, SECRET, Text, addresses, config, eventually, identity, listen_again, listeners,
    not_for, peers,
};

async fn three() -> [Member; 3] {
    let listeners = listeners(3).await;
    let list = addresses(&listeners);
    let start = |listener| Member::start(listener, &list, SECRET);
    let members: Vec<Member> = listeners.into_iter().map(start).collect();
    let Ok(members) = <[Member; 3]>::try_from(members) else { panic!("three") };
    eventually("all are ready", || members.iter().all(Member::may_read)).await;
    eventually("all share the slots", || members.iter().all(|m| share(m) < SLOT_COUNT / 2)).await;
    members
}

/// How many slots a member owns in its own view.
fn share(member: &Member) -> usize {
    member.store.share()
}

async fn everywhere(members: &[Member], tag: &str, key: &str, text: Option<&str>) {
    eventually(&format!("{tag}/{key} is {text:?} everywhere"), || {
        members.iter().all(|member| member.read(tag, key).as_deref() == text)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_on_one_appears_on_all() {
    let members = three().await;
    for (index, member) in members.iter().enumerate() {
        for n in 0..10 {
            let (tag, text) = (format!("service-{n}"), format!("by {index}"));
            member.register(&tag, &index.to_string(), &text).await;
            assert_eq!(member.read(&tag, &index.to_string()), Some(text), "reads its own write");
        }
    }
    for index in 0..3 {
        let (key, text) = (index.to_string(), format!("by {index}"));
        for n in 0..10 {
            everywhere(&members, &format!("service-{n}"), &key, Some(&text)).await;
        }
    }
    members[1].deregister("service-3", "0").await;
    assert_eq!(members[1].read("service-3", "0"), None);
    everywhere(&members, "service-3", "0", None).await;
    eventually("checksums agree", || {
        members.iter().all(|member| member.store.root() == members[0].store.root())
    })
    .await;
    let stats = members[0].peers.stats();
    assert!(stats.calls().answered > 0 && stats.answered() > 0);
    assert_eq!(Refusal::ALL.iter().map(|reason| stats.refused(*reason)).sum::<u64>(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_to_a_member_that_is_taken_from_the_list_ends_at_once() {
    const LONG: Duration = Duration::from_secs(300);
    let members = three().await;
    let [one, _, mute] = &members;
    mute.is_mute.store(true, Ordering::Relaxed);
    let all: Vec<Address> = members.iter().map(|member| member.address.clone()).collect();
    let id = mute.address.member();
    let call = tokio::spawn({
        let peers = one.peers.clone();
        async move { peers.call(id, &Request::Probe { phase: Phase::Up }, LONG).await }
    });
    // Those of the core wait for an answer by now, and this one does.
    eventually("it is not heard any more", || !one.shared_status.is_reachable(id)).await;
    assert!(!call.is_finished());
    one.control.set_members(&all[..2]).await;
    let ended = tokio::time::timeout(LONG / 10, call).await.expect("it ends long before").unwrap();
    assert!(matches!(ended, Outcome::NoAnswer), "{ended:?}");
    // Who comes back is a new acquaintance.
    mute.is_mute.store(false, Ordering::Relaxed);
    one.control.set_members(&all).await;
    eventually("it is heard again", || one.shared_status.is_reachable(id)).await;
    one.register("service", "k", "text").await;
    everywhere(&members, "service", "k", Some("text")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_members_are_told_at_once_which_clients_have_set_up_a_connection() {
    let members = three().await;
    let [one, ..] = &members;
    let moment_ago = |member: &Member| member.clock.tick().before(Duration::from_millis(10));
    let before = members.each_ref().map(|member| moment_ago(member).expect("clocks run"));
    one.shared_status.note_arrival(7, one.clock.tick());
    eventually("all are told", || {
        let mut both = members.iter().zip(before);
        both.all(|(member, before)| member.shared_status.has_arrived(7, before))
    })
    .await;
    assert!(
        members.iter().zip(before).all(|(member, at)| !member.shared_status.has_arrived(8, at))
    );
}

/// Adds one to the number in a record, again and again until nobody came in between.
async fn count_up(member: &Member, tag: &str) {
    loop {
        let read = member.store.find(tag).and_then(|datum| {
            datum.read(|reader| {
                let record = reader.find("k").filter(|record| record.is_visible())?;
                Some((record.version(), record.value.as_ref()?.0.parse::<u32>().ok()?))
            })
        });
        let (version, number) = read.unwrap_or((Stamp::NEVER, 0));
        let value = Arc::new(Text((number + 1).to_string()));
        let write = Operation::register(tag, "k", member.stamp(), value, Health::Healthy);
        if member.write(write.expecting(version)).await.is_applied {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_writes_what_follows_from_what_it_read_undoes_nobody() {
    const EACH: usize = 40;
    let members = three().await;
    let gave_up = || members.iter().map(|m| m.peers.stats().calls().unanswered).sum::<u64>();
    for round in 0..10 {
        let (tag, before) = (format!("counter-{round}"), gave_up());
        let counting = members.each_ref().map(|member| async {
            for _ in 0..EACH {
                count_up(member, &tag).await;
            }
        });
        let [one, two, three] = counting;
        tokio::join!(one, two, three);
        if gave_up() == before {
            return everywhere(&members, &tag, "k", Some(&(3 * EACH).to_string())).await;
        }
        // The machine was too busy for the owner to answer in time: nothing is promised then.
    }
    panic!("the members never reached each other for long enough");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_one_member_cannot_read_holds_up_nothing_else() {
    let mut members = three().await;
    let (address, id) = (members[2].address.clone(), members[2].address.member());
    let list: Vec<Address> = members.iter().map(|member| member.address.clone()).collect();
    let texts = [("a", "text".into()), ("b", not_for(id)), ("c", "text".into())];
    for n in 0..30 {
        let tag = format!("service-{n}");
        for (key, text) in &texts {
            // One of them belongs to the member that cannot read it: it is taken here then.
            members[n % 2].register(&tag, key, text).await;
        }
    }
    let is_whole = |members: &[Member; 3]| {
        (0..30).all(|n| {
            let read = |member: &Member, key| member.read(&format!("service-{n}"), key);
            members.iter().all(|member| {
                ["a", "c"].iter().all(|key| read(member, key).as_deref() == Some("text"))
            }) && members[..2].iter().all(|member| read(member, "b").is_some())
        })
    };
    eventually("all but those are everywhere", || is_whole(&members)).await;
    let unread = |member: &Member| member.peers.stats().unread_records();
    eventually("they are counted", || unread(&members[2]) >= 20).await;
    assert_eq!([0, 1].map(|n| unread(&members[n])), [0, 0]);

    // It starts with nothing, and loads what there is.
    let [one, two, early] = members;
    early.kill().await;
    let early = Member::start(listen_again(&address).await, &list, SECRET);
    members = [one, two, early];
    eventually("it is ready", || members[2].may_read()).await;
    assert!(is_whole(&members), "{:?}", members[2].read("service-0", "a"));
    assert!(unread(&members[2]) > 0);
}

/// Every member changes its secret, one after the other, while all of them write.
async fn change_secrets(members: &[Member; 3], secret: &Secret, round: usize) {
    for (n, member) in members.iter().enumerate() {
        assert!(member.service.change_secret(secret.clone()));
        assert!(!member.service.change_secret(secret.clone()), "it is no news");
        for other in members {
            // Over new connections, too: those that are kept do not prove anything again.
            let to = other.address.member();
            for from in members.iter().filter(|from| from.address.member() != to) {
                let calls = (0..12).map(|_| {
                    let peers = from.peers.clone();
                    let request = Request::Probe { phase: Phase::Up };
                    async move { peers.call(to, &request, Duration::from_secs(20)).await }
                });
                for call in calls.map(tokio::spawn).collect::<Vec<_>>() {
                    let outcome = call.await.unwrap();
                    assert!(matches!(outcome, Outcome::Answered(_)), "{outcome:?}");
                }
            }
            other.register(&format!("of-{round}-{n}"), other.address.as_str(), "text").await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_secret_of_a_running_cluster_is_changed_without_a_call_that_fails() {
    let members = three().await;
    let old = Secret::new(SECRET).unwrap();
    let new = Secret::new(b"what these members will know by tomorrow").unwrap();
    let failed = |members: &[Member; 3]| -> u64 {
        let failed = |member: &Member| {
            let calls = member.peers.stats().calls();
            calls.rejected + calls.not_taken + calls.refused
        };
        members.iter().map(failed).sum()
    };
    let before = failed(&members);
    change_secrets(&members, &new.clone().with_previous(old.clone()), 0).await;
    change_secrets(&members, &new, 1).await;
    assert_eq!(failed(&members), before);
    for member in &members {
        for n in 0..3 {
            for round in 0..2 {
                let key = member.address.as_str();
                everywhere(&members, &format!("of-{round}-{n}"), key, Some("text")).await;
            }
        }
    }

    // Who accepts the old one only is met by nobody now, and all sessions there have ended.
    assert!(members[0].service.change_secret(old));
    let out = members[0].address.member();
    let is_out = || [1, 2].iter().all(|n| !members[*n].shared_status.is_reachable(out));
    eventually("it is out", is_out).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_judges_by_hand_or_closes_reads_its_own_write() {
    let members = three().await;
    for (index, member) in members.iter().enumerate() {
        let (tag, other) = (format!("service-{index}"), &members[(index + 1) % 3]);
        other.register(&tag, "a", "text").await;
        other.register(&tag, "b", "text").await;
        everywhere(&members, &tag, "b", Some("text")).await;
        let judge = |key| Operation::judge(&*tag, key, member.stamp(), Health::Unhealthy);
        assert!(!member.write(judge("c")).await.is_applied);
        assert!(member.write(judge("a")).await.is_applied);
        let health = |member: &Member| {
            member.store.find(&tag)?.read(|reader| Some(reader.find("a")?.health()))
        };
        assert_eq!(health(member), Some(Health::Unhealthy));
        eventually("all know", || members.iter().all(|m| health(m) == health(member))).await;
        assert!(member.write(Operation::close(&*tag, member.stamp())).await.is_applied);
        assert_eq!((member.read(&tag, "a"), member.read(&tag, "b")), (None, None));
        everywhere(&members, &tag, "a", None).await;
        everywhere(&members, &tag, "b", None).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_no_message_can_carry_holds_up_nothing_else() {
    let members = three().await;
    let giant = "g".repeat(Limits::default().message_bytes + 1);
    members[0].register("giant", "k", &giant).await;
    for n in 0..50 {
        members[0].register(&format!("service-{n}"), "k", "text").await;
    }
    for n in 0..50 {
        everywhere(&members, &format!("service-{n}"), "k", Some("text")).await;
    }
    assert_eq!(members[0].read("giant", "k").map(|text| text.len()), Some(giant.len()));
    eventually("it is given up and counted", || {
        members[0].control.status().dropped_records >= 2
            && members[0].peers.stats().calls().not_taken >= 2
    })
    .await;
    assert!(members.iter().all(Member::may_read));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_does_not_wait_for_the_next_tick() {
    let members = three().await;
    let mut fastest = Duration::MAX;
    for n in 0..20 {
        let (tag, start) = (format!("service-{n}"), Instant::now());
        members[n % 3].register(&tag, "k", "text").await;
        everywhere(&members, &tag, "k", Some("text")).await;
        fastest = fastest.min(start.elapsed());
    }
    assert!(fastest < config().tick_period / 2, "{fastest:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_is_killed_and_starts_again_loads() {
    let [one, two, three] = three().await;
    for n in 0..300 {
        one.register(&format!("service-{n}"), "k", "first").await;
    }
    let (address, list) = (three.address.clone(), list_of([&one, &two, &three]));
    three.kill().await;
    // Some of these belong to the dead; none of them may fail.
    for n in 0..300 {
        two.register(&format!("service-{n}"), "k", "second").await;
    }
    let is_down = |member: &Member| {
        let status = member.control.status();
        let dead = status.members.iter().find(|other| *other.address == *address.as_str());
        dead.is_some_and(|dead| dead.view.state == MemberState::Down)
    };
    eventually("its absence is noticed", || is_down(&one) && is_down(&two)).await;
    eventually("its slots are taken over", || share(&one) + share(&two) == SLOT_COUNT).await;

    let three = Member::start(listen_again(&address).await, &list, SECRET);
    eventually("it may be read", || {
        // Never before it has what the others have.
        !three.may_read() || {
            assert_eq!(three.read("service-299", "k").as_deref(), Some("second"));
            true
        }
    })
    .await;
    eventually("it is up", || three.may_read()).await;
    for n in 0..300 {
        assert_eq!(three.read(&format!("service-{n}"), "k").as_deref(), Some("second"));
    }
    let members = [one, two, three];
    eventually("slots are shared again", || {
        members.iter().map(share).sum::<usize>() == SLOT_COUNT && share(&members[2]) > 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_for_a_member_that_does_not_answer_are_taken_by_the_one_asked() {
    let members = three().await;
    let [one, _, mute] = &members;
    mute.is_mute.store(true, Ordering::Relaxed);
    let mut slowest = Duration::ZERO;
    for n in 0..60 {
        let (tag, start) = (format!("service-{n}"), Instant::now());
        one.register(&tag, "k", "text").await;
        assert_eq!(one.read(&tag, "k").as_deref(), Some("text"));
        slowest = slowest.max(start.elapsed());
    }
    // The first write that it should have taken waited for it, the others did not.
    assert!(slowest >= config().forward_deadline, "{slowest:?}");
    let calls = one.peers.stats().calls();
    assert!(calls.unanswered > 0 && calls.refused == 0, "{calls:?}");
    mute.is_mute.store(false, Ordering::Relaxed);
    for n in 0..60 {
        everywhere(&members, &format!("service-{n}"), "k", Some("text")).await;
    }
    eventually("checksums agree", || {
        members.iter().all(|member| member.store.root() == members[0].store.root())
    })
    .await;
}

fn list_of(members: [&Member; 3]) -> Vec<Address> {
    members.map(|member| member.address.clone()).into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_leaves_hands_over_and_is_not_waited_for() {
    let [one, two, three] = three().await;
    three.register("t", "k", "text").await;
    assert!(three.control.leave().await);
    assert_eq!(three.control.status().phase, Phase::Leaving);
    eventually("it owns nothing", || share(&one) + share(&two) == SLOT_COUNT).await;
    assert_eq!(one.read("t", "k").as_deref(), Some("text"));
    assert_eq!(two.read("t", "k").as_deref(), Some("text"));
    three.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_come_and_go_without_restarts() {
    let [one, two, three] = three().await;
    one.register("t", "k", "text").await;
    let listener = listeners(1).await.pop().unwrap();
    let mut list = list_of([&one, &two, &three]);
    list.push(listener.local_addr().unwrap().into());
    let four = Member::start(listener, &list, SECRET);
    for member in [&one, &two, &three] {
        assert!(member.control.set_members(&list).await);
    }
    let members = [one, two, three, four];
    eventually("the fourth is ready", || members[3].may_read()).await;
    eventually("each has a share", || {
        members.iter().map(share).sum::<usize>() == SLOT_COUNT
            && members.iter().all(|member| share(member) > 0)
    })
    .await;
    everywhere(&members, "t", "k", Some("text")).await;
    let [one, two, three, four] = members;
    four.kill().await;
    list.pop();
    for member in [&one, &two, &three] {
        assert!(member.control.set_members(&list).await);
    }
    let members = [one, two, three];
    eventually("it is forgotten", || {
        members.iter().all(|member| member.control.status().members.len() == 2)
    })
    .await;
    eventually("its slots are shared", || members.iter().map(share).sum::<usize>() == SLOT_COUNT)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_know_the_secret_has_no_effect() {
    let [one, two, three] = three().await;
    let listener = listeners(1).await.pop().unwrap();
    let mut list = list_of([&one, &two, &three]);
    let foreign: Address = listener.local_addr().unwrap().into();
    list.push(foreign.clone());
    let stranger = Member::start(listener, &list, b"a secret of somebody who is no member");
    assert!(one.control.set_members(&list).await);
    stranger.register("t", "k", "by a stranger").await;
    let refused = |member: &Member| member.peers.stats().refused(Refusal::WrongSecret);
    eventually("both sides refuse", || {
        refused(&one) > 0 && refused(&two) > 0 && refused(&stranger) > 0
    })
    .await;
    eventually("the stranger is seen as down", || {
        let status = one.control.status();
        let view = status.members.iter().find(|member| *member.address == *foreign.as_str());
        view.is_some_and(|member| member.view.state == MemberState::Down)
    })
    .await;
    eventually("one hears it", || one.peers.stats().calls().rejected > 0).await;
    for member in [&one, &two, &three] {
        assert_eq!(member.read("t", "k"), None);
        assert!(member.may_read());
    }
    assert_eq!(stranger.store.len(), 1);
}

/// A bare request, as anybody can send it.
async fn post(address: &Address, path: &str, body: Vec<u8>) -> (u16, Vec<u8>) {
    let stream = tokio::net::TcpStream::connect(address.as_str()).await.unwrap();
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.unwrap();
    let connection = tokio::spawn(connection);
    let request = hyper::Request::post(path).header("host", "member");
    let request = request.body(Full::<bytes::Bytes>::from(body)).unwrap();
    let response = sender.send_request(request).await.unwrap();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes().to_vec();
    drop(sender);
    connection.await.unwrap().unwrap();
    (status, body)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_has_no_effect_and_is_counted() {
    let members = three().await;
    members[0].register("t", "k", "text").await;
    everywhere(&members, "t", "k", Some("text")).await;
    let root = members[0].store.root();
    let (address, stats) = (&members[0].address, members[0].peers.stats());
    let garbage: Vec<u8> =
        (0..2_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for length in [0, 1, 31, 32, 47, 48, 63, 64, 65, 500, 2_000] {
        for path in ["/distro/v1/hello", "/distro/v1/call", "/distro/v1/other"] {
            let (status, _) = post(address, path, garbage[..length].to_vec()).await;
            assert!((400..500).contains(&status), "{path} {length}: {status}");
        }
    }
    assert!(stats.refused(Refusal::Malformed) > 10);
    assert!(stats.refused(Refusal::UnknownSession) > 0);
    // Longer than any message, and not so long that the test server cuts the connection.
    let long = vec![0; Limits::default().message_bytes + 500];
    let (status, _) = post(address, "/distro/v1/call", long).await;
    assert_eq!((status, stats.refused(Refusal::TooLarge)), (413, 1));
    assert_eq!(members[0].store.root(), root);
    assert!(members.iter().all(Member::may_read));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_tell_silence_from_refusal_and_find_a_restarted_member() {
    let mut listeners = listeners(4).await;
    let list = addresses(&listeners);
    let [caller, alive, mute, gone] = &list[..] else { panic!("four") };
    drop(listeners.pop());
    // Takes connections in its queue and never answers.
    let silent = listeners.pop().unwrap();
    let member = Member::start(listeners.pop().unwrap(), &[], SECRET);
    let caller = {
        let identity = identity(caller.member(), SECRET);
        let peers = peers(identity, Clock::start());
        // Nobody but this test calls.
        Caller::new(peers, &list)
    };

    let second = Duration::from_secs(1);
    assert!(matches!(caller.call(gone, second).await, Outcome::Refused));
    assert!(matches!(caller.call(mute, Duration::from_millis(200)).await, Outcome::NoAnswer));
    assert!(matches!(caller.call(alive, 5 * second).await, Outcome::Answered(_)));
    drop(silent);
    assert!(matches!(caller.call(mute, second).await, Outcome::Refused));
    let stranger = "127.0.0.1:1".parse().unwrap();
    assert!(matches!(caller.call(&stranger, second).await, Outcome::NoAnswer));

    member.kill().await;
    let _again = Member::start(listen_again(alive).await, &[], SECRET);
    // The kept connection is dead and the session on it unknown; neither costs an answer.
    assert!(matches!(caller.call(alive, 5 * second).await, Outcome::Answered(_)));
    let counts = caller.peers.stats().calls();
    assert_eq!((counts.answered, counts.refused, counts.unanswered), (2, 2, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_process_with_one_address_is_noticed_before_it_starts() {
    let listener = listeners(1).await.pop().unwrap();
    let address: Address = listener.local_addr().unwrap().into();
    let second = peers(identity(address.member(), SECRET), Clock::start());
    let other =
        peers(identity(address.member(), b"a secret of somebody who is no member"), Clock::start());
    let member = Member::start(listener, &[], SECRET);
    let deadline = Duration::from_secs(5);
    assert!(second.is_taken(&address, deadline).await);
    assert!(!other.is_taken(&address, deadline).await);
    member.kill().await;
    assert!(!second.is_taken(&address, deadline).await);
}

/// Calls without a driver beside it.
struct Caller {
    peers: Peers<Text>,
    _driver: Driver<Text, ()>,
}

impl Caller {
    fn new(peers: Peers<Text>, members: &[Address]) -> Self {
        let Identity { member, incarnation, .. } = *peers.identity();
        let stamps = StampClock::new(member, incarnation, peers.clock().now());
        let store = Arc::new(Store::new(StoreConfig::default(), stamps, vec![]));
        let (config, nudge) = (DistroConfig::default(), Nudge::default());
        let (_driver, _) = Driver::with_peers(config, store, peers.clone(), members, nudge, 1);
        Self { peers, _driver }
    }

    async fn call(&self, to: &Address, deadline: Duration) -> Outcome<Text> {
        self.peers.call(to.member(), &Request::Probe { phase: Phase::Up }, deadline).await
    }
}
