//! Settings of the port for consoles.

use serde::{Deserialize, Serialize};

/// The port for consoles.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConsoleConfig {
    /// Address to listen on. Default empty: that of the server (`bind`). A loopback address keeps
    /// other machines away.
    pub bind: String,
    /// TCP port on which the API for consoles (`/v3/console/*`, `/v3/auth/*`) is answered, without
    /// context path. Default 0: there is none. Servers of Nacos take 8080.
    pub port: u16,
}
