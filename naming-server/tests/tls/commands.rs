//! Commands that call a server within TLS.

use std::process::{Command, Output};

use naming_server::TlsMode;

use crate::pki::{Authority, Site};
use crate::server_support::TestServer;

#[test]
fn a_command_reads_from_a_server_that_it_trusts_and_from_no_other() {
    let site = Site::new();
    let server = TestServer::start_with(site.config(TlsMode::Required));
    let import = |authorities: &str| -> Output {
        Command::new(env!("CARGO_BIN_EXE_naming-server"))
            .args(["import", "--dry-run", "--from", &format!("https://{}", server.address)])
            .env("SSL_CERT_FILE", authorities)
            .env_remove("SSL_CERT_DIR")
            .output()
            .unwrap()
    };
    let read = import(&site.write("authorities.pem", &site.authority.pem));
    assert!(read.status.success(), "{read:?}");
    let refused = import(&site.write("others.pem", &Authority::new("others").pem));
    let text = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && text.contains("invalid peer certificate"), "{text}");
    let nobody = import("/nowhere");
    let text = String::from_utf8_lossy(&nobody.stderr);
    assert!(!nobody.status.success() && text.contains("no certificate authority"), "{text}");
}
