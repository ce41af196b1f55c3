//! Numbers and literals that both sides of the wire know.

/// Result code of a beat whose instance is known.
pub const CODE_OK: u32 = 10200;
/// Result code of a beat whose instance is unknown: the client registers it again.
pub const CODE_UNKNOWN_INSTANCE: u32 = 20404;

/// Namespace of a request that names none.
pub const DEFAULT_NAMESPACE: &str = "public";
/// Group of a request that names none.
pub const DEFAULT_GROUP: &str = "DEFAULT_GROUP";
/// Cluster of an instance that names none.
pub const DEFAULT_CLUSTER: &str = "DEFAULT";
/// Stands between group and service in a grouped name.
pub const GROUP_SEPARATOR: &str = "@@";
/// Stands between namespace and grouped name in a full service key.
pub const NAMESPACE_SEPARATOR: &str = "##";

/// Milliseconds between two beats unless server or metadata say otherwise.
pub const DEFAULT_BEAT_INTERVAL_MS: u64 = 5_000;
/// Milliseconds without a beat after which an instance counts as unhealthy.
pub const DEFAULT_BEAT_TIMEOUT_MS: u64 = 15_000;
/// Milliseconds without a beat after which an instance is removed.
pub const DEFAULT_DELETE_TIMEOUT_MS: u64 = 30_000;

/// Metadata key: milliseconds between beats.
pub const META_BEAT_INTERVAL: &str = "preserved.heart.beat.interval";
/// Metadata key: milliseconds without beat until unhealthy.
pub const META_BEAT_TIMEOUT: &str = "preserved.heart.beat.timeout";
/// Metadata key: milliseconds without beat until removed.
pub const META_DELETE_TIMEOUT: &str = "preserved.ip.delete.timeout";
/// Metadata key: how the instance id is made, `simple` or `snowflake`.
pub const META_ID_GENERATOR: &str = "preserved.instance.id.generator";

/// Greatest weight of an instance; the least is 0.
pub const MAX_WEIGHT: f64 = 10_000.0;
/// Weights between 0 and this are raised to it.
pub const MIN_NONZERO_WEIGHT: f64 = 0.01;
/// Push packets of at least this many bytes are gzip-compressed.
pub const PUSH_GZIP_THRESHOLD: usize = 1_024;
