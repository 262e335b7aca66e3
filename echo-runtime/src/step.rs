//! The decode step, on one page.

use crate::admit::{admit, retire};
use crate::buffers::Buffers;
use crate::commit::commit;
use crate::engine::Engine;
use crate::lay_out::lay_out;
use crate::meter::Stage;
use crate::output::Output;
use crate::ports::Ports;
use echo_core::{Budget, DeviceError, Drafter, Gate, Settled, Solver, Target};
use echo_tree::{accept, open};

/// One step for every live sequence: admit, draft, gate, solve, pack, verify, commit.
///
/// Prompt chunks, plain rows and drafted rows share one forward and one row budget; plain decoding
/// is the same page with an empty draft. Allocates nothing after warm-up. What is committed changes
/// in `commit` alone: on an error the lease returns its slots, and the caller may try again or
/// stop.
pub(crate) fn step(engine: &mut Engine, out: &mut Output) -> Result<(), DeviceError> {
    let Engine { ports, limits, options, queue, batch, kv, buffers, meter, learnt, .. } = engine;
    let Ports { target, drafter, gate, solver, vocab, .. } = ports;
    let Buffers { schedule, tree, keep, children, plan, packed, specs, verdicts, paths, ledger } =
        buffers;

    // Who plays, and how the rows of committed tokens are divided.
    let mut clock = meter.start();
    clock.preempted(admit(queue, batch, kv, drafter));
    schedule.divide(batch, limits, options, kv.n_available());
    if schedule.is_idle() {
        return Ok(());
    }
    let load =
        schedule.load(batch, queue.len(), kv.n_available(), limits, clock.accepted(), *learnt);
    let rows = options.rows_for(load);
    clock.lap(Stage::Admit);

    // Grow: one root per decoding sequence, then level by level while somebody keeps a node open.
    tree.plant(schedule.roots().map(|seq| (seq, batch.last_token(seq))));
    let is_drafting = rows > load.n_seqs && !solver.is_off();
    let depth_max = if is_drafting { limits.depth_max } else { 0 };
    for depth in 0..depth_max {
        let frontier = tree.view().frontier();
        open(frontier, limits.width_max, limits.beam_max, schedule.depth_cap(), keep);
        if gate.looks_at(depth) {
            let opened = (keep.n_children(), keep.n_passes());
            gate.narrow(frontier, load, keep);
            clock.gated(depth, opened, keep);
        }
        clock.lap(Stage::Gate);
        if keep.is_closed() {
            break;
        }
        children.clear();
        drafter.extend(batch.view(), frontier, keep, children)?;
        let grown = tree.push_level(keep, children);
        clock.lap(Stage::Draft);
        if grown == 0 {
            break;
        }
    }

    // Choose the nodes most worth the target's time, parents always included. A plan that breaks
    // the rules comes back as the roots alone.
    let budget = Budget { rows, tree_max: limits.tree_max, load, shares: batch.shares() };
    plan.reset(tree.view().len(), load.n_seqs);
    solver.choose(tree.view(), budget, plan);
    clock.lap(Stage::Solve);

    // Lay out: prompts and trees become flat rows, each with position, ancestors and KV slot.
    let mut lease = kv.lease(load.context_rows + plan.len());
    lay_out(tree.view(), plan, batch, schedule, lease.slots(), packed);
    specs.fill(tree.view(), batch, packed);
    clock.lap(Stage::Pack);

    // Ask: one forward over all rows, one walk per sequence.
    target.verify(packed.view(), specs.view(), verdicts)?;
    accept(tree.view(), packed, verdicts, paths);
    clock.lap(Stage::Verify);

    // Settle: accepted slots and tokens join their sequences; what ended leaves.
    commit(tree.view(), packed, paths, verdicts, &mut lease, batch, vocab.as_ref(), ledger, out);
    drop(lease);
    drafter.settle(Settled { batch: batch.view(), packed: packed.view(), kept: ledger.kept() });
    retire(packed.view(), ledger, batch, kv, drafter, out);
    clock.finish(tree.view(), packed.view(), load, rows, ledger);
    Ok(())
}
