//! The console: one page with its parts, embedded in the program.
//!
//! The page keeps its token itself and sends it in a header, never as a cookie: a page of somebody
//! else cannot make a browser send it. Scripts and styles come from this server alone, and nothing
//! stands in the page itself ([`POLICY`]). The parts change with the program only, so a browser asks
//! whether its copy is still good and is answered 304.

use std::io::Write;
use std::sync::LazyLock;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, ETAG, HeaderName,
    HeaderValue, IF_NONE_MATCH, LOCATION, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use hyper::{HeaderMap, StatusCode};
use sha2::{Digest, Sha256};

use super::reply::ContentType;
use super::{Answer, Call, Reply, no_such_api};

/// What the page may do: run scripts and use styles of this server, and call it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src 'self' data:; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";
/// What the page says of the API that it calls, and what it says on the port for consoles.
const ON_MAIN: &str = "data-api=\"admin\"";
const ON_CONSOLE: &str = "data-api=\"console\"";

/// The name of a part, its type and its bytes.
type Source = (&'static str, ContentType, &'static [u8]);

macro_rules! part {
    ($name:literal, $kind:ident) => {
        (
            $name,
            ContentType::$kind,
            include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/console/", $name)),
        )
    };
}

/// The parts of the page below `/console/`.
const PARTS: &[Source] = &[
    part!("style.css", Style),
    part!("icon.svg", Svg),
    part!("main.js", Script),
    part!("api.js", Script),
    part!("dom.js", Script),
    part!("dialog.js", Script),
    part!("table.js", Script),
    part!("text.js", Script),
    part!("chinese.js", Script),
    part!("login.js", Script),
    part!("overview.js", Script),
    part!("services.js", Script),
    part!("service.js", Script),
    part!("service-writes.js", Script),
    part!("events.js", Script),
    part!("clients.js", Script),
    part!("cluster.js", Script),
    part!("accounts.js", Script),
    part!("settings.js", Script),
];
const PAGE: &str = include_str!("../../console/index.html");

/// All parts, ready to be sent.
static READY: LazyLock<Parts> = LazyLock::new(|| Parts {
    page: Part::new(ContentType::Html, PAGE.as_bytes().to_vec()),
    console_page: Part::new(ContentType::Html, PAGE.replace(ON_MAIN, ON_CONSOLE).into_bytes()),
    others: PARTS
        .iter()
        .map(|(name, kind, bytes)| (*name, Part::new(*kind, bytes.to_vec())))
        .collect(),
});

struct Parts {
    page: Part,
    console_page: Part,
    others: Vec<(&'static str, Part)>,
}

/// A part, compressed once.
struct Part {
    kind: ContentType,
    plain: Bytes,
    compressed: Bytes,
    /// What tells this version of the part from others, without quotes.
    tag: String,
}

/// The page and its parts on the port of clients, below the context path. Elsewhere the way leads
/// there: the page finds its parts and the API from where it is.
pub(super) fn answer(call: &Call<'_>, context_path: &str) -> Reply {
    if !call.under_context {
        return redirect(&format!("{context_path}/"));
    }
    match call.path {
        "/" if !call.uri.ends_with('/') => redirect(&format!("{}/", call.uri)),
        "/" | "/index.html" => READY.page.reply(call.headers),
        path => part(call, path),
    }
}

/// The same on the port for consoles, where there is no context path.
pub(super) fn answer_on_console(call: &Call<'_>) -> Answer {
    match call.path {
        "/" | "/index.html" => READY.console_page.reply(call.headers).into(),
        path => part(call, path).into(),
    }
}

fn part(call: &Call<'_>, path: &str) -> Reply {
    let name = path.strip_prefix("/console/").unwrap_or_default();
    let found = READY.others.iter().find(|(known, _)| *known == name);
    found.map_or_else(|| no_such_api(call), |(_, part)| part.reply(call.headers))
}

/// The address may have any characters that a path can have, so it is one of a header, too.
fn redirect(to: &str) -> Reply {
    let reply = Reply::text("").with_status(StatusCode::FOUND);
    match HeaderValue::from_str(to) {
        Ok(to) => reply.with_header(LOCATION, to),
        Err(_) => reply.with_status(StatusCode::NOT_FOUND),
    }
}

impl Part {
    fn new(kind: ContentType, plain: Vec<u8>) -> Self {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        // Writing to memory does not fail; were it to, the part would be sent as it is.
        let written = encoder.write_all(&plain).and_then(|()| encoder.finish());
        let digest = Sha256::digest(&plain);
        let tag = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Self { kind, compressed: written.unwrap_or_default().into(), plain: plain.into(), tag }
    }

    fn reply(&self, headers: &HeaderMap) -> Reply {
        let text = |name: HeaderName| {
            headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
        };
        let is_compressed = !self.compressed.is_empty() && takes_gzip(text(ACCEPT_ENCODING));
        let tag = format!("\"{}{}\"", self.tag, if is_compressed { "-gzip" } else { "" });
        let is_known = text(IF_NONE_MATCH).split(',').any(|known| is_same(known, &tag));
        let reply = match (is_known, is_compressed) {
            (true, _) => Reply::part(self.kind, Bytes::new()).with_status(StatusCode::NOT_MODIFIED),
            (false, true) => Reply::part(self.kind, self.compressed.clone())
                .with_header(CONTENT_ENCODING, HeaderValue::from_static("gzip")),
            (false, false) => Reply::part(self.kind, self.plain.clone()),
        };
        let guards = [
            (CONTENT_SECURITY_POLICY, POLICY),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (X_FRAME_OPTIONS, "DENY"),
            (REFERRER_POLICY, "no-referrer"),
            (CACHE_CONTROL, "no-cache"),
            (VARY, "Accept-Encoding"),
        ];
        let reply = guards.into_iter().fold(reply, |reply, (name, value)| {
            reply.with_header(name, HeaderValue::from_static(value))
        });
        match HeaderValue::from_str(&tag) {
            Ok(tag) => reply.with_header(ETAG, tag),
            Err(_) => reply,
        }
    }
}

/// Whether a copy is the one with this tag. Proxies that compress may have weakened it.
fn is_same(known: &str, tag: &str) -> bool {
    let known = known.trim();
    known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag
}

/// Whether `Accept-Encoding` names gzip and does not rule it out.
fn takes_gzip(accepted: &str) -> bool {
    accepted.split(',').any(|one| {
        let mut parts = one.split(';').map(str::trim);
        let is_gzip = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        let is_ruled_out = parts.any(|weight| {
            let weight = weight.strip_prefix("q=").and_then(|weight| weight.parse::<f32>().ok());
            weight == Some(0.0)
        });
        is_gzip && !is_ruled_out
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Compressed bytes of the page and all its parts.
    const MOST_BYTES: usize = 150 << 10;
    /// Ways by which a text of the registry could come to be read as HTML or run.
    const FORBIDDEN: &[&str] = &[
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "createContextualFragment",
        "DOMParser",
        "setHTML",
        "srcdoc",
        "eval(",
        "new Function",
        "javascript:",
        "document.cookie",
        "localStorage.setItem('token",
    ];

    fn text_of((name, _, bytes): &Source) -> (&'static str, &'static str) {
        (name, std::str::from_utf8(bytes).unwrap())
    }

    #[test]
    fn no_text_is_ever_read_as_html() {
        let files = PARTS.iter().map(text_of).chain([("index.html", PAGE)]);
        for (name, text) in files {
            for forbidden in FORBIDDEN {
                assert!(!text.contains(forbidden), "{name} has {forbidden}");
            }
        }
        // The policy forbids what stands in the page itself.
        for inline in ["<style", " style=", " onclick", " onload", "<script>"] {
            assert!(!PAGE.contains(inline), "index.html has {inline}");
        }
    }

    /// The texts between `t('` and the next quote.
    fn said(text: &str) -> impl Iterator<Item = &str> {
        text.split("t('").skip(1).filter_map(|rest| {
            let (said, rest) = rest.split_once('\'')?;
            rest.starts_with([')', ',']).then_some(said)
        })
    }

    #[test]
    fn each_text_has_its_chinese() {
        let texts: Vec<_> = PARTS.iter().map(text_of).collect();
        let (_, chinese) = texts.iter().find(|(name, _)| *name == "chinese.js").unwrap();
        let scripts = texts.iter().filter(|(name, _)| name.ends_with(".js"));
        let all: BTreeSet<&str> = scripts.flat_map(|(_, text)| said(text)).collect();
        let said_by = |text: &str| all.iter().any(|said| *said == text);
        assert!(said_by("Take offline") && all.len() > 200, "{}", all.len());
        let known = |text: &&&str| chinese.contains(&format!("\n  '{text}': '"));
        let missing: Vec<_> = all.iter().filter(|text| !known(text)).collect();
        assert!(missing.is_empty(), "{missing:?}");
        let lines = chinese.lines().filter_map(|line| line.strip_prefix("  '")?.split_once("': '"));
        let unused: Vec<_> = lines.map(|(text, _)| text).filter(|text| !said_by(text)).collect();
        assert!(unused.is_empty(), "{unused:?}");
    }

    #[test]
    fn the_whole_console_is_small_and_each_file_is_served() {
        let parts = READY.others.iter().map(|(_, part)| part).chain([&READY.page]);
        let bytes: usize = parts.map(|part| part.compressed.len()).sum();
        assert!(bytes < MOST_BYTES, "{bytes}");
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/console");
        let files: BTreeSet<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        let served = PARTS.iter().map(|(name, ..)| (*name).to_owned());
        assert_eq!(files, served.chain(["index.html".to_owned()]).collect());
    }

    #[test]
    fn the_page_says_which_api_its_port_has() {
        assert_eq!(PAGE.matches(ON_MAIN).count(), 1);
        assert!(std::str::from_utf8(&READY.console_page.plain).unwrap().contains(ON_CONSOLE));
    }

    #[test]
    fn gzip_is_sent_to_those_who_take_it() {
        for takes in ["gzip", "deflate, GZIP;q=0.5", "br, gzip"] {
            assert!(takes_gzip(takes), "{takes}");
        }
        for not in ["", "br", "gzip;q=0", "gzip; q=0.0", "xgzip"] {
            assert!(!takes_gzip(not), "{not}");
        }
    }
}
