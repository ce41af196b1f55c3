//! `naming-server user add`: users made without a running server, and kept.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use naming_server::{Config, DataConfig};

mod auth_support;

use auth_support::guarded_config;
use auth_support::server_support::TestServer;

fn config(folder: &Path) -> Config {
    Config { data: DataConfig::at(folder), ..guarded_config() }
}

fn add(folder: &Path, arguments: &[&str], password: &str) -> Output {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), password).unwrap();
    Command::new(env!("CARGO_BIN_EXE_naming-server"))
        .args(["user", "add"])
        .args(arguments)
        .arg("--data-dir")
        .arg(folder)
        .arg("--password-file")
        .arg(file.path())
        .env_remove("USER_ADD_PASSWORD")
        .output()
        .unwrap()
}

#[track_caller]
fn refused(output: &Output, part: &str) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && text.contains(part), "{output:?}");
}

fn log_in(server: &TestServer, user: &str, password: &str) -> auth_support::server_support::Answer {
    let target = format!("/nacos/v1/auth/login?username={user}&password={password}");
    server.call("POST", &target)
}

#[test]
fn the_first_administrator_is_made_offline_and_makes_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let added = add(folder.path(), &["--admin", "root"], "first\n");
    assert!(added.status.success(), "{added:?}");
    let text = String::from_utf8_lossy(&added.stdout);
    assert!(text.contains("user root is in ") && !text.contains("first"), "{text}");
    refused(&add(folder.path(), &["--admin", "root"], "other"), "there is a user root already");

    let server = TestServer::start_with(config(folder.path()));
    // The folder belongs to the server now.
    refused(&add(folder.path(), &["second"], "p"), "another server uses");
    let reply = log_in(&server, "root", "first").json();
    assert_eq!(reply["globalAdmin"], true, "{reply}");
    let token = reply["accessToken"].as_str().unwrap();
    let by_root = |method, path: &str| {
        server.send(
            method,
            &format!("/nacos/v1/auth/{path}"),
            &format!("Authorization: Bearer {token}\r\n"),
            "",
        )
    };
    by_root("POST", "users?username=kept&password=p").expect(200);
    by_root("POST", "users?username=gone&password=p").expect(200);
    by_root("POST", "roles?role=r&username=kept").expect(200);
    by_root("POST", "permissions?role=r&resource=:*:*&action=r").expect(200);
    by_root("DELETE", "users?username=gone").expect(200);
    by_root("PUT", "users?username=root&newPassword=changed").expect(200);
    server.stop();

    // All of it is there after a restart, and what was removed is not.
    let server = TestServer::start_with(config(folder.path()));
    log_in(&server, "root", "changed").expect(200);
    log_in(&server, "root", "first").expect(403);
    log_in(&server, "gone", "p").expect(403);
    let list = "service/list?pageNo=1&pageSize=1&username=kept&password=p";
    server.get(list).expect(200);
}

#[test]
fn an_administrator_makes_users_through_a_running_server() {
    let site = auth_support::Guarded::start();
    let url = format!("http://{}", site.server.address);
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (good, bad) = (file("good", "root's password\n"), file("bad", "wrong\n"));
    let own = file("own", "p & q\n");
    let add = |name: &str, url: &str, by: &str, more: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_naming-server"))
            .args(["user", "add", name, "--server", url, "--as", "root", "--as-password-file", by])
            .args(["--password-file", &own])
            .args(more)
            .output()
            .unwrap()
    };
    let added = add("guest", &url, &good, &[]);
    assert!(added.status.success(), "{added:?}");
    site.log_in("guest", "p & q");
    assert!(add("boss", &url, &good, &["--admin"]).status.success());
    let boss = site.log_in("boss", "p & q");
    site.ok(&boss, "GET auth/users", &[("pageNo", "1"), ("pageSize", "9")]);
    refused(&add("guest", &url, &good, &[]), "user 'guest' already exist!");
    refused(&add("other", &url, &bad, &[]), "unknown user!");
    refused(&add("other", "ftp://x", &good, &[]), "http://host:port");
    refused(&add("other", &url, &good, &["--data-dir", "x"]), "--data-dir");
}

#[test]
fn an_ordinary_user_is_made_without_rights() {
    let folder = tempfile::tempdir().unwrap();
    assert!(add(folder.path(), &["guest"], "p").status.success());
    let server = TestServer::start_with(config(folder.path()));
    let reply = log_in(&server, "guest", "p").json();
    assert_eq!(reply["globalAdmin"], false, "{reply}");
}

#[test]
fn what_makes_no_user_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    refused(&add(folder.path(), &["root"], ""), "empty");
    refused(&add(folder.path(), &["root"], &"x".repeat(73)), "longer than 72 bytes");
    refused(&add(folder.path(), &[" root"], "p"), "username");
    refused(&add(folder.path(), &["root", "--password", "p"], "p"), "--password");
    refused(&add(folder.path(), &["root", "--set", "data.in_memory=true"], "p"), "in memory");
    // And none of it was begun.
    assert!(fs::read_dir(folder.path()).unwrap().next().is_none());
}
