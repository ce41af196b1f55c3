//! The handle to a running driver.

use std::sync::Arc;

use distro_core::{Input, MemberId};
use tokio::sync::{mpsc, watch};

use crate::address::Address;
use crate::client::Peers;
use crate::status::Status;

/// Speaks to a running [`Driver`](crate::Driver). Cheap to clone.
pub struct Control<V> {
    pub(crate) inputs: mpsc::Sender<Input<V>>,
    pub(crate) status: watch::Receiver<Arc<Status>>,
    pub(crate) peers: Option<Peers<V>>,
}

impl<V> Clone for Control<V> {
    fn clone(&self) -> Self {
        let (inputs, status) = (self.inputs.clone(), self.status.clone());
        Self { inputs, status, peers: self.peers.clone() }
    }
}

impl<V> Control<V> {
    /// Hands over an input. Returns false if the driver has stopped or is hopelessly behind.
    pub fn input(&self, input: Input<V>) -> bool {
        self.inputs.try_send(input).is_ok()
    }

    /// The members are these from now on; this one need not be among them. Waits until the driver
    /// has room. Returns false if it has stopped, or was made for a member alone.
    pub async fn set_members(&self, addresses: &[Address]) -> bool {
        let Some(peers) = &self.peers else { return false };
        let members = peers.set_members(addresses);
        self.inputs.send(Input::Members(members)).await.is_ok()
    }

    /// These may own something from now on, in this order: see
    /// [`Input::Owners`](distro_core::Input::Owners). Waits until that is in force. Returns false
    /// if the driver has stopped.
    pub async fn set_owners(&self, owners: Vec<MemberId>) -> bool {
        let told: Arc<[MemberId]> = owners.as_slice().into();
        self.inputs.send(Input::Owners(owners)).await.is_ok()
            && self.wait_for(|status| status.owners.as_ref() == Some(&told)).await
    }

    /// How things stood some hundred milliseconds ago at most.
    pub fn status(&self) -> Arc<Status> {
        Arc::clone(&self.status.borrow())
    }

    /// Waits until the condition holds. Returns false if the driver stops before. Cancelling loses
    /// nothing.
    pub async fn wait_for(&self, condition: impl FnMut(&Status) -> bool + Send) -> bool {
        let mut condition = condition;
        let mut status = self.status.clone();
        status.wait_for(|status| condition(status)).await.is_ok()
    }

    /// Hands everything over to the other members and waits until that is done or
    /// [`leave_within`](distro_core::DistroConfig::leave_within) is over; the process may end then.
    /// Reads and writes should be served meanwhile. Returns false if the driver has stopped.
    pub async fn leave(&self) -> bool {
        self.inputs.send(Input::Leave).await.is_ok()
            && self.wait_for(|status| status.has_left).await
    }
}

impl<V> std::fmt::Debug for Control<V> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Control").field("status", &self.status()).finish_non_exhaustive()
    }
}
