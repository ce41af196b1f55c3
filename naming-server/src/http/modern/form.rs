//! Parameters of the 2.x and 3.x APIs: read once into types, refused with the number of the
//! protocol and a text that names the parameter.

use std::borrow::Cow;

use naming_model::{GROUP_SEPARATOR, ServiceKey, check_cluster_name, is_unprintable};
use serde_json::{Value, json};

use super::error::{Code, Fault};
use crate::http::Call;
use crate::registry::{Page, check_port};
use crate::text::cut;

/// Bytes of a value that an error shows.
const MAX_SHOWN: usize = 64;
/// Items on a page unless the caller says how many.
pub(super) const DEFAULT_PAGE_SIZE: i64 = 100;

/// The value of a parameter that must be there, trimmed.
///
/// # Errors
/// 400/10000 if it is missing or blank.
pub(super) fn required<'a>(call: &Call<'a>, name: &str) -> Result<Cow<'a, str>, Fault> {
    call.params.optional(name).ok_or_else(|| Fault::missing(name))
}

/// A whole number that need not be there.
///
/// # Errors
/// 400/20002 for what is none.
pub(super) fn number(call: &Call<'_>, name: &str) -> Result<Option<i64>, Fault> {
    let number = |text: Cow<'_, str>| {
        text.parse().map_err(|_| {
            Fault::illegal(name, format_args!("it is no whole number: {}", shown(&text)))
        })
    };
    call.params.optional(name).map(number).transpose()
}

/// A flag that need not be there, in the words of the protocol.
///
/// # Errors
/// 400/20002 for what is neither true nor false.
pub(super) fn flag(call: &Call<'_>, name: &str) -> Result<Option<bool>, Fault> {
    let flag = |text: Cow<'_, str>| {
        let is_any = |words: [&str; 4]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
        if is_any(["true", "on", "yes", "1"]) {
            Ok(true)
        } else if is_any(["false", "off", "no", "0"]) {
            Ok(false)
        } else {
            let text = shown(&text);
            Err(Fault::illegal(name, format_args!("it is neither true nor false: {text}")))
        }
    };
    call.params.optional(name).map(flag).transpose()
}

/// A port that must be there.
///
/// # Errors
/// 400/10000 if it is missing, 400/20002 for what is no port.
pub(super) fn port(call: &Call<'_>) -> Result<u16, Fault> {
    required(call, "port")?;
    optional_port(call, "port")?.ok_or_else(|| Fault::missing("port"))
}

/// A port that need not be there.
pub(super) fn optional_port(call: &Call<'_>, name: &str) -> Result<Option<u16>, Fault> {
    let Some(port) = number(call, name)? else { return Ok(None) };
    let port = i32::try_from(port).unwrap_or(-1);
    Ok(Some(check_port(port)?))
}

/// The service of a request that names it without its group.
///
/// # Errors
/// 400/10000 if it is missing, 400/20002 for a grouped name and for what no name can be.
pub(super) fn service(call: &Call<'_>) -> Result<ServiceKey, Fault> {
    let name = required(call, "serviceName")?;
    if name.contains(GROUP_SEPARATOR) {
        let reason = "it has a group; give that as groupName";
        return Err(Fault::illegal("serviceName", reason));
    }
    any_service(call)
}

/// The service of a request that names it with its group.
///
/// # Errors
/// 400/10000 if it is missing, 400/20002 for a name without group and for what no name can be.
pub(super) fn grouped_service(call: &Call<'_>) -> Result<ServiceKey, Fault> {
    let name = required(call, "serviceName")?;
    if !name.contains(GROUP_SEPARATOR) {
        let reason = "it should be format as 'groupName@@serviceName'";
        return Err(Fault::illegal("serviceName", reason));
    }
    any_service(call)
}

/// The service of a request, named with or without its group. It is read as the check of rights
/// reads it.
pub(super) fn any_service(call: &Call<'_>) -> Result<ServiceKey, Fault> {
    let name = required(call, "serviceName")?;
    check_namespace(call)?;
    let service = call.service()?;
    check_group(&service, &name)?;
    service.check_printable()?;
    Ok(service)
}

fn check_group(service: &ServiceKey, name: &str) -> Result<(), Fault> {
    check_group_name(service.group())?;
    if name.starts_with('@') {
        return Err(Fault::illegal("serviceName", "it begins with '@'"));
    }
    Ok(())
}

/// Checks a group: letters, digits, `-`, `_`, `.` and `:`.
///
/// # Errors
/// 400/20002.
pub(super) fn check_group_name(group: &str) -> Result<(), Fault> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    match group.bytes().all(good) {
        true => Ok(()),
        false => Err(Fault::illegal("groupName", "it has other characters than 0-9a-zA-Z-_.:")),
    }
}

/// The namespace of a request: `public` if it names none.
///
/// # Errors
/// 400/20002 for what can be none.
pub(super) fn namespace<'a>(call: &'a Call<'_>) -> Result<Cow<'a, str>, Fault> {
    check_namespace(call)?;
    Ok(call.namespace())
}

fn check_namespace(call: &Call<'_>) -> Result<(), Fault> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    match call.namespace().bytes().all(good) {
        true => Ok(()),
        false => Err(Fault::illegal("namespaceId", "it has other characters than 0-9a-zA-Z-_")),
    }
}

/// The cluster of an instance.
///
/// # Errors
/// 400/20002 for what no cluster can be called.
pub(super) fn cluster<'a>(call: &Call<'a>, names: &[&str]) -> Result<Cow<'a, str>, Fault> {
    let given = names.iter().find_map(|name| call.params.optional(name));
    let cluster = given.unwrap_or(Cow::Borrowed(naming_model::DEFAULT_CLUSTER));
    check_cluster_name(&cluster)
        .map_err(|error| Fault::illegal("clusterName", format_args!("it is none: {error}")))?;
    Ok(cluster)
}

/// Clusters of a list, separated by commas, as asked for; empty for all.
///
/// # Errors
/// 400/20002 for what no cluster can be called.
pub(super) fn clusters<'a>(call: &Call<'a>, default: &'static str) -> Result<Cow<'a, str>, Fault> {
    let clusters = call.params.optional("clusterName").unwrap_or(Cow::Borrowed(default));
    let names = clusters.split(',').filter(|name| !name.is_empty());
    for name in names {
        check_cluster_name(name)
            .map_err(|error| Fault::illegal("clusterName", format_args!("it is none: {error}")))?;
    }
    Ok(clusters)
}

/// Which page of a list is asked for, and how it is said in the answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Paging {
    pub(super) number: i64,
    pub(super) size: i64,
}

impl Paging {
    /// From `pageNo` and `pageSize`.
    ///
    /// # Errors
    /// 400/20002 for what is no number or below 1.
    pub(super) fn of(call: &Call<'_>, size: i64) -> Result<Self, Fault> {
        let positive = |name, default| match number(call, name)?.unwrap_or(default) {
            number if number < 1 => Err(Fault::illegal(name, "it is below 1")),
            number => Ok(number),
        };
        Ok(Self { number: positive("pageNo", 1)?, size: positive("pageSize", size)? })
    }

    pub(super) fn page(self) -> Page {
        Page::new(self.number, self.size)
    }

    /// How many pages so many items make.
    fn pages_of(self, count: usize) -> u64 {
        (count as u64).div_ceil(u64::try_from(self.size).unwrap_or(1))
    }

    /// A page of items.
    pub(super) fn value(self, count: usize, items: Vec<Value>) -> Value {
        json!({
            "totalCount": count,
            "pageNumber": self.number,
            "pagesAvailable": self.pages_of(count),
            "pageItems": items,
        })
    }

    /// A page of items that are JSON already.
    pub(super) fn json(self, count: usize, items: &str) -> String {
        let (number, pages) = (self.number, self.pages_of(count));
        format!(
            "{{\"totalCount\":{count},\"pageNumber\":{number},\"pagesAvailable\":{pages},\
             \"pageItems\":{items}}}"
        )
    }
}

/// Checks a text that people read, such as the name of a namespace.
///
/// # Errors
/// 400 with this number for characters that cannot be seen and for `@#$%^&*`, which Nacos refuses.
pub(super) fn check_shown(parameter: &str, text: &str, code: Code) -> Result<(), Fault> {
    let bad = |c: char| is_unprintable(c) || "@#$%^&*".contains(c);
    match text.contains(bad) {
        false => Ok(()),
        true => {
            Err(Fault::illegal(parameter, "it has control characters or one of @#$%^&*")
                .numbered(code))
        }
    }
}

/// The beginning of a value, for an error.
pub(super) fn shown(text: &str) -> String {
    format!("\"{}\"", cut(text, MAX_SHOWN))
}
