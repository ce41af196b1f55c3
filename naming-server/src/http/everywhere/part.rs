//! What is asked of every member.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::http::v1::Api;

/// Something of which every member knows a part.
pub(in crate::http) trait Ask:
    Serialize + DeserializeOwned + Send + Sync + 'static
{
    /// What the question is called between members.
    const NAME: &'static str;
    /// What one member knows.
    type Part: Serialize + DeserializeOwned + Send + 'static;

    /// What this member knows, in no more than about so many bytes; `None` if it cannot say now.
    fn here(&self, api: &Api, bytes: usize) -> Option<Self::Part>;
}
