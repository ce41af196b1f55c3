use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use distro_core::{Health, MemberId, Record, StampClock};
use distro_net::Clock;

use super::*;
use crate::registry::{
    CLASS_INSTANCE, CLASS_SERVICE, ChangeSink, Events, NAMESPACES, Namespace, Registry, SWITCHES,
    Watch,
};

/// The registry of one of several members.
fn registry(member: u32) -> Registry {
    let clock = Clock::start();
    let settings = crate::Config::default().registry_settings(1);
    let events = Arc::new(Events::new(10));
    let watch = Arc::new(Watch::new(Arc::clone(&events)));
    let stamps = StampClock::new(MemberId(member), 1, clock.now());
    Registry::new(settings, events, watch, stamps, clock, Vec::new())
}

fn switch(text: &str) -> Content {
    Content::Switch(text.into())
}

/// Gives every record of a tag to another member, as replication does.
fn give(source: &Registry, target: &Registry, tag: &str) {
    let datum = source.store.find(tag).unwrap();
    let records: Vec<(Key, Record<Content>)> =
        datum.read(|reader| reader.records_after(None).collect());
    target.store.update(tag, target.clock.tick(), |writer| {
        for (key, record) in &records {
            writer.merge(key, record);
        }
    });
}

fn one(name: &str, json: &str) -> Fields {
    [(name.to_owned(), serde_json::from_str(json).unwrap())].into()
}

#[derive(Default)]
struct Listener {
    is_busy: AtomicBool,
    told: AtomicUsize,
    pushes: AtomicBool,
}

impl SwitchSink for Listener {
    fn switched(&self, values: &SwitchValues) -> bool {
        self.told.fetch_add(1, SeqCst);
        self.pushes.store(values.push_enabled, SeqCst);
        !self.is_busy.load(SeqCst)
    }
}

#[test]
fn different_switches_set_on_two_members_hold_on_both() {
    let (a, b) = (registry(1), registry(2));
    a.write_record(a.clock.tick(), SWITCHES, "clientBeatInterval", Some(switch("7000")));
    b.write_record(b.clock.tick(), SWITCHES, "healthCheckEnabled", Some(switch("false")));
    give(&a, &b, SWITCHES);
    give(&b, &a, SWITCHES);
    for registry in [&a, &b] {
        let values = registry.switches.load();
        assert_eq!((values.client_beat_interval_ms, values.health_check_enabled), (7_000, false));
    }
    b.write_record(b.clock.tick(), SWITCHES, "clientBeatInterval", Some(switch("8000")));
    give(&b, &a, SWITCHES);
    give(&a, &b, SWITCHES);
    assert_eq!(a.switches.load().client_beat_interval_ms, 8_000);
    assert_eq!(**a.switches.load(), **b.switches.load());
}

#[test]
fn what_makes_no_sense_here_is_left_out_and_the_rest_holds() {
    let (a, b) = (registry(1), registry(2));
    for (name, text) in [
        ("aSwitchOfALaterRelease", "1"),
        ("name", "\"x\""),
        ("enableStandalone", "false"),
        ("clientBeatInterval", "7000"),
        ("defaultCacheMillis", "1"),
        ("distroThreshold", "not JSON"),
        ("httpHealthParams", r#"{"max":4000,"min":600,"factor":0.5,"later":1}"#),
        ("limitedUrlMap", r#"{"/b":403,"/a":503}"#),
        ("masters", r#"["a"],"checkTimes":9"#),
        ("overriddenServerStatus", "\"SIDEWAYS\""),
    ] {
        a.write_record(a.clock.tick(), SWITCHES, name, Some(switch(text)));
    }
    let no_switch = Namespace { name: "n".into(), description: "".into() };
    a.write_record(a.clock.tick(), SWITCHES, "sendBeatOnly", Some(Content::Namespace(no_switch)));
    give(&a, &b, SWITCHES);
    let expected = SwitchValues {
        client_beat_interval_ms: 7_000,
        limited_urls: vec![("/b".to_owned(), 403), ("/a".to_owned(), 503)],
        ..SwitchValues::default()
    };
    assert_eq!(**b.switches.load(), expected);
}

#[test]
fn what_is_set_on_one_member_alone_holds_until_it_is_written_for_all() {
    let (a, b) = (registry(1), registry(2));
    a.write_record(a.clock.tick(), SWITCHES, "clientBeatInterval", Some(switch("7000")));
    a.switches.set_here(one("clientBeatInterval", "8000"));
    a.switches.set_here(one("checkTimes", "5"));
    give(&a, &b, SWITCHES);
    assert_eq!(b.switches.load().client_beat_interval_ms, 7_000);
    // Another switch, and the same record once more.
    b.write_record(b.clock.tick(), SWITCHES, "sendBeatOnly", Some(switch("true")));
    give(&b, &a, SWITCHES);
    let values = a.switches.load();
    assert_eq!((values.client_beat_interval_ms, values.check_times), (8_000, 5));
    assert!(values.send_beat_only);
    drop(values);
    // The value that it had for all is a new decision all the same.
    b.write_record(b.clock.tick(), SWITCHES, "clientBeatInterval", Some(switch("7000")));
    b.write_record(b.clock.tick(), SWITCHES, "checkTimes", Some(switch("3")));
    give(&b, &a, SWITCHES);
    assert_eq!(**a.switches.load(), **b.switches.load());
}

#[test]
fn defaults_of_the_configuration_stand_below_records() {
    let registry = registry(1);
    registry.switches.disable_push();
    registry.write_record(registry.clock.tick(), SWITCHES, "checkTimes", Some(switch("5")));
    let values = Arc::clone(&registry.switches.load());
    assert_eq!((values.push_enabled, values.check_times), (false, 5));
    registry.write_record(registry.clock.tick(), SWITCHES, "pushEnabled", Some(switch("true")));
    assert!(registry.switches.load().push_enabled);
    registry.write_record(registry.clock.tick(), SWITCHES, "pushEnabled", None);
    assert!(!registry.switches.load().push_enabled);
}

#[test]
fn who_must_be_told_is_told_until_it_listens() {
    let (a, b) = (registry(1), registry(2));
    let listener = Arc::new(Listener::default());
    b.switches.connect(Arc::clone(&listener) as Arc<dyn SwitchSink>);
    assert!(listener.pushes.load(SeqCst));
    b.switches.settle();
    assert_eq!(listener.told.load(SeqCst), 1);

    listener.is_busy.store(true, SeqCst);
    a.write_record(a.clock.tick(), SWITCHES, "pushEnabled", Some(switch("false")));
    give(&a, &b, SWITCHES);
    give(&a, &b, SWITCHES);
    assert!(!listener.pushes.load(SeqCst));
    b.switches.settle();
    assert_eq!(listener.told.load(SeqCst), 3);
    listener.is_busy.store(false, SeqCst);
    b.switches.settle();
    b.switches.settle();
    assert_eq!(listener.told.load(SeqCst), 4);
}

#[test]
fn writers_at_the_same_time_leave_the_last_value_in_force() {
    let registry = registry(1);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let registry = &registry;
            scope.spawn(move || {
                for n in 0..50 {
                    let text = (1_000 + n * 4 + thread).to_string();
                    registry.write_record(
                        registry.clock.tick(),
                        SWITCHES,
                        "clientBeatInterval",
                        Some(switch(&text)),
                    );
                }
            });
        }
    });
    let last = registry.store.find(SWITCHES).unwrap().read(|reader| {
        let record = reader.find("clientBeatInterval").unwrap().into_owned();
        let Some(Content::Switch(text)) = record.value.as_deref() else { panic!("no switch") };
        text.parse::<u64>().unwrap()
    });
    assert_eq!(registry.switches.load().client_beat_interval_ms, last);
}

/// Counts the services that it hears of.
#[derive(Default)]
struct Heard(AtomicUsize);

impl ChangeSink for Heard {
    fn changed(&self, _: &str, _: bool) {
        self.0.fetch_add(1, SeqCst);
    }
}

#[test]
fn records_of_no_service_are_shown_as_none() {
    let clock = Clock::start();
    let settings = crate::Config::default().registry_settings(1);
    let events = Arc::new(Events::new(10));
    let watch = Arc::new(Watch::new(Arc::clone(&events)));
    let heard = Arc::new(Heard::default());
    watch.connect(Arc::clone(&heard) as Arc<dyn ChangeSink>);
    let stamps = StampClock::new(MemberId(1), 1, clock.now());
    let registry = Registry::new(settings, events, watch, stamps, clock, Vec::new());

    let named = Namespace { name: "n".into(), description: "".into() };
    registry.write_record(registry.clock.tick(), SWITCHES, "checkTimes", Some(switch("5")));
    registry.write_record(
        registry.clock.tick(),
        NAMESPACES,
        "dev",
        Some(Content::Namespace(named.clone())),
    );
    // What a faulty member may send.
    for tag in ["#later", "no tag at all", "n##not-grouped", "n##@@s", "n##g@@"] {
        registry.store.update(tag, clock.tick(), |writer| {
            let stamp = registry.store.clock().issue(clock.tick());
            let record = Record::registered(stamp, Arc::new(switch("1")), Health::Healthy);
            writer.merge("key", &record);
        });
    }
    assert_eq!((registry.service_count(), registry.services().len()), (0, 0));
    assert!(registry.index.namespaces().is_empty());
    for class in [CLASS_INSTANCE, CLASS_SERVICE] {
        assert_eq!(registry.store.visible_count(class), 0);
    }
    assert_eq!(heard.0.load(SeqCst), 0);
    assert_eq!(registry.find_namespace("dev"), Some(named));
}
