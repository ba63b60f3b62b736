//! What the fuzzers begin with.

#[path = "../../../../fuzz/src/agent_targets.rs"]
mod agent_targets;

use std::fs;
use std::path::Path;

#[test]
fn the_corpus_is_borne() {
    for (target, body) in agent_targets::ALL {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
        let files: Vec<_> = fs::read_dir(&folder).unwrap().flatten().collect();
        assert!(!files.is_empty(), "{target} has a corpus");
        files.iter().for_each(|file| body(&fs::read(file.path()).unwrap()));
    }
}
