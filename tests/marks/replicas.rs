//! One limit, three replicas: real processes over one Redis, which admit exactly what
//! the limit says, whoever is asked.

use std::time::Duration;

use mintage::{app::SystemClock, grpc::proto, ports::Clock as _};

use super::{
    Backing, mint,
    support::{
        issuer::TestIssuer,
        process::{Folder, Process},
        redis::prefix,
        service::{Client, Refused, WEB, client_at, configuration, github_claims, publishing},
    },
    tally,
};

const BURST: usize = 20;

/// So that nothing comes back while the test runs.
const INTERVAL: Duration = Duration::from_secs(3_600);

/// Makes calls at once, to each replica by turns.
async fn at_once(
    replicas: &[Client],
    calls: Vec<proto::MintRequest>,
) -> Vec<Result<proto::MintResponse, Refused>> {
    let calls: Vec<_> = replicas
        .iter()
        .cycle()
        .zip(calls)
        .map(|(replica, call)| tokio::spawn(mint(replica.clone(), call)))
        .collect();
    let mut answers = Vec::new();
    for call in calls {
        answers.push(call.await.unwrap());
    }
    answers
}

/// What a machine may take for all these calls.
const A_WHILE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_that_replicas_share_admits_exactly_its_burst() {
    let Some(Backing { redis: Some(url) }) = Backing::in_redis().await else { return };
    let issuer = TestIssuer::start();
    for name in ["mint_per_publisher", "mint_per_client"] {
        let sections = format!(
            "[store]\nkind = \"redis\"\nurl = \"{url}\"\nprefix = \"{}\"\ntimeout = \"5s\"\n\
             [limits.{name}]\nburst = {BURST}\ncount = 1\nperiod = \"1h\"\n",
            prefix()
        );
        let folder = Folder::new(&configuration(&issuer.url(), "", &sections));
        let processes: Vec<_> = (0..3).map(|_| Process::start(&folder)).collect();
        let mut replicas = Vec::new();
        for process in &processes {
            replicas.push(client_at(process.grpc(), Some(WEB)).await);
        }
        // A little ahead, so that they are younger than the store's memory.
        let now = SystemClock.now().seconds() + 2;
        let calls = (0..3 * BURST).map(|at| {
            let claims = github_claims(now, &format!("{name} {at}"));
            let call = publishing(&issuer.url(), issuer.id_token(&claims));
            let client = proto::Client { ip: "192.0.2.1".to_owned(), ..Default::default() };
            proto::MintRequest { client: Some(client), ..call }
        });
        let answers = at_once(&replicas, calls.collect()).await;
        let counts = tally(&answers);
        assert_eq!(counts.get("minted"), Some(&BURST), "{name}: {counts:?}");
        assert_eq!(counts.get("RATE_LIMITED"), Some(&(2 * BURST)), "{name}: {counts:?}");
        for refused in answers.into_iter().filter_map(Result::err) {
            let wait = refused.retry_after.unwrap();
            // By the clock of the call, which may have begun before the one that spent the last.
            let about = INTERVAL - A_WHILE..INTERVAL + A_WHILE;
            assert!(about.contains(&wait), "{name}: {wait:?}");
        }
    }
}
