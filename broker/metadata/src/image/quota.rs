use std::collections::BTreeMap;
use std::sync::Arc;

use strata_protocol::Str;
use strata_protocol::messages::ClientQuotaRecord;
use strata_protocol::messages::client_quota_record::EntityData;

/// The quotas of one entity, by key (`producer_byte_rate` …).
pub type QuotaMap = Arc<BTreeMap<Str, f64>>;

const USER: &str = "user";
const CLIENT_ID: &str = "client-id";
const IP: &str = "ip";

/// Whom a part of a quota's entity means.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum QuotaName {
    /// Everybody who has no entity of their own.
    Default,
    Named(Str),
}

/// Whom quotas are set for (KIP-546): a user, a client id, both, or an address.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QuotaEntity {
    pub user: Option<QuotaName>,
    pub client_id: Option<QuotaName>,
    pub ip: Option<QuotaName>,
}

/// Why parts are no entity. The words are Kafka's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoQuotaEntity {
    #[error("Invalid empty client quota entity")]
    Empty,
    #[error("Invalid empty client quota entity, duplicate entity entry {0}")]
    Twice(Str),
    #[error("Unhandled client quota entity type: {0}")]
    Type(Str),
    #[error("Empty {0} not supported")]
    NoName(Str),
}

impl QuotaEntity {
    /// The entity of these parts, each a type and a name; no name is the type's default.
    pub fn parse<'a>(
        parts: impl IntoIterator<Item = (&'a Str, Option<&'a Str>)>,
    ) -> Result<Self, NoQuotaEntity> {
        let mut entity = Self::default();
        for (kind, name) in parts {
            let place = entity.part_mut(kind).ok_or_else(|| NoQuotaEntity::Type(kind.detached()))?;
            if place.is_some() {
                return Err(NoQuotaEntity::Twice(kind.detached()));
            }
            *place = Some(match name {
                None => QuotaName::Default,
                Some(name) if name.is_empty() => return Err(NoQuotaEntity::NoName(kind.detached())),
                Some(name) => QuotaName::Named(name.detached()),
            });
        }
        match (&entity.user, &entity.client_id, &entity.ip) {
            // Addresses have quotas of their own kind, which go with nothing else.
            (None, None, None) | (Some(_), _, Some(_)) | (_, Some(_), Some(_)) => Err(NoQuotaEntity::Empty),
            _ => Ok(entity),
        }
    }

    /// What stands for a type of entity; `None` for a type that there is not, too.
    pub fn part(&self, kind: &str) -> Option<&QuotaName> {
        match kind {
            USER => self.user.as_ref(),
            CLIENT_ID => self.client_id.as_ref(),
            IP => self.ip.as_ref(),
            _ => None,
        }
    }

    /// Whether there is such a type of entity.
    pub fn is_type(kind: &str) -> bool {
        matches!(kind, USER | CLIENT_ID | IP)
    }

    fn part_mut(&mut self, kind: &str) -> Option<&mut Option<QuotaName>> {
        match kind {
            USER => Some(&mut self.user),
            CLIENT_ID => Some(&mut self.client_id),
            IP => Some(&mut self.ip),
            _ => None,
        }
    }

    /// The parts as they stand on the wire: type and name, no name for the type's default.
    pub fn parts(&self) -> impl Iterator<Item = (&'static str, Option<Str>)> + '_ {
        let all = [(CLIENT_ID, &self.client_id), (IP, &self.ip), (USER, &self.user)];
        all.into_iter().filter_map(|(kind, name)| match name.as_ref()? {
            QuotaName::Default => Some((kind, None)),
            QuotaName::Named(name) => Some((kind, Some(name.clone()))),
        })
    }

    /// The record that sets one quota, or with no value removes it.
    pub(crate) fn record(&self, key: &Str, value: Option<f64>) -> ClientQuotaRecord {
        let part = |(kind, entity_name)| EntityData {
            entity_type: Str::from_static(kind),
            entity_name,
            ..Default::default()
        };
        ClientQuotaRecord {
            entity: self.parts().map(part).collect(),
            key: key.clone(),
            value: value.unwrap_or_default(),
            remove: value.is_none(),
            ..Default::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(parts: &[(&'static str, Option<&'static str>)]) -> Result<QuotaEntity, NoQuotaEntity> {
        let parts: Vec<_> =
            parts.iter().map(|(kind, name)| (Str::from_static(kind), name.map(Str::from_static))).collect();
        QuotaEntity::parse(parts.iter().map(|(kind, name)| (kind, name.as_ref())))
    }

    #[test]
    fn an_entity_is_read_back_from_its_record() {
        for parts in [
            &[(USER, Some("a")), (CLIENT_ID, None)][..],
            &[(USER, None)],
            &[(CLIENT_ID, Some("c"))],
            &[(IP, Some("127.0.0.1"))],
        ] {
            let entity = parse(parts).unwrap();
            let record = entity.record(&Str::from_static("k"), Some(1.0));
            let parts = record.entity.iter().map(|part| (&part.entity_type, part.entity_name.as_ref()));
            assert_eq!(QuotaEntity::parse(parts), Ok(entity));
        }
    }

    #[test]
    fn parts_that_do_not_go_together_are_refused() {
        assert_eq!(parse(&[]), Err(NoQuotaEntity::Empty));
        assert_eq!(parse(&[(USER, None), (IP, None)]), Err(NoQuotaEntity::Empty));
        assert_eq!(parse(&[(USER, None), (USER, Some("a"))]), Err(NoQuotaEntity::Twice(USER.into())));
        assert_eq!(parse(&[(USER, Some(""))]), Err(NoQuotaEntity::NoName(USER.into())));
        assert_eq!(parse(&[("group", None)]), Err(NoQuotaEntity::Type("group".into())));
    }
}
