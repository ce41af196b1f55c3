//! Answers in pages.

use crate::http::{ApiError, MOST_ANSWER_BYTES};

/// The parameter that makes a page too long.
pub(super) const PAGE_SIZE: &str = "pageSize";

/// The refusal of a list that is too long for one answer.
pub(super) fn too_long(parameter: &str) -> ApiError {
    let reason = format!("the answer would have more than {MOST_ANSWER_BYTES} bytes; ask for less");
    ApiError::illegal(parameter, reason)
}
