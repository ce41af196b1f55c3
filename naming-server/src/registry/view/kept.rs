//! The rendered views that a service keeps.

use std::sync::Arc;

use super::super::query::{Flavour, ViewQuery};
use super::View;

/// The views of a service. Mostly there is one, which is found without another step.
pub(super) struct KeptViews {
    first: Kept,
    others: Vec<Kept>,
}

impl KeptViews {
    pub(super) fn find(&self, query: &ViewQuery<'_>) -> Option<&Kept> {
        if self.first.is_for(query) {
            return Some(&self.first);
        }
        self.others.iter().find(|kept| kept.is_for(query))
    }

    pub(super) fn to_vec(&self) -> Vec<Kept> {
        std::iter::once(&self.first).chain(&self.others).cloned().collect()
    }

    pub(super) fn from_vec(mut views: Vec<Kept>) -> Option<Arc<Self>> {
        let others = if views.len() > 1 { views.split_off(1) } else { Vec::new() };
        Some(Arc::new(Self { first: views.pop()?, others }))
    }
}

#[derive(Clone)]
pub(super) struct Kept {
    flavour: Flavour,
    healthy_only: bool,
    null_metadata: bool,
    clusters: Box<str>,
    pub(super) view: Arc<View>,
}

impl Kept {
    pub(super) fn new(query: &ViewQuery<'_>, view: &Arc<View>) -> Self {
        Self {
            flavour: query.flavour,
            healthy_only: query.healthy_only,
            null_metadata: query.null_metadata,
            clusters: query.clusters.into(),
            view: Arc::clone(view),
        }
    }

    pub(super) fn is_for(&self, query: &ViewQuery<'_>) -> bool {
        self.flavour == query.flavour
            && self.healthy_only == query.healthy_only
            && self.null_metadata == query.null_metadata
            && *self.clusters == *query.clusters
    }
}
