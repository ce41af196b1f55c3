//! The ways in which clients bring their credentials.

mod auth_support;

use auth_support::server_support::Answer;
use auth_support::{Guarded, encode};

const LIST: &str = "/nacos/v1/ns/service/list?pageNo=1&pageSize=1";
const LOGIN: &str = "/nacos/v1/auth/login";

fn get(site: &Guarded, target: &str, headers: &str) -> Answer {
    site.server.send("GET", target, headers, "")
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
