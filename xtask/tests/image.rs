//! The container image: its bytes, and what a container is told.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;
use sha2::{Digest, Sha256};
use xtask::image::{Architecture, Image, PLAIN_USER, write};

/// The least that passes for a static program of an architecture: a header without segments.
fn program(folder: &Path, architecture: Architecture, text: &str) -> (Architecture, PathBuf) {
    let mut bytes = b"\x7fELF\x02\x01\x01".to_vec();
    bytes.resize(64, 0);
    bytes[18] = match architecture {
        Architecture::Amd64 => 62,
        Architecture::Arm64 => 183,
    };
    bytes.extend_from_slice(text.as_bytes());
    let path = folder.join(architecture.name());
    std::fs::write(&path, bytes).unwrap();
    (architecture, path)
}

fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn blob(image: &Image, described: &Value) -> PathBuf {
    let digest = described["digest"].as_str().unwrap();
    let path = image.layout.join("blobs").join(digest.replace(':', "/"));
    let bytes = std::fs::read(&path).unwrap();
    let hash: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(digest, format!("sha256:{hash}"), "a blob has the name of its bytes");
    assert_eq!(described["size"], bytes.len());
    path
}

/// Every file below a folder, with its bytes.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => {
                let below = self::files(&path).into_iter();
                files.extend(below.map(|(name, bytes)| (path.join(name), bytes)));
            }
            false => _ = files.insert(path.clone(), std::fs::read(path).unwrap()),
        }
    }
    let below = |path: PathBuf| path.strip_prefix(folder).unwrap().to_path_buf();
    files.into_iter().map(|(path, bytes)| (below(path), bytes)).collect()
}

#[test]
fn the_same_program_gives_the_same_image() {
    let folder = tempfile::tempdir().unwrap();
    let programs = [program(folder.path(), Architecture::Amd64, "x")];
    let (first, second) = (folder.path().join("first"), folder.path().join("second"));
    let one = write(&programs, &first).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    let other = write(&programs, &second).unwrap();
    assert_eq!(one.digest, other.digest);
    assert_eq!(files(&first), files(&second), "whenever it is made");
    let changed = [program(folder.path(), Architecture::Amd64, "y")];
    assert_ne!(write(&changed, &second).unwrap().digest, one.digest);
    let blobs = std::fs::read_dir(second.join("oci/blobs/sha256")).unwrap().count();
    assert_eq!(blobs, 3, "nothing is left of the image before");
}

#[test]
fn a_container_runs_without_rights_and_writes_to_its_data_only() {
    let folder = tempfile::tempdir().unwrap();
    let programs = [program(folder.path(), Architecture::Amd64, "the program")];
    let image = write(&programs, &folder.path().join("image")).unwrap();
    let index = read_json(&image.layout.join("index.json"));
    let manifest = read_json(&blob(&image, &index["manifests"][0]));
    let config = read_json(&blob(&image, &manifest["config"]));
    let container = &config["config"];
    assert_eq!(container["User"], format!("{PLAIN_USER}:{PLAIN_USER}"));
    assert_eq!(container["Volumes"], serde_json::json!({ "/data": {} }));
    assert_eq!(container["Entrypoint"][0], "/naming-server");

    let gzip = std::fs::File::open(blob(&image, &manifest["layers"][0])).unwrap();
    let mut layer = tar::Archive::new(flate2::read::GzDecoder::new(gzip));
    let mut found = BTreeMap::new();
    for entry in layer.entries().unwrap() {
        let entry = entry.unwrap();
        let (header, path) = (entry.header(), entry.path().unwrap().display().to_string());
        assert_eq!(header.mtime().unwrap(), 0, "{path}");
        found.insert(path, (header.mode().unwrap(), header.uid().unwrap()));
    }
    assert_eq!(found["naming-server"], (0o755, 0), "the program cannot change itself");
    assert_eq!(found["data/"], (0o700, u64::from(PLAIN_USER)));
    assert_eq!(found.len(), 5, "{found:?}");
}

#[test]
fn one_layout_holds_all_architectures_and_archives_hold_one_each() {
    let folder = tempfile::tempdir().unwrap();
    let programs = [Architecture::Amd64, Architecture::Arm64]
        .map(|architecture| program(folder.path(), architecture, "x"));
    let image = write(&programs, &folder.path().join("image")).unwrap();
    let index = read_json(&image.layout.join("index.json"));
    let nested = read_json(&blob(&image, &index["manifests"][0]));
    let platforms = nested["manifests"].as_array().unwrap().iter();
    let names: Vec<_> = platforms.map(|one| &one["platform"]["architecture"]).collect();
    assert_eq!(names, ["amd64", "arm64"]);

    for (_, path) in &image.archives {
        let mut archive = tar::Archive::new(std::fs::File::open(path).unwrap());
        let mut contents = BTreeMap::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut entry, &mut bytes).unwrap();
            contents.insert(entry.path().unwrap().display().to_string(), bytes);
        }
        let manifest: Value = serde_json::from_slice(&contents["manifest.json"]).unwrap();
        let config = &contents[manifest[0]["Config"].as_str().unwrap()];
        let config: Value = serde_json::from_slice(config).unwrap();
        let layer = &contents[manifest[0]["Layers"][0].as_str().unwrap()];
        let hash: String = Sha256::digest(layer).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(config["rootfs"]["diff_ids"][0], format!("sha256:{hash}"));
        assert!(manifest[0]["RepoTags"][0].as_str().unwrap().starts_with("naming-server:"));
    }
}

#[test]
fn a_program_for_another_architecture_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (_, path) = program(folder.path(), Architecture::Amd64, "x");
    let mistaken = [(Architecture::Arm64, path)];
    let text = format!("{:#}", write(&mistaken, folder.path()).unwrap_err());
    assert!(text.contains("another architecture") && text.contains("arm64"), "{text}");
}
