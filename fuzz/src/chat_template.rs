//! A chat template: foreign code.

use crate::counting::peak;
use echo_model::{ChatTemplate, Message, RenderOptions};

/// Heap that a template may take whatever it does; its fuel pays for 128 MB of text.
const HEAP_MAX: isize = 256 << 20;

/// Parses `input` as a template and renders a few conversations with it.
pub fn read(input: &[u8]) {
    let Ok(source) = std::str::from_utf8(input) else { return };
    let (held, ()) = peak(|| {
        let Ok(template) = ChatTemplate::parse(source.to_owned(), "<b>", "<e>") else { return };
        let turns = [
            Message::new("system", "Be brief."),
            Message::new("user", " Hi <&> 'é' {{ x }} "),
            Message::new("assistant", "<think>\n\n</think>\n\nHello"),
        ];
        for n in 0..=turns.len() {
            for add_generation_prompt in [false, true] {
                let options = RenderOptions { add_generation_prompt, now_s: 1_709_164_800 };
                let _ = template.render(&turns[..n], &options);
            }
        }
    });
    assert!(held <= HEAP_MAX, "{held} bytes of heap");
}
