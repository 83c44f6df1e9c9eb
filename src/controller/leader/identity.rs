//! What a replica is called in the lease and in the API server's audit log.

use std::fmt::Write as _;

use rustix::rand::{GetRandomFlags, getrandom};
use rustix::system::uname;

/// The host's name, which in a pod is the pod's, and eight random bytes: a container that restarts in its pod is another
/// replica, and so are two processes on one host.
///
/// # Errors
/// When the system has no randomness to give.
pub fn own_identity() -> std::io::Result<String> {
    let mut random = [0_u8; 8];
    let filled = getrandom(&mut random, GetRandomFlags::empty())?;
    if filled != random.len() {
        return Err(std::io::Error::other(
            "the system gave less randomness than was asked for",
        ));
    }
    let mut identity = name_of_host();
    identity.push('_');
    for byte in random {
        // Writing to a String cannot fail.
        let _ = write!(identity, "{byte:02x}");
    }
    Ok(identity)
}

/// Only what a header and a line of a log can hold.
fn name_of_host() -> String {
    let system = uname();
    let name = system.nodename().to_string_lossy();
    let plain = name
        .chars()
        .filter(|character| character.is_ascii_alphanumeric() || "-.".contains(*character));
    plain.take(63).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_identities_differ_and_fit_into_a_header() {
        let (one, other) = (own_identity().unwrap(), own_identity().unwrap());
        assert_ne!(one, other);
        let (host, random) = one.rsplit_once('_').unwrap();
        assert_eq!(random.len(), 16, "{one}");
        assert!(!host.is_empty() && other.starts_with(host), "{one} {other}");
        http::HeaderValue::from_str(&one).unwrap();
    }
}
