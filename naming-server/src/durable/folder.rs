//! The folder with the durable data: where it is, and who may use it.

use std::ffi::OsString;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::error::DataError;

/// The name of our folder within the folder of the user's data.
const OURS: &str = "naming-server";

/// Whoever holds the lock on this file uses the folder.
const LOCK: &str = "registry.lock";

/// A folder that this process alone uses, as long as this lives.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    /// The system lets go of it when the process ends, however it does.
    _lock: File,
}

impl Folder {
    /// Makes the folder if need be, for its owner only, and takes hold of it.
    ///
    /// # Errors
    /// No permission, no room, or another server that uses it.
    pub(crate) fn open(path: &Path) -> Result<Self, DataError> {
        let mut builder = DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(path).map_err(|error| DataError::system("make", path, error))?;
        // Shown and kept as it is found from everywhere.
        let path = path.canonicalize().map_err(|error| DataError::system("find", path, error))?;
        let file = path.join(LOCK);
        let mut options = OpenOptions::new();
        let lock = options.create(true).truncate(false).write(true).open(&file);
        let lock = lock.map_err(|error| DataError::system("write to", &path, error))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path, _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(DataError::InUse(path)),
            Err(TryLockError::Error(error)) => Err(DataError::system("lock", &file, error)),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// The folder of a server that was told of none: within the user's data, named after the address
/// that was configured, so that several servers on a machine do not meet.
///
/// # Errors
/// A user without a home directory.
pub(crate) fn default_folder(advertise: &str, bound: SocketAddr) -> Result<PathBuf, DataError> {
    let variable = |name: &str| std::env::var_os(name);
    let data = data_home(variable, std::env::home_dir()).ok_or(DataError::NoHome)?;
    Ok(data.join(OURS).join(folder_name(advertise, bound)))
}

/// Where a user's programs keep their data.
fn data_home(
    variable: impl Fn(&str) -> Option<OsString>,
    home: Option<PathBuf>,
) -> Option<PathBuf> {
    // A relative path would be another one from wherever the program is started.
    let absolute = |path: PathBuf| path.is_absolute().then_some(path);
    if let Some(path) = variable("XDG_DATA_HOME").map(PathBuf::from).and_then(absolute) {
        return Some(path);
    }
    let place =
        if cfg!(target_os = "macos") { "Library/Application Support" } else { ".local/share" };
    Some(home.and_then(absolute)?.join(place))
}

/// What was configured, not what was found out: the latter may be another one tomorrow.
fn folder_name(advertise: &str, bound: SocketAddr) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' || c == '-' { c } else { '_' };
    let (host, port) = match advertise.trim() {
        "" => (bound.ip().to_string(), bound.port()),
        text => split_port(text, bound.port()),
    };
    format!("{}_{port}", host.chars().map(plain).collect::<String>())
}

fn split_port(text: &str, default: u16) -> (String, u16) {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return (address.ip().to_string(), address.port());
    }
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    match text.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?))) {
        Some((host, port)) if !host.contains(':') => (host.to_owned(), port),
        _ => (bare.to_owned(), default),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_on_one_machine_have_folders_of_their_own() {
        let name = |advertise: &str, bound: &str| folder_name(advertise, bound.parse().unwrap());
        assert_eq!(name("", "0.0.0.0:8848"), "0.0.0.0_8848");
        assert_eq!(name("", "[::1]:8849"), "__1_8849");
        assert_eq!(name("10.0.0.1", "0.0.0.0:8848"), "10.0.0.1_8848");
        assert_eq!(name("10.0.0.1:9000", "0.0.0.0:8848"), "10.0.0.1_9000");
        assert_eq!(name(" node-1.naming:81", "0.0.0.0:8848"), "node-1.naming_81");
        assert_eq!(name("node-1", "0.0.0.0:8848"), "node-1_8848");
        assert_eq!(name("[2001:db8::7]:80", "[::]:8848"), "2001_db8__7_80");
        assert_eq!(name("2001:db8::7", "[::]:8848"), "2001_db8__7_8848");
        assert_eq!(name("../../etc", "0.0.0.0:1"), ".._.._etc_1");
    }

    #[test]
    fn the_data_of_a_user_is_where_the_system_keeps_it() {
        let none = |_: &str| None;
        let home = || Some(PathBuf::from("/users/u"));
        let place = data_home(none, home()).unwrap();
        assert!(place.starts_with("/users/u") && place.components().count() > 3, "{place:?}");
        let set = |value: &'static str| {
            move |name: &str| (name == "XDG_DATA_HOME").then(|| OsString::from(value))
        };
        assert_eq!(data_home(set("/data"), home()).unwrap(), Path::new("/data"));
        // Relative ones are to be ignored.
        assert_eq!(data_home(set("data"), home()).unwrap(), place);
        assert_eq!(data_home(none, None), None);
        assert_eq!(data_home(none, Some(PathBuf::new())), None);
    }

    #[test]
    fn one_process_at_a_time_uses_a_folder() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a/b");
        let folder = Folder::open(&path).unwrap();
        let refused = Folder::open(&path).unwrap_err().to_string();
        assert!(refused.contains("another server uses") && refused.contains("--data-dir"));
        drop(folder);
        Folder::open(&path).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn the_folder_is_for_its_owner_only() {
        use std::os::unix::fs::PermissionsExt;
        let parent = tempfile::tempdir().unwrap();
        let folder = Folder::open(&parent.path().join("data")).unwrap();
        let mode = folder.path().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }

    #[test]
    fn what_cannot_be_a_folder_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().join("data");
        let refused = Folder::open(&path).unwrap_err().to_string();
        assert!(refused.contains(&path.display().to_string()), "{refused}");
    }
}
