//! The simulated pair under a small engine of its own: speculative text equals plain text, the
//! ledger stays silent, and each planted bug makes it speak.

mod commit;
mod engine;

use echo_core::{DeviceError, Drafter, Token};
use echo_model::sim::{FailAt, SimDraft, SimDrafter, SimLaw, SimOptions, SimTarget};
use engine::{Bug, Engine, Request, Rng};

fn pair(seed: u64, agreement: f32) -> (SimTarget, SimDrafter) {
    let target = SimTarget::new(SimOptions { kv_slots: 512, ..SimOptions::small(seed) });
    let drafter = SimDrafter::new(SimDraft {
        law: target.law(),
        agreement: vec![agreement],
        silence: 0.05,
        unruly: 0.05,
    });
    (target, drafter)
}

fn requests(rng: &mut Rng) -> Vec<Request> {
    let request = |rng: &mut Rng| Request {
        prompt: (0..=rng.below(12)).map(|_| rng.below(32) as u32).collect(),
        new_tokens: 8 + rng.below(12),
        seed: rng.next(),
        temperature: [0.0, 0.7, 1.0][rng.below(3)],
    };
    (0..=rng.below(4)).map(|_| request(rng)).collect()
}

/// Plain decoding by the law itself: the whole text is hashed anew for every token.
fn oracle(law: SimLaw, request: &Request) -> Vec<Token> {
    let mut text = request.prompt.clone();
    let mut scratch = vec![0.0; law.vocab];
    for _ in 0..request.new_tokens {
        let (digest, position) = (law.digest(&text), text.len() as u32);
        let (seed, temperature) = (request.seed, request.temperature);
        text.push(law.next(digest, position, seed, temperature, &mut scratch));
    }
    text
}

#[test]
fn speculative_text_is_plain_text() {
    let (mut rows, mut accepted) = (0, 0);
    for seed in 0..1500 {
        let mut rng = Rng(seed);
        let agreement = rng.below(11) as f32 / 10.0;
        let (target, drafter) = pair(seed, agreement);
        let requests = requests(&mut rng);
        let mut engine = Engine::new(&target, &drafter, &requests, rng, None);
        engine.run().expect("nothing was made to fail");
        for (place, request) in requests.iter().enumerate() {
            let expected = oracle(target.law(), request);
            assert_eq!(engine.text(place), expected, "seed {seed}, place {place}");
        }
        let faults = (target.faults(), drafter.faults());
        assert!(faults.0.is_empty() && faults.1.is_empty(), "seed {seed}: {faults:?}");
        rows += target.work().1;
        accepted += engine.accepted;
    }
    assert!(rows > 100_000 && accepted > 8_000, "{rows} rows, {accepted} accepted");
}

#[test]
fn agreement_decides_what_is_accepted() {
    let accepted = |agreement: f32| {
        let count = |seed| {
            let (target, drafter) = pair(seed, agreement);
            let mut rng = Rng(seed);
            let requests = requests(&mut rng);
            let mut engine = Engine::new(&target, &drafter, &requests, rng, None);
            engine.run().expect("nothing was made to fail");
            engine.accepted
        };
        (0..50).map(count).sum::<usize>()
    };
    let counts = [0.0, 0.3, 0.7, 1.0].map(accepted);
    assert_eq!(counts[0], 0);
    assert!(counts.is_sorted_by(|a, b| a * 5 < b * 4), "{counts:?}");
}

#[test]
fn every_planted_bug_is_noticed() {
    for bug in Bug::ALL {
        let (mut planted, mut noticed) = (0, 0);
        for seed in 0..40 {
            let (target, drafter) = pair(seed, 0.7);
            let mut rng = Rng(seed);
            let requests = requests(&mut rng);
            let mut engine = Engine::new(&target, &drafter, &requests, rng, Some(bug));
            engine.run().expect("nothing was made to fail");
            planted += usize::from(engine.planted);
            let faults = target.faults().count + drafter.faults().count;
            noticed += usize::from(engine.planted && faults > 0);
        }
        assert!(planted >= 20 && noticed == planted, "{bug:?}: {noticed} of {planted}");
    }
}

#[test]
fn a_wrong_read_changes_the_answer_too() {
    let changed = (0..40).filter(|&seed| {
        let (target, drafter) = pair(seed, 0.7);
        let mut rng = Rng(seed);
        let requests = requests(&mut rng);
        let mut engine = Engine::new(&target, &drafter, &requests, rng, Some(Bug::StaleSlot));
        engine.run().expect("nothing was made to fail");
        let differs = |place: usize| engine.text(place) != oracle(target.law(), &requests[place]);
        (0..requests.len()).any(differs)
    });
    assert!(changed.count() >= 30);
}

#[test]
fn injected_failures_arrive_once_and_leave_no_trace() {
    for at in [FailAt::Start, FailAt::End] {
        let (target, drafter) = pair(5, 0.7);
        let lost = DeviceError::Lost("by order".into());
        target.fail(2, at, lost.clone());
        drafter.fail(3, lost.clone());
        let mut rng = Rng(5);
        let requests = requests(&mut rng);
        let mut engine = Engine::new(&target, &drafter, &requests, rng, None);
        let mut failures = 0;
        while let Err(error) = engine.run() {
            assert_eq!(error, lost);
            failures += 1;
        }
        assert_eq!(failures, 2);
        for (place, request) in requests.iter().enumerate() {
            assert_eq!(engine.text(place), oracle(target.law(), request));
        }
        assert!(target.faults().is_empty() && drafter.faults().is_empty());
    }
}

#[test]
fn a_spoiled_row_is_faulty_and_its_neighbours_are_not() {
    let (target, drafter) = pair(1, 0.5);
    let request = |seed| Request { prompt: vec![1, 2, 3], new_tokens: 10, seed, temperature: 1.0 };
    let requests = [request(1), request(2)];
    target.spoil(0, 6);
    let mut engine = Engine::new(&target, &drafter, &requests, Rng(1), None);
    engine.run().expect("a NaN is not a device error");
    let [first, second] = requests.map(|r| oracle(target.law(), &r));
    assert_eq!(engine.text(0), &first[..7]);
    assert_eq!(engine.text(1), second);
    assert!(target.faults().is_empty());
}

#[test]
fn forgotten_places_start_anew() {
    let (target, mut drafter) = pair(9, 1.0);
    for seed in 0..10 {
        let mut rng = Rng(seed);
        let requests = requests(&mut rng);
        let mut engine = Engine::new(&target, &drafter, &requests, rng, None);
        engine.run().expect("nothing was made to fail");
        (0..requests.len() as u32).for_each(|seq| drafter.forget(seq));
    }
    assert!(drafter.faults().is_empty(), "{:?}", drafter.faults());
    let rng = Rng(77);
    let again = [Request { prompt: vec![1; 9], new_tokens: 9, seed: 1, temperature: 0.0 }];
    for _ in 0..2 {
        let mut engine = Engine::new(&target, &drafter, &again, rng.clone(), None);
        engine.run().expect("nothing was made to fail");
    }
    assert!(!drafter.faults().is_empty(), "a place reused without forgetting is noticed");
}
