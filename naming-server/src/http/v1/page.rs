//! The start page and what is refused with a hint.

use super::Api;
use crate::http::{ApiError, Call, Reply, escape_html};
use crate::registry::CLASS_INSTANCE;

impl Api {
    pub(super) fn page(&self, call: &Call<'_>) -> Result<Reply, ApiError> {
        // Links work below the context path and without it.
        let context = call.uri.trim_end_matches("/index.html").trim_end_matches('/');
        let context = if call.under_context { context } else { &*self.context_path };
        let rows = [
            ("version", env!("CARGO_PKG_VERSION").to_owned()),
            ("address", self.address.to_string()),
            ("status", self.registry.switches.load().status().name().to_owned()),
            ("up for", uptime(self.started.instant.elapsed().as_secs())),
            ("services", self.registry.service_count().to_string()),
            ("instances", self.registry.store.visible_count(CLASS_INSTANCE).to_string()),
        ];
        let row = |(name, value): &(&str, String)| {
            format!("<tr><th>{name}</th><td>{}</td></tr>\n", escape_html(value))
        };
        let rows: String = rows.iter().map(row).collect();
        let context = escape_html(context);
        Ok(Reply::html(format!(
            "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
             <title>naming-server</title>\n<style>{STYLE}</style></head>\n<body>\
             <h1>naming-server</h1>\n<p>A service registry for Nacos 1.x clients.</p>\n\
             <table>\n{rows}</table>\n<ul>\n\
             <li><a href=\"/metrics\">Metrics</a></li>\n\
             <li><a href=\"{context}/v1/ns/operator/events\">Why instances came and went</a></li>\n\
             <li><a href=\"{context}/v1/ns/operator/switches\">Switches</a></li>\n\
             <li><a href=\"{context}/v1/core/cluster/nodes\">Members</a></li>\n</ul>\n\
             <p>Documentation: README.md, docs/http-api.md and docs/configuration.md of the \
             source.</p>\n</body></html>\n"
        )))
    }

    /// That a configuration has changed is nothing to this server. Another one that says so would
    /// repeat it for ever if it were refused.
    pub(super) fn answer_configuration(&self, call: &Call<'_>) -> Result<Reply, ApiError> {
        if self.nacos.is_some() && call.path == "/v1/cs/communication/dataChange" {
            return Ok(Reply::json("true"));
        }
        let text = "this is a naming server; it does not offer configuration (/v1/cs)";
        Err(ApiError::not_found(text))
    }
}

const STYLE: &str = "body{font-family:sans-serif;margin:2em}th{text-align:left;padding-right:2em}";

fn uptime(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uptime_is_short() {
        let texts = [59, 60, 3_700, 90_000].map(uptime);
        assert_eq!(texts, ["59 s", "1 min", "1 h 1 min", "1 d 1 h"]);
    }
}
