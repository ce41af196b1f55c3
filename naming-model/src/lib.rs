//! Names, keys and JSON shapes of the Nacos 1.x naming protocol, shared by server and client; with
//! the feature `grpc` also the messages of gRPC.
//!
//! The crate holds no IO and no state: text in, typed values out. What a constructor accepted may
//! be assumed everywhere afterwards.

#![warn(missing_docs)]

mod code;
pub use code::*;

mod instance;
pub use instance::{Beat, BeatReply, Instance, InstanceError, InstanceList};

mod key;
pub use key::{
    InstanceKey, MAX_CLUSTER_NAME, MAX_NAMESPACE, MAX_SERVICE_NAME, NameError, OPERATOR_MARK,
    PERSISTENT_MARK, ServiceKey, check_cluster_name, grouped_name, is_unprintable,
};

#[cfg(feature = "grpc")]
pub mod payload;

mod push;
pub use push::{PushAck, PushPacket};

mod record_key;
pub use record_key::RecordKey;

mod service;
pub use service::{ClusterDetail, InstanceEvent, Selector, ServiceDetail, ServicePage};
