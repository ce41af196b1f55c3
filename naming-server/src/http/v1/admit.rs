//! The check of who sends a request and whether they may, before it is handled.

use std::sync::Arc;

use super::rights::Right;
use super::{Api, Route};
use crate::auth::{Auth, Caller, Refusal};
use crate::http::{Answer, Call, Reply, error_page};

impl Api {
    /// Handles a request if its sender may send it.
    pub(super) fn admit(&self, route: Route, call: &Call<'_>) -> Answer {
        let right = Right::of(route);
        match &self.auth {
            Some(auth) if !Self::is_open(right, call) => self.admit_known(auth, route, right, call),
            _ => self.dispatch(route, call).into(),
        }
    }

    fn admit_known(&self, auth: &Arc<Auth>, route: Route, right: Right, call: &Call<'_>) -> Answer {
        match auth.identify(call) {
            Caller::Known(user) if self.may(&user, right, call) => {
                self.dispatch(route, &Call { user: Some(&user), ..*call }).into()
            }
            Caller::Known(user) => refused(route, call, auth.deny(call, &user)).into(),
            Caller::Refused(refusal) => refused(route, call, refusal).into(),
            Caller::Unverified(check) => {
                let unknown = refused(route, call, Refusal::UnknownUser);
                let busy = refused(route, call, Refusal::Busy);
                Answer::Again(Box::pin(async move {
                    match check.await {
                        Ok(()) => None,
                        Err(Refusal::Busy) => Some(busy),
                        Err(_) => Some(unknown),
                    }
                }))
            }
        }
    }
}

/// As Nacos says it: the bare text to a log-in, a page to everybody else.
fn refused(route: Route, call: &Call<'_>, refusal: Refusal) -> Reply {
    let text = refusal.to_string();
    match route {
        Route::Login => Reply::text(text).with_status(refusal.status()),
        _ => error_page(call, refusal.status(), &text),
    }
}
