//! Users, roles and permissions over HTTP, as tools and consoles manage them.

use naming_server::NewUser;

mod auth_support;

use auth_support::server_support::{TestServer, wait_for};
use auth_support::{Guarded, guarded_config, instance};

#[test]
fn a_user_is_made_listed_changed_and_deleted() {
    let site = Guarded::start();
    let root = site.root();
    let created = site.json(&root, "POST auth/users", &[("username", "u1"), ("password", "p1")]);
    assert_eq!(created["code"], 200);
    assert_eq!(created["message"], "create user ok!");
    let all = [("pageNo", "1"), ("pageSize", "2147483647")];
    let page = site.json(&root, "GET auth/users", &all);
    assert_eq!(
        (&page["totalCount"], &page["pageNumber"], &page["pagesAvailable"]),
        (&2.into(), &1.into(), &1.into())
    );
    let names: Vec<_> =
        page["pageItems"].as_array().unwrap().iter().map(|user| &user["username"]).collect();
    assert_eq!(names, ["root", "u1"]);
    assert!(page["pageItems"][1]["password"].as_str().unwrap().starts_with("$2a$10$"), "{page}");
    assert_eq!(
        site.json(&root, "GET auth/users/search", &[("username", "u")]),
        serde_json::json!(["u1"])
    );
    assert_eq!(
        site.json(&root, "GET auth/users/search", &[("username", "")]),
        serde_json::json!(["root", "u1"])
    );

    site.log_in("u1", "p1");
    site.ok(&root, "PUT auth/users", &[("username", "u1"), ("newPassword", "p2")]);
    site.log_in("u1", "p2");
    assert_eq!(site.try_log_in("u1", "p1").status, 403);

    site.ok(&root, "DELETE auth/users", &[("username", "u1")]);
    assert_eq!(site.json(&root, "GET auth/users", &all)["totalCount"], 1);
    assert_eq!(site.try_log_in("u1", "p2").status, 403);
    // As often as one likes.
    site.ok(&root, "DELETE auth/users", &[("username", "u1")]);
}

#[test]
fn roles_and_permissions_are_listed_page_by_page() {
    let site = Guarded::start();
    let root = site.root();
    site.ok(&root, "POST auth/users", &[("username", "u"), ("password", "p")]);
    for role in ["r1", "r2", "r3"] {
        site.ok(&root, "POST auth/roles", &[("role", role), ("username", "u")]);
    }
    let of_u = |page| [("username", "u"), ("pageNo", page), ("pageSize", "2")];
    let page = site.json(&root, "GET auth/roles", &of_u("2"));
    assert_eq!((&page["totalCount"], &page["pagesAvailable"]), (&3.into(), &2.into()));
    assert_eq!(page["pageItems"], serde_json::json!([{ "role": "r3", "username": "u" }]));
    assert_eq!(site.json(&root, "GET auth/roles", &of_u("3"))["pageItems"], serde_json::json!([]));
    let all = site.json(&root, "GET auth/roles", &[("pageNo", "1"), ("pageSize", "10")]);
    assert_eq!(all["totalCount"], 4, "the administrator has one: {all}");
    assert_eq!(
        site.json(&root, "GET auth/roles/search", &[("role", "r")]),
        serde_json::json!(["r1", "r2", "r3"])
    );
    assert_eq!(
        site.json(&root, "GET auth/roles/search", &[("role", "")]),
        serde_json::json!(["ROLE_ADMIN", "r1", "r2", "r3"])
    );

    let right = |resource, action| [("role", "r1"), ("resource", resource), ("action", action)];
    site.ok(&root, "POST auth/permissions", &right("public:*:*", "rw"));
    site.ok(&root, "POST auth/permissions", &right("test1:*:*", "r"));
    let of_r1 = [("role", "r1"), ("pageNo", "1"), ("pageSize", "10")];
    let page = site.json(&root, "GET auth/permissions", &of_r1);
    let items = page["pageItems"].as_array().unwrap();
    assert!(
        items
            .contains(&serde_json::json!({ "role": "r1", "resource": "test1:*:*", "action": "r" })),
        "{page}"
    );
    site.ok(&root, "DELETE auth/permissions", &right("public:*:*", "rw"));
    assert_eq!(site.json(&root, "GET auth/permissions", &of_r1)["totalCount"], 1);
    site.ok(&root, "DELETE auth/roles", &[("role", "r1")]);
    assert_eq!(
        site.json(&root, "GET auth/roles/search", &[("role", "r")]),
        serde_json::json!(["r2", "r3"])
    );
}

#[test]
fn what_makes_no_sense_is_refused_with_the_words_of_nacos() {
    let site = Guarded::start();
    let root = site.root();
    let refused = |request, parameters: &[(&str, &str)], part: &str| {
        let answer = site.call(&root, request, parameters);
        assert!(answer.status == 400 && answer.body.contains(part), "{request}: {answer:?}");
    };
    refused(
        "POST auth/users",
        &[("username", "root"), ("password", "p")],
        "user 'root' already exist!",
    );
    refused("POST auth/users", &[("username", "u")], "'password' is required");
    refused("POST auth/users", &[("username", "u"), ("password", "")], "'password' is required");
    let long = "x".repeat(73);
    refused("POST auth/users", &[("username", "u"), ("password", &long)], "longer than 72 bytes");
    for name in ["a\nb", " a", "a ", "\u{0}", &"x".repeat(129)] {
        refused("POST auth/users", &[("username", name), ("password", "p")], "'username'");
    }
    refused(
        "PUT auth/users",
        &[("username", "nobody"), ("newPassword", "p")],
        "user nobody not exist!",
    );
    refused("DELETE auth/users", &[("username", "root")], "cannot delete admin: root");
    refused(
        "POST auth/roles",
        &[("role", "r"), ("username", "nobody")],
        "user 'nobody' not found!",
    );
    refused(
        "POST auth/roles",
        &[("role", "ROLE_ADMIN"), ("username", "root")],
        "role 'ROLE_ADMIN' is not permitted to create!",
    );
    refused("DELETE auth/roles", &[("role", "ROLE_ADMIN")], "last administrator");
    refused(
        "DELETE auth/roles",
        &[("role", "ROLE_ADMIN"), ("username", "root")],
        "last administrator",
    );
    let right = |action| [("role", "r"), ("resource", ":*:*"), ("action", action)];
    refused("POST auth/permissions", &right("rw"), "role r not found!");
    for odd in ["rwx", "wr", "R", "*"] {
        refused("POST auth/permissions", &right(odd), "'action'");
    }
    for (number, size) in [("0", "10"), ("1", "0"), ("-1", "10")] {
        refused("GET auth/users", &[("pageNo", number), ("pageSize", size)], "greater than zero");
    }
    refused("GET auth/users", &[], "'pageNo' is required");
}

#[test]
fn a_deleted_user_loses_everything_at_once_and_the_next_of_that_name_begins_without() {
    let site = Guarded::start();
    let (root, token) = (site.root(), site.user_who_may("u", &[(":*:*", "rw")]));
    site.ok(&token, "POST ns/instance", &instance("s", &[]));
    // Also by password, which is remembered.
    let by_password = "/nacos/v1/ns/instance/list?serviceName=s&username=u&password=secret";
    assert_eq!(site.server.get(by_password).status, 200);
    site.ok(&root, "DELETE auth/users", &[("username", "u")]);
    site.denied(&token, "GET ns/instance/list", &[("serviceName", "s")]);
    assert_eq!(site.server.get(by_password).status, 403);
    site.ok(&root, "POST auth/users", &[("username", "u"), ("password", "secret")]);
    ended(&site, &token);
    assert_eq!(site.server.get(by_password).status, 403);
    // Not with the rights of the next one either.
    site.ok(&root, "POST auth/roles", &[("role", "role of u"), ("username", "u")]);
    assert_eq!(site.server.get(by_password).status, 200);
    ended(&site, &token);
    let renewed = format!("/nacos/v1/auth/login?accessToken={token}");
    assert_eq!(site.server.call("POST", &renewed).status, 403);
}

/// A token is over before its time.
#[track_caller]
fn ended(site: &Guarded, token: &str) {
    let answer = site.call(token, "GET ns/instance/list", &[("serviceName", "s")]);
    assert!(answer.status == 403 && answer.body.contains("token expired!"), "{answer:?}");
}

#[test]
fn a_token_ends_with_the_password_it_was_given_for() {
    let site = Guarded::start();
    let (root, token) = (site.root(), site.user_who_may("u", &[(":*:*", "r")]));
    let list = |token: &str| site.call(token, "GET ns/instance/list", &[("serviceName", "s")]);
    list(&token).expect(200);
    let other = site.log_in("u", "secret");
    // The same word again is another credential, too: who sets it wants others out.
    let same = [("username", "u"), ("newPassword", "secret")];
    site.ok(&token, "PUT auth/users", &same);
    ended(&site, &token);
    ended(&site, &other);
    let fresh = site.log_in("u", "secret");
    list(&fresh).expect(200);
    site.ok(&root, "PUT auth/users", &same);
    ended(&site, &fresh);
    // Nobody else's ends.
    site.ok(&root, "GET auth/users/search", &[("username", "u")]);
}

/// What a Nacos server with the same key issues.
fn token_of_nacos(user: &str) -> String {
    use base64::Engine;
    use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
    use hmac::{KeyInit, Mac};
    let key = BASE64_STANDARD.decode(auth_support::TOKEN_KEY).unwrap();
    let part = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
    let claims = format!(r#"{{"sub":"{user}","exp":99999999999}}"#);
    let message = format!("{}.{}", part(r#"{"alg":"HS256"}"#), part(&claims));
    let code = hmac::Hmac::<sha2::Sha256>::new_from_slice(&key).unwrap();
    let code = code.chain_update(&message).finalize().into_bytes();
    format!("{message}.{}", BASE64_URL_SAFE_NO_PAD.encode(code))
}

#[test]
fn tokens_of_nacos_are_taken_only_if_the_settings_say_so() {
    let token = token_of_nacos("root");
    let search = [("username", "r")];
    let site = Guarded::start();
    let answer = site.call(&token, "GET auth/users/search", &search);
    assert_eq!(answer.status, 403);
    assert!(answer.body.contains("auth.accept_nacos_tokens"), "{answer:?}");
    let mut config = guarded_config();
    config.auth.accept_nacos_tokens = true;
    let site = Guarded::start_with(config);
    site.ok(&token, "GET auth/users/search", &search);
    // Its own tokens end as ever.
    let own = site.user_who_may("u", &[(":*:*", "r")]);
    site.ok(&own, "PUT auth/users", &[("username", "u"), ("newPassword", "secret")]);
    ended(&site, &own);
}

#[test]
fn everybody_changes_their_own_password_and_nobody_anybody_elses() {
    let site = Guarded::start();
    let (one, two) = (site.user_who_may("one", &[]), site.user_who_may("two", &[(":*:*", "rw")]));
    let change = |token: &str, user, password| {
        site.call(token, "PUT auth/users", &[("username", user), ("newPassword", password)])
    };
    assert_eq!(change(&site.root(), "one", "by root").status, 200);
    assert_eq!(change(&one, "one", "with a token of before").status, 403);
    let one = site.log_in("one", "by root");
    assert_eq!(change(&one, "one", "my own").status, 200);
    let refused = change(&two, "one", "stolen");
    assert_eq!(
        (refused.status, &refused.json()["message"]),
        (403, &"authorization failed!".into())
    );
    assert_eq!(change(&two, "ONE", "stolen").status, 403);
    site.log_in("one", "my own");
}

#[test]
fn nobody_but_an_administrator_manages_users() {
    let site = Guarded::start();
    let token = site.user_who_may("u", &[("*", "rw"), ("*:*:*", "rw"), ("console/users", "rw")]);
    let page = [("pageNo", "1"), ("pageSize", "9")];
    for path in ["auth/users", "auth/roles", "auth/permissions"] {
        site.denied(&token, &format!("GET {path}"), &page);
    }
    site.denied(
        &token,
        "POST auth/users",
        &[("username", "x"), ("password", "p"), ("admin", "true")],
    );
    site.denied(&token, "POST auth/roles", &[("role", "ROLE_ADMIN"), ("username", "u")]);
    site.denied(&token, "DELETE auth/users", &[("username", "root")]);
    site.denied(&token, "GET auth/users/search", &[("username", "r")]);
    site.denied(
        &token,
        "POST console/namespaces",
        &[("customNamespaceId", "x"), ("namespaceName", "x")],
    );
    site.denied(
        &token,
        "PUT ns/operator/log",
        &[("logName", "naming_server"), ("logLevel", "debug")],
    );
    // But what it was given it may do.
    site.ok(
        &token,
        "PUT ns/operator/switches",
        &[("entry", "defaultCacheMillis"), ("value", "3000")],
    );
}

#[test]
fn an_administrator_can_make_another_and_step_back() {
    let site = Guarded::start();
    let root = site.root();
    let boss = [("username", "boss"), ("password", "p"), ("admin", "true")];
    site.ok(&root, "POST auth/users", &boss);
    let boss = site.log_in("boss", "p");
    site.ok(&boss, "DELETE auth/roles", &[("role", "ROLE_ADMIN"), ("username", "root")]);
    site.denied(&root, "GET auth/users", &[("pageNo", "1"), ("pageSize", "9")]);
    site.ok(&boss, "DELETE auth/users", &[("username", "root")]);
}

#[test]
fn without_a_user_nothing_is_open_and_no_password_is_known() {
    let server = TestServer::start_with(guarded_config());
    for password in ["nacos", "", "admin"] {
        let target = format!("/nacos/v1/auth/login?username=nacos&password={password}");
        assert_eq!(server.call("POST", &target).status, 403);
    }
    let create = "/nacos/v1/auth/users?username=nacos&password=nacos&admin=true";
    assert_eq!(server.call("POST", create).status, 403);
    // Not by a name that anybody could have pointed at this machine: see `modern_api.rs`.
    assert_eq!(server.call("POST", "/nacos/v1/auth/users/admin?password=nacos").status, 403);
    assert_eq!(server.get("service/list?pageNo=1&pageSize=1").status, 403);
    assert_eq!(server.get("/nacos/v1/console/health/readiness").status, 200);
}

#[test]
fn while_it_is_off_users_are_not_managed() {
    let users = vec![NewUser::new("root", "p", true).unwrap()];
    let server = TestServer::start_with_users(naming_server::Config::default(), users);
    for request in ["GET users?pageNo=1&pageSize=9", "POST users?username=x&password=y"] {
        let (method, path) = request.split_once(' ').unwrap();
        let refusal = server.call(method, &format!("/nacos/v1/auth/{path}")).expect(403);
        assert!(refusal.contains("auth.enabled"), "{refusal}");
    }
    // Credentials do no harm.
    server.get("service/list?pageNo=1&pageSize=1&username=x&password=y&accessToken=z").expect(200);
}

#[test]
fn events_say_which_user_it_was() {
    let site = Guarded::start();
    let token = site.user_who_may("alice", &[(":*:*", "rw")]);
    site.ok(&token, "POST ns/instance", &instance("s", &[]));
    let events = site.json(&token, "GET ns/operator/events", &[("serviceName", "s")]);
    let by = events["events"][0]["by"].as_str().unwrap();
    assert!(by.starts_with("alice@127.0.0.1"), "{events}");
    site.denied(&token, "GET ns/operator/events", &[]);
}

#[test]
fn failures_are_limited_and_good_passwords_are_not() {
    let site = Guarded::start();
    for _ in 0..20 {
        assert_eq!(site.try_log_in("root", "wrong").expect(403), "unknown user!");
    }
    let limited = site.try_log_in("root", "wrong").expect(403);
    assert!(limited.contains("too many failed"), "{limited}");
    // Else guessing would go on.
    let limited = site.try_log_in("root", "root's password").expect(403);
    assert!(limited.contains("too many failed"), "{limited}");
    assert_eq!(site.try_log_in("somebody else", "wrong").expect(403), "unknown user!");
}

#[test]
fn who_sends_the_password_with_every_call_is_not_limited() {
    let site = Guarded::start();
    let target =
        "/nacos/v1/ns/service/list?pageNo=1&pageSize=1&username=root&password=root%27s+password";
    for _ in 0..200 {
        site.server.get(target).expect(200);
    }
    for _ in 0..25 {
        site.try_log_in("root", "wrong").expect(403);
    }
    // Known as good before somebody else at this address guessed.
    site.server.get(target).expect(200);
}

#[test]
fn a_new_password_counts_at_once() {
    let site = Guarded::start();
    site.user_who_may("u", &[(":*:*", "r")]);
    let target = |password| {
        format!("/nacos/v1/ns/service/list?pageNo=1&pageSize=1&username=u&password={password}")
    };
    site.server.get(&target("secret")).expect(200);
    site.ok(&site.root(), "PUT auth/users", &[("username", "u"), ("newPassword", "other")]);
    site.server.get(&target("secret")).expect(403);
    site.server.get(&target("other")).expect(200);
}

#[test]
fn many_clients_with_one_password_are_served_together() {
    let site = Guarded::start();
    let target =
        "/nacos/v1/ns/service/list?pageNo=1&pageSize=1&username=root&password=root%27s+password";
    std::thread::scope(|scope| {
        for _ in 0..100 {
            scope.spawn(|| site.server.get(target).expect(200));
        }
    });
}

#[test]
fn the_server_answers_others_while_passwords_are_tried() {
    let site = Guarded::start();
    std::thread::scope(|scope| {
        for n in 0..40 {
            let site = &site;
            scope.spawn(move || {
                let status = site.try_log_in(&format!("nobody{n}"), "wrong").status;
                // On a busy machine the last of them wait too long.
                assert!(matches!(status, 403 | 503), "{status}");
            });
        }
        for _ in 0..200 {
            let start = std::time::Instant::now();
            site.server.get("operator/metrics").expect(200);
            assert!(start.elapsed() < std::time::Duration::from_secs(2), "{:?}", start.elapsed());
        }
    });
    wait_for("the log-in of an administrator", || {
        site.try_log_in("root", "root's password").status == 200
    });
}
