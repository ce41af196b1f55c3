//! The OCI layout: everything by its digest.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::layer::Layer;
use super::{Architecture, config};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// The image of one architecture.
pub(super) struct Part {
    pub(super) architecture: Architecture,
    pub(super) layer: Layer,
    pub(super) config: Vec<u8>,
}

impl Part {
    pub(super) fn new(architecture: Architecture, layer: Layer) -> Self {
        let config = bytes(&config::make(architecture, &digest(&layer.tar)));
        Self { architecture, layer, config }
    }
}

/// Writes a layout in place of what is there, and returns the digest of its index.
pub(super) fn write(parts: &[Part], folder: &Path) -> Result<String> {
    if folder.exists() {
        std::fs::remove_dir_all(folder).with_context(|| format!("clear {}", folder.display()))?;
    }
    let blobs = folder.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).with_context(|| format!("make {}", blobs.display()))?;
    let add = |kind: &str, bytes: &[u8]| -> Result<Value> {
        let digest = digest(bytes);
        let name = digest.trim_start_matches("sha256:");
        std::fs::write(blobs.join(name), bytes)?;
        Ok(json!({ "mediaType": kind, "digest": digest, "size": bytes.len() }))
    };
    let mut manifests = Vec::new();
    for part in parts {
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": add(CONFIG, &part.config)?,
            "layers": [add(LAYER, &part.layer.gzip)?],
        });
        let mut described = add(MANIFEST, &bytes(&manifest))?;
        described["platform"] = json!({ "architecture": part.architecture.name(), "os": "linux" });
        manifests.push(described);
    }
    let version = env!("CARGO_PKG_VERSION");
    if let [only] = manifests.as_mut_slice() {
        only["annotations"] = json!({ "org.opencontainers.image.ref.name": version });
    } else {
        let index =
            json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests.as_slice() });
        let mut described = add(INDEX, &bytes(&index))?;
        described["annotations"] = json!({ "org.opencontainers.image.ref.name": version });
        manifests = vec![described];
    }
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests });
    let index = bytes(&index);
    std::fs::write(folder.join("index.json"), &index)?;
    std::fs::write(folder.join("oci-layout"), br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    Ok(digest(&index))
}

/// The name of bytes.
pub(super) fn digest(bytes: &[u8]) -> String {
    let hash: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hash}")
}

fn bytes(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}
