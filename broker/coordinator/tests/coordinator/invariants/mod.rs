//! What holds whatever happens; each in its own file, checked by the simulation.

pub(crate) mod commits_only_move_offsets;
pub(crate) mod consumers_converge;
pub(crate) mod epochs_never_go_back;
pub(crate) mod no_partition_has_two_owners;
pub(crate) mod one_leader_per_generation;
pub(crate) mod reload_equals_live;
pub(crate) mod replies_follow_commits;
pub(crate) mod silence_empties_groups;
pub(crate) mod stable_members_share_a_generation;
