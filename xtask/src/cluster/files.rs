//! The files of a cluster: the list of members and the secret, which its nodes share, and the data
//! of each.

use std::fs;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tempfile::TempDir;

/// A directory that only its owner can look into, removed with this.
#[derive(Debug)]
pub(crate) struct Files {
    directory: TempDir,
}

impl Files {
    /// Makes the directory and a secret in it.
    ///
    /// # Errors
    ///
    /// If the temporary directory of the system cannot be written to.
    pub(crate) fn create() -> Result<Self> {
        let owner_only = fs::Permissions::from_mode(0o700);
        let mut builder = tempfile::Builder::new();
        let directory = builder.prefix("naming-cluster-").permissions(owner_only).tempdir();
        let files = Self { directory: directory.context("make a temporary directory")? };
        write_secret(&files.secret()).context("make up a secret")?;
        Ok(files)
    }

    pub(crate) fn secret(&self) -> PathBuf {
        self.directory.path().join("secret")
    }

    pub(crate) fn members(&self) -> PathBuf {
        self.directory.path().join("cluster.conf")
    }

    /// The data folder of a node. What it kept is there when it is started again.
    pub(crate) fn data(&self, node: SocketAddr) -> PathBuf {
        self.directory.path().join(format!("data-{}-{}", node.ip(), node.port()))
    }

    /// Removes the data folder of a node, which must have ended.
    ///
    /// # Errors
    ///
    /// If it cannot be removed, or was never there.
    pub(crate) fn remove_data(&self, node: SocketAddr) -> Result<()> {
        let data = self.data(node);
        fs::remove_dir_all(&data).with_context(|| format!("remove {}", data.display()))
    }

    /// A place for other files.
    pub(crate) fn folder(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("control")
    }

    /// Replaces the list of members at once, so that nobody reads half of it.
    ///
    /// # Errors
    ///
    /// If the directory cannot be written to.
    pub(crate) fn write_members(&self, members: &[SocketAddr]) -> Result<()> {
        let text: String = members.iter().map(|member| format!("{member}\n")).collect();
        let next = self.directory.path().join("cluster.conf.next");
        fs::write(&next, text)
            .and_then(|()| fs::rename(&next, self.members()))
            .context("write the list of members")
    }
}

fn write_secret(path: &Path) -> Result<()> {
    let mut random = [0; 32];
    fs::File::open("/dev/urandom")?.read_exact(&mut random)?;
    let text: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secret_is_long_and_for_its_owner_only() {
        let (one, other) = (Files::create().unwrap(), Files::create().unwrap());
        let secret = fs::read_to_string(one.secret()).unwrap();
        assert_eq!(secret.len(), 64);
        assert_ne!(secret, fs::read_to_string(other.secret()).unwrap());
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&one.secret()), 0o600);
        assert_eq!(mode(one.directory.path()), 0o700);
    }

    #[test]
    fn members_are_replaced_and_the_directory_goes() {
        let files = Files::create().unwrap();
        let member = |port| SocketAddr::from(([127, 0, 0, 1], port));
        files.write_members(&[member(1), member(2)]).unwrap();
        files.write_members(&[member(3)]).unwrap();
        assert_eq!(fs::read_to_string(files.members()).unwrap(), "127.0.0.1:3\n");
        let path = files.directory.path().to_owned();
        drop(files);
        assert!(!path.exists());
    }
}
