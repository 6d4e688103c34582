//! What a request's sender may do: the functions that API files call.

use std::net::IpAddr;
use std::sync::Arc;

use strata_metadata::Image;
use strata_metadata::acl::CLUSTER_NAME;
use strata_types::ErrorCode;

use super::{Operation, Principal, ResourceType};
use crate::broker::Broker;
use crate::config::SecurityProtocol;
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

    /// What Kafka answers where this may not be done.
    fn denied(self) -> ErrorCode {
        match self.parts().0 {
            ResourceType::Topic => ErrorCode::TopicAuthorizationFailed,
            ResourceType::Group => ErrorCode::GroupAuthorizationFailed,
            ResourceType::Cluster | ResourceType::User => ErrorCode::ClusterAuthorizationFailed,
            ResourceType::TransactionalId => ErrorCode::TransactionalIdAuthorizationFailed,
            ResourceType::DelegationToken => ErrorCode::DelegationTokenAuthorizationFailed,
        }
    }
}

/// What one principal from one host may do, by one image: a request that asks about many resources gets one answer.
pub(crate) struct Access(Option<Who>);

/// Whom the authoriser is asked about; without an authoriser nobody is.
struct Who {
    broker: Arc<Broker>,
    image: Arc<Image>,
    principal: Principal,
    host: String,
}

impl Context {
    /// Who sent the request; fixed for the connection once it has authenticated.
    pub(crate) fn principal(&self) -> &Principal {
        self.peer.session.principal()
    }

    /// Whether delegation tokens may be asked for: not by whoever is nobody in particular, nor by a token.
    pub(crate) fn may_use_tokens(&self) -> bool {
        let principal = self.principal();
        self.peer.session.protocol() != SecurityProtocol::Plaintext
            && !principal.is_anonymous()
            && !principal.is_token_authenticated()
    }

    /// Takes the access control entries as they are now. Where one request asks about several resources, take this once.
    pub(crate) fn access(&self) -> Access {
        Access::new(&self.broker, self.peer.address.ip(), self.principal())
    }

    /// Whether the sender may do this. A denial is an attempt at something forbidden, and is logged.
    pub(crate) fn allows(&self, operation: Operation, resource: Resource<'_>) -> bool {
        self.access().allows(operation, resource)
    }

    /// [`Self::allows`], with the code that Kafka answers where it is denied.
    pub(crate) fn check(&self, operation: Operation, resource: Resource<'_>) -> Result<(), ErrorCode> {
        self.access().check(operation, resource)
    }

    /// Whether there may be a resource of this kind that the sender may do this to.
    pub(crate) fn allows_some(&self, operation: Operation, resource_type: ResourceType) -> bool {
        self.access().allows_some(operation, resource_type)
    }

    /// What answers with `cluster_authorized_operations` hold: nothing, for who may not even describe the cluster.
    pub(crate) fn cluster_operations(&self) -> i32 {
        let access = self.access();
        match access.sees(Operation::Describe, Resource::Cluster) {
            true => access.operations(Resource::Cluster),
            false => 0,
        }
    }
}

impl Access {
    fn new(broker: &Arc<Broker>, address: IpAddr, principal: &Principal) -> Self {
        Self((!broker.authorizer.is_off()).then(|| Who {
            image: broker.image(),
            broker: broker.clone(),
            principal: principal.clone(),
            host: address.to_canonical().to_string(),
        }))
    }

    /// Whether the sender may do this. A denial is an attempt at something forbidden, and is logged.
    pub(crate) fn allows(&self, operation: Operation, resource: Resource<'_>) -> bool {
        let allowed = self.sees(operation, resource);
        if let (false, Some(Who { broker, principal, host, .. })) = (allowed, &self.0) {
            let ((resource_type, name), operation) = (resource.parts(), operation.name());
            let resource_type = resource_type.name();
            let denial =
                format_args!("{principal} from {host} is denied {operation} on {resource_type}:{name}");
            broker.denials.warn("denied", &denial);
        }
        allowed
    }

    /// [`Self::allows`], with the code that Kafka answers where it is denied.
    pub(crate) fn check(&self, operation: Operation, resource: Resource<'_>) -> Result<(), ErrorCode> {
        if self.allows(operation, resource) { Ok(()) } else { Err(resource.denied()) }
    }

    /// The same where the answer only leaves out what the sender may not see: nothing was attempted, nothing is logged.
    pub(crate) fn sees(&self, operation: Operation, resource: Resource<'_>) -> bool {
        let Some(Who { broker, image, principal, host }) = &self.0 else { return true };
        broker.authorizer.allows(image.acls(), (principal, host), operation, resource)
    }

    /// Whether there may be a resource of this kind that the sender may do this to.
    pub(crate) fn allows_some(&self, operation: Operation, resource_type: ResourceType) -> bool {
        let Some(Who { broker, image, principal, host }) = &self.0 else { return true };
        broker.authorizer.allows_some(image.acls(), (principal, host), operation, resource_type)
    }

    /// The operations that the sender may do to a resource, one bit for each at the number that `AclOperation` gives it,
    /// as answers with `authorized_operations` hold them (KIP-430).
    pub(crate) fn operations(&self, resource: Resource<'_>) -> i32 {
        let (resource_type, _) = resource.parts();
        let allowed = resource_type.operations().iter().filter(|operation| self.sees(**operation, resource));
        allowed.fold(0, |bits, operation| bits | 1 << operation.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_an_authoriser_the_operations_are_those_that_apache_kafka_answers() {
        let all = Access(None);
        let operations = [Resource::Topic("t"), Resource::Group("g"), Resource::Cluster];
        assert_eq!(operations.map(|resource| all.operations(resource)), [3576, 3400, 8096]);
    }
}
