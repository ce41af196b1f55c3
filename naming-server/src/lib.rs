//! A Nacos-compatible service registry.

// Nothing calls the pusher before the registry is there.
#[allow(dead_code)]
mod push;
