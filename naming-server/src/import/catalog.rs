//! Reading what a server has, page by page.

use std::collections::BTreeMap;

use naming_model::GROUP_SEPARATOR;

use super::answers::{
    GroupPage, Instance, InstancePage, Names, NamespaceEntry, Namespaces, Service, ServicePage,
};
use crate::remote::{CallError, Remote};

const NAMESPACES: &str = "/v1/console/namespaces";
/// Services or instances on a page.
pub(super) const PAGE_SIZE: usize = 500;
/// Pages of one list; more are not read.
const MAX_PAGES: usize = 10_000;
/// Times a list is read until all of it was seen: what goes meanwhile moves others to pages that
/// were read already.
const PASSES: usize = 3;

/// A list as it was read.
#[derive(Debug)]
pub(super) struct Listed<T> {
    pub(super) items: Vec<T>,
    /// How many more there should have been.
    pub(super) missing: usize,
}

/// A service of a namespace.
#[derive(Debug, Clone, Copy)]
pub(super) struct ServiceName<'a> {
    pub(super) namespace: &'a str,
    /// `group@@service`.
    pub(super) grouped: &'a str,
}

impl ServiceName<'_> {
    /// As parameters, of reads and writes.
    pub(super) fn parameters(&self) -> [(&str, &str); 2] {
        [("namespaceId", self.namespace), ("serviceName", self.grouped)]
    }
}

impl Remote {
    /// The namespaces that have a name.
    pub(super) async fn namespaces(&self) -> Result<Vec<NamespaceEntry>, CallError> {
        Ok(self.read::<Namespaces>(NAMESPACES, &[]).await?.data)
    }

    /// One of them, with its description.
    pub(super) async fn namespace(&self, id: &str) -> Result<Option<NamespaceEntry>, CallError> {
        self.find(NAMESPACES, &[("show", "all"), ("namespaceId", id)]).await
    }

    /// The namespaces that have services, with a name or without.
    pub(super) async fn used_namespaces(&self) -> Result<Vec<String>, CallError> {
        Ok(self.read::<Names>("/v1/ns/service/names", &[]).await?.services.into_keys().collect())
    }

    /// The grouped names of the services of a namespace, in order.
    pub(super) async fn services(&self, namespace: &str) -> Result<Listed<String>, CallError> {
        let page = async |number: usize| {
            let (number, size) = (number.to_string(), PAGE_SIZE.to_string());
            let query = [("namespaceId", namespace), ("pageNo", &number), ("pageSize", &size)];
            let page: ServicePage = self.read("/v1/ns/catalog/services", &query).await?;
            Ok((page.service_list.iter().map(|entry| entry.grouped()).collect(), page.count))
        };
        all_pages(String::clone, page).await
    }

    /// The grouped names that go on after this one with another separator: only the list of a group
    /// shows them whole.
    pub(super) async fn longer_names(
        &self,
        name: ServiceName<'_>,
    ) -> Result<Vec<String>, CallError> {
        let Some((group, service)) = name.grouped.split_once(GROUP_SEPARATOR) else {
            return Ok(Vec::new());
        };
        let page = async |number: usize| {
            let (number, size) = (number.to_string(), PAGE_SIZE.to_string());
            let query = [
                ("namespaceId", name.namespace),
                ("groupName", group),
                ("pageNo", &number),
                ("pageSize", &size),
            ];
            let page: Option<GroupPage> = self.find("/v1/ns/service/list", &query).await?;
            Ok(page.map_or((Vec::new(), 0), |page| (page.doms, page.count)))
        };
        let listed = all_pages(String::clone, page).await?.items.into_iter();
        let start = format!("{service}{GROUP_SEPARATOR}");
        let longer = listed.filter(|service| service.starts_with(&start));
        Ok(longer.map(|service| format!("{group}{GROUP_SEPARATOR}{service}")).collect())
    }

    /// Settings of a service and its clusters.
    pub(super) async fn service(
        &self,
        name: ServiceName<'_>,
    ) -> Result<Option<Service>, CallError> {
        self.find("/v1/ns/catalog/service", &name.parameters()).await
    }

    /// The instances of a cluster; none if it is not there.
    pub(super) async fn instances(
        &self,
        name: ServiceName<'_>,
        cluster: &str,
    ) -> Result<Listed<Instance>, CallError> {
        let page = async |number: usize| {
            let (number, size) = (number.to_string(), PAGE_SIZE.to_string());
            let [namespace, service] = name.parameters();
            let query = [
                namespace,
                service,
                ("clusterName", cluster),
                ("pageNo", &number),
                ("pageSize", &size),
            ];
            let page: Option<InstancePage> = self.find("/v1/ns/catalog/instances", &query).await?;
            Ok(page.map_or((Vec::new(), 0), |page| (page.list, page.count)))
        };
        let key = |one: &Instance| (one.ip.clone(), one.port, one.ephemeral);
        all_pages(key, page).await
    }
}

/// Reads pages, counted from 1, until all items that the server counts were seen.
pub(super) async fn all_pages<T, K: Ord>(
    key: impl Fn(&T) -> K,
    page: impl AsyncFn(usize) -> Result<(Vec<T>, usize), CallError>,
) -> Result<Listed<T>, CallError> {
    let mut found = BTreeMap::new();
    let mut missing = 0;
    for _ in 0..PASSES {
        let (mut read, mut announced) = (0, 0);
        for number in 1..=MAX_PAGES {
            let (items, count) = page(number).await?;
            // Beyond the end Nacos counts 0.
            announced = count.max(announced);
            read += items.len();
            let is_end = items.is_empty() || read >= announced;
            found.extend(items.into_iter().map(|item| (key(&item), item)));
            if is_end {
                break;
            }
        }
        missing = announced.saturating_sub(found.len());
        if missing == 0 {
            break;
        }
    }
    Ok(Listed { items: found.into_values().collect(), missing })
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn read(page: impl AsyncFn(usize) -> Result<(Vec<u32>, usize), CallError>) -> Listed<u32> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(all_pages(|item| *item, page)).unwrap()
    }

    #[test]
    fn all_pages_are_read_once() {
        let calls = Cell::new(0);
        let listed = read(async |number| {
            calls.set(calls.get() + 1);
            Ok(((0..7).skip((number - 1) * 3).take(3).collect(), 7))
        });
        assert_eq!((listed.items, listed.missing, calls.get()), ((0..7).collect(), 0, 3));
        let listed = read(async |_| Ok((Vec::new(), 0)));
        assert_eq!((listed.items.len(), listed.missing), (0, 0));
    }

    #[test]
    fn what_moves_to_an_earlier_page_is_found_the_next_time() {
        // After the first page the first item goes.
        let calls = Cell::new(0);
        let listed = read(async |number| {
            calls.set(calls.get() + 1);
            let from = u32::from(calls.get() > 1);
            let left: Vec<u32> = (from..8).collect();
            let count = left.len();
            Ok((left.into_iter().skip((number - 1) * 4).take(4).collect(), count))
        });
        assert_eq!((listed.items, listed.missing), ((0..8).collect(), 0));
    }

    #[test]
    fn a_count_that_is_never_reached_is_told() {
        let listed = read(async |number| Ok((if number == 1 { vec![1, 2] } else { vec![] }, 5)));
        assert_eq!((listed.items, listed.missing), (vec![1, 2], 3));
        // Whatever the page: as many as it counts are read.
        let calls = Cell::new(0);
        let listed = read(async |_| {
            calls.set(calls.get() + 1);
            Ok((vec![1, 2], 5))
        });
        assert_eq!((listed.items, listed.missing, calls.get()), (vec![1, 2], 3, 9));
    }
}
