//! The file, who writes it and what comes of it, without a server around them.

use std::fs;
use std::path::Path;

use distro_core::{Health, MemberId, Operation, StampClock, apply};
use distro_net::Clock;
use naming_model::ServiceKey;
use proptest::prelude::*;

use super::file::{CacheFile, Contents};
use super::frame::Frame;
use super::*;
use crate::registry::{EventKind, Events, Instance, Metadata, Watch};

const HOUR: Duration = Duration::from_secs(3_600);
const MEMBER: MemberId = MemberId(7);

/// A registry whose ephemeral instances are saved.
struct Saved {
    registry: Registry,
    cache: Arc<InstanceCache>,
}

impl Saved {
    fn open(folder: &Path) -> Self {
        Self::open_within(folder, HOUR)
    }

    fn open_within(folder: &Path, within: Duration) -> Self {
        let saved = Self::without_thread();
        let folder = Arc::new(Folder::open(folder).unwrap());
        saved.cache.begin(folder, &saved.registry, within);
        saved
    }

    fn without_thread() -> Self {
        let clock = Clock::start();
        let settings = crate::Config::default().registry_settings(1);
        let events = Arc::new(Events::new(100));
        let watch = Arc::new(Watch::new(Arc::clone(&events)));
        let stamps = StampClock::new(MEMBER, 1, clock.now());
        let cache = Arc::new(InstanceCache::new(Duration::from_secs(2)));
        let watchers = vec![Arc::clone(&cache) as _];
        let registry = Registry::new(settings, events, watch, stamps, clock, watchers);
        Self { registry, cache }
    }

    fn register(&self, tag: &str, key: &str, weight: f64) {
        let content =
            Arc::new(Content::Instance(Instance::new(weight, Metadata::default()).unwrap()));
        self.apply(|stamp| Operation::register(tag, key, stamp, content, Health::Unhealthy));
    }

    fn deregister(&self, tag: &str, key: &str) {
        self.apply(|stamp| Operation::deregister(tag, key, stamp));
    }

    fn apply(&self, operation: impl FnOnce(distro_core::Stamp) -> Operation<Content>) {
        let (store, now) = (&self.registry.store, self.registry.clock.tick());
        apply(store, &operation(store.clock().issue(now)), now);
    }

    /// What readers see, in order, with all that is known of it.
    fn all(&self) -> Vec<String> {
        let mut all = Vec::new();
        for datum in self.registry.store.all() {
            datum.read(|reader| {
                all.extend(reader.visible().map(|(key, record, value)| {
                    let health = record.health();
                    format!("{} {key} {:?} {health:?} {value:?}", datum.tag(), record.stamps())
                }));
            });
        }
        all
    }
}

impl Drop for Saved {
    fn drop(&mut self) {
        self.cache.stop();
    }
}

fn tag(number: u32) -> String {
    format!("public##g@@service-{number}")
}

fn key(number: u32) -> String {
    format!("10.0.{}.{}#80#DEFAULT", number / 250, number % 250)
}

/// A file with two instances in each of so many services.
fn write_file(folder: &Path, services: u32) -> Vec<String> {
    let saved = Saved::open(folder);
    for number in 0..services {
        saved.register(&tag(number), &key(1), 1.0);
        saved.register(&tag(number), &key(2), f64::from(number));
    }
    saved.all()
}

#[test]
fn instances_come_back_as_they_were_and_count_as_never_heard() {
    let folder = tempfile::tempdir().unwrap();
    let before = write_file(folder.path(), 100);
    let again = Saved::open(folder.path());
    assert_eq!(again.all(), before);
    assert_eq!(before.len(), 200);
    let datum = again.registry.store.find(&tag(1)).unwrap();
    datum.read(|reader| assert_eq!(reader.heard().count(), 0));
    assert_eq!(again.registry.events.count(EventKind::Restored), 200);
    let latest = again.registry.events.latest(1_000, |event| event.kind == EventKind::Restored);
    assert_eq!(latest.events().count(), 100, "as many as are kept");
}

#[test]
fn what_was_removed_or_is_durable_does_not_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let saved = Saved::open(folder.path());
    for number in 0..3 {
        saved.register(&tag(number), &key(1), 1.0);
    }
    saved.deregister(&tag(0), &key(1));
    saved.register(&tag(1), &format!("!{}", key(1)), 1.0);
    drop(saved);
    let saved = Saved::open(folder.path());
    assert_eq!(saved.all().len(), 2, "{:?}", saved.all());
    // In a later life, too, after it was saved as being there.
    saved.deregister(&tag(1), &key(1));
    saved.apply(|stamp| Operation::close(tag(2), stamp));
    drop(saved);
    assert_eq!(Saved::open(folder.path()).all(), [""; 0]);
}

#[test]
fn what_was_saved_too_long_ago_is_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    let before = write_file(folder.path(), 3);
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(Saved::open(folder.path()).all(), before);
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(Saved::open_within(folder.path(), Duration::from_millis(10)).all(), [""; 0]);
    assert_eq!(Saved::open(folder.path()).all(), [""; 0], "nor ever after");
}

#[test]
fn a_setting_that_was_turned_off_meanwhile_counts() {
    let folder = tempfile::tempdir().unwrap();
    write_file(folder.path(), 3);
    InstanceCache::discard(&Folder::open(folder.path()).unwrap());
    assert_eq!(Saved::open(folder.path()).all(), [""; 0]);
}

#[test]
fn a_damaged_file_costs_what_is_damaged_and_never_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let before = write_file(folder.path(), 300);
    let path = folder.path().join(NAME);
    let whole = fs::read(&path).unwrap();
    let mut random = fastrand::Rng::with_seed(1);
    let changed = (0..30).map(|_| {
        let mut bytes = whole.clone();
        let at = random.usize(..bytes.len());
        bytes[at] ^= 0x10;
        bytes
    });
    let cut = [0, 3, 8, 12, whole.len() / 2, whole.len() - 1].map(|end| whole[..end].to_vec());
    let longer = [whole.as_slice(), &[0xff; 40]].concat();
    let (mut most, mut least) = (0, usize::MAX);
    for bytes in changed.chain(cut).chain([longer, b"nothing of the kind".to_vec()]) {
        fs::write(&path, bytes).unwrap();
        let again = Saved::open(folder.path());
        let shown = again.all();
        assert!(shown.iter().all(|line| before.contains(line)));
        (most, least) = (most.max(shown.len()), least.min(shown.len()));
        // And it goes on from there.
        again.register("public##g@@fresh", &key(1), 1.0);
        drop(again);
        let once_more = Saved::open(folder.path());
        assert_eq!(once_more.all().len(), shown.len() + 1);
    }
    assert_eq!((most, least), (600, 0));
}

#[test]
fn a_file_that_has_grown_is_written_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(NAME);
    let saved = Saved::without_thread();
    for number in 0..20_000 {
        saved.register(&tag(0), &key(number), 1.0);
    }
    saved.register(&tag(1), &key(1), 1.0);
    let lock = Arc::new(Folder::open(folder.path()).unwrap());
    let store = Arc::clone(&saved.registry.store);
    let mut writer = Writer::new(path.clone(), store, None, lock);
    let grow = |writer: &mut Writer| {
        if writer.queue.is_empty() {
            writer.queue.push(tag(0).as_str().into());
        }
        writer.step(&saved.cache, true).unwrap();
        fs::metadata(&path).map_or(0, |file| file.len())
    };
    let (mut largest, mut last) = (0, grow(&mut writer));
    while last >= largest {
        (largest, last) = (last, grow(&mut writer));
    }
    assert!((32 << 20..48 << 20).contains(&largest) && last < 8 << 20, "{last} after {largest}");
    while writer.is_drafting() {
        writer.step(&saved.cache, false).unwrap();
    }
    drop(writer);
    let again = Saved::open(folder.path());
    assert_eq!(again.all(), saved.all());
}

#[test]
fn a_stop_without_time_leaves_what_was_saved_before() {
    let folder = tempfile::tempdir().unwrap();
    let saved = Saved::without_thread();
    saved.register(&tag(0), &key(1), 1.0);
    let lock = Arc::new(Folder::open(folder.path()).unwrap());
    let store = Arc::clone(&saved.registry.store);
    let mut writer = Writer::new(folder.path().join(NAME), store, None, lock);
    writer.step(&saved.cache, true).unwrap();
    let before = saved.all();
    saved.register(&tag(1), &key(1), 1.0);
    writer.queue.push(tag(1).as_str().into());
    writer.finish(Duration::ZERO, &saved.cache).unwrap();
    drop(writer);
    assert_eq!(Saved::open(folder.path()).all(), before);
}

#[test]
fn a_start_knows_whether_the_stop_had_time_for_everything() {
    let folder = tempfile::tempdir().unwrap();
    let misses = |saved: &Saved, number: u32| {
        saved
            .registry
            .may_miss_all_of(&ServiceKey::parse("public", &format!("g@@service-{number}")).unwrap())
    };
    let saved = Saved::open(folder.path());
    assert!(!misses(&saved, 0), "a server that was never there before knows everything");
    saved.register(&tag(0), &key(1), 1.0);
    drop(saved);
    let saved = Saved::open(folder.path());
    assert!(!misses(&saved, 1), "all was saved, so there was none");
    drop(saved);

    let saved = Saved::without_thread();
    let lock = Arc::new(Folder::open(folder.path()).unwrap());
    let path = folder.path().join(NAME);
    let file = restore::restore(&path, &saved.registry, HOUR);
    let mut writer = Writer::new(path, Arc::clone(&saved.registry.store), file, lock);
    saved.register(&tag(1), &key(1), 1.0);
    writer.queue.push(tag(1).as_str().into());
    writer.finish(Duration::ZERO, &saved.cache).unwrap();
    drop((writer, saved));
    let saved = Saved::open(folder.path());
    assert!(misses(&saved, 1), "it may be there, and is not known");
    assert!(!misses(&saved, 0), "it is known");
    saved.register(&tag(1), &key(1), 1.0);
    assert!(!misses(&saved, 1), "its client was heard");
    drop(saved);
    assert!(!misses(&Saved::open(folder.path()), 2), "the next stop had the time");
}

#[test]
fn a_disk_that_refuses_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let saved = Saved::without_thread();
    saved.register(&tag(0), &key(1), 1.0);
    let lock = Arc::new(Folder::open(folder.path()).unwrap());
    let store = Arc::clone(&saved.registry.store);
    let nowhere = folder.path().join("missing").join(NAME);
    let mut writer = Writer::new(nowhere, store, None, lock);
    let error = writer.step(&saved.cache, true).unwrap_err();
    writer.give_up(&error, &saved.cache);
    assert!(saved.cache.stats().is_failing());
    writer.step(&saved.cache, true).unwrap();
    assert!(!writer.is_drafting(), "not before its time");
}

proptest! {
    #[test]
    fn whatever_the_bytes_are_reading_them_ends(bytes in any::<Vec<u8>>()) {
        if let Some(frame) = Frame::parse(&bytes) {
            prop_assert!(frame.records().count() <= bytes.len());
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        let mut file = CacheFile::create(&path).unwrap();
        file.append(&bytes);
        file.write(&CacheStats::default()).unwrap();
        let contents = Contents::find(&path).unwrap().unwrap();
        prop_assert!(contents.valid <= contents.length);
    }
}
