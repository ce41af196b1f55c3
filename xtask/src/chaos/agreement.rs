//! Whether all nodes hold the same.

use std::time::Duration;

use super::judge::At;
use super::load::{Load, fetch_text};

/// What the metric is called.
const DIGEST: &str = "distro_digest{value=\"";
/// Between looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// So many looks in a row have to find agreement.
const LOOKS: u32 = 3;
/// After that it counts as never.
const LIMIT: Duration = Duration::from_secs(120);

/// Waits until all `nodes` show the same digest, and says how long after `since` that was; `None`
/// if it does not come to pass in two minutes.
pub(super) async fn wait(load: &Load, nodes: &[usize], since: At) -> Option<Duration> {
    let mut first = None;
    let mut agreed = 0;
    while load.shared.now() < since + LIMIT {
        let looked = load.shared.now();
        if is_equal(load, nodes).await {
            agreed += 1;
            let first = *first.get_or_insert(looked);
            if agreed == LOOKS {
                return Some(first.saturating_sub(since));
            }
        } else {
            (first, agreed) = (None, 0);
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
    None
}

async fn is_equal(load: &Load, nodes: &[usize]) -> bool {
    let mut digests = Vec::new();
    for &node in nodes {
        let text = fetch_text(&load.shared, node, "/metrics").await;
        digests.push(text.as_deref().and_then(digest).map(str::to_owned));
    }
    digests.iter().all(|digest| digest.is_some() && *digest == digests[0])
}

/// The digest on a page of metrics.
fn digest(page: &str) -> Option<&str> {
    let line = page.lines().find_map(|line| line.strip_prefix(DIGEST))?;
    Some(line.split_once('"')?.0)
}

/// Whether every node lists every living instance of each service as healthy.
pub(super) async fn is_complete(load: &Load, nodes: &[usize]) -> bool {
    let size = load.size();
    for &node in nodes {
        for service in 0..size.services {
            if load.healthy(node, service).await != Some(size.per_service) {
                return false;
            }
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_stands_on_the_page() {
        let page = "# TYPE distro_digest gauge\ndistro_digest{value=\"00ff\"} 1\nother 2\n";
        assert_eq!(digest(page), Some("00ff"));
        assert_eq!(digest("other 2\n"), None);
    }
}
