//! Names of metrics in trackers, as transformers' callbacks write them.

/// The name in TensorBoard and Weights & Biases: `eval_loss` is `eval/loss`, and what has no such
/// prefix is `train/...`.
pub(crate) fn grouped(name: &str) -> String {
    for (prefix, group) in [("eval_", "eval/"), ("test_", "test/")] {
        if let Some(rest) = name.strip_prefix(prefix) {
            return format!("{group}{rest}");
        }
    }
    format!("train/{name}")
}

/// The name in MLflow, which allows letters, digits and `_-. :/`.
pub(crate) fn allowed_by_mlflow(name: &str) -> String {
    let allowed =
        |character: char| character.is_ascii_alphanumeric() || "_-. :/".contains(character);
    name.chars().map(|character| if allowed(character) { character } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_transformers() {
        assert_eq!(grouped("eval_squad_ndcg@10"), "eval/squad_ndcg@10");
        assert_eq!(grouped("train_runtime"), "train/train_runtime");
        assert_eq!(allowed_by_mlflow("eval_ndcg@10"), "eval_ndcg_10");
    }
}
