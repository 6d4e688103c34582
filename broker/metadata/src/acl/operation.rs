//! Operations and kinds of resources, by the numbers that `AclOperation` and `ResourceType` give them.

macro_rules! numbered {
    ($(#[$meta:meta])* $type:ident { $($variant:ident = $code:literal, $name:literal;)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(i8)]
        pub enum $type {
            $($variant = $code,)+
        }

        impl $type {
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            pub const fn code(self) -> i8 {
                self as i8
            }

            /// What has this number; `None` for unknown, for `ANY`, and for what Kafka has given no meaning.
            pub const fn from_code(code: i8) -> Option<Self> {
                match code {
                    $($code => Some(Self::$variant),)+
                    _ => None,
                }
            }

            /// Kafka's name, as its logs print it.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }
    };
}

numbered! {
    /// What somebody wants to do.
    Operation {
        All = 2, "ALL";
        Read = 3, "READ";
        Write = 4, "WRITE";
        Create = 5, "CREATE";
        Delete = 6, "DELETE";
        Alter = 7, "ALTER";
        Describe = 8, "DESCRIBE";
        ClusterAction = 9, "CLUSTER_ACTION";
        DescribeConfigs = 10, "DESCRIBE_CONFIGS";
        AlterConfigs = 11, "ALTER_CONFIGS";
        IdempotentWrite = 12, "IDEMPOTENT_WRITE";
        CreateTokens = 13, "CREATE_TOKENS";
        DescribeTokens = 14, "DESCRIBE_TOKENS";
        TwoPhaseCommit = 15, "TWO_PHASE_COMMIT";
    }
}

numbered! {
    /// What it is done to.
    ResourceType {
        Topic = 2, "Topic";
        Group = 3, "Group";
        Cluster = 4, "Cluster";
        TransactionalId = 5, "TransactionalId";
        DelegationToken = 6, "DelegationToken";
        User = 7, "User";
    }
}

impl Operation {
    pub(super) const fn bit(self) -> u16 {
        1 << self as i8
    }

    /// The operations of which an allow entry allows this one too.
    pub(super) const fn allowed_by(self) -> u16 {
        let implied = match self {
            Self::Describe => Self::Read.bit() | Self::Write.bit() | Self::Delete.bit() | Self::Alter.bit(),
            Self::DescribeConfigs => Self::AlterConfigs.bit(),
            _ => 0,
        };
        implied | self.denied_by()
    }

    /// The operations of which a deny entry denies this one too: itself and all, nothing implied.
    pub(super) const fn denied_by(self) -> u16 {
        self.bit() | Self::All.bit()
    }
}

impl ResourceType {
    /// What can be done to a resource of this kind, as Kafka lists it in answers (KIP-430).
    pub const fn operations(self) -> &'static [Operation] {
        use Operation::*;
        match self {
            Self::Topic => &[Read, Write, Create, Delete, Alter, Describe, DescribeConfigs, AlterConfigs],
            Self::Group => &[Read, Delete, Describe, DescribeConfigs, AlterConfigs],
            Self::Cluster => {
                &[Create, Alter, Describe, ClusterAction, DescribeConfigs, AlterConfigs, IdempotentWrite]
            }
            Self::TransactionalId => &[Write, Describe, TwoPhaseCommit],
            Self::DelegationToken => &[Describe],
            Self::User => &[CreateTokens, DescribeTokens],
        }
    }
}
