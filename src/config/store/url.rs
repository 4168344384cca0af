//! The URL of a Redis: `rediss://user@one.internal:6379,two.internal/0`.
//!
//! A parser of its own, since no URL elsewhere has several hosts. It knows
//! nothing of topologies; and none of its sentences repeats any of the text,
//! since a password may stand in any part of one that was written badly.

use std::net::Ipv6Addr;

use percent_encoding::percent_decode_str;
use url::Host;

use super::super::{
    reader::Read,
    secret::{MAX_FILE_BYTES, SecretText},
};

/// Longest URL, in bytes, in a file of its own or not.
const MAX_URL_BYTES: usize = MAX_FILE_BYTES;

/// The most hosts: a client needs to know a few of them, and asks these for the
/// others.
const MAX_HOSTS: usize = 64;

/// Longest host name, in bytes (RFC 1035, without its last dot).
const MAX_NAME_BYTES: usize = 253;

/// Longest user name, in bytes. Redis knows no bound; people do.
pub(super) const MAX_USERNAME_BYTES: usize = 256;

/// What a URL says.
pub(super) struct RedisUrl {
    /// `rediss`.
    pub(super) tls: bool,
    pub(super) username: Option<String>,
    pub(super) password: Option<SecretText>,
    /// Never empty; without brackets; the port where it has one.
    pub(super) hosts: Vec<(String, Option<u16>)>,
    /// Where it names one.
    pub(super) database: Option<u16>,
}

impl RedisUrl {
    /// Reads a URL, or says what would be right.
    pub(super) fn parse(text: &str) -> Read<Self> {
        if text.len() > MAX_URL_BYTES {
            return Err(format!("must have at most {MAX_URL_BYTES} characters"));
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("must be printable ASCII without white space".to_owned());
        }
        let (tls, rest) = match (text.strip_prefix("redis://"), text.strip_prefix("rediss://")) {
            (Some(rest), _) => (false, rest),
            (_, Some(rest)) => (true, rest),
            _ => return Err("must begin with redis:// or rediss://".to_owned()),
        };
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if path.contains('@') {
            return Err("must percent-encode every /, ? and # before its @".to_owned());
        }
        if path.contains(['?', '#']) {
            return Err("must have neither a query nor a fragment".to_owned());
        }
        let (username, password, hosts) = match authority.rsplit_once('@') {
            Some((credentials, hosts)) => {
                let (username, password) = self::credentials(credentials)?;
                (username, password, hosts)
            }
            None => (None, None, authority),
        };
        Ok(Self { tls, username, password, hosts: self::hosts(hosts)?, database: database(path)? })
    }
}

/// `user`, `user:password`, or `:password` for the user that Redis calls
/// `default`.
fn credentials(text: &str) -> Read<(Option<String>, Option<SecretText>)> {
    if text.contains('@') {
        return Err("must percent-encode every @ but the one before its host".to_owned());
    }
    let (username, password) = match text.split_once(':') {
        Some((username, password)) => (username, Some(password)),
        None => (text, None),
    };
    if password.map_or(username.is_empty(), str::is_empty) {
        return Err("must not have an empty user or password before its @".to_owned());
    }
    let username = match username {
        "" => None,
        name => Some(self::username(decoded(name)?.expose())?),
    };
    let password = password.map(decoded).transpose()?;
    if password.as_ref().is_some_and(|password| password.expose().chars().any(char::is_control)) {
        return Err("must not have a control character in its password".to_owned());
    }
    Ok((username, password))
}

fn username(name: &str) -> Read<String> {
    if name.len() > MAX_USERNAME_BYTES {
        Err(format!("must have at most {MAX_USERNAME_BYTES} characters in its user's name"))
    } else if name.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(name.to_owned())
    } else {
        Err("must have a user's name of printable ASCII without white space".to_owned())
    }
}

fn decoded(text: &str) -> Read<SecretText> {
    let wrong = || "must percent-encode its user and password as UTF-8, % as %25".to_owned();
    let is_code = |rest: &str| rest.bytes().take(2).filter(u8::is_ascii_hexdigit).count() == 2;
    if !text.split('%').skip(1).all(is_code) {
        return Err(wrong());
    }
    // As long as it can get: a buffer that grows leaves copies behind.
    let mut bytes = Vec::with_capacity(text.len());
    bytes.extend(percent_decode_str(text));
    String::from_utf8(bytes).map(SecretText::new).map_err(|_| wrong())
}

fn hosts(text: &str) -> Read<Vec<(String, Option<u16>)>> {
    let count = text.split(',').count();
    if count > MAX_HOSTS {
        return Err(format!("must name at most {MAX_HOSTS} hosts, but names {count}"));
    }
    text.split(',').enumerate().map(|(at, host)| self::host(host, at + 1)).collect()
}

/// A host, the `at`th, and its port where it has one.
fn host(text: &str, at: usize) -> Read<(String, Option<u16>)> {
    let wrong = || {
        format!(
            "must have a name, an IPv4 address, or an IPv6 address in brackets as its host no. {at}"
        )
    };
    let (host, port) = match text.strip_prefix('[').map(|rest| rest.split_once(']')) {
        Some(bracketed) => {
            let (address, port) = bracketed.ok_or_else(wrong)?;
            let address: Ipv6Addr = address.parse().map_err(|_| wrong())?;
            (address.to_string(), port)
        }
        None => {
            let (name, port) = text.split_at(text.find(':').unwrap_or(text.len()));
            (self::name(name).ok_or_else(wrong)?, port)
        }
    };
    match (port, port.strip_prefix(':').and_then(number)) {
        ("", _) => Ok((host, None)),
        (_, Some(port)) if port > 0 => Ok((host, Some(port))),
        _ => Err(format!("must have a port from 1 to 65535 at its host no. {at}")),
    }
}

/// A name or an IPv4 address. One that a URL parser would silently mend (other
/// forms of an address, percent signs) is none.
fn name(text: &str) -> Option<String> {
    let parsed = Host::parse(text).ok()?.to_string();
    (parsed.len() <= MAX_NAME_BYTES && parsed.eq_ignore_ascii_case(text)).then_some(parsed)
}

/// The database in what stands behind the hosts.
fn database(path: &str) -> Read<Option<u16>> {
    match path.strip_prefix('/') {
        None | Some("") => Ok(None),
        Some(text) => number(text).map(Some).ok_or_else(|| {
            "must end with its hosts, or with / and a database from 0 to 65535".to_owned()
        }),
    }
}

/// Digits alone: what Rust reads as a number may have a sign.
fn number(text: &str) -> Option<u16> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A URL's parts as one line: what a reader of a table likes to compare.
    fn parts(text: &str) -> Read<String> {
        let url = RedisUrl::parse(text)?;
        let hosts: Vec<String> = url
            .hosts
            .iter()
            .map(|(host, port)| {
                format!("{host} {}", port.map_or("-".to_owned(), |p| p.to_string()))
            })
            .collect();
        Ok(format!(
            "{} {} {} {} {}",
            if url.tls { "tls" } else { "tcp" },
            url.username.as_deref().unwrap_or("-"),
            url.password.as_ref().map_or("-", SecretText::expose),
            hosts.join(","),
            url.database.map_or("-".to_owned(), |database| database.to_string()),
        ))
    }

    #[test]
    fn a_url_is_read_into_its_parts() {
        for (text, expected) in [
            ("redis://redis.internal", "tcp - - redis.internal - -"),
            ("redis://redis.internal/", "tcp - - redis.internal - -"),
            ("redis://redis.internal:6380/0", "tcp - - redis.internal 6380 0"),
            ("rediss://my_redis/65535", "tls - - my_redis - 65535"),
            ("redis://Redis.Internal.", "tcp - - redis.internal. - -"),
            ("redis://127.0.0.1:1", "tcp - - 127.0.0.1 1 -"),
            ("redis://[::1]", "tcp - - ::1 - -"),
            ("redis://[2001:DB8::0:1]:65535/7", "tcp - - 2001:db8::1 65535 7"),
            ("redis://one:1,two,[::1]:3/4", "tcp - - one 1,two -,::1 3 4"),
            ("redis://user@host", "tcp user - host - -"),
            ("redis://user:pass@host", "tcp user pass host - -"),
            ("redis://:pass@host", "tcp - pass host - -"),
            ("redis://us%65r:p%40%2F%3a%25%C3%A9@host", "tcp user p@/:%é host - -"),
            ("redis://user:pa:ss+word@host", "tcp user pa:ss+word host - -"),
            ("redis://user:a,b@one,two", "tcp user a,b one -,two - -"),
        ] {
            assert_eq!(parts(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_url_that_is_none_is_refused_with_what_would_be_right() {
        let scheme = "must begin with redis:// or rediss://";
        let host =
            "must have a name, an IPv4 address, or an IPv6 address in brackets as its host no. ";
        let port = "must have a port from 1 to 65535 at its host no. ";
        let database = "must end with its hosts, or with / and a database from 0 to 65535";
        let query = "must have neither a query nor a fragment";
        let percent = "must percent-encode its user and password as UTF-8, % as %25";
        let empty = "must not have an empty user or password before its @";
        for (text, expected) in [
            ("", scheme.to_owned()),
            ("redis.internal:6379", scheme.to_owned()),
            ("REDIS://host", scheme.to_owned()),
            ("unix:///run/redis.sock", scheme.to_owned()),
            ("redis:// host", "must be printable ASCII without white space".to_owned()),
            ("redis://höst", "must be printable ASCII without white space".to_owned()),
            ("redis://", format!("{host}1")),
            ("redis:///0", format!("{host}1")),
            ("redis://one,", format!("{host}2")),
            ("redis://one,,three", format!("{host}2")),
            ("redis://::1", format!("{host}1")),
            ("redis://[::1", format!("{host}1")),
            ("redis://[one]", format!("{host}1")),
            ("redis://0x7f000001", format!("{host}1")),
            ("redis://127.1", format!("{host}1")),
            ("redis://%6fne", format!("{host}1")),
            ("redis://one\\two", format!("{host}1")),
            ("redis://one:0", format!("{port}1")),
            ("redis://one,two:65536", format!("{port}2")),
            ("redis://one:", format!("{port}1")),
            ("redis://one:+1", format!("{port}1")),
            ("redis://one:1:2", format!("{port}1")),
            ("redis://[::1]6379", format!("{port}1")),
            ("redis://one/65536", database.to_owned()),
            ("redis://one/+1", database.to_owned()),
            ("redis://one/-1", database.to_owned()),
            ("redis://one/0/", database.to_owned()),
            ("redis://one/zero", database.to_owned()),
            ("redis://one?db=1", query.to_owned()),
            ("redis://one/0#insecure", query.to_owned()),
            ("redis://user:%zz@one", percent.to_owned()),
            ("redis://user:%4@one", percent.to_owned()),
            ("redis://user:100%@one", percent.to_owned()),
            ("redis://user:%ff@one", percent.to_owned()),
            ("redis://@one", empty.to_owned()),
            ("redis://:@one", empty.to_owned()),
            ("redis://user:@one", empty.to_owned()),
            (
                "redis://user:p@ss@one",
                "must percent-encode every @ but the one before its host".to_owned(),
            ),
            (
                "redis://user:p/ss@one",
                "must percent-encode every /, ? and # before its @".to_owned(),
            ),
            (
                "redis://us%20er@one",
                "must have a user's name of printable ASCII without white space".to_owned(),
            ),
            (
                "redis://user:p%0Ass@one",
                "must not have a control character in its password".to_owned(),
            ),
        ] {
            assert_eq!(parts(text), Err(expected), "{text}");
        }
    }

    #[test]
    fn a_url_is_bounded() {
        let hosts = |count: usize| format!("redis://{}", vec!["host"; count].join(","));
        assert!(RedisUrl::parse(&hosts(64)).is_ok());
        assert_eq!(parts(&hosts(65)), Err("must name at most 64 hosts, but names 65".to_owned()));

        let name = |length: usize| format!("redis://{}a", "a.".repeat(length / 2));
        assert!(RedisUrl::parse(&name(253)).is_ok());
        assert!(RedisUrl::parse(&name(255)).is_err());

        let user = |length: usize| format!("redis://{}@host", "a".repeat(length));
        assert!(RedisUrl::parse(&user(256)).is_ok());
        let long = "must have at most 256 characters in its user's name";
        assert_eq!(parts(&user(257)), Err(long.to_owned()));

        let long = "must have at most 4096 characters";
        assert_eq!(parts(&user(5_000)), Err(long.to_owned()));
    }
}
