//! Reads the list of one service from one node all the time, and subscribes to it by that.

use std::net::SocketAddr;
use std::rc::Rc;

use tokio::time::sleep;

use super::hosts::List;
use super::{READ_INTERVAL, Shared, hosts};
use crate::chaos::judge::{Channel, Seen, State};

/// Reads until the task is aborted.
pub(super) async fn read_for_ever(
    shared: Rc<Shared>,
    node: usize,
    service: usize,
    pushes_to: SocketAddr,
) {
    let path = path(service, Some(pushes_to));
    sleep(READ_INTERVAL.mul_f64(fastrand::f64())).await;
    loop {
        if shared.judge.borrow().state(node) != State::Down {
            read(&shared, node, service, &path).await;
        }
        sleep(READ_INTERVAL).await;
    }
}

/// The list of a service; with a subscription if pushes are wanted.
pub(super) fn path(service: usize, pushes_to: Option<SocketAddr>) -> String {
    let name = hosts::encoded_service(service);
    let subscription = pushes_to
        .map(|socket| format!("&udpPort={}&clientIP={}", socket.port(), socket.ip()))
        .unwrap_or_default();
    format!(
        "/nacos/v1/ns/instance/list?app=unknown&namespaceId=public&serviceName={name}&clusters=\
         &healthyOnly=false{subscription}"
    )
}

async fn read(shared: &Shared, node: usize, service: usize, path: &str) {
    let Some(address) = shared.address(node) else { return };
    let begun = shared.now();
    match shared.http.get(address, path).await {
        Ok(reply) if reply.status == 200 => match List::parse(&reply.body) {
            Some(list) if list.service == service => {
                let mut judge = shared.judge.borrow_mut();
                judge.call_succeeded();
                let (channel, received) = (Channel::Read, shared.now());
                let hosts = &list.hosts;
                judge.seen(&Seen { node, channel, service, begun, received, hosts });
            }
            _ => shared.call_failed(node, begun, "read: no list"),
        },
        Ok(reply) => {
            let text = String::from_utf8_lossy(&reply.body);
            let text: String = text.chars().take(100).collect();
            shared.call_failed(node, begun, &format!("read {}: {text}", reply.status));
        }
        Err(error) => shared.call_failed(node, begun, &format!("read: {error:#}")),
    }
}
