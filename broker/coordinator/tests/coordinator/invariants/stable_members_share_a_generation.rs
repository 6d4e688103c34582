//! What a member is assigned was assigned by the leader of its own generation, to it.

use strata_protocol::messages::SyncGroupResponse;

/// What the simulation's leaders assign: it says for whom it is, and in which generation.
pub(crate) fn assignment(group: &str, generation: i32, member: &str) -> Vec<u8> {
    format!("{group} {generation} {}", lasting(member)).into_bytes()
}

/// `asked` is the group, the generation and the member id of the SyncGroup.
pub(crate) fn check(asked: (&str, i32, &str), sync: &SyncGroupResponse) {
    if sync.error_code == 0 {
        let (group, generation, member) = asked;
        let found = String::from_utf8_lossy(&sync.assignment).into_owned();
        assert_eq!(found.into_bytes(), assignment(group, generation, member), "{member} in {group}");
    }
}

/// A static member's assignment outlives its member id.
fn lasting(member: &str) -> &str {
    if member.starts_with("static") { member.split('-').next().unwrap_or_default() } else { member }
}
