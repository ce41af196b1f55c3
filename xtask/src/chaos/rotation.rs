//! Secrets and certificates of a cluster, made and changed as an operator does: with `openssl`, and by
//! renames.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

/// The port of members, who speak TLS on no other.
const MEMBERS_PORT: u16 = 7848;

/// The files of all nodes, each in a folder of its own.
pub(super) struct Keys {
    folder: PathBuf,
    /// Of each node: where members reach it, and where clients do.
    hosts: Vec<(IpAddr, IpAddr)>,
}

/// Whose authority and certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    Members,
    Clients,
}

impl Whose {
    fn word(self) -> &'static str {
        match self {
            Self::Members => "members",
            Self::Clients => "clients",
        }
    }
}

impl Keys {
    /// A secret, an authority for members and one for clients, and certificates of both for each node.
    ///
    /// # Errors
    ///
    /// If there is no `openssl`, or the folder cannot be written to.
    pub(super) async fn make(folder: PathBuf, hosts: Vec<(IpAddr, IpAddr)>) -> Result<Self> {
        let keys = Self { folder, hosts };
        for node in 0..keys.hosts.len() {
            fs::create_dir_all(keys.of(node, "")).context("make a folder for keys")?;
            keys.write_secret(node, 1)?;
        }
        for whose in [Whose::Members, Whose::Clients] {
            keys.make_authority(whose, 1).await?;
            keys.certify(whose, 1).await?;
        }
        keys.trust(&[1])?;
        Ok(keys)
    }

    /// Settings of a node that uses them.
    pub(super) fn settings(&self, node: usize) -> Vec<String> {
        let of = |name| self.of(node, name).display().to_string();
        vec![
            format!("cluster.secret_file={}", of("secret")),
            format!("cluster.previous_secret_file={}", of("secret.previous")),
            format!("cluster.bind_port={MEMBERS_PORT}"),
            "cluster.tls.mode=required".to_owned(),
            format!("cluster.tls.certificate={}", of("members.pem")),
            format!("cluster.tls.key={}", of("members.key")),
            format!("cluster.tls.ca={}", of("trusted.pem")),
            "tls.mode=compatibility".to_owned(),
            format!("tls.certificate={}", of("clients.pem")),
            format!("tls.key={}", of("clients.key")),
        ]
    }

    pub(super) fn nodes(&self) -> std::ops::Range<usize> {
        0..self.hosts.len()
    }

    /// The secret of this generation in the place of the one before, which is kept as the previous one.
    pub(super) fn change_secret(&self, node: usize, generation: usize) -> Result<()> {
        let before = fs::read_to_string(self.of(node, "secret"))?;
        replace(&self.of(node, "secret.previous"), &before)?;
        self.write_secret(node, generation)
    }

    /// Nobody may prove itself by the previous secret any more.
    pub(super) fn forget_previous(&self, node: usize) -> Result<()> {
        fs::remove_file(self.of(node, "secret.previous")).context("remove the previous secret")
    }

    fn write_secret(&self, node: usize, generation: usize) -> Result<()> {
        replace(&self.of(node, "secret"), &format!("chaos-{generation:040}\n"))
    }

    /// An authority of this generation, which nobody trusts yet.
    pub(super) async fn make_authority(&self, whose: Whose, generation: usize) -> Result<()> {
        let (pem, key) =
            (self.authority(whose, generation, "pem"), self.authority(whose, generation, "key"));
        let subject = format!("/CN={} {generation}", whose.word());
        openssl(&[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "30",
            "-subj",
            &subject,
            "-keyout",
            &text(&key),
            "-out",
            &text(&pem),
        ])
        .await
    }

    /// All nodes get certificates of the authority of this generation.
    pub(super) async fn certify(&self, whose: Whose, generation: usize) -> Result<()> {
        for node in self.nodes() {
            let (members, clients) = self.hosts[node];
            let host = if whose == Whose::Members { members } else { clients };
            let new =
                |ending: &str| text(&self.of(node, &format!("{}.{ending}.new", whose.word())));
            let subject = format!("/CN=node {} {generation}", node + 1);
            openssl(&[
                "req",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-subj",
                &subject,
                "-keyout",
                &new("key"),
                "-out",
                &new("csr"),
            ])
            .await?;
            let uses =
                format!("subjectAltName=IP:{host}\nextendedKeyUsage=serverAuth,clientAuth\n");
            fs::write(new("ext"), uses)?;
            let authority = |ending| text(&self.authority(whose, generation, ending));
            openssl(&[
                "x509",
                "-req",
                "-in",
                &new("csr"),
                "-CA",
                &authority("pem"),
                "-CAkey",
                &authority("key"),
                "-CAcreateserial",
                "-days",
                "30",
                "-extfile",
                &new("ext"),
                "-out",
                &new("pem"),
            ])
            .await?;
            for ending in ["key", "pem"] {
                fs::rename(new(ending), self.of(node, &format!("{}.{ending}", whose.word())))?;
            }
        }
        Ok(())
    }

    /// Members trust the authorities of these generations, and no others.
    pub(super) fn trust(&self, generations: &[usize]) -> Result<()> {
        let read = |one: &usize| fs::read_to_string(self.authority(Whose::Members, *one, "pem"));
        let all: String = generations.iter().map(read).collect::<std::io::Result<_>>()?;
        self.nodes().try_for_each(|node| replace(&self.of(node, "trusted.pem"), &all))
    }

    /// Whether each node shows clients a certificate of this generation.
    ///
    /// # Errors
    ///
    /// If one does not.
    pub(super) async fn check_clients(&self, generation: usize, port: u16) -> Result<()> {
        let authority = text(&self.authority(Whose::Clients, generation, "pem"));
        for &(_, host) in &self.hosts {
            let (address, host) = (format!("{host}:{port}"), host.to_string());
            let words = [
                "s_client",
                "-connect",
                &address,
                "-CAfile",
                &authority,
                "-verify_ip",
                &host,
                "-verify_return_error",
                "-brief",
            ];
            let shown = openssl(&words);
            shown.await.with_context(|| format!("generation {generation} at {address}"))?;
        }
        Ok(())
    }

    fn of(&self, node: usize, name: &str) -> PathBuf {
        self.folder.join(format!("keys-{}", node + 1)).join(name)
    }

    fn authority(&self, whose: Whose, generation: usize, ending: &str) -> PathBuf {
        self.folder.join(format!("{}-{generation}.{ending}", whose.word()))
    }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// By a rename, so that nobody reads half of it.
fn replace(path: &Path, text: &str) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let next = path.with_extension("next");
    fs::write(&next, text)
        .and_then(|()| fs::set_permissions(&next, fs::Permissions::from_mode(0o600)))
        .and_then(|()| fs::rename(&next, path))
        .with_context(|| format!("replace {}", path.display()))
}

async fn openssl(words: &[&str]) -> Result<()> {
    let mut command = Command::new("openssl");
    let output =
        command.args(words).stdin(Stdio::null()).output().await.context("start openssl")?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "openssl {}: {}", words.join(" "), errors.trim());
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[tokio::test]
    async fn files_are_made_and_changed_as_an_operator_does() {
        let place = tempfile::tempdir().unwrap();
        let host = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let keys = Keys::make(place.path().to_owned(), vec![(host, host); 2]).await.unwrap();
        let read = |name: &str| fs::read_to_string(place.path().join(name)).unwrap();
        let first = read("keys-2/secret");
        assert!(first.trim().len() >= 32);
        keys.change_secret(1, 2).unwrap();
        assert_eq!(read("keys-2/secret.previous"), first);
        assert_ne!(read("keys-2/secret"), first);
        keys.forget_previous(1).unwrap();
        assert!(keys.forget_previous(1).is_err());
        keys.make_authority(Whose::Members, 2).await.unwrap();
        keys.trust(&[1, 2]).unwrap();
        assert_eq!(read("keys-1/trusted.pem").matches("BEGIN CERTIFICATE").count(), 2);
        let before = read("keys-1/members.pem");
        keys.certify(Whose::Members, 2).await.unwrap();
        assert_ne!(read("keys-1/members.pem"), before);
    }
}
