//! The address endpoint: a place that tells where the servers are.

use std::sync::Arc;
use std::time::Duration;

use hyper::Method;
use tokio::sync::watch;

use crate::address::Address;
use crate::builder::MAX_SERVERS;
use crate::call::Core;
use crate::error::{Error, Failure};
use crate::http::Message;

/// How often it is asked.
const PERIOD: Duration = Duration::from_secs(30);
const DEFAULT_PATH: &str = "/nacos/serverlist";

/// Reads `host:port` or `http://host:port/path`.
pub(crate) fn parse(text: &str) -> Result<Address, Error> {
    let rest = text.trim().trim_start_matches("http://");
    let has_path = rest.find('/').is_some_and(|at| at + 1 < rest.len());
    let place = rest.trim_end_matches('/');
    let text = if has_path { text.to_owned() } else { format!("{place}{DEFAULT_PATH}") };
    text.parse()
}

/// Reads the list.
pub(crate) async fn read(core: &Core, endpoint: &Address) -> Result<Vec<Address>, Failure> {
    let message = Message { method: Method::GET, path: "", query: "", form: None, token: None };
    let sent = core.http.send(endpoint.base(), &message, core.request_timeout).await;
    let reply = sent.map_err(|error| Failure::Malformed(error.to_string()))??;
    if reply.status != 200 {
        return Err(Failure::Status { status: reply.status, message: reply.message() });
    }
    let text = String::from_utf8_lossy(&reply.body);
    let lines = text.split(['\r', '\n']).map(str::trim).filter(|line| !line.is_empty());
    let addresses: Result<Vec<Address>, Error> = lines.take(MAX_SERVERS).map(str::parse).collect();
    match addresses {
        Ok(addresses) if !addresses.is_empty() => Ok(addresses),
        Ok(_) => Err(Failure::Malformed("the list of servers is empty".to_owned())),
        Err(error) => Err(Failure::Malformed(error.to_string())),
    }
}

/// Reads the list from time to time until the client ends.
pub(crate) async fn follow(core: Arc<Core>, endpoint: Address, mut stop: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            // The sender is dropped with the client's last handle.
            _ = stop.changed() => return,
            () = tokio::time::sleep(PERIOD) => {}
        }
        match read(&core, &endpoint).await {
            Ok(addresses) => core.servers.replace(addresses),
            Err(failure) => tracing::warn!(endpoint = %endpoint.authority(), %failure,
                "the address endpoint does not answer, keeping the servers known"),
        }
    }
}
