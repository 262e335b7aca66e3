//! Heads that must not be taken: each is refused with the thing at fault and the remedy.

use echo_model::config::ModelConfig;
use echo_model::eagle::Head;
use echo_model::testkit::{TinyModel, TinyShape};
use echo_model::weights::Weights;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

fn golden() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "golden", "eagle"].iter().collect()
}

/// A copy of the golden head in `folder`, its configuration and tensors changed.
fn changed(
    folder: &Path,
    config: impl FnOnce(&mut Value),
    tensors: impl FnOnce(&mut Vec<(String, Dtype, Vec<usize>, Vec<u8>)>),
) -> Result<Head, String> {
    let text = std::fs::read_to_string(golden().join("config.json")).expect("it was committed");
    let mut json: Value = serde_json::from_str(&text).expect("it is JSON");
    config(&mut json);
    std::fs::write(folder.join("config.json"), json.to_string()).expect("a writable folder");
    let file = std::fs::read(golden().join("model.safetensors")).expect("it was committed");
    let file = safetensors::SafeTensors::deserialize(&file).expect("it is right");
    let own = |(name, t): (String, TensorView<'_>)| {
        (name, t.dtype(), t.shape().to_vec(), t.data().to_vec())
    };
    let mut all: Vec<_> = file.tensors().into_iter().map(own).collect();
    tensors(&mut all);
    let views = all.iter().map(|(name, dtype, shape, data)| {
        (name.clone(), TensorView::new(*dtype, shape.clone(), data).expect("sizes agree"))
    });
    safetensors::serialize_to_file(views, None, &folder.join("model.safetensors"))
        .expect("a folder");
    Head::open(folder).map_err(|error| error.to_string())
}

fn rename_the_layer(tensors: &mut Vec<(String, Dtype, Vec<usize>, Vec<u8>)>) {
    for (name, ..) in tensors {
        *name = name.replace("midlayer.", "layers.0.");
    }
}

fn refusal(
    config: impl FnOnce(&mut Value),
    tensors: impl FnOnce(&mut Vec<(String, Dtype, Vec<usize>, Vec<u8>)>),
) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    changed(folder.path(), config, tensors).expect_err("the head is wrong")
}

#[test]
fn wrong_files_are_refused_by_name() {
    let same_config = |_: &mut Value| ();
    let drop = |name: &'static str| {
        move |all: &mut Vec<_>| {
            all.retain(|(own, ..): &(String, Dtype, Vec<usize>, Vec<u8>)| own != name);
        }
    };
    assert!(refusal(same_config, drop("fc.weight")).contains("`fc.weight` is missing"));
    assert!(refusal(same_config, drop("d2t")).contains("`d2t` is missing"));
    let missing = refusal(same_config, drop("midlayer.self_attn.o_proj.weight"));
    assert!(missing.contains("midlayer.self_attn.o_proj.weight"), "{missing}");
    let layers = refusal(|json| json["num_hidden_layers"] = json!(2), rename_the_layer);
    assert!(layers.contains("num_hidden_layers") && layers.contains("one layer"), "{layers}");
    let hidden = refusal(|json| json["hidden_size"] = json!(44), |_| ());
    assert!(hidden.contains("44"), "{hidden}");
    let draft = refusal(|json| json["draft_vocab_size"] = json!(51), |_| ());
    assert!(draft.contains("`d2t` has 50 entries"), "{draft}");
    let name = "eagle_aux_hidden_state_layer_ids";
    let taps = refusal(|json| json["eagle_config"][name] = json!([1, 2]), |_| ());
    assert!(taps.contains(name), "{taps}");
    let more = refusal(same_config, |all| {
        all.push(("midlayer.self_attn.q_norm.weight".into(), Dtype::F32, vec![1], vec![0; 4]));
    });
    assert!(more.contains("q_norm") && more.contains("no part"), "{more}");
}

/// A head that was trained anew is told from the one before by any of its matrices.
#[test]
fn a_checksum_is_that_of_the_weights() {
    let sum = |config: fn(&mut Value), name: &str| {
        let folder = tempfile::tempdir().expect("a folder");
        let head = changed(folder.path(), config, |all| {
            if let Some(tensor) = all.iter_mut().find(|(own, ..)| own == name) {
                tensor.3[9] ^= 1;
            }
        });
        head.expect("it is right").checksum().expect("its file is there")
    };
    let own = sum(|_| (), "");
    assert_eq!(own, sum(|json| json["rms_norm_eps"] = json!(1e-6), ""));
    for name in ["fc.weight", "midlayer.mlp.down_proj.weight", "norm.weight"] {
        assert_ne!(own, sum(|_| (), name), "{name}");
    }
}

/// The two conventions of published heads mean the same layers.
#[test]
fn layers_are_counted_by_output_in_eagle_config_and_by_input_at_the_top() {
    let name = "eagle_aux_hidden_state_layer_ids";
    let target = TinyModel::new(TinyShape::usual(echo_core::DType::F32), 1);
    let layers = |config: &dyn Fn(&mut Value)| {
        let folder = tempfile::tempdir().expect("a folder");
        changed(folder.path(), config, |_| ())?.layers(target.config()).map_err(|e| e.to_string())
    };
    let own = layers(&|json| json["eagle_config"][name] = json!([0, 1, 1]));
    let at_the_top = |ids: Value| {
        layers(&|json| {
            json["eagle_config"] = Value::Null;
            json[name] = ids.clone();
        })
    };
    assert_eq!(own, Ok([0, 1, 1]));
    assert_eq!(at_the_top(json!([1, 2, 2])), own);
    let refused = at_the_top(json!([0, 2, 2])).expect_err("there is no layer before the first");
    assert!(refused.contains("from 1 on"), "{refused}");
}

#[test]
fn maps_that_lead_nowhere_are_refused() {
    let set = |place: usize, distance: i64| {
        move |all: &mut Vec<(String, Dtype, _, Vec<u8>)>| {
            let map = all.iter_mut().find(|(name, ..)| name == "d2t").expect("it has one");
            map.3[place * 8..place * 8 + 8].copy_from_slice(&distance.to_le_bytes());
        }
    };
    for (place, distance) in [(3, -4), (49, 31), (0, i64::MAX), (1, -1)] {
        let refused = refusal(|_| (), set(place, distance));
        assert!(refused.contains(&format!("draft token {place} by {distance}")), "{refused}");
    }
}

#[test]
fn a_head_of_another_target_is_refused_with_the_remedy() {
    let head = Head::open(&golden()).expect("it is right");
    let of = |change: &dyn Fn(&mut ModelConfig)| {
        let shape =
            TinyShape { n_q: 3, n_kv: 1, hidden: 40, ..TinyShape::usual(echo_core::DType::F32) };
        let mut config = TinyModel::new(shape, 1).config().clone();
        change(&mut config);
        head.check_fits(&config).map_err(|error| error.to_string())
    };
    assert_eq!(of(&|_| ()), Ok(()));
    let hidden = of(&|config| config.hidden = 80).expect_err("another width");
    assert!(
        hidden.contains("hidden_size") && hidden.contains("trained for this target"),
        "{hidden}"
    );
    assert!(
        of(&|config| config.vocab = 81).expect_err("another vocabulary").contains("vocab_size")
    );
    assert!(
        of(&|config| config.n_layers = 1).expect_err("too few layers").contains("layers [0, 1, 1]")
    );
}

/// Layers are found under either name that is published.
#[test]
fn both_names_of_the_layer_are_known() {
    let folder = tempfile::tempdir().expect("a folder");
    let head = changed(folder.path(), |_| (), rename_the_layer);
    assert!(head.is_ok(), "{:?}", head.err());
}

/// Some are published with the target's count of layers.
#[test]
fn a_layer_of_its_own_name_is_one_whatever_is_counted() {
    let folder = tempfile::tempdir().expect("a folder");
    let head = changed(folder.path(), |json| json["num_hidden_layers"] = json!(36), |_| ());
    assert_eq!(head.map(|head| head.config().n_layers), Ok(1));
}

#[test]
fn what_is_no_folder_of_a_head_is_told_what_one_has() {
    let folder = tempfile::tempdir().expect("a folder");
    let said = || Head::open(folder.path()).expect_err("no head").to_string();
    assert!(
        said().contains("has no config.json; give the folder of an EAGLE-3 head"),
        "{}",
        said()
    );
    for name in ["config.json", "pytorch_model.bin"] {
        std::fs::write(folder.path().join(name), "{}").expect("a writable folder");
    }
    assert!(said().contains("safetensors.torch.save_file"), "{}", said());
}
