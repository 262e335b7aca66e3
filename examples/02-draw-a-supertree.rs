//! Draw super-trees as text, and read them back: the notation of this project's tests.

use echo_tree::{Drawing, draw};

fn main() {
    let text = "
        seq 0: 7 *
          11 -0.2 *
            12 -0.5 *
            13 -2.1
          14 -1.9
        seq 3: 8 *
          15 -0.9 *";
    let drawing = Drawing::parse(text).expect("it is well drawn");
    let tree = drawing.tree.view();
    println!("{} nodes in {} levels, {} sequences", tree.len(), tree.levels(), tree.roots());
    for depth in 0..tree.levels() {
        println!("level {depth} is nodes {:?}", tree.level(depth));
    }
    let word = |token| match token {
        7 => "Once".to_owned(),
        8 => "Dear".to_owned(),
        _ => format!("word-{token}"),
    };
    println!("\n{}", draw(tree, Some(&drawing.plan), Some(&word)));
}
