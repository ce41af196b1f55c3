//! The lists known last, on disk: a client that starts while no server answers still knows whom
//! to call.

use std::collections::HashMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use naming_http::percent_encoded;
use naming_model::Instance;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, watch};

use crate::instances::Instances;
use crate::names::{Namespace, ServiceQuery};

/// Longest file read, in bytes.
const MAX_FILE: u64 = 64 * 1024 * 1024;
/// Longest file name before it is shortened; file systems end at 255.
const MAX_NAME: usize = 200;

#[derive(Debug, Serialize, Deserialize)]
struct Saved {
    service: String,
    clusters: String,
    hosts: Vec<Instance>,
}

/// A directory of lists, one file for each query.
#[derive(Debug, Clone)]
pub(crate) struct Cache {
    directory: PathBuf,
    waiting: Arc<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    /// The newest list of each query that is not on disk yet.
    lists: Mutex<HashMap<ServiceQuery, Instances>>,
    wake: Notify,
}

impl Cache {
    /// Makes the directory if need be.
    pub(crate) fn open(directory: &Path, namespace: &Namespace) -> io::Result<Self> {
        let name = percent_encoded(namespace.as_str()).to_string();
        let directory = directory.join(shortened(name));
        std::fs::create_dir_all(&directory)?;
        Ok(Self { directory, waiting: Arc::default() })
    }

    /// Hands a list to the writer; a newer one of the same query replaces one that waits.
    pub(crate) fn save_later(&self, query: &ServiceQuery, list: Instances) {
        self.waiting.lists.lock().insert(query.clone(), list);
        self.waiting.wake.notify_one();
    }

    /// The list saved last. A file that cannot be read counts as none.
    pub(crate) async fn load(&self, query: &ServiceQuery) -> Option<Vec<Instance>> {
        let (path, query) = (self.path(query), query.clone());
        tokio::task::spawn_blocking(move || load(&path, &query)).await.ok().flatten()
    }

    fn path(&self, query: &ServiceQuery) -> PathBuf {
        let (service, clusters) = (query.service().grouped(), query.cluster_text());
        let name = format!("{}%23{}", percent_encoded(service), percent_encoded(clusters));
        self.directory.join(shortened(name) + ".json")
    }

    /// Writes what waits; called on a thread that may block.
    pub(crate) fn write_all(&self) {
        let lists = std::mem::take(&mut *self.waiting.lists.lock());
        for (query, list) in lists {
            if let Err(error) = self.write(&query, &list) {
                tracing::warn!(%query, %error, "saving the instances failed");
            }
        }
    }

    /// Writes beside the file and renames, so that a crash leaves the old list or the new one.
    fn write(&self, query: &ServiceQuery, list: &Instances) -> io::Result<()> {
        let saved = Saved {
            service: query.service().grouped().to_owned(),
            clusters: query.cluster_text().to_owned(),
            hosts: list.all().to_vec(),
        };
        let path = self.path(query);
        // Several processes may share the directory.
        let beside = path.with_extension(format!("{}.tmp", std::process::id()));
        std::fs::write(&beside, serde_json::to_vec(&saved)?)?;
        std::fs::rename(&beside, &path)
    }
}

fn load(path: &Path, query: &ServiceQuery) -> Option<Vec<Instance>> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).ok()?;
    file.take(MAX_FILE).read_to_end(&mut bytes).ok()?;
    let saved: Saved = serde_json::from_slice(&bytes)
        .inspect_err(|error| tracing::warn!(%query, %error, "the saved instances are unreadable"))
        .ok()?;
    // Two shortened names may be one.
    let is_ours =
        saved.service == query.service().grouped() && saved.clusters == query.cluster_text();
    is_ours.then_some(saved.hosts)
}

/// Keeps long names apart by a hash (FNV-1a) of the whole.
fn shortened(name: String) -> String {
    if name.len() <= MAX_NAME {
        return name;
    }
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    // Encoded names are ASCII, so that any place is a boundary.
    format!("{}-{hash:016x}", name.get(..MAX_NAME).unwrap_or_default())
}

/// Writes lists until the client ends, and then what is left.
pub(crate) async fn run(cache: Cache, mut stop: watch::Receiver<bool>) {
    loop {
        let stopped = tokio::select! {
            // The sender is dropped with the client's last handle.
            _ = stop.changed() => true,
            () = cache.waiting.wake.notified() => false,
        };
        let writer = cache.clone();
        let written = tokio::task::spawn_blocking(move || writer.write_all()).await;
        if stopped || written.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> ServiceQuery {
        ServiceQuery::try_from(text).unwrap()
    }

    #[tokio::test]
    async fn a_saved_list_comes_back_for_its_own_query_only() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::open(directory.path(), &Namespace::new("a/../b").unwrap()).unwrap();
        let list = Instances::new(vec![Instance::new("::1", 1).metadata("k", "v")]);
        let clustered = query("g@@s").clusters(["c"]).unwrap();
        cache.save_later(&query("g@@s"), list.clone());
        cache.save_later(&clustered, Instances::default());
        cache.write_all();
        assert_eq!(cache.load(&query("g@@s")).await.unwrap(), list.all());
        assert_eq!(cache.load(&clustered).await.unwrap(), []);
        assert_eq!(cache.load(&query("g@@t")).await, None);
        let other = Cache::open(directory.path(), &Namespace::default()).unwrap();
        assert_eq!(other.load(&query("g@@s")).await, None);
    }

    #[tokio::test]
    async fn long_names_and_broken_files_do_no_harm() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::open(directory.path(), &Namespace::default()).unwrap();
        let long = |tail: &str| query(&format!("{}{tail}", ":".repeat(400)));
        cache.save_later(&long("a"), Instances::new(vec![Instance::new("a", 1)]));
        cache.write_all();
        assert_eq!(cache.load(&long("a")).await.unwrap().len(), 1);
        assert_eq!(cache.load(&long("b")).await, None);
        std::fs::write(cache.path(&long("a")), b"{\"service\":").unwrap();
        assert_eq!(cache.load(&long("a")).await, None);
    }
}
