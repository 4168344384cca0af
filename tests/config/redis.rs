//! `[store]` of kind `redis`: what is read, every mistake with its sentence, and
//! that no sentence and no `Debug` shows a secret.

use std::{fs, path::PathBuf, time::Duration};

use mintage::config::{Config, Endpoint, Mistakes, RedisConfig, RedisTopology, StoreConfig};

use super::{Identity, SMALLEST};

/// A folder with the configuration's files, thrown away at the end.
struct Home(tempfile::TempDir);

const PASSWORD: &str = "correct horse battery staple";

/// A password in a URL, which has to be written in another way there.
const IN_URL: &str = "gr%40nite-llama%2F9";

impl Home {
    fn new() -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        let (authority, other) = (Identity::new(), Identity::new());
        home.write("ca.pem", &authority.certificate);
        home.write("own.pem", &authority.certificate);
        home.write("own.key", &authority.key);
        home.write("other.key", &other.key);
        home.write("password", &format!("{PASSWORD}\n"));
        home.write("sentinel-password", "watchful\r\n");
        home.write("url", &format!("rediss://user:{IN_URL}@redis.internal/3\n"));
        home.write("empty", "\n");
        home
    }

    fn write(&self, name: &str, content: &str) {
        fs::write(self.path(name), content).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The configuration whose `[store]` has these lines.
    fn read(&self, store: &str) -> Result<Config, Mistakes> {
        let text = format!("{SMALLEST}\n[store]\n{store}");
        Config::parse(&text, self.0.path(), std::iter::empty())
    }

    fn redis(&self, store: &str) -> RedisConfig {
        match self.read(&format!("kind = 'redis'\n{store}")).unwrap().store {
            StoreConfig::Redis(redis) => *redis,
            other @ StoreConfig::Memory { .. } => panic!("{other:?}"),
        }
    }

    /// The mistakes, without the names of folders.
    fn mistakes(&self, store: &str) -> Vec<String> {
        let home = format!("{}/", self.0.path().display());
        let mistakes = self.read(store).unwrap_err();
        mistakes.iter().map(|mistake| mistake.to_string().replace(&home, "")).collect()
    }
}

fn endpoint(host: &str, port: u16) -> Endpoint {
    Endpoint { host: host.to_owned(), port }
}

#[test]
fn the_smallest_redis_has_the_defaults_of_the_documentation() {
    let redis = Home::new().redis("url = 'redis://redis.internal'");
    let expected = RedisConfig {
        topology: RedisTopology::Single(endpoint("redis.internal", 6_379)),
        tls: None,
        username: None,
        password: None,
        sentinel_username: None,
        sentinel_password: None,
        database: 0,
        prefix: "mintage".to_owned(),
        timeout: Duration::from_millis(250),
        max_waiting: 1_024,
        wait_replicas: 0,
    };
    assert_eq!(redis, expected);
}

#[test]
fn a_whole_redis_behind_sentinels_is_read_into_types() {
    let home = Home::new();
    let redis = home.redis(
        "url = 'rediss://one.internal,two.internal:5000,[::1]/7'
         topology = 'sentinel'
         sentinel_master = 'mymaster'
         username = 'mintage'
         password_file = 'password'
         sentinel_username = 'watcher'
         sentinel_password_file = 'sentinel-password'
         ca_file = 'ca.pem'
         client_certificate_file = 'own.pem'
         client_key_file = 'own.key'
         prefix = 'mintage:test'
         timeout = '1s'
         max_waiting = 7
         wait_replicas = 1
         on_store_failure = 'refuse'",
    );
    let sentinels = vec![
        endpoint("one.internal", 26_379),
        endpoint("two.internal", 5_000),
        endpoint("::1", 26_379),
    ];
    let master = "mymaster".to_owned();
    assert_eq!(redis.topology, RedisTopology::Sentinel { sentinels, master });
    assert_eq!(redis.username.as_deref(), Some("mintage"));
    assert_eq!(redis.password.unwrap().expose(), PASSWORD);
    assert_eq!(redis.sentinel_username.as_deref(), Some("watcher"));
    assert_eq!(redis.sentinel_password.unwrap().expose(), "watchful");
    let tls = redis.tls.unwrap();
    assert_eq!(tls.ca, fs::read(home.path("ca.pem")).ok());
    let client = tls.client.unwrap();
    assert_eq!(Some(client.certificate), fs::read(home.path("own.pem")).ok());
    assert_eq!(client.key.expose(), fs::read(home.path("own.key")).unwrap());
    assert_eq!((redis.database, redis.prefix.as_str()), (7, "mintage:test"));
    assert_eq!(redis.timeout, Duration::from_secs(1));
    assert_eq!((redis.max_waiting, redis.wait_replicas), (7, 1));
}

#[test]
fn a_cluster_is_read_from_any_of_its_nodes() {
    let redis = Home::new().redis("url = 'redis://one,two:7000/0'\ntopology = 'cluster'");
    let nodes = vec![endpoint("one", 6_379), endpoint("two", 7_000)];
    assert_eq!(redis.topology, RedisTopology::Cluster(nodes));
}

#[test]
fn a_url_in_a_file_may_hold_the_password() {
    let home = Home::new();
    let redis = home.redis("url_file = 'url'");
    assert_eq!(redis.username.as_deref(), Some("user"));
    assert_eq!(redis.password.unwrap().expose(), "gr@nite-llama/9");
    assert_eq!(redis.database, 3);
    assert!(redis.tls.is_some_and(|tls| tls.ca.is_none() && tls.client.is_none()));

    home.write("url", "redis://:alone@redis.internal");
    let redis = home.redis("url_file = 'url'");
    assert_eq!(redis.username, None);
    assert_eq!(redis.password.unwrap().expose(), "alone");
}

#[test]
fn a_password_may_come_beside_the_url_and_an_empty_one_is_none() {
    let home = Home::new();
    let redis = home.redis("url = 'redis://user@one'\npassword_file = 'password'");
    assert_eq!(redis.username.as_deref(), Some("user"));
    assert_eq!(redis.password.unwrap().expose(), PASSWORD);
    let redis = home.redis(
        "url = 'redis://one'\ntopology = 'sentinel'\nsentinel_master = 'm'\nusername = ''\n\
         password_file = ''\nsentinel_username = ''\nsentinel_password_file = ''",
    );
    assert!(redis.username.is_none() && redis.password.is_none());
    assert!(redis.sentinel_username.is_none() && redis.sentinel_password.is_none());
}

#[test]
fn every_mistake_of_a_redis_is_one_sentence() {
    let home = Home::new();
    home.write("nonsense", "PASSWORD is hunter2");
    home.write("mailto", "mailto:user:hunter2@redis.internal");
    home.write("two-lines", "one\ntwo\n");
    home.write("long", &"x".repeat(5_000));
    home.write("twin", &format!("redis://user:{IN_URL}@one,two"));
    home.write("locked.key", &Identity::new().key.replace("PRIVATE", "ENCRYPTED PRIVATE"));
    home.write("hollow.key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    home.write("hollow.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    fs::create_dir(home.path("folder")).unwrap();
    let pair = "client_certificate_file = 'own.pem'\nclient_key_file";
    for (store, expected) in [
        ("", "url: is missing, and so is url_file"),
        ("url = 'redis://a'\nurl_file = 'url'", "url: must not stand beside url_file"),
        ("url = 6379", "url: must be a string, but is a whole number"),
        ("url = 'redis.internal'", "url: must begin with redis:// or rediss://"),
        (
            "url = 'redis://user:hunter2@a'",
            "url: must not hold a password: secrets come from files only, so use password_file or \
             url_file",
        ),
        ("url = 'redis://a,b'", "url: names 2 hosts, but topology = \"single\" has one"),
        ("url_file = 'twin'", "url_file: names 2 hosts, but topology = \"single\" has one"),
        (
            "url = 'redis://a/1'\ntopology = 'cluster'",
            "url: must name no database but 0, the only one that a cluster has",
        ),
        (
            "url_file = 'missing'",
            "url_file: names missing, which can't be read: No such file or directory (os error 2)",
        ),
        ("url_file = ''", "url_file: must not be empty"),
        ("url_file = 'empty'", "url_file: names empty, which is empty"),
        (
            "url_file = 'nonsense'",
            "url_file: names nonsense, whose URL must be printable ASCII without white space",
        ),
        (
            "url_file = 'mailto'",
            "url_file: names mailto, whose URL must begin with redis:// or rediss://",
        ),
        (
            "url = 'redis://a'\ntopology = 'ring'",
            "topology: must be one of \"single\", \"sentinel\", \"cluster\"",
        ),
        ("url = 'redis://a'\ntopology = 'sentinel'", "sentinel_master: is missing"),
        (
            "url = 'redis://a'\ntopology = 'sentinel'\nsentinel_master = 'my master'",
            "sentinel_master: must not hold white space",
        ),
        (
            "url = 'redis://a'\nsentinel_master = 'm'",
            "sentinel_master: is for topology = \"sentinel\" only",
        ),
        (
            "url = 'redis://a'\ntopology = 'cluster'\nsentinel_password_file = 'password'",
            "sentinel_password_file: is for topology = \"sentinel\" only",
        ),
        (
            "url = 'redis://a'\ntopology = 'sentinel'\nsentinel_master = 'm'\n\
             sentinel_username = 'watcher'",
            "sentinel_username: names a user, but there is no sentinel_password_file",
        ),
        (
            "url = 'redis://a'\nusername = 'mintage'",
            "username: names a user, but there is no password_file",
        ),
        ("url = 'redis://user@a'", "url: names a user, but there is no password_file"),
        (
            "url = 'redis://user@a'\nusername = 'user'\npassword_file = 'password'",
            "username: stands in url too",
        ),
        (
            "url_file = 'url'\npassword_file = 'password'",
            "password_file: stands beside the password in url_file",
        ),
        (
            "url = 'redis://a'\npassword_file = 'empty'",
            "password_file: names empty, which is empty",
        ),
        (
            "url = 'redis://a'\npassword_file = 'two-lines'",
            "password_file: names two-lines, which holds more than one line, or a control character",
        ),
        (
            "url = 'redis://a'\npassword_file = 'long'",
            "password_file: names long, which is longer than 4096 bytes",
        ),
        (
            "url = 'redis://user@a'\npassword_file = 'folder'",
            "password_file: names folder, which can't be read: it is not a file",
        ),
        ("url = 'redis://a'\nca_file = 'ca.pem'", "ca_file: needs a URL with rediss://"),
        (
            "url = 'redis://a'\nclient_key_file = 'own.key'",
            "client_key_file: needs a URL with rediss://",
        ),
        (
            "url = 'rediss://a'\nca_file = 'own.key'",
            "ca_file: names own.key, which holds no PEM certificate",
        ),
        ("url = 'rediss://a'\nca_file = ''", "ca_file: must not be empty"),
        (
            "url = 'rediss://a'\nclient_certificate_file = 'own.pem'",
            "client_key_file: is missing beside client_certificate_file",
        ),
        (
            "url = 'rediss://a'\nclient_key_file = 'own.key'",
            "client_certificate_file: is missing beside client_key_file",
        ),
        (
            &format!("url = 'rediss://a'\n{pair} = 'other.key'"),
            "client_key_file: is not the key of the first certificate in client_certificate_file",
        ),
        (
            &format!("url = 'rediss://a'\n{pair} = 'own.pem'"),
            "client_key_file: names own.pem, which holds no private key in PEM that is readable \
             without a password",
        ),
        (
            &format!("url = 'rediss://a'\n{pair} = 'locked.key'"),
            "client_key_file: names locked.key, which holds no private key in PEM that is readable \
             without a password",
        ),
        (
            &format!("url = 'rediss://a'\n{pair} = 'hollow.key'"),
            "client_key_file: names hollow.key, which holds a private key that can't be used for TLS",
        ),
        (
            "url = 'rediss://a'\nclient_certificate_file = 'hollow.pem'\nclient_key_file = 'own.key'",
            "client_certificate_file: begins with a certificate that can't be used for TLS",
        ),
        ("url = 'redis://a'\nprefix = ''", "prefix: must not be empty"),
        ("url = 'redis://a'\nprefix = 'a b'", "prefix: must not hold white space"),
        (
            "url = 'redis://a'\nprefix = '{tag}'",
            "prefix: must not hold braces, which would steer a key's slot in a cluster",
        ),
        (
            &format!("url = 'redis://a'\nprefix = '{}'", "a".repeat(65)),
            "prefix: must have at most 64 characters, but has 65",
        ),
        (
            "url = 'redis://a'\ntimeout = '9ms'",
            "timeout: must lie between 10ms and 10s, but is 9ms",
        ),
        ("url = 'redis://a'\ntimeout = 11", "timeout: must lie between 10ms and 10s, but is 11s"),
        (
            "url = 'redis://a'\nmax_waiting = 0",
            "max_waiting: must lie between 1 and 1000000, but is 0",
        ),
        (
            "url = 'redis://a'\nwait_replicas = 17",
            "wait_replicas: must lie between 0 and 16, but is 17",
        ),
        ("url = 'redis://a'\nmax_entries = 7", "max_entries: is for kind = \"memory\" only"),
    ] {
        let found = home.mistakes(&format!("kind = 'redis'\n{store}"));
        assert_eq!(found, [format!("store.{expected}")], "{store}");
    }
}

#[test]
fn what_belongs_to_another_kind_of_store_is_a_mistake() {
    let home = Home::new();
    for kind in ["", "kind = 'memory'\n"] {
        let found = home.mistakes(&format!(
            "{kind}max_entries = 7\nurl = 'redis://a'\ntimeout = 1\nwait_replicas = 1"
        ));
        let expected = ["url", "timeout", "wait_replicas"]
            .map(|key| format!("store.{key}: is for kind = \"redis\" only"));
        assert_eq!(found, expected);
    }
    let found = home.mistakes("kind = 'reddis'\nurl = 'redis://a'\non_store_failure = 'maybe'");
    assert_eq!(
        found,
        [
            "store.kind: must be one of \"memory\", \"redis\"",
            "store.on_store_failure: must be one of \"allow\", \"refuse\"",
        ],
        "who can't say which kind it is can't say what belongs to it"
    );
}

#[test]
fn every_mistake_of_a_redis_is_reported_at_once() {
    let found = Home::new().mistakes(
        "kind = 'redis'
         url = 'rediss://a,b/1'
         topology = 'cluster'
         sentinel_master = 'm'
         username = 'two words'
         password_file = 'missing'
         ca_file = 'password'
         client_key_file = 'own.key'
         prefix = '}'
         timeout = 'soon'
         max_waiting = '1'
         wait_replicas = -1
         max_entries = 1
         password = 'hunter2'",
    );
    let expected = "store.sentinel_master: is for topology = \"sentinel\" only
store.url: must name no database but 0, the only one that a cluster has
store.username: must not hold white space
store.password_file: names missing, which can't be read: No such file or directory (os error 2)
store.ca_file: names password, which holds no PEM certificate
store.client_certificate_file: is missing beside client_key_file
store.prefix: must not hold braces, which would steer a key's slot in a cluster
store.timeout: must be a time such as \"15m\", \"90s\", \"1h30m\" or \"250ms\"
store.max_waiting: must be a whole number, but is a string
store.wait_replicas: must lie between 0 and 16, but is -1
store.max_entries: is for kind = \"memory\" only
store.password: is unknown; known here: kind, on_store_failure, url, url_file, topology, username, \
password_file, ca_file, client_certificate_file, client_key_file, prefix, timeout, max_waiting, \
wait_replicas";
    assert_eq!(found.join("\n"), expected);
}

#[test]
fn a_redis_may_come_from_the_environment() {
    let variables = [
        ("MINTAGE__STORE__KIND", "redis"),
        ("MINTAGE__STORE__URL", "redis://redis.internal:6380/1"),
        ("MINTAGE__STORE__TIMEOUT", "500ms"),
        ("MINTAGE__STORE__PREFIX", "2026"),
    ];
    let StoreConfig::Redis(redis) = super::read(SMALLEST, &variables).unwrap().store else {
        panic!("the kind is in the environment")
    };
    assert_eq!(redis.topology, RedisTopology::Single(endpoint("redis.internal", 6_380)));
    assert_eq!((redis.database, redis.prefix.as_str()), (1, "2026"));
    assert_eq!(redis.timeout, Duration::from_millis(500));

    let secret = [variables[0], ("MINTAGE__STORE__URL", "redis://:hunter2@redis.internal")];
    assert_eq!(
        super::mistakes(SMALLEST, &secret),
        [
            "store.url (MINTAGE__STORE__URL): must not hold a password: secrets come from files only, \
          so use password_file or url_file"
        ]
    );
}

#[test]
fn no_mistake_shows_a_secret() {
    let home = Home::new();
    let store = |more: &str| format!("kind = 'redis'\n{more}");
    for url in [
        "redis://user:hunter2@one",
        "redis://user:hunter2@one:port",
        "redis://user:hunter2@one,",
        "redis://user:hunter2@one/hunter2",
        "redis://user:hunter2%zz@one",
        "redis://user:hunter2@hunter2@one",
        "redis://user:/hunter2@one",
        "redis://user:one/hunter2",
        "redis://one?password=hunter2",
        "redis://hunter2,hunter2",
        "redis://[hunter2]",
        "redis:hunter2@one",
        "hunter2",
        "hunter2 ",
    ] {
        let shown = home.mistakes(&store(&format!("url = '{url}'"))).join("\n");
        assert!(!shown.contains("hunter2"), "{shown}");
        home.write("a-url", url);
        // Of those in a file the first is right, and gets a mistake of another key.
        let shown = home.mistakes(&store("url_file = 'a-url'\nprefix = '{'")).join("\n");
        assert!(!shown.contains("hunter2"), "{shown}");
    }
    home.write("password", "hunter2\nhunter2");
    home.write("own.key", "-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----\n");
    let shown = home.mistakes(&store(
        "url = 'rediss://one'\npassword_file = 'password'\nclient_key_file = 'own.key'\n\
         client_certificate_file = 'own.pem'",
    ));
    assert_eq!(shown.len(), 2, "{shown:?}");
    assert!(!shown.join("\n").contains("hunter2"), "{shown:?}");
}

#[test]
fn debug_shows_neither_password_nor_key() {
    let home = Home::new();
    let inner = fs::read_to_string(home.path("own.key")).unwrap();
    let inner = inner.lines().nth(1).unwrap().to_owned();
    let numbers = format!("{:?}", inner.as_bytes());
    for store in [
        "url = 'rediss://user@one'\ntopology = 'sentinel'\nsentinel_master = 'm'\n\
         password_file = 'password'\nsentinel_password_file = 'sentinel-password'\n\
         client_certificate_file = 'own.pem'\nclient_key_file = 'own.key'",
        "url_file = 'url'\nclient_certificate_file = 'own.pem'\nclient_key_file = 'own.key'",
    ] {
        let config = home.read(&format!("kind = 'redis'\n{store}")).unwrap();
        for shown in [format!("{config:?}"), format!("{config:#?}").replace([' ', '\n'], "")] {
            assert!(shown.contains("SecretText(…)") && shown.contains("SecretBytes(…)"), "{shown}");
            let numbers = [numbers.clone(), numbers.replace(' ', "")];
            for secret in [PASSWORD, "watchful", IN_URL, "gr@nite-llama/9", &inner] {
                assert!(!shown.contains(secret), "{secret} in {shown}");
            }
            for secret in numbers {
                assert!(!shown.contains(secret.trim_matches(['[', ']'])), "{shown}");
            }
        }
    }
}

#[test]
fn configurations_with_other_secrets_differ() {
    let home = Home::new();
    let store = "url = 'redis://one'\npassword_file = 'password'";
    let first = home.redis(store);
    assert_eq!(first, home.redis(store));
    home.write("password", "another");
    assert_ne!(first, home.redis(store));
}
