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
