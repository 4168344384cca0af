//! Three replicas as processes, one Redis, one issuer.

use mintage::{app::SystemClock, grpc::proto, ports::Clock as _};
use tokio::task::JoinSet;
use tonic::Code;

use super::support::{
    issuer::{Behaviour, TestIssuer, key_one, key_two},
    process::{Folder, Process},
    redis::{RedisServer, binary, settled},
    service::{Client, Refused, WEB, client_at, configuration, github_claims, publishing},
};

/// A crowd that comes at once, one call per ID token.
const CROWD: usize = 500;

/// Connections to each replica: one carries 128 calls at a time.
const CONNECTIONS: usize = 2;

struct Scene {
    redis: RedisServer,
    issuer: TestIssuer,
    replicas: [Process; 3],
    _folder: Folder,
}

impl Scene {
    /// Three replicas with cold caches. None, and said loudly, without a Redis.
    async fn start() -> Option<Self> {
        let redis = RedisServer::start(binary()?).await;
        let issuer = TestIssuer::start();
        // No rule here is about time or limits.
        let sections = format!(
            "[store]\nkind = \"redis\"\nurl = \"{}\"\ntimeout = \"10s\"\n\
             [limits]\nenabled = false\n",
            redis.url()
        );
        let folder = Folder::new(&configuration(&issuer.url(), "", &sections));
        let replicas = [(); 3].map(|()| Process::start(&folder));
        Some(Self { redis, issuer, replicas, _folder: folder })
    }

    /// The first Mints of so many jobs.
    fn jobs(&self, jobs: std::ops::Range<usize>) -> Vec<proto::MintRequest> {
        let now = SystemClock.now().seconds();
        let claims = |job: usize| github_claims(now, &job.to_string());
        let mint = |job| publishing(&self.issuer.url(), self.issuer.id_token(&claims(job)));
        jobs.map(mint).collect()
    }

    /// Where to call a replica: several connections.
    async fn clients(&self, replica: usize) -> Vec<Client> {
        let mut clients = Vec::new();
        for _ in 0..CONNECTIONS {
            clients.push(client_at(self.replicas[replica].grpc(), Some(WEB)).await);
        }
        clients
    }

    /// How often each document was asked for.
    fn reads(&self) -> (usize, usize) {
        (self.issuer.discoveries(), self.issuer.key_set_reads())
    }
}

type Minted = Result<proto::MintResponse, Refused>;

/// All these calls at once, spread over the connections.
fn call(clients: &[Client], requests: Vec<proto::MintRequest>) -> JoinSet<Minted> {
    let mut calls = JoinSet::new();
    for (request, client) in requests.into_iter().zip(clients.iter().cycle()) {
        let mut client = client.clone();
        calls.spawn(async move {
            client.mint(request).await.map(tonic::Response::into_inner).map_err(Refused::from)
        });
    }
    calls
}

async fn all_minted(calls: JoinSet<Minted>) {
    for minted in calls.join_all().await {
        assert!(minted.unwrap().token.starts_with("pypi-"));
    }
}

#[tokio::test]
async fn five_hundred_first_mints_on_three_cold_replicas_cause_one_fetch_of_each_document() {
    let Some(scene) = Scene::start().await else { return };
    let mut clients = Vec::new();
    for replica in 0..3 {
        clients.extend(scene.clients(replica).await);
    }
    all_minted(call(&clients, scene.jobs(0..CROWD))).await;
    assert_eq!(scene.reads(), (1, 1));
}

#[tokio::test]
async fn two_fetches_at_most_where_the_replica_that_fetches_is_killed() {
    let Some(mut scene) = Scene::start().await else { return };
    let first = scene.clients(0).await;
    let mut others = scene.clients(1).await;
    others.extend(scene.clients(2).await);
    let (for_first, for_others) = (scene.jobs(0..CROWD / 3), scene.jobs(CROWD / 3..CROWD));
    scene.issuer.behave(Behaviour::Held);
    let doomed = call(&first, for_first.clone());
    settled("the first replica asks the issuer", || scene.reads().0 == 1).await;
    let waiting = call(&others, for_others);
    // The first one's claim, and one of each of the others, which wait for it.
    settled("the others find it claimed", || claims(&scene.redis) >= 3).await;
    assert_eq!(scene.reads(), (1, 0));

    scene.replicas[0].signal("KILL");
    scene.issuer.behave(Behaviour::Normal);
    all_minted(waiting).await;
    assert_eq!(scene.reads(), (2, 1), "one of the others took over");
    for call in doomed.join_all().await {
        assert!(call.is_err(), "its replica is dead");
    }
    // Nothing of theirs was redeemed.
    all_minted(call(&others, for_first)).await;
    assert_eq!(scene.reads(), (2, 1));
    assert!(!scene.replicas[0].runs());
}

/// How often something was claimed: until a set is left, nothing else is written.
fn claims(redis: &RedisServer) -> u32 {
    let statistics = redis.info("cmdstat_set");
    let calls = statistics.split(',').find_map(|part| part.strip_prefix("calls="));
    calls.and_then(|calls| calls.parse().ok()).unwrap_or_default()
}

#[tokio::test]
async fn a_key_set_planted_by_hand_opens_no_door() {
    let Some(scene) = Scene::start().await else { return };
    // Where it lies, a stranger learns by looking.
    all_minted(call(&scene.clients(0).await, scene.jobs(0..1))).await;
    let keys: Vec<String> = scene.redis.ask(&["KEYS", "*:key-set:*"]);
    let [key] = keys.as_slice() else { panic!("{keys:?}") };
    let planted = serde_json::json!({"keys": [key_two().jwk()]}).to_string();
    scene.redis.command(&["SET", key, &planted]);

    let now = SystemClock.now().seconds();
    for (replica, fetches) in [(1, 2), (2, 2)] {
        let clients = scene.clients(replica).await;
        let claims = github_claims(now, &format!("for {replica}"));
        let honest = scene.issuer.id_token_by(key_one(), &claims);
        all_minted(call(&clients, vec![publishing(&scene.issuer.url(), honest)])).await;
        assert_eq!(scene.reads(), (fetches, fetches), "replaced by the first that looked");
    }
    let forged = scene.issuer.id_token_by(key_two(), &github_claims(now, "forged"));
    for replica in 0..3 {
        let request = publishing(&scene.issuer.url(), forged.clone());
        let refused = call(&scene.clients(replica).await, vec![request]).join_all().await;
        let refused = refused.into_iter().next().unwrap().unwrap_err();
        assert_eq!(refused.code, Code::PermissionDenied);
        assert_eq!(refused.reason, "ID_TOKEN_KEY_UNKNOWN");
    }
    assert_ne!(scene.redis.ask::<Vec<u8>>(&["GET", key]), planted.as_bytes());
    let told = scene.replicas[1].err();
    assert!(told.contains("not ours"), "{told}");
    assert!(!scene.replicas[2].err().contains("not ours"));
}
