use crate::environment::Environment;
use crate::report_to::Tracker;
use crate::settings_error::SettingsError;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value};
use std::fmt;
use std::path::{Path, PathBuf};

/// How to reach a server, and what the run gets there.
#[derive(Clone)]
pub(crate) struct MlflowSettings {
    pub(super) output_dir: PathBuf,
    /// Address of the server, without a slash at its end.
    pub(super) uri: String,
    /// The value of the header `Authorization`.
    pub(super) authorization: Option<String>,
    pub(super) proxy: Option<String>,
    /// A file of certificates in place of those that come with the program.
    pub(super) certificates: Option<PathBuf>,
    pub(super) insecure: bool,
    pub(super) experiment: Experiment,
    /// The run that is continued.
    pub(super) run_id: Option<String>,
    pub(super) tags: Vec<(String, String)>,
    pub(super) flatten: bool,
    /// The most parameters that are sent.
    pub(super) max_params: Option<usize>,
}

/// The experiment of a new run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Experiment {
    Name(String),
    Id(String),
}

// Written out, as the authorization is secret.
impl fmt::Debug for MlflowSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MlflowSettings").field("uri", &self.uri).finish_non_exhaustive()
    }
}

fn refused(expected: &str, got: &str) -> SettingsError {
    SettingsError { tracker: Tracker::Mlflow, expected: expected.to_owned(), got: got.to_owned() }
}

impl MlflowSettings {
    /// Reads the variables of MLflow and of transformers' callback; `None` if they disable it.
    /// `warnings` get what the user should know of variables that have no effect.
    ///
    /// # Errors
    /// A variable that lacks or cannot be used.
    pub(crate) fn new(
        environment: &Environment,
        output_dir: &Path,
        warnings: &mut Vec<String>,
    ) -> Result<Option<MlflowSettings>, SettingsError> {
        if environment.is_true("DISABLE_MLFLOW_INTEGRATION") {
            warnings.push("mlflow: gets nothing, as the environment disables it".to_owned());
            return Ok(None);
        }
        for (name, reason) in [
            ("HF_MLFLOW_LOG_ARTIFACTS", "checkpoints stay in the folder of the run"),
            ("MLFLOW_NESTED_RUN", "there is no run around this one"),
        ] {
            if environment.is_true(name) {
                warnings.push(format!("mlflow: {name} has no effect: {reason}"));
            }
        }
        let text = |name: &str| environment.get(name).map(str::to_owned);
        let uri = environment.get("MLFLOW_TRACKING_URI").unwrap_or("nothing");
        if !uri.starts_with("http://") && !uri.starts_with("https://") {
            let expected = "MLFLOW_TRACKING_URI to be the address of a server for mlflow, such as \
                            http://127.0.0.1:5000";
            return Err(refused(expected, uri));
        }
        let experiment = match (text("MLFLOW_EXPERIMENT_NAME"), text("MLFLOW_EXPERIMENT_ID")) {
            (Some(name), _) => Experiment::Name(name),
            (None, Some(id)) => Experiment::Id(id),
            (None, None) => Experiment::Id("0".to_owned()),
        };
        let max_params = text("MLFLOW_MAX_LOG_PARAMS").map(|number| {
            let expected = "MLFLOW_MAX_LOG_PARAMS to be a number";
            number.parse().map_err(|_| refused(expected, &number))
        });
        Ok(Some(MlflowSettings {
            output_dir: output_dir.to_owned(),
            uri: uri.trim_end_matches('/').to_owned(),
            authorization: authorization(environment),
            proxy: proxy(environment, uri),
            certificates: text("MLFLOW_TRACKING_SERVER_CERT_PATH").map(PathBuf::from),
            insecure: environment.is_true("MLFLOW_TRACKING_INSECURE_TLS"),
            experiment,
            run_id: text("MLFLOW_RUN_ID"),
            tags: tags(environment)?,
            flatten: environment.is_true("MLFLOW_FLATTEN_PARAMS"),
            max_params: max_params.transpose()?,
        }))
    }
}

/// User and password, else the token.
fn authorization(environment: &Environment) -> Option<String> {
    let user = environment.get("MLFLOW_TRACKING_USERNAME");
    match (user, environment.get("MLFLOW_TRACKING_PASSWORD")) {
        (Some(user), Some(password)) => {
            Some(format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}"))))
        }
        _ => environment.get("MLFLOW_TRACKING_TOKEN").map(|token| format!("Bearer {token}")),
    }
}

/// The proxy for an address, by the usual variables.
fn proxy(environment: &Environment, uri: &str) -> Option<String> {
    let either = |name: &str| {
        environment.get(&name.to_lowercase()).or_else(|| environment.get(name)).map(str::to_owned)
    };
    let (scheme, rest) = uri.split_once("://")?;
    let host = rest.split(['/', ':']).next().unwrap_or_default();
    let direct = either("NO_PROXY").unwrap_or_default();
    let is_direct = direct.split(',').map(|end| end.trim().trim_start_matches('.')).any(|end| {
        let below = || host.strip_suffix(end).is_some_and(|before| before.ends_with('.'));
        end == "*" || (!end.is_empty() && (host == end || below()))
    });
    let name = if scheme == "https" { "HTTPS_PROXY" } else { "HTTP_PROXY" };
    either(name).or_else(|| either("ALL_PROXY")).filter(|_| !is_direct)
}

/// Tags of the run: who and what it is from, and those of `MLFLOW_TAGS`.
fn tags(environment: &Environment) -> Result<Vec<(String, String)>, SettingsError> {
    let user = environment.get("MLFLOW_TRACKING_USERNAME").or(environment.get("USER"));
    let user = user.or(environment.get("LOGNAME")).unwrap_or("unknown");
    let mut tags: Vec<(String, String)> = [
        ("mlflow.user", user),
        ("mlflow.source.name", "rankforge"),
        ("mlflow.source.type", "LOCAL"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec();
    if let Some(text) = environment.get("MLFLOW_TAGS") {
        let found: Map<String, Value> = serde_json::from_str(text)
            .map_err(|_| refused("MLFLOW_TAGS to be a JSON object", text))?;
        let as_text = |value: Value| match value {
            Value::String(text) => text,
            other => other.to_string(),
        };
        tags.extend(found.into_iter().map(|(name, value)| (name, as_text(value))));
    }
    Ok(tags)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        let variables = variables.iter().map(|(name, value)| (name.to_string(), value.to_string()));
        Environment { variables: variables.collect(), ..Environment::default() }
    }

    fn settings(variables: &[(&str, &str)]) -> Result<Option<MlflowSettings>, SettingsError> {
        let server = ("MLFLOW_TRACKING_URI", "https://tracking.example.org/");
        let environment = environment(&[&[server], variables].concat());
        MlflowSettings::new(&environment, Path::new("run"), &mut Vec::new())
    }

    #[test]
    fn a_password_goes_before_a_token() {
        let token = ("MLFLOW_TRACKING_TOKEN", "t");
        let user = ("MLFLOW_TRACKING_USERNAME", "user");
        let password = ("MLFLOW_TRACKING_PASSWORD", "pass");
        let found = |variables: &[(&str, &str)]| {
            settings(variables).unwrap().unwrap().authorization.unwrap_or_default()
        };
        assert_eq!(found(&[token, user, password]), "Basic dXNlcjpwYXNz");
        assert_eq!(found(&[token, user]), "Bearer t");
        assert_eq!(found(&[]), "");
    }

    #[test]
    fn a_proxy_is_used_for_hosts_that_are_not_excepted() {
        let proxy = ("HTTPS_PROXY", "http://proxy:8080");
        let found = |variables: &[(&str, &str)]| settings(variables).unwrap().unwrap().proxy;
        assert_eq!(found(&[]), None);
        assert_eq!(found(&[("http_proxy", "http://proxy:8080")]), None);
        assert_eq!(found(&[proxy]).as_deref(), Some(proxy.1));
        for (except, direct) in
            [("example.org", true), (".example.org", true), ("*", true), ("ample.org", false)]
        {
            assert_eq!(found(&[proxy, ("no_proxy", except)]).is_none(), direct, "{except}");
        }
    }

    #[test]
    fn variables_that_cannot_be_used_are_named() {
        for (name, value) in [
            ("MLFLOW_TRACKING_URI", "databricks"),
            ("MLFLOW_TAGS", "[1]"),
            ("MLFLOW_MAX_LOG_PARAMS", "many"),
        ] {
            let error = settings(&[(name, value)]).unwrap_err();
            assert!(error.expected.contains(name) && error.got == value, "{error}");
        }
        let found = settings(&[("DISABLE_MLFLOW_INTEGRATION", "TRUE")]).unwrap();
        assert!(found.is_none());
    }
}
