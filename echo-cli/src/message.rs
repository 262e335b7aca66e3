//! What the program says of an error that ends it, and when it ends without a word.

use std::io::{Error, ErrorKind};
use std::panic::{set_hook, take_hook};
use std::process::exit;

/// What those below the command line call by other names: fields of limits and of options. Requests
/// at once have a flag of another name with every command, and rows of a forward have none.
const FLAGS: [(&str, &str); 9] = [
    ("seqs_max", "the number of requests at once"),
    ("rows_max", "the number of rows in a forward"),
    ("depth_max", "--depth"),
    ("width_max", "--width"),
    ("beam_max", "--width"),
    ("tree_max", "--nodes"),
    ("context_max", "--context"),
    ("kv_slots", "--kv-slots"),
    ("prompt_rows_max", "--max-prefill-tokens"),
];

/// The error and its causes, without those that a message above has quoted already.
pub(crate) fn of(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if !text.contains(&cause) {
            let link = if text.is_empty() { "" } else { ": " };
            text = format!("{text}{link}{cause}");
        }
    }
    in_flags(&text)
}

/// The text with flags where it has fields. A field in a path or in quotes is somebody else's word
/// and stays.
fn in_flags(text: &str) -> String {
    let word = |word: &str| {
        let bare = word.trim_end_matches([',', ';', ':']);
        let flag = FLAGS.iter().find(|(field, _)| *field == bare);
        flag.map_or(word.to_owned(), |(field, flag)| word.replacen(field, flag, 1))
    };
    text.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Error>().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}

/// From now on the program ends quietly once a line is printed that nobody reads any more, as into
/// `head`. `println!` tells of that by a panic. The system's signal would tell, too, but a server
/// must not end by it when a client hangs up, so it stays off, as Rust's runtime has it.
pub(crate) fn end_with_the_reader() {
    let usual = take_hook();
    set_hook(Box::new(move |panic| {
        let text = panic.payload().downcast_ref::<String>();
        if text.is_some_and(|text| is_of_a_lost_reader(text)) {
            exit(0);
        }
        usual(panic);
    }));
}

/// Whether a panic that says this is of `println!`, for whose text there is no reader.
fn is_of_a_lost_reader(text: &str) -> bool {
    let code = text.strip_prefix("failed printing to stdout: ");
    let code = code.and_then(|text| text.rsplit_once("(os error ")?.1.strip_suffix(')'));
    let error = code.and_then(|code| code.parse().ok()).map(Error::from_raw_os_error);
    error.is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;
    use echo_core::Limits;

    #[test]
    fn limits_are_told_in_flags() {
        let good = Limits::usual(4, 512);
        let said = |limits: Limits| of(&limits.check().expect_err("a contradiction").into());
        let text = said(Limits { width_max: 0, ..good });
        assert_eq!(text, "--width must be at least 1 when --depth is not 0");
        let text = said(Limits { kv_slots: 1, ..good });
        assert_eq!(text, "--kv-slots is 1, too few for one forward; raise it or lower --context");
        let text = said(Limits { seqs_max: 1 << 24, rows_max: 1 << 24, ..good });
        assert!(text.starts_with("the number of requests at once is 16777216"), "{text}");
    }

    #[test]
    fn words_of_others_stay() {
        for text in ["models/kv_slots.gguf: no such file", "missing field `kv_slots`"] {
            assert_eq!(in_flags(text), text);
        }
        assert_eq!(in_flags("for keys; lower kv_slots; or"), "for keys; lower --kv-slots; or");
    }

    #[cfg(unix)]
    #[test]
    fn only_a_lost_reader_ends_the_program_quietly() {
        assert!(is_of_a_lost_reader("failed printing to stdout: Broken pipe (os error 32)"));
        for text in [
            "failed printing to stdout: No space left on device (os error 28)",
            "failed printing to stderr: Broken pipe (os error 32)",
            "Broken pipe (os error 32)",
            "failed printing to stdout: odd",
        ] {
            assert!(!is_of_a_lost_reader(text), "{text}");
        }
    }
}
