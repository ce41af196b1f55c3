//! Its list of members: a file that it reads at every write, and writes itself.

use std::collections::BTreeSet;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::{Inner, Member, Sight};

/// How a change of the file is noticed: by any of these.
type Mark = (u64, u64, i64, i64);

/// The file and what is to be done with it.
#[derive(Debug)]
pub(super) struct ListFile {
    path: PathBuf,
    seen: Option<Mark>,
    /// What it read and still has to write back, and when.
    write_back: Option<(Instant, Vec<String>)>,
}

impl ListFile {
    pub(super) fn new(path: PathBuf) -> Self {
        let seen = fs::metadata(&path).ok().map(|metadata| mark(&metadata));
        Self { path, seen, write_back: None }
    }

    /// The members, if somebody wrote the file since the last look. Whoever writes line by line is
    /// read in the middle.
    fn news(&mut self) -> Option<Vec<String>> {
        let mark = mark(&fs::metadata(&self.path).ok()?);
        if self.seen == Some(mark) {
            return None;
        }
        self.seen = Some(mark);
        Some(read(&self.path))
    }
}

/// The members in a file; comments and what is no address are left out.
pub(super) fn read(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let is_member = |line: &&str| {
        let port = line.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
        matches!(port, Some(Ok(_)))
    };
    text.lines().map(str::trim).filter(is_member).map(str::to_owned).collect()
}

fn mark(metadata: &Metadata) -> Mark {
    (metadata.ino(), metadata.size(), metadata.mtime(), metadata.mtime_nsec())
}

impl Inner {
    /// Reads the list if it was written, and writes back later what it read, over whatever was
    /// written meanwhile.
    pub(super) fn watch_list(&self, now: Instant) {
        let mut file = self.list_file.lock().unwrap();
        // One thing after the other: it does not read before it has written.
        if file.write_back.is_none()
            && let Some(members) = file.news()
            && !members.is_empty()
            && self.set_members(&members)
        {
            let all: BTreeSet<String> = self.addresses().into_iter().collect();
            file.write_back = Some((now + self.pace.write_back, all.into_iter().collect()));
        }
        if let Some((_, members)) = file.write_back.take_if(|(due, _)| *due <= now) {
            let text = format!("#written by the server\n{}\n", members.join("\n"));
            fs::write(&file.path, text).unwrap();
        }
    }

    /// Known members keep their state, new ones are down, and nobody's version is known. False if
    /// the list is the old one.
    fn set_members(&self, members: &[String]) -> bool {
        let mut state = self.state();
        let old = std::mem::take(&mut state.members);
        for member in members.iter().filter(|member| **member != self.own) {
            let known = old.get(member);
            let sight = known.map_or(Sight::Down, |known| known.sight);
            let failures = known.map_or(0, |known| known.failures);
            let fresh = Member { sight, failures, has_version: false };
            state.members.insert(member.clone(), fresh);
        }
        let is_news = !old.keys().eq(state.members.keys());
        if is_news {
            // It keeps itself in its list, and later reads that in what it wrote back.
            state.is_listed = members.contains(&self.own);
            let listed: BTreeSet<String> = state.members.keys().cloned().collect();
            state.due.retain(|(target, _), _| listed.contains(target));
            state.view_changed = Instant::now();
        }
        is_news
    }
}
