//! The whole suite over a server in a container, one rule after the other: a
//! container ends with the test that started it, so there is one test.

#[path = "../support/docker/mod.rs"]
mod docker;

use std::sync::OnceLock;

use futures_util::future::FutureExt as _;

use super::{Fresh, redis, support};

macro_rules! one_by_one {
    ($fresh:expr; $($rule:ident)*) => {
        $(super::$rule($fresh).await;)*
    };
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_rule_holds_over_a_server_in_a_container() {
    static URL: OnceLock<String> = OnceLock::new();
    let Some(server) = docker::server().await else { return };
    URL.set(server.url()).unwrap();
    let fresh: Fresh =
        |started_at| async move { Some(redis::fresh_at(URL.get()?, started_at).await) }.boxed();
    every_rule!(one_by_one, fresh;);
    server.end().await;
}
