//! The check of who sends a request and whether they may, before it is handled.

use hyper::Method;

use super::Api;
use super::rights::Right;
use super::route::{Class, Route, RouteSpec, Servers};
use crate::http::{Answer, ApiError, Call, ErrorPage, Reply, may_be_of_foreign_page};
use crate::naming::{Identity, Watched};

impl Api {
    /// Handles a request if its sender may send it. `change` is told who that is.
    pub(super) fn admit(
        &self,
        route: Route,
        call: &Call<'_>,
        mut change: Option<&mut Watched>,
    ) -> Answer {
        if changes_by_get(route, call) && may_be_of_foreign_page(call.headers) {
            let text = "a page of another origin may have made the browser send this; use another \
                        client";
            return ApiError::forbidden(text).into();
        }
        let right = route.spec().right;
        if Self::is_open(right, call) || self.auth.is_none() {
            return self.admitted(route, call, change);
        }
        if self.is_of_member(route, call) {
            let clearance = self.naming.admit_member(&call.caller());
            return self.admitted(route, &Call { clearance, ..*call }, change);
        }
        match self.naming.identify(&call.credentials()) {
            Identity::Anybody => self.admitted(route, call, change),
            Identity::User(user) => {
                if let Some(change) = &mut change {
                    change.by(&user);
                }
                let call = Call { user: Some(&user), ..*call };
                match self.check(right, &call) {
                    Ok(clearance) => self.admitted(route, &Call { clearance, ..call }, change),
                    Err(refusal) => refused(route, &ErrorPage::of(&call), refusal).into(),
                }
            }
            Identity::Refused(refusal) => refused(route, &ErrorPage::of(call), refusal).into(),
            Identity::Unverified(check) => {
                let page = ErrorPage::of(call);
                Answer::Again(Box::pin(async move {
                    check.await.err().map(|refusal| refused(route, &page, refusal))
                }))
            }
        }
    }

    fn admitted(&self, route: Route, call: &Call<'_>, change: Option<&mut Watched>) -> Answer {
        change.into_iter().for_each(Watched::admitted);
        self.dispatch(route, call).into()
    }
}

impl Api {
    /// Whether another server of Nacos sends what such servers send each other: that server need
    /// not be a user. Unlike in Nacos, the same header opens nothing else.
    fn is_of_member(&self, route: Route, call: &Call<'_>) -> bool {
        let servers = route.spec().servers;
        let nacos = self.nacos.as_ref().filter(|_| servers != Servers::Same);
        nacos.is_some_and(|nacos| nacos.has_proved(call.headers))
    }
}

/// Whether a request changes something although it is a GET. A browser sends GETs for any page, and
/// does not say for which.
fn changes_by_get(route: Route, call: &Call<'_>) -> bool {
    let RouteSpec { class, right, .. } = route.spec();
    match class {
        Class::Writes => call.method == Method::GET,
        _ => *right == Right::PushState && call.params.flag_strict("reset", false),
    }
}

/// As Nacos says it: the bare text to a log-in, a page to everybody else.
fn refused(route: Route, page: &ErrorPage, refusal: impl Into<ApiError>) -> Reply {
    let ApiError { status, message } = refusal.into();
    match route {
        Route::Login => Reply::text(message).with_status(status),
        _ => page.reply(status, &message),
    }
}
