//! What clients ask: lists of instances, with or without hearing of their changes, and of services.

use std::time::Duration;

use naming_model::{GROUP_SEPARATOR, ServiceKey};

use super::{Access, Caller, Naming, NamingError, Need};
use crate::push::{Pusher, SubscribeRefused, Subscriber};
use crate::registry::{
    Action, GroupFilter, MetadataFilter, Page, ServerStatus, ServiceInfo, View, ViewQuery,
    names_json,
};

/// What a list is asked for with.
pub(crate) struct Asked<'a> {
    pub(crate) service: &'a ServiceKey,
    pub(crate) query: ViewQuery<'a>,
    /// The subscriber that wants to hear of changes; `None` to ask once.
    pub(crate) subscriber: Option<Subscriber>,
}

/// Which list is asked for as clients of 2.x and 3.x read it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct InfoQuery<'a> {
    /// Separated by commas; all if it is blank.
    pub(crate) clusters: &'a str,
    pub(crate) healthy_only: bool,
    /// Whether the caller acts by the list, so that an empty one must be the truth.
    pub(crate) is_believed: bool,
}

/// Which names of services are asked for.
pub(crate) struct ServiceNames<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) group: GroupFilter<'a>,
    pub(crate) filter: Option<&'a MetadataFilter>,
    pub(crate) page: Page,
}

impl Naming {
    /// Reads the view of a service, `None` if there is no such service; `read` must be quick. A
    /// subscriber is noted first: a change in between is in the view, or is pushed. `read` also
    /// gets after how many milliseconds the client should ask again: later if it is told of
    /// changes.
    ///
    /// # Errors
    /// The gate is closed; the caller may not read the service; its instances are not known yet.
    pub(crate) fn list<R>(
        &self,
        caller: &Caller<'_>,
        asked: Asked<'_>,
        read: impl FnOnce(Option<&View>, u64) -> R,
    ) -> Result<R, NamingError> {
        let Asked { service, query, subscriber } = asked;
        self.enter(caller, Access::Read, &Need::Service(Action::Read, service))?;
        let cache_ms = self.subscribe(subscriber);
        self.check_recovered(service)?;
        Ok(self.registry.read_view(service, &query, |view| read(view, cache_ms)))
    }

    /// Checks that an empty list of this service would be the truth, after a start that does not
    /// know what was known before.
    ///
    /// # Errors
    /// Its clients had no time to send a beat yet.
    pub(crate) fn check_recovered(&self, service: &ServiceKey) -> Result<(), NamingError> {
        match self.registry.may_miss_all_of(service) {
            true => Err(NamingError::Closed(ServerStatus::Starting)),
            false => Ok(()),
        }
    }

    /// Notes a subscriber, if there is one, and gives the milliseconds until it should ask again.
    pub(crate) fn subscribe(&self, subscriber: Option<Subscriber>) -> u64 {
        let switches = self.registry.switches.load();
        let Some(subscriber) = subscriber.filter(|_| switches.push_enabled) else {
            return switches.default_cache_ms;
        };
        let lifetime = Duration::from_millis(switches.push_cache_ms);
        match self.pusher.subscribe(subscriber, lifetime) {
            Ok(()) => switches.push_cache_ms,
            // Too many subscribe: this one polls.
            Err(_) => switches.default_cache_ms,
        }
    }

    /// One page of names of services as JSON, with their number; `None` if that is more than `most`
    /// bytes.
    ///
    /// # Errors
    /// The gate is closed; the caller may not read the namespace; another caller looks at
    /// everything.
    pub(crate) fn list_services(
        &self,
        caller: &Caller<'_>,
        names: &ServiceNames<'_>,
        most: usize,
    ) -> Result<Option<String>, NamingError> {
        let ServiceNames { namespace, group, filter, page } = names;
        self.enter(caller, Access::Read, &Need::Namespace(Action::Read, namespace))?;
        let _look = filter.map(|_| self.look_at_all()).transpose()?;
        Ok(names_json(&self.registry.index, namespace, *group, *page, *filter, most))
    }

    /// The list of a service as clients of 2.x and 3.x read it. `subscribe` is asked first, as in
    /// [`Self::list`]; a caller that asks once gives one that does nothing.
    ///
    /// # Errors
    /// The gate is closed; the caller may not read the service; its instances are not known yet;
    /// `subscribe` refuses, for another reason than that nothing is pushed at all: clients poll then.
    pub(crate) fn service_info(
        &self,
        caller: &Caller<'_>,
        service: &ServiceKey,
        asked: InfoQuery<'_>,
        subscribe: impl FnOnce(&Pusher) -> Result<(), SubscribeRefused>,
    ) -> Result<ServiceInfo, NamingError> {
        self.enter(caller, Access::Read, &Need::Service(Action::Read, service))?;
        let InfoQuery { clusters, healthy_only, is_believed } = asked;
        if is_believed {
            self.check_recovered(service)?;
        }
        match subscribe(&self.pusher) {
            Ok(()) | Err(SubscribeRefused::Disabled) => {}
            Err(refused) => return Err(NamingError::Subscriptions(refused)),
        }
        Ok(self.registry.service_info(service, clusters, healthy_only))
    }

    /// One page of the names of services, without their groups, and how many there are.
    ///
    /// # Errors
    /// The gate is closed; the caller may not read the namespace.
    pub(crate) fn service_names(
        &self,
        caller: &Caller<'_>,
        namespace: &str,
        group: &str,
        page: Page,
    ) -> Result<(usize, Vec<String>), NamingError> {
        self.enter(caller, Access::Read, &Need::Namespace(Action::Read, namespace))?;
        let mut names = Vec::new();
        let count =
            self.registry.index.names(namespace, GroupFilter::One(group), page, |_, rest, _| {
                names.push(rest.split(GROUP_SEPARATOR).next().unwrap_or_default().to_owned());
            });
        Ok((count, names))
    }
}
