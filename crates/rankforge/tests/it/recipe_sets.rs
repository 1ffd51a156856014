//! `[datasets.NAME]` and `[eval_datasets.NAME]` of a recipe.

use rankforge::recipe::{Override, Recipe};
use rankforge::training::Prompts;

const MODEL: &str = "[model]\npath = \"m\"\n";

fn parse(rest: &str) -> Result<Recipe, String> {
    let text = format!("{MODEL}{rest}");
    Recipe::parse("r.toml", &text, &[]).map_err(|error| error.to_string())
}

#[test]
fn sets_have_losses_prompts_and_columns_of_their_own_in_the_order_of_the_file() {
    let recipe = parse(
        "[loss]\nname = \"MultipleNegativesRankingLoss\"\n\
         [datasets.pairs]\npath = \"p\"\ncolumns = [\"q\", \"a\"]\nprompts = \"query: \"\n\
         [datasets.more]\npath = \"more\"\n\
         [datasets.labels]\npath = \"l\"\nlimit = 5\n\
         [datasets.labels.loss]\nname = \"BinaryCrossEntropyLoss\"\npos_weight = 2\n\
         [eval_datasets.labels]\npath = \"le\"\n\
         [eval_datasets.other]\npath = \"o\"\nloss = { name = \"BinaryCrossEntropyLoss\" }\n",
    )
    .unwrap();
    let names = |sets: &[rankforge::recipe::SetSection]| -> Vec<String> {
        sets.iter().map(|set| set.name.clone()).collect()
    };
    assert_eq!(names(&recipe.train_sets), ["pairs", "more", "labels"]);
    assert_eq!(names(&recipe.eval_sets), ["labels", "other"]);
    let losses: Vec<_> = recipe.losses.iter().map(|loss| &*loss.section).collect();
    assert_eq!(losses, ["loss", "datasets.labels.loss", "eval_datasets.other.loss"]);
    let of_train: Vec<usize> = recipe.train_sets.iter().map(|set| set.loss).collect();
    let of_eval: Vec<usize> = recipe.eval_sets.iter().map(|set| set.loss).collect();
    assert_eq!((of_train, of_eval), (vec![0, 0, 1], vec![1, 2]));
    let pairs = &recipe.train_sets[0];
    assert_eq!(pairs.prompts, Some(Prompts::All("query: ".to_owned())));
    assert_eq!(pairs.rows.columns.as_deref(), Some(&["q".to_owned(), "a".to_owned()][..]));
    assert_eq!(recipe.train_sets[2].rows.limit, Some(5));
}

#[test]
fn learning_rates_keep_the_order_of_the_file_since_the_last_match_counts() {
    let mapping = "[dataset]\npath = \"d\"\n[arguments.learning_rate_mapping]\n\
                   weight = 1e-4\n\"^classifier\" = 1e-3\n";
    let recipe = parse(mapping).unwrap();
    let patterns: Vec<_> = recipe.arguments.learning_rate_mapping.keys().collect();
    assert_eq!(patterns, ["weight", "^classifier"]);
}

#[test]
fn sets_that_cannot_be_meant_are_refused() {
    let set = "[datasets.a]\npath = \"a\"\n";
    for (rest, start) in [
        (
            "".to_owned(),
            "r.toml: expected [dataset], or [datasets.NAME] for each of several, got neither",
        ),
        (format!("{set}[dataset]\npath = \"d\"\n"), "r.toml, line 3: `datasets`: expected [data"),
        (
            format!("{set}[eval_dataset]\npath = \"d\"\n[eval_datasets.a]\npath = \"x\"\n"),
            "r.toml, line 7: `eval_datasets`: expected [eval_dataset], or [eval_datasets.NAME]",
        ),
        (
            format!("{set}colums = [\"q\"]\n"),
            "r.toml, line 5: unknown field `colums` in [datasets.a]; did you mean `columns`?",
        ),
        (
            format!("{set}loss = {{ nam = \"x\" }}\n"),
            "r.toml, line 5: unknown field `nam` in [datasets.a.loss]",
        ),
        (
            format!("{set}loss = {{ name = \"BinaryCrosEntropyLoss\" }}\n"),
            "r.toml, line 5: `datasets.a.loss.name` cannot be \"BinaryCrosEntropyLoss\"; did you",
        ),
        (
            format!("{set}loss = {{ pos_weight = -1 }}\n"),
            "r.toml, line 5: `datasets.a.loss.pos_weight`: expected",
        ),
        (
            format!("{set}loss = {{ pos_weight = 1 }}\n[loss]\npos_weight = 2\n"),
            "r.toml, line 6: `loss`: has no effect, as every data set has a loss of its own",
        ),
        (
            format!("{set}mine = true\n"),
            "r.toml, line 5: `datasets.a.mine`: expected false, as there is no [mining]; got true",
        ),
        (
            format!("{set}[mining]\nmodel = \"s\"\n"),
            "r.toml, line 5: `mining`: has no effect, as no data set has mine = true",
        ),
        ("[datasets.\"a/b\"]\npath = \"a\"\n".to_owned(), "r.toml, line 3: `datasets.a/b`: exp"),
        (
            format!("{set}prompts = 3\n"),
            "r.toml, line 5: `datasets.a.prompts`: expected a text, or texts by the name of a col",
        ),
    ] {
        let message = parse(&rest).map(drop).unwrap_err();
        assert!(message.starts_with(start), "{rest}\n{message}");
    }
    let change: Override = "datasets.a.limit=x".parse().unwrap();
    let error = Recipe::parse("r.toml", &format!("{MODEL}{set}"), &[change]).map(drop);
    let message = error.unwrap_err().to_string();
    assert!(message.starts_with("override datasets.a.limit=x: `datasets.a.limit`"), "{message}");
}
