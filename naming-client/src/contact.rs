//! The first contact of a client: somebody has to be there, and to take the credentials.

use std::sync::Arc;

use tokio::task::JoinSet;

use crate::auth::NoToken;
use crate::call::Core;
use crate::error::{Attempt, Error};
use crate::servers::Server;

/// A server that is able to serve, over whatever is spoken.
pub(crate) async fn first_server(core: &Arc<Core>) -> Result<Arc<Server>, Error> {
    #[cfg(feature = "grpc")]
    if let Some(link) = &core.link {
        let deadline = tokio::time::Instant::now() + core.call_timeout;
        if let crate::grpc::Via::Grpc(session) = link.via(deadline, false).await? {
            return Ok(session.server.clone());
        }
    }
    first_ready(core).await
}

/// Asks all servers at once and takes the first that is ready.
async fn first_ready(core: &Arc<Core>) -> Result<Arc<Server>, Error> {
    let mut probes = JoinSet::new();
    for server in core.servers.all() {
        let core = core.clone();
        probes.spawn(async move { (core.probe(&core.http, &server).await, server) });
    }
    let mut attempts = Vec::new();
    while let Some(probed) = probes.join_next().await {
        // A probe ends without a result only when the runtime ends.
        let (outcome, server) = probed.map_err(|_| Error::ShutDown)?;
        let Err(failure) = outcome else { return Ok(server) };
        core.servers.failed(&server);
        attempts.push(Attempt { server: server.address.authority(), failure });
    }
    Err(Error::NoServer { attempts })
}

pub(crate) async fn log_in(core: &Core, server: &Server) -> Result<(), Error> {
    let Some(auth) = &core.auth else { return Ok(()) };
    match auth.token(&core.http, server, core.request_timeout).await {
        Ok(_) => Ok(()),
        Err(NoToken::Refused(error)) => Err(error),
        Err(NoToken::Failed(failure)) => {
            let attempt = Attempt { server: server.address.authority(), failure };
            Err(Error::NoServer { attempts: vec![attempt] })
        }
    }
}
