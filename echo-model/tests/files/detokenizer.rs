//! However bytes are cut, the text is that of the whole.

use echo_model::Detokenizer;
use proptest::collection::vec;
use proptest::prelude::*;

/// Pushes `bytes` in pieces that end at `cuts`, checking that text only grows by whole characters.
fn stream(bytes: &[u8], cuts: &[usize]) -> String {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    cuts.extend([0, bytes.len()]);
    cuts.sort_unstable();
    let mut detokenizer = Detokenizer::default();
    let mut text = String::new();
    for pair in cuts.windows(2) {
        let sent = text.clone();
        detokenizer.push(&bytes[pair[0]..pair[1]], &mut text);
        assert!(text.starts_with(&sent) && detokenizer.n_held() <= 3);
    }
    detokenizer.finish(&mut text);
    text
}

/// What a detokenizer that treats each piece on its own would give.
fn naive(bytes: &[u8], cut: usize) -> String {
    let (left, right) = bytes.split_at(cut);
    String::from_utf8_lossy(left).into_owned() + &String::from_utf8_lossy(right)
}

/// Bytes near the edges of UTF-8: leads, continuations, overlong forms, surrogates.
fn edgy() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        Just(b'a'),
        0x80u8..=0xbf,
        prop::sample::select(vec![0xc0, 0xc2, 0xdf, 0xe0, 0xed, 0xef, 0xf0, 0xf4, 0xf5, 0xff]),
        any::<u8>(),
    ];
    vec(byte, 0..24)
}

/// Text of characters of all lengths, joiners and marks included.
fn wide() -> impl Strategy<Value = String> {
    let character = prop_oneof![
        any::<char>(),
        prop::sample::select("aé日😀\u{200d}\u{301}\u{1f3fd}\u{fffd}".chars().collect::<Vec<_>>()),
    ];
    vec(character, 0..16).prop_map(|characters| characters.into_iter().collect())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 100_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_bytes_give_the_lossy_text_of_the_whole(bytes in edgy(), cuts in vec(0usize..64, 0..8)) {
        prop_assert_eq!(stream(&bytes, &cuts), String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn valid_text_comes_back_as_it_is(text in wide(), cuts in vec(0usize..64, 0..16)) {
        prop_assert_eq!(stream(text.as_bytes(), &cuts), text);
    }
}

#[test]
fn pieces_on_their_own_would_break_characters() {
    let bytes = "a😀".as_bytes();
    assert!((2..5).all(|cut| naive(bytes, cut) != "a😀" && stream(bytes, &[cut]) == "a😀"));
}
