//! Users on three members: what is said to one counts on all.

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use naming_server::{ClusterConfig, Config, NewUser};
use tempfile::TempDir;

mod auth_support;

use auth_support::server_support::{Answer, TestServer, wait_for};
use auth_support::{encode, guarded_config};

/// Milliseconds are usual; a busy machine may take longer. Nacos takes 15 s.
const SOON: Duration = Duration::from_secs(3);

struct Members {
    servers: Vec<TestServer>,
    _folder: TempDir,
}

impl Members {
    /// Three, of which only the first was told of the administrator.
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let secret = folder.path().join("secret");
        std::fs::write(&secret, "a secret of thirty-two characters or more").unwrap();
        // Tests of this process run at the same time.
        static NEXT: AtomicU8 = AtomicU8::new(100);
        let process = std::process::id();
        let (low, high) = (process % 250 + 1, process / 250 % 250);
        let first = NEXT.fetch_add(3, Ordering::Relaxed);
        let hosts = [0, 1, 2].map(|n| format!("127.{low}.{high}.{}", first + n));
        let members = hosts.iter().map(|host| format!("{host}:8848")).collect::<Vec<_>>();
        let config = |host: &String| Config {
            bind: host.clone(),
            port: 8848,
            cluster: ClusterConfig {
                members: members.join(","),
                secret_file: secret.to_str().unwrap().to_owned(),
                alone_after_ms: 1_000,
                empty_start_ms: 300,
                ..ClusterConfig::default()
            },
            ..guarded_config()
        };
        let root = NewUser::new("root", "p", true).unwrap();
        let start = |(n, host)| {
            let users = if n == 0 { vec![root.clone()] } else { Vec::new() };
            TestServer::try_start(config(host), users).unwrap_or_else(|refusal| panic!("{refusal}"))
        };
        let servers: Vec<_> = hosts.iter().enumerate().map(start).collect();
        for server in &servers {
            wait_for("all members are ready", || {
                server.get("/nacos/v1/console/health/readiness").status == 200
            });
        }
        Self { servers, _folder: folder }
    }

    fn call(&self, member: usize, token: &str, request: &str, query: &str) -> Answer {
        let (method, path) = request.split_once(' ').unwrap();
        let target = format!("/nacos/v1/{path}?accessToken={}&{query}", encode(token));
        self.servers[member].call(method, &target)
    }

    fn log_in(&self, member: usize, user: &str, password: &str) -> Answer {
        let target = format!("/nacos/v1/auth/login?username={user}&password={password}");
        self.servers[member].call("POST", &target)
    }

    /// Waits until all know the administrator. Wrong log-ins are limited, so not by trying.
    fn learn_root(&self) {
        let token = self.log_in(0, "root", "p").json()["accessToken"].as_str().unwrap().to_owned();
        self.agree("the administrator is known", |n| {
            self.call(n, &token, "GET auth/users/search", "username=root").status == 200
        });
    }

    /// Asks every member until all answer so; the time it took.
    fn agree(&self, what: &str, mut is_so: impl FnMut(usize) -> bool) -> Duration {
        let start = Instant::now();
        for member in 0..self.servers.len() {
            wait_for(what, || is_so(member));
        }
        start.elapsed()
    }
}

#[test]
fn what_is_said_to_one_member_counts_on_all_at_once() {
    let members = Members::start();
    members.learn_root();
    let root = members.log_in(2, "root", "p").json()["accessToken"].as_str().unwrap().to_owned();

    members.call(0, &root, "POST auth/users", "username=u&password=p").expect(200);
    // Who made it sees it, and so does the next call there.
    members.call(0, &root, "POST auth/roles", "role=r&username=u").expect(200);
    let hash = |n: usize| {
        let page = members.call(n, &root, "GET auth/users", "pageNo=1&pageSize=9").json();
        let users = page["pageItems"].as_array().unwrap().clone();
        let user = users.into_iter().find(|user| user["username"] == "u");
        user.map(|user| user["password"].as_str().unwrap().to_owned())
    };
    let took = members.agree("the user", |n| hash(n).is_some());
    assert!(took < SOON, "{took:?}");
    // A token of one member is good on all.
    let token = members.log_in(1, "u", "p").json()["accessToken"].as_str().unwrap().to_owned();
    let lists =
        |n: usize| members.call(n, &token, "GET ns/service/list", "pageNo=1&pageSize=1").status;
    assert_eq!([lists(0), lists(1), lists(2)], [403; 3]);

    let right = "role=r&resource=:*:*&action=r";
    members.agree("the role", |n| {
        members.call(n, &root, "GET auth/roles/search", "role=r").body.contains("\"r\"")
    });
    members.call(1, &root, "POST auth/permissions", right).expect(200);
    let took = members.agree("the right", |n| lists(n) == 200);
    assert!(took < SOON, "{took:?}");
    members.call(2, &root, "DELETE auth/permissions", right).expect(200);
    let took = members.agree("the end of the right", |n| lists(n) == 403);
    assert!(took < SOON, "{took:?}");

    // Passwords that were remembered are forgotten everywhere.
    members.call(1, &root, "PUT auth/users", "username=u&newPassword=q").expect(200);
    let changed = hash(1);
    let took = members.agree("the new password", |n| hash(n) == changed);
    assert!(took < SOON, "{took:?}");
    // And so are tokens for them, whoever issued them.
    assert_eq!([lists(0), lists(1), lists(2)], [403; 3]);
    let answer = members.call(2, &token, "GET ns/service/list", "pageNo=1&pageSize=1").expect(403);
    assert!(answer.contains("token expired!"), "{answer}");
    for member in 0..3 {
        members.log_in(member, "u", "q").expect(200);
        members.log_in(member, "u", "p").expect(403);
    }
    members.call(0, &root, "DELETE auth/users", "username=u").expect(200);
    members.agree("the end of the user", |n| hash(n).is_none());
    for member in 0..3 {
        members.log_in(member, "u", "q").expect(403);
        assert_eq!(lists(member), 403);
    }
}

#[test]
fn the_way_between_members_is_closed_to_users() {
    let members = Members::start();
    members.learn_root();
    let root = members.log_in(0, "root", "p").json()["accessToken"].as_str().unwrap().to_owned();
    for headers in [
        String::new(),
        format!("Authorization: Bearer {root}\r\n"),
        "User-Agent: Nacos-Server\r\n".to_owned(),
    ] {
        for path in ["/distro/v1/hello", "/distro/v1/call", "/distro/v1/"] {
            let answer = members.servers[0].send("POST", path, &headers, "x");
            assert!(matches!(answer.status, 400..=499), "{path} {headers}: {answer:?}");
        }
    }
}
