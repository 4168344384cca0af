//! Who a server says it is: what is read of its `INFO`, and what to warn of.

/// A server, as it describes itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Server {
    /// This process: another number after each start.
    pub(super) run: String,
    /// Whether it takes writes.
    pub(super) primary: bool,
    version: String,
    /// Valkey's own version; what it calls Redis's is for the sake of old clients.
    valkey: Option<String>,
    eviction: String,
}

/// Oldest version that Mintage is tested with.
const OLDEST: (u64, u64) = (7, 0);

impl Server {
    /// Reads `INFO server`, `INFO memory` and `INFO replication`. None: there is no
    /// run id.
    pub(super) fn read(info: &str) -> Option<Self> {
        let field = |name: &str| {
            let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.map(|value| value.trim().to_owned())
        };
        Some(Self {
            run: field("run_id").filter(|run| !run.is_empty())?,
            primary: field("role").is_none_or(|role| role == "master"),
            version: field("redis_version").unwrap_or_default(),
            valkey: field("valkey_version"),
            eviction: field("maxmemory_policy").unwrap_or_default(),
        })
    }

    /// What it is, for people: `Redis 7.0.15`.
    pub(super) fn name(&self) -> String {
        match &self.valkey {
            Some(version) => format!("Valkey {version}"),
            None => format!("Redis {}", self.version),
        }
    }

    /// What an operator should know, in sentences.
    pub(super) fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if !self.is_new_enough() {
            warnings.push(format!(
                "the server's version is {}, and at least {}.{} is needed",
                if self.version.is_empty() { "unknown" } else { &self.version },
                OLDEST.0,
                OLDEST.1
            ));
        }
        if !matches!(self.eviction.as_str(), "noeviction" | "") {
            warnings.push(format!(
                "its maxmemory-policy is {}, so it may throw away marks that still count, and an \
                 ID token could be redeemed twice; set it to noeviction",
                self.eviction
            ));
        }
        warnings
    }

    fn is_new_enough(&self) -> bool {
        let mut numbers = self.version.split('.').map(str::parse::<u64>);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= OLDEST,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(version: &str, policy: &str, role: &str) -> String {
        format!(
            "# Server\r\nredis_version:{version}\r\nrun_id:0123abcd\r\n\r\n# Memory\r\n\
             maxmemory_policy:{policy}\r\n# Replication\r\nrole:{role}\r\n"
        )
    }

    #[test]
    fn a_server_is_read_from_what_it_tells() {
        let server = Server::read(&info("7.0.15", "noeviction", "master")).unwrap();
        assert_eq!((server.run.as_str(), server.primary), ("0123abcd", true));
        assert_eq!(server.name(), "Redis 7.0.15");
        let valkey = info("7.2.4", "noeviction", "master") + "valkey_version:9.1.2\r\n";
        assert_eq!(Server::read(&valkey).unwrap().name(), "Valkey 9.1.2");
        assert!(!Server::read(&info("7.0.15", "noeviction", "slave")).unwrap().primary);
        assert_eq!(Server::read("redis_version:7.0.15"), None);
    }

    #[test]
    fn old_versions_and_evicting_policies_are_warned_of() {
        for (version, policy, warnings) in [
            ("7.0.0", "noeviction", 0),
            ("7.2.4", "noeviction", 0), // what Valkey 9 says for the sake of old clients
            ("8.0.1", "noeviction", 0),
            ("10.0.0", "noeviction", 0),
            ("6.2.14", "noeviction", 1),
            ("", "noeviction", 1),
            ("seven", "noeviction", 1),
            ("7.0.15", "allkeys-lru", 1),
            ("7.0.15", "volatile-ttl", 1),
            ("5.0.0", "volatile-lru", 2),
        ] {
            let server = Server::read(&info(version, policy, "master")).unwrap();
            assert_eq!(server.warnings().len(), warnings, "{version} {policy}");
        }
    }
}
