//! The kinds of requests: simple names of Java classes.

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    ServerCheck,
    HealthCheck,
    Instance,
    BatchInstance,
    PersistentInstance,
    Subscribe,
    Query,
    List,
    FuzzyWatch,
    ConfigQuery,
    ConfigListen,
    ConfigPublish,
    ConfigRemove,
    /// Only servers may send it, and only at the cluster port.
    OfServers,
    /// Anything else.
    Unknown,
}

/// What servers of Nacos send each other.
const OF_SERVERS: [&str; 5] = [
    "ConfigChangeClusterSyncRequest",
    "DistroDataRequest",
    "MemberReportRequest",
    "ServerLoaderInfoRequest",
    "ServerReloadRequest",
];

impl Kind {
    /// All kinds.
    pub(super) const ALL: [Self; 15] = [
        Self::ServerCheck,
        Self::HealthCheck,
        Self::Instance,
        Self::BatchInstance,
        Self::PersistentInstance,
        Self::Subscribe,
        Self::Query,
        Self::List,
        Self::FuzzyWatch,
        Self::ConfigQuery,
        Self::ConfigListen,
        Self::ConfigPublish,
        Self::ConfigRemove,
        Self::OfServers,
        Self::Unknown,
    ];

    /// The kind with this name, spelled exactly so.
    pub(super) fn of(name: &str) -> Self {
        match name {
            "ServerCheckRequest" => Self::ServerCheck,
            "HealthCheckRequest" => Self::HealthCheck,
            "InstanceRequest" => Self::Instance,
            "BatchInstanceRequest" => Self::BatchInstance,
            "PersistentInstanceRequest" => Self::PersistentInstance,
            "SubscribeServiceRequest" => Self::Subscribe,
            "ServiceQueryRequest" => Self::Query,
            "ServiceListRequest" => Self::List,
            "NamingFuzzyWatchRequest" => Self::FuzzyWatch,
            "ConfigQueryRequest" => Self::ConfigQuery,
            "ConfigBatchListenRequest" => Self::ConfigListen,
            "ConfigPublishRequest" => Self::ConfigPublish,
            "ConfigRemoveRequest" => Self::ConfigRemove,
            name if OF_SERVERS.contains(&name) => Self::OfServers,
            _ => Self::Unknown,
        }
    }

    /// What it is called in metrics.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::ServerCheck => "ServerCheckRequest",
            Self::HealthCheck => "HealthCheckRequest",
            Self::Instance => "InstanceRequest",
            Self::BatchInstance => "BatchInstanceRequest",
            Self::PersistentInstance => "PersistentInstanceRequest",
            Self::Subscribe => "SubscribeServiceRequest",
            Self::Query => "ServiceQueryRequest",
            Self::List => "ServiceListRequest",
            Self::FuzzyWatch => "NamingFuzzyWatchRequest",
            Self::ConfigQuery => "ConfigQueryRequest",
            Self::ConfigListen => "ConfigBatchListenRequest",
            Self::ConfigPublish => "ConfigPublishRequest",
            Self::ConfigRemove => "ConfigRemoveRequest",
            Self::OfServers => "of servers",
            Self::Unknown => "unknown",
        }
    }

    /// The kind of its answer.
    pub(super) fn answer(self) -> &'static str {
        match self {
            Self::ServerCheck => "ServerCheckResponse",
            Self::HealthCheck => "HealthCheckResponse",
            Self::Instance | Self::PersistentInstance => "InstanceResponse",
            Self::BatchInstance => "BatchInstanceResponse",
            Self::Subscribe => "SubscribeServiceResponse",
            Self::Query => "QueryServiceResponse",
            Self::List => "ServiceListResponse",
            Self::FuzzyWatch => "NamingFuzzyWatchResponse",
            Self::ConfigQuery => "ConfigQueryResponse",
            Self::ConfigListen => "ConfigChangeBatchListenResponse",
            Self::ConfigPublish => "ConfigPublishResponse",
            Self::ConfigRemove => "ConfigRemoveResponse",
            Self::OfServers | Self::Unknown => "ErrorResponse",
        }
    }

    /// Whether it reads, if it is about services.
    pub(super) fn is_read(self) -> bool {
        matches!(self, Self::Subscribe | Self::Query | Self::List | Self::FuzzyWatch)
    }

    /// Whether members ask it of each other.
    pub(super) fn is_of_members(self) -> bool {
        matches!(self, Self::ServerCheck | Self::HealthCheck | Self::OfServers)
    }

    /// Whether it writes.
    pub(super) fn is_write(self) -> bool {
        matches!(self, Self::Instance | Self::BatchInstance | Self::PersistentInstance)
    }
}
