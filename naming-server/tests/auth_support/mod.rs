//! A server with authentication on, and users who call it.

// Each test program uses its part of this.
#![allow(dead_code)]

use naming_server::{AuthConfig, Config, Hidden, NewUser};
use serde_json::Value;

#[path = "../server_support/mod.rs"]
pub(crate) mod server_support;

use server_support::{Answer, TestServer};

/// Signs tokens here and nowhere else.
pub(crate) const TOKEN_KEY: &str = "dGVzdHMgb2YgdXNlcnMgYW5kIHRva2VucywgYW5kIG5vdGhpbmcgZWxzZQ==";

/// A server with the administrator `root`.
pub(crate) struct Guarded {
    pub(crate) server: TestServer,
}

/// Settings with authentication on.
pub(crate) fn guarded_config() -> Config {
    let token_key = Hidden(TOKEN_KEY.to_owned());
    let auth = AuthConfig { enabled: true, token_key, ..AuthConfig::default() };
    Config { auth, ..Config::default() }
}

impl Guarded {
    pub(crate) fn start() -> Self {
        Self::start_with(guarded_config())
    }

    pub(crate) fn start_with(config: Config) -> Self {
        let root = NewUser::new("root", "root's password", true).unwrap();
        Self { server: TestServer::start_with_users(config, vec![root]) }
    }

    pub(crate) fn start_with_users(users: Vec<NewUser>) -> Self {
        Self { server: TestServer::start_with_users(guarded_config(), users) }
    }

    /// The token of a user.
    #[track_caller]
    pub(crate) fn log_in(&self, user: &str, password: &str) -> String {
        let reply = self.try_log_in(user, password);
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.json()["accessToken"].as_str().unwrap().to_owned()
    }

    pub(crate) fn try_log_in(&self, user: &str, password: &str) -> Answer {
        let target =
            format!("/nacos/v1/auth/login?username={}&password={}", encode(user), encode(password));
        self.server.call("POST", &target)
    }

    pub(crate) fn root(&self) -> String {
        self.log_in("root", "root's password")
    }

    /// `METHOD PATH` below `/nacos/v1/` with these parameters and a token in the query.
    pub(crate) fn call(&self, token: &str, request: &str, parameters: &[(&str, &str)]) -> Answer {
        let (method, path) = request.split_once(' ').unwrap();
        let mut target = format!("/nacos/v1/{path}?accessToken={}", encode(token));
        for (name, value) in parameters {
            target += &format!("&{name}={}", encode(value));
        }
        self.server.call(method, &target)
    }

    /// Like [`Self::call`], for what must succeed.
    #[track_caller]
    pub(crate) fn ok(&self, token: &str, request: &str, parameters: &[(&str, &str)]) -> String {
        let answer = self.call(token, request, parameters);
        assert_eq!(answer.status, 200, "{request} {parameters:?}: {answer:?}");
        answer.body
    }

    #[track_caller]
    pub(crate) fn json(&self, token: &str, request: &str, parameters: &[(&str, &str)]) -> Value {
        serde_json::from_str(&self.ok(token, request, parameters)).unwrap()
    }

    /// Like [`Self::call`], for what must be refused for want of a right.
    #[track_caller]
    pub(crate) fn denied(&self, token: &str, request: &str, parameters: &[(&str, &str)]) {
        let answer = self.call(token, request, parameters);
        let is_denied = answer.status == 403 && answer.body.contains("authorization failed!");
        assert!(is_denied, "{request} {parameters:?}: {answer:?}");
    }

    /// A new user with one role that may do this; gives the token.
    #[track_caller]
    pub(crate) fn user_who_may(&self, name: &str, rights: &[(&str, &str)]) -> String {
        let (root, role) = (self.root(), format!("role of {name}"));
        self.ok(&root, "POST auth/users", &[("username", name), ("password", "secret")]);
        self.ok(&root, "POST auth/roles", &[("role", &role), ("username", name)]);
        for (resource, action) in rights {
            let right = [("role", &*role), ("resource", resource), ("action", action)];
            self.ok(&root, "POST auth/permissions", &right);
        }
        self.log_in(name, "secret")
    }
}

pub(crate) fn encode(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// An instance of a service.
pub(crate) fn instance<'a>(
    service: &'a str,
    more: &[(&'a str, &'a str)],
) -> Vec<(&'a str, &'a str)> {
    let mut parameters = vec![("serviceName", service), ("ip", "10.0.0.1"), ("port", "80")];
    parameters.extend(more);
    parameters
}
