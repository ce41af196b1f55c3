//! A Nacos-compatible service registry.

#[allow(dead_code, unused_imports, reason = "the handlers that use the rest are not there yet")]
mod http;
