//! The gRPC edge: the contract's messages in, the domain's values through, the
//! contract's messages out.
//!
//! Generated types stay in here. Conversions are pure functions; a
//! `tonic::Status` is made in [`status`] and nowhere else.

pub mod audit;
mod callers;
mod convert;
pub mod gate;
mod gathered;
mod health;
pub mod instruments;
mod metered;
pub mod pace;
mod paced;
mod redacted;
mod rpc;
mod served;
mod server;
mod spans;
pub mod status;
pub mod tls;
pub mod transport;

pub use callers::{CallerTokens, KnownCallers, SharedCallers};
pub use rpc::Rpc;
pub(crate) use served::Served;
pub use server::TokenServer;
pub(crate) use server::served;

/// The generated types of `proto/mintage/v1`.
#[allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    clippy::allow_attributes_without_reason,
    clippy::doc_markdown,
    clippy::missing_const_for_fn,
    clippy::semicolon_if_nothing_returned,
    reason = "generated; the comments of the proto files become documentation"
)]
pub mod proto {
    tonic::include_proto!("mintage.v1");

    /// The compiled contract, from which server reflection answers.
    pub const FILE_DESCRIPTOR_SET: &[u8] = tonic::include_file_descriptor_set!("mintage");
}

/// The largest message, in bytes: 20,000 projects with ids and names of PyPI's
/// length take about half of it.
pub const MAX_MESSAGE_BYTES: usize = 4 * 1024 * 1024;

/// The largest message to health and reflection, in bytes, which take them from
/// strangers: a name.
const MAX_NAME_MESSAGE_BYTES: usize = 4 * 1024;
