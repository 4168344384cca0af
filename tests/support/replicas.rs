//! Several `mintage` processes that are to act as one: the same keys, the same
//! issuer, one store.
//!
//! ```ignore
//! let replicas = Replicas::start(3, &over(&server.url())).await;
//! let id_token = replicas.id_token("job 1");
//! let token = replicas.mint(0, replicas.publishing(&id_token)).await.unwrap().token;
//! ```

use mintage::{app::SystemClock, grpc::proto, ports::Clock as _};

use super::{
    issuer::TestIssuer,
    process::{Folder, Process},
    service::{Client, Refused, WEB, client_at, configuration_with, github_claims, publishing},
};

/// A store that is at this address: the lines of `[store]`, with a prefix of its own.
/// A call has time enough for a machine that does much else.
pub fn over(url: &str) -> String {
    let prefix = super::redis::prefix();
    format!("kind = \"redis\"\nurl = \"{url}\"\nprefix = \"{prefix}\"\ntimeout = \"5s\"\n")
}

/// The same, where calls fail as soon as they do by default.
pub fn soon_failing_over(url: &str) -> String {
    over(url).replace("timeout = \"5s\"\n", "")
}

/// Some processes.
pub struct Replicas {
    /// Whose ID tokens they accept, by GitHub's rules.
    pub issuer: TestIssuer,
    replicas: Vec<Replica>,
}

struct Replica {
    folder: Folder,
    process: Process,
    client: Client,
}

impl Replica {
    async fn start(folder: Folder) -> Self {
        let process = Process::start(&folder);
        let client = client_at(process.grpc(), Some(WEB)).await;
        Self { folder, process, client }
    }
}

impl Replicas {
    /// So many of one configuration: these lines in `[store]`.
    pub async fn start(count: usize, store: &str) -> Self {
        Self::start_each(&vec![store.to_owned(); count]).await
    }

    /// One for each store; limits are off.
    pub async fn start_each(stores: &[String]) -> Self {
        Self::start_with(stores, "retry_window = \"10m\"", "[limits]\nenabled = false").await
    }

    /// The same with lines in `[indexes.pypi]` and sections of the test's own.
    pub async fn start_with(stores: &[String], index_lines: &str, sections: &str) -> Self {
        let issuer = TestIssuer::start();
        let mut replicas = Vec::new();
        for store in stores {
            let sections = format!("[store]\n{store}\n{sections}");
            let bounds = "shutdown_grace = \"1s\", threads = 1";
            let toml = configuration_with(bounds, &issuer.url(), index_lines, &sections);
            replicas.push(Replica::start(Folder::new(&toml)).await);
        }
        Self { issuer, replicas }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.replicas.len()
    }

    /// A client of one of them.
    pub fn client(&self, replica: usize) -> Client {
        self.replicas[replica % self.count()].client.clone()
    }

    /// Where one of them has its configuration and its keys.
    pub fn folder(&self, replica: usize) -> &Folder {
        &self.replicas[replica].folder
    }

    /// What one of them wrote on standard error.
    pub fn err(&self, replica: usize) -> String {
        self.replicas[replica].process.err()
    }

    /// One of the processes.
    pub fn process(&mut self, replica: usize) -> &mut Process {
        &mut self.replicas[replica].process
    }

    /// Whether all are the processes that they were at the start, and run.
    pub fn never_ended(&mut self) -> bool {
        self.replicas.iter_mut().all(|replica| replica.process.runs())
    }

    /// Ends one as `kill -9` does.
    pub fn kill(&mut self, replica: usize) {
        self.replicas[replica].process.signal("KILL");
        self.replicas[replica].process.wait();
    }

    /// Starts one again that was killed.
    pub async fn start_again(&mut self, replica: usize) {
        let old = self.replicas.remove(replica);
        self.replicas.insert(replica, Replica::start(old.folder).await);
    }

    /// An ID token of the job with this `jti`, issued now.
    pub fn id_token(&self, jti: &str) -> String {
        self.issuer.id_token(&github_claims(SystemClock.now().seconds(), jti))
    }

    /// A Mint with this ID token.
    pub fn publishing(&self, id_token: &str) -> proto::MintRequest {
        publishing(&self.issuer.url(), id_token.to_owned())
    }

    /// A Mint with an ID token that nobody has seen.
    pub fn fresh(&self) -> proto::MintRequest {
        self.publishing(&self.id_token(&super::redis::prefix()))
    }

    /// Calls Mint at one of them.
    pub async fn mint(
        &self,
        replica: usize,
        request: proto::MintRequest,
    ) -> Result<proto::MintResponse, Refused> {
        mint(self.client(replica), request).await
    }

    /// Calls Verify at one of them.
    pub async fn verify(
        &self,
        replica: usize,
        request: proto::VerifyRequest,
    ) -> Result<proto::VerifyResponse, Refused> {
        let answer = self.client(replica).verify(request).await;
        answer.map(tonic::Response::into_inner).map_err(Refused::from)
    }

    /// Calls Revoke at one of them.
    pub async fn revoke(
        &self,
        replica: usize,
        request: proto::RevokeRequest,
    ) -> Result<proto::RevokeResponse, Refused> {
        let answer = self.client(replica).revoke(request).await;
        answer.map(tonic::Response::into_inner).map_err(Refused::from)
    }
}

/// Calls Mint.
pub async fn mint(
    mut client: Client,
    request: proto::MintRequest,
) -> Result<proto::MintResponse, Refused> {
    let answer = client.mint(request).await;
    answer.map(tonic::Response::into_inner).map_err(Refused::from)
}

/// The same Mint under a `request_id`, so that it may come again.
pub fn named(request: proto::MintRequest, request_id: &str) -> proto::MintRequest {
    proto::MintRequest { request_id: request_id.to_owned(), ..request }
}
