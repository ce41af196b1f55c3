//! The ways in which clients bring their credentials.

mod auth_support;

use auth_support::server_support::{Answer, TestServer};
use auth_support::{Guarded, encode};

const LIST: &str = "/nacos/v1/ns/service/list?pageNo=1&pageSize=1";
const LOGIN: &str = "/nacos/v1/auth/login";

fn get(site: &Guarded, target: &str, headers: &str) -> Answer {
    site.server.send("GET", target, headers, "")
}

#[test]
fn while_authentication_is_off_a_login_gives_a_token_that_opens_nothing() {
    let off = TestServer::start();
    for path in [LOGIN, "/nacos/v1/auth/users/login"] {
        let target = format!("{path}?username=nacos&password=anything");
        let login = off.call("POST", &target);
        let shown = login.json();
        let token = shown["accessToken"].as_str().unwrap();
        assert_eq!((&shown["username"], &shown["tokenTtl"]), (&"nacos".into(), &18_000.into()));
        assert_eq!(shown["globalAdmin"], true);
        assert!(login.head.contains(&format!("authorization: bearer {}", token.to_lowercase())));
        // What the client does next.
        off.get(&format!("{LIST}&accessToken={token}")).expect(200);
        // It is worth nothing to whoever keeps it until authentication is on, here or elsewhere.
        let on = Guarded::start();
        let answer = get(&on, LIST, &format!("accessToken: {token}\r\n")).expect(403);
        assert!(answer.contains("token invalid!"), "{answer}");
        assert!(!answer.contains("accept_nacos_tokens"), "its key is nobody's: {answer}");
    }
    // A name in a header, as the other credentials.
    off.send("POST", LOGIN, "username: nacos\r\npassword: x\r\n", "").expect(200);
    let missing = off.call("POST", LOGIN).expect(400);
    assert!(missing.contains("'username'"), "{missing}");
    let long = off.call("POST", &format!("{LOGIN}?username={}", "x".repeat(129))).expect(400);
    assert!(long.contains("'username'"), "{long}");
}

#[test]
fn credentials_may_stand_in_headers_of_their_names() {
    let site = Guarded::start();
    let password = "username: root\r\npassword: root's password\r\n";
    get(&site, LIST, password).expect(200);
    get(&site, LIST, "USERNAME: root\r\nPassWord: root's password\r\n").expect(200);
    let login = site.server.send("POST", LOGIN, password, "");
    let token = login.json()["accessToken"].as_str().unwrap().to_owned();
    get(&site, LIST, &format!("accessToken: {token}\r\n")).expect(200);
    get(&site, LIST, &format!("accesstoken: {token}\r\n")).expect(200);
    // Half in the one place, half in the other.
    get(&site, &format!("{LIST}&username=root"), "password: root's password\r\n").expect(200);
    assert!(get(&site, LIST, "username: root\r\npassword: x\r\n").expect(403).contains("unknown"));
    assert!(get(&site, LIST, "accessToken: x\r\n").expect(403).contains("token invalid!"));
    // Not percent-encoded: what stands there is the password.
    let encoded = format!("username: root\r\npassword: {}\r\n", encode("root's password"));
    get(&site, LIST, &encoded).expect(403);
}

#[test]
fn a_name_and_a_password_in_headers_may_be_any_text() {
    let site = Guarded::start();
    let user = [("username", "Übung 1"), ("password", "pässwort 100%+"), ("admin", "true")];
    site.ok(&site.root(), "POST auth/users", &user);
    get(&site, LIST, "username: Übung 1\r\npassword: pässwort 100%+\r\n").expect(200);
}

#[test]
fn of_two_places_the_parameter_counts_and_before_all_the_bearer() {
    let site = Guarded::start();
    let (root, good) = (site.root(), "username: root\r\npassword: root's password\r\n");
    get(&site, &format!("{LIST}&username=root&password=x"), good).expect(403);
    get(&site, &format!("{LIST}&accessToken=x"), good).expect(403);
    get(&site, &format!("{LIST}&accessToken=x"), &format!("accessToken: {root}\r\n")).expect(403);
    get(&site, &format!("{LIST}&accessToken={root}"), "accessToken: x\r\n").expect(200);
    let bearer = format!("Authorization: Bearer {root}\r\naccessToken: x\r\n");
    get(&site, LIST, &bearer).expect(200);
    get(&site, LIST, &format!("Authorization: Bearer x\r\n{good}")).expect(403);
}
