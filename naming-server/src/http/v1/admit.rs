//! The check of who sends a request and whether they may, before it is handled.

use super::audit::Pending;
use super::rights::Right;
use super::{Api, Route};
use crate::auth::{Caller, Refusal};
use crate::http::{Answer, ApiError, Call, ErrorPage, Reply, may_be_of_foreign_page};

impl Api {
    /// Handles a request if its sender may send it. `change` is told who that is.
    pub(super) fn admit(
        &self,
        route: Route,
        call: &Call<'_>,
        mut change: Option<&mut Pending>,
    ) -> Answer {
        if changes_by_get(route, call) && may_be_of_foreign_page(call.headers) {
            let text = "a page of another origin may have made the browser send this; use another \
                        client";
            return ApiError::forbidden(text).into();
        }
        let right = Right::of(route);
        let is_open = Self::is_open(right, call) || self.is_of_member(route, call);
        let Some(auth) = self.auth.as_ref().filter(|_| !is_open) else {
            change.into_iter().for_each(Pending::admitted);
            return self.dispatch(route, call).into();
        };
        match auth.identify(&call.credentials()) {
            Caller::Known(user) => {
                if let Some(change) = &mut change {
                    change.by(&user);
                }
                if self.may(&user, right, call) {
                    change.into_iter().for_each(Pending::admitted);
                    self.dispatch(route, &Call { user: Some(&user), ..*call }).into()
                } else {
                    refused(route, &ErrorPage::of(call), auth.deny(call.peer.ip(), &user)).into()
                }
            }
            Caller::Refused(refusal) => refused(route, &ErrorPage::of(call), refusal).into(),
            Caller::Unverified(check) => {
                let page = ErrorPage::of(call);
                Answer::Again(Box::pin(async move {
                    check.await.err().map(|refusal| refused(route, &page, refusal))
                }))
            }
        }
    }
}

impl Api {
    /// Whether another server of Nacos sends what such servers send each other: that server need
    /// not be a user. Unlike in Nacos, the same header opens nothing else.
    fn is_of_member(&self, route: Route, call: &Call<'_>) -> bool {
        let nacos = self.nacos.as_ref().filter(|_| route.is_among_members());
        nacos.is_some_and(|nacos| nacos.has_proved(call.headers))
    }
}

/// Whether a request changes something although it is a GET. A browser sends GETs for any page, and
/// does not say for which.
fn changes_by_get(route: Route, call: &Call<'_>) -> bool {
    match route {
        Route::LegacyBeat => true,
        Route::PushState => call.params.flag_strict("reset", false),
        _ => false,
    }
}

/// As Nacos says it: the bare text to a log-in, a page to everybody else.
fn refused(route: Route, page: &ErrorPage, refusal: Refusal) -> Reply {
    let ApiError { status, message } = refusal.into();
    match route {
        Route::Login => Reply::text(message).with_status(status),
        _ => page.reply(status, &message),
    }
}
