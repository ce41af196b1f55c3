//! What the requests of the naming API have in common.

use std::borrow::Cow;
use std::net::IpAddr;

use naming_model::{DEFAULT_NAMESPACE, ServiceKey};

use crate::http::{ApiError, Call};
use crate::registry::MAX_ACTOR;
use crate::text::cut;

impl Call<'_> {
    /// The service the request is about: `serviceName`, or `dom` if that is blank, with the group
    /// of `groupName` or the default one put before it unless it has one.
    ///
    /// # Errors
    /// 400 if it is missing or no service name.
    pub(crate) fn service(&self) -> Result<ServiceKey, ApiError> {
        let name = match self.params.optional("serviceName") {
            Some(name) => name,
            None => match self.params.optional("dom") {
                Some(name) => name,
                // A blank name is not "missing", it is one without a service part.
                None => self.params.required("serviceName")?,
            },
        };
        let group = self.params.or("groupName", "");
        Ok(ServiceKey::grouping(&self.namespace(), &name, &group)?)
    }

    /// Whether the request is to the naming API.
    pub(crate) fn is_naming(&self) -> bool {
        let rest = self.path.strip_prefix("/v1/ns").filter(|_| self.under_context);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// The namespace the request is about.
    pub(crate) fn namespace(&self) -> Cow<'_, str> {
        self.params.or("namespaceId", DEFAULT_NAMESPACE)
    }

    /// Who calls, for events: address and agent, after the user and an `@` if that is known. No
    /// longer than events keep it, since an agent may be as long as a head.
    pub(crate) fn actor(&self) -> String {
        /// An IPv4 address and a blank; an IPv6 address makes the text grow once.
        const SHORT_ADDRESS: usize = 16;
        let agent = cut(self.agent.text, MAX_ACTOR);
        let mut actor = String::with_capacity(SHORT_ADDRESS + agent.len());
        if let Some(user) = self.user {
            actor.push_str(user);
            actor.push('@');
        }
        push_ip(&mut actor, self.peer.ip());
        if !agent.is_empty() {
            actor.push(' ');
            actor.push_str(agent);
        }
        actor
    }
}

/// Every new registration says who made it, so the usual form is written without formatting.
fn push_ip(out: &mut String, ip: IpAddr) {
    match ip {
        IpAddr::V4(ip) => {
            for (n, octet) in ip.octets().into_iter().enumerate() {
                if n > 0 {
                    out.push('.');
                }
                out.push_str(itoa::Buffer::new().format(octet));
            }
        }
        IpAddr::V6(ip) => out.push_str(&ip.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_as_they_are_displayed() {
        for text in ["0.0.0.0", "127.0.0.1", "10.20.255.9", "::1", "fe80::1"] {
            let mut out = String::new();
            push_ip(&mut out, text.parse().unwrap());
            assert_eq!(out, text);
        }
    }
}
