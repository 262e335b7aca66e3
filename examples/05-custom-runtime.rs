//! Compose a runtime: a target and a drafter of your own.
use echo_core::port::TargetShape;
use echo_core::{BatchView, Children, DeviceError, Drafter, Frontier, Keep, Limits, PackedView};
use echo_core::{SampleView, Settled, Target, Verdicts};
use echo_model::sim::ByteVocab;
use echo_runtime::{Engine, Options, Output, Parts, Request, Stops};

const TEXT: &[u8] = b"the quick brown fox jumps over the lazy dog; ";

/// Says one text over and over: after position `p` comes its byte `p + 1`.
struct Parrot;

impl Target for Parrot {
    fn shape(&self) -> TargetShape {
        let (vocab, context_max, seqs_max) = (256, 4096, 1024);
        TargetShape { vocab, context_max, kv_slots: 4096, rows_max: 1024, seqs_max }
    }

    fn verify(&mut self, rows: PackedView<'_>, _: SampleView<'_>, v: &mut Verdicts) -> Done {
        v.reset(rows.sampled.len());
        for (token, &row) in v.token.iter_mut().zip(rows.sampled) {
            *token = TEXT[(rows.position[row as usize] as usize + 1) % TEXT.len()].into();
        }
        Ok(())
    }
}

type Done = Result<(), DeviceError>;

/// Knows the text too, but mishears every `o`.
struct HardOfHearing;

impl Drafter for HardOfHearing {
    fn settle(&mut self, _: Settled<'_>) {}
    fn extend(&mut self, b: BatchView<'_>, f: Frontier<'_>, k: &Keep, out: &mut Children) -> Done {
        for node in f.nodes().filter(|n| k.children(n - f.nodes().start) > 0) {
            let at = b.n_tokens[f.tree.seq[node] as usize] as usize + f.depth();
            let said = TEXT[at % TEXT.len()];
            out.push(node, if said == b'o' { b'u' } else { said }.into(), -0.1);
        }
        Ok(())
    }

    fn forget(&mut self, _: u32) {}
}

fn main() {
    let (target, drafter) = (Box::new(Parrot), Box::new(HardOfHearing));
    let solver = Box::new(echo_budget::Uniform::default());
    let vocab = std::sync::Arc::new(ByteVocab::default());
    let parts = Parts { target, drafter, gate: Box::new(echo_gate::Always), solver, vocab };
    let mut engine = Engine::new(parts, Limits::usual(4, 256), Options::default()).expect("legal");
    let stops = Stops { strings: vec!["dog".into()], ..Stops::default() };
    engine.submit(Request { stops, ..Request::new(vec![b't'.into()]) }).expect("a good request");
    let mut out = Output::default();
    while !engine.is_idle() {
        engine.step(&mut out).expect("nothing fails here");
    }
    println!("{}\n{:?}", out.text, out.finished[0]);
}
