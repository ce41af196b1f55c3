//! The first administrator over HTTP: as long as authentication is on and there is no user, somebody
//! at this very machine may make one. There is no default name with a default password.

use hyper::header::{FORWARDED, HOST, VIA};
use serde_json::json;

use super::Api;
use crate::http::{Answer, ApiError, Call, Reply, may_be_of_foreign_page};
use crate::registry::Later;

/// The name, unless the caller gives another, as consoles expect it.
const NAME: &str = "nacos";
/// Headers of proxies: what comes through one may come from anywhere.
const OF_PROXIES: [&str; 3] = ["x-forwarded-for", "x-real-ip", "x-forwarded-host"];

impl Api {
    /// The same over 1.x, as the console of 2.x asks for it.
    pub(super) fn make_first_admin_bare(&self, call: &Call<'_>) -> Result<Answer, ApiError> {
        let made = match self.make_first_admin(call) {
            Ok(made) => made,
            Err(error) => return Ok(first_refused(error).into()),
        };
        Ok(Answer::Later(Box::pin(async move {
            match made.await {
                Ok(name) => Reply::json(json!({ "username": name }).to_string()),
                Err(error) => first_refused(error),
            }
        })))
    }

    /// Makes the first administrator; the name comes back.
    ///
    /// # Errors
    /// 403 while authentication is off and for callers elsewhere, 409 if there is a user, 400 for a
    /// name or password that nobody can have, 503 while this member does not know enough to say
    /// that there is no user.
    pub(in crate::http) fn make_first_admin(
        &self,
        call: &Call<'_>,
    ) -> Result<Later<Result<String, ApiError>>, ApiError> {
        let users = self.administration(call)?;
        users.check_first()?;
        if !is_at_this_machine(call) {
            return Err(ApiError::forbidden(
                "the first administrator is made at the machine of this server, over its loopback \
                 address, or with `naming-server user add --admin`",
            ));
        }
        if let Some(reason) = self.why_not_ready() {
            return Err(ApiError::unavailable(format!("this member is not ready: {reason}")));
        }
        let name = call.params.or("username", NAME).into_owned();
        let password = super::users::required(call, "password")?;
        let made = users.create_first(name.clone(), password)?;
        Ok(Box::pin(async move { Ok(made.await.map(|()| name)?) }))
    }
}

/// Clients look at the code, which is the status here.
pub(in crate::http) fn first_refused(error: ApiError) -> Reply {
    let code = error.status.as_u16();
    let body = json!({ "code": code, "message": error.message, "data": error.message });
    Reply::json(body.to_string()).with_status(error.status)
}

/// Whether the caller sits at this machine: neither a proxy nor a page of another origin can make it
/// look so. A page can pass for one of this server by having its own name resolve to this address,
/// but cannot change the name in `Host`.
fn is_at_this_machine(call: &Call<'_>) -> bool {
    let headers = call.headers;
    let is_of_proxy = headers.contains_key(FORWARDED)
        || headers.contains_key(VIA)
        || OF_PROXIES.iter().any(|name| headers.contains_key(*name));
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    call.peer.ip().to_canonical().is_loopback()
        && !is_of_proxy
        && !may_be_of_foreign_page(headers)
        && host.is_none_or(names_loopback)
}

fn names_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost")
        || bare.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_its_own() {
        for own in ["127.0.0.1", "127.0.0.1:8848", "[::1]:8848", "[::1]", "LocalHost:1"] {
            assert!(names_loopback(own), "{own}");
        }
        for other in ["example.org", "localhost.example.org:8848", "10.0.0.1", "", "127.0.0.1.x"] {
            assert!(!names_loopback(other), "{other}");
        }
    }
}
