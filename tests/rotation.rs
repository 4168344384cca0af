//! Master keys that change under load: three replicas over one Redis mint and verify
//! without a pause while an operator does what the README says. Every answer is held
//! against what it must be, and nobody is started again.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that can't go on has failed"
)]

mod support;

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::symlink,
    path::Path,
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use mintage::{app::SystemClock, grpc::proto, ports::Clock as _};
use support::{
    issuer::key_one,
    redis::{RedisServer, binary, prefix, settled},
    replicas::{Replicas, mint, named, over},
    service::{
        Client, Refused, github_claims, project, publishing, reasons, upload, verifying,
        verifying_access,
    },
};
use tokio::task::JoinSet;

const REPLICAS: usize = 3;

/// Who calls all the time.
const WORKERS: usize = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_change_under_load_without_a_wrong_answer_or_a_restart() {
    let Some(binary) = binary() else { return };
    let server = RedisServer::start(binary).await;
    let mut replicas = Replicas::start(REPLICAS, &over(&server.url())).await;
    mount(&replicas.folder(2).keys());
    let load = Load::on(&replicas, "k1");
    load.goes_on().await;
    let once = named(replicas.fresh(), "once");
    let minted_before = replicas.mint(0, once.clone()).await.unwrap().token;

    // The file first, to one after the other: as `mintage keys generate` makes it, as a
    // mounted secret changes, and in two halves, as some editors write.
    let second = generate(&replicas.folder(0).keys());
    has(&replicas, 0, &["k1", &second], "k1").await;
    load.goes_on().await;
    let text = fs::read_to_string(replicas.folder(0).keys().join(&second)).unwrap();
    turn(&replicas.folder(2).keys(), &[("k1", None), (&second, Some(&text))]);
    has(&replicas, 2, &["k1", &second], "k1").await;
    // Here its name comes before the file, and then half of it: k1 goes on minting.
    name(&replicas, 1, &second);
    says(&replicas, 1, &format!("has no key \"{second}\", which keyring.current names")).await;
    load.goes_on().await;
    fs::write(replicas.folder(1).keys().join(&second), text.split_at(22).0).unwrap();
    says(&replicas, 1, &format!("{second}: does not hold one line of standard base64")).await;
    load.goes_on().await;
    load.may_mint_with(1, &["k1", &second]);
    fs::write(replicas.folder(1).keys().join(&second), &text).unwrap();

    // Then its name, which the others get while this one mints with it already.
    has(&replicas, 1, &["k1", &second], &second).await;
    load.promoted(1, &second).await;
    for replica in [2, 0] {
        load.may_mint_with(replica, &["k1", &second]);
        name(&replicas, replica, &second);
        has(&replicas, replica, &["k1", &second], &second).await;
        load.promoted(replica, &second).await;
    }
    let again = replicas.mint(1, once.clone()).await.unwrap().token;
    assert_eq!(again, minted_before, "the same call gets the same token, under its own key");

    // Its last token has ended: nobody shows one any more.
    let retired = load.retire("k1").await;
    assert!(retired.len() > WORKERS, "{}", retired.len());
    turn(&replicas.folder(2).keys(), &[(&second, Some(&text))]);
    for replica in [0, 1] {
        replicas.folder(replica).remove_key("k1");
    }
    for replica in 0..REPLICAS {
        has(&replicas, replica, &[&second], &second).await;
    }
    are_unknown(&replicas, &retired).await;
    let refused = replicas.mint(2, once).await.unwrap_err();
    assert_eq!(refused.reason, "ID_TOKEN_REUSED", "its token ended with its key: {refused:?}");

    // And again, in another order, everything at once.
    let third = generate(&replicas.folder(0).keys());
    let more = fs::read_to_string(replicas.folder(0).keys().join(&third)).unwrap();
    turn(&replicas.folder(2).keys(), &[(&second, Some(&text)), (&third, Some(&more))]);
    replicas.folder(1).key_file(&third, &more);
    for replica in 0..REPLICAS {
        has(&replicas, replica, &[&second, &third], &second).await;
    }
    for replica in 0..REPLICAS {
        load.may_mint_with(replica, &[&second, &third]);
        name(&replicas, replica, &third);
    }
    for replica in 0..REPLICAS {
        has(&replicas, replica, &[&second, &third], &third).await;
        load.promoted(replica, &third).await;
    }
    let retired = load.retire(&second).await;
    turn(&replicas.folder(2).keys(), &[(&third, Some(&more))]);
    for replica in [0, 1] {
        replicas.folder(replica).remove_key(&second);
    }
    for replica in 0..REPLICAS {
        has(&replicas, replica, &[&third], &third).await;
    }
    are_unknown(&replicas, &retired).await;

    load.goes_on().await;
    let answers = load.end().await;
    println!("{answers} answers were looked at");
    assert!(replicas.never_ended());
    for replica in 0..REPLICAS {
        let err = replicas.err(replica);
        // What was wrong for a while was told once: a name without a key, half a key.
        let told = err.matches("the keyring can't be read again").count();
        assert_eq!(told, if replica == 1 { 2 } else { 0 }, "{replica}: {err}");
        assert!(!err.contains(text.trim()) && !err.contains(more.trim()));
    }
}

/// Makes a key, as an operator does; its id.
fn generate(keys: &Path) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mintage"));
    let output = command.args(["keys", "generate", "--directory"]).arg(keys).output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Lays the folder out as Kubernetes mounts a secret: links through `..data`, which leads
/// to a folder of one generation.
fn mount(keys: &Path) {
    let first = keys.join("..1");
    fs::create_dir(&first).unwrap();
    fs::copy(keys.join("k1"), first.join("k1")).unwrap();
    symlink("..1", keys.join("..data")).unwrap();
    symlink("..data/k1", keys.join(".draft")).unwrap();
    fs::rename(keys.join(".draft"), keys.join("k1")).unwrap();
}

/// The next generation of the secret, as the kubelet writes it: all files in a new folder,
/// `..data` turned to it at once, then links to what is new, and none to what is gone.
/// Files without a text are those of the generation before.
fn turn(keys: &Path, files: &[(&str, Option<&str>)]) {
    let before = fs::read_link(keys.join("..data")).unwrap();
    let number: u32 = before.to_str().unwrap().trim_start_matches('.').parse().unwrap();
    let next = format!("..{}", number + 1);
    fs::create_dir(keys.join(&next)).unwrap();
    for (name, text) in files {
        let path = keys.join(&next).join(name);
        match text {
            Some(text) => fs::write(path, text).unwrap(),
            None => drop(fs::copy(keys.join(&before).join(name), path).unwrap()),
        }
    }
    // A link that leads nowhere for a moment is no key, but a mistake that is told: this
    // test counts those, so what goes loses its link first.
    for entry in fs::read_dir(keys).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if !name.starts_with('.') && !files.iter().any(|(file, _)| *file == name) {
            fs::remove_file(keys.join(name)).unwrap();
        }
    }
    symlink(&next, keys.join("..data_tmp")).unwrap();
    fs::rename(keys.join("..data_tmp"), keys.join("..data")).unwrap();
    for (name, _) in files {
        if fs::symlink_metadata(keys.join(name)).is_err() {
            symlink(Path::new("..data").join(name), keys.join(name)).unwrap();
        }
    }
}

/// Moves `current` in a replica's configuration.
fn name(replicas: &Replicas, replica: usize, current: &str) {
    let folder = replicas.folder(replica);
    let toml = fs::read_to_string(folder.configuration()).unwrap();
    let (before, rest) = toml.split_once("current = \"").unwrap();
    let (_, after) = rest.split_once('"').unwrap();
    folder.configure(&format!("{before}current = \"{current}\"{after}"));
}

/// Waits until a replica says that it has these keys, and that this one mints.
async fn has(replicas: &Replicas, replica: usize, keys: &[&str], current: &str) {
    let keys: BTreeSet<_> = keys.iter().copied().collect();
    let keys: Vec<_> = keys.into_iter().collect();
    let what = format!("ids: [{}], current: {current} ", keys.join(", "));
    let last = || {
        let err = replicas.err(replica);
        let line = err.lines().rev().find(|line| line.contains("the keyring changed"));
        line.unwrap_or_default().replace(['\\', '"'], "")
    };
    settled(&format!("replica {replica} says: {what}"), || last().contains(&what)).await;
}

/// Waits until a replica says this.
async fn says(replicas: &Replicas, replica: usize, what: &str) {
    let told = || replicas.err(replica).replace('\\', "");
    settled(what, || told().contains(what)).await;
}

/// Nobody knows the key of these tokens any more.
async fn are_unknown(replicas: &Replicas, tokens: &[String]) {
    for token in tokens {
        for replica in 0..REPLICAS {
            let answer = replicas.verify(replica, verifying(token)).await.unwrap();
            assert_eq!(reasons(&answer), ["TOKEN_KEY_UNKNOWN"], "{replica}");
        }
    }
}

/// Calls without a pause, each of which must be answered as it should be.
struct Load {
    shared: Arc<Shared>,
    workers: JoinSet<()>,
}

struct Shared {
    stop: AtomicBool,
    /// How many each worker has ended.
    turns: Vec<AtomicUsize>,
    answers: AtomicUsize,
    /// The keys that each replica may mint with now.
    may_mint_with: Mutex<Vec<BTreeSet<String>>>,
    /// Tokens that must be good, with the key that each was minted under.
    good: Mutex<Vec<(String, String)>>,
    wrong: Mutex<Vec<String>>,
}

impl Load {
    fn on(replicas: &Replicas, key: &str) -> Self {
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            turns: (0..WORKERS).map(|_| AtomicUsize::new(0)).collect(),
            answers: AtomicUsize::new(0),
            may_mint_with: Mutex::new(vec![[key.to_owned()].into(); REPLICAS]),
            good: Mutex::default(),
            wrong: Mutex::default(),
        });
        let mut workers = JoinSet::new();
        for worker in 0..WORKERS {
            let caller = Caller {
                clients: (0..REPLICAS).map(|replica| replicas.client(replica)).collect(),
                issuer: replicas.issuer.url(),
                shared: Arc::clone(&shared),
            };
            workers.spawn(async move {
                let mut at = worker;
                while !caller.shared.stop.load(Ordering::SeqCst) {
                    caller.turn(at % REPLICAS).await;
                    caller.shared.turns[worker].fetch_add(1, Ordering::SeqCst);
                    at += 1;
                }
            });
        }
        Self { shared, workers }
    }

    /// Waits until whatever is under way has ended, and each worker has begun and ended
    /// one turn more; nothing was answered wrongly so far.
    async fn goes_on(&self) {
        let turns = || -> Vec<usize> {
            self.shared.turns.iter().map(|turns| turns.load(Ordering::SeqCst)).collect()
        };
        let before = turns();
        let two_more = |(now, before): (usize, &usize)| now >= before + 2;
        settled("calls go on", || turns().into_iter().zip(&before).all(two_more)).await;
        assert_eq!(*self.shared.wrong.lock().unwrap(), [""; 0]);
    }

    fn may_mint_with(&self, replica: usize, keys: &[&str]) {
        let keys = keys.iter().map(|&key| key.to_owned()).collect();
        self.shared.may_mint_with.lock().unwrap()[replica] = keys;
    }

    /// From now on this replica mints with this key alone, but for what is under way.
    async fn promoted(&self, replica: usize, key: &str) {
        self.goes_on().await;
        self.may_mint_with(replica, &[key]);
        self.goes_on().await;
    }

    /// Shows no token of this key any more; some that were good.
    async fn retire(&self, key: &str) -> Vec<String> {
        let retired: Vec<_> = {
            let mut good = self.shared.good.lock().unwrap();
            good.extract_if(.., |(of, _)| of == key).collect()
        };
        self.goes_on().await;
        let first = retired.iter().take(WORKERS);
        let last = retired.iter().rev().take(WORKERS);
        first.chain(last).map(|(_, token)| token.clone()).collect()
    }

    /// Ends it; how many answers were as they should be. None was not.
    async fn end(mut self) -> usize {
        self.shared.stop.store(true, Ordering::SeqCst);
        while let Some(done) = self.workers.join_next().await {
            done.unwrap();
        }
        assert_eq!(*self.shared.wrong.lock().unwrap(), [""; 0]);
        self.shared.answers.load(Ordering::SeqCst)
    }
}

struct Caller {
    clients: Vec<Client>,
    issuer: String,
    shared: Arc<Shared>,
}

/// A token that no replica minted: its key is nobody's.
const FOREIGN: &str = "unknown to all";

impl Caller {
    /// A job mints at one replica, and all of them are asked about its token, about others,
    /// and about what must be denied.
    async fn turn(&self, replica: usize) {
        let jti = prefix();
        let mut claims = github_claims(SystemClock.now().seconds(), &jti);
        claims["iss"] = self.issuer.clone().into();
        let id_token = key_one().id_token(&claims).unwrap();
        let request = named(publishing(&self.issuer, id_token), &jti);
        let may = self.shared.may_mint_with.lock().unwrap()[replica].clone();
        let minted = match mint(self.clients[replica].clone(), request.clone()).await {
            Ok(minted) => minted,
            Err(refused) => return self.wrong(format!("Mint at {replica}: {refused:?}")),
        };
        let key = minted.token_id.split('.').nth(1).unwrap().to_owned();
        let now = self.shared.may_mint_with.lock().unwrap()[replica].clone();
        let expected = may.contains(&key) || now.contains(&key);
        self.look(expected, || format!("Mint at {replica} with {key} of {may:?} {now:?}"));

        let known = { self.shared.good.lock().unwrap().clone() };
        let one_of_each: Vec<_> = {
            let mut keys = BTreeSet::new();
            known.iter().filter(|(key, _)| keys.insert(key.clone())).cloned().collect()
        };
        for at in 0..REPLICAS {
            self.verify(at, &verifying(&minted.token), &[], &key).await;
            for (key, token) in &one_of_each {
                self.verify(at, &verifying(token), &[], key).await;
            }
        }
        self.shared.good.lock().unwrap().push((key.clone(), minted.token.clone()));

        let next = (replica + 1) % REPLICAS;
        let elsewhere = proto::Access { project: Some(project("id-9", "another")), ..upload() };
        let denied = verifying_access(&minted.token, elsewhere);
        self.verify(next, &denied, &["CAVEAT_PROJECT", "CAVEAT_PUBLISHER"], &key).await;
        self.verify(next, &verifying(&forged(&minted.token)), &["TOKEN_SIGNATURE"], &key).await;
        let foreign = foreign(&minted.token, &key);
        self.verify(next, &verifying(&foreign), &["TOKEN_KEY_UNKNOWN"], FOREIGN).await;
        // The same call gets the same token, and nobody else gets one.
        let again = mint(self.clients[next].clone(), request.clone()).await;
        let same = again.as_ref().is_ok_and(|again| again.token == minted.token);
        self.look(same, || format!("Mint again at {next}: {again:?}"));
        let thief = mint(self.clients[next].clone(), named(request, "somebody else")).await;
        let refused = thief.as_ref().is_err_and(|refused| refused.reason == "ID_TOKEN_REUSED");
        self.look(refused, || format!("Mint by somebody else at {next}: {thief:?}"));
    }

    /// A Verify, and whether it was denied for one of these reasons; for none of them, allowed.
    async fn verify(&self, at: usize, request: &proto::VerifyRequest, denied: &[&str], key: &str) {
        let mut client = self.clients[at].clone();
        let answer = client.verify(request.clone()).await.map_err(Refused::from);
        let told = answer.map(|answer| {
            let answer = answer.into_inner();
            (answer.verdict(), reasons(&answer))
        });
        let expected = match &told {
            Ok((proto::Verdict::Allowed, _)) => denied.is_empty(),
            Ok((proto::Verdict::Denied, reasons)) => {
                !denied.is_empty() && reasons.iter().all(|reason| denied.contains(&reason.as_str()))
            }
            Ok((proto::Verdict::Unspecified, _)) | Err(_) => false,
        };
        self.look(expected, || format!("Verify at {at} of a token of {key}: {told:?}"));
    }

    fn look(&self, expected: bool, what: impl FnOnce() -> String) {
        self.shared.answers.fetch_add(1, Ordering::SeqCst);
        if !expected {
            self.wrong(what());
        }
    }

    fn wrong(&self, what: String) {
        self.shared.wrong.lock().unwrap().push(what);
    }
}

/// The token with another signature at its end.
fn forged(token: &str) -> String {
    altered(token, |bytes| {
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
    })
}

/// The token under a key that nobody has: its name is as long.
fn foreign(token: &str, key: &str) -> String {
    altered(token, |bytes| {
        let at = bytes.windows(key.len()).position(|part| part == key.as_bytes()).unwrap();
        bytes[at..at + key.len()].fill(b'z');
    })
}

fn altered(token: &str, change: impl FnOnce(&mut Vec<u8>)) -> String {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

    let (prefix, text) = token.split_once('-').unwrap();
    let mut bytes = URL_SAFE_NO_PAD.decode(text).unwrap();
    change(&mut bytes);
    format!("{prefix}-{}", URL_SAFE_NO_PAD.encode(bytes))
}
