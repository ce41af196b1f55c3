//! What can be wrong with the data folder, and what to do about it.

use std::fmt::Display;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// Why durable data cannot be read or written. What was there stays as it was.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DataError {
    /// There is no place to put a folder.
    #[error(
        "this user has no home directory for the data: name a folder with --data-dir, or keep \
         everything in memory with --in-memory"
    )]
    NoHome,
    /// Another process holds the folder.
    #[error(
        "another server uses {}: stop it, or name another folder with --data-dir",
        .0.display()
    )]
    InUse(PathBuf),
    /// The system said no.
    #[error(
        "cannot {action} {}: {cause}; make it writable for this user, or name another folder \
         with --data-dir",
        path.display()
    )]
    System {
        /// What was being done.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// No room on the disk, or within the limits of this process or user.
    #[error(
        "no room left for {}: {cause}; free some, or name another folder with --data-dir",
        path.display()
    )]
    Full {
        /// What was being written.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// The file is not what it should be.
    #[error(
        "{} is damaged ({cause}) and was left as it is: put back a copy of it, or move it away \
         to start without it and load what other members have",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// A later release wrote the file.
    #[error(
        "{} was written by a newer release (format {found}, this one knows {known}) and was left \
         as it is: start that release, or name another folder with --data-dir",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u64,
        /// The latest format that this release knows.
        known: u64,
    },
}

impl DataError {
    /// Of a file of the operating system.
    pub(super) fn system(action: &'static str, path: &Path, cause: io::Error) -> Self {
        let path = path.to_owned();
        if is_full(&cause) {
            Self::Full { path, cause }
        } else {
            Self::System { action, path, cause }
        }
    }

    /// Of the file with the records.
    pub(super) fn file(path: &Path, error: impl Into<redb::Error>) -> Self {
        match error.into() {
            redb::Error::DatabaseAlreadyOpen | redb::Error::LockProtocolMismatch => {
                Self::InUse(path.to_owned())
            }
            redb::Error::Io(cause) if is_damage(&cause) => Self::damaged(path, cause),
            redb::Error::Io(cause) => Self::system("use", path, cause),
            other => Self::damaged(path, other),
        }
    }

    /// Something in the file makes no sense.
    pub(super) fn damaged(path: &Path, cause: impl Display) -> Self {
        Self::Damaged { path: path.to_owned(), cause: cause.to_string() }
    }
}

/// Reading found something else than was written.
fn is_damage(cause: &io::Error) -> bool {
    matches!(cause.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof)
}

fn is_full(cause: &io::Error) -> bool {
    let kinds = [ErrorKind::StorageFull, ErrorKind::QuotaExceeded, ErrorKind::FileTooLarge];
    kinds.contains(&cause.kind())
}
