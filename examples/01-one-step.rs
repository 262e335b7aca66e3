//! One decode step by hand: plant, draft, plan, pack, verify, accept.

use echo_core::{
    BatchView, Budget, Children, Drafter, Keep, Limits, Load, Plan, SampleSpec, SampleView, Solver,
    Target, Verdicts,
};
use echo_model::sim::{SimDraft, SimDrafter, SimOptions, SimTarget};
use echo_tree::{Packed, Paths, SeqRows, SuperTree, accept, draw, open};

fn main() {
    // One sequence with a prompt of three tokens; a simulated pair stands in for models.
    let limits = Limits { depth_max: 2, width_max: 2, beam_max: 2, ..Limits::usual(1, 64) };
    let mut target = SimTarget::new(SimOptions::small(7));
    let (law, agreement) = (target.law(), vec![1.0, 0.5]);
    let mut drafter = SimDrafter::new(SimDraft { law, agreement, silence: 0.0, unruly: 0.0 });
    let tokens = &[3, 1, 4];
    let (slots, n_tokens, n_cached, seed, temperature) = (&[], &[3], &[0], &[0], &[0.0]);
    let batch = BatchView { tokens, slots, stride: 3, n_tokens, n_cached, seed, temperature };

    // Grow: the last token is the root; two levels below it.
    let mut tree = SuperTree::new(&limits);
    let (mut keep, mut children) = (Keep::default(), Children::default());
    tree.plant([(0, tokens[2])].into_iter());
    for _ in 0..limits.depth_max {
        let frontier = tree.view().frontier();
        open(frontier, limits.width_max, limits.beam_max, &[2], &mut keep);
        children.clear();
        drafter.extend(batch, frontier, &keep, &mut children).expect("nothing fails here");
        tree.push_level(&keep, &children);
    }

    // Choose five rows and lay them out behind the prompt's first two tokens.
    let load = Load { n_seqs: 1, ..Load::default() };
    let budget = Budget { rows: 5, tree_max: limits.tree_max, load, shares: &[] };
    let mut plan = Plan::default();
    plan.reset(tree.view().len(), 1);
    echo_budget::Uniform::default().choose(tree.view(), budget, &mut plan);
    let mut packed = Packed::new(&limits);
    packed.begin(tree.view());
    let slots: Vec<u32> = (0..16).collect();
    let rows = SeqRows {
        seq: 0,
        cached: &[],
        context: &tokens[..2],
        root: true,
        scored: false,
        slots: &slots,
    };
    packed.push_seq(tree.view(), &plan, rows);

    // Ask the target once, and walk along its answers.
    let position = |&row: &u32| packed.view().position[row as usize] + 1;
    let spec = |row| SampleSpec { position: position(row), ..SampleSpec::GREEDY };
    let specs: Vec<SampleSpec> = packed.view().sampled.iter().map(spec).collect();
    let sample = SampleView { specs: &specs, edits: &[] };
    let mut verdicts = Verdicts::default();
    target.verify(packed.view(), sample, &mut verdicts).expect("nothing fails here");
    let mut paths = Paths::new(&limits);
    accept(tree.view(), &packed, &verdicts, &mut paths);

    println!("{}", draw(tree.view(), Some(&plan), None));
    let committed = paths.verdicts(0).iter().map(|&v| verdicts.token[v as usize]);
    println!("committed in one forward: {:?}", committed.collect::<Vec<_>>());
}
