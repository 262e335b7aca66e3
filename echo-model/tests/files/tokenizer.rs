//! The tokenizer against an independent one, and its promises.

use std::time::Instant;

use echo_core::{Token, Vocab};
use echo_model::tokenizer::TEXT_MAX;
use echo_model::{Checkpoint, EncodeError, Specials, Tokenizer};
use serde_json::Value;

use crate::support::default_model;

fn open(test: &str) -> Option<Tokenizer> {
    let checkpoint = Checkpoint::open(&default_model(test)?).expect("the default model is whole");
    Some(Tokenizer::open(&checkpoint).expect("the default model has a tokenizer"))
}

fn ids(value: &Value) -> Vec<Token> {
    value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as Token).collect()
}

fn text_of(tokenizer: &Tokenizer, tokens: &[Token]) -> Vec<u8> {
    tokens.iter().flat_map(|&token| tokenizer.bytes(token)).copied().collect()
}

#[test]
fn ids_equal_those_of_an_independent_tokenizer() {
    let Some(tokenizer) = open("ids_equal_those_of_an_independent_tokenizer") else { return };
    let golden: Value = serde_json::from_str(include_str!("../golden/tokenizer.json")).unwrap();
    let cases = golden["cases"].as_array().unwrap();
    assert!(cases.len() >= 60);
    let (mut with_specials, mut wrong) = (0, Vec::new());
    for case in cases {
        let text = case["text"].as_str().unwrap();
        for (key, specials) in [("plain", Specials::Plain), ("parse", Specials::Parse)] {
            let found = tokenizer.encode(text, specials).unwrap();
            if found != ids(&case[key]) {
                wrong.push(format!("{key} {text:?}: {found:?}, not {}", case[key]));
            }
        }
        with_specials += usize::from(case["plain"] != case["parse"]);
    }
    assert!(with_specials >= 5, "the two ways differ in {with_specials} cases only");
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn bytes_of_tokens_make_up_the_text() {
    let Some(tokenizer) = open("bytes_of_tokens_make_up_the_text") else { return };
    let golden: Value = serde_json::from_str(include_str!("../golden/tokenizer.json")).unwrap();
    for case in golden["cases"].as_array().unwrap() {
        let text = case["text"].as_str().unwrap();
        let tokens = tokenizer.encode(text, Specials::Plain).unwrap();
        assert_eq!(String::from_utf8_lossy(&text_of(&tokenizer, &tokens)), text);
    }
    assert_eq!(tokenizer.len(), 49_152);
    assert_eq!(tokenizer.bytes(1), b"", "control tokens have no text");
    assert_eq!(tokenizer.bytes(49_152), b"", "nor has what is no token");
    assert_eq!(tokenizer.special_name(2), Some("<|im_end|>"));
    assert_eq!(
        (tokenizer.bos(), tokenizer.eos(), tokenizer.prompt_start()),
        (Some(1), Some(2), None)
    );
    assert!(
        tokenizer.ends(2) && tokenizer.ends(0) && !tokenizer.ends(1) && !tokenizer.ends(u32::MAX)
    );
}

#[test]
fn long_runs_take_linear_time_and_longer_texts_are_refused() {
    let Some(tokenizer) = open("long_runs_take_linear_time_and_longer_texts_are_refused") else {
        return;
    };
    // The first two as long as allowed: one word, and words that all end alike.
    for (i, unit) in
        ["a", "!\n", " ", "\n", "7", "é", "日", " a", " \n", "<|im_end|"].into_iter().enumerate()
    {
        let len = if i < 2 { TEXT_MAX } else { TEXT_MAX / 8 };
        let text = unit.repeat(len / unit.len());
        let start = Instant::now();
        let tokens = tokenizer.encode(&text, Specials::Parse).unwrap();
        let took_s = start.elapsed().as_secs_f64();
        assert_eq!(text_of(&tokenizer, &tokens), text.as_bytes(), "{unit:?}");
        eprintln!("{unit:?}: {took_s:.2} s");
        // A generous bound: a quadratic run of this length takes hours.
        assert!(took_s < 30.0, "{unit:?} took {took_s:.1} s");
    }
    let error = tokenizer.encode(&"a".repeat(TEXT_MAX + 1), Specials::Plain).unwrap_err();
    assert_eq!(error, EncodeError::TooLong { bytes: TEXT_MAX + 1 });
    let error = tokenizer.encode(&"\n".repeat(200_000), Specials::Parse).unwrap_err();
    assert_eq!(error, EncodeError::Spaces { characters: 200_000 });
}
