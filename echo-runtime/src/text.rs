//! From token bytes to text that is certain: UTF-8 hold-back and stop strings.

use crate::request::Stops;

/// The undecided end of a sequence's text.
///
/// Bytes are held back while they may still become part of a stop string or of a UTF-8 character.
/// What has been given out is final, so a stop string is always found inside what is held back.
#[derive(Clone, Debug)]
pub(crate) struct Text {
    pending: Vec<u8>,
}

/// Room for any stop string, an unfinished character and the bytes of most tokens.
const PENDING_BYTES: usize = 1024;

impl Text {
    pub(crate) fn new() -> Self {
        Text { pending: Vec::with_capacity(PENDING_BYTES) }
    }

    /// Appends a token's bytes; what becomes certain goes to `out`. Returns whether a stop string
    /// ends the text here, before it (after it if `include_stop`). One that is complete before it
    /// `may_stop` is ordinary text.
    pub(crate) fn push(
        &mut self,
        bytes: &[u8],
        stops: &Stops,
        may_stop: bool,
        out: &mut String,
    ) -> bool {
        let Stops { strings: stops, include_stop, .. } = stops;
        let known = self.pending.len();
        self.pending.extend_from_slice(bytes);
        if may_stop && let Some((start, len)) = first_stop(&self.pending, known, stops) {
            self.pending.truncate(if *include_stop { start + len } else { start });
            self.finish(out);
            return true;
        }
        let certain = self.pending.len() - held_back(&self.pending, stops);
        let taken = decode(&self.pending[..certain], out);
        self.pending.drain(..taken);
        false
    }

    /// Gives out all that is held back; an unfinished character becomes U+FFFD.
    pub(crate) fn finish(&mut self, out: &mut String) {
        for chunk in self.pending.utf8_chunks() {
            out.push_str(chunk.valid());
            if !chunk.invalid().is_empty() {
                out.push(char::REPLACEMENT_CHARACTER);
            }
        }
        self.pending.clear();
    }
}

/// Where the stop string that is complete first begins, and its length. Of several that end at the
/// same byte, the one that begins first. Those that end within the `known` bytes were judged
/// before.
fn first_stop(bytes: &[u8], known: usize, stops: &[String]) -> Option<(usize, usize)> {
    let found = stops.iter().filter_map(|stop| {
        let stop = stop.as_bytes();
        let from = (known + 1).saturating_sub(stop.len());
        let start = from + bytes[from..].windows(stop.len()).position(|window| window == stop)?;
        Some((start + stop.len(), start, stop.len()))
    });
    found.min().map(|(_, start, len)| (start, len))
}

/// Length of the longest end of `bytes` that begins a stop string.
fn held_back(bytes: &[u8], stops: &[String]) -> usize {
    let longest = |stop: &String| {
        let most = (stop.len() - 1).min(bytes.len());
        (1..=most).rev().find(|&n| bytes.ends_with(&stop.as_bytes()[..n])).unwrap_or(0)
    };
    stops.iter().map(longest).max().unwrap_or(0)
}

/// Decodes all but an unfinished last character; returns the bytes used up.
fn decode(bytes: &[u8], out: &mut String) -> usize {
    let mut taken = 0;
    for chunk in bytes.utf8_chunks() {
        out.push_str(chunk.valid());
        taken += chunk.valid().len();
        let invalid = chunk.invalid();
        if invalid.is_empty() {
            continue;
        }
        let at_end = taken + invalid.len() == bytes.len();
        if at_end && is_unfinished(invalid) {
            break;
        }
        out.push(char::REPLACEMENT_CHARACTER);
        taken += invalid.len();
    }
    taken
}

/// Whether `bytes`, invalid as they are, begin a character that more bytes could finish.
fn is_unfinished(bytes: &[u8]) -> bool {
    matches!(std::str::from_utf8(bytes), Err(e) if e.error_len().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Text of `bytes` fed in pieces of the given lengths, and whether a stop was found.
    fn feed(bytes: &[u8], cuts: &[usize], stops: &[&str], include: bool) -> (String, bool) {
        let strings = stops.iter().map(ToString::to_string).collect();
        let stops = Stops { strings, include_stop: include, ..Stops::default() };
        let (mut text, mut out, mut rest) = (Text::new(), String::new(), bytes);
        for cut in cuts.iter().copied().chain(std::iter::repeat(1)) {
            if rest.is_empty() {
                break;
            }
            let (piece, after) = rest.split_at(cut.clamp(1, rest.len()));
            if text.push(piece, &stops, true, &mut out) {
                return (out, true);
            }
            rest = after;
        }
        text.finish(&mut out);
        (out, false)
    }

    #[test]
    fn a_stop_string_is_found_across_tokens_and_never_leaks() {
        let stops = ["\nUser:", "END"];
        assert_eq!(feed(b"Hi\nUser: x", &[3, 4, 9], &stops, false), ("Hi".into(), true));
        assert_eq!(feed(b"Hi\nUser: x", &[100], &stops, true), ("Hi\nUser:".into(), true));
        assert_eq!(feed(b"Hi\nUse it", &[1; 20], &stops, false), ("Hi\nUse it".into(), false));
        assert_eq!(feed(b"EEND", &[1; 4], &stops, false), ("E".into(), true));
    }

    #[test]
    fn of_several_stops_the_first_complete_one_wins() {
        assert_eq!(feed(b"abcd", &[4], &["bcd", "c"], false), ("ab".into(), true));
        assert_eq!(feed(b"abcd", &[4], &["c", "bc"], false), ("a".into(), true));
    }

    /// So many cases, or as many as the variable `PROPTEST_CASES` names if it names more.
    fn at_least(cases: u32) -> ProptestConfig {
        let usual = ProptestConfig::default();
        ProptestConfig { cases: usual.cases.max(cases), ..usual }
    }

    /// What goes wrong where characters are cut: families joined by zero-width joiners, flags,
    /// combining marks, scripts of two to four bytes, and plain letters between them.
    const PIECES: [&str; 10] = [
        "👩\u{200d}👩\u{200d}👧",
        "🇩🇪",
        "e\u{301}",
        "क्षि",
        "語",
        "ß",
        "\u{10ffff}",
        "a",
        " ",
        "\n",
    ];

    proptest! {
        #![proptest_config(at_least(50_000))]

        /// However the bytes of a text are dealt out, one by one as by tokens that stand for single
        /// bytes or in runs of up to 16: what is given out is always a beginning of the text, and
        /// no character is broken or lost.
        #[test]
        fn a_text_comes_out_as_it_is(
            pieces in proptest::collection::vec(proptest::sample::select(&PIECES[..]), 0..16),
            cuts in proptest::collection::vec(1usize..=16, 0..40),
        ) {
            let (whole, stops) = (pieces.concat(), Stops::default());
            let (mut text, mut out, mut rest) = (Text::new(), String::new(), whole.as_bytes());
            for cut in cuts.into_iter().chain(std::iter::repeat(1)) {
                if rest.is_empty() {
                    break;
                }
                let (piece, after) = rest.split_at(cut.min(rest.len()));
                text.push(piece, &stops, true, &mut out);
                prop_assert!(whole.starts_with(&out), "{:?} of {:?}", out, whole);
                // At most a character waits.
                prop_assert!(whole.len() - after.len() - out.len() < 4);
                rest = after;
            }
            text.finish(&mut out);
            prop_assert_eq!(out, whole);
        }

        #[test]
        fn pieces_concatenate_to_the_whole(
            bytes in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..40),
                "\\PC{0,12}".prop_map(String::into_bytes),
            ],
            cuts in proptest::collection::vec(1usize..6, 0..40),
        ) {
            let whole = String::from_utf8_lossy(&bytes).into_owned();
            prop_assert_eq!(feed(&bytes, &cuts, &[], false).0, whole.clone());
            // Holding back for a stop that never comes changes nothing either.
            prop_assert_eq!(feed(&bytes, &cuts, &["\u{10ffff}zz"], false).0, whole);
        }

        #[test]
        fn the_cut_does_not_depend_on_the_pieces(
            bytes in "[ab\\n]{0,24}",
            cuts in proptest::collection::vec(1usize..6, 0..24),
            stops in proptest::collection::vec("[ab\\n]{1,4}", 1..4),
        ) {
            let stops: Vec<&str> = stops.iter().map(String::as_str).collect();
            let one_by_one = feed(bytes.as_bytes(), &[], &stops, false);
            // A token that holds two stops ends at the first complete one, as byte by byte.
            prop_assert_eq!(feed(bytes.as_bytes(), &cuts, &stops, false), one_by_one);
        }
    }
}
