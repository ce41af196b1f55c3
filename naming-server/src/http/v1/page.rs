//! The page for people, and what is refused with a hint.

use super::Api;
use crate::http::{ApiError, Call, Reply, console};

impl Api {
    /// The console, or the way to it.
    pub(super) fn page(&self, call: &Call<'_>) -> Reply {
        console::answer(call, &self.context_path)
    }

    /// That a configuration has changed is nothing to this server. Another one that says so would
    /// repeat it for ever if it were refused.
    pub(super) fn answer_configuration(&self, call: &Call<'_>) -> Result<Reply, ApiError> {
        if self.nacos.is_some() && call.path == "/v1/cs/communication/dataChange" {
            return Ok(Reply::json("true"));
        }
        let text = "this is a naming server; it does not offer configuration (/v1/cs)";
        Err(ApiError::not_found(text))
    }
}
