//! Fuzzy watch of 3.x: a client is told which services there are whose names match a pattern.
//!
//! A watch knows what its client was told. Whenever a service changes, or the client says what it
//! knows, the difference is sent: so nothing is told twice, and a notice that was lost is only late.

use std::collections::{BTreeMap, BTreeSet};

use naming_model::{DEFAULT_NAMESPACE, GROUP_SEPARATOR, ServiceKey};
use tokio::time::{Duration, Instant};

/// Patterns of one connection.
pub(super) const MOST_PATTERNS: usize = 20;
/// Services that a pattern may match, as in Nacos.
pub(super) const MOST_SERVICES: usize = 500;
/// Bytes of a pattern.
pub(super) const MOST_PATTERN: usize = 1_024;
/// Services in one message.
const BATCH: usize = 10;
/// Without an answer for so long a message is sent again.
const ANSWER_TIME: Duration = Duration::from_secs(5);
/// So many times a message is sent; then the connection is closed.
const MOST_SENDS: u32 = 3;

/// Which names are meant: `namespace>>group>>service`, each part but the first with `*` at its
/// begin, at its end, or alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    pub(super) namespace: String,
    group: Part,
    service: Part,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Any,
    Is(String),
    Begins(String),
    Ends(String),
    Contains(String),
}

impl Part {
    fn of(text: &str) -> Self {
        match (text.strip_prefix('*'), text.strip_suffix('*')) {
            (Some(""), _) => Self::Any,
            (Some(rest), Some(_)) => Self::Contains(rest.trim_end_matches('*').to_owned()),
            (Some(end), None) => Self::Ends(end.to_owned()),
            (None, Some(begin)) => Self::Begins(begin.to_owned()),
            (None, None) => Self::Is(text.to_owned()),
        }
    }

    fn matches(&self, name: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Is(text) => name == text,
            Self::Begins(text) => name.starts_with(&**text),
            Self::Ends(text) => name.ends_with(&**text),
            Self::Contains(text) => name.contains(&**text),
        }
    }
}

impl Pattern {
    /// Reads a pattern; `None` if it is none.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(">>");
        let (namespace, group, service) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() || text.len() > MOST_PATTERN {
            return None;
        }
        let namespace = if namespace.is_empty() { DEFAULT_NAMESPACE } else { namespace };
        let (group, service) = (Part::of(group), Part::of(service));
        Some(Self { namespace: namespace.to_owned(), group, service })
    }

    /// Whether it means a service.
    pub(super) fn matches(&self, service: &ServiceKey) -> bool {
        service.namespace() == self.namespace
            && self.matches_name(service.group(), service.service())
    }

    /// Whether it means a service of its namespace. The group comes with its separator, or without.
    pub(super) fn matches_name(&self, group: &str, service: &str) -> bool {
        let group = group.strip_suffix(GROUP_SEPARATOR).unwrap_or(group);
        self.group.matches(group) && self.service.matches(service)
    }
}

/// How a service is named towards clients.
pub(super) fn key_of(service: &ServiceKey) -> String {
    [service.namespace(), service.group(), service.service()].join(GROUP_SEPARATOR)
}

/// What a client is to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Notice {
    /// Services that came and went, as a part of what was asked for: which part, of how many.
    Batch { is_first: bool, services: Vec<(String, bool)>, part: usize, parts: usize },
    /// That was all.
    Finish,
    /// A service came or went.
    Change { service: String, is_there: bool },
}

/// A notice that has to be sent, with its number and pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) request: u64,
    pub(super) pattern: String,
    pub(super) notice: Notice,
}

/// The watches of one connection. Does no IO.
#[derive(Debug, Default)]
pub(super) struct Watches {
    watches: BTreeMap<String, Watch>,
    /// What was sent and is not answered.
    sent: BTreeMap<u64, Sent>,
}

#[derive(Debug)]
struct Watch {
    pattern: Pattern,
    /// What the client was told of.
    told: BTreeSet<String>,
    /// Whether it waits for the word that it was told of everything.
    waits: bool,
}

#[derive(Debug)]
struct Sent {
    pattern: String,
    notice: Notice,
    at: Instant,
    times: u32,
}

impl Watches {
    /// Whether there is no room for one more pattern.
    pub(super) fn is_full(&self, pattern: &str) -> bool {
        self.watches.len() >= MOST_PATTERNS && !self.watches.contains_key(pattern)
    }

    /// Whether nothing is watched.
    pub(super) fn is_empty(&self) -> bool {
        self.watches.is_empty()
    }

    /// A client watches a pattern: there are these services, and it knows of those. What it is to be
    /// told, each under a number of `next`.
    pub(super) fn watch(
        &mut self,
        text: &str,
        pattern: Pattern,
        (there, known): (BTreeSet<String>, BTreeSet<String>),
        is_first: bool,
        now: Instant,
        next: &dyn Fn() -> u64,
    ) -> Vec<Due> {
        self.sent.retain(|_, sent| sent.pattern != text);
        let came = there.difference(&known).map(|service| (service.clone(), true));
        let went = known.difference(&there).map(|service| (service.clone(), false));
        let changes: Vec<_> = came.chain(went).collect();
        let parts = changes.len().div_ceil(BATCH);
        let watch = Watch { pattern, told: there, waits: is_first };
        self.watches.insert(text.to_owned(), watch);
        let batches = changes.chunks(BATCH).enumerate().map(|(at, services)| Notice::Batch {
            is_first,
            services: services.to_vec(),
            part: at + 1,
            parts,
        });
        let mut due: Vec<_> = batches
            .map(|notice| (text, notice))
            .collect::<Vec<_>>()
            .into_iter()
            .map(|(text, notice)| self.send(text, notice, now, next))
            .collect();
        due.extend(self.finish(text, now, next));
        due
    }

    /// A client watches a pattern no more.
    pub(super) fn cancel(&mut self, text: &str) {
        self.watches.remove(text);
        self.sent.retain(|_, sent| sent.pattern != text);
    }

    /// A service is there, or is not. What is to be told of it.
    pub(super) fn changed(
        &mut self,
        service: &ServiceKey,
        is_there: bool,
        now: Instant,
        next: &dyn Fn() -> u64,
    ) -> Vec<Due> {
        let key = key_of(service);
        let concerned = self.watches.iter_mut().filter(|(_, watch)| watch.pattern.matches(service));
        let changed = concerned.filter_map(|(text, watch)| {
            let differs = match is_there {
                true => watch.told.len() < MOST_SERVICES && watch.told.insert(key.clone()),
                false => watch.told.remove(&key),
            };
            differs.then(|| text.clone())
        });
        let notice = Notice::Change { service: key.clone(), is_there };
        let changed: Vec<_> = changed.collect();
        changed.iter().map(|text| self.send(text, notice.clone(), now, next)).collect()
    }

    /// A client has answered. What is to be told now; `None` if this was no answer to a notice.
    pub(super) fn acked(
        &mut self,
        request: u64,
        is_success: bool,
        now: Instant,
        next: &dyn Fn() -> u64,
    ) -> Option<Vec<Due>> {
        let sent = self.sent.get(&request)?;
        if !is_success {
            return Some(Vec::new());
        }
        let pattern = sent.pattern.clone();
        self.sent.remove(&request);
        Some(self.finish(&pattern, now, next).into_iter().collect())
    }

    /// What is to be sent once more.
    ///
    /// # Errors
    /// Nothing was answered for too long.
    pub(super) fn late(&mut self, now: Instant, next: &dyn Fn() -> u64) -> Result<Vec<Due>, ()> {
        let is_late = |sent: &Sent| now.saturating_duration_since(sent.at) >= ANSWER_TIME;
        if self.sent.values().any(|sent| is_late(sent) && sent.times >= MOST_SENDS) {
            return Err(());
        }
        let late = self.sent.extract_if(.., |_, sent| is_late(sent)).collect::<Vec<_>>();
        let again = late.into_iter().map(|(_, sent)| {
            let due = self.send(&sent.pattern, sent.notice, now, next);
            if let Some(again) = self.sent.get_mut(&due.request) {
                again.times = sent.times + 1;
            }
            due
        });
        Ok(again.collect())
    }

    /// The word that this was all, if it is time.
    fn finish(&mut self, text: &str, now: Instant, next: &dyn Fn() -> u64) -> Option<Due> {
        let is_under_way =
            |sent: &Sent| sent.pattern == text && matches!(sent.notice, Notice::Batch { .. });
        let watch = self.watches.get_mut(text)?;
        if !watch.waits || self.sent.values().any(is_under_way) {
            return None;
        }
        watch.waits = false;
        Some(self.send(text, Notice::Finish, now, next))
    }

    fn send(&mut self, text: &str, notice: Notice, now: Instant, next: &dyn Fn() -> u64) -> Due {
        let (request, pattern) = (next(), text.to_owned());
        let sent = Sent { pattern: pattern.clone(), notice: notice.clone(), at: now, times: 1 };
        self.sent.insert(request, sent);
        Due { request, pattern, notice }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn keys(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| format!("public@@g@@{name}")).collect()
    }

    fn service(name: &str) -> ServiceKey {
        ServiceKey::grouping("public", name, "g").unwrap()
    }

    #[test]
    fn patterns_match_as_they_are_written() {
        for (pattern, names) in [
            ("public>>g>>ab", vec!["ab"]),
            ("public>>g>>ab*", vec!["ab", "abc"]),
            ("public>>g>>*ab", vec!["ab", "xab"]),
            ("public>>*>>*ab*", vec!["ab", "abc", "xab"]),
            (">>*g>>*", vec!["ab", "abc", "c", "xab"]),
            ("elsewhere>>g>>*", vec![]),
            ("public>>h>>*", vec![]),
        ] {
            let read = Pattern::parse(pattern).unwrap();
            let found = ["ab", "abc", "c", "xab"].into_iter();
            let found: Vec<_> = found.filter(|name| read.matches(&service(name))).collect();
            assert_eq!(found, names, "{pattern}");
        }
        for text in ["", "a", "a>>b", "a>>b>>c>>d", &"x>>y>>z".repeat(500)] {
            assert_eq!(Pattern::parse(text), None, "{text:.20}");
        }
    }

    #[test]
    fn a_client_is_told_of_all_in_batches_and_then_that_this_was_all() {
        let last = Cell::new(0);
        let next = || {
            last.set(last.get() + 1);
            last.get()
        };
        let (mut watches, now) = (Watches::default(), Instant::now());
        let text = "public>>g>>*";
        let names: Vec<String> = (0..23).map(|n| format!("s{n:02}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let pattern = Pattern::parse(text).unwrap();
        let both = (keys(&names), keys(&["s00", "gone"]));
        let due = watches.watch(text, pattern, both, true, now, &next);
        let sizes: Vec<_> = due
            .iter()
            .map(|due| match &due.notice {
                Notice::Batch { services, parts: 3, is_first: true, .. } => services.len(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(sizes, [10, 10, 3]);
        assert_eq!(watches.acked(2, true, now, &next), Some(vec![]));
        assert_eq!(watches.acked(1, false, now, &next), Some(vec![]), "it has to come again");
        assert_eq!(watches.acked(3, true, now, &next), Some(vec![]));
        assert_eq!(watches.acked(9, true, now, &next), None);
        let later = now + ANSWER_TIME;
        let again = watches.late(later, &next).unwrap();
        assert_eq!((again.len(), again[0].request), (1, 4));
        let end = watches.acked(4, true, later, &next).unwrap();
        assert_eq!(end[0].notice, Notice::Finish);
        assert_eq!(watches.acked(5, true, later, &next), Some(vec![]));
        assert_eq!(watches.late(later + ANSWER_TIME, &next), Ok(vec![]));
    }

    #[test]
    fn a_change_is_told_once_to_those_it_concerns() {
        let last = Cell::new(0);
        let next = || {
            last.set(last.get() + 1);
            last.get()
        };
        let (mut watches, now) = (Watches::default(), Instant::now());
        let text = "public>>g>>a*";
        let pattern = || Pattern::parse(text).unwrap();
        let none = || (BTreeSet::new(), BTreeSet::new());
        let due = watches.watch(text, pattern(), none(), false, now, &next);
        assert!(due.is_empty(), "nothing is missing, and it is not the first time");
        let change = |is_there| Notice::Change { service: "public@@g@@ab".to_owned(), is_there };
        assert_eq!(watches.changed(&service("ab"), true, now, &next)[0].notice, change(true));
        assert!(watches.changed(&service("ab"), true, now, &next).is_empty());
        assert!(watches.changed(&service("b"), true, now, &next).is_empty());
        assert_eq!(watches.changed(&service("ab"), false, now, &next)[0].notice, change(false));
        watches.cancel(text);
        assert!(watches.is_empty() && watches.changed(&service("ab"), true, now, &next).is_empty());
    }

    #[test]
    fn who_never_answers_is_given_up() {
        let last = Cell::new(0);
        let next = || {
            last.set(last.get() + 1);
            last.get()
        };
        let (mut watches, now) = (Watches::default(), Instant::now());
        let text = "public>>g>>*";
        let both = (keys(&["s"]), BTreeSet::new());
        watches.watch(text, Pattern::parse(text).unwrap(), both, true, now, &next);
        for n in 1..MOST_SENDS {
            assert_eq!(watches.late(now + n * ANSWER_TIME, &next).unwrap().len(), 1);
        }
        assert_eq!(watches.late(now + MOST_SENDS * ANSWER_TIME, &next), Err(()));
    }
}
