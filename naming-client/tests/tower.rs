//! The registry for tower.
#![cfg(feature = "tower")]

mod support;

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use hyper::http::{Request, Response};
use naming_client::Instance;
use naming_client::tower::{ResolvedError, ServiceDiscover, ServiceResolver};
use support::client;
use support::real::RealServer;
use tower::discover::{Change, Discover};
use tower::{Layer, Service, ServiceExt, service_fn};

const SOON: Duration = Duration::from_secs(12);

/// Applies changes to `set` until it is `expected`; fails the test if it does not get there.
async fn follow<D>(discover: &mut D, set: &mut BTreeSet<String>, expected: &[&str])
where
    D: Discover<Key = String, Service = u16, Error = Infallible> + Unpin,
{
    let reach = async {
        while set.iter().map(String::as_str).ne(expected.iter().copied()) {
            match poll_fn(|context| Pin::new(&mut *discover).poll_discover(context)).await {
                Some(Ok(Change::Insert(key, _))) => set.insert(key),
                Some(Ok(Change::Remove(key))) => {
                    assert!(set.remove(&key), "{key} was never inserted");
                    true
                }
                None => panic!("the stream ended"),
            };
        }
    };
    tokio::time::timeout(SOON, reach).await.expect("the set is reached");
}

#[tokio::test]
async fn a_balancer_sees_usable_instances_come_and_go() {
    let server = RealServer::start();
    let client = client([server.address()]).build().await.unwrap();
    let a = client.register("s", Instance::new("10.0.0.1", 1)).await.unwrap();
    let b = client.register("s", Instance::new("10.0.0.1", 2).weight(0.0)).await.unwrap();
    let subscription = client.subscribe("s").await.unwrap();
    let mut discover = ServiceDiscover::new(subscription, |instance: &Instance| instance.port);
    let mut set = BTreeSet::new();
    follow(&mut discover, &mut set, &["10.0.0.1#1#DEFAULT"]).await;
    b.update(|instance| instance.weight = 1.0).await.unwrap();
    follow(&mut discover, &mut set, &["10.0.0.1#1#DEFAULT", "10.0.0.1#2#DEFAULT"]).await;
    a.update(|instance| instance.enabled = false).await.unwrap();
    follow(&mut discover, &mut set, &["10.0.0.1#2#DEFAULT"]).await;
    a.close().await.unwrap();
    let more = async {
        poll_fn(|context| Pin::new(&mut discover).poll_discover(context)).await.map(|_| ())
    };
    let quiet = tokio::time::timeout(Duration::from_millis(500), more).await;
    assert!(quiet.is_err(), "one that was out already does not go again");
}

#[tokio::test]
async fn service_names_in_urls_become_instances() {
    let server = RealServer::start();
    let client = client([server.address()]).build().await.unwrap();
    let _guard = client.register("order-service", Instance::new("10.0.0.1", 80)).await.unwrap();
    let echo = service_fn(async |request: Request<()>| {
        Ok::<_, Infallible>(Response::new(request.uri().to_string()))
    });
    let mut http = ServiceResolver::new(client.clone()).layer(echo);
    let mut call = async |url: &str| {
        poll_fn(|context| http.poll_ready(context)).await?;
        let request = Request::builder().uri(url).body(()).unwrap();
        http.call(request).await.map(Response::into_body)
    };
    assert_eq!(call("http://order-service/a?b=c").await.unwrap(), "http://10.0.0.1:80/a?b=c");
    assert_eq!(call("http://a.example/x").await.unwrap(), "http://a.example/x");
    let error = call("http://nobody/").await.unwrap_err();
    assert!(matches!(error, ResolvedError::Registry(_)), "{error}");
    assert_eq!(client.load().queries, 2);
    // It is a plain layer: clones and combinators work.
    let request = Request::builder().uri("http://order-service/").body(()).unwrap();
    assert!(http.clone().oneshot(request).await.is_ok());
    assert!(poll_fn(|context| Poll::Ready(http.poll_ready(context))).await.is_ready());
}

#[tokio::test]
async fn an_instance_that_fails_its_calls_is_left_alone() {
    let server = RealServer::start();
    let registry = client([server.address()]).build().await.unwrap();
    let instances = (1..=2).map(|port| ("s".parse().unwrap(), Instance::new("10.0.0.1", port)));
    let _guards = registry.register_all(instances).await;
    let chooser = naming_client::Chooser::new().eject(naming_client::OutlierPolicy::default());
    let resolver = ServiceResolver::choosing(registry, "", chooser);
    let called = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let log = called.clone();
    let http = service_fn(move |request: Request<()>| {
        let port = request.uri().port_u16().unwrap();
        log.lock().unwrap().push(port);
        async move {
            match port {
                1 => Err(std::io::Error::other("broken")),
                _ => Ok(Response::new(port)),
            }
        }
    });
    let mut resolved = resolver.layer(http);
    for _ in 0..100 {
        let request = Request::get("http://s/").body(()).unwrap();
        let _ = resolved.ready().await.unwrap().call(request).await;
    }
    let bad = called.lock().unwrap().iter().filter(|port| **port == 1).count();
    assert_eq!(bad, 5, "as many failures as the policy says");
}
