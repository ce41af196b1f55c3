//! What a row of the route table says: which request it is for, what its sender must be allowed,
//! whether it changes anything, whether that is taken down, and what handles it.
//!
//! A row is made by [`Row::open`], [`Row::read`] or [`Row::write`]: one that needs a right cannot
//! be made without, and a write not without saying whether it is taken down.

use super::error::Fault;
use crate::http::v1::{Api, Right};
use crate::http::{Answer, Call};

/// Answers a request.
pub(super) type Handler = fn(&Api, &Call<'_>) -> Result<Answer, Fault>;

/// One kind of request.
pub(crate) struct Row {
    pub(super) method: &'static str,
    /// Below the context path; on the console port there is none. One that ends in `/*` is for all
    /// paths below it.
    pub(super) path: &'static str,
    pub(super) class: Class,
    pub(super) gate: Gate,
    pub(super) handler: Handler,
}

/// What a request does.
#[derive(Debug, Clone, Copy)]
pub(super) enum Class {
    /// Tells what anybody may know, or refuses.
    Open,
    /// The same, but it makes its sender known or changes a server that nobody governs yet: it
    /// proves itself otherwise.
    OpenWrite(Audit),
    /// Reads.
    Read(Right),
    /// Changes something.
    Write(Right, Audit),
}

/// Whether a write is taken down as an administrative one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Audit {
    /// Under this name.
    As(&'static str),
    /// No: it is one of a client, of which the events tell, or a log-in.
    No,
}

/// When a request does not pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gate {
    /// It always passes: it is about this server.
    None,
    /// Not while an operator has closed the server.
    Status,
    /// Nor while this member knows too little.
    Registry,
}

impl Row {
    /// A row for everybody.
    pub(super) const fn open(method: &'static str, path: &'static str, handler: Handler) -> Self {
        Self { method, path, class: Class::Open, gate: Gate::None, handler }
    }

    /// A row for a write that proves itself otherwise.
    pub(super) const fn open_write(
        method: &'static str,
        path: &'static str,
        audit: Audit,
        handler: Handler,
    ) -> Self {
        Self { method, path, class: Class::OpenWrite(audit), gate: Gate::None, handler }
    }

    /// A row for a read.
    pub(super) const fn read(
        method: &'static str,
        path: &'static str,
        right: Right,
        handler: Handler,
    ) -> Self {
        Self { method, path, class: Class::Read(right), gate: Gate::None, handler }
    }

    /// A row for a write.
    pub(super) const fn write(
        method: &'static str,
        path: &'static str,
        right: Right,
        audit: Audit,
        handler: Handler,
    ) -> Self {
        Self { method, path, class: Class::Write(right, audit), gate: Gate::None, handler }
    }

    /// The same row behind the gate of the naming API.
    pub(super) const fn gated(self) -> Self {
        Self { gate: Gate::Registry, ..self }
    }

    /// The same row behind the half of the gate that an operator closes.
    pub(super) const fn gated_by_status(self) -> Self {
        Self { gate: Gate::Status, ..self }
    }

    /// What the sender must be allowed.
    pub(super) fn right(&self) -> Right {
        match self.class {
            Class::Open | Class::OpenWrite(_) => Right::Open,
            Class::Read(right) | Class::Write(right, _) => right,
        }
    }

    /// Whether it changes something although it is a GET.
    pub(super) fn changes_by_get(&self) -> bool {
        self.method == "GET" && matches!(self.class, Class::Write(..) | Class::OpenWrite(_))
    }

    /// The name under which it is taken down, if it is.
    pub(super) fn action(&self) -> Option<&'static str> {
        match self.class {
            Class::OpenWrite(Audit::As(name)) | Class::Write(_, Audit::As(name)) => Some(name),
            _ => None,
        }
    }
}
