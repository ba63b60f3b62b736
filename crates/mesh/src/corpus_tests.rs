//! What the fuzzers begin with.

#[path = "../../../fuzz/src/mesh_targets.rs"]
mod mesh_targets;

use std::fs;
use std::path::Path;

use crate::noise;

#[test]
fn the_corpus_is_borne() {
    for (target, body) in mesh_targets::ALL {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
        let files: Vec<_> = fs::read_dir(&folder).unwrap().flatten().collect();
        assert!(!files.is_empty(), "{target} has a corpus");
        files.iter().for_each(|file| body(&fs::read(file.path()).unwrap()));
    }
}
