//! Opening a device that was lost again, with the model on it.

use crate::engine_args::EngineArgs;
use crate::setup::Loaded;
use crate::team::Team;
use crate::times;
use anyhow::{Result, bail};
use echo_core::{DeviceError, Limits};
use echo_runtime::{Pair, Reopen};
use std::thread;
use std::time::Duration;

/// A driver that resets its device takes a moment; there are a few tries, this far apart.
const PAUSE: Duration = Duration::from_secs(1);

/// Opens what `flags` and `limits` have opened as `loaded` once more. Texts go on on the device
/// they began on, and from the same file: another gives other bits.
pub(crate) fn reopen(flags: &EngineArgs, loaded: &Loaded, limits: Limits) -> Reopen {
    // `auto` would go on on the processor where a GPU does not come back.
    let mut flags = flags.clone();
    flags.backend = loaded.backend.into();
    let was = (times::stamp(&loaded.path), loaded.device.clone());
    Box::new(move || {
        tell!("note: {} failed and is opened again", was.1);
        open(&flags, &limits, &was).map_err(|error| {
            thread::sleep(PAUSE);
            DeviceError::Lost(format!("opening {} again: {error:#}", was.1))
        })
    })
}

fn open(flags: &EngineArgs, limits: &Limits, was: &(String, String)) -> Result<Pair> {
    let loaded = Loaded::open(flags)?;
    if loaded.device != was.1 {
        bail!("what is there now is {}", loaded.device);
    }
    if times::stamp(&loaded.path) != was.0 {
        bail!("{} has changed", loaded.path.display());
    }
    let mut team = Team::load(&loaded, limits, [flags.drafts()])?;
    loaded.rehearse(&mut team, flags.drafts(), limits)?;
    let (target, drafter) = team.lend(flags.drafts());
    Ok(Pair { target, drafter })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assemble;
    use echo_core::{SeqId, Token};
    use echo_kernels_wgpu::{WgpuKernels, WgpuOptions, adapters};
    use echo_model::tokenizer::Specials;
    use echo_runtime::{Options, Output, Request, Stops};
    use std::sync::Arc;

    /// The flags of a small engine on wgpu, if there is a device for it and the default model.
    fn flags(test: &str) -> Option<EngineArgs> {
        let required = std::env::var("ECHO_REQUIRE").unwrap_or_default();
        let required = |name: &str| required.split(',').any(|word| word.trim() == name);
        let device = adapters().iter().any(|found| found.refusal.is_none());
        let model = crate::model::locate("default").is_ok();
        for (name, is_there) in [("wgpu", device), ("model", model)] {
            assert!(is_there || !required(name), "{test}: {name} is required and not there");
            if !is_there {
                eprintln!("skipped: {test}: {name} is not there");
                return None;
            }
        }
        let shape = "--backend wgpu --drafter eagle --gate always --solver topn --depth 2 \
                     --width 1 --nodes 2 --context 256 --kv-slots 512";
        Some(EngineArgs::parsed(shape.split_whitespace()))
    }

    /// What two requests are answered on a device that is lost after so many operations, and how
    /// often it was opened again.
    fn answers(flags: &EngineArgs, lose_after: Option<u64>) -> (Vec<Vec<Token>>, usize) {
        let mut loaded = Loaded::open(flags).expect("it opens");
        let options = WgpuOptions { lose_after, ..WgpuOptions::default() };
        loaded.kernels = Arc::new(WgpuKernels::open(&options).expect("it opened before"));
        let prompts = ["The sky is blue because", "One, two, three, four,"]
            .map(|text| loaded.tokenizer.encode(text, Specials::Plain).expect("it is text"));
        let assembled = assemble::engine(flags, loaded, 2, Options::default());
        let (mut engine, _) = assembled.expect("it is assembled");
        for prompt in prompts {
            let stops = Stops { max_tokens: Some(5), ignore_eos: true, ..Stops::default() };
            engine.submit(Request { stops, ..Request::new(prompt) }).expect("a good request");
        }
        let (mut out, mut texts) = (Output::default(), vec![Vec::new(); 2]);
        while !engine.is_idle() {
            // Whoever was cut is seen by a text that is too short.
            if engine.advance(&mut out).is_err() {
                break;
            }
        }
        for token in &out.committed {
            let SeqId(id) = token.id;
            texts[id as usize].push(token.token);
        }
        (texts, engine.n_reopened())
    }

    #[test]
    fn a_device_lost_in_mid_step_changes_no_text() {
        let Some(flags) = flags("a_device_lost_in_mid_step_changes_no_text") else { return };
        let (whole, _) = answers(&flags, None);
        assert!(whole.iter().all(|text| text.len() == 5), "{whole:?}");
        // A forward has some three hundred operations.
        assert_eq!(answers(&flags, Some(1000)), (whole, 1));
    }
}
