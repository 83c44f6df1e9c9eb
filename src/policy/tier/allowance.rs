//! An allowance, parsed: every list that would mean "everyone" when empty is known not to be empty.

mod parse;

use ipnet::IpNet;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

pub(super) use self::parse::parse_all;
use crate::api::{Direction, Protocol};

/// One named hole in the isolation.
#[derive(Clone, Debug, PartialEq)]
pub struct Allowance {
    /// A DNS label, unique in the tier.
    pub name: String,
    /// The pods that it holds for; every pod of the namespace where absent.
    pub pods: Option<LabelSelector>,
    /// What goes through.
    pub traffic: Traffic,
}

/// What goes through an allowance.
#[derive(Clone, Debug, PartialEq)]
pub enum Traffic {
    /// Egress to the cluster's DNS.
    Dns,
    /// Egress to the API server.
    KubeApiServer,
    /// Both directions between pods of the namespace, on these ports (every port where empty).
    SameNamespace {
        /// Every port where empty.
        ports: Vec<Port>,
    },
    /// One direction, with peers that the tier wrote: at least one of them.
    Peers {
        /// The direction.
        direction: Direction,
        /// Peers by labels.
        pods: Vec<PodPeer>,
        /// Peers by address.
        blocks: Vec<Block>,
        /// Every port where empty.
        ports: Vec<Port>,
    },
}

/// Peers by labels: at least one of the two is present.
#[derive(Clone, Debug, PartialEq)]
pub struct PodPeer {
    /// Namespaces; the policy's own where absent.
    pub namespaces: Option<LabelSelector>,
    /// Pods; every pod of the namespaces where absent.
    pub pods: Option<LabelSelector>,
}

/// Peers by address.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Block {
    /// The block, in canonical form.
    pub cidr: IpNet,
    /// Strictly smaller blocks inside it that are left out.
    pub except: Vec<IpNet>,
}

/// One port, a range of them, or all of a protocol.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Port {
    /// The protocol.
    pub protocol: Protocol,
    /// Which ports of it.
    pub target: PortTarget,
}

/// Which ports of a protocol.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum PortTarget {
    /// All of them.
    All,
    /// From the first to the last, which is at least the first.
    Numbers {
        /// 1 to 65535.
        first: u16,
        /// The first, or above it.
        last: u16,
    },
    /// The container port of that name.
    Name(String),
}

impl Allowance {
    /// The directions that it speaks of.
    pub fn directions(&self) -> &'static [Direction] {
        match &self.traffic {
            Traffic::Dns | Traffic::KubeApiServer => &[Direction::Egress],
            Traffic::SameNamespace { .. } => &[Direction::Ingress, Direction::Egress],
            Traffic::Peers {
                direction: Direction::Ingress,
                ..
            } => &[Direction::Ingress],
            Traffic::Peers {
                direction: Direction::Egress,
                ..
            } => &[Direction::Egress],
        }
    }
}
