//! `/distro/v1/*`: what the other members ask. Proves itself, so nothing else gates it.

use distro_net::PATH_PREFIX;
use hyper::StatusCode;

use super::Api;
use crate::http::{ApiError, Call, Reply, no_such_api};

impl Api {
    pub(super) fn answer_peer(&self, call: &Call<'_>) -> Result<Reply, ApiError> {
        debug_assert!(call.uri.starts_with(PATH_PREFIX), "the route table says so");
        let Some(cluster) = &self.cluster else { return Ok(no_such_api(call)) };
        let response = cluster.service.answer(call.uri, call.body.clone());
        let status = StatusCode::from_u16(response.status);
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Ok(Reply::bytes(response.body).with_status(status))
    }
}
