//! More requests than the server can answer: what it answers stays as much, the rest is told at
//! once, and no client takes another's part.

use crate::testkit::{Answer, Server, Setup, post, scaled};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Time of a forward; everything else is small beside it.
const STEP: Duration = Duration::from_millis(20);
/// Tokens of an answer on average, one a forward.
const TOKENS: u32 = 10;
/// Requests decoded at once.
const SEQS: usize = 8;
/// Requests a second that can be answered: a prompt's step is also its first token's.
const CAPACITY: f64 = SEQS as f64 / (STEP.as_millis() as f64 * TOKENS as f64 / 1000.0);

fn server(keys: &[&str], seqs: usize) -> Server {
    let mut setup = Setup { seqs, queue_max: 2 * seqs, step: STEP, ..Setup::usual() };
    setup.options.api_keys = keys.iter().map(ToString::to_string).collect();
    Server::start(setup)
}

/// Answers of equal length would all end together; these have `tokens` on average.
fn body(nth: usize, tokens: u32) -> Value {
    let max_tokens = tokens / 2 + nth as u32 * 7 % (tokens + 1);
    json!({"prompt": "x", "max_tokens": max_tokens, "speculative": false, "seed": 1})
}

/// One request from connect to close, and the time it took.
async fn ask(address: SocketAddr, key: String, nth: usize, tokens: u32) -> (Answer, Duration) {
    let start = Instant::now();
    let request = post("/v1/completions", &body(nth, tokens).to_string());
    let key = format!("\r\nauthorization: Bearer {key}\r\n");
    let mut wire = Vec::new();
    if let Ok(mut socket) = TcpStream::connect(address).await {
        let request = request.replacen("\r\n", &key, 1);
        let _ = socket.write_all(request.as_bytes()).await;
        let _ = socket.read_to_end(&mut wire).await;
    }
    (Answer::new(&wire), start.elapsed())
}

/// Sends `rate` requests a second for `time`, whatever becomes of them.
async fn flood(address: SocketAddr, key: &str, rate: f64, time: Duration, tokens: u32) -> Tally {
    let (start, mut asked, mut answers) = (Instant::now(), 0, JoinSet::new());
    while start.elapsed() < time {
        let due = (start.elapsed().as_secs_f64() * rate) as usize;
        for nth in asked..due {
            answers.spawn(ask(address, key.to_owned(), nth, tokens));
        }
        asked = asked.max(due);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    // What is done within the time counts; the rest only has to be answered.
    let mut tally = Tally { time, ..Tally::default() };
    while let Some(answer) = answers.join_next().await {
        tally.note(&answer.expect("no task panics"));
    }
    tally.time = start.elapsed();
    tally
}

#[derive(Debug, Default)]
struct Tally {
    time: Duration,
    answered: Vec<Duration>,
    refused: Vec<Duration>,
}

impl Tally {
    fn note(&mut self, (answer, took): &(Answer, Duration)) {
        match answer.status {
            200 => self.answered.push(*took),
            429 | 503 => {
                assert!(answer.head.contains("retry-after: "), "{answer:?}");
                self.refused.push(*took);
            }
            _ => panic!("neither an answer nor a refusal: {answer:?}"),
        }
    }

    /// Answers a second.
    fn goodput(&self) -> f64 {
        self.answered.len() as f64 / self.time.as_secs_f64()
    }
}

/// The time that a share of all stay below.
fn quantile(times: &mut [Duration], share: f64) -> Duration {
    times.sort_unstable();
    let at = (times.len() as f64 * share) as usize;
    times.get(at.min(times.len().saturating_sub(1))).copied().unwrap_or_default()
}

#[test]
fn goodput_holds_at_ten_times_the_load_and_refusals_are_fast() {
    let server = server(&["one"], SEQS);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let time = Duration::from_secs(scaled(3, 10) as u64);
    let mut goodput = Vec::new();
    for load in [1.0, 2.0, 10.0] {
        let flooded = flood(server.address, "one", load * CAPACITY, time, TOKENS);
        let mut tally = runtime.block_on(flooded);
        let (p50, p99) = (quantile(&mut tally.refused, 0.5), quantile(&mut tally.refused, 0.99));
        println!(
            "{load:>4}x: {:.1} answers/s, {} refused, refusals p50 {p50:.1?} p99 {p99:.1?}",
            tally.goodput(),
            tally.refused.len()
        );
        goodput.push(tally.goodput());
        if load > 5.0 {
            assert!(tally.refused.len() > tally.answered.len(), "it was no overload");
            assert!(p50 <= Duration::from_millis(10), "half of the refusals took {p50:?}");
            // Other work on the machine delays the slowest; alone it must not happen.
            let most = Duration::from_millis(scaled(500, 10) as u64);
            assert!(p99 <= most, "one refusal in a hundred took {p99:?}");
        }
    }
    let peak = goodput.iter().copied().fold(0.0, f64::max);
    assert!(goodput[2] >= 0.9 * peak, "{goodput:?}");
    assert!(peak > 0.5 * CAPACITY, "{goodput:?} of {CAPACITY}");
}

#[test]
fn without_memory_only_health_is_well_until_there_is_some() {
    static HAS_MEMORY: AtomicBool = AtomicBool::new(true);
    let mut setup = Setup::usual();
    setup.has_memory = || HAS_MEMORY.load(Ordering::Relaxed);
    let server = Server::start(setup);
    let statuses = || {
        let answers = [
            server.get("/health"),
            server.get("/ready"),
            server.complete(&body(0, TOKENS)),
            server.post("/tokenize", &json!({"prompt": "x"})),
        ];
        let tells = |answer: &Answer| answer.head.contains("retry-after");
        assert!(answers.iter().all(|answer| tells(answer) == (answer.status == 503)));
        answers.map(|answer| answer.status)
    };
    assert_eq!(statuses(), [200; 4]);
    HAS_MEMORY.store(false, Ordering::Relaxed);
    assert_eq!(statuses(), [200, 503, 503, 503]);
    HAS_MEMORY.store(true, Ordering::Relaxed);
    assert_eq!(statuses(), [200; 4]);
}

#[test]
fn keys_share_evenly_and_a_flood_is_its_own_loss() {
    // A client that comes beside a flood waits until one of the flood's answers ends, which takes
    // one answer's time divided by the places. With these that is a thirtieth.
    let (seqs, tokens) = (4 * SEQS, 4 * TOKENS);
    let server = server(&["flood", "calm"], seqs);
    let capacity = CAPACITY * (seqs / SEQS) as f64 / f64::from(tokens / TOKENS);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let time = Duration::from_secs(scaled(3, 20) as u64);
    let address = server.address;
    let send = |key, load: f64| flood(address, key, load * capacity, time, tokens);
    let mut alone = runtime.block_on(send("calm", 0.2));
    let (mut beside, flooding) =
        runtime.block_on(async { tokio::join!(send("calm", 0.2), send("flood", 5.0)) });
    // What else the machine does falls on the slowest few; alone it must not.
    let is_full = scaled(0, 1) == 1;
    let (share, most) = if is_full { (0.99, 1.2) } else { (0.9, 1.4) };
    let (before, after) =
        (quantile(&mut alone.answered, share), quantile(&mut beside.answered, share));
    println!("the calm key at {share}: {before:.1?} alone, {after:.1?} beside a flood");
    assert!(flooding.refused.len() > 50, "it was no flood");
    assert_eq!(beside.refused.len(), 0, "the calm key was refused");
    assert!(after.as_secs_f64() <= most * before.as_secs_f64(), "{before:?} became {after:?}");
    let (one, other) =
        runtime.block_on(async { tokio::join!(send("flood", 3.0), send("calm", 3.0)) });
    let (a, b) = (one.answered.len() as f64, other.answered.len() as f64);
    let jain = (a + b).powi(2) / (2.0 * (a * a + b * b));
    println!("two floods: {a} and {b} answers, Jain index {jain:.3}");
    assert!(jain >= 0.95, "{a} and {b}");
}
