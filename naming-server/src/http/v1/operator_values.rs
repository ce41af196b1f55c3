//! What an operator sets of an instance, to be kept beside it: see
//! [`OperatorValues`](crate::registry::OperatorValues).

use crate::http::{ApiError, Params};
use crate::registry::{Instance, MetadataChange, Named};

/// The parameter of a PATCH that clears what is kept.
const PARAMETER: &str = "operatorValues";

/// Whether a PATCH clears what is kept.
///
/// # Errors
/// 400 if its parameter says anything but `clear`.
pub(super) fn clears_values(params: &Params<'_>) -> Result<bool, ApiError> {
    match params.optional(PARAMETER).as_deref() {
        None => Ok(false),
        Some("clear") => Ok(true),
        Some(_) => Err(ApiError::illegal(PARAMETER, "it can only be 'clear'")),
    }
}

/// What the form of an instance names, as opposed to what it leaves to its defaults.
pub(super) fn named_in_form(params: &Params<'_>, instance: &Instance) -> Named {
    let is_given = |name| params.optional(name).is_some();
    let enabled = is_given("enabled") || is_given("enable");
    let metadata = || MetadataChange::Replace(instance.metadata.to_map().into());
    Named {
        is_whole: true,
        weight: is_given("weight").then_some(instance.weight),
        enabled: enabled.then_some(instance.enabled),
        metadata: is_given("metadata").then(metadata),
    }
}
