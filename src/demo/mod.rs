//! `mintage demo`: the whole story on one machine, with an OIDC issuer of its
//! own beside the real service.

pub mod signing;
