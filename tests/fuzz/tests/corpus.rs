//! Every committed input, and a bounded number of mutations of each, through its target.

use std::collections::BTreeSet;
use std::fs;

use strata_fuzz::{Mutations, corpus, targets};

/// How often each committed input is mutated.
const MUTATIONS: usize = 60;

#[test]
fn committed_inputs_and_their_mutations_break_no_promise() {
    let mut inputs_count = 0;
    for target in targets() {
        let inputs = corpus::read(&corpus::folder(), target.name).expect("a corpus of hexadecimal lines");
        for (number, input) in inputs.iter().enumerate() {
            (target.run)(input);
            for mutated in Mutations::new(input, 7919 * (number as u64 + 1)).take(MUTATIONS) {
                (target.run)(&mutated);
            }
        }
        inputs_count += inputs.len();
    }
    assert!(inputs_count > targets().len(), "{inputs_count} inputs");
}

#[test]
fn every_target_has_a_corpus_and_every_corpus_a_target() {
    let named: BTreeSet<String> = targets().iter().map(|target| target.name.to_owned()).collect();
    let stored: BTreeSet<String> = fs::read_dir(corpus::folder())
        .expect("tests/fuzz/corpus")
        .map(|entry| {
            entry.expect("an entry").path().file_stem().expect("a name").to_string_lossy().into_owned()
        })
        .collect();
    assert_eq!(named.len(), targets().len(), "two targets share a name");
    assert_eq!(stored, named);
}
