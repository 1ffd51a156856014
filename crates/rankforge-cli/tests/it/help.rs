//! The help of the program and of every command, as snapshots.

use crate::snapshot::assert_snapshot;
use crate::support::TestDir;

/// Declares a test for the program or a command: its `--help` and `-h` must equal the snapshots
/// `help_NAME` and `short_help_NAME`.
macro_rules! help_snapshots {
    ($($name:ident: $($command:literal),*;)*) => {
        /// The commands with a snapshot, without subcommands.
        pub(crate) const COMMANDS: &[&[&str]] = &[$(&[$($command),*]),*];

        $(#[test]
        fn $name() {
            for (prefix, flag) in [("help", "--help"), ("short_help", "-h")] {
                let arguments = [$($command,)* flag];
                let help = TestDir::new().succeed(&arguments).stdout;
                let too_long = help.lines().find(|line| line.chars().count() > 100);
                assert_eq!(too_long, None, "a line of {arguments:?} has more than 100 columns");
                assert_snapshot(&format!("{prefix}_{}", stringify!($name)), &arguments, &help);
            }
        })*
    };
}

help_snapshots! {
    rankforge: ;
    quickstart: "quickstart";
    mine: "mine";
    train: "train";
    compare: "compare";
    evaluate: "evaluate";
    evaluate_cascade: "evaluate", "cascade";
    evaluate_correlation: "evaluate", "correlation";
    evaluate_classification: "evaluate", "classification";
    evaluate_reranking: "evaluate", "reranking";
    evaluate_retrieval: "evaluate", "retrieval";
    evaluate_nanobeir: "evaluate", "nanobeir";
    evaluate_similarity: "evaluate", "similarity";
    evaluate_binary: "evaluate", "binary";
    evaluate_triplet: "evaluate", "triplet";
    evaluate_paraphrase_mining: "evaluate", "paraphrase-mining";
    evaluate_translation: "evaluate", "translation";
    evaluate_mse: "evaluate", "mse";
    predict: "predict";
    rank: "rank";
    encode: "encode";
    annotate: "annotate";
    semantic_search: "semantic-search";
    paraphrase_mining: "paraphrase-mining";
    community_detection: "community-detection";
    index: "index";
    search: "search";
    export_index: "export-index";
    distill_static: "distill-static";
    merge_adapter: "merge-adapter";
    info: "info";
    lint: "lint";
    data: "data";
    download: "download";
    data_convert: "data", "convert";
    data_take: "data", "take";
    data_filter: "data", "filter";
    data_dedup: "data", "dedup";
    data_shuffle: "data", "shuffle";
    data_split: "data", "split";
    data_beir: "data", "beir";
    serve: "serve";
    completions: "completions";
    man: "man";
}

/// The commands that a help text lists, except `help`.
fn listed(help: &str) -> Vec<&str> {
    let section = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let names = section.take_while(|line| !line.is_empty()).filter_map(|line| {
        // Lines with a larger indentation continue a description.
        let name = line.strip_prefix("  ")?.split(' ').next()?;
        (!name.is_empty() && name != "help").then_some(name)
    });
    names.collect()
}

#[test]
fn every_command_and_subcommand_has_a_help_snapshot() {
    for parent in [&[][..], &["evaluate"]] {
        let arguments = [parent, &["-h"]].concat();
        let help = TestDir::new().succeed(&arguments).stdout;
        let names = listed(&help);
        assert!(names.len() >= 2, "no commands found in:\n{help}");
        for name in names {
            let command = [parent, &[name]].concat();
            assert!(COMMANDS.contains(&&command[..]), "{command:?} has no snapshot");
        }
    }
}
