//! The files of the image, as one layer.

use std::io::Write;

use anyhow::Result;
use flate2::{Compression, GzBuilder};
use tar::{Builder, EntryType, Header};

use super::config::{DATA_FOLDER, PLAIN_USER};

/// A layer, packed and as it was before.
pub(super) struct Layer {
    pub(super) tar: Vec<u8>,
    pub(super) gzip: Vec<u8>,
}

/// Packs the program with what a user without rights needs.
pub(super) fn make(program: &[u8]) -> Result<Layer> {
    let mut builder = Builder::new(Vec::new());
    let passwd = format!(
        "root:x:0:0:root:/:/sbin/nologin\nnaming:x:{PLAIN_USER}:{PLAIN_USER}::{DATA_FOLDER}:/sbin/nologin\n"
    );
    let group = format!("root:x:0:\nnaming:x:{PLAIN_USER}:\n");
    let data = DATA_FOLDER.trim_start_matches('/');
    add(&mut builder, &format!("{data}/"), EntryType::Directory, 0o700, PLAIN_USER, &[])?;
    add(&mut builder, "etc/", EntryType::Directory, 0o755, 0, &[])?;
    add(&mut builder, "etc/group", EntryType::Regular, 0o644, 0, group.as_bytes())?;
    add(&mut builder, "etc/passwd", EntryType::Regular, 0o644, 0, passwd.as_bytes())?;
    add(&mut builder, "naming-server", EntryType::Regular, 0o755, 0, program)?;
    let tar = builder.into_inner()?;
    let mut gzip = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
    gzip.write_all(&tar)?;
    Ok(Layer { gzip: gzip.finish()?, tar })
}

/// Adds a file whose times and owners are always the same.
pub(super) fn add(
    builder: &mut Builder<Vec<u8>>,
    path: &str,
    kind: EntryType,
    mode: u32,
    owner: u32,
    bytes: &[u8],
) -> Result<()> {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(owner.into());
    header.set_gid(owner.into());
    header.set_mtime(0);
    header.set_size(bytes.len() as u64);
    builder.append_data(&mut header, path, bytes)?;
    Ok(())
}
