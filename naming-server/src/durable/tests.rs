//! The file and who writes it, without a server around them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use distro_core::{
    Beginning, DATUM_KEY, Health, MemberId, Operation, Record, Stamp, StampClock, Store,
    StoreConfig, Watcher, apply,
};
use distro_net::{Clock, Durability};
use naming_model::ServiceKey;
use parking_lot::Mutex;

use super::file::RecordFile;
use super::*;
use crate::registry::{
    Content, Instance, Metadata, NAMESPACES, Namespace, NamingStore, ServiceSettings, ServiceState,
};

const MEMBER: MemberId = MemberId(7);
const DAY: Duration = Duration::from_secs(86_400);

/// A store that is kept in a folder.
struct Kept {
    store: Arc<NamingStore>,
    keeper: Arc<Keeper>,
    clock: Clock,
}

impl Kept {
    fn open(folder: &Path) -> Self {
        Self::try_open(folder, Clock::start()).unwrap()
    }

    fn try_open(folder: &Path, clock: Clock) -> Result<Self, DataError> {
        let data = Data::open(folder, MEMBER)?;
        let keeper = Arc::new(Keeper::new());
        let watchers = vec![Arc::clone(&keeper) as _];
        Ok(Self::begin(data, keeper, watchers, clock, || Some(Beginning::Alone)))
    }

    /// Opens what was alive many days ago, as a member that learns later what others have.
    fn open_late(folder: &Path, days: u64) -> (Self, Arc<Mutex<Option<Beginning>>>) {
        let now = Clock::start().now().wall_ms;
        let clock = Clock::start_at(now + days * DAY.as_millis() as u64);
        let beginning = Arc::new(Mutex::new(None));
        let known = Arc::clone(&beginning);
        let data = Data::open(folder, MEMBER).unwrap();
        let keeper = Arc::new(Keeper::new());
        let watchers = vec![Arc::clone(&keeper) as _];
        (Self::begin(data, keeper, watchers, clock, move || *known.lock()), beginning)
    }

    fn begin(
        data: Data,
        keeper: Arc<Keeper>,
        watchers: Vec<Arc<dyn Watcher<Content, ServiceState>>>,
        clock: Clock,
        beginning: impl Fn() -> Option<Beginning> + Send + 'static,
    ) -> Self {
        let config = StoreConfig { is_durable, ..StoreConfig::default() };
        let stamps = StampClock::new(MEMBER, 1, clock.now());
        let store = Arc::new(Store::new(config, stamps, watchers));
        keeper.begin(data, &store, clock, 7 * DAY, Box::new(beginning));
        Self { store, keeper, clock }
    }

    fn stamp(&self) -> Stamp {
        self.store.clock().issue(self.clock.tick())
    }

    fn write(&self, tag: &str, key: &str, content: Content) {
        let register =
            Operation::register(tag, key, self.stamp(), Arc::new(content), Health::Healthy);
        apply(&self.store, &register, self.clock.tick());
    }

    fn name(&self, id: &str, name: &str) {
        let namespace = Namespace::new("name", name, "").unwrap();
        self.write(NAMESPACES, id, Content::Namespace(namespace));
    }

    fn remove(&self, tag: &str, key: &str) {
        let remove = Operation::deregister(tag, key, self.stamp());
        apply(&self.store, &remove, self.clock.tick());
    }

    fn close(&self, tag: &str) {
        apply(&self.store, &Operation::close(tag, self.stamp()), self.clock.tick());
    }

    /// What everything shows, in order, tombstones included.
    fn all(&self) -> Vec<String> {
        let mut all = Vec::new();
        for datum in self.store.all() {
            datum.read(|reader| {
                let records = reader.records_after(None);
                all.extend(records.map(|(key, record)| {
                    format!("{} {key} {:?} {:?}", datum.tag(), record.stamps(), record.value)
                }));
            });
        }
        all
    }

    async fn kept(&self) {
        let kept = tokio::time::timeout(Duration::from_secs(20), self.keeper.saved(&[]));
        kept.await.unwrap().unwrap();
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.keeper.stop();
    }
}

fn instance() -> Content {
    Content::Instance(Instance::new(1.0, Metadata::default()).unwrap())
}

fn service(name: &str) -> String {
    ServiceKey::parse("public", name).unwrap().as_str().to_owned()
}

#[tokio::test]
async fn what_was_kept_comes_back_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let kept = Kept::open(folder.path());
    for n in 0..500 {
        kept.name(&format!("n{n}"), "name");
    }
    kept.name("n1", "changed");
    kept.remove(NAMESPACES, "n2");
    let settings = ServiceSettings { explicit: true, ..ServiceSettings::default() };
    kept.write(&service("g@@a"), DATUM_KEY, Content::Service(Arc::new(settings)));
    kept.write(&service("g@@a"), "!10.0.0.1#80#c", instance());
    kept.kept().await;
    let before = kept.all();
    drop(kept);
    let again = Kept::open(folder.path());
    assert_eq!(again.all(), before);
    assert!(before.len() == 502 && before.iter().any(|line| line.contains("changed")));
}

#[tokio::test]
async fn what_is_not_durable_costs_no_write() {
    let folder = tempfile::tempdir().unwrap();
    let kept = Kept::open(folder.path());
    let service = service("g@@a");
    kept.write(&service, "10.0.0.1#80#c", instance());
    kept.remove(&service, "10.0.0.1#80#c");
    // As when an empty service is cleaned up.
    kept.close(&service);
    kept.remove(NAMESPACES, "never-there");
    kept.kept().await;
    assert_eq!((kept.keeper.waiting(), kept.keeper.stats().written()), (0, 0));
    drop(kept);
    assert_eq!(Kept::open(folder.path()).all(), [""; 0]);
}

#[tokio::test]
async fn what_is_waited_for_by_its_place_is_kept_before_anybody_tells_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let data = Data::open(folder.path(), MEMBER).unwrap();
    // As when the thread that wrote it has not come to its watchers yet.
    let kept = Kept::begin(data, Arc::new(Keeper::new()), Vec::new(), Clock::start(), || None);
    kept.name("n", "name");
    // What another member removed and this one has never seen.
    let tag = service("g@@a");
    let remove = Operation::deregister(&*tag, "!10.0.0.1#80#c", kept.stamp());
    apply(&kept.store, &remove, kept.clock.tick());
    kept.kept().await;
    assert_eq!(kept.keeper.stats().written(), 0);
    let place = |tag: &str, key: &str| (tag.into(), key.into());
    let places = [
        place(NAMESPACES, "n"),
        place(&tag, "!10.0.0.1#80#c"),
        place(&tag, "10.0.0.1#80#c"),
        place("nobody", ""),
    ];
    kept.keeper.saved(&places).await.unwrap();
    assert_eq!(kept.keeper.stats().written(), 2);
    let before = kept.all();
    drop(kept);
    assert_eq!(Kept::open(folder.path()).all(), before);
}

#[tokio::test]
async fn a_deleted_service_stays_deleted_with_its_persistent_instances() {
    let folder = tempfile::tempdir().unwrap();
    let (tag, key) = (service("g@@a"), "!10.0.0.1#80#c");
    let kept = Kept::open(folder.path());
    kept.write(&tag, key, instance());
    kept.close(&tag);
    kept.kept().await;
    drop(kept);
    let again = Kept::open(folder.path());
    let datum = again.store.find(&tag).unwrap();
    datum.read(|reader| {
        assert!(!reader.is_open(), "a service without settings of its own");
        assert!(reader.find(key).unwrap().is_tombstone());
    });
}

#[tokio::test]
async fn stamps_after_a_restart_are_greater_even_if_the_clock_was_set_back() {
    let folder = tempfile::tempdir().unwrap();
    let kept = Kept::try_open(folder.path(), Clock::start_at(2_000_000_000_000)).unwrap();
    kept.name("n", "before");
    kept.kept().await;
    drop(kept);
    let again = Kept::try_open(folder.path(), Clock::start_at(1_000_000_000_000)).unwrap();
    again.name("n", "after");
    assert!(again.all()[0].contains("after"), "{:?}", again.all());
}

#[tokio::test]
async fn removals_are_forgotten_in_the_file_when_their_time_is_over() {
    let folder = tempfile::tempdir().unwrap();
    let start = 1_700_000_000_000;
    let open = |days: u64| {
        let clock = Clock::start_at(start + days * DAY.as_millis() as u64);
        Kept::try_open(folder.path(), clock).unwrap()
    };
    let kept = open(0);
    kept.name("n", "name");
    kept.remove(NAMESPACES, "n");
    kept.kept().await;
    drop(kept);
    // Restarts do not count its time anew.
    assert_eq!(open(6).all().len(), 1);
    let last = open(8);
    assert_eq!(last.all().len(), 0);
    last.kept().await;
    drop(last);
    let (file, _) = RecordFile::open(&folder.path().join("registry.redb"), MEMBER).unwrap();
    assert!(file.read().unwrap().is_empty());
}

/// The files of a folder that were set aside.
fn set_aside(folder: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.to_str().unwrap().contains("registry.redb.stale-")).collect()
}

/// A folder with a namespace that was changed and one that was removed.
async fn old_folder() -> (tempfile::TempDir, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let kept = Kept::open(folder.path());
    ["a", "b", "ghost"].into_iter().for_each(|id| kept.name(id, "old"));
    kept.remove(NAMESPACES, "b");
    kept.kept().await;
    let all = kept.all();
    (folder, all)
}

#[tokio::test]
async fn who_was_away_for_too_long_takes_what_the_others_have() {
    let (folder, before) = old_folder().await;
    let (late, beginning) = Kept::open_late(folder.path(), 8);
    assert_eq!(late.all(), [""; 0], "nothing is put back before that is known");
    // What others give, and a write that waits for the disk.
    late.name("a", "of the others");
    late.name("c", "new");
    let waiting = late.keeper.saved(&[]);
    *beginning.lock() = Some(Beginning::Loaded);
    tokio::time::timeout(Duration::from_secs(20), waiting).await.unwrap().unwrap();
    let after = late.all();
    drop(late);
    let [aside] = &set_aside(folder.path())[..] else { panic!("one file was set aside") };
    let again = Kept::open(folder.path());
    assert_eq!(again.all(), after);
    assert!(after.len() == 2 && after[0].contains("of the others"), "{after:?}");
    drop(again);
    // It can be looked at with a server on it.
    let other = tempfile::tempdir().unwrap();
    fs::copy(aside, other.path().join("registry.redb")).unwrap();
    assert_eq!(Kept::open(other.path()).all(), before);
}

#[tokio::test]
async fn who_was_away_for_too_long_and_finds_nobody_has_its_data() {
    let (folder, before) = old_folder().await;
    let (late, beginning) = Kept::open_late(folder.path(), 100);
    assert_eq!(late.all(), [""; 0]);
    *beginning.lock() = Some(Beginning::Alone);
    late.name("z", "new");
    late.kept().await;
    let after = late.all();
    assert_eq!(after[..3], before[..], "removals too");
    assert_eq!((after.len(), set_aside(folder.path())), (4, vec![]));
    drop(late);
    // It counts as alive from then on.
    let (soon, _) = Kept::open_late(folder.path(), 100);
    assert!(soon.all().len() >= 3, "put back at once");
}

#[tokio::test]
async fn who_stops_before_it_knows_leaves_the_file_as_it_was() {
    let (folder, before) = old_folder().await;
    let bytes = || fs::read(folder.path().join("registry.redb")).unwrap();
    let (late, _) = Kept::open_late(folder.path(), 8);
    late.name("c", "never acknowledged");
    drop(late);
    let (late, beginning) = Kept::open_late(folder.path(), 8);
    assert_eq!(late.all(), [""; 0], "still away for too long");
    drop((late, beginning));
    assert!(!bytes().is_empty() && set_aside(folder.path()).is_empty());
    assert_eq!(Kept::open(folder.path()).all(), before);
}

#[tokio::test]
async fn who_was_away_for_less_puts_its_data_back_at_once() {
    let (folder, before) = old_folder().await;
    let (late, _) = Kept::open_late(folder.path(), 6);
    assert_eq!(late.all(), before);
}

#[test]
fn a_file_says_who_wrote_it_and_when_that_was_alive_last() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f.redb");
    let (file, meta) = RecordFile::open(&path, MEMBER).unwrap();
    assert_eq!((meta.alive_ms, meta.member), (None, Some(MEMBER)));
    let place = (NAMESPACES.into(), "n".into());
    let gone = Record::removed(Stamp::from_parts(5 << 16, MEMBER, 1));
    assert_eq!(file.write(&[(place, Some(gone))], 77).unwrap(), 1);
    drop(file);
    let (file, meta) = RecordFile::open(&path, MemberId(8)).unwrap();
    assert_eq!((meta.alive_ms, meta.member), (Some(77), Some(MEMBER)));
    assert_eq!(file.write(&[], 78).unwrap(), 0);
    drop(file);
    let (_, meta) = RecordFile::open(&path, MEMBER).unwrap();
    assert_eq!((meta.alive_ms, meta.member), (Some(78), Some(MemberId(8))));
}

/// Opens what some bytes of the file were changed to. Whatever comes of it, it must be an answer,
/// and an error must leave the file as it is.
fn open_damaged(bytes: &[u8]) -> Result<Vec<String>, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("registry.redb");
    fs::write(&path, bytes).unwrap();
    let opened = RecordFile::open(&path, MEMBER).and_then(|(file, _)| file.read());
    match opened {
        Ok(datums) => {
            let records = datums.iter().flat_map(|(_, records)| records);
            Ok(records.map(|saved| format!("{} {:?}", saved.key, saved.record.value)).collect())
        }
        Err(error) => {
            assert!(fs::read(&path).unwrap() == bytes, "{error} was left as it is");
            Err(error.to_string())
        }
    }
}

#[tokio::test]
async fn a_damaged_file_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let kept = Kept::open(folder.path());
    for n in 0..2_000 {
        kept.name(&format!("n{n}"), "name");
    }
    kept.kept().await;
    drop(kept);
    let whole = fs::read(folder.path().join("registry.redb")).unwrap();
    let good = open_damaged(&whole).unwrap();
    assert_eq!(good.len(), 2_000);
    let mut random = fastrand::Rng::with_seed(1);
    let mut refused = 0;
    for _ in 0..60 {
        let mut bytes = whole.clone();
        let at = random.usize(..bytes.len() - 64);
        bytes[at..at + 64].iter_mut().for_each(|byte| *byte ^= 0xa5);
        match open_damaged(&bytes) {
            // Some of the file is free.
            Ok(read) => assert_eq!(read, good),
            Err(text) => {
                assert!(text.contains("registry.redb") && text.contains("damaged"), "{text}");
                refused += 1;
            }
        }
    }
    assert!(refused > 10, "{refused}");
    for cut in [1, 100, 4_096, whole.len() / 2, whole.len() - 1] {
        let text = open_damaged(&whole[..cut]).unwrap_err();
        assert!(text.contains("damaged"), "{cut}: {text}");
    }
    assert!(open_damaged(b"not at all what it should be").unwrap_err().contains("damaged"));
}

#[test]
fn a_file_of_a_newer_release_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("registry.redb");
    drop(RecordFile::open(&path, MEMBER).unwrap());
    {
        let database = redb::Database::open(&path).unwrap();
        let transaction = database.begin_write().unwrap();
        let meta = redb::TableDefinition::<&str, u64>::new("meta");
        transaction.open_table(meta).unwrap().insert("format", 2).unwrap();
        transaction.commit().unwrap();
    }
    let text = RecordFile::open(&path, MEMBER).map(|_| ()).unwrap_err().to_string();
    assert!(text.contains("newer release (format 2, this one knows 1)"), "{text}");
}

#[test]
fn two_cannot_use_one_file() {
    let folder = tempfile::tempdir().unwrap();
    let first = Kept::open(folder.path());
    let text = Kept::try_open(folder.path(), Clock::start()).map(|_| ()).unwrap_err().to_string();
    assert!(text.contains("another server uses"), "{text}");
    drop(first);
    Kept::open(folder.path());
}
