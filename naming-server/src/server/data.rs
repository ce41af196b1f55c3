//! The data folder, from the start to the stop.

use std::net::SocketAddr;
use std::sync::Arc;

use distro_core::MemberId;

use crate::config::Config;
use crate::durable::{Data, DataError, InstanceCache, Keeper, default_folder};

/// Lets go of the data folder, also when the server is dropped while it runs.
pub(super) struct Stopping(pub(super) Arc<Keeper>, pub(super) Option<Arc<InstanceCache>>);

impl Stopping {
    fn close(&self) {
        let Self(keeper, cache) = self;
        keeper.close();
        cache.iter().for_each(|cache| cache.close());
    }

    /// Both write at once: neither waits for the other.
    pub(super) fn stop(&self) {
        self.close();
        let Self(keeper, cache) = self;
        keeper.stop();
        cache.iter().for_each(|cache| cache.stop());
    }
}

impl Drop for Stopping {
    fn drop(&mut self) {
        self.close();
    }
}

/// Takes the folder that the settings name, if they want one.
pub(crate) fn open_data(
    config: &Config,
    bound: SocketAddr,
    member: MemberId,
) -> Result<Option<Data>, DataError> {
    let data = &config.data;
    if data.in_memory {
        return Ok(None);
    }
    let folder = match data.dir.as_str() {
        "" => default_folder(&config.advertise, bound)?,
        folder => folder.into(),
    };
    Data::open(&folder, member).map(Some)
}
