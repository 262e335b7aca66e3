//! The body of a request to the server.

use echo_core::{Limits, Token, Vocab};
use echo_gate::Always;
use echo_model::Message;
use echo_model::sim::{ByteVocab, SimOptions, SimTarget};
use echo_runtime::{Engine, Handle, NoDraft, Options, Parts};
use echo_serve::{Codec, ServeOptions, requests};
use std::sync::{Arc, LazyLock};

/// Letters as tokens.
struct Letters(ByteVocab);

impl Codec for Letters {
    fn vocab(&self) -> &dyn Vocab {
        &self.0
    }

    fn encode(&self, text: &str) -> Result<Vec<Token>, String> {
        Ok(text.bytes().map(Token::from).collect())
    }

    fn encode_chat(&self, messages: &[Message]) -> Result<Vec<Token>, String> {
        let turns: Vec<String> =
            messages.iter().map(|m| format!("{}: {}\n", m.role, m.content)).collect();
        self.encode(&turns.concat())
    }
}

/// Reads `input` as the body of a chat and of a completion; what is taken is within the limits.
pub fn read(input: &[u8]) {
    static HANDLE: LazyLock<Handle> = LazyLock::new(handle);
    let options = ServeOptions::new("m");
    let codec: Arc<dyn Codec> = Arc::new(Letters(ByteVocab::default()));
    for chat in [false, true] {
        let taken = requests(input, chat, &HANDLE, &codec, &options);
        for request in taken.unwrap_or_default() {
            assert!(request.prompt.len() <= 16 * HANDLE.limits().context_max.max(input.len()));
            // Whatever the engine says to it; nobody waits for the answer.
            drop(HANDLE.submit(request));
        }
    }
}

/// An engine for the requests that are taken.
fn handle() -> Handle {
    let limits = Limits::usual(4, 128);
    let mut options = SimOptions::small(1);
    options.law.vocab = 256;
    options.kv_slots = limits.kv_slots;
    options.rows_max = limits.rows_max;
    let parts = Parts {
        target: Box::new(SimTarget::new(options)),
        drafter: Box::new(NoDraft),
        gate: Box::new(Always),
        solver: Box::new(echo_budget::Uniform::default()),
        vocab: Arc::new(ByteVocab::default()),
    };
    let engine = Engine::new(parts, limits, Options::default()).expect("usual limits are legal");
    Handle::spawn(engine).0
}
