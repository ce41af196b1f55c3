//! The secret that members share, read again while the server runs.

use std::sync::Arc;
use std::time::Duration;

use distro_net::Secret;
use tokio_util::sync::CancellationToken;

use crate::config::ClusterConfig;
use crate::http::v1::Api;

/// From one look at the files to the next.
const PERIOD: Duration = Duration::from_secs(1);

/// Follows the files with the secret, until `shutdown`. What cannot be read, or is too short,
/// changes nothing: being out of the cluster would be worse.
pub(crate) async fn follow_secret(
    api: Arc<Api>,
    settings: ClusterConfig,
    shutdown: CancellationToken,
) {
    let mut trouble = None;
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(PERIOD) => {}
        }
        match look(&settings).await {
            Ok(secret) => {
                if api.change_secret(secret) {
                    tracing::info!(
                        "the secret of the cluster has changed: this member proves itself by it"
                    );
                }
                trouble = None;
            }
            Err(error) => {
                let text = format!("{error:#}");
                if trouble.as_ref() != Some(&text) {
                    tracing::warn!("the secret of the cluster stays as it was: {text}");
                }
                trouble = Some(text);
            }
        }
    }
}

/// Two looks that agree, so that a file which is just being written is not taken by halves.
async fn look(settings: &ClusterConfig) -> anyhow::Result<Secret> {
    const AGAIN: Duration = Duration::from_millis(100);
    let first = read(settings).await?;
    tokio::time::sleep(AGAIN).await;
    let second = read(settings).await?;
    anyhow::ensure!(first.is_same(&second), "it is just being changed");
    Ok(second)
}

async fn read(settings: &ClusterConfig) -> anyhow::Result<Secret> {
    let settings = settings.clone();
    tokio::task::spawn_blocking(move || settings.read_secret()).await?
}
