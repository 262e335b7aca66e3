//! `cargo xtask tidy`: the rules of the house that neither the compiler nor clippy knows.
//!
//! Every rule reads the whole tree and reports all it finds, so one run shows all there is to mend.
//! Each has a unit test with a planted breach. In reading order: [`breach`], [`source`], then the
//! rules: [`edges`] with its table [`allowed`], [`size`], [`function`], [`naming`], [`banned`],
//! [`stems`].

mod allowed;
mod banned;
mod blank;
mod breach;
mod edges;
mod function;
mod naming;
mod size;
mod source;
mod stems;

pub(crate) use source::Tree;

use crate::Outcome;
use crate::cargo::root;

/// Checks the tree and prints every breach as `file:line: rule: what to do`.
pub(crate) fn run() -> Outcome {
    let tree = Tree::read(root())?;
    let mut breaches = edges::check(&edges::packages()?);
    breaches.extend(size::check(&tree));
    breaches.extend(function::check(&tree));
    breaches.extend(naming::check(&tree));
    breaches.extend(banned::check(&tree));
    breaches.extend(stems::check(&tree));
    breaches.sort();
    for breach in &breaches {
        println!("{breach}");
    }
    match breaches.len() {
        0 => {
            println!("tidy: {} files, no breach", tree.files().len());
            Ok(())
        }
        1 => Err("tidy found 1 breach".into()),
        n => Err(format!("tidy found {n} breaches").into()),
    }
}
