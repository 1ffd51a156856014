//! Which first stages `--first-stage` names.

use crate::failure::CliError;
use std::path::{Path, PathBuf};

/// First stages, and the dual encoders that they need.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) stages: Vec<NamedStage>,
    /// Directories of dual encoders, each once.
    pub(super) encoders: Vec<PathBuf>,
    /// Indexes on disk.
    pub(super) indexes: Vec<IndexPlan>,
    /// `k` of reciprocal rank fusion.
    pub(super) rrf_k: f64,
}

/// A first stage and its name in tables and files.
#[derive(Debug, PartialEq)]
pub(super) struct NamedStage {
    pub(super) name: String,
    pub(super) kind: Kind,
}

/// An index, and how it is searched.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct IndexPlan {
    pub(super) path: PathBuf,
    /// `None`: by vectors, or by words where there are none.
    pub(super) mode: Option<Mode>,
}

/// How an index is searched.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Mode {
    Dense,
    Bm25,
    Hybrid,
}

/// How a first stage searches; the numbers are indices of [`Plan::encoders`], and for `Index` of
/// [`Plan::indexes`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    Bm25,
    Dense(usize),
    Hybrid(usize),
    Index(usize),
}

impl Plan {
    /// The first stages that are `given`; `hybrid` uses `model`, or the only dual encoder among
    /// them. `is_index` says which directories are indexes.
    ///
    /// # Errors
    /// A first stage that is given twice; `hybrid` without a dual encoder, or with several to
    /// choose from; a `model` that nothing uses.
    pub(super) fn new(
        given: &[String],
        model: Option<&Path>,
        rrf_k: f64,
        is_index: &dyn Fn(&Path) -> bool,
    ) -> Result<Plan, CliError> {
        if let Some(twice) = given.iter().enumerate().find(|(at, name)| given[..*at].contains(name))
        {
            let message = format!("--first-stage: {} is given twice", twice.1);
            return Err(CliError::usage(message));
        }
        let is_word = |name: &String| ["bm25", "hybrid"].contains(&name.as_str());
        let index = |name: &String| index_plan(name, is_index).filter(|_| !is_word(name));
        let indexes: Vec<IndexPlan> = given.iter().filter_map(index).collect();
        let is_encoder = |name: &&String| !is_word(name) && index(name).is_none();
        let mut encoders: Vec<PathBuf> =
            given.iter().filter(is_encoder).map(PathBuf::from).collect();
        let dense = given.iter().any(|name| name == "hybrid").then(|| {
            let model = model.map(Path::to_owned).ok_or(()).or_else(|()| only(&encoders))?;
            let known = encoders.iter().position(|path| *path == model);
            Ok::<_, CliError>(known.unwrap_or_else(|| {
                encoders.push(model);
                encoders.len() - 1
            }))
        });
        let dense = dense.transpose()?;
        if model.is_some() && dense.is_none() {
            let message = "--model: no effect, as hybrid is not among the first stages";
            return Err(CliError::usage(message).hint("--rerank names the reranker"));
        }
        let (mut next_encoder, mut next_index) = (0.., 0..);
        let stages = given.iter().map(|name| match (name.as_str(), dense) {
            ("bm25", _) => NamedStage { name: name.clone(), kind: Kind::Bm25 },
            ("hybrid", Some(dense)) => NamedStage { name: name.clone(), kind: Kind::Hybrid(dense) },
            _ => {
                let kind = match index(name) {
                    Some(_) => Kind::Index(next_index.next().expect("a number")),
                    None => Kind::Dense(next_encoder.next().expect("a number")),
                };
                NamedStage { name: short_name(name, given), kind }
            }
        });
        Ok(Plan { stages: stages.collect(), encoders, indexes, rrf_k })
    }
}

/// The index that a name is: `DIR`, or `DIR:MODE`.
fn index_plan(name: &str, is_index: &dyn Fn(&Path) -> bool) -> Option<IndexPlan> {
    let modes = [(":dense", Mode::Dense), (":bm25", Mode::Bm25), (":hybrid", Mode::Hybrid)];
    let named = modes.iter().find_map(|(suffix, mode)| Some((name.strip_suffix(suffix)?, *mode)));
    let plan = |path: &str, mode| IndexPlan { path: PathBuf::from(path), mode };
    if is_index(Path::new(name)) {
        return Some(plan(name, None));
    }
    let (path, mode) = named.filter(|(path, _)| is_index(Path::new(path)))?;
    Some(plan(path, Some(mode)))
}

/// The dual encoder of `hybrid` without `--model`.
fn only(encoders: &[PathBuf]) -> Result<PathBuf, CliError> {
    match encoders {
        [only] => Ok(only.clone()),
        [] => {
            let message = "--first-stage hybrid: no dual encoder is given";
            Err(CliError::usage(message).hint("--model DIR names the one of the hybrid"))
        }
        several => {
            let message =
                format!("--first-stage hybrid: {} dual encoders to choose from", several.len());
            Err(CliError::usage(message).hint("--model DIR names the one of the hybrid"))
        }
    }
}

/// The last part of the path, or all of it where that is the name of another first stage too. It
/// names files and stands in columns that end at white space.
fn short_name(path: &str, given: &[String]) -> String {
    let last =
        |path: &str| Path::new(path).file_name().map(|name| name.to_string_lossy().into_owned());
    let own = last(path);
    let is_shared = given.iter().filter(|other| last(other) == own).count() > 1;
    let name = own.filter(|_| !is_shared).unwrap_or_else(|| path.trim_matches('/').to_owned());
    let unfit = |c: char| c.is_whitespace() || c.is_control() || "/\\:".contains(c);
    name.replace(unfit, "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(given: &[&str], model: Option<&str>) -> Result<Plan, String> {
        let given: Vec<String> = given.iter().map(|name| (*name).to_owned()).collect();
        let is_index = |path: &Path| path.extension().is_some_and(|extension| extension == "index");
        Plan::new(&given, model.map(Path::new), 60.0, &is_index).map_err(|error| error.to_string())
    }

    fn names(plan: &Plan) -> Vec<(&str, Kind)> {
        plan.stages.iter().map(|stage| (stage.name.as_str(), stage.kind)).collect()
    }

    #[test]
    fn hybrid_takes_the_only_dual_encoder_or_the_one_that_is_named() {
        let plain = plan(&["bm25", "models/static", "hybrid"], None).unwrap();
        let expected =
            [("bm25", Kind::Bm25), ("static", Kind::Dense(0)), ("hybrid", Kind::Hybrid(0))];
        assert_eq!(names(&plain), expected);
        let named = plan(&["a", "hybrid", "b"], Some("b")).unwrap();
        let expected = [("a", Kind::Dense(0)), ("hybrid", Kind::Hybrid(1)), ("b", Kind::Dense(1))];
        assert_eq!(names(&named), expected);
        assert_eq!(named.encoders.len(), 2);
        let other = plan(&["a", "hybrid"], Some("models/b")).unwrap();
        assert_eq!(other.encoders, ["a", "models/b"].map(PathBuf::from));
        assert!(plan(&["hybrid"], None).unwrap_err().contains("no dual encoder"));
        assert!(plan(&["a", "b", "hybrid"], None).unwrap_err().contains("2 dual encoders"));
        assert!(plan(&["a"], Some("b")).unwrap_err().contains("--model"));
        assert!(plan(&["a", "bm25", "a"], None).unwrap_err().contains("a is given twice"));
    }

    #[test]
    fn an_index_may_name_how_it_is_searched() {
        let plan = plan(&["a", "docs.index", "x/docs.index:hybrid", "b:bm25"], None).unwrap();
        let expected = [
            ("a", Kind::Dense(0)),
            ("docs.index", Kind::Index(0)),
            ("docs.index-hybrid", Kind::Index(1)),
            ("b-bm25", Kind::Dense(1)),
        ];
        assert_eq!(names(&plan), expected);
        let index = |path: &str, mode| IndexPlan { path: PathBuf::from(path), mode };
        let hybrid = index("x/docs.index", Some(Mode::Hybrid));
        assert_eq!(plan.indexes, [index("docs.index", None), hybrid]);
        assert_eq!(plan.encoders, ["a", "b:bm25"].map(PathBuf::from));
    }

    #[test]
    fn names_tell_first_stages_apart_and_fit_into_files() {
        let plan =
            plan(&["runs/x/final", "runs/y/final/", "my models/a b", "./bm25", "bm25"], None);
        let plan = plan.unwrap();
        let names: Vec<&str> = plan.stages.iter().map(|stage| stage.name.as_str()).collect();
        assert_eq!(names, ["runs-x-final", "runs-y-final", "a-b", ".-bm25", "bm25"]);
    }
}
