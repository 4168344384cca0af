//! Mintage mints, checks and narrows the upload tokens of a Python package
//! index: trusted publishing (PEP 807) as a gRPC service.
//!
//! `use` points inward only; `tests/architecture.rs` holds the table of who may
//! name whom. From the inside out:
//!
//! - the kernel ([`macaroon`], [`caveat`], [`oidc`], [`publisher`], [`grant`],
//!   [`limits`], [`mark`], [`clock`]): pure values and functions; no async, no
//!   I/O, no clock, no randomness, no logging;
//! - the use cases ([`service`]) and what they ask of the world ([`ports`]);
//! - the edges ([`grpc`], [`keysets`], [`store`], [`config`], [`telemetry`]);
//! - the wiring ([`app`], [`cli`]), which knows everything and decides nothing.

pub mod app;
pub mod caveat;
pub mod cli;
pub mod clock;
pub mod config;
pub mod demo;
pub mod grant;
pub mod grpc;
pub mod keysets;
pub mod limits;
pub mod macaroon;
pub mod mark;
pub mod oidc;
mod paint;
pub mod ports;
pub mod publisher;
pub mod service;
mod smoke;
pub mod store;
pub mod telemetry;
mod world;
