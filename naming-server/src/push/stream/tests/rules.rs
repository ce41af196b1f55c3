//! Each rule of the outbox.

use super::*;

#[test]
fn the_first_subscription_is_pushed_once_and_a_repeated_one_is_not() {
    let mut bench = Bench::new();
    assert!(bench.subscribe("g@@s", ""));
    bench.at(499);
    assert_eq!(bench.send(), None);
    bench.at(500);
    let first = bench.send().unwrap();
    assert_eq!((first.service.grouped(), &*first.clusters), ("g@@s", ""));
    bench.ack(&first);
    assert!(!bench.subscribe("g@@s", ""));
    bench.at(60_000);
    assert_eq!(bench.send(), None);
    assert_eq!(bench.outbox.deadline(), None);
}

#[test]
fn a_change_right_after_the_first_subscription_takes_the_place_of_its_push() {
    let mut bench = Bench::new();
    bench.subscribe("g@@s", "");
    bench.at(100);
    bench.change("g@@s");
    let push = bench.send().unwrap();
    bench.ack(&push);
    bench.at(60_000);
    assert_eq!(bench.send(), None);
}

#[test]
fn a_change_is_sent_at_once_to_a_client_that_answers() {
    let mut bench = Bench::at_rest();
    bench.change("g@@s");
    let push = bench.send().unwrap();
    assert_eq!(bench.send(), None);
    assert_eq!(bench.ack(&push), Heard::Acked);
    bench.change("g@@s");
    assert!(bench.send().is_some_and(|next| next.request_id > push.request_id));
    assert_eq!(bench.stats.streams.sent.value(), 3);
    assert_eq!(bench.stats.streams.acked.value(), 2);
}

#[test]
fn services_are_sent_in_the_order_of_their_changes() {
    let mut bench = Bench::new();
    for service in ["g@@a", "g@@b", "g@@c"] {
        bench.subscribe(service, "");
    }
    for service in ["g@@c", "g@@a", "g@@c", "g@@b", "g@@unknown"] {
        bench.change(service);
    }
    let sent: Vec<_> = std::iter::from_fn(|| bench.send()).collect();
    let names: Vec<_> = sent.iter().map(|due| due.service.grouped()).collect();
    assert_eq!(names, ["g@@c", "g@@a", "g@@b"]);
}

#[test]
fn a_newer_list_waits_a_moment_for_the_ack_of_the_one_before() {
    let mut bench = Bench::at_rest();
    bench.change("g@@s");
    let first = bench.send().unwrap();
    bench.at(1_100);
    bench.change("g@@s");
    bench.at(1_499);
    assert_eq!(bench.send(), None);
    // With the ack there is nothing to wait for.
    bench.ack(&first);
    let second = bench.send().unwrap();
    // Without it the newer one goes when the moment is over: the latest state alone.
    for at in [1_600, 1_700, 1_800] {
        bench.at(at);
        bench.change("g@@s");
        assert_eq!(bench.send(), None);
    }
    bench.at(1_999);
    let third = bench.send().unwrap();
    assert_eq!(bench.send(), None);
    assert_eq!(bench.ack(&second), Heard::Lives);
    assert_eq!(bench.ack(&third), Heard::Acked);
    bench.at(60_000);
    assert_eq!(bench.send(), None);
}

#[test]
fn a_list_without_ack_is_sent_again_with_a_new_number_and_then_the_connection_is_closed() {
    let mut bench = Bench::at_rest();
    bench.change("g@@s");
    let first = bench.send().unwrap();
    bench.at(5_999);
    assert_eq!(bench.send(), None);
    bench.at(6_000);
    let second = bench.send().unwrap();
    assert_ne!(first.request_id, second.request_id);
    bench.at(11_000);
    assert!(bench.send().is_some());
    bench.at(15_999);
    assert_eq!(bench.try_at(16_000), Err(Silent(key("g@@s"))));
    let streams = &bench.stats.streams;
    assert_eq!((streams.resent.value(), streams.closed.value()), (2, 1));
}

#[test]
fn an_ack_of_any_of_the_sends_of_a_list_will_do() {
    let mut bench = Bench::at_rest();
    bench.change("g@@s");
    let first = bench.send().unwrap();
    bench.at(6_000);
    let second = bench.send().unwrap();
    bench.at(6_400);
    assert_eq!(bench.ack(&first), Heard::Acked);
    assert_eq!(bench.ack(&second), Heard::Unknown);
    bench.at(60_000);
    assert_eq!(bench.send(), None);
}

#[test]
fn a_resend_that_is_acked_before_it_leaves_is_not_sent() {
    let mut bench = Bench::at_rest();
    bench.change("g@@s");
    let first = bench.send().unwrap();
    // The stream has no room when it is due.
    bench.at(6_000);
    bench.ack(&first);
    assert_eq!(bench.send(), None);
}

#[test]
fn newer_lists_do_not_hide_the_silence() {
    let mut bench = Bench::at_rest();
    let mut at_ms = 1_000;
    let silent = loop {
        bench.change("g@@s");
        bench.send();
        at_ms += 100;
        if let Err(silent) = bench.try_at(at_ms) {
            break silent;
        }
        assert!(at_ms < 60_000, "never found silent");
    };
    assert_eq!((silent, at_ms), (Silent(key("g@@s")), 16_000));
}

#[test]
fn acks_that_always_come_for_an_earlier_list_prove_life() {
    let mut bench = Bench::at_rest();
    let mut sent: Vec<(u64, Due)> = Vec::new();
    // An ack takes two seconds, and something changes all the time.
    for at_ms in (1_000..120_000).step_by(100) {
        bench.at(at_ms);
        bench.change("g@@s");
        if let Some(due) = bench.send() {
            sent.push((at_ms + 2_000, due));
        }
        while sent.first().is_some_and(|(ack_at, _)| *ack_at <= at_ms) {
            let (_, due) = sent.remove(0);
            bench.ack(&due);
        }
        assert!(bench.outbox.awaited.len() <= 2);
    }
}

#[test]
fn an_error_ack_brings_the_list_once_more_soon_and_the_next_one_in_its_time() {
    let mut bench = Bench::at_rest();
    bench.change("g@@s");
    let first = bench.send().unwrap();
    assert_eq!(bench.fail(&first), Heard::Failed);
    assert_eq!(bench.fail(&first), Heard::Unknown);
    bench.at(1_999);
    assert_eq!(bench.send(), None);
    bench.at(2_000);
    let second = bench.send().unwrap();
    assert_eq!(bench.fail(&second), Heard::Failed);
    bench.at(6_999);
    assert_eq!(bench.send(), None);
    bench.at(7_000);
    let third = bench.send().unwrap();
    bench.fail(&third);
    assert_eq!(bench.try_at(16_000), Err(Silent(key("g@@s"))));
}

#[test]
fn an_ack_after_an_error_ends_it() {
    let mut bench = Bench::at_rest();
    bench.change("g@@s");
    let first = bench.send().unwrap();
    bench.fail(&first);
    bench.at(2_000);
    let second = bench.send().unwrap();
    assert_eq!(bench.ack(&second), Heard::Acked);
    assert_eq!(bench.outbox.deadline(), None);
}

#[test]
fn other_clusters_count_from_the_next_list_on() {
    let mut bench = Bench::at_rest();
    assert!(!bench.subscribe("g@@s", "c1"));
    assert_eq!(bench.send(), None);
    bench.change("g@@s");
    assert_eq!(&*bench.send().unwrap().clusters, "c1");
    bench.subscribe("g@@s", "c2");
    bench.at(6_000);
    assert_eq!(&*bench.send().unwrap().clusters, "c2");
}

#[test]
fn who_unsubscribes_gets_nothing_and_leaves_nothing() {
    let mut bench = Bench::at_rest();
    bench.change("g@@s");
    let flying = bench.send().unwrap();
    bench.at(2_000);
    bench.change("g@@s");
    assert!(bench.outbox.unsubscribe(&key("g@@s")));
    assert!(!bench.outbox.unsubscribe(&key("g@@s")));
    assert_eq!((bench.send(), bench.outbox.deadline()), (None, None));
    assert_eq!(bench.ack(&flying), Heard::Unknown);
    let Outbox { entries, ready, timers, awaited, .. } = &bench.outbox;
    assert_eq!((entries.len(), ready.len(), timers.len(), awaited.len()), (0, 0, 0, 0));
    // A subscription anew is a first one.
    assert!(bench.subscribe("g@@s", ""));
    bench.at(2_500);
    assert!(bench.send().is_some());
}

#[test]
fn numbers_are_never_used_twice_among_connections() {
    let ids = Arc::new(RequestIds::new());
    let mut seen = Vec::new();
    for _ in 0..2 {
        let mut outbox = Outbox::new(RULES, Arc::clone(&ids), Arc::default());
        let now = Instant::now();
        outbox.subscribe(&key("g@@s"), "".into(), now);
        outbox.changed(&key("g@@s"), now, now);
        seen.push(outbox.next(now).unwrap().request_id);
    }
    assert_eq!(seen, [1, 2]);
}

#[test]
fn delays_are_measured_from_the_change_and_from_the_send() {
    let mut bench = Bench::at_rest();
    bench.change("g@@s");
    bench.at(1_150);
    let push = bench.send().unwrap();
    bench.at(1_180);
    bench.ack(&push);
    let streams = &bench.stats.streams;
    // The first push tells of no change, and was acked at once.
    assert_eq!(streams.delay.sum(), millis(150));
    assert_eq!(streams.ack_delay.sum(), millis(30));
}
