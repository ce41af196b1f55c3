//! A Nacos-compatible service registry.
