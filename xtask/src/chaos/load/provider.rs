//! The client of one instance: it registers, beats, and goes to the next server when one fails, as
//! the Java client does.

use std::rc::Rc;
use std::time::Duration;

use anyhow::{Result, bail};
use hyper::Method;
use serde::Deserialize;
use tokio::time::sleep;

use super::http::Reply;
use super::{BEAT_INTERVAL, Shared, hosts};
use crate::chaos::judge::Life;

/// Between attempts of an application whose registration failed at every server.
const REGISTER_AGAIN: Duration = Duration::from_secs(1);
const UNKNOWN_INSTANCE: u32 = 20404;

#[derive(Deserialize)]
struct BeatReply {
    code: u32,
}

/// Registers the instance and keeps it alive until the task is aborted.
pub(super) async fn provide(shared: Rc<Shared>, id: usize, phase: Duration) {
    sleep(phase).await;
    register(&shared, id).await;
    loop {
        // From reply to next beat, as in the Java client.
        sleep(BEAT_INTERVAL).await;
        beat(&shared, id).await;
    }
}

/// Deregisters the instance, however often it takes.
pub(super) async fn deregister(shared: &Shared, id: usize) {
    set_life(shared, id, Life::Leaving);
    let path = format!("/nacos/v1/ns/instance?{}", parameters(shared, id));
    while call_any(shared, service_of(shared, id), &Method::DELETE, &path).await.is_err() {
        sleep(REGISTER_AGAIN).await;
    }
    let since = shared.now();
    set_life(shared, id, Life::Gone { since });
}

async fn register(shared: &Shared, id: usize) {
    let metadata = "metadata=%7B%22zone%22%3A%22a%22%2C%22version%22%3A%221%22%7D";
    let rest = format!("groupName=DEFAULT_GROUP&weight=1.0&enable=true&healthy=true&{metadata}");
    let path = format!("/nacos/v1/ns/instance?{}&{rest}", parameters(shared, id));
    loop {
        match call_any(shared, service_of(shared, id), &Method::POST, &path).await {
            Ok((node, _)) => return acknowledged(shared, id, node),
            Err(_) => sleep(REGISTER_AGAIN).await,
        }
    }
}

async fn beat(shared: &Shared, id: usize) {
    let path = format!("/nacos/v1/ns/instance/beat?{}", parameters(shared, id));
    // The Java client logs what failed and beats again at its next turn.
    let called = call_any(shared, service_of(shared, id), &Method::PUT, &path).await;
    let Ok((node, reply)) = called else { return };
    match serde_json::from_slice(&reply.body) {
        Ok(BeatReply { code: UNKNOWN_INSTANCE }) => {
            shared.judge.borrow_mut().asked_to_register_again();
            register(shared, id).await;
        }
        Ok(_) => acknowledged(shared, id, node),
        Err(_) => {}
    }
}

/// Calls one server after the other that clients of this service reach, from a random one on,
/// until one answers with 200; which one, and its answer.
pub(super) async fn call_any(
    shared: &Shared,
    service: usize,
    method: &Method,
    path: &str,
) -> Result<(usize, Reply)> {
    let listed = shared.reached(service);
    let first = fastrand::usize(..listed.len().max(1));
    let nodes = listed.iter().cycle().skip(first).take(listed.len());
    for &node in nodes {
        let Some(address) = shared.address(node) else { continue };
        let begun = shared.now();
        match shared.http.call(method, address, path).await {
            Ok(reply) if reply.status == 200 => {
                shared.judge.borrow_mut().call_succeeded();
                return Ok((node, reply));
            }
            Ok(reply) => {
                let text = String::from_utf8_lossy(&reply.body);
                let text: String = text.chars().take(100).collect();
                shared.call_failed(node, begun, &format!("{method} {} {text}", reply.status));
            }
            Err(error) => shared.call_failed(node, begun, &format!("{method} {error:#}")),
        }
    }
    bail!("no server of {} could be used", listed.len())
}

fn service_of(shared: &Shared, id: usize) -> usize {
    id / shared.size.per_service
}

fn parameters(shared: &Shared, id: usize) -> String {
    let (service, number) = (service_of(shared, id), id % shared.size.per_service);
    let (name, ip) = (hosts::encoded_service(service), hosts::address(service, number));
    format!(
        "app=unknown&namespaceId=public&serviceName={name}&clusterName=DEFAULT&ip={ip}&port=8080&ephemeral=true"
    )
}

fn acknowledged(shared: &Shared, id: usize, node: usize) {
    let at = shared.now();
    if let Some(one) = shared.judge.borrow_mut().instance(id) {
        one.acknowledged(at, node);
    }
}

fn set_life(shared: &Shared, id: usize, life: Life) {
    if let Some(one) = shared.judge.borrow_mut().instance(id) {
        one.life = life;
    }
}
