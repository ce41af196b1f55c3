//! How a container of the image is started.

use serde_json::{Value, json};

use super::Architecture;

/// The user, and its group, that the program runs as: one without a name on most machines.
pub const PLAIN_USER: u32 = 65_532;
/// Where the data is: the only folder that is written to.
pub(super) const DATA_FOLDER: &str = "/data";

/// No time: the same program gives the same image, whenever it is made.
const CREATED: &str = "1970-01-01T00:00:00Z";

/// The settings of a container whose only layer has this digest before it is packed.
pub(super) fn make(architecture: Architecture, layer: &str) -> Value {
    let user = format!("{PLAIN_USER}:{PLAIN_USER}");
    let second = 1_000_000_000_u64;
    json!({
        "created": CREATED,
        "architecture": architecture.name(),
        "os": "linux",
        "config": {
            "User": user,
            "ExposedPorts": { "8848/tcp": {}, "9848/tcp": {}, "8080/tcp": {} },
            "Env": [
                "PATH=/",
                format!("NAMING_DATA__DIR={DATA_FOLDER}"),
            ],
            "Entrypoint": ["/naming-server", "--nacos-env"],
            "Volumes": { DATA_FOLDER: {} },
            "WorkingDir": DATA_FOLDER,
            "StopSignal": "SIGTERM",
            "Labels": {
                "org.opencontainers.image.title": "naming-server",
                "org.opencontainers.image.description": "A service registry for Nacos clients",
                "org.opencontainers.image.version": env!("CARGO_PKG_VERSION"),
                "org.opencontainers.image.licenses": env!("CARGO_PKG_LICENSE"),
            },
            "Healthcheck": {
                "Test": ["CMD", "/naming-server", "--nacos-env", "probe", "readiness"],
                "Interval": 10 * second,
                "Timeout": 3 * second,
                "StartPeriod": 30 * second,
                "Retries": 3,
            },
        },
        "rootfs": { "type": "layers", "diff_ids": [layer] },
        "history": [{ "created": CREATED, "created_by": "cargo xtask image" }],
    })
}
