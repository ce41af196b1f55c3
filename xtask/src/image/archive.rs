//! The archive that `docker load` reads.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::json;
use tar::{Builder, EntryType};

use super::NAME;
use super::layer::add;
use super::layout::{Part, digest};

pub(super) fn write(part: &Part, path: &Path) -> Result<()> {
    let mut builder = Builder::new(Vec::new());
    let name_of = |bytes: &[u8]| digest(bytes).trim_start_matches("sha256:").to_owned();
    let config = format!("{}.json", name_of(&part.config));
    let layer = format!("{}/layer.tar", name_of(&part.layer.tar));
    let tags = [format!("{NAME}:{}", env!("CARGO_PKG_VERSION")), format!("{NAME}:latest")];
    let manifest = json!([{ "Config": config, "RepoTags": tags, "Layers": [layer] }]);
    let mut add =
        |name: &str, bytes: &[u8]| add(&mut builder, name, EntryType::Regular, 0o644, 0, bytes);
    add(&config, &part.config)?;
    add(&layer, &part.layer.tar)?;
    add("manifest.json", manifest.to_string().as_bytes())?;
    let bytes = builder.into_inner()?;
    std::fs::write(path, bytes).with_context(|| format!("write {}", path.display()))
}
