//! Which quota counts for whom, by Kafka's order of precedence (KIP-55). Sans-IO.
//!
//! ```text
//! user + client id ─▶ user + any client ─▶ user ─▶ any user + client id ─▶ any user + any client ─▶ any user ─▶ client id ─▶ any client
//! ```

use std::collections::HashMap;

use strata_metadata::{Image, QuotaEntity, QuotaName};
use strata_protocol::Str;

use super::Kind;

/// Who shares one measurement: the parts of the quota's entity that were named or defaulted, as they really are.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Payer {
    pub user: Option<Str>,
    pub client_id: Option<Str>,
}

/// All quotas of an image, by kind.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    of_kind: [HashMap<QuotaEntity, f64>; Kind::COUNT],
    addresses: HashMap<QuotaEntity, f64>,
}

const ADDRESS_KEY: &str = "connection_creation_rate";

impl Limits {
    pub(crate) fn of(image: &Image) -> Self {
        let mut limits = Self::default();
        for (entity, quotas) in image.client_quotas() {
            for kind in Kind::ALL {
                if let Some(&bound) = quotas.get(kind.key()) {
                    limits.of_kind[kind as usize].insert(entity.clone(), bound);
                }
            }
            if let Some(&bound) = quotas.get(ADDRESS_KEY) {
                limits.addresses.insert(entity.clone(), bound);
            }
        }
        limits
    }

    /// Whether nobody has a quota of this kind.
    pub(crate) fn is_off(&self, kind: Kind) -> bool {
        self.of_kind[kind as usize].is_empty()
    }

    /// The quota that counts for a client, and with whom it shares it.
    pub(crate) fn find(&self, kind: Kind, user: &str, client_id: &str) -> Option<(f64, Payer)> {
        let quotas = &self.of_kind[kind as usize];
        if quotas.is_empty() {
            return None;
        }
        let named = |name: &str| Some(QuotaName::Named(Str::from(name)));
        let default = || Some(QuotaName::Default);
        let order = [
            (named(user), named(client_id)),
            (named(user), default()),
            (named(user), None),
            (default(), named(client_id)),
            (default(), default()),
            (default(), None),
            (None, named(client_id)),
            (None, default()),
        ];
        order.into_iter().find_map(|(of_user, of_client)| {
            let payer = Payer {
                user: of_user.as_ref().map(|_| Str::from(user)),
                client_id: of_client.as_ref().map(|_| Str::from(client_id)),
            };
            let entity = QuotaEntity { user: of_user, client_id: of_client, ip: None };
            quotas.get(&entity).map(|&bound| (bound, payer))
        })
    }

    /// How many connections a second an address may make.
    pub(crate) fn connections_per_second(&self, address: std::net::IpAddr) -> Option<f64> {
        if self.addresses.is_empty() {
            return None;
        }
        let of = |ip| self.addresses.get(&QuotaEntity { ip: Some(ip), ..Default::default() }).copied();
        of(QuotaName::Named(Str::from(address.to_string()))).or_else(|| of(QuotaName::Default))
    }
}

#[cfg(test)]
mod tests {
    use strata_protocol::messages::ClientQuotaRecord;
    use strata_protocol::messages::client_quota_record::EntityData;

    use super::*;

    /// Not part of the entity, its default, or a name.
    type Part<'a> = Option<Option<&'a str>>;

    fn limits(quotas: &[(Part<'_>, Part<'_>, f64)]) -> Limits {
        let mut image = Image::default();
        for (user, client, value) in quotas {
            let parts = [("user", user), ("client-id", client)];
            let part = |(kind, name): (&'static str, &Part<'_>)| {
                let name = (*name)?;
                Some(EntityData {
                    entity_type: kind.into(),
                    entity_name: name.map(Str::from),
                    ..Default::default()
                })
            };
            let record = ClientQuotaRecord {
                entity: parts.into_iter().filter_map(part).collect(),
                key: Kind::Produce.key().into(),
                value: *value,
                ..Default::default()
            };
            image.apply(&record.into()).unwrap();
        }
        Limits::of(&image)
    }

    #[test]
    fn the_most_particular_quota_counts() {
        let all = [
            (Some(Some("u")), Some(Some("c")), 1.0),
            (Some(Some("u")), Some(None), 2.0),
            (Some(Some("u")), None, 3.0),
            (Some(None), Some(Some("c")), 4.0),
            (Some(None), Some(None), 5.0),
            (Some(None), None, 6.0),
            (None, Some(Some("c")), 7.0),
            (None, Some(None), 8.0),
        ];
        for from in 0..all.len() {
            let found = limits(&all[from..]).find(Kind::Produce, "u", "c").map(|(bound, _)| bound);
            assert_eq!(found, Some(all[from].2));
        }
        assert_eq!(limits(&all).find(Kind::Fetch, "u", "c"), None);
        assert_eq!(limits(&all[..3]).find(Kind::Produce, "other", "c"), None);
    }

    #[test]
    fn a_default_gives_everybody_a_quota_of_their_own() {
        let limits = limits(&[(Some(None), None, 6.0)]);
        let payer = |user: &str| limits.find(Kind::Produce, user, "c").unwrap().1;
        assert_ne!(payer("u"), payer("v"));
        assert_eq!(payer("u"), Payer { user: Some("u".into()), client_id: None });
    }
}
