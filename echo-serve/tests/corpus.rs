//! The seeds of the fuzz target for bodies, and every body that once broke something.
#![allow(unreachable_pub, reason = "the file is that of the fuzz target, where it is reached")]

#[path = "../../fuzz/src/request_body.rs"]
mod request_body;

#[test]
fn seeds_of_request_bodies() {
    let folder =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds/request_body");
    let mut n = 0;
    for entry in std::fs::read_dir(folder).expect("the seeds are there") {
        let path = entry.expect("a readable folder").path();
        eprintln!("{}", path.display());
        let seed = std::fs::read(path).expect("a readable seed");
        // Every beginning of it as well: a client that stopped in the middle.
        for end in 0..=seed.len() {
            request_body::read(&seed[..end]);
        }
        n += 1;
    }
    assert!(n > 1, "{n} seeds");
}
