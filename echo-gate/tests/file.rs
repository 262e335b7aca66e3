//! A calibration file reads back, and anything else is refused with its remedy.

use echo_gate::{CalibrateParams, CalibrationFile, FileError, Fingerprint, Sample, calibrate};

fn fingerprint() -> Fingerprint {
    Fingerprint {
        target: "target-a".into(),
        drafter: "eagle".into(),
        head: Some("0123".into()),
        dtype: "bf16".into(),
        backend: "cpu".into(),
        prompt_set: "questions".into(),
    }
}

fn file() -> CalibrationFile {
    let round = |i: u32| Sample::new((i % 97) as f32 / 97.0, i % 97 + i % 40 > 70, 2);
    let rounds: Vec<Sample> = (0..600).filter_map(round).collect();
    let params = CalibrateParams { price: Some(0.1), resamples: 50, ..CalibrateParams::usual() };
    CalibrationFile::new(fingerprint(), calibrate(&[&rounds], params).unwrap())
}

/// What is said of the file whose value at JSON pointer `at` is `value` instead.
fn refusal(at: &str, value: &str) -> String {
    let mut json: serde_json::Value = serde_json::from_str(&file().to_json().unwrap()).unwrap();
    *json.pointer_mut(at).unwrap() = serde_json::from_str(value).unwrap();
    let said = CalibrationFile::from_json(&json.to_string()).unwrap_err().to_string();
    assert!(said.contains("`echo-llm calibrate`"), "{said}");
    said
}

#[test]
fn a_file_reads_back() {
    let file = file();
    assert!(file.calibration.depths[0].chosen);
    assert_eq!(CalibrationFile::from_json(&file.to_json().unwrap()).unwrap(), file);
}

#[test]
fn another_version_is_named() {
    // Whatever else another version holds, its number is what is said.
    let said = refusal("", "{\"version\": 7, \"from_later\": 0}");
    assert!(said.contains("version 7, this build reads 1"), "{said}");
}

#[test]
fn nonsense_is_refused() {
    for (field, value) in [
        ("depth", "0"),
        ("auc", r#"{"value": 0.5, "lower": 1e300, "upper": 1}"#),
        ("auc", r#"{"value": 0.5, "lower": 0.9, "upper": 0.1}"#),
        ("auc", "null"),
        ("tau", r#"{"value": -0.1, "source": "price"}"#),
        ("ece_after", "7"),
        ("nodes_mean", "-2"),
        ("gained", "601"),
        ("isotonic", "null"),
    ] {
        let said = refusal(&format!("/calibration/depths/0/{field}"), value);
        assert!(said.contains("wrong at depth"), "{field}: {said}");
    }
    assert!(refusal("/calibration/params/price", "-1").contains("price"));
    assert!(refusal("/calibration/params/resamples", "1e99").contains("can't be read"));
    let knots = r#"[{"confidence": 0.2, "gain": 0.5}, {"confidence": 0.3, "gain": 0.4}]"#;
    for (knots, fault) in [(knots, "knot 1"), ("[]", "no knot"), ("[{}]", "missing field")] {
        let said = refusal("/calibration/depths/0/isotonic", knots);
        assert!(said.contains(fault), "{said}");
    }
    assert!(refusal("/fingerprint", r#"{"model": "a"}"#).contains("unknown field `model`"));
    for text in ["", "{}", "null", "[1]", "{\"version\":1}", "{\"version\":1e99}"] {
        assert!(CalibrationFile::from_json(text).is_err(), "{text}");
    }
}

#[test]
fn a_file_that_could_not_be_read_is_not_written() {
    let mut file = file();
    file.calibration.depths[0].ece_after = Some(f32::NAN);
    assert!(matches!(file.to_json(), Err(FileError::Depth { depth: 1, .. })));
}

#[test]
fn another_fingerprint_is_refused_by_name() {
    let file = file();
    assert!(file.check_fingerprint(&fingerprint()).is_ok());
    for (field, running) in [
        ("target", Fingerprint { target: "z".into(), ..fingerprint() }),
        ("drafter", Fingerprint { drafter: "z".into(), ..fingerprint() }),
        ("head", Fingerprint { head: Some("z".into()), ..fingerprint() }),
        ("dtype", Fingerprint { dtype: "z".into(), ..fingerprint() }),
        ("backend", Fingerprint { backend: "z".into(), ..fingerprint() }),
        ("prompt set", Fingerprint { prompt_set: "z".into(), ..fingerprint() }),
    ] {
        let said = file.check_fingerprint(&running).unwrap_err().to_string();
        assert!(said.contains(&format!("made for {field} `")) && said.contains("`z`"), "{said}");
        assert!(said.contains("calibrate") && said.contains("take the file away"), "{said}");
    }
}

#[test]
fn a_file_of_no_certain_head_serves_any_and_that_of_one_no_drafter_without() {
    let mut file = file();
    let without = Fingerprint { head: None, ..fingerprint() };
    let said = file.check_fingerprint(&without).unwrap_err().to_string();
    assert!(said.contains("made for head `0123`, but this is `none`"), "{said}");
    file.fingerprint.head = None;
    assert!(file.check_fingerprint(&fingerprint()).is_ok());
    assert!(file.check_fingerprint(&without).is_ok());
    let json = file.to_json().unwrap();
    assert_eq!(CalibrationFile::from_json(&json).unwrap().fingerprint.head, None);
}
