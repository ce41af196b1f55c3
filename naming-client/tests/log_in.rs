//! Clients with a user and a password against a server of this project that asks for them.

mod support;

use std::time::Duration;

use naming_client::{Error, Instance};
use naming_server::NewUser;
use support::real::RealServer;
use support::{client, eventually, next};

const SOON: Duration = Duration::from_secs(10);

/// A server with the administrator `root` and the user `guest`, who may do nothing.
fn server(token_ttl_s: u64) -> RealServer {
    let root = NewUser::new("root", "root's password", true).unwrap();
    let guest = NewUser::new("guest", "guest", false).unwrap();
    RealServer::start_guarded(token_ttl_s, vec![root, guest])
}

#[tokio::test]
async fn a_client_with_a_password_registers_lists_and_subscribes() {
    let server = server(18_000);
    let client =
        client([server.address()]).credentials("root", "root's password").build().await.unwrap();
    let mut subscription = client.subscribe("orders").await.unwrap();
    let registration = client.register("orders", Instance::new("10.0.0.1", 80)).await.unwrap();
    eventually("the list has the instance", SOON, || async {
        client.instances("orders").await.is_ok_and(|list| list.len() == 1)
    })
    .await;
    while next(&mut subscription, SOON).await.added.is_empty() {}
    registration.close().await.unwrap();
}

#[tokio::test]
async fn a_token_is_renewed_before_it_ends() {
    let server = server(1);
    let client =
        client([server.address()]).credentials("root", "root's password").build().await.unwrap();
    let instance = Instance::new("10.0.0.1", 80)
        .metadata("preserved.heart.beat.interval", "100")
        .metadata("preserved.heart.beat.timeout", "1000")
        .metadata("preserved.ip.delete.timeout", "1500");
    let registration = client.register("orders", instance).await.unwrap();
    // Three times as long as a token is good: beats and reads go on.
    let start = tokio::time::Instant::now();
    while start.elapsed() < Duration::from_secs(3) {
        assert_eq!(client.instances("orders").await.unwrap().len(), 1);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    registration.close().await.unwrap();
}

#[tokio::test]
async fn a_wrong_password_is_told_and_never_shown() {
    let server = server(18_000);
    for (user, password) in [("root", "a wrong password"), ("nobody", "root's password")] {
        let built = client([server.address()]).credentials(user, password).build().await;
        let error = built.unwrap_err();
        assert!(matches!(error, Error::Credentials { .. }), "{error:?}");
        let shown = format!("{error} {error:?}");
        assert!(shown.contains("unknown user!") && !shown.contains(password), "{shown}");
    }
}

#[tokio::test]
async fn who_may_not_is_told_so() {
    let server = server(18_000);
    let client = client([server.address()]).credentials("guest", "guest").build().await.unwrap();
    let error = client.register("orders", Instance::new("10.0.0.1", 80)).await.unwrap_err();
    assert!(error.to_string().contains("authorization failed!"), "{error:?}");
    let error = client.instances("orders").await.unwrap_err();
    assert!(error.to_string().contains("authorization failed!"), "{error:?}");
}

#[tokio::test]
async fn without_a_password_nothing_works() {
    let server = server(18_000);
    let client = client([server.address()]).build().await.unwrap();
    let error = client.instances("orders").await.unwrap_err();
    assert!(error.to_string().contains("unknown user!"), "{error:?}");
}

#[tokio::test]
async fn credentials_are_read_anew_for_each_log_in() {
    let server = server(1);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "root\na wrong password\n").unwrap();
    let builder = client([server.address()]).credentials_file(file.path());
    let error = builder.clone().build().await.unwrap_err();
    assert!(matches!(error, Error::Credentials { .. }), "{error:?}");
    std::fs::write(file.path(), "root\nroot's password\n").unwrap();
    let client_of_file = builder.build().await.unwrap();
    assert!(client_of_file.instances("s").await.unwrap().is_empty());
    // The token is good for a second: the next log-in finds another password.
    std::fs::write(file.path(), "root\nanother one\n").unwrap();
    eventually("the new password counts", SOON, || async {
        matches!(client_of_file.instances("s").await, Err(Error::Credentials { .. }))
    })
    .await;
    std::fs::write(file.path(), "only a user\n").unwrap();
    let error = client_of_file.instances("s").await.unwrap_err();
    assert!(matches!(error, Error::Setting { setting: "credentials", .. }), "{error:?}");
    let asked = client([server.address()])
        .credentials_from(|| Ok(("root".to_owned(), "root's password".to_owned())));
    asked.build().await.unwrap().instances("s").await.unwrap();
}

#[tokio::test]
async fn the_log_in_of_each_generation_is_found() {
    use support::fake::{Action, FakeServer};
    for known in ["/v1/auth/login", "/v1/auth/users/login", "/v3/auth/user/login"] {
        let server = FakeServer::ready(move |seen| {
            if seen.path.ends_with(known) {
                return Some(Action::ok(r#"{"accessToken":"good","tokenTtl":18000}"#));
            }
            if seen.path.contains("/auth/") {
                return Some(Action::status(404, "no such path"));
            }
            let has_token = seen.head.contains("Bearer good");
            let is_list = seen.path.ends_with("/instance/list");
            (is_list && !has_token).then(|| Action::status(403, "unknown user!"))
        })
        .await;
        let client = client([server.address()]).credentials("u", "p").build().await.unwrap();
        assert!(client.instances("s").await.unwrap().is_empty(), "{known}");
    }
}

#[tokio::test]
async fn a_client_over_grpc_logs_in_and_again_when_its_token_ends() {
    let server = server(1);
    let builder = support::client_over(naming_client::Transport::Grpc, [server.address()]);
    let client = builder.clone().credentials("root", "root's password").build().await.unwrap();
    let registration = client.register("orders", Instance::new("10.0.0.1", 80)).await.unwrap();
    let start = tokio::time::Instant::now();
    while start.elapsed() < Duration::from_secs(3) {
        assert_eq!(client.instances("orders").await.unwrap().len(), 1);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    registration.close().await.unwrap();
    let guest = builder.clone().credentials("guest", "guest").build().await.unwrap();
    let error = guest.register("orders", Instance::new("10.0.0.1", 80)).await.unwrap_err();
    assert!(matches!(error, Error::Credentials { .. }), "{error:?}");
    let error = builder.credentials("root", "wrong").build().await.unwrap_err();
    assert!(matches!(error, Error::Credentials { .. }), "{error:?}");
}
