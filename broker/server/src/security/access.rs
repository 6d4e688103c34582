//! What a request's sender may do: the functions that API files call.

use std::net::IpAddr;
use std::sync::Arc;

use strata_metadata::Image;
use strata_metadata::acl::CLUSTER_NAME;

use super::{Operation, Principal, ResourceType};
use crate::broker::Broker;
use crate::dispatch::Context;

/// What something is done to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resource<'a> {
    Topic(&'a str),
    Group(&'a str),
    Cluster,
    TransactionalId(&'a str),
    DelegationToken(&'a str),
    /// `Type:name`.
    User(&'a str),
    Other(ResourceType, &'a str),
}

impl<'a> Resource<'a> {
    pub(super) fn parts(self) -> (ResourceType, &'a str) {
        match self {
            Self::Topic(name) => (ResourceType::Topic, name),
            Self::Group(name) => (ResourceType::Group, name),
            Self::Cluster => (ResourceType::Cluster, CLUSTER_NAME),
            Self::TransactionalId(name) => (ResourceType::TransactionalId, name),
            Self::DelegationToken(name) => (ResourceType::DelegationToken, name),
            Self::User(name) => (ResourceType::User, name),
            Self::Other(resource_type, name) => (resource_type, name),
        }
    }
}

/// What one principal from one host may do, by one image: a request that asks about many resources gets one answer.
pub(crate) struct Access {
    broker: Arc<Broker>,
    image: Arc<Image>,
    principal: Principal,
    host: String,
}

impl Context {
    /// Who sent the request; fixed for the connection once it has authenticated.
    pub(crate) fn principal(&self) -> &Principal {
        &self.peer.principal
    }

    /// Takes the access control entries as they are now. Where one request asks about several resources, take this once.
    pub(crate) fn access(&self) -> Access {
        Access::new(&self.broker, self.peer.address.ip(), self.principal())
    }

    /// Whether the sender may do this. A denial is an attempt at something forbidden, and is logged.
    pub(crate) fn allows(&self, operation: Operation, resource: Resource<'_>) -> bool {
        self.broker.authorizer.is_off() || self.access().allows(operation, resource)
    }

    /// Whether there may be a resource of this kind that the sender may do this to.
    pub(crate) fn allows_some(&self, operation: Operation, resource_type: ResourceType) -> bool {
        self.broker.authorizer.is_off() || self.access().allows_some(operation, resource_type)
    }

    /// The operations that the sender may do to a resource, one bit for each, as answers with
    /// `authorized_operations` hold them (KIP-430).
    pub(crate) fn operations(&self, resource: Resource<'_>) -> i32 {
        self.access().operations(resource)
    }
}

impl Access {
    pub(crate) fn new(broker: &Arc<Broker>, address: IpAddr, principal: &Principal) -> Self {
        Self {
            image: broker.image(),
            broker: broker.clone(),
            principal: principal.clone(),
            host: address.to_canonical().to_string(),
        }
    }

    /// Whether the sender may do this. A denial is an attempt at something forbidden, and is logged.
    pub(crate) fn allows(&self, operation: Operation, resource: Resource<'_>) -> bool {
        let allowed = self.sees(operation, resource);
        if !allowed {
            let (resource_type, name) = resource.parts();
            self.broker.denials.warn(
                "denied",
                &format_args!(
                    "{} from {} is denied {} on {}:{name}",
                    self.principal,
                    self.host,
                    operation.name(),
                    resource_type.name()
                ),
            );
        }
        allowed
    }

    /// The same where the answer only leaves out what the sender may not see: nothing was attempted, nothing is logged.
    pub(crate) fn sees(&self, operation: Operation, resource: Resource<'_>) -> bool {
        let who = (&self.principal, self.host.as_str());
        self.broker.authorizer.allows(self.image.acls(), who, operation, resource)
    }

    /// Whether there may be a resource of this kind that the sender may do this to.
    pub(crate) fn allows_some(&self, operation: Operation, resource_type: ResourceType) -> bool {
        let who = (&self.principal, self.host.as_str());
        self.broker.authorizer.allows_some(self.image.acls(), who, operation, resource_type)
    }

    /// The operations that the sender may do to a resource, one bit for each at the number that `AclOperation` gives it.
    pub(crate) fn operations(&self, resource: Resource<'_>) -> i32 {
        let (resource_type, _) = resource.parts();
        let allowed = resource_type.operations().iter().filter(|operation| self.sees(**operation, resource));
        allowed.fold(0, |bits, operation| bits | 1 << operation.code())
    }
}
