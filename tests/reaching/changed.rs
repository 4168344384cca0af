//! Passwords and certificates that change while the service runs: what is open goes on,
//! what is opened anew is opened with the new ones, and nobody is started again.

use std::sync::atomic::{AtomicBool, Ordering};

use ::redis::{Connection, cmd};
use support::redis::PATIENCE;
use tokio::time::Instant;

use super::*;

const CHANGED: &str = "the store's credentials changed";

/// Waits until it has said so this often.
async fn changed(replica: &Replica, times: usize) {
    let told = || replica.process.err().matches(CHANGED).count();
    redis::settled(CHANGED, || told() >= times).await;
}

/// Ends every connection but this one.
fn cut_all(admin: &mut Connection) {
    cmd("CLIENT").arg(&["KILL", "TYPE", "normal", "SKIPME", "yes"]).exec(admin).unwrap();
}

/// Waits until it mints again: calls that were on a connection that is cut have failed.
async fn mints_again(replica: &Replica, name: &str) {
    let until = Instant::now() + PATIENCE;
    let mut client = replica.client().await;
    for number in 0.. {
        match client.mint(replica.publishing(&format!("{name} {number}"))).await {
            Ok(_) => return,
            Err(status) => assert!(Instant::now() < until, "{status:?}"),
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_password_changes_without_a_call_that_fails() {
    let Some(binary) = binary() else { return };
    let server = RedisServer::start(binary).await;
    server.command(&["ACL", "SETUSER", "mintage", "on", ">before-before", "~*", "+@all"]);
    let store = at(&server) + "username = \"mintage\"\npassword_file = \"password\"\n";
    let mut replica = Replica::start(&store, &[("password", "before-before\n")]);
    let mut client = replica.client().await;
    let done = AtomicBool::new(false);
    let load = async {
        let mut calls = 0;
        while !done.load(Ordering::SeqCst) {
            let request = replica.publishing(&format!("load {calls}"));
            let minted = client.mint(request).await.unwrap().into_inner().token;
            let answer = client.verify(verifying(&minted)).await.unwrap().into_inner();
            assert_eq!(reasons(&answer), [""; 0]);
            calls += 2;
        }
        calls
    };
    let change = async {
        // Both are good while replicas change, then the new one alone.
        server.command(&["ACL", "SETUSER", "mintage", &format!(">{PASSWORD}")]);
        replica.put("password", PASSWORD);
        changed(&replica, 1).await;
        server.command(&["ACL", "SETUSER", "mintage", "<before-before"]);
        // On a connection that is open, and on new ones of other threads.
        for jti in ["1", "2", "3"] {
            replica.mints_once_for(jti).await;
        }
        done.store(true, Ordering::SeqCst);
    };
    let (calls, ()) = tokio::join!(load, change);
    assert!(calls > 0);
    let mut admin = server.connect().unwrap();
    cut_all(&mut admin);
    mints_again(&replica, "cut").await;

    // One that can't be read changes nothing, and is told once.
    replica.put("password", "");
    let line = replica.process.wait_for_line("the configuration can't be read again");
    assert!(line.contains("store.password_file: names ") && line.contains("is empty"), "{line}");
    cut_all(&mut admin);
    mints_again(&replica, "broken").await;
    shows_no_password(&mut replica).await;
    assert_eq!(replica.process.err().matches("can't be read again").count(), 1);
}

#[tokio::test]
async fn certificates_of_both_sides_change_without_a_restart() {
    let Some(binary) = with_tls().await else { return };
    let (own, next) = (Arc::new(Certificates::new()), Certificates::new());
    let server = RedisServer::start_with(binary, Options::default().mutual_tls(&own)).await;
    let read = |path| fs::read_to_string(path).unwrap();
    let both = read(own.ca()) + &read(next.ca());
    let store = at(&server)
        + "ca_file = \"ca\"\nclient_certificate_file = \"own\"\nclient_key_file = \"key\"\n";
    let (certificate, key) = (read(own.client()), read(own.client_key()));
    let files = [("ca", &*read(own.ca())), ("own", &certificate), ("key", &key)];
    let replica = Replica::start(&store, &files);
    replica.mints_once().await;
    let mut admin = server.connect().unwrap();
    // What the server's files hold is read again when they are named again.
    let mut serve = |authorities: &str| {
        fs::write(own.ca(), authorities).unwrap();
        fs::copy(next.server(), own.server()).unwrap();
        fs::copy(next.server_key(), own.server_key()).unwrap();
        let mut set = cmd("CONFIG");
        set.arg("SET").arg("tls-ca-cert-file").arg(own.ca().to_str());
        set.arg("tls-cert-file").arg(own.server().to_str());
        set.arg("tls-key-file").arg(own.server_key().to_str());
        set.exec(&mut admin).unwrap();
        cut_all(&mut admin);
    };

    // Both authorities here, then the server's new certificate.
    replica.put("ca", &both);
    changed(&replica, 1).await;
    serve(&both);
    mints_again(&replica, "the server's").await;
    // Then our own new one, and the new authorities alone on both sides.
    replica.put("own", read(next.client()));
    replica.put("key", read(next.client_key()));
    replica.put("ca", read(next.ca()));
    let files_fit = || replica.process.err().matches(CHANGED).count() >= 2;
    redis::settled("everything is taken", files_fit).await;
    serve(&read(next.ca()));
    mints_again(&replica, "ours").await;
    assert!(!replica.process.err().contains("PRIVATE KEY"));
}
