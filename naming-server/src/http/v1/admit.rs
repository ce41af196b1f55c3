//! The check of who sends a request and whether they may, before it is handled.

use hyper::Method;

use super::Api;
use super::rights::Right;
use super::route::{Class, Route, RouteSpec, Servers};
use crate::http::{Answer, ApiError, Call, ErrorPage, Reply, may_be_of_foreign_page};
use crate::naming::{Identity, Watched};

/// What has to be known of a request to let its sender in, whichever front it came to.
#[derive(Debug, Clone, Copy)]
pub(in crate::http) struct Admission {
    /// What the sender must be allowed.
    pub(in crate::http) right: Right,
    /// Whether the sender has proved to speak for the operator, and needs no user.
    pub(in crate::http) is_proved: bool,
    /// Whether it changes something although it is a GET.
    pub(in crate::http) changes_by_get: bool,
    /// Whether a refusal is a bare text, as that of a log-in.
    pub(in crate::http) is_login: bool,
}

impl Api {
    /// Handles a request to the 1.x API if its sender may send it. `change` is told who that is.
    pub(super) fn admit(
        &self,
        route: Route,
        call: &Call<'_>,
        change: Option<&mut Watched>,
    ) -> Answer {
        let admission = Admission {
            right: route.spec().right,
            is_proved: self.is_of_member(route, call),
            changes_by_get: changes_by_get(route, call),
            is_login: route == Route::Login,
        };
        self.admit_to(admission, call, change, |call| self.dispatch(route, call).into())
    }

    /// Has a request handled if its sender may send it.
    pub(in crate::http) fn admit_to(
        &self,
        admission: Admission,
        call: &Call<'_>,
        mut change: Option<&mut Watched>,
        handle: impl FnOnce(&Call<'_>) -> Answer,
    ) -> Answer {
        let Admission { right, is_proved, changes_by_get, is_login } = admission;
        if changes_by_get && may_be_of_foreign_page(call.headers) {
            let text = "a page of another origin may have made the browser send this; use another \
                        client";
            return ApiError::forbidden(text).into();
        }
        let admitted = |call: &Call<'_>, change: Option<&mut Watched>| {
            change.into_iter().for_each(Watched::admitted);
            handle(call)
        };
        if Self::is_open(right, call) || self.auth.is_none() {
            return admitted(call, change);
        }
        if is_proved {
            let clearance = self.naming.admit_member(&call.caller());
            return admitted(&Call { clearance, ..*call }, change);
        }
        match self.naming.identify(&call.credentials()) {
            Identity::Anybody => admitted(call, change),
            Identity::User(user) => {
                if let Some(change) = &mut change {
                    change.by(&user);
                }
                let call = Call { user: Some(&user), ..*call };
                match self.check(right, &call) {
                    Ok(clearance) => admitted(&Call { clearance, ..call }, change),
                    Err(refusal) => refused(is_login, &ErrorPage::of(&call), refusal).into(),
                }
            }
            Identity::Refused(refusal) => refused(is_login, &ErrorPage::of(call), refusal).into(),
            Identity::Unverified(check) => {
                let page = ErrorPage::of(call);
                Answer::Again(Box::pin(async move {
                    check.await.err().map(|refusal| refused(is_login, &page, refusal))
                }))
            }
        }
    }
}

impl Api {
    /// Whether another server of Nacos sends what such servers send each other: that server need
    /// not be a user. Unlike in Nacos, the same header opens nothing else.
    fn is_of_member(&self, route: Route, call: &Call<'_>) -> bool {
        let servers = route.spec().servers;
        let nacos = self.nacos.as_ref().filter(|_| servers != Servers::Same);
        let peers = self.java2.as_ref().filter(|_| servers == Servers::Pass);
        nacos.is_some_and(|nacos| nacos.has_proved(call.headers))
            || peers.is_some_and(|peers| peers.has_proved(call.headers))
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
fn refused(is_login: bool, page: &ErrorPage, refusal: impl Into<ApiError>) -> Reply {
    let ApiError { status, message } = refusal.into();
    match is_login {
        true => Reply::text(message).with_status(status),
        false => page.reply(status, &message),
    }
}
