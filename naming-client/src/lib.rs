//! A client.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod auth;
mod beat;
mod builder;
pub use builder::ClientBuilder;

mod cache;
mod call;
mod client;
pub use client::{ClientLoad, NamingClient};

#[cfg(feature = "tower")]
mod discover;

/// The registry for tower (feature `tower`).
#[cfg(feature = "tower")]
pub mod tower {
    pub use crate::discover::{ResolvedError, ResolvedService, ServiceDiscover, ServiceResolver};
}

mod error;
pub use error::{Attempt, Error, Failure};

mod http;
mod instances;
pub use instances::{Change, Instances};

mod names;
pub use names::{Namespace, ServiceName, ServiceQuery};

mod poll;
mod push;
mod registration;
pub use registration::{Registration, RegistrationStatus};

mod schedule;
mod servers;
mod services;
pub use services::{ServiceSettings, Services};

mod subscribe;
pub use subscribe::Subscription;

mod topic;
pub use topic::EmptyPolicy;

pub use naming_model::{
    ClusterDetail, Instance, InstanceError, InstanceEvent, InstanceKey, NameError, Selector,
    ServiceDetail, ServicePage,
};
