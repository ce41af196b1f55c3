//! What the store does for its peers, to be counted by `cargo xtask instructions`.
//!
//! `instructions NAME COUNT` prepares, then does the named thing COUNT times. The difference
//! between two counts is what the thing itself costs.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use distro_core::{
    Distro, DistroConfig, Entry, Health, Key, LeaseTerms, MemberId, Now, Record, Reply, Request,
    Sender, Stamp, StampClock, Store, StoreConfig, Tick, Value,
};

const BATCH: u64 = 500;
const TAGS: u64 = 50;
const HELD: u64 = 5_000;
const NAMES: [&str; 2] = ["merge-of-500-records", "fold-of-all-checksums"];

struct Text(u64);

impl Value for Text {
    fn lease(&self) -> Option<LeaseTerms> {
        let seconds = Duration::from_secs;
        Some(LeaseTerms { unhealthy_after: seconds(15), expire_after: seconds(30) })
    }
    fn shows_like(&self, other: &Self) -> bool {
        self.0 == other.0
    }
    fn class(&self) -> usize {
        0
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let (Some(name), Some(count)) = (arguments.next(), arguments.next()) else {
        eprintln!("instructions NAME COUNT, with one of {NAMES:?}");
        return;
    };
    let count = count.parse().expect("the count is a number");
    let node = Node::new();
    match name.as_str() {
        "merge-of-500-records" => (0..count).for_each(|turn| node.merge(turn)),
        "fold-of-all-checksums" => {
            for _ in 0..count {
                black_box(node.store.root());
            }
        }
        _ => panic!("no such name: {name}"),
    }
}

struct Node {
    store: Arc<Store<Text, ()>>,
    distro: Distro<Text, ()>,
    keys: Vec<(Arc<str>, Key)>,
}

impl Node {
    fn new() -> Self {
        let start = Now { tick: Tick::ZERO, wall_ms: 1_700_000_000_000 };
        let clock = StampClock::new(MemberId(1), 1, start);
        let store = Arc::new(Store::new(StoreConfig::default(), clock, vec![]));
        let distro = Distro::new(DistroConfig::default(), Arc::clone(&store), &[], 1, start.tick);
        let keys = (0..HELD).map(|number| {
            let service = number % (HELD / BATCH * TAGS);
            let tag = format!("public##DEFAULT_GROUP@@bench.service.{service:06}");
            let key = format!("10.0.{}.{}#8080#DEFAULT", number / 256, number % 256);
            (tag.into(), key.into())
        });
        let node = Self { store, distro, keys: keys.collect() };
        (0..HELD / BATCH).for_each(|turn| node.merge(turn));
        node
    }

    /// A batch of news about a tenth of what is held, newer each time.
    fn merge(&self, turn: u64) {
        let stamp = Stamp::from_parts((1_700_000_001_000 + turn) << 16, MemberId(2), 1);
        let first = turn % (HELD / BATCH);
        let chosen = self.keys.iter().skip(first as usize).step_by((HELD / BATCH) as usize);
        let entries = chosen.map(|(tag, key)| {
            let record = Record::registered(stamp, Arc::new(Text(turn)), Health::Healthy);
            Entry { tag: Arc::clone(tag), key: Arc::clone(key), record }
        });
        let from = Sender { member: MemberId(2), incarnation: 1, minor: 2 };
        let now = Tick::from_ms(1_000 + turn);
        let reply = self.distro.answer().answer(
            from,
            Request::Replicate(entries.collect()),
            Duration::ZERO,
            now,
        );
        assert!(matches!(reply, Reply::Done), "records are merged");
    }
}
