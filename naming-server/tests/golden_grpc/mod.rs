//! Replay of the transcripts that clients of 2.x and 3.x are part of: gRPC steps beside the HTTP and
//! UDP steps of `golden_support`, in one story.
//!
//! A connection ([`connection`]) speaks gRPC over h2, with messages of [`payload`], through a
//! [`relay`] that can reset, freeze and watch it. What a step may say is in [`step`], how bodies are
//! compared in [`latitude`], and [`story`] carries the steps out.

pub(crate) mod connection;
pub(crate) mod inbox;
pub(crate) mod latitude;
pub(crate) mod payload;
pub(crate) mod relay;
pub(crate) mod sdk;
pub(crate) mod step;
pub(crate) mod story;
pub(crate) mod template;
