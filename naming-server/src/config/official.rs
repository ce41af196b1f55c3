//! The variables by which the image of Nacos is set up, as settings of this server.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, anyhow, bail, ensure};

use super::official_auth::translate_auth;
use super::official_tls::{translate_tls, why_ignored};
use super::variables::{Reader, Translation, Variables, is_service_link};

/// Port of consoles of Nacos 3.x.
const CONSOLE_PORT: &str = "8080";
/// Domain of Kubernetes clusters unless they were given another.
const CLUSTER_DOMAIN: &str = "cluster.local";

/// Beginnings of names of variables that have no meaning here, and why.
const WITHOUT_MEANING: &[(&str, &str)] = &[
    ("JVM_", NO_JAVA),
    ("JAVA_", NO_JAVA),
    ("NACOS_DEBUG", NO_JAVA),
    ("TOMCAT_", NO_JAVA),
    ("MYSQL_", NO_DATABASE),
    ("SPRING_DATASOURCE_", NO_DATABASE),
    ("EMBEDDED_STORAGE", NO_DATABASE),
    ("NACOS_REPLICAS", "the name of the service tells the members"),
    ("USE_ONLY_SITE_INTERFACES", USE_ADVERTISE),
    ("PREFERRED_NETWORKS", USE_ADVERTISE),
    ("IGNORED_INTERFACES", USE_ADVERTISE),
    ("NACOS_CONSOLE_", "the console has no such setting"),
    ("NACOS_SECURITY_IGNORE_URLS", "no path is exempt from authentication"),
    ("NACOS_AUTH_CACHE_ENABLE", "changes of users count at once"),
    ("NACOS_", "not known"),
];
const NO_JAVA: &str = "no Java here";
const NO_DATABASE: &str = "no database needed";
const USE_ADVERTISE: &str = "NACOS_SERVER_IP tells the address";

/// Translates the variables of the image of Nacos. `host_name` is what this machine is called.
///
/// # Errors
/// A value that cannot be read, a wish that this server cannot fulfil and must not ignore, or what
/// would be unsafe; the text names the variable and never shows a secret.
pub(super) fn translate(variables: &Variables, host_name: &str) -> Result<Translation> {
    let mut reader = Reader::new(variables);
    let mut target = Translation::default();
    translate_kind(&mut reader, &mut target)?;
    if let Some(port) = reader.either("NACOS_APPLICATION_PORT", "NACOS_SERVER_PORT")? {
        let is_port = port.parse::<u16>().is_ok_and(|port| port > 0);
        ensure!(is_port, "NACOS_APPLICATION_PORT must be a port from 1 to 65535, not {port:?}");
        target.settings.push(("port", port));
    }
    let path = reader.either("NACOS_SERVER_CONTEXTPATH", "SERVER_SERVLET_CONTEXTPATH")?;
    target.settings.extend(path.map(|path| ("context_path", path)));
    let is_member = translate_members(&mut reader, &mut target, host_name)?;
    translate_auth(&mut reader, &mut target, is_member)?;
    let of_tls = translate_tls(variables, &mut target, is_member)?;
    target.notes.extend(ignored(variables, |name| reader.has_used(name) || of_tls.contains(name)));
    Ok(target)
}

/// What the server is to be: with or without a console, and for what.
fn translate_kind(reader: &mut Reader<'_>, target: &mut Translation) -> Result<()> {
    match reader.text("FUNCTION_MODE").as_deref() {
        None | Some("naming") => {}
        Some("all") => target.notes.push(
            "FUNCTION_MODE=all: this server is a registry; configuration (/v1/cs) is not served"
                .to_owned(),
        ),
        Some(other) => bail!("FUNCTION_MODE={other:?} is not what this server does: naming"),
    }
    let kind = reader.text("NACOS_DEPLOYMENT_TYPE");
    let port = reader.text("NACOS_CONSOLE_PORT").unwrap_or_else(|| CONSOLE_PORT.to_owned());
    match kind.as_deref() {
        None | Some("merged") => target.settings.push(("console.port", port)),
        Some("server") => {}
        Some(other) => bail!(
            "NACOS_DEPLOYMENT_TYPE={other:?} is not possible here: merged (the console beside the \
             server) or server (without it)"
        ),
    }
    let path = reader.text("NACOS_CONSOLE_CONTEXTPATH");
    if let Some(path) = path.filter(|path| path != "/") {
        bail!("NACOS_CONSOLE_CONTEXTPATH={path:?}: the port of consoles has no context path");
    }
    Ok(())
}

/// Who the members are, and by what name this one is known. True if there are any.
fn translate_members(
    reader: &mut Reader<'_>,
    target: &mut Translation,
    host_name: &str,
) -> Result<bool> {
    let mode = reader.text("MODE");
    let mode = mode.as_deref();
    let is_known = matches!(mode, None | Some("standalone" | "cluster"));
    ensure!(is_known, "MODE must be standalone or cluster, not {:?}", mode.unwrap_or_default());
    let members = read_list(reader)?;
    let service = reader.text("SERVICE_NAME");
    let (namespace, domain) = (reader.text("POD_NAMESPACE"), reader.text("DOMAIN_NAME"));
    let prefers_name = match reader.text("PREFER_HOST_MODE").as_deref() {
        None | Some("ip") => false,
        Some("hostname") => true,
        Some(other) => bail!("PREFER_HOST_MODE must be hostname or ip, not {other:?}"),
    };
    let advertised = reader.text("NACOS_SERVER_IP");
    if mode == Some("standalone") {
        if !members.is_empty() {
            target.notes.push("MODE=standalone: the list of members is ignored".to_owned());
        }
        target.settings.extend(advertised.map(|address| ("advertise", address)));
        return Ok(false);
    }
    if !members.is_empty() {
        let own = advertised.or_else(|| own_entry(&members, host_name));
        let own = own.or_else(|| prefers_name.then(|| host_name.to_owned()));
        target.settings.push(("cluster.members", members.join(",")));
        target.settings.extend(own.map(|address| ("advertise", address)));
        return Ok(true);
    }
    if let Some(service) = service {
        let namespace = namespace.ok_or_else(|| {
            anyhow!("SERVICE_NAME needs POD_NAMESPACE: members are known by names that have both")
        })?;
        let domain = domain.unwrap_or_else(|| CLUSTER_DOMAIN.to_owned());
        let service = format!("{service}.{namespace}.svc.{domain}");
        let own = advertised.unwrap_or_else(|| format!("{host_name}.{service}"));
        target.settings.push(("cluster.dns_name", format!("_client._tcp.{service}")));
        target.settings.push(("advertise", own));
        return Ok(true);
    }
    ensure!(
        mode.is_none(),
        "MODE=cluster needs the members: NACOS_SERVERS, MEMBER_LIST or SERVICE_NAME"
    );
    target.notes.push(
        "neither MODE nor a list of members is set (NACOS_SERVERS, MEMBER_LIST): this server \
         serves alone"
            .to_owned(),
    );
    let own = advertised.or_else(|| prefers_name.then(|| host_name.to_owned()));
    target.settings.extend(own.map(|address| ("advertise", address)));
    Ok(false)
}

fn read_list(reader: &mut Reader<'_>) -> Result<Vec<String>> {
    let mut read = |name: &'static str| -> Vec<String> {
        let text = reader.text(name).unwrap_or_default();
        let parts = text.split(|c: char| c == ',' || c.is_whitespace());
        parts.filter(|part| !part.is_empty()).map(str::to_owned).collect()
    };
    let (servers, list) = (read("NACOS_SERVERS"), read("MEMBER_LIST"));
    let same = |list: &[String]| list.iter().cloned().collect::<BTreeSet<_>>();
    ensure!(
        servers.is_empty() || list.is_empty() || same(&servers) == same(&list),
        "NACOS_SERVERS and MEMBER_LIST name different members"
    );
    Ok(if servers.is_empty() { list } else { servers })
}

/// The one entry of a list that is this machine: by its name alone or with a domain behind it.
fn own_entry(members: &[String], host_name: &str) -> Option<String> {
    let is_own = |entry: &&String| {
        let entry = entry.split(['?', ':']).next().unwrap_or_default();
        entry.strip_prefix(host_name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    let mut own = members.iter().filter(is_own);
    let first = own.next().filter(|_| !host_name.is_empty())?;
    let entry = first.split('?').next().unwrap_or_default();
    own.next().is_none().then(|| entry.to_owned())
}

/// The line about variables without a meaning here, grouped by reason.
fn ignored(variables: &Variables, has_used: impl Fn(&str) -> bool) -> Option<String> {
    let mut groups: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, value) in variables {
        let is_set = !value.trim().is_empty() && !is_service_link(name, value);
        if !is_set || has_used(name) {
            continue;
        }
        let known = || WITHOUT_MEANING.iter().find(|(prefix, _)| name.starts_with(prefix));
        if let Some(reason) = why_ignored(name).or_else(|| known().map(|(_, reason)| *reason)) {
            groups.entry(reason).or_default().push(name);
        }
    }
    let parts: Vec<_> =
        groups.iter().map(|(reason, names)| format!("{} ({reason})", names.join(", "))).collect();
    (!parts.is_empty()).then(|| format!("variables without effect: {}", parts.join("; ")))
}

#[cfg(test)]
mod tests;
