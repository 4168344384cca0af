//! The four limits, and whose they are. Limits are counted per party, and an
//! IPv6 party is the /64 that it can choose its addresses from.

use std::net::{IpAddr, Ipv6Addr};

use crate::{limits::Rate, mark::Mark, ports::LimitSpend};

/// One of the limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Limit {
    /// Mints per client address.
    MintPerClient,
    /// Mints per publisher.
    MintPerPublisher,
    /// Refused Mints per client address.
    RefusedMintPerClient,
    /// Denied Verifies per client address.
    DeniedVerifyPerClient,
}

impl Limit {
    /// Every limit.
    pub const ALL: [Self; 4] = [
        Self::MintPerClient,
        Self::MintPerPublisher,
        Self::RefusedMintPerClient,
        Self::DeniedVerifyPerClient,
    ];

    /// Its name in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::MintPerClient => "mint_per_client",
            Self::MintPerPublisher => "mint_per_publisher",
            Self::RefusedMintPerClient => "refused_mint_per_client",
            Self::DeniedVerifyPerClient => "denied_verify_per_client",
        }
    }
}

/// How much is allowed; none: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Mints per client address.
    pub mint_per_client: Option<Rate>,
    /// Mints per publisher.
    pub mint_per_publisher: Option<Rate>,
    /// Refused Mints per client address.
    pub refused_mint_per_client: Option<Rate>,
    /// Denied Verifies per client address.
    pub denied_verify_per_client: Option<Rate>,
}

impl Limits {
    /// What a Mint for a publisher spends, and of which limits, in the same order.
    pub(super) fn publisher_mint(
        &self,
        client: Option<IpAddr>,
        index: &str,
        publisher_id: &str,
    ) -> (Vec<Limit>, Vec<LimitSpend>) {
        let of_publisher = Limit::MintPerPublisher;
        let publisher = self.mint_per_publisher.map(|rate| LimitSpend {
            mark: Mark::limit(of_publisher.name(), &format!("{index}\0{publisher_id}")),
            rate,
        });
        let client = self.user_mint(client).map(|spend| (Limit::MintPerClient, spend));
        client.into_iter().chain(publisher.map(|spend| (of_publisher, spend))).unzip()
    }

    /// What a Mint for a user spends.
    pub(super) fn user_mint(&self, client: Option<IpAddr>) -> Option<LimitSpend> {
        per_client(Limit::MintPerClient, self.mint_per_client, client)
    }

    /// What a refused Mint spends.
    pub(super) fn refused_mint(&self, client: Option<IpAddr>) -> Option<LimitSpend> {
        per_client(Limit::RefusedMintPerClient, self.refused_mint_per_client, client)
    }

    /// What a denied Verify spends.
    pub(super) fn denied_verify(&self, client: Option<IpAddr>) -> Option<LimitSpend> {
        per_client(Limit::DeniedVerifyPerClient, self.denied_verify_per_client, client)
    }
}

fn per_client(limit: Limit, rate: Option<Rate>, client: Option<IpAddr>) -> Option<LimitSpend> {
    Some(LimitSpend { mark: Mark::limit(limit.name(), &party(client?)), rate: rate? })
}

fn party(client: IpAddr) -> String {
    match client {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let network = address.to_bits() & !u128::from(u64::MAX);
            format!("{}/64", Ipv6Addr::from_bits(network))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_party_is_its_network_and_an_ipv4_party_its_address() {
        for (address, expected) in [
            ("192.0.2.7", "192.0.2.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ] {
            assert_eq!(party(address.parse().unwrap()), expected);
        }
    }
}
