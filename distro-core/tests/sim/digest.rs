//! One number for all that happens in a run, to compare runs before and after a change.

use std::fmt::Write as _;
use std::io::Write as _;

use xxhash_rust::xxh3::Xxh3;

/// What has happened so far, in a run that has a name.
pub(crate) struct Digest {
    name: String,
    hash: Xxh3,
    parts: u64,
}

impl Digest {
    pub(crate) fn new(name: String) -> Self {
        Self { name, hash: Xxh3::new(), parts: 0 }
    }

    pub(crate) fn add(&mut self, at_ms: u64, what: &[u8]) {
        self.parts += 1;
        self.hash.update(&at_ms.to_le_bytes());
        self.hash.update(&(what.len() as u64).to_le_bytes());
        self.hash.update(what);
    }
}

impl Drop for Digest {
    /// Appends a line to the file that the variable `DIGESTS` names, if it names one.
    fn drop(&mut self) {
        #[allow(clippy::disallowed_methods, reason = "the variable says where to, not how it goes")]
        let Some(path) = std::env::var_os("DIGESTS") else { return };
        let test = std::thread::current().name().unwrap_or("random").to_owned();
        let mut line = String::new();
        let _ = writeln!(line, "{test} {} {} {:016x}", self.name, self.parts, self.hash.digest());
        let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
        // One call: lines of threads must not be torn.
        let written = file.and_then(|mut file| file.write_all(line.as_bytes()));
        written.expect("the file that DIGESTS names can be written");
    }
}
