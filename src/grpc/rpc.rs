//! The four calls of the contract, by name.

/// One of the contract's calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rpc {
    /// Exchanges an identity for an upload token.
    Mint,
    /// Answers for a credential.
    Verify,
    /// Narrows an upload token.
    Attenuate,
    /// Ends one before its time.
    Revoke,
}

/// What the paths of all of them begin with.
const SERVICE: &str = "/mintage.v1.TokenService/";

impl Rpc {
    /// Every call.
    pub const ALL: [Self; 4] = [Self::Mint, Self::Verify, Self::Attenuate, Self::Revoke];

    /// Its name in the contract.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mint => "Mint",
            Self::Verify => "Verify",
            Self::Attenuate => "Attenuate",
            Self::Revoke => "Revoke",
        }
    }

    /// The same with its service.
    pub const fn full_name(self) -> &'static str {
        match self {
            Self::Mint => "mintage.v1.TokenService/Mint",
            Self::Verify => "mintage.v1.TokenService/Verify",
            Self::Attenuate => "mintage.v1.TokenService/Attenuate",
            Self::Revoke => "mintage.v1.TokenService/Revoke",
        }
    }

    /// The call of this path; None: it is none of the contract's.
    pub fn of_path(path: &str) -> Option<Self> {
        let name = path.strip_prefix(SERVICE)?;
        Self::ALL.into_iter().find(|rpc| rpc.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_that_of_its_call_and_of_no_other() {
        for rpc in Rpc::ALL {
            assert_eq!(Rpc::of_path(&format!("/{}", rpc.full_name())), Some(rpc));
            assert_eq!(format!("{SERVICE}{}", rpc.name()), format!("/{}", rpc.full_name()));
        }
        for path in ["", "/", "/mintage.v1.TokenService/", "/mintage.v1.TokenService/mint", "Mint"]
        {
            assert_eq!(Rpc::of_path(path), None, "{path}");
        }
    }
}
